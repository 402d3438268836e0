//! `longshore demo`: real input through a fresh system with failing receivers, and the ledger.

mod input;
mod ledger;
mod plan;
mod receiver;
mod send;
mod text;
mod watch;

use std::collections::{HashMap, HashSet};

use clap::Args;
use common::bootstrap::Failure;
use common::event::EventId;
use common::reason::ReasonCode;
use common::store::{DeadFilter, DeadState, EventStatus, Operation, OperationKind, Rejections};
use common::telemetry::stderr;
use indicatif::{MultiProgress, ProgressBar};
use operate::operation::beginning;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::app::App;
use crate::commands::run::Program;
use crate::data;
use crate::operator::program;
use crate::output::bar;
use crate::shell::{called, quoted};
use crate::stop;
use crate::system::System;
use input::{Expect, Line};
use ledger::{Facts, Ledger};
use plan::{Destination, TIMEOUT};
use receiver::Receivers;
use send::Door;

/// How big a demo.
#[derive(Debug, Args)]
#[command(after_help = "\
Sends a few hundred signups and processing events, good and bad, through a fresh system: 1
producer, 2 validate, 2 store, 1 integrate and 1 archive as separate processes, and three
receivers that fail, stall and refuse on a plan. Then mends the receivers, replays what died,
and prints the ledger. Exit code 0 only if it balances.

Without URLs it runs on the embedded engine, in a temporary folder. With LONGSHORE_BROKER_URL
and LONGSHORE_DATABASE_URL it runs on those, in a namespace and a schema of its own.

Examples:
  longshore demo
  longshore demo --events 5000 --json
  longshore demo --keep        leaves everything to be looked at, some dead letters among it")]
pub struct DemoArgs {
    /// Minimum number of events: the example is topped up with generated signups
    #[arg(long, default_value_t = 0, value_name = "N")]
    events: usize,
    /// Leave namespace and schema, and the letters of one receiver that stays unmended; say how to look at them
    #[arg(long)]
    keep: bool,
}

/// Letters with this reason stay dead where everything is left for inspection.
const LEFT_DEAD: ReasonCode = ReasonCode::ReceiverRefused;

/// Maximum of groups of dead letters that are looked at: the demo has a handful.
const GROUPS: u32 = 100;

/// The programs of the demo, the producer first.
const PROGRAMS: [Program; 7] = [
    Program::Producer,
    Program::Validate,
    Program::Validate,
    Program::Store,
    Program::Store,
    Program::Integrate,
    Program::Archive,
];

pub(crate) async fn run(app: &App, args: DemoArgs) -> Result<(), Failure> {
    let lines = input::lines(args.events)?;
    let receivers = Receivers::start().await?;
    let stop = stop::on_signals()?;
    let mut system = System::create(&app.config, "demo", &settings(&receivers)).await?;
    say(&format!(
        "on {}, namespace {}: starting {} programs",
        data::engines(&system.config),
        system.config.namespace,
        PROGRAMS.len()
    ));
    let left_dead = args.keep.then_some(LEFT_DEAD);
    let drawn = tokio::select! {
        drawn = play(&mut system, &receivers, &lines, left_dead, &stop) => drawn,
        () = stop.cancelled() => Err(Failure::Failed(anyhow::anyhow!("stopped before the end"))),
    };
    let kept = args.keep && drawn.is_ok();
    let tidied = if kept {
        Ok(system.keep().await)
    } else {
        system.remove().await.map(|()| Vec::new())
    };
    let ledger = drawn?;
    app.output.show(&ledger, text::text)?;
    let variables = tidied?;
    if kept {
        tell_how_to_look(&variables);
    }
    if ledger.balances {
        Ok(())
    } else {
        Err(Failure::Failed(anyhow::anyhow!(
            "the ledger does not balance"
        )))
    }
}

/// The configuration of the demo's programs: three destinations, and waits short enough to watch.
fn settings(receivers: &Receivers) -> String {
    let destinations = Destination::ALL.map(|destination| {
        format!(
            "[[destination]]\nname = \"{}\"\ntypes = [\"{}\"]\nwebhook = {{ url = \"{}\" }}\n\
             timeout = \"{}ms\"\nretry = {{ attempts = 4, first = \"250ms\", max = \"1s\", jitter = 0.1 }}\n",
            destination.as_str(),
            destination.types(),
            receivers.url(destination),
            TIMEOUT.as_millis(),
        )
    });
    format!(
        "[outbound]\nallow = [\"127.0.0.0/8\"]\n\n{}",
        destinations.join("\n")
    )
}

