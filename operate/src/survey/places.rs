//! Where an entry of the history has come to, by the tables.

use common::bootstrap::Failure;
use common::event::EventId;
use common::store::{DeadState, Standing};
use uuid::Uuid;

use super::Surveyor;
use super::spill::Line;

/// Where it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Place {
    Completed,
    Rejected(String),
    Dead,
    /// It waits for its moment.
    Scheduled,
    Cancelled,
    /// It was not an event, and was sent again since.
    Mended,
    /// At rest nowhere; with its known standing.
    Nowhere(Option<Standing>),
}

/// The place of each, in order.
pub(super) async fn of(surveyor: &Surveyor<'_>, lines: &[Line]) -> Result<Vec<Place>, Failure> {
    let ids: Vec<EventId> = lines.iter().filter_map(Line::event).collect();
    let mut known = surveyor.store.standings(&ids).await?.into_iter();
    let standings: Vec<Option<Standing>> = lines
        .iter()
        .map(|it| it.event().and_then(|_| known.next().flatten()))
        .collect();
    // For lines that are unknown under an id of ours: the dead letter that each may have become in its first queue.
    let unknown = lines.iter().zip(&standings);
    let unknown = unknown.filter(|(_, standing)| standing.is_none());
    let letters: Vec<Uuid> = unknown.map(|(line, _)| line.letter()).collect();
    let states = surveyor.store.watching().letter_states(&letters).await?;
    let mut states = states.into_iter();
    let mut places = Vec::with_capacity(lines.len());
    for (line, standing) in lines.iter().zip(standings) {
        places.push(match standing {
            Some(Standing::Completed) => Place::Completed,
            Some(Standing::Dead) => Place::Dead,
            Some(Standing::Scheduled) => Place::Scheduled,
            Some(Standing::Cancelled) => Place::Cancelled,
            Some(Standing::Rejected) => Place::Rejected(code(surveyor, line).await?),
            Some(other) => Place::Nowhere(Some(other)),
            None => letter(states.next().flatten()),
        });
    }
    Ok(places)
}

/// Why it was rejected.
async fn code(surveyor: &Surveyor<'_>, line: &Line) -> Result<String, Failure> {
    let Some(event) = line.event() else {
        return Ok(String::new());
    };
    let rejections = surveyor.store.rejections(event).await?;
    Ok(rejections
        .last()
        .map_or_else(String::new, |last| last.code.to_string()))
}

fn letter(state: Option<DeadState>) -> Place {
    match state {
        None => Place::Nowhere(None),
        Some(DeadState::Open | DeadState::Discarded | DeadState::Replaying) => Place::Dead,
        // The new event has an id of its own.
        Some(DeadState::Replayed | DeadState::Superseded) => Place::Mended,
    }
}
