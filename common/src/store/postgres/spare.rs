//! Tells which connections of a pool are spare.
//!
//! sqlx lends the connection that was idle longest. Work now and then would so keep all connections that were ever needed
//! at once, and other programs would find none where the database has few.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use sqlx::PgPool;

/// How long two connections were not in use at once before one is kept instead of two.
const ALONE_TIME: Duration = Duration::from_secs(1);

/// When two connections of the pool were last in use at once.
#[derive(Default)]
pub(super) struct Sharing(Mutex<Option<Instant>>);

impl Sharing {
    /// Notes that somebody asks for a connection.
    pub(super) fn asked(&self, pool: &PgPool) {
        if pool.size() as usize > pool.num_idle() {
            *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
        }
    }

    /// Whether a connection that is given back is one too many.
    pub(super) fn is_over(&self, pool: &PgPool) -> bool {
        let shared_at = *self.0.lock().unwrap_or_else(PoisonError::into_inner);
        pool.num_idle() > 0 && shared_at.is_none_or(|at| at.elapsed() > ALONE_TIME)
    }
}
