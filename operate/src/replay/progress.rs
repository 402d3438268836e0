//! Watching a replay that somebody else runs, through its row.

use std::time::{Duration, Instant};

use common::bootstrap::Failure;
use common::store::{Progress, ReplayState, Store};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::lease::is_leased;
use super::outcome::Outcome;
use super::patience::Outage;
use super::{PATIENCE, known};

/// How often it is looked.
const LOOK_INTERVAL: Duration = Duration::from_millis(250);

/// How long a replay is nobody's before it is told that no worker runs it: a lease lasts for some seconds, and workers
/// look for replays each second.
const UNCLAIMED_TIME: Duration = Duration::from_secs(10);

/// How long the run of a replay that was stopped may take to end.
const END_TIME: Duration = Duration::from_secs(10);

/// How watching ended.
#[derive(Debug)]
pub enum Watched {
    /// The replay has ended.
    Ended(Outcome),
    /// It goes on, and is not watched any more.
    Left,
    /// No worker runs it.
    Unclaimed,
}

/// Watches a replay until it has ended, nobody runs it, or `stop` is cancelled. The outcome counts from `before`
/// messages on.
///
/// # Errors
/// The database was down for too long, or there is no such replay.
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
                if matches!(progress.state, ReplayState::Done | ReplayState::Stopped) {
                    let progress = at_end(store, progress).await?;
                    return Ok(Watched::Ended(Outcome::of_row(progress, before)));
                }
                if is_run || progress.state == ReplayState::Paused {
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

/// A replay as it stands, and whether somebody runs it.
async fn look(store: &dyn Store, replay: Uuid) -> Result<(Progress, bool), Failure> {
    let progress = known(store, replay).await?;
    let is_run = is_leased(store, replay).await?;
    Ok((progress, is_run))
}

/// A replay that has ended, once its run has: what that has in hand when the replay is stopped is counted after it.
async fn at_end(store: &dyn Store, progress: Progress) -> Result<Progress, Failure> {
    let began = Instant::now();
    while is_leased(store, progress.id).await? && began.elapsed() < END_TIME {
        tokio::time::sleep(LOOK_INTERVAL).await;
    }
    known(store, progress.id).await
}
