//! Sending stuck events on their way again: harmless for every event.

use std::collections::HashMap;

use common::bootstrap::Failure;
use common::broker::{Address, Publication, PublishError};
use common::event::{EventId, Trail, header};
use common::message::{CLOUDEVENTS_JSON, Headers, Message};
use common::runtime::Received;
use common::store::{AuditAction, DeliveryKey, DueDelivery, StoredBody};
use serde::Serialize;
use serde_json::json;

use super::{Missing, Surveyor};
use crate::history::{Entry, Reader, Window};
use crate::roles::{Requester, permit};

/// The message as it came through the door, for the validate worker to judge once more. It says that it may have come
/// before, so each stage looks whether its work is done.
pub fn as_received(received: &Received) -> Message {
    let mut message = received.message.clone();
    // We publish it now, so its headers will be believed: they hold the facts that the worker at the door believed.
    message.user_id = None;
    let trail = Trail {
        again: true,
        ..received.trail.onward()
    };
    trail.write(&mut message.headers);
    message
        .headers
        .set(header::ROUTING_KEY, received.routing_key.as_str());
    message
}

/// The message of a delivery that is due, as the store stage or a replay would have handed it on after as many
/// attempts. `new_ids` are those of the event's deliveries.
pub fn as_stored(
    body: &StoredBody,
    due: &DueDelivery,
    new_ids: &HashMap<DeliveryKey, u32>,
) -> Message {
    let trail = Trail {
        attempt: due.attempts,
        generation: due.key.generation,
        new_id: new_ids.get(&due.key).copied().unwrap_or_default(),
        publisher: Some(common::event::Publisher::trusted(&body.publisher)),
        received_at: Some(body.received_at),
        accepted_at: Some(body.accepted_at),
        again: true,
        ..Trail::default()
    };
    of_body(body, &trail)
}

/// The message that releases a scheduled event: the store stage hands the event on.
pub fn as_release(body: &StoredBody) -> Message {
    let trail = Trail {
        publisher: Some(common::event::Publisher::trusted(&body.publisher)),
        received_at: Some(body.received_at),
        accepted_at: Some(body.accepted_at),
        release: true,
        ..Trail::default()
    };
    of_body(body, &trail)
}

fn of_body(body: &StoredBody, trail: &Trail) -> Message {
    let mut headers = Headers::default();
    trail.write(&mut headers);
    headers.set(header::ROUTING_KEY, body.kind.as_str());
    Message {
        body: body.body.clone().into(),
        content_type: Some(CLOUDEVENTS_JSON.to_owned()),
        message_id: Some(body.event.to_string()),
        kind: Some(body.kind.clone()),
        app_id: Some(body.source.clone()),
        headers,
        ..Message::default()
    }
}

/// The events sent on their way again.
#[derive(Debug, Default, PartialEq, Eq, Serialize)]
pub struct Requeued {
    /// Messages that the broker has confirmed.
    pub sent: u64,
    /// Events that cannot be sent, by their place in the history, with why.
    pub left: Vec<(u64, String)>,
}

/// Sends missing events on their way again: events that are not stored to `validate`, stored ones to the destinations
/// where a delivery is due, as that delivery.
///
/// # Errors
/// The role of `by` does not allow it, or broker or database are out of reach.
pub async fn requeue(
    surveyor: &Surveyor<'_>,
    missing: &[Missing],
    by: &Requester,
) -> Result<Requeued, Failure> {
    let act = by
        .act(AuditAction::EventsRequeue, "events")
        .changing(None, Some(json!({ "events": missing.len() })));
    permit(surveyor.store, &act).await?;
    // Before the first is sent: the broker has no part in the transaction, and what is sent is harmless.
    surveyor.store.audit().record(&act).await?;
    let mut requeued = Requeued::default();
    // The history may make another id of an event than it has.
    let wanted: HashMap<u64, Option<EventId>> = missing
        .iter()
        .filter_map(|it| Some((it.offset?, it.event)))
        .collect();
    let (Some(&first), Some(&last)) = (wanted.keys().min(), wanted.keys().max()) else {
        return Ok(requeued);
    };
    let position = first.checked_sub(1);
    let mut reader = Reader::open(
        surveyor.broker,
        surveyor.judge.logins(),
        Window::default(),
        position,
    )
    .await?;
    while let Some(entry) = reader.next().await? {
        if entry.offset > last {
            break;
        }
        let Some(event) = wanted.get(&entry.offset) else {
            continue;
        };
        let entry = surveyor.judge.judge(entry);
        for publication in publications(surveyor, &entry, *event).await? {
            match surveyor.broker.publish(publication).await {
                Ok(()) => requeued.sent += 1,
                Err(error @ (PublishError::Unroutable { .. } | PublishError::Invalid(_))) => {
                    requeued.left.push((entry.offset, error.to_string()));
                }
                Err(error) => return Err(Failure::Unreachable(error.to_string())),
            }
        }
    }
    Ok(requeued)
}

async fn publications(
    surveyor: &Surveyor<'_>,
    entry: &Entry,
    event: Option<EventId>,
) -> Result<Vec<Publication>, Failure> {
    let watching = surveyor.store.watching();
    let event: Vec<EventId> = event.into_iter().collect();
    let Some(body) = watching.stored_bodies(&event).await?.pop() else {
        let to = Address::Queue(surveyor.names.validate());
        let message = as_received(&entry.received);
        return Ok(vec![Publication { to, message }]);
    };
    let due = watching.due_of(&event).await?;
    let new_ids = watching.new_ids(&event).await?;
    let publication = |delivery: DueDelivery| Publication {
        to: Address::Queue(surveyor.names.integrate(&delivery.key.destination)),
        message: as_stored(&body, &delivery, &new_ids),
    };
    Ok(due.into_iter().map(publication).collect())
}
