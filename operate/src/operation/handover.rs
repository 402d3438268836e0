//! Hands operations over to the workers.

use common::bootstrap::Failure;
use common::store::{AuditAction, Operation, OperationState, Progress, Store};
use uuid::Uuid;

use super::lease::{elsewhere, is_renewed};
use super::steering::{begin, beginning, target};
use super::{known, unfinished};
use crate::roles::{Requester, permit};

/// Lets the workers go on with an operation that was killed, paused or stopped, from now on at most at `rate` where one is
/// given. Returns the id of the operation that goes on.
///
/// # Errors
/// The operation is unknown, done or running, the role of `by` does not allow it, or the database does not answer.
pub async fn hand_over(
    store: &dyn Store,
    id: Uuid,
    rate: Option<u32>,
    by: &Requester,
) -> Result<Uuid, Failure> {
    let replay = unfinished(known(store, id).await?)?;
    if let Some(next) = successor(&replay, rate, by) {
        begin(store, &next).await?;
        return Ok(next.id);
    }
    if replay.state == OperationState::Running && is_renewed(store, id).await? {
        return Err(elsewhere(id));
    }
    set_running(store, &replay, rate, by).await?;
    Ok(id)
}

/// The operation that goes on with a stopped replay of dead letters. Stopping gives the claims back, so a new replay
/// with the same settings goes on, but for the rate where one is given.
pub(super) fn successor(replay: &Progress, rate: Option<u32>, by: &Requester) -> Option<Operation> {
    let id = Uuid::now_v7();
    let is_stopped = replay.state == OperationState::Stopped && replay.slice.is_none();
    is_stopped.then(|| Operation {
        id,
        kind: replay.kind,
        filter: replay.filter.clone(),
        to_queue: replay.to_queue.clone(),
        act: beginning(id, by).because(replay.why.clone()),
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
    by: &Requester,
) -> Result<(), Failure> {
    let (operations, id) = (store.operations(), replay.id);
    let resume = by.act(AuditAction::OperationResume, target(id));
    permit(store, &resume).await?;
    if let Some(rate) = rate {
        let act = by.act(AuditAction::OperationRate, target(id));
        operations.set_operation_rate(id, rate, &act).await?;
    }
    if replay.state == OperationState::Stopped {
        operations.reopen_operation(id, &resume).await?;
        return Ok(());
    }
    operations.hand_over_operation(id, &resume).await?;
    operations
        .steer_operation(id, OperationState::Running, &resume)
        .await?;
    Ok(())
}
