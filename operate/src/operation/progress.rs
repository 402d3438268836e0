//! Watches, through its row, an operation that another process runs.

use std::time::{Duration, Instant};

use common::bootstrap::Failure;
use common::store::{OperationState, Progress, Store};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::lease::is_leased;
use super::outcome::Outcome;
use super::patience::Outage;
use super::{PATIENCE, known};

/// Time between two looks at the operation.
const LOOK_INTERVAL: Duration = Duration::from_millis(250);

/// How long an operation has no runner before the watcher says that no worker runs it. A lease lasts for some seconds,
/// and workers look for replays each second.
const UNCLAIMED_TIME: Duration = Duration::from_secs(10);

/// Maximum time that the run of a stopped replay may take to end.
const END_TIME: Duration = Duration::from_secs(10);

/// How watching ended.
#[derive(Debug)]
pub enum Watched {
    /// The operation has ended.
    Ended(Outcome),
    /// The operation goes on, and is not watched any more.
    Left,
    /// No worker runs the operation.
    Unclaimed,
}

/// Watches an operation until it has ended, until no process runs it, or until `stop` is cancelled. The outcome counts
/// from `before` messages on.
///
/// # Errors
/// The operation is unknown, or the database was down for too long.
pub async fn watch_progress(
    store: &dyn Store,
    replay: Uuid,
    before: u64,
    stop: &CancellationToken,
    tell: impl Fn(&Progress),
) -> Result<Watched, Failure> {
    let mut outage: Option<Outage> = None;
    let mut run_at = Instant::now();
    loop {
        match look(store, replay).await {
            Ok((progress, is_run)) => {
                outage = None;
                tell(&progress);
                if matches!(
                    progress.state,
                    OperationState::Done | OperationState::Stopped
                ) {
                    let progress = at_end(store, progress).await?;
                    return Ok(Watched::Ended(Outcome::of_row(progress, before)));
                }
                if is_run || progress.state == OperationState::Paused {
                    run_at = Instant::now();
                }
                if run_at.elapsed() > UNCLAIMED_TIME {
                    return Ok(Watched::Unclaimed);
                }
            }
            Err(Failure::Unreachable(why)) => {
                let outage = outage.get_or_insert_with(Outage::begins);
                if !outage.wait(PATIENCE, stop).await && !stop.is_cancelled() {
                    return Err(Failure::Unreachable(why));
                }
                run_at = Instant::now();
            }
            Err(failure) => return Err(failure),
        }
        tokio::select! {
            biased;
            () = stop.cancelled() => return Ok(Watched::Left),
            () = tokio::time::sleep(LOOK_INTERVAL) => {}
        }
    }
}

/// An operation as it stands, and whether a process runs it.
async fn look(store: &dyn Store, replay: Uuid) -> Result<(Progress, bool), Failure> {
    let progress = known(store, replay).await?;
    let is_run = is_leased(store, replay).await?;
    Ok((progress, is_run))
}

/// An operation that has ended, read once its run has ended. The run may have messages in hand when the operation is
/// stopped, and they are counted afterwards.
async fn at_end(store: &dyn Store, progress: Progress) -> Result<Progress, Failure> {
    let began = Instant::now();
    while is_leased(store, progress.id).await? && began.elapsed() < END_TIME {
        tokio::time::sleep(LOOK_INTERVAL).await;
    }
    known(store, progress.id).await
}
