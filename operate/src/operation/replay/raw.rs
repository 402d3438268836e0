//! The message that an entry of the history becomes again.

use common::event::{Trail, content, header};
use common::message::{Message, belongs_to_broker};
use common::store::EventRecord;

use crate::history::Entry;

/// The message as it came through the door, for the validate worker to judge once more.
pub(crate) fn raw(entry: &Entry, generation: u32) -> Message {
    let mut message = entry.received.message.clone();
    // We publish the message now, so its headers will be believed: they say what the worker at the door believed.
    message.user_id = None;
    message.headers.retain(|name| !belongs_to_broker(name));
    send_again(&mut message, &entry.received.trail, generation);
    let routing_key = entry.received.routing_key.as_str();
    message.headers.set(header::ROUTING_KEY, routing_key);
    message
}

/// The canonical event that validation has made of an entry, for a queue behind validation.
pub(crate) fn canonical(mut message: Message, generation: u32) -> Message {
    let trail = Trail::read(&message.headers);
    send_again(&mut message, &trail, generation);
    if let Some(kind) = message.kind.clone() {
        message.headers.set(header::ROUTING_KEY, kind);
    }
    message
}

/// The event as it is stored, where its id differs from the id that the history makes of the entry. It has no
/// password hash: the hash is stored already, and the one in the entry is sealed for the other id.
pub(crate) fn as_stored(accepted: &Message, record: &EventRecord) -> Message {
    let mut message = Message {
        body: record.body.clone().into(),
        message_id: Some(record.status.id.to_string()),
        ..accepted.clone()
    };
    message.headers.remove(header::SEALED_PASSWORD_HASH);
    message
}

fn send_again(message: &mut Message, trail: &Trail, generation: u32) {
    let trail = Trail {
        generation,
        // The message was there before, so its worker must look whether the work is done.
        again: true,
        ..trail.onward()
    };
    trail.write(&mut message.headers);
}

/// The database's record of an event, if there is one.
pub(crate) struct Knowledge<'k>(pub(crate) Option<&'k EventRecord>);

impl Knowledge<'_> {
    /// Why an accepted event may not go to a destination, if so. Only stored events are delivered, and only with
    /// the stored content; none that waits for its moment, or was cancelled.
    pub(crate) fn objection(&self, message: &Message) -> Option<&'static str> {
        match self.0 {
            None => Some("not_stored"),
            Some(record) if record.status.is_held => Some("held"),
            Some(record) if content::is_same(record.body.as_bytes(), &message.body) => None,
            Some(_) => Some("other_content"),
        }
    }
}
