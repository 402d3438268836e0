//! Looking up the standings of events.

use async_trait::async_trait;
use uuid::Uuid;

use super::PostgresStore;
use super::link::Link;
use crate::event::EventId;
use crate::store::standing::{FactRow, Facts};
use crate::store::{EventStatus, Standing, Statuses, StoreError};

/// One statement sees one moment: a row that moves between tables meanwhile is seen in one of them. The columns
/// are text, because only text keeps all that JSON may hold there. An unknown event has no row: the survey asks
/// for a million of these, and each row takes four more questions.
const FACTS: &str = r#"SELECT place - 1 AS place,
    (SELECT row_to_json(found)::text FROM (
        SELECT type, publisher, received_at, accepted_at, stored_at, filtered,
            (SELECT row_to_json(moment) FROM (
                SELECT not_before, released_at, cancelled_at
                FROM scheduled_events WHERE event_id = asked.id) AS moment) AS schedule
        FROM events WHERE event_id = asked.id) AS found) AS event,
    (SELECT COALESCE(json_agg(found), '[]')::text FROM (
        SELECT destination, generation, status, attempts, due_at, last_attempt_at,
               delivered_at, last_error
        FROM deliveries WHERE event_id = asked.id) AS found) AS deliveries,
    (SELECT COALESCE(json_agg(found), '[]')::text FROM (
        SELECT dead_letter_id, type, destination, generation, reason, last_failed_at, state, replayed_at,
               -- Not by `->>`: a NUL anywhere in the headers would be an error.
               substring(headers::text FROM '"longshore-publisher":"([^"\\]*)"') AS publisher
        FROM dead_letters WHERE event_id = asked.id) AS found) AS letters,
    (SELECT COALESCE(json_agg(found), '[]')::text FROM (
        SELECT type, publisher, reason, errors, received_at, rejected_at
        FROM rejections WHERE event_id = asked.id) AS found) AS rejections
    FROM UNNEST($1::uuid[]) WITH ORDINALITY AS asked (id, place)
    WHERE id IN (SELECT event_id FROM events WHERE event_id = ANY($1)
                 UNION ALL
                 SELECT event_id FROM deliveries WHERE event_id = ANY($1)
                 UNION ALL
                 SELECT event_id FROM dead_letters WHERE event_id = ANY($1)
                 UNION ALL
                 SELECT event_id FROM rejections WHERE event_id = ANY($1))"#;

#[async_trait]
impl Statuses for PostgresStore {
    async fn status(&self, id: EventId) -> Result<Option<EventStatus>, StoreError> {
        let known = facts(&self.link, &[id]).await?;
        Ok(known.into_iter().next().and_then(|known| known.judge(id)))
    }

    async fn standings(&self, ids: &[EventId]) -> Result<Vec<Option<Standing>>, StoreError> {
        let known = facts(&self.link, ids).await?;
        Ok(known.iter().map(Facts::standing).collect())
    }
}

/// All that is known of each event, in the order asked.
async fn facts(link: &Link, events: &[EventId]) -> Result<Vec<Facts>, StoreError> {
    if events.is_empty() {
        return Ok(Vec::new());
    }
    let ids: Vec<Uuid> = events.iter().map(|id| id.uuid()).collect();
    let rows: Vec<FactRow> = link.rows(FACTS, move |query| query.bind(&ids)).await?;
    Facts::in_order(&rows, events.len())
}
