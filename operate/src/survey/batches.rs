//! The lines that are open, in batches, each with where it is due.

use std::collections::HashMap;

use common::bootstrap::Failure;
use common::event::EventId;

use super::spill::{Line, Spill};
use super::{BATCH, Surveyor, no_room};

/// Where a stored event is due.
#[derive(Debug, Default)]
pub(super) struct DueAt {
    /// The destinations whose queue has a message of it, or should.
    pub(super) destinations: Vec<String>,
    /// Whether it is behind others of its key at a destination: it has no message there, and is under way as those are.
    pub(super) is_behind: bool,
}

impl DueAt {
    /// Whether it is due nowhere.
    pub(super) fn is_empty(&self) -> bool {
        self.destinations.is_empty() && !self.is_behind
    }
}

/// Reads the lines from the first on.
pub(super) struct Batches<L> {
    lines: L,
    asks_where: bool,
}

impl Batches<()> {
    /// All lines that are open.
    pub(super) fn of(
        open: &mut Spill,
    ) -> Result<Batches<impl Iterator<Item = std::io::Result<Line>> + use<>>, Failure> {
        let lines = open.lines().map_err(no_room)?;
        Ok(Batches {
            lines,
            asks_where: true,
        })
    }
}

impl<L: Iterator<Item = std::io::Result<Line>>> Batches<L> {
    /// Does not ask the database again where nothing is known to be due.
    pub(super) fn due_somewhere(self, is_due: bool) -> Self {
        Self {
            asks_where: is_due,
            ..self
        }
    }

    /// The next ones, each with where it is due; `None` at the end.
    pub(super) async fn next(
        &mut self,
        surveyor: &Surveyor<'_>,
    ) -> Result<Option<Vec<(Line, DueAt)>>, Failure> {
        let lines: Result<Vec<Line>, _> = self.lines.by_ref().take(BATCH).collect();
        let lines = lines.map_err(no_room)?;
        if lines.is_empty() {
            return Ok(None);
        }
        let events: Vec<EventId> = lines.iter().filter_map(Line::event).collect();
        let mut due: HashMap<EventId, DueAt> = HashMap::new();
        if self.asks_where && !events.is_empty() {
            for delivery in surveyor.store.watching().due_of(&events).await? {
                let at = due.entry(delivery.key.event).or_default();
                match delivery.is_behind {
                    true => at.is_behind = true,
                    false => at.destinations.push(delivery.key.destination),
                }
            }
        }
        let with_due = lines.into_iter().map(|line| {
            let due = line.event().and_then(|event| due.remove(&event));
            (line, due.unwrap_or_default())
        });
        Ok(Some(with_due.collect()))
    }
}
