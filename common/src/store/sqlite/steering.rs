//! The changes of operations by operators: each is in one transaction with its entry of the audit record.

use futures_util::future::BoxFuture;
use sqlx::SqliteConnection;
use uuid::Uuid;

use super::SqliteStore;
use super::audit::append;
use super::dead::superseded;
use super::link::{Link, now};
use crate::sqlite::Error;
use crate::store::tables::letters::INTEGRATE;
use crate::store::tables::operations::{
    NewOperationRow, Steer, begun, handed_over, rate_set, steered,
};
use crate::store::tables::text::word;
use crate::store::{Act, AuditOutcome, Operation, OperationState, StoreError};

const BEGIN: &str = r#"INSERT INTO "NAMESPACE.replays"
    (replay_id, filter, to_queue, who, why, rate, stop_when, slice, new_ids, resumes, kind, started_at,
     handed_over_at)
    VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $12)
    ON CONFLICT (replay_id) DO NOTHING"#;

const HAND_OVER: &str = r#"UPDATE "NAMESPACE.replays" SET handed_over_at = $2
    WHERE replay_id = $1 AND handed_over_at IS NULL"#;

const RATE: &str = r#"SELECT rate FROM "NAMESPACE.replays" WHERE replay_id = $1"#;
const SET_RATE: &str = r#"UPDATE "NAMESPACE.replays" SET rate = $2 WHERE replay_id = $1"#;

const REOPEN_HISTORY: &str = r#"UPDATE "NAMESPACE.replays"
    SET state = 'running', ended_at = NULL, handed_over_at = coalesce(handed_over_at, $2)
    WHERE replay_id = $1 AND state = 'stopped' AND slice IS NOT NULL"#;

const STATE: &str = r#"SELECT state FROM "NAMESPACE.replays" WHERE replay_id = $1"#;
const SET_STATE: &str = r#"UPDATE "NAMESPACE.replays" SET state = $2 WHERE replay_id = $1"#;
const END: &str = r#"UPDATE "NAMESPACE.replays" SET state = $2, ended_at = $3
    WHERE replay_id = $1 AND state IN ('running', 'paused')"#;

/// The letters are not due again after all. A letter that was sent nevertheless, its confirmation lost, is written
/// down anew when it is tried.
const NOT_DUE: &str = r#"DELETE FROM "NAMESPACE.deliveries"
    WHERE status = 'due' AND attempts = 0 AND (event_id, destination, generation) IN (
        SELECT event_id, destination, generation + 1 FROM "NAMESPACE.dead_letters"
        WHERE replay_id = $1 AND state = 'replaying' AND stage = $2)"#;

/// The replay of the letters is still known: letters that the broker confirms after all are marked.
const REOPEN_LETTERS: &str = r#"UPDATE "NAMESPACE.dead_letters" SET state = 'open'
    WHERE replay_id = $1 AND state = 'replaying' RETURNING dead_letter_id"#;

/// Begins an operation. One that was begun before stays as it is.
pub(super) async fn begin(store: &SqliteStore, operation: &Operation) -> Result<(), StoreError> {
    let row = NewOperationRow::try_from(operation)?;
    acted(store, begun(operation), move |connection, link| {
        Box::pin(async move {
            let done = sqlx::query(link.sql(BEGIN))
                .bind(row.id)
                .bind(row.filter)
                .bind(row.to_queue)
                .bind(row.who)
                .bind(row.why)
                .bind(row.rate)
                .bind(row.stop_when)
                .bind(row.slice)
                .bind(row.new_ids)
                .bind(row.resumes)
                .bind(row.kind)
                .bind(now()?)
                .execute(connection)
                .await?;
            Ok(done.rows_affected() > 0)
        })
    })
    .await
}

/// Hands an operation over to the workers.
pub(super) async fn hand_over(store: &SqliteStore, id: Uuid, act: &Act) -> Result<(), StoreError> {
    changed(store, HAND_OVER, id, handed_over(act)).await
}

/// Lets a stopped replay of the history run again.
pub(super) async fn reopen(store: &SqliteStore, id: Uuid, act: &Act) -> Result<(), StoreError> {
    let act = steered(act, OperationState::Stopped, OperationState::Running);
    changed(store, REOPEN_HISTORY, id, act).await
}

