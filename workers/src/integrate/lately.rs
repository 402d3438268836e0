//! What the database said lately.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use common::store::StoreError;

/// How long it counts as known.
const KNOWN_FOR: Duration = Duration::from_millis(500);

/// Something that is read right before deliveries, by one of them at a time and at most twice a second.
#[derive(Debug, Default)]
pub(super) struct Lately {
    /// When the last reading of it began.
    read_at: Mutex<Option<Instant>>,
    /// Held while it is read.
    reading: tokio::sync::Mutex<()>,
}

impl Lately {
    /// Reads it, unless it was read lately. While the database does not answer, what it said last counts.
    ///
    /// # Errors
    /// The database has never said.
    pub(super) async fn check(
        &self,
        read: impl AsyncFnOnce() -> Result<(), StoreError>,
    ) -> Result<(), StoreError> {
        if self.is_known() {
            return Ok(());
        }
        let _reading = self.reading.lock().await;
        if self.is_known() {
            return Ok(());
        }
        match self.now(read).await {
            Err(error) if self.is_read() => {
                tracing::debug!(%error, "the database does not answer: what it said last counts");
                Ok(())
            }
            read => read,
        }
    }

    /// Reads it anew.
    ///
    /// # Errors
    /// The database does not answer.
    pub(super) async fn read(
        &self,
        read: impl AsyncFnOnce() -> Result<(), StoreError>,
    ) -> Result<(), StoreError> {
        let _reading = self.reading.lock().await;
        self.now(read).await
    }

    /// Whether the database has ever said.
    pub(super) fn is_read(&self) -> bool {
        self.read_at().is_some()
    }

    async fn now(
        &self,
        read: impl AsyncFnOnce() -> Result<(), StoreError>,
    ) -> Result<(), StoreError> {
        // The answer may be as old as the question.
        let began = Instant::now();
        read().await?;
        *self.read_at.lock().unwrap_or_else(PoisonError::into_inner) = Some(began);
        Ok(())
    }

    fn is_known(&self) -> bool {
        self.read_at().is_some_and(|at| at.elapsed() < KNOWN_FOR)
    }

    fn read_at(&self) -> Option<Instant> {
        *self.read_at.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes the next check read it anew, as after a while.
    #[cfg(test)]
    pub(super) fn age(&self) {
        let long_ago = Instant::now().checked_sub(KNOWN_FOR);
        *self.read_at.lock().unwrap() = long_ago;
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    #[tokio::test]
    async fn it_is_read_once_in_a_while_for_all_who_ask() {
        let (lately, reads) = (Lately::default(), AtomicUsize::new(0));
        let check = || {
            lately.check(async || {
                reads.fetch_add(1, Ordering::Relaxed);
                tokio::task::yield_now().await;
                Ok(())
            })
        };
        let (one, other) = tokio::join!(check(), check());
        assert_eq!(
            (one, other, reads.load(Ordering::Relaxed)),
            (Ok(()), Ok(()), 1)
        );
        lately.age();
        check().await.unwrap();
        assert_eq!(reads.load(Ordering::Relaxed), 2);
    }

    #[tokio::test]
    async fn what_was_never_read_is_an_error_and_what_was_counts() {
        let lately = Lately::default();
        let down = || lately.check(async || Err(StoreError::Unavailable("down".to_owned())));
        assert!(down().await.is_err() && !lately.is_read());
        lately.read(async || Ok(())).await.unwrap();
        lately.age();
        assert_eq!((down().await, lately.is_read()), (Ok(()), true));
    }
}
