//! The changes of operations by operators: each is in one transaction with its entry of the audit record.

use std::sync::Arc;

use futures_util::future::BoxFuture;
use sqlx::PgConnection;
use uuid::Uuid;

use super::PostgresStore;
use super::audit::append;
use super::dead::superseded;
use crate::store::tables::letters::INTEGRATE;
use crate::store::tables::operations::{
    NewOperationRow, Steer, begun, handed_over, rate_set, steered,
};
use crate::store::tables::text::word;
use crate::store::{Act, AuditOutcome, Operation, OperationState, StoreError};

const BEGIN: &str = "INSERT INTO replays
        (replay_id, filter, to_queue, who, why, rate, stop_when, slice, new_ids, resumes, kind, handed_over_at)
    VALUES ($1, $2::text::json, $3, $4, $5, $6, $7, $8::text::json, $9, $10, $11, clock_timestamp())
    ON CONFLICT (replay_id) DO NOTHING";

const HAND_OVER: &str = "UPDATE replays SET handed_over_at = clock_timestamp()
    WHERE replay_id = $1 AND handed_over_at IS NULL";

const RATE: &str = "SELECT rate FROM replays WHERE replay_id = $1 FOR UPDATE";
const SET_RATE: &str = "UPDATE replays SET rate = $2 WHERE replay_id = $1";

const REOPEN_HISTORY: &str = "UPDATE replays
    SET state = 'running', ended_at = NULL,
        handed_over_at = COALESCE(handed_over_at, clock_timestamp())
    WHERE replay_id = $1 AND state = 'stopped' AND slice IS NOT NULL";

/// First the operation alone: this waits for a claim under way, and only the next statement sees the claimed letters.
const STATE: &str = "SELECT state FROM replays WHERE replay_id = $1 FOR UPDATE";
const SET_STATE: &str = "UPDATE replays SET state = $2 WHERE replay_id = $1";
const END: &str = "UPDATE replays SET state = $2, ended_at = clock_timestamp()
    WHERE replay_id = $1 AND state IN ('running', 'paused')";

/// The replay of the letters is still known: letters that the broker confirms after all are marked. They are not
/// due again after all. A letter that was sent nevertheless, its confirmation lost, is written down anew when it
/// is tried.
const REOPEN_LETTERS: &str = "WITH reopened AS (
        UPDATE dead_letters SET state = 'open'
        WHERE replay_id = $1 AND state = 'replaying'
        RETURNING event_id, destination, generation, stage
    )
    DELETE FROM deliveries USING reopened
    WHERE reopened.stage = $2
          AND deliveries.event_id = reopened.event_id
          AND deliveries.destination = reopened.destination
          AND deliveries.generation = reopened.generation + 1
          AND deliveries.status = 'due' AND deliveries.attempts = 0";

/// Begins an operation. One that was begun before stays as it is.
pub(super) async fn begin(store: &PostgresStore, operation: &Operation) -> Result<(), StoreError> {
    let row = Arc::new(NewOperationRow::try_from(operation)?);
    acted(store, &begun(operation), move |connection| {
        let row = Arc::clone(&row);
        Box::pin(async move {
            let done = sqlx::query(BEGIN)
                .bind(row.id)
                .bind(&row.filter)
                .bind(&row.to_queue)
                .bind(&row.who)
                .bind(&row.why)
                .bind(row.rate)
                .bind(row.stop_when)
                .bind(&row.slice)
                .bind(row.new_ids)
                .bind(row.resumes)
                .bind(row.kind)
                .execute(connection)
                .await?;
            Ok(done.rows_affected() > 0)
        })
    })
    .await
}

/// Hands an operation over to the workers.
pub(super) async fn hand_over(
    store: &PostgresStore,
    id: Uuid,
    act: &Act,
) -> Result<(), StoreError> {
    changed(store, HAND_OVER, id, &handed_over(act)).await
}

/// Lets a stopped replay of the history run again.
pub(super) async fn reopen(store: &PostgresStore, id: Uuid, act: &Act) -> Result<(), StoreError> {
    let act = steered(act, OperationState::Stopped, OperationState::Running);
    changed(store, REOPEN_HISTORY, id, &act).await
}

