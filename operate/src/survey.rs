//! The fate of every received event: the history compared with the tables and the queues.
//!
//! Every event received in a window is looked up in the tables; events at rest there are settled. The others get time,
//! and are meanwhile searched in the queues. An event found in neither is *stuck* if every place was seen, and
//! *unknown* if it may be in a place that no look can show. An event in the tables that was not received is *forged*,
//! or *unknown* if it is older than the history.
//!
//! Nothing that grows with the window is held in memory. The facts of each entry go into files without a name, divided
//! by id, and each part is sorted and looked up by itself.

mod altered;
mod batches;
mod census;
mod entries;
mod facts;
mod fate;
mod forged;
mod names;
mod places;
mod resend;
mod room;
mod scene;
mod settle;
mod spill;

use std::collections::BTreeMap;
use std::time::Duration;

use common::bootstrap::Failure;
use common::broker::Broker;
use common::config::Destination;
use common::event::EventId;
use common::store::{Moment, Standing, Store};
use common::topology::{Names, Topology};
use serde::Serialize;
use time::OffsetDateTime;
use tokio::time::Instant;

use self::altered::Foreign;
use self::census::Census;
use self::entries::Entries;
use self::fate::Fate;
use self::names::Kinds;
use self::scene::Scene;
use self::spill::{Buckets, Line, Spill};
use crate::history::{Judge, Reader, Window};

pub use self::fate::Trouble;
pub use self::resend::{Requeued, as_received, as_release, as_stored, requeue};
pub use self::scene::{Look, look_into_delays};

/// How many entries are looked up in one go.
const BATCH: usize = 500;

/// Maximum of troubles that are named; more are counted.
const MAX_NAMED: usize = 1_000;

/// The first and the longest wait between two looks at events that are not at rest.
const FIRST_WAIT: Duration = Duration::from_millis(500);
const LONGEST_WAIT: Duration = Duration::from_secs(5);

/// The dependencies of a survey.
pub struct Surveyor<'a> {
    /// Where messages wait, and the history.
    pub broker: &'a dyn Broker,
    /// Where everything comes to rest.
    pub store: &'a dyn Store,
    /// The queues there are.
    pub topology: &'a Topology,
    /// Their names.
    pub names: &'a Names,
    /// Reads entries of the history.
    pub judge: &'a Judge,
    /// The configured destinations.
    pub destinations: &'a [Destination],
    /// How long an event received just now may take to come to rest.
    pub patience: Duration,
}

/// The fate of every event received in a window.
#[derive(Debug, Default, Serialize)]
pub struct Survey {
    /// The beginning of the window.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub since: Option<Moment>,
    /// Its end: events received by then are in it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub at: Option<Moment>,
    /// Distinct events, and messages that are not events.
    pub received: u64,
    /// Received again under the same id, beside these.
    pub repeated: u64,
    /// Stored, and everything that was due is done.
    pub completed: u64,
    /// Refused, by code.
    pub rejected: BTreeMap<String, u64>,
    /// Given up: there is a dead letter.
    pub dead: u64,
    /// Stored, and waiting for their moment.
    pub scheduled: u64,
    /// Cancelled before their moment came.
    pub cancelled: u64,
    /// Not events when they died, and sent again since: the new events have ids of their own.
    pub mended: u64,
    /// Found waiting in a queue, by its id or by its place.
    pub under_way: u64,
    /// Not at rest, and not found in a queue, but some places could not be seen; or stored, and older than the history.
    pub unknown: u64,
    /// Not at rest, and in no queue.
    pub stuck: u64,
    /// Stored or delivered in the window, but never received.
    pub forged: u64,
    /// Stored in the window and received before it; not counted among the received.
    pub earlier: u64,
    /// Messages in the queues of the workers and of delays.
    pub waiting: BTreeMap<String, u64>,
    /// Whether everything received was found, and nothing else.
    pub balances: bool,
    /// The unknown, stuck and forged events, the first 1,000 of them.
    pub items: Vec<Missing>,
}

