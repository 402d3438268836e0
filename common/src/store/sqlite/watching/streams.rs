//! What is asked of events that the history has under another id.

use uuid::Uuid;

use super::ids;
use crate::event::EventId;
use crate::store::StoreError;
use crate::store::sqlite::link::Link;
use crate::store::tables::watching::events_in_order;

/// SQLite takes `event_id` from the row that has the maximum.
const EVENTS: &str = r#"
    SELECT stream_id, event_id, max(coalesce(received_at, '')) FROM (
        SELECT stream_id, event_id, received_at FROM "NAMESPACE.events"
        WHERE stream_id IN (SELECT unhex(value, '-') FROM json_each(?1))
        UNION ALL
        SELECT stream_id, event_id, received_at FROM "NAMESPACE.rejections"
        WHERE stream_id IN (SELECT unhex(value, '-') FROM json_each(?1)))
    GROUP BY stream_id"#;

pub(super) async fn events_of_stream(
    link: &Link,
    stream_ids: &[EventId],
) -> Result<Vec<Option<EventId>>, StoreError> {
    if stream_ids.is_empty() {
        return Ok(Vec::new());
    }
    let (query, asked) = (link.sql(EVENTS), ids(stream_ids)?);
    let rows: Vec<(Uuid, Uuid, String)> = link
        .read(move |connection| {
            Box::pin(async move {
                let query = sqlx::query_as(query).bind(asked);
                Ok(query.fetch_all(connection).await?)
            })
        })
        .await?;
    let rows = rows.into_iter().map(|(id, event, _)| (id, event));
    Ok(events_in_order(rows.collect(), stream_ids))
}
