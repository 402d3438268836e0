//! Dead letters, for the standing watch and the surveys.

use std::collections::HashMap;
use std::sync::Arc;

use async_trait::async_trait;
use time::OffsetDateTime;
use uuid::Uuid;

use super::uuids;
use crate::event::EventId;
use crate::store::postgres::PostgresStore;
use crate::store::tables::letters::INTEGRATE;
use crate::store::tables::watching::{
    DeathsRow, ReplayedRow, deaths_in_order, named_anew, states_in_order,
};
use crate::store::{DeadState, Deaths, DeliveryKey, StoreError, WatchedLetters};

const LETTERS: &str =
    "SELECT dead_letter_id, state FROM dead_letters WHERE dead_letter_id = ANY($1)";

const DEATHS: &str = "
    SELECT entry_key, state,
           sum(copies - CASE WHEN last_failed_at < $3 THEN 1 ELSE 0 END)::bigint AS number
    FROM dead_letters AS letter
    WHERE entry_key = ANY($1)
        AND NOT EXISTS (SELECT FROM UNNEST($2::uuid[]) AS without (id) WHERE id = letter.dead_letter_id)
    GROUP BY entry_key, state";

const MENDED: &str = "
    SELECT count(*) FROM dead_letters
    WHERE COALESCE(discarded_at, replayed_at, superseded_at) >= $1
        AND state = 'replayed' AND event_id IS NULL";

const REPLAYED: &str = "
    SELECT event_id, destination, generation, new_ids, headers::text
    FROM dead_letters JOIN replays USING (replay_id)
    WHERE event_id = ANY($1) AND stage = $2 AND destination IS NOT NULL";

#[async_trait]
impl WatchedLetters for PostgresStore {
    async fn letter_states(&self, letters: &[Uuid]) -> Result<Vec<Option<DeadState>>, StoreError> {
        let asked: Arc<[Uuid]> = letters.into();
        let rows: Vec<(Uuid, String)> = self
            .link
            .run(move |connection| {
                let asked = Arc::clone(&asked);
                Box::pin(async move {
                    let query = sqlx::query_as(LETTERS).bind(&asked[..]);
                    query.fetch_all(connection).await
                })
            })
            .await?;
        states_in_order(rows, letters)
    }

    async fn deaths_by_entry(
        &self,
        keys: &[Uuid],
        without: &[Uuid],
        since: OffsetDateTime,
    ) -> Result<Vec<Deaths>, StoreError> {
        if keys.is_empty() {
            return Ok(Vec::new());
        }
        let (asked, others): (Arc<[Uuid]>, Arc<[Uuid]>) = (keys.into(), without.into());
        let rows: Vec<DeathsRow> = self
            .link
            .run(move |connection| {
                let (asked, others) = (Arc::clone(&asked), Arc::clone(&others));
                Box::pin(async move {
                    let query = sqlx::query_as(DEATHS).bind(&asked[..]).bind(&others[..]);
                    query.bind(since).fetch_all(connection).await
                })
            })
            .await?;
        deaths_in_order(rows, keys)
    }

    async fn count_mended(&self, since: OffsetDateTime) -> Result<u64, StoreError> {
        let mended: i64 = self
            .link
            .run(move |connection| {
                Box::pin(async move {
                    let query = sqlx::query_scalar(MENDED).bind(since);
                    query.fetch_one(connection).await
                })
            })
            .await?;
        Ok(mended.unsigned_abs())
    }

    async fn new_ids(&self, events: &[EventId]) -> Result<HashMap<DeliveryKey, u32>, StoreError> {
        let ids = uuids(events);
        let rows: Vec<ReplayedRow> = self
            .link
            .run(move |connection| {
                let ids = Arc::clone(&ids);
                Box::pin(async move {
                    let query = sqlx::query_as(REPLAYED).bind(&ids[..]).bind(INTEGRATE);
                    query.fetch_all(connection).await
                })
            })
            .await?;
        named_anew(rows)
    }
}
