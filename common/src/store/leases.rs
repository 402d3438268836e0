//! Duties that one program of all has at a time.

use std::time::Duration;

use async_trait::async_trait;
use uuid::Uuid;

use crate::store::{Moment, StoreError};

/// A duty that one program of all has at a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lease {
    /// The position up to which the duty is done.
    pub position: Option<u64>,
}

/// A duty as others see it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeaseState {
    /// Whether a program has it now.
    pub is_held: bool,
    /// The position up to which the duty is done.
    pub position: Option<u64>,
    /// When its holder last said that it goes on.
    pub renewed_at: Moment,
}

/// Gives duties to one holder at a time.
#[async_trait]
pub trait Leases: Send + Sync {
    /// Takes a duty, or goes on with it, for `keep`; `None` while another holder has it. A given position is
    /// written down; the returned position is the last one written down by anybody.
    ///
    /// # Errors
    /// The database cannot say.
    async fn hold_lease(
        &self,
        name: &str,
        holder: Uuid,
        keep: Duration,
        position: Option<u64>,
    ) -> Result<Option<Lease>, StoreError>;

    /// Gives a duty up, so that the next holder need not wait for its end.
    ///
    /// # Errors
    /// The duty ends by itself.
    async fn give_up_lease(&self, name: &str, holder: Uuid) -> Result<(), StoreError>;

    /// The state of a duty; `None` if nobody has ever had it.
    ///
    /// # Errors
    /// The database cannot say.
    async fn lease(&self, name: &str) -> Result<Option<LeaseState>, StoreError>;
}
