//! What became of everything that was received: the history compared with the tables and the queues.
//!
//! Each entry of the history is looked up in the tables. What is at rest there is settled. What is not may be
//! on its way, so the queues are asked, and then the tables once more: what had left its queue by the time the
//! queues were asked has reached a table by then. What is still at rest nowhere, and cannot be waiting in a
//! queue either, is *stuck*.
//!
//! What this cannot see: messages that a worker has in hand are in no queue's count. Where handling takes longer
//! than the grace, something may be called stuck that is not; sending it again does no harm.

mod live;
mod places;
mod waiting;

use std::collections::{BTreeMap, HashSet};

use common::bootstrap::Failure;
use common::broker::Broker;
use common::event::EventId;
use common::store::{Moment, Standing, Store};
use common::topology::{Names, Topology};
use futures_util::StreamExt as _;
use futures_util::stream;
use serde::Serialize;
use time::{Duration, OffsetDateTime};
use uuid::Uuid;

use crate::history::{Entry, Judge, Reader, Window};
pub(crate) use live::{Found, survey};
use places::Place;
use waiting::Waiting;

/// So many entries are looked up in one go.
const BATCH: usize = 500;

/// So many are looked up one by one at once.
const LOOK_UPS: usize = 8;

/// What a survey works on.
pub(crate) struct Surveyor<'a> {
    pub(crate) broker: &'a dyn Broker,
    pub(crate) store: &'a dyn Store,
    pub(crate) topology: &'a Topology,
    pub(crate) names: &'a Names,
    pub(crate) judge: &'a Judge,
    /// What was received less than this ago is on its way.
    pub(crate) grace: Duration,
}

/// What became of everything that was received in a window.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Survey {
    /// The beginning of the window.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) since: Option<Moment>,
    /// When it was taken.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) at: Option<Moment>,
    /// Distinct events, and messages that are none.
    pub(crate) received: u64,
    /// Received again under the same id, beside these.
    pub(crate) repeated: u64,
    /// Stored, and everything that was due is done.
    pub(crate) completed: u64,
    /// Refused, by code.
    pub(crate) rejected: BTreeMap<String, u64>,
    /// Given up: there is a dead letter.
    pub(crate) dead: u64,
    /// No events when they died, and sent again since: what they became has an id of its own.
    pub(crate) mended: u64,
    /// Waiting in a queue, as far as can be told, or received within the grace.
    pub(crate) under_way: u64,
    /// At rest nowhere and in no queue.
    pub(crate) stuck: u64,
    /// Messages in the queues of the workers and of delays.
    pub(crate) waiting: BTreeMap<String, u64>,
    /// Whether everything received is accounted for and nothing is stuck.
    pub(crate) balances: bool,
}

/// An event that is at rest nowhere.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Stuck {
    /// The event, where the message is one.
    pub(crate) event: Option<EventId>,
    /// Its type.
    #[serde(rename = "type")]
    pub(crate) kind: String,
    /// When it was received.
    pub(crate) received_at: Option<Moment>,
    /// Where it stands in the tables; `null` where nothing is known of it.
    pub(crate) status: Option<Standing>,
    /// Its place in the history.
    pub(crate) offset: u64,
}

/// An entry that is not at rest.
struct Candidate {
    stuck: Stuck,
    /// The dead letter that it may have become before it had an id.
    letter: Uuid,
}

