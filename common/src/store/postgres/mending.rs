//! The commands of operators on dead letters, one by one or in bulk: mending, giving up, taking that back, and
//! removing old letters.

use std::sync::Arc;

use async_trait::async_trait;
use sqlx::PgConnection;
use time::OffsetDateTime;
use uuid::Uuid;

use super::PostgresStore;
use super::audit::append;
use super::dead::{Choice, Matching, Order, Statement, superseded};
use crate::store::tables::audit::{moved, purged};
use crate::store::tables::edits::Edit;
use crate::store::tables::letters::{INTEGRATE, LetterRow};
use crate::store::tables::text::keepable;
use crate::store::{
    Act, AuditOutcome, BulkChange, Changer, DeadEdit, DeadState, Edited, Mending, StoreError,
};

const LETTER: &str = "SELECT * FROM dead_letters WHERE dead_letter_id = $1 FOR UPDATE";

const MEND: &str = "WITH kept AS (
        INSERT INTO dead_letter_edits (dead_letter_id, who, why, before, envelope)
        VALUES ($1, $2, $3, $4, $5::json)
    )
    UPDATE dead_letters SET body = $6, type = $7, source = $8, routing_key = $9,
                            content_type = $10, properties = $11::json,
                            headers = $12::json
    WHERE dead_letter_id = $1";

const PURGE: &str = "DELETE FROM dead_letters WHERE dead_letter_id IN (
    SELECT dead_letter_id FROM dead_letters
    WHERE state IN ('replayed', 'discarded', 'superseded')
          AND COALESCE(discarded_at, replayed_at, superseded_at) < $1
    ORDER BY COALESCE(discarded_at, replayed_at, superseded_at)
    LIMIT $2
    FOR UPDATE SKIP LOCKED)";

/// Counts that have come to zero, of hours to which nothing is added any more.
const PURGE_COUNTS: &str = "DELETE FROM dead_letter_counts WHERE letters <= 0 AND hour < $1";

#[async_trait]
impl Mending for PostgresStore {
    async fn edit_dead(&self, edit: &DeadEdit) -> Result<Edited, StoreError> {
        let edit = Arc::new(edit.clone());
        self.link
            .transaction(move |connection| {
                let edit = Arc::clone(&edit);
                Box::pin(async move {
                    // One after the other: the second editor sees the letter as the first has left it.
                    let found: Option<LetterRow> = sqlx::query_as(LETTER)
                        .bind(edit.letter)
                        .fetch_optional(&mut *connection)
                        .await?;
                    let decided = Edit::decide(&edit, found);
                    if let Ok(Edit::Make(mended)) = &decided {
                        sqlx::query(MEND)
                            .bind(edit.letter)
                            .bind(keepable(&edit.act.actor.who))
                            .bind(edit.act.why.as_deref().map(keepable))
                            .bind(&edit.before.message.body[..])
                            .bind(Edit::envelope(&edit))
                            .bind(&mended.body[..])
                            .bind(&mended.kind)
                            .bind(&mended.source)
                            .bind(&mended.routing_key)
                            .bind(&mended.content_type)
                            .bind(&mended.properties)
                            .bind(&mended.headers)
                            .execute(&mut *connection)
                            .await?;
                        let act = Edit::act(&edit);
                        append(connection, &act, AuditOutcome::Allowed).await?;
                    }
                    Ok(decided)
                })
            })
            .await?
            .map(|edit| edit.outcome())
    }

    async fn discard_dead(&self, discard: &BulkChange, most: u32) -> Result<u64, StoreError> {
        let matching = Matching::new(&discard.filter, Some(DeadState::Open));
        let by = Arc::new(discard.by.clone());
        let discarded: Vec<Uuid> = self
            .link
            .transaction(move |connection| {
                let (matching, by) = (matching.clone(), Arc::clone(&by));
                Box::pin(async move {
                    let mut query = discarding(&matching, &by, most);
                    let letters: Vec<Uuid> = query
                        .build_query_scalar()
                        .persistent(false)
                        .fetch_all(&mut *connection)
                        .await?;
                    let (from, to) = (DeadState::Open, DeadState::Discarded);
                    record(connection, &by, from, to, &letters).await?;
                    Ok(letters)
                })
            })
            .await?;
        Ok(discarded.len() as u64)
    }