/// Sets the rate of an operation.
pub(super) async fn set_rate(
    store: &PostgresStore,
    id: Uuid,
    rate: u32,
    act: &Act,
) -> Result<(), StoreError> {
    let act = Arc::new(act.clone());
    store
        .link
        .transaction(move |connection| {
            let act = Arc::clone(&act);
            Box::pin(async move {
                let found: Option<(Option<i64>,)> = sqlx::query_as(RATE)
                    .bind(id)
                    .fetch_optional(&mut *connection)
                    .await?;
                let Some((before,)) = found.filter(|(before,)| *before != Some(rate.into())) else {
                    return Ok(());
                };
                sqlx::query(SET_RATE)
                    .bind(id)
                    .bind(i64::from(rate))
                    .execute(&mut *connection)
                    .await?;
                let act = rate_set(&act, before, rate);
                append(connection, &act, AuditOutcome::Allowed).await
            })
        })
        .await
}

/// Steers an operation to a state, and gives its new state.
pub(super) async fn steer(
    store: &PostgresStore,
    id: Uuid,
    to: OperationState,
    act: &Act,
) -> Result<Option<OperationState>, StoreError> {
    let act = Arc::new(act.clone());
    let steered = store
        .link
        .transaction(move |connection| {
            let act = Arc::clone(&act);
            Box::pin(async move { steer_in(connection, id, to, &act).await })
        })
        .await??;
    if let Some((Steer::Stop, _)) = steered {
        superseded::of_replay(&store.link, id).await?;
    }
    Ok(steered.map(|(_, state)| state))
}

type Steered = Option<(Steer, OperationState)>;

async fn steer_in(
    connection: &mut PgConnection,
    id: Uuid,
    to: OperationState,
    act: &Act,
) -> Result<Result<Steered, StoreError>, sqlx::Error> {
    let found: Option<String> = sqlx::query_scalar(STATE)
        .bind(id)
        .fetch_optional(&mut *connection)
        .await?;
    let Some(found) = found else {
        return Ok(Ok(None));
    };
    let decided = word(&found).and_then(|from| Ok((from, Steer::decide(from, to)?)));
    let (from, steer) = match decided {
        Ok((from, Steer::Leave)) => return Ok(Ok(Some((Steer::Leave, from)))),
        Ok(decided) => decided,
        Err(error) => return Ok(Err(error)),
    };
    if steer == Steer::Stop {
        end(connection, id, to).await?;
    } else {
        sqlx::query(SET_STATE)
            .bind(id)
            .bind(to.as_str())
            .execute(&mut *connection)
            .await?;
    }
    let act = steered(act, from, to);
    append(connection, &act, AuditOutcome::Allowed).await?;
    Ok(Ok(Some((steer, to))))
}

/// Ends an operation that has not ended, and gives back the letters that it had claimed.
pub(super) async fn end(
    connection: &mut PgConnection,
    id: Uuid,
    state: OperationState,
) -> Result<(), sqlx::Error> {
    sqlx::query(STATE)
        .bind(id)
        .execute(&mut *connection)
        .await?;
    let ended = sqlx::query(END)
        .bind(id)
        .bind(state.as_str())
        .execute(&mut *connection)
        .await?
        .rows_affected();
    if ended == 0 {
        return Ok(());
    }
    sqlx::query(REOPEN_LETTERS)
        .bind(id)
        .bind(INTEGRATE)
        .execute(connection)
        .await?;
    Ok(())
}

/// Executes a statement that asks for the id of an operation and nothing else. It is recorded if it changes the row.
async fn changed(
    store: &PostgresStore,
    statement: &'static str,
    id: Uuid,
    act: &Act,
) -> Result<(), StoreError> {
    acted(store, act, move |connection| {
        Box::pin(async move {
            let done = sqlx::query(statement).bind(id).execute(connection).await?;
            Ok(done.rows_affected() > 0)
        })
    })
    .await
}

/// Makes a change that says whether there was one, and records it then: all in one transaction.
async fn acted<F>(store: &PostgresStore, act: &Act, change: F) -> Result<(), StoreError>
where
    F: for<'c> Fn(&'c mut PgConnection) -> BoxFuture<'c, Result<bool, sqlx::Error>>
        + Send
        + Sync
        + 'static,
{
    let (act, change) = (Arc::new(act.clone()), Arc::new(change));
    store
        .link
        .transaction(move |connection| {
            let (act, change) = (Arc::clone(&act), Arc::clone(&change));
            Box::pin(async move {
                if change(&mut *connection).await? {
                    append(connection, &act, AuditOutcome::Allowed).await?;
                }
                Ok(())
            })
        })
        .await
}