impl Surveyor<'_> {
    /// Takes the survey. `read` is told how many entries were read.
    ///
    /// # Errors
    /// Broker or database cannot say.
    pub(crate) async fn take(
        &self,
        window: Window,
        now: OffsetDateTime,
        read: impl Fn(u64),
    ) -> Result<(Survey, Vec<Stuck>), Failure> {
        let mut survey = Survey {
            since: window.from.map(Moment),
            at: Some(Moment(now)),
            ..Survey::default()
        };
        let mut reader = Reader::open(self.broker, window, None).await?;
        let mut seen: HashSet<Uuid> = HashSet::new();
        let mut candidates = Vec::new();
        let mut head = None;
        loop {
            let entries = batch(&mut reader, self.judge).await?;
            if entries.is_empty() {
                break;
            }
            read(entries.len() as u64);
            let mut fresh = Vec::with_capacity(entries.len());
            for entry in entries {
                let letter = self.judge.letter_of(&entry, 0);
                let key = entry.event.map_or(letter, EventId::uuid);
                if seen.insert(key) {
                    fresh.push(Candidate::of(entry, letter));
                } else {
                    survey.repeated += 1;
                }
            }
            survey.received += fresh.len() as u64;
            self.settle(fresh, &mut survey, &mut candidates, &mut head)
                .await?;
        }
        let stuck = self
            .judge_candidates(candidates, now, head, &mut survey)
            .await?;
        survey.stuck = stuck.len() as u64;
        let rejected: u64 = survey.rejected.values().sum();
        let known = survey.completed + rejected + survey.dead + survey.mended + survey.under_way;
        survey.balances = known == survey.received;
        Ok((survey, stuck))
    }

    /// Counts what is at rest; the others are candidates. `head` becomes the newest moment at which something
    /// was received that has come as far as the database.
    async fn settle(
        &self,
        fresh: Vec<Candidate>,
        survey: &mut Survey,
        candidates: &mut Vec<Candidate>,
        head: &mut Option<OffsetDateTime>,
    ) -> Result<(), Failure> {
        let places = places::of(self, &fresh).await?;
        for (mut candidate, place) in fresh.into_iter().zip(places) {
            let at = candidate.stuck.received_at.map(|at| at.0);
            if place != Place::Nowhere(None) {
                *head = (*head).max(at);
            }
            match place {
                Place::Completed => survey.completed += 1,
                Place::Dead => survey.dead += 1,
                Place::Mended => survey.mended += 1,
                Place::Rejected(code) => *survey.rejected.entry(code).or_default() += 1,
                Place::Nowhere(standing) => {
                    candidate.stuck.status = standing;
                    candidates.push(candidate);
                }
            }
        }
        Ok(())
    }

    async fn judge_candidates(
        &self,
        candidates: Vec<Candidate>,
        now: OffsetDateTime,
        mut head: Option<OffsetDateTime>,
        survey: &mut Survey,
    ) -> Result<Vec<Stuck>, Failure> {
        let waiting = Waiting::ask(self).await?;
        survey.waiting = waiting.counts();
        let mut stuck = Vec::new();
        let mut candidates = candidates.into_iter().peekable();
        while candidates.peek().is_some() {
            let some: Vec<Candidate> = candidates.by_ref().take(BATCH).collect();
            // What had left its queue before the queues were asked is at rest by now.
            let mut left = Vec::new();
            self.settle(some, survey, &mut left, &mut head).await?;
            let judged = left.into_iter().map(async |candidate| {
                let it = &candidate.stuck;
                let young = it.received_at.is_some_and(|at| now - at.0 < self.grace);
                let may_wait = young || waiting.may_hold(self, it, head).await?;
                Ok::<_, Failure>((candidate, may_wait))
            });
            let mut judged = stream::iter(judged).buffered(LOOK_UPS);
            while let Some(judged) = judged.next().await {
                match judged? {
                    (_, true) => survey.under_way += 1,
                    (candidate, false) => stuck.push(candidate.stuck),
                }
            }
        }
        Ok(stuck)
    }
}

impl Candidate {
    fn of(entry: Entry, letter: Uuid) -> Self {
        Self {
            stuck: Stuck {
                event: entry.event,
                kind: entry.kind,
                received_at: entry.at.map(Moment),
                status: None,
                offset: entry.offset,
            },
            letter,
        }
    }
}

async fn batch(reader: &mut Reader, judge: &Judge) -> Result<Vec<Entry>, Failure> {
    let mut entries = Vec::with_capacity(BATCH);
    while entries.len() < BATCH
        && let Some(entry) = reader.next().await?
    {
        entries.push(judge.judge(entry));
    }
    Ok(entries)
}

#[cfg(test)]
mod tests;
