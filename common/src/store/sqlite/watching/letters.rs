//! Dead letters, for the standing watch and the surveys.

use std::collections::HashMap;

use async_trait::async_trait;
use time::OffsetDateTime;
use uuid::Uuid;

use super::ids;
use crate::event::EventId;
use crate::store::sqlite::SqliteStore;
use crate::store::sqlite::link::document;
use crate::store::tables::letters::INTEGRATE;
use crate::store::tables::text::comparable;
use crate::store::tables::watching::{
    DeathsRow, ReplayedRow, deaths_in_order, named_anew, states_in_order,
};
use crate::store::{DeadState, Deaths, DeliveryKey, StoreError, WatchedLetters};

const LETTERS: &str = r#"
    SELECT dead_letter_id, state FROM "NAMESPACE.dead_letters"
    WHERE dead_letter_id IN (SELECT unhex(value, '-') FROM json_each(?1))"#;

const DEATHS: &str = r#"
    SELECT entry_key, state, sum(copies - (last_failed_at < ?3)) AS number
    FROM "NAMESPACE.dead_letters"
    WHERE entry_key IN (SELECT unhex(value, '-') FROM json_each(?1))
        AND dead_letter_id NOT IN (SELECT unhex(value, '-') FROM json_each(?2))
    GROUP BY entry_key, state"#;

const MENDED: &str = r#"
    SELECT count(*) FROM "NAMESPACE.dead_letters"
    WHERE COALESCE(discarded_at, replayed_at, superseded_at) >= ?1
        AND state = 'replayed' AND event_id IS NULL"#;

const REPLAYED: &str = r#"
    SELECT event_id, destination, generation, new_ids, headers
    FROM "NAMESPACE.dead_letters" JOIN "NAMESPACE.replays" USING (replay_id)
    WHERE event_id IN (SELECT unhex(value, '-') FROM json_each(?1)) AND stage = ?2
        AND destination IS NOT NULL"#;

#[async_trait]
impl WatchedLetters for SqliteStore {
    async fn letter_states(&self, letters: &[Uuid]) -> Result<Vec<Option<DeadState>>, StoreError> {
        let asked = document(letters)?;
        let rows: Vec<(Uuid, String)> = self.link.rows(LETTERS, |query| query.bind(asked)).await?;
        states_in_order(rows, letters)
    }

    async fn deaths_by_entry(
        &self,
        keys: &[Uuid],
        without: &[Uuid],
        since: OffsetDateTime,
    ) -> Result<Vec<Deaths>, StoreError> {
        let (asked, others) = (document(keys)?, document(without)?);
        let rows: Vec<DeathsRow> = self
            .link
            .rows(DEATHS, |query| {
                query.bind(asked).bind(others).bind(comparable(since))
            })
            .await?;
        deaths_in_order(rows, keys)
    }

    async fn count_mended(&self, since: OffsetDateTime) -> Result<u64, StoreError> {
        let (mended,): (i64,) = self
            .link
            .one(MENDED, |query| query.bind(comparable(since)))
            .await?;
        Ok(mended.unsigned_abs())
    }

    async fn new_ids(&self, events: &[EventId]) -> Result<HashMap<DeliveryKey, u32>, StoreError> {
        let asked = ids(events)?;
        let rows: Vec<ReplayedRow> = self
            .link
            .rows(REPLAYED, |query| query.bind(asked).bind(INTEGRATE))
            .await?;
        named_anew(rows)
    }
}
