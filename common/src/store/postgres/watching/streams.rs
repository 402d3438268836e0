//! What is asked of events that the history has under another id.

use std::sync::Arc;

use uuid::Uuid;

use super::uuids;
use crate::event::EventId;
use crate::store::StoreError;
use crate::store::postgres::link::Link;
use crate::store::tables::watching::events_in_order;

const EVENTS: &str = "
    SELECT DISTINCT ON (stream_id) stream_id, event_id
    FROM (SELECT stream_id, event_id, received_at FROM events WHERE stream_id = ANY($1)
          UNION ALL
          SELECT stream_id, event_id, received_at FROM rejections WHERE stream_id = ANY($1)) AS known
    ORDER BY stream_id, received_at DESC NULLS LAST";

pub(super) async fn events_of_stream(
    link: &Link,
    stream_ids: &[EventId],
) -> Result<Vec<Option<EventId>>, StoreError> {
    if stream_ids.is_empty() {
        return Ok(Vec::new());
    }
    let ids = uuids(stream_ids);
    let rows: Vec<(Uuid, Uuid)> = link
        .run(move |connection| {
            let ids = Arc::clone(&ids);
            Box::pin(async move {
                let query = sqlx::query_as(EVENTS).bind(&ids[..]);
                query.fetch_all(connection).await
            })
        })
        .await?;
    Ok(events_in_order(rows, stream_ids))
}
