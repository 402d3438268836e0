//! The commands of operators on dead letters, one by one or in bulk: mending, giving up, taking that back, and
//! removing old letters.

use std::sync::Arc;

use async_trait::async_trait;
use time::OffsetDateTime;
use uuid::Uuid;

use super::PostgresStore;
use super::dead::{Choice, Matching, Order, Statement, superseded};
use crate::store::tables::edits::Edit;
use crate::store::tables::letters::{INTEGRATE, LetterRow};
use crate::store::tables::text::keepable;
use crate::store::{DeadEdit, DeadFilter, DeadState, Discard, Edited, Mending, StoreError};

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
                            .bind(keepable(&edit.who))
                            .bind(edit.why.as_deref().map(keepable))
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
                    }
                    Ok(decided)
                })
            })
            .await?
            .map(|edit| edit.outcome())
    }

    async fn discard_dead(
        &self,
        discard: &Discard,
        operation: Option<Uuid>,
        most: u32,
    ) -> Result<u64, StoreError> {
        let matching = Matching::new(&discard.filter, Some(DeadState::Open));
        let who = keepable(&discard.who);
        let why = keepable(&discard.why);
        let count: i64 = self.link
            .run(move |connection| {
                let (matching, who, why) = (matching.clone(), who.clone(), why.clone());
                Box::pin(async move {
                    let mut query = Statement::new("WITH chosen AS (");
                    matching.push_locked(&mut query, oldest(most));
                    query.push(
                        "), discarded AS (
                            UPDATE dead_letters SET state = 'discarded', discarded_at = clock_timestamp(),
                                                    discarded_by = ",
                    );
                    query.push_bind(who).push(", discarded_why = ").push_bind(why);
                    query.push(
                        " FROM chosen WHERE dead_letters.dead_letter_id = chosen.dead_letter_id
                            RETURNING event_id, destination, generation, stage
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
                    query.push_bind(operation);
                    query.push(") SELECT count(*) FROM discarded");
                    query
                        .build_query_scalar()
                        .persistent(false)
                        .fetch_one(connection)
                        .await
                })
            })
            .await?;
        Ok(count.unsigned_abs())
    }

    async fn restore_dead(
        &self,
        filter: &DeadFilter,
        operation: Option<Uuid>,
        most: u32,
    ) -> Result<u64, StoreError> {
        let matching = Matching::new(filter, Some(DeadState::Discarded));
        let restored: Vec<Option<Uuid>> = self
            .link
            .run(move |connection| {
                let matching = matching.clone();
                Box::pin(async move {
                    let mut query = Statement::new("WITH chosen AS (");
                    matching.push_locked(&mut query, oldest(most));
                    query.push(
                        "), restored AS (
                            UPDATE dead_letters SET state = 'open', discarded_at = NULL,
                                                    discarded_by = NULL, discarded_why = NULL
                            FROM chosen WHERE dead_letters.dead_letter_id = chosen.dead_letter_id
                            RETURNING event_id, destination, generation, stage
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
                    query.push_bind(operation);
                    query.push(") SELECT event_id FROM restored");
                    query
                        .build_query_scalar()
                        .persistent(false)
                        .fetch_all(connection)
                        .await
                })
            })
            .await?;
        let count = restored.len() as u64;
        superseded::of_events(&self.link, restored.into_iter().flatten().collect()).await?;
        Ok(count)
    }

    async fn purge_dead(&self, older_than: OffsetDateTime, most: u32) -> Result<u64, StoreError> {
        self.link
            .run(move |connection| {
                Box::pin(async move {
                    let purged = sqlx::query(PURGE)
                        .bind(older_than)
                        .bind(i64::from(most))
                        .execute(&mut *connection)
                        .await?
                        .rows_affected();
                    sqlx::query(PURGE_COUNTS)
                        .bind(older_than)
                        .execute(connection)
                        .await?;
                    Ok(purged)
                })
            })
            .await
    }
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