    async fn restore_dead(&self, restore: &BulkChange, most: u32) -> Result<u64, StoreError> {
        let matching = Matching::new(&restore.filter, Some(DeadState::Discarded));
        let by = Arc::new(restore.by.clone());
        let restored: Vec<(Uuid, Option<Uuid>)> = self
            .link
            .transaction(move |connection| {
                let (matching, by) = (matching.clone(), Arc::clone(&by));
                Box::pin(async move {
                    let mut query = restoring(&matching, &by, most);
                    let restored: Vec<(Uuid, Option<Uuid>)> = query
                        .build_query_as()
                        .persistent(false)
                        .fetch_all(&mut *connection)
                        .await?;
                    let letters: Vec<Uuid> = restored.iter().map(|(letter, _)| *letter).collect();
                    let (from, to) = (DeadState::Discarded, DeadState::Open);
                    record(connection, &by, from, to, &letters).await?;
                    Ok(restored)
                })
            })
            .await?;
        let count = restored.len() as u64;
        let events = restored.into_iter().filter_map(|(_, event)| event);
        superseded::of_events(&self.link, events.collect()).await?;
        Ok(count)
    }

    async fn purge_dead(
        &self,
        older_than: OffsetDateTime,
        act: &Act,
        most: u32,
    ) -> Result<u64, StoreError> {
        let act = Arc::new(act.clone());
        self.link
            .transaction(move |connection| {
                let act = Arc::clone(&act);
                Box::pin(async move {
                    let letters = sqlx::query(PURGE)
                        .bind(older_than)
                        .bind(i64::from(most))
                        .execute(&mut *connection)
                        .await?
                        .rows_affected();
                    sqlx::query(PURGE_COUNTS)
                        .bind(older_than)
                        .execute(&mut *connection)
                        .await?;
                    if letters > 0 {
                        let act = purged(&act, older_than, letters);
                        append(connection, &act, AuditOutcome::Allowed).await?;
                    }
                    Ok(letters)
                })
            })
            .await
    }
}

/// Records the change of these letters, where an operator makes it and there are any.
async fn record(
    connection: &mut PgConnection,
    by: &Changer,
    from: DeadState,
    to: DeadState,
    letters: &[Uuid],
) -> Result<(), sqlx::Error> {
    match by {
        Changer::Operator(act) if !letters.is_empty() => {
            let act = moved(act, from, to, letters);
            append(connection, &act, AuditOutcome::Allowed).await
        }
        _ => Ok(()),
    }
}

/// Discards letters, and gives their ids.
fn discarding(matching: &Matching, by: &Changer, most: u32) -> Statement {
    let mut query = Statement::new("WITH chosen AS (");
    matching.push_locked(&mut query, oldest(most));
    query.push(
        "), discarded AS (
            UPDATE dead_letters SET state = 'discarded', discarded_at = clock_timestamp(),
                                    discarded_by = ",
    );
    query.push_bind(keepable(by.who()));
    query
        .push(", discarded_why = ")
        .push_bind(keepable(by.why()));
    query.push(
        " FROM chosen WHERE dead_letters.dead_letter_id = chosen.dead_letter_id
            RETURNING dead_letters.dead_letter_id, event_id, destination, generation, stage
        ), given_up AS (
            UPDATE deliveries SET status = 'discarded' FROM discarded
            WHERE stage = ",
    );
    query.push_bind(INTEGRATE);
    query.push(
        "         AND deliveries.event_id = discarded.event_id
                  AND deliveries.destination = discarded.destination
                  AND deliveries.generation = discarded.generation
                  AND status IN ('due', 'dead')
        ), counted AS (
            UPDATE replays
            SET replayed = replayed + (SELECT count(*) FROM discarded)
            WHERE replay_id = ",
    );
    query.push_bind(by.operation());
    query.push(") SELECT dead_letter_id FROM discarded");
    query
}

/// Restores letters, and gives their ids and events.
fn restoring(matching: &Matching, by: &Changer, most: u32) -> Statement {
    let mut query = Statement::new("WITH chosen AS (");
    matching.push_locked(&mut query, oldest(most));
    query.push(
        "), restored AS (
            UPDATE dead_letters SET state = 'open', discarded_at = NULL,
                                    discarded_by = NULL, discarded_why = NULL
            FROM chosen WHERE dead_letters.dead_letter_id = chosen.dead_letter_id
            RETURNING dead_letters.dead_letter_id, event_id, destination, generation, stage
        ), dead_again AS (
            UPDATE deliveries SET status = 'dead' FROM restored
            WHERE stage = ",
    );
    query.push_bind(INTEGRATE);
    query.push(
        "         AND deliveries.event_id = restored.event_id
                  AND deliveries.destination = restored.destination
                  AND deliveries.generation = restored.generation
                  AND status = 'discarded'
        ), counted AS (
            UPDATE replays
            SET replayed = replayed + (SELECT count(*) FROM restored)
            WHERE replay_id = ",
    );
    query.push_bind(by.operation());
    query.push(") SELECT dead_letter_id, event_id FROM restored");
    query
}

/// The oldest `most` of the letters that match.
fn oldest(most: u32) -> Choice {
    Choice {
        order: Order::OldestFirst,
        after: None,
        archived_by: None,
        most: most.into(),
    }
}