/// The events that are not at rest.
struct Open {
    lines: Spill,
    /// The newest entry that has come as far as a table.
    passed: Option<u64>,
    /// All entries of the window that did not come through our own door.
    foreign: Foreign,
    /// The messages that may wait beside them.
    census: Census,
}

/// An event that something is wrong with.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Missing {
    /// The problem.
    pub verdict: Trouble,
    /// The event, where the message is one.
    pub event: Option<EventId>,
    /// Its type.
    #[serde(rename = "type")]
    pub kind: String,
    /// When it was received, from a trusted source.
    pub received_at: Option<Moment>,
    /// Where it stands in the tables; `null` where nothing is known of it.
    pub status: Option<Standing>,
    /// Its place in the history; `null` where it has none.
    pub offset: Option<u64>,
    /// The known facts.
    pub known: String,
    /// What to do.
    pub advice: String,
}

impl Survey {
    /// What is stuck, or unknown: it can be sent on its way again.
    pub fn not_at_rest(&self) -> Vec<Missing> {
        let items = self.items.iter();
        items
            .filter(|it| it.verdict != Trouble::Forged)
            .cloned()
            .collect()
    }

    /// Whether everything is accounted for.
    ///
    /// # Errors
    /// It is not: how much of what is not.
    pub fn verdict(&self) -> Result<(), Failure> {
        if self.balances {
            return Ok(());
        }
        let troubles = [
            (self.stuck, "stuck"),
            (self.unknown, "unknown"),
            (self.forged, "forged"),
        ];
        let told = troubles.iter().filter(|(number, _)| *number > 0);
        let told: Vec<String> = told
            .map(|(number, what)| format!("{number} {what}"))
            .collect();
        Err(Failure::Failed(anyhow::anyhow!(
            "the ledger does not balance: {}",
            told.join(", ")
        )))
    }
}