/// From the first request to the ledger.
async fn play(
    system: &mut System,
    receivers: &Receivers,
    lines: &[Line],
    left_dead: Option<ReasonCode>,
    stop: &CancellationToken,
) -> Result<Ledger, Failure> {
    let addresses = system.start(&PROGRAMS).await?;
    let door = addresses
        .first()
        .map(|address| format!("http://{address}"))
        .unwrap_or_default();
    let bars = Bars::new(lines.len());
    let mut doors: Vec<Option<Door>> = vec![None; lines.len()];
    let mut before = HashMap::new();
    // A request that contradicts an earlier one is sent once that one is stored. Several workers share the load,
    // so the order of the two is otherwise open.
    for second in [false, true] {
        let wave: Vec<usize> = (0..lines.len())
            .filter(|&at| (lines[at].expect == Expect::Rejected) == second)
            .collect();
        let chosen: Vec<&Line> = wave.iter().map(|&at| &lines[at]).collect();
        let sent = send::all(system.http(), &door, &chosen, |door| bars.sent(door)).await?;
        for (at, door) in wave.into_iter().zip(sent) {
            doors[at] = Some(door);
        }
        let ids = ids(doors.iter().flatten());
        before = bars.watch(system, receivers, &ids).await?;
    }
    let doors: Vec<Door> = doors.into_iter().flatten().collect();
    receivers.mend();
    let replayed = replay(system, left_dead, stop).await?;
    let after = bars.watch(system, receivers, &ids(doors.iter())).await?;
    let conflicts = conflicts(system.store.as_ref(), &doors).await?;
    bars.clear();
    let ledger = Ledger::draw(Facts {
        lines,
        doors: &doors,
        before: &before,
        after: &after,
        conflicts: &conflicts,
        receivers: receivers.seen(),
        replayed,
        left_dead,
    });
    Ok(Ledger {
        engines: data::engines(&system.config),
        ..ledger
    })
}

/// Every accepted id, once.
fn ids<'a>(doors: impl Iterator<Item = &'a Door>) -> Vec<EventId> {
    let mut seen = HashSet::new();
    doors
        .filter_map(|door| match door {
            Door::Accepted(id) => seen.insert(*id).then_some(*id),
            Door::Refused(_) | Door::Failed(_) => None,
        })
        .collect()
}

/// Sends every dead letter again, except those that are left, as `longshore dead replay --reason` does.
async fn replay(
    system: &System,
    left_dead: Option<ReasonCode>,
    stop: &CancellationToken,
) -> Result<u64, Failure> {
    let open = DeadFilter {
        state: Some(DeadState::Open),
        ..DeadFilter::default()
    };
    let groups = system.store.dead_stats(&open, GROUPS).await?;
    let reasons: HashSet<ReasonCode> = groups.into_iter().map(|group| group.reason).collect();
    let mut replayed = 0;
    for reason in reasons.into_iter().filter(|&it| Some(it) != left_dead) {
        let id = Uuid::now_v7();
        let replay = Operation {
            id,
            kind: OperationKind::Replay,
            filter: DeadFilter {
                reason: Some(reason),
                ..DeadFilter::default()
            },
            to_queue: None,
            act: beginning(id, &program("demo"))
                .because(Some("the receivers are mended".to_owned())),
            rate: None,
            stop_when: None,
            slice: None,
            new_ids: false,
            resumes: None,
        };
        replayed += system.replay(&replay, stop).await?;
    }
    Ok(replayed)
}

/// How often each id that was sent more than once was refused for its other content.
async fn conflicts(
    store: &dyn Rejections,
    doors: &[Door],
) -> Result<HashMap<EventId, u64>, Failure> {
    let mut times: HashMap<EventId, u32> = HashMap::new();
    for door in doors {
        if let Door::Accepted(id) = door {
            *times.entry(*id).or_default() += 1;
        }
    }
    let mut conflicts = HashMap::new();
    for (id, _) in times.into_iter().filter(|(_, times)| *times > 1) {
        let found = store.rejections(id).await?;
        let found = found
            .iter()
            .filter(|it| it.code == ReasonCode::IdempotencyConflict)
            .count();
        if found > 0 {
            conflicts.insert(id, found as u64);
        }
    }
    Ok(conflicts)
}

/// A line of news on standard error.
fn say(text: &str) {
    stderr::say(text);
}

fn tell_how_to_look(variables: &[(String, String)]) {
    say("\nEverything is left in place. To look at it:\n");
    for (name, value) in variables {
        say(&format!("  export {name}={}", quoted(value)));
    }
    let program = called();
    say(&format!(
        "  {program} queues\n  {program} dead stats\n  {program} dead list\n  {program} dead show ID\n  \
         {program} dead replay --all --dry-run\n  {program} replay list\n  {program} verify\n  \
         {program} events show ID\n\n\
         To remove the queues: {program} topology delete. The schema has the name of the namespace; \
         what is in temporary files goes with their folder.",
    ));
}

/// The progress bars of accepted, stored and delivered events.
struct Bars {
    all: MultiProgress,
    accepted: ProgressBar,
    stored: ProgressBar,
    at_rest: ProgressBar,
    delivered: ProgressBar,
}

impl Bars {
    fn new(lines: usize) -> Self {
        let all = MultiProgress::new();
        let add = |length: usize, what: &str| all.add(bar(length as u64, what));
        Self {
            accepted: add(lines, "answered"),
            stored: add(0, "stored"),
            at_rest: add(0, "at rest"),
            delivered: add(0, "delivered"),
            all,
        }
    }

    fn sent(&self, _: &Door) {
        self.accepted.inc(1);
    }

    /// Waits until `ids` are at rest.
    async fn watch(
        &self,
        system: &System,
        receivers: &Receivers,
        ids: &[EventId],
    ) -> Result<HashMap<EventId, EventStatus>, Failure> {
        self.stored.set_length(ids.len() as u64);
        self.at_rest.set_length(ids.len() as u64);
        let known = watch::until_at_rest(system.store.as_ref(), ids, |counts| {
            self.stored.set_position(counts.stored);
            self.at_rest.set_position(counts.at_rest);
            self.delivered.set_length(receivers.taken());
            self.delivered.set_position(receivers.taken());
        });
        known.await
    }

    fn clear(&self) {
        // Bars that cannot be cleared stay on the screen.
        let _ = self.all.clear();
    }
}
