//! Recording attempts: no attempt is forgotten during an outage of the database.
//!
//! A request that was made and is not recorded would be made again. So nothing is sent while it is uncertain whether
//! the database takes the record. An attempt that could not be recorded is kept here until it is. Meanwhile the worker
//! holds.

use std::future::Future;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use common::retry::Waits;
use common::store::{Attempt, DeliveryKey, DeliveryRecord, Store, StoreError};

use super::together::Together;
use crate::database::is_for_later;

/// How long attempts gather under load before they are written down. No receiver waits for it, and an
/// attempt that is not yet recorded takes no place from another.
const GATHER: Duration = Duration::from_millis(15);

/// How long the database is trusted to take an attempt after its last answer: as long as a connection is surely
/// kept.
const TRUSTED: Duration = Duration::from_secs(5);

/// How often recording one attempt is tried before the worker holds.
const TRIES: u32 = 4;

/// The waits between those tries.
const FIRST_WAIT: Duration = Duration::from_millis(100);
const LONGEST_WAIT: Duration = Duration::from_secs(1);

/// Asks and tells the database about deliveries.
pub(super) struct Recorder {
    store: Arc<dyn Store>,
    known: Together<DeliveryKey, Option<DeliveryRecord>>,
    recorded: Together<Attempt, ()>,
    discarded: Together<DeliveryKey, ()>,
    /// When the database last answered; `None` after a failure.
    answered: Mutex<Option<Instant>>,
    /// Attempts that were made and could not be written down yet.
    unrecorded: Mutex<Vec<Attempt>>,
    /// Held while they are written down: nobody asks the database in between. When that has last failed, and why.
    catching_up: tokio::sync::Mutex<Option<(Instant, StoreError)>>,
}

impl Recorder {
    /// Starts to ask and tell `store`.
    pub(super) fn start(store: Arc<dyn Store>) -> Self {
        let rows = Arc::clone(&store);
        let known = Together::start(Duration::ZERO, move |keys: Arc<Vec<DeliveryKey>>| {
            let store = Arc::clone(&rows);
            async move { store.deliveries(&keys).await }
        });
        let rows = Arc::clone(&store);
        let recorded = Together::start(GATHER, move |attempts: Arc<Vec<Attempt>>| {
            let store = Arc::clone(&rows);
            async move {
                store.record_attempts(&attempts).await?;
                Ok(vec![(); attempts.len()])
            }
        });
        let rows = Arc::clone(&store);
        let discarded = Together::start(GATHER, move |keys: Arc<Vec<DeliveryKey>>| {
            let store = Arc::clone(&rows);
            async move {
                store.discard_due(&keys).await?;
                Ok(vec![(); keys.len()])
            }
        });
        Self {
            store,
            known,
            recorded,
            discarded,
            answered: Mutex::new(None),
            unrecorded: Mutex::new(Vec::new()),
            catching_up: tokio::sync::Mutex::new(None),
        }
    }

    /// Whether the database has answered lately, so that an attempt can surely be recorded.
    pub(super) fn is_sure(&self) -> bool {
        open(&self.answered).is_some_and(|at| at.elapsed() < TRUSTED)
    }

    /// The record of a delivery. Records that were kept here are written first.
    ///
    /// # Errors
    /// The database cannot say.
    pub(super) async fn look_up(
        &self,
        key: &DeliveryKey,
    ) -> Result<Option<DeliveryRecord>, StoreError> {
        self.catch_up().await?;
        self.noted(self.known.request(key.clone())).await
    }

    /// Discards a delivery, if it is due.
    ///
    /// # Errors
    /// The database cannot do it.
    pub(super) async fn discard(&self, key: DeliveryKey) -> Result<(), StoreError> {
        self.noted(self.discarded.request(key)).await
    }

    /// Records an attempt that was made.
    ///
    /// # Errors
    /// It is not recorded. Where the database is not available, the attempt is kept for [`Recorder::catch_up`].
    pub(super) async fn record(&self, attempt: Attempt) -> Result<(), StoreError> {
        // The attempt is kept even if the caller is dropped.
        let kept = Kept::new(self, attempt);
        let recorded = self
            .noted(self.recorded.request(kept.attempt.clone()))
            .await;
        let mut error = match recorded {
            Err(error) if is_for_later(&error) => error,
            decided => {
                kept.forget();
                return decided;
            }
        };
        drop(kept);
        let mut waits = Waits::between(FIRST_WAIT, LONGEST_WAIT);
        for _ in 1..TRIES {
            // The database may have no connection to spare just now, and the next has one.
            tokio::time::sleep(waits.next_wait()).await;
            match self.catch_up().await {
                Ok(()) => return Ok(()),
                Err(again) => error = again,
            }
        }
        Err(error)
    }

