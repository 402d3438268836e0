//! Turns: no process that writes without a pause keeps the others from writing.
//!
//! SQLite gives its write lock to whoever asks while it is free, and for a busy process it is free for
//! some microseconds between two commits: another one, which asks every few milliseconds, could wait
//! for ever. So whoever waits holds a second lock meanwhile, which everybody takes before asking. A
//! process that has just committed comes behind the one that waits.

use std::fs::{File, OpenOptions, TryLockError};
use std::path::PathBuf;
use std::sync::Arc;

use super::location::Location;

/// The lock that is held while waiting: a file beside the database.
pub(super) struct Turn {
    path: Option<PathBuf>,
    file: Option<Arc<File>>,
}

/// Holds the lock until it is dropped.
pub(super) struct Held(Option<Arc<File>>);

impl Turn {
    pub(super) fn new(location: &Location) -> Self {
        let path = match location {
            Location::File(path) => {
                let mut name = path.as_os_str().to_owned();
                name.push("-turn");
                Some(PathBuf::from(name))
            }
            Location::Memory { .. } => None,
        };
        Self { path, file: None }
    }

    /// Waits behind whoever waits already. Fair and no more: where the file cannot be locked, SQLite's
    /// own lock is enough to be safe.
    pub(super) async fn take(&mut self) -> Held {
        if self.file.is_none()
            && let Some(path) = &self.path
        {
            let mut options = OpenOptions::new();
            let file = options.write(true).create(true).truncate(false).open(path);
            self.file = file.ok().map(Arc::new);
        }
        let Some(file) = self.file.clone() else {
            return Held(None);
        };
        match file.try_lock() {
            Ok(()) => Held(Some(file)),
            Err(TryLockError::WouldBlock) => {
                let waiting = Arc::clone(&file);
                // Whoever holds it gives up after a while, or dies and lets go.
                let locked = tokio::task::spawn_blocking(move || waiting.lock()).await;
                Held(matches!(locked, Ok(Ok(()))).then_some(file))
            }
            Err(TryLockError::Error(_)) => Held(None),
        }
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        if let Some(file) = &self.0 {
            // Closing the file would let go as well.
            let _ = file.unlock();
        }
    }
}
