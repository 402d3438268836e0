//! Turns: no process that writes without a pause keeps the others from writing.
//!
//! SQLite gives its free write lock to the first that asks. A busy process frees it for some microseconds between two
//! commits, so another one, which asks every few milliseconds, could wait forever. So a waiting process holds a second
//! lock meanwhile, which each process takes before asking. A process that has just committed comes behind the waiting
//! one.

use std::fs::{File, OpenOptions, TryLockError};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::PathBuf;
use std::sync::Arc;
use std::thread::{Builder, JoinHandle};

use tokio::sync::oneshot;
use tokio::time::timeout;

use super::error::PATIENCE;
use super::location::Location;
use super::private::FILE;

/// The lock that is held while waiting: a file beside the database.
pub(super) struct Turn {
    path: Option<PathBuf>,
    file: Option<Arc<File>>,
    waiter: Option<JoinHandle<()>>,
}

/// Holds the lock, if there is one, until it is dropped.
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
        Self {
            path,
            file: None,
            waiter: None,
        }
    }

    /// Waits behind the process that waits already, [`PATIENCE`] long. This is for fairness only: without the lock, if
    /// the file cannot be locked or its holder is frozen, SQLite's own lock is enough to be safe.
    pub(super) async fn take(&mut self) -> Held {
        if self.waiter.as_ref().is_some_and(|it| !it.is_finished()) {
            // Its frozen holder has been waited for already.
            return Held(None);
        }
        if self.file.is_none()
            && let Some(path) = &self.path
        {
            let mut options = OpenOptions::new();
            let file = options
                .write(true)
                .create(true)
                .truncate(false)
                .mode(FILE)
                .open(path);
            self.file = file.ok().map(Arc::new);
        }
        let Some(file) = self.file.clone() else {
            return Held(None);
        };
        match file.try_lock() {
            Ok(()) => Held(Some(file)),
            Err(TryLockError::WouldBlock) => self.wait(file).await,
            Err(TryLockError::Error(_)) => Held(None),
        }
    }

    /// Waits on a thread of its own: the runtime's would keep a program from ending.
    async fn wait(&mut self, file: Arc<File>) -> Held {
        let (answer, locked) = oneshot::channel();
        let waiter = Builder::new().name("sqlite-turn".to_owned());
        let waiter = waiter.spawn(move || {
            let locked = file.lock().is_ok();
            // If nobody waits for the lock any more, dropping it lets go at once.
            let _ = answer.send(Held(locked.then_some(file)));
        });
        self.waiter = waiter.ok();
        match timeout(PATIENCE, locked).await {
            Ok(Ok(held)) => held,
            _ => Held(None),
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

#[cfg(test)]
mod tests {
    use super::*;

    fn is_held(turn: &File) -> bool {
        matches!(turn.try_lock(), Err(TryLockError::WouldBlock))
    }

    // The clock goes on by itself when nothing else can: no patience is waited for.
    #[tokio::test(start_paused = true)]
    async fn a_frozen_holder_is_waited_for_once_and_no_longer() {
        let folder = tempfile::tempdir().unwrap();
        let location = Location::file(folder.path().join("x.db"));
        let frozen = File::create(folder.path().join("x.db-turn")).unwrap();
        frozen.lock().unwrap();
        let mut turn = Turn::new(&location);
        let begun = tokio::time::Instant::now();
        assert!(turn.take().await.0.is_none());
        assert!(begun.elapsed() >= PATIENCE);
        let begun = tokio::time::Instant::now();
        assert!(turn.take().await.0.is_none());
        assert!(begun.elapsed() < PATIENCE);

        // Once it lets go, the waiting one lets go as well, and there are turns again.
        frozen.unlock().unwrap();
        turn.waiter.take().unwrap().join().unwrap();
        let held = turn.take().await;
        assert!(held.0.is_some());
        assert!(is_held(&frozen));
        drop(held);
        assert!(!is_held(&frozen));
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_turn_comes_when_its_holder_lets_go() {
        let folder = tempfile::tempdir().unwrap();
        let location = Location::file(folder.path().join("x.db"));
        let (mut one, mut other) = (Turn::new(&location), Turn::new(&location));
        let held = one.take().await;
        let waiting = tokio::spawn(async move { other.take().await });
        drop(held);
        let held = waiting.await.unwrap();
        assert!(is_held(
            &File::open(folder.path().join("x.db-turn")).unwrap()
        ));
        drop(held);
    }
}
