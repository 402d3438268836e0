//! Where an entry of the history has come to, by the tables.

use common::bootstrap::Failure;
use common::event::EventId;
use common::store::{DeadState, Standing};
use futures_util::StreamExt as _;
use futures_util::stream;
use uuid::Uuid;

use super::Surveyor;
use super::spill::Line;

/// How many are looked up one by one at once.
const LOOK_UPS: usize = 8;

/// Where it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Place {
    Completed,
    Rejected(String),
    Dead,
    /// It was no event, and was sent again since.
    Mended,
    /// At rest nowhere; with what is known of it.
    Nowhere(Option<Standing>),
}

/// The place of each, in order.
pub(super) async fn of(surveyor: &Surveyor<'_>, lines: &[Line]) -> Result<Vec<Place>, Failure> {
    let ids: Vec<EventId> = lines.iter().filter_map(Line::event).collect();
    let mut known = surveyor.store.at_rest(&ids).await?.into_iter();
    let standings: Vec<Option<Standing>> = lines
        .iter()
        .map(|it| it.event().and_then(|_| known.next().flatten()))
        .collect();
    let places = lines.iter().zip(standings).map(async |(it, standing)| {
        Ok::<_, Failure>(match standing {
            Some(Standing::Completed) => Place::Completed,
            Some(Standing::Dead) => Place::Dead,
            Some(Standing::Rejected) => Place::Rejected(code(surveyor, it).await?),
            Some(other) => Place::Nowhere(Some(other)),
            None => letter(surveyor, it.letter()).await?,
        })
    });
    let places: Vec<Result<Place, Failure>> =
        stream::iter(places).buffered(LOOK_UPS).collect().await;
    places.into_iter().collect()
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

/// Of what nothing is known under an id of ours: the dead letter that it may have become in its first queue.
async fn letter(surveyor: &Surveyor<'_>, id: Uuid) -> Result<Place, Failure> {
    let letter = surveyor.store.dead_letter(id).await?;
    Ok(match letter.map(|letter| letter.state) {
        None => Place::Nowhere(None),
        Some(DeadState::Open | DeadState::Discarded | DeadState::Replaying) => Place::Dead,
        Some(DeadState::Replayed | DeadState::Superseded) => Place::Mended,
    })
}
