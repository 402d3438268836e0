//! Follows the messages of an operation until they are at rest.

use std::time::{Duration, Instant};

use common::bootstrap::Failure;
use common::store::{ReplayOutcome, Store, StoreError};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::patience::Outage;

/// Minimum time between two looks, and the part of the time that looking takes at most (a tenth).
const EVERY: Duration = Duration::from_millis(250);
const PART: u32 = 10;

/// Waits until no message of the operation is under way any more, or until `stop` is cancelled. Returns the outcome
/// at that time.
///
/// # Errors
/// The database was down for longer than `patience`.
pub async fn follow(
    store: &dyn Store,
    replay: Uuid,
    patience: Duration,
    stop: &CancellationToken,
    tell: impl Fn(&ReplayOutcome),
) -> Result<ReplayOutcome, Failure> {
    let mut outage: Option<Outage> = None;
    let mut last = ReplayOutcome::default();
    loop {
        let began = Instant::now();
        let wait = match store.operations().replay_outcome(replay).await {
            Ok(outcome) => {
                outage = None;
                tell(&outcome);
                if outcome.under_way == 0 {
                    return Ok(outcome);
                }
                last = outcome;
                EVERY.max(began.elapsed() * PART)
            }
            Err(error @ StoreError::Unavailable(_)) => {
                let outage = outage.get_or_insert_with(Outage::begins);
                if !outage.wait(patience, stop).await && !stop.is_cancelled() {
                    return Err(error.into());
                }
                Duration::ZERO
            }
            Err(error) => return Err(error.into()),
        };
        tokio::select! {
            biased;
            () = stop.cancelled() => return Ok(last),
            () = tokio::time::sleep(wait) => {}
        }
    }
}
