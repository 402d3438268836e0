//! The questions of the standing watch and the surveys.

mod deliveries;
mod events;
mod letters;
mod records;

use std::sync::Arc;

use uuid::Uuid;

use crate::event::EventId;

fn uuids(events: &[EventId]) -> Arc<[Uuid]> {
    events.iter().map(|event| event.uuid()).collect()
}
