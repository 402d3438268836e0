//! Looking up the standings of events.

use async_trait::async_trait;
use uuid::Uuid;

use super::SqliteStore;
use super::link::{Link, document};
use crate::event::EventId;
use crate::store::standing::{FactRow, Facts};
use crate::store::{EventStatus, Standing, Statuses, StoreError};

/// One statement sees one moment: a row that moves between tables meanwhile is seen in one of them.
const FACTS: &str = r#"SELECT place,
    (SELECT json_object('type', type, 'publisher', publisher, 'received_at', received_at,
                        'accepted_at', accepted_at, 'stored_at', stored_at, 'filtered', json(filtered),
                        'schedule', (SELECT json_object('not_before', not_before, 'released_at', released_at,
                                                        'cancelled_at', cancelled_at)
                                     FROM "NAMESPACE.scheduled_events" WHERE event_id = asked.id))
     FROM "NAMESPACE.events" WHERE event_id = asked.id) AS event,
    (SELECT json_group_array(json_object(
            'destination', destination, 'generation', generation, 'status', status,
            'attempts', attempts, 'due_at', due_at, 'last_attempt_at', last_attempt_at, 'delivered_at', delivered_at,
            'last_error', last_error))
     FROM "NAMESPACE.deliveries" WHERE event_id = asked.id) AS deliveries,
    (SELECT json_group_array(json_object(
            'dead_letter_id', lower(hex(dead_letter_id)), 'type', type, 'destination', destination,
            'generation', generation, 'reason', reason, 'last_failed_at', last_failed_at,
            'state', state, 'replayed_at', replayed_at,
            'publisher', headers ->> '$."longshore-publisher"'))
     FROM "NAMESPACE.dead_letters" WHERE event_id = asked.id) AS letters,
    (SELECT json_group_array(json_object(
            'type', type, 'publisher', publisher, 'reason', reason, 'errors', json(errors), 'received_at', received_at,
            'rejected_at', rejected_at))
     FROM "NAMESPACE.rejections" WHERE event_id = asked.id) AS rejections
    FROM (SELECT key AS place, unhex(value, '-') AS id FROM json_each($1)) AS asked"#;

#[async_trait]
impl Statuses for SqliteStore {
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
    let ids = document(&events.iter().map(|id| id.uuid()).collect::<Vec<Uuid>>())?;
    let rows: Vec<FactRow> = link.rows(FACTS, |query| query.bind(ids)).await?;
    Facts::in_order(&rows, events.len())
}
