//! The connections that read.

use std::sync::Mutex;

use sqlx::{Connection as _, SqliteConnection};
use tokio::sync::Semaphore;

use super::error::Error;
use super::location::Location;
use super::lock;
use super::open::{Role, open};
use super::work::{AnyValue, AnyWork};

/// Maximum connections that read at once. Each is a thread; there are few cores.
const MOST: usize = 3;

/// The connections that read: opened when needed, kept for the next one.
pub(super) struct Readers {
    turns: Semaphore,
    idle: Mutex<Vec<SqliteConnection>>,
}

impl Readers {
    pub(super) fn new() -> Self {
        Self {
            turns: Semaphore::new(MOST),
            idle: Mutex::new(Vec::new()),
        }
    }

    /// Does `work` on a connection. A caller that goes away in the middle takes the connection along.
    pub(super) async fn run(&self, location: &Location, work: AnyWork) -> Result<AnyValue, Error> {
        // Never closed.
        let _turn = self.turns.acquire().await;
        let idle = lock(&self.idle).pop();
        let mut connection = match idle {
            Some(connection) => connection,
            None => open(location, Role::Reader).await?,
        };
        let done = work(&mut connection).await;
        if !matches!(&done, Err(error) if error.is_of_the_database()) {
            lock(&self.idle).push(connection);
        }
        done
    }

    pub(super) async fn close(&self) {
        let idle = std::mem::take(&mut *lock(&self.idle));
        for connection in idle {
            // The connection is over either way.
            let _ = connection.close().await;
        }
    }
}
