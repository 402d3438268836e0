//! The questions of the standing watch and the surveys.

mod deliveries;
mod events;
mod letters;
mod records;

use uuid::Uuid;

use crate::event::EventId;

fn uuids(events: &[EventId]) -> Vec<Uuid> {
    events.iter().map(|event| event.uuid()).collect()
}
