//! Watches whether the letters of a replay die again.

use std::time::{Duration, Instant};

use common::store::{Progress, ReplayOutcome, Store};
use tokio_util::sync::CancellationToken;

/// Minimum time between two looks.
const EVERY: Duration = Duration::from_millis(500);

/// Maximum of letters in a look. Their share equals the share of all letters to within some percentage points. A
/// look takes some milliseconds, however many letters were sent.
const SAMPLE: u32 = 1000;

/// Looking takes at most this part of the time (a tenth).
const PART: u32 = 10;

/// How many known fates are needed before anything is concluded.
const FEW: u64 = 20;

/// Cancels `enough` once more than the replay's `stop_when` of a hundred letters have died again, of those whose
/// fate is known. Returns the outcome at that time. Ends when `over` is cancelled.
pub(super) async fn watch(
    store: &dyn Store,
    replay: &Progress,
    enough: &CancellationToken,
    over: &CancellationToken,
) -> Option<ReplayOutcome> {
    let limit = replay.stop_when?;
    let mut wait = EVERY;
    loop {
        tokio::select! {
            () = over.cancelled() => return None,
            () = tokio::time::sleep(wait) => {}
        }
        let began = Instant::now();
        // A database that cannot be reached now is asked again.
        if let Ok(outcome) = store.operations().replay_sample(replay.id, SAMPLE).await
            && too_many(&outcome, limit)
        {
            enough.cancel();
            return Some(outcome);
        }
        wait = EVERY.max(began.elapsed() * PART);
    }
}

fn too_many(outcome: &ReplayOutcome, limit: u8) -> bool {
    let known = outcome.completed + outcome.died_again;
    known >= FEW && outcome.died_again * 100 > known * u64::from(limit)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outcome(completed: u64, died_again: u64) -> ReplayOutcome {
        ReplayOutcome {
            completed,
            died_again,
            under_way: 1000,
            ..ReplayOutcome::default()
        }
    }

    #[test]
    fn only_those_whose_fate_is_known_count() {
        assert!(!too_many(&outcome(80, 20), 20), "exactly the limit");
        assert!(too_many(&outcome(79, 21), 20));
        assert!(!too_many(&outcome(0, 19), 20), "too few to tell");
        assert!(too_many(&outcome(19, 1), 0));
    }
}
