//! Hands operations over to the workers.

use common::bootstrap::Failure;
use common::store::{Operation, OperationState, Progress, Store};
use uuid::Uuid;

use super::lease::{elsewhere, is_renewed};
use super::{known, unfinished};

/// Lets the workers go on with an operation that was killed, paused or stopped, from now on at most at `rate` where one is
/// given. Returns the id of the operation that goes on.
///
/// # Errors
/// The operation is unknown, done or running, or the database does not answer.
pub async fn hand_over(store: &dyn Store, id: Uuid, rate: Option<u32>) -> Result<Uuid, Failure> {
    let replay = unfinished(known(store, id).await?)?;
    if let Some(next) = successor(&replay, rate) {
        store.operations().begin_operation(&next).await?;
        return Ok(next.id);
    }
    if replay.state == OperationState::Running && is_renewed(store, id).await? {
        return Err(elsewhere(id));
    }
    set_running(store, &replay, rate).await?;
    Ok(id)
}

/// The operation that goes on with a stopped replay of dead letters. Stopping gives the claims back, so a new replay
/// with the same settings goes on, but for the rate where one is given.
pub(super) fn successor(replay: &Progress, rate: Option<u32>) -> Option<Operation> {
    let is_stopped = replay.state == OperationState::Stopped && replay.slice.is_none();
    is_stopped.then(|| Operation {
        id: Uuid::now_v7(),
        kind: replay.kind,
        filter: replay.filter.clone(),
        to_queue: replay.to_queue.clone(),
        who: replay.who.clone(),
        why: replay.why.clone(),
        rate: rate.or(replay.rate),
        stop_when: replay.stop_when,
        slice: None,
        new_ids: replay.new_ids,
        resumes: Some(replay.id),
    })
}

/// Lets an operation run that is paused, was killed, or was stopped and is a replay of the history. A replay of the
/// history has claimed nothing. The time when it began tells which messages it has sent itself.
pub(super) async fn set_running(
    store: &dyn Store,
    replay: &Progress,
    rate: Option<u32>,
) -> Result<(), Failure> {
    let operations = store.operations();
    if let Some(rate) = rate {
        operations.set_operation_rate(replay.id, rate).await?;
    }
    if replay.state == OperationState::Stopped {
        operations.reopen_operation(replay.id).await?;
        return Ok(());
    }
    operations.hand_over_operation(replay.id).await?;
    operations
        .steer_operation(replay.id, OperationState::Running)
        .await?;
    Ok(())
}
