//! Waits until every event is at rest.

use std::collections::HashMap;
use std::time::Duration;

use common::bootstrap::Failure;
use common::event::EventId;
use common::store::{EventStatus, Statuses};
use futures_util::{StreamExt as _, TryStreamExt as _};
use tokio::time::Instant;

/// Maximum time without a change before the wait is given up.
const PATIENCE: Duration = Duration::from_secs(30);

/// Time between two looks at the database.
const PAUSE: Duration = Duration::from_millis(150);

/// Maximum of questions to the database at once.
const CONCURRENCY: usize = 4;

/// The progress of the events.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Counts {
    /// Events in the database.
    pub(super) stored: u64,
    /// Events at rest.
    pub(super) at_rest: u64,
}

/// Waits until all of `ids` are at rest, and tells `progress` how far they are. Returns the status of each. Events
/// that do not come to rest are left out where nothing is known of them.
///
/// # Errors
/// The database cannot say.
pub(super) async fn until_at_rest(
    store: &dyn Statuses,
    ids: &[EventId],
    progress: impl Fn(Counts),
) -> Result<HashMap<EventId, EventStatus>, Failure> {
    let mut known: HashMap<EventId, EventStatus> = HashMap::new();
    let mut waiting = ids.to_vec();
    let (mut last, mut changed) = (Counts::default(), Instant::now());
    loop {
        let asked = futures_util::stream::iter(waiting.iter().map(|&id| store.status(id)));
        let found: Vec<Option<EventStatus>> = asked.buffered(CONCURRENCY).try_collect().await?;
        known.extend(
            found
                .into_iter()
                .flatten()
                .map(|status| (status.id, status)),
        );
        waiting.retain(|id| !known.get(id).is_some_and(|known| known.status.is_at_rest()));
        let counts = Counts {
            stored: known.values().filter(|status| is_stored(status)).count() as u64,
            at_rest: (ids.len() - waiting.len()) as u64,
        };
        progress(counts);
        if counts != last {
            (last, changed) = (counts, Instant::now());
        }
        if waiting.is_empty() || changed.elapsed() > PATIENCE {
            return Ok(known);
        }
        tokio::time::sleep(PAUSE).await;
    }
}

fn is_stored(status: &EventStatus) -> bool {
    status.timeline.iter().any(|step| step.step == "stored")
}
