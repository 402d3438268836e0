//! Waits until the messages of a previous run are recorded.
//!
//! A run that was killed does not know which messages of its last batch were sent, so the batch is sent again. The
//! second message of a delivery is recognised once the first is recorded. While a worker has the first in hand,
//! another worker would make the delivery a second time. So the replay waits for as long as an attempt may take.
//! It sends nothing before the queues on the way were empty, and no attempt began, for that long.

use std::time::Duration;

use common::bootstrap::Failure;
use common::store::Progress;
use common::topology::{Names, Stage, Topology};
use time::OffsetDateTime;
use tokio::time::Instant;

use crate::operation::outcome::News;
use crate::operation::run::Run;

/// Time between two looks at the queues.
const LOOK: Duration = Duration::from_millis(500);

/// Maximum wait. Where others never cease to send to the same queues, the queues are never empty.
const LONGEST: Duration = Duration::from_secs(420);

/// Waits until the messages of a previous run are out of the queues and of the workers' hands.
///
/// # Errors
/// Broker or database were down for too long.
pub(super) async fn wait(run: &Run<'_>) -> Result<(), Failure> {
    let executor = run.executor;
    let in_hand = executor.longest_attempt;
    let queues = queues_on_the_way(executor.topology, executor.names, run.operation);
    if has_one_worker_each(run, &queues).await? {
        return Ok(());
    }
    let began = Instant::now();
    let mut empty_since: Option<Instant> = None;
    let mut is_told = false;
    while began.elapsed() < LONGEST.min(executor.patience) && !run.is_halted() {
        if are_empty(run, &queues).await? {
            let since = *empty_since.get_or_insert_with(Instant::now);
            if since.elapsed() >= in_hand && is_quiet(run, &queues, in_hand).await? {
                break;
            }
        } else {
            empty_since = None;
        }
        if !std::mem::replace(&mut is_told, true) {
            run.report.tell(News::Waiting(
                "what was sent before is waited for until it is written down, so that nothing is delivered twice",
            ));
        }
        tokio::select! {
            () = run.halted() => {}
            () = tokio::time::sleep(LOOK) => {}
        }
    }
    if is_told {
        run.report.tell(News::GoingOn);
    }
    Ok(())
}

/// The queue that a replay sends to, and the queues behind it.
fn queues_on_the_way(topology: &Topology, names: &Names, replay: &Progress) -> Vec<String> {
    let first = replay.to_queue.as_deref();
    let stage = first.and_then(|queue| names.stage_of(queue));
    let order = |stage: Stage| match stage {
        Stage::Validate => 0,
        Stage::Store => 1,
        Stage::Integrate => 2,
        Stage::Archive => 3,
    };
    let is_on_the_way = |queue: &str| match (names.stage_of(queue), stage) {
        (Some((Stage::Archive, _)) | None, _) => false,
        (Some(_), None) => true,
        (Some(_), Some((Stage::Integrate | Stage::Archive, _))) => {
            first.is_some_and(|first| Names::without_suspect(queue) == first)
        }
        (Some((found, _)), Some((from, _))) => order(found) >= order(from),
    };
    let queues = topology.work_queues().map(|queue| queue.name.clone());
    queues.filter(|queue| is_on_the_way(queue)).collect()
}

/// Whether each destination has one worker: a process makes the attempts of one delivery one after the other.
async fn has_one_worker_each(run: &Run<'_>, queues: &[String]) -> Result<bool, Failure> {
    let names = run.executor.names;
    for queue in queues.iter().filter(|it| !Names::is_suspect(it)) {
        if let Some((Stage::Integrate, _)) = names.stage_of(queue) {
            let depth = run
                .patience
                .outlast(async || run.executor.broker.depth(queue).await);
            if depth.await?.is_some_and(|depth| depth.consumers != 1) {
                return Ok(false);
            }
        }
    }
    Ok(true)
}

async fn are_empty(run: &Run<'_>, queues: &[String]) -> Result<bool, Failure> {
    for queue in queues {
        let depth = run
            .patience
            .outlast(async || run.executor.broker.depth(queue).await);
        if depth.await?.is_some_and(|depth| depth.messages > 0) {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Whether no attempt at the destinations began lately.
async fn is_quiet(run: &Run<'_>, queues: &[String], lately: Duration) -> Result<bool, Failure> {
    let (store, names) = (run.executor.store, run.executor.names);
    // A delivery that is sent again may have become due before the replay began.
    let since = run.operation.started_at.0 - time::Duration::HOUR;
    let attempts = async || store.watching().last_attempts(since).await;
    let attempts = run.patience.outlast(attempts).await?;
    let is_ours = |name: &str| queues.contains(&names.integrate(name));
    let now = OffsetDateTime::now_utc();
    Ok(attempts
        .iter()
        .filter(|(name, _)| is_ours(name))
        .all(|(_, at)| now - *at >= lately))
}