    /// Writes the attempts down that could not be recorded before.
    ///
    /// # Errors
    /// The database is still not available.
    pub(super) async fn catch_up(&self) -> Result<(), StoreError> {
        let asked_at = Instant::now();
        let mut failed = self.catching_up.lock().await;
        // Somebody has found out meanwhile: many do not wait for the same, one after the other.
        if let Some((at, error)) = &*failed
            && *at >= asked_at
        {
            return Err(error.clone());
        }
        loop {
            let Some(attempt) = open(&self.unrecorded).pop() else {
                return Ok(());
            };
            let kept = Kept::new(self, attempt);
            let batch = std::slice::from_ref(&kept.attempt);
            match self.noted(self.store.record_attempts(batch)).await {
                Err(error) if is_for_later(&error) => {
                    *failed = Some((Instant::now(), error.clone()));
                    return Err(error);
                }
                Err(error) => {
                    // The database refuses the record itself, and always would.
                    tracing::error!(
                        event.id = %kept.attempt.key.event,
                        destination.name = kept.attempt.key.destination,
                        %error,
                        "an attempt cannot be recorded"
                    );
                    kept.forget();
                }
                Ok(()) => kept.forget(),
            }
        }
    }

    /// Notes whether the database answered.
    async fn noted<T>(
        &self,
        asked: impl Future<Output = Result<T, StoreError>>,
    ) -> Result<T, StoreError> {
        let answer = asked.await;
        let answered = answer.is_ok().then(Instant::now);
        *open(&self.answered) = answered;
        answer
    }
}

/// An attempt that goes back to the unrecorded ones unless it is forgotten.
struct Kept<'r> {
    recorder: &'r Recorder,
    attempt: Attempt,
    is_settled: bool,
}

impl<'r> Kept<'r> {
    fn new(recorder: &'r Recorder, attempt: Attempt) -> Self {
        Self {
            recorder,
            attempt,
            is_settled: false,
        }
    }

    fn forget(mut self) {
        self.is_settled = true;
    }
}

impl Drop for Kept<'_> {
    fn drop(&mut self) {
        if !self.is_settled {
            open(&self.recorder.unrecorded).push(self.attempt.clone());
        }
    }
}

fn open<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use common::event::{EventId, now};
    use common::store::DeliveryState;

    use super::*;
    use crate::testbed::{self, CRM};

    fn attempt(delivered: bool) -> Attempt {
        Attempt {
            key: DeliveryKey {
                event: EventId::born(),
                destination: CRM.to_owned(),
                generation: 0,
            },
            attempt: 1,
            started_at: now(),
            duration_ms: 1,
            status_code: None,
            error: None,
            response_excerpt: None,
            delivered,
        }
    }

    #[tokio::test]
    async fn what_could_not_be_recorded_is_recorded_before_anything_is_asked() {
        // Its tables are not there yet: the worker holds for that.
        let store = testbed::not_migrated();
        let recorder = Recorder::start(Arc::clone(&store));
        assert!(!recorder.is_sure());
        let made = attempt(true);
        let error = recorder.record(made.clone()).await;
        assert!(matches!(error, Err(StoreError::Schema(_))), "{error:?}");
        assert!(recorder.look_up(&made.key).await.is_err());
        assert!(!recorder.is_sure());
        store.migrate().await.unwrap();
        let record = recorder.look_up(&made.key).await.unwrap();
        assert_eq!(record.map(|it| it.state), Some(DeliveryState::Delivered));
        assert!(recorder.is_sure());
        assert!(open(&recorder.unrecorded).is_empty());
    }

    #[tokio::test]
    async fn a_caller_that_goes_away_loses_nothing() {
        let store = testbed::not_migrated();
        let recorder = Recorder::start(Arc::clone(&store));
        let made = attempt(true);
        {
            let recording = recorder.record(made.clone());
            tokio::pin!(recording);
            assert!(futures_util::poll!(&mut recording).is_pending());
        }
        store.migrate().await.unwrap();
        recorder.catch_up().await.unwrap();
        let record = recorder.look_up(&made.key).await.unwrap();
        assert_eq!(record.map(|it| it.attempts), Some(1));
    }
}
