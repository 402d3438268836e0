//! Dead letters, for the standing watch and the surveys.

use std::collections::HashMap;

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
        let asked = letters.to_vec();
        let rows: Vec<(Uuid, String)> = self
            .link
            .rows(LETTERS, move |query| query.bind(&asked))
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
        let (asked, others) = (keys.to_vec(), without.to_vec());
        let rows: Vec<DeathsRow> = self
            .link
            .rows(DEATHS, move |query| {
                query.bind(&asked).bind(&others).bind(since)
            })
            .await?;
        deaths_in_order(rows, keys)
    }

    async fn count_mended(&self, since: OffsetDateTime) -> Result<u64, StoreError> {
        let (mended,): (i64,) = self
            .link
            .one(MENDED, move |query| query.bind(since))
            .await?;
        Ok(mended.unsigned_abs())
    }

    async fn new_ids(&self, events: &[EventId]) -> Result<HashMap<DeliveryKey, u32>, StoreError> {
        let ids = uuids(events);
        let rows: Vec<ReplayedRow> = self
            .link
            .rows(REPLAYED, move |query| query.bind(&ids).bind(INTEGRATE))
            .await?;
        named_anew(rows)
    }
}