/// Sets the rate of an operation.
pub(super) async fn set_rate(
    store: &SqliteStore,
    id: Uuid,
    rate: u32,
    act: &Act,
) -> Result<(), StoreError> {
    let act = act.clone();
    store
        .link
        .write(move |connection, link| {
            Box::pin(async move {
                let found: Option<(Option<i64>,)> = sqlx::query_as(link.sql(RATE))
                    .bind(id)
                    .fetch_optional(&mut *connection)
                    .await?;
                let Some((before,)) = found.filter(|(before,)| *before != Some(rate.into())) else {
                    return Ok(());
                };
                sqlx::query(link.sql(SET_RATE))
                    .bind(id)
                    .bind(i64::from(rate))
                    .execute(&mut *connection)
                    .await?;
                let act = rate_set(&act, before, rate);
                append(connection, link, &act, AuditOutcome::Allowed).await
            })
        })
        .await
}

/// Steers an operation to a state, and gives its new state.
pub(super) async fn steer(
    store: &SqliteStore,
    id: Uuid,
    to: OperationState,
    act: &Act,
) -> Result<Option<OperationState>, StoreError> {
    let act = act.clone();
    let steered = store.link.write(move |connection, link| {
        Box::pin(async move { steer_in(connection, link, id, to, &act).await })
    });
    steered.await?
}

async fn steer_in(
    connection: &mut SqliteConnection,
    link: &Link,
    id: Uuid,
    to: OperationState,
    act: &Act,
) -> Result<Result<Option<OperationState>, StoreError>, Error> {
    let found: Option<String> = sqlx::query_scalar(link.sql(STATE))
        .bind(id)
        .fetch_optional(&mut *connection)
        .await?;
    let Some(found) = found else {
        return Ok(Ok(None));
    };
    let decided = word(&found).and_then(|from| Ok((from, Steer::decide(from, to)?)));
    let from = match decided {
        Ok((from, Steer::Leave)) => return Ok(Ok(Some(from))),
        Ok((from, Steer::Stop)) => {
            end(connection, link, id, to).await?;
            from
        }
        Ok((from, Steer::Set)) => {
            sqlx::query(link.sql(SET_STATE))
                .bind(id)
                .bind(to.as_str())
                .execute(&mut *connection)
                .await?;
            from
        }
        Err(error) => return Ok(Err(error)),
    };
    let act = steered(act, from, to);
    append(connection, link, &act, AuditOutcome::Allowed).await?;
    Ok(Ok(Some(to)))
}

/// Ends an operation that has not ended, and gives back the letters that it had claimed.
pub(super) async fn end(
    connection: &mut SqliteConnection,
    link: &Link,
    id: Uuid,
    state: OperationState,
) -> Result<(), Error> {
    let ended = sqlx::query(link.sql(END))
        .bind(id)
        .bind(state.as_str())
        .bind(now()?)
        .execute(&mut *connection)
        .await?
        .rows_affected();
    if ended == 0 {
        return Ok(());
    }
    sqlx::query(link.sql(NOT_DUE))
        .bind(id)
        .bind(INTEGRATE)
        .execute(&mut *connection)
        .await?;
    let open: Vec<Uuid> = sqlx::query_scalar(link.sql(REOPEN_LETTERS))
        .bind(id)
        .fetch_all(&mut *connection)
        .await?;
    // While it was claimed, a later generation may have come to its end.
    superseded::left_open(connection, link, open).await?;
    Ok(())
}

/// Executes a statement that asks for the id of an operation and the present moment. It is recorded if it changes the row.
async fn changed(
    store: &SqliteStore,
    statement: &'static str,
    id: Uuid,
    act: Act,
) -> Result<(), StoreError> {
    acted(store, act, move |connection, link| {
        Box::pin(async move {
            let query = sqlx::query(link.sql(statement)).bind(id).bind(now()?);
            Ok(query.execute(connection).await?.rows_affected() > 0)
        })
    })
    .await
}

/// Makes a change that says whether there was one, and records it then: all in one transaction.
async fn acted<F>(store: &SqliteStore, act: Act, change: F) -> Result<(), StoreError>
where
    F: for<'c> FnOnce(&'c mut SqliteConnection, &'c Link) -> BoxFuture<'c, Result<bool, Error>>
        + Send
        + 'static,
{
    store
        .link
        .write(move |connection, link| {
            Box::pin(async move {
                if change(&mut *connection, link).await? {
                    append(connection, link, &act, AuditOutcome::Allowed).await?;
                }
                Ok(())
            })
        })
        .await
}
