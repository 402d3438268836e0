//! Counting events at rest, and keeping the others.

use common::bootstrap::Failure;
use common::event::EventId;

use super::altered::Foreign;
use super::places::{self, Place};
use super::spill::{Buckets, Line, NO_KEY, Spill};
use super::{BATCH, Survey, Surveyor, no_room};

/// Counts lines into a survey; a line that is not at rest is open.
pub(super) struct Ledger<'a> {
    surveyor: &'a Surveyor<'a>,
    survey: &'a mut Survey,
    open: Spill,
    /// Foreign ones that are known nowhere by their own ids, by entry keys.
    unnamed: Buckets,
    /// The newest entry that has come as far as a table.
    passed: Option<u64>,
}

impl<'a> Ledger<'a> {
    pub(super) fn new(surveyor: &'a Surveyor<'a>, survey: &'a mut Survey) -> Result<Self, Failure> {
        Ok(Self {
            surveyor,
            survey,
            open: Spill::new().map_err(no_room)?,
            unnamed: Buckets::new().map_err(no_room)?,
            passed: None,
        })
    }

    /// Counts the lines of one bucket, sorted: those of one key are one event.
    pub(super) async fn count(&mut self, mut lines: Vec<Line>) -> Result<(), Failure> {
        let all = lines.len();
        lines.dedup_by(|again, line| {
            let is_same = again.key == line.key;
            line.copies += u32::from(is_same);
            is_same
        });
        self.survey.received += lines.len() as u64;
        self.survey.repeated += (all - lines.len()) as u64;
        for lines in lines.chunks(BATCH) {
            self.settle(lines).await?;
        }
        Ok(())
    }

    /// Looks once more at the open lines.
    pub(super) async fn count_again(&mut self, open: &mut Spill) -> Result<(), Failure> {
        let mut lines = open.lines().map_err(no_room)?;
        loop {
            let batch: Vec<Line> = lines
                .by_ref()
                .take(BATCH)
                .collect::<Result<_, _>>()
                .map_err(no_room)?;
            if batch.is_empty() {
                return Ok(());
            }
            self.settle(&batch).await?;
        }
    }

    /// The open lines, and the newest entry that has come as far as a table. First, lines that are unknown by their own
    /// ids are looked up by their entry keys; `foreign` are all entries of the window that have one.
    pub(super) async fn finish(
        mut self,
        foreign: &mut Foreign,
    ) -> Result<(Spill, Option<u64>), Failure> {
        let mut unnamed = std::mem::replace(&mut self.unnamed, Buckets::new().map_err(no_room)?);
        let since = self.survey.since.map(|since| since.0);
        let surveyor = self.surveyor;
        let enter = |line: &Line, place| self.enter(line, place);
        foreign.settle(surveyor, &mut unnamed, since, enter).await?;
        Ok((self.open, self.passed))
    }

    async fn settle(&mut self, lines: &[Line]) -> Result<(), Failure> {
        let unknown = self.settle_by_id(lines).await?;
        let (renamed, unknown) = renamed(self.surveyor, unknown).await?;
        self.settle_by_id(&renamed).await?;
        for line in &unknown {
            self.unnamed.push_by_entry(line).map_err(no_room)?;
        }
        Ok(())
    }

    /// Says which foreign ones are known nowhere.
    async fn settle_by_id(&mut self, lines: &[Line]) -> Result<Vec<Line>, Failure> {
        let events: Vec<EventId> = lines.iter().filter_map(Line::event).collect();
        let watching = self.surveyor.store.watching();
        let mut completed = watching.are_completed(&events).await?.into_iter();
        let mut rest = Vec::new();
        for line in lines {
            if line.event().is_some() && completed.next() == Some(true) {
                self.survey.completed += 1;
                self.passed = self.passed.max(Some(line.offset));
            } else {
                rest.push(*line);
            }
        }
        let places = places::of(self.surveyor, &rest).await?;
        let mut unknown = Vec::new();
        for (line, place) in rest.iter().zip(places) {
            if place == Place::Nowhere(None) && line.entry != NO_KEY {
                unknown.push(*line);
            } else {
                self.enter(line, place)?;
            }
        }
        Ok(unknown)
    }

    fn enter(&mut self, line: &Line, place: Place) -> Result<(), Failure> {
        if place != Place::Nowhere(None) {
            self.passed = self.passed.max(Some(line.offset));
        }
        match place {
            Place::Completed => self.survey.completed += 1,
            Place::Dead => self.survey.dead += 1,
            Place::Scheduled => self.survey.scheduled += 1,
            Place::Cancelled => self.survey.cancelled += 1,
            Place::Mended => self.survey.mended += 1,
            Place::Rejected(code) => *self.survey.rejected.entry(code).or_default() += 1,
            Place::Nowhere(_) => self.open.push(line).map_err(no_room)?,
        }
        Ok(())
    }
}

/// Lines that are unknown by their own ids: first those whose events have another id than in the history, under that
/// id; then the others.
async fn renamed(
    surveyor: &Surveyor<'_>,
    unknown: Vec<Line>,
) -> Result<(Vec<Line>, Vec<Line>), Failure> {
    let events: Vec<EventId> = unknown.iter().filter_map(Line::event).collect();
    let watching = surveyor.store.watching();
    let mut known = watching.events_of_stream(&events).await?.into_iter();
    let (mut renamed, mut others) = (Vec::new(), Vec::new());
    for line in unknown {
        match line.event().and_then(|_| known.next().flatten()) {
            Some(event) => renamed.push(Line {
                key: event.uuid().as_u128(),
                entry: NO_KEY,
                ..line
            }),
            None => others.push(line),
        }
    }
    Ok((renamed, others))
}