impl Surveyor<'_> {
    /// Whether a destination's queue may have messages without a delivery of their own. A filter passes over some: the queue is
    /// bound by type. Where an order is kept, some are of deliveries behind others.
    fn has_other_messages(&self, name: &str) -> bool {
        let destination = self.destinations.iter().find(|it| it.name == name);
        destination.is_some_and(|it| it.filter.is_some() || it.order.is_some())
    }

    /// Takes the survey of the events received in `window` until now. `read` gets the number of entries read so far.
    ///
    /// # Errors
    /// Broker or database do not answer, or there is no room for temporary files.
    pub async fn take(
        &self,
        window: Window,
        now: OffsetDateTime,
        read: impl Fn(u64),
    ) -> Result<Survey, Failure> {
        let mut survey = Survey {
            since: window.from.map(Moment),
            at: Some(Moment(now)),
            ..Survey::default()
        };
        let began = Instant::now();
        let mut kinds = Kinds::default();
        let mut entries = self.read(window, &mut kinds, &read).await?;
        let mut facts = self.facts(window, now, &mut kinds).await?;
        let mut ledger = settle::Ledger::new(self, &mut survey)?;
        let mut strangers = forged::Strangers::new()?;
        for (received, facts) in entries.all.iter_mut().zip(facts.iter_mut()) {
            let received = spill::sorted(received).map_err(no_room)?;
            let facts = spill::sorted(facts).map_err(no_room)?;
            strangers.add(&received, facts)?;
            ledger.count(received).await?;
        }
        let strangers = strangers.finish(&mut entries.all)?;
        let (lines, passed) = ledger.finish(&mut entries.foreign).await?;
        let extent = entries.extent;
        let last = extent.last();
        let open = Open {
            lines,
            passed,
            foreign: entries.foreign,
            census: Census::new(window, extent),
        };
        survey.items = self.await_rest(open, &kinds, began, &mut survey).await?;
        let forged = forged::judge(self, window, last, strangers, &kinds, &mut survey).await?;
        survey.items.extend(forged);
        survey.items.truncate(MAX_NAMED);
        let rejected: u64 = survey.rejected.values().sum();
        let ended = survey.completed + rejected + survey.dead + survey.cancelled + survey.mended;
        let known = ended + survey.scheduled + survey.under_way;
        survey.balances = known == survey.received && survey.forged == 0 && survey.unknown == 0;
        Ok(survey)
    }

    /// Reads the window to its end, which is now.
    async fn read(
        &self,
        window: Window,
        kinds: &mut Kinds,
        read: &impl Fn(u64),
    ) -> Result<Entries, Failure> {
        let mut reader = Reader::open(self.broker, self.judge.logins(), window, None).await?;
        let mut entries = Entries::new()?;
        while let Some(entry) = reader.next().await? {
            entries.add(self.judge.identify(entry), kinds)?;
            read(1);
        }
        entries.extent.leave_out(reader.passed_over());
        Ok(entries)
    }

    /// The events that the tables stored or delivered in the window.
    async fn facts(
        &self,
        window: Window,
        now: OffsetDateTime,
        kinds: &mut Kinds,
    ) -> Result<Buckets, Failure> {
        let from = window.from.unwrap_or(OffsetDateTime::UNIX_EPOCH);
        facts::read(self.store, from, now, kinds).await
    }

    /// Looks at the open events until all are at rest or found waiting, or the patience is over. Counts all, and names
    /// the rest.
    async fn await_rest(
        &self,
        mut open: Open,
        kinds: &Kinds,
        began: Instant,
        survey: &mut Survey,
    ) -> Result<Vec<Missing>, Failure> {
        let mut scene = Scene::default();
        let mut wait = FIRST_WAIT;
        loop {
            let time_is_up = began.elapsed() >= self.patience;
            scene.look(self, time_is_up).await?;
            // A message that had left its queue before this look is at rest by now.
            let mut ledger = settle::Ledger::new(self, survey)?;
            ledger.count_again(&mut open.lines).await?;
            let (left, passed) = ledger.finish(&mut open.foreign).await?;
            open.lines = left;
            open.passed = open.passed.max(passed);
            let verdicts = fate::judge(self, &mut open, &scene).await?;
            let settled = verdicts.stuck + verdicts.unknown == 0;
            if settled || time_is_up {
                survey.waiting.clone_from(&scene.counts);
                survey.under_way += verdicts.under_way;
                survey.stuck += verdicts.stuck;
                survey.unknown += verdicts.unknown;
                return Ok(verdicts
                    .named
                    .into_iter()
                    .map(|(line, standing, fate)| missing(&line, standing, fate, kinds))
                    .collect());
            }
            let left = self.patience.saturating_sub(began.elapsed());
            tokio::time::sleep(wait.min(left)).await;
            wait = (wait * 2).min(LONGEST_WAIT);
        }
    }
}

fn missing(line: &Line, status: Option<Standing>, fate: Fate, kinds: &Kinds) -> Missing {
    let (verdict, known) = match fate {
        Fate::UnderWay => (Trouble::Unknown, String::new()),
        Fate::Stuck(known) => (Trouble::Stuck, known),
        Fate::Unknown(known) => (Trouble::Unknown, known),
    };
    let advice = match verdict {
        Trouble::Stuck => "`longshore events stuck --requeue` sends it on its way again",
        _ => {
            "see that the queue is consumed, then look again with a longer --patience or an earlier --since; \
             `longshore events stuck --requeue` sends it on its way again and harms nothing"
        }
    };
    Missing {
        verdict,
        event: line.event(),
        kind: kinds.name(line.kind).to_owned(),
        received_at: line.moment().map(Moment),
        status,
        offset: Some(line.offset),
        known,
        advice: advice.to_owned(),
    }
}

/// A temporary file cannot be written or read.
fn no_room(error: std::io::Error) -> Failure {
    Failure::Failed(anyhow::anyhow!(
        "a temporary file in {}: {error}; give it room, or set TMPDIR to a folder that has some",
        std::env::temp_dir().display()
    ))
}

#[cfg(test)]
mod tests;
