//! Deliveries as new messages, made of their rows: for those that are due and have none.

use std::collections::HashMap;

use common::event::EventId;
use common::message::Message;
use common::store::{DueDelivery, Store, StoreError, StoredBody};
use operate::survey::as_stored;

/// The messages of these deliveries, as far as the database still has their events.
///
/// # Errors
/// The database cannot say.
pub(crate) async fn messages(
    store: &dyn Store,
    due: Vec<DueDelivery>,
) -> Result<Vec<(DueDelivery, Message)>, StoreError> {
    let watching = store.watching();
    let events: Vec<EventId> = due.iter().map(|it| it.key.event).collect();
    let bodies: HashMap<EventId, StoredBody> = watching
        .stored_bodies(&events)
        .await?
        .into_iter()
        .map(|body| (body.event, body))
        .collect();
    let new_ids = watching.new_ids(&events).await?;
    let message = |it: DueDelivery| {
        let message = as_stored(bodies.get(&it.key.event)?, &it, &new_ids);
        Some((it, message))
    };
    Ok(due.into_iter().filter_map(message).collect())
}

/// The messages of the deliveries of these events that are due at a destination.
///
/// # Errors
/// The database cannot say.
pub(crate) async fn messages_at(
    store: &dyn Store,
    destination: &str,
    events: &[EventId],
) -> Result<Vec<(DueDelivery, Message)>, StoreError> {
    if events.is_empty() {
        return Ok(Vec::new());
    }
    let mut due = store.watching().due_of(events).await?;
    due.retain(|it| it.key.destination == destination);
    messages(store, due).await
}
