//! The questions of the standing watch and the surveys.

mod deliveries;
mod events;
mod letters;
mod records;

use super::link::document;
use crate::event::EventId;
use crate::sqlite::Error;

fn ids(events: &[EventId]) -> Result<String, Error> {
    document(&events.iter().map(|event| event.uuid()).collect::<Vec<_>>())
}
