//! The integrate worker: delivers events to outside systems, one queue and one consumer each, so
//! that one broken system slows nobody else.

mod breaker;
mod chain;
mod copies;
mod deliver;
mod gates;
mod guard;
mod lately;
mod mail;
mod order;
mod pace;
mod ping;
mod places;
mod preview;
mod recorder;
mod share;
mod template;
mod together;
mod transport;
mod transports;
mod turns;
mod webhook;

use std::ffi::OsString;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use clap::builder::NonEmptyStringValueParser;
use clap::{Arg, ArgAction, ArgMatches, Command};
use common::bootstrap::{self, Failure, Program};
use common::broker::Broker;
use common::config::{Destination, StageSettings};
use common::runtime::{Spec, Worker};
use common::store::Store;
use common::tasks;
use common::topology::{Names, Stage};

use self::copies::Copies;
use self::deliver::Deliver;
use self::gates::Gates;
use self::order::Order;
use self::transport::Means;

pub(crate) use order::next_ones;
pub use ping::{Pinged, ping};
pub use preview::RequestLine;
pub use transport::UnusableDestination;

/// How long a delivery may take beside the receiver's own time: the database is asked and told.
const DATABASE_TIME: Duration = Duration::from_secs(60);

/// Maximum time that an event may wait in a worker's hands for its turn; a longer wait is spent on the broker. The
/// broker takes events back after thirty minutes; far less is enough to keep a destination busy.
const LONGEST_TURN: Duration = Duration::from_secs(300);

/// How many turns of a rate are in hand: those of this time. What waits in hand is lost to other processes, and to copies
/// that come later.
const PACED_TIME: Duration = Duration::from_secs(4);

/// How many events are in hand for each that a destination takes at once.
const IN_HAND_PER_PLACE: usize = 16;

const NAME: &str = "longshore-integrate";

const DESTINATION: &str = "destination";

/// Runs the program `longshore-integrate` with these arguments, the first of which is its name.
pub fn main(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    match bootstrap::matches(command(), arguments) {
        Ok(matches) => crate::serve::run(NAME, |program| run(program, destinations(&matches))),
        Err(code) => code,
    }
}

fn command() -> Command {
    let destination = Arg::new(DESTINATION)
        .long(DESTINATION)
        .value_name("NAME")
        .value_parser(NonEmptyStringValueParser::new())
        .action(ArgAction::Append)
        .help("Deliver to this destination alone; may be given several times [default: all that are configured]");
    bootstrap::command(NAME, "Delivers events to outside systems, and tries again").arg(destination)
}

/// The destinations that were asked for.
fn destinations(matches: &ArgMatches) -> Vec<String> {
    let names = matches.get_many(DESTINATION);
    names.into_iter().flatten().cloned().collect()
}

async fn run(program: Program, asked: Vec<String>) -> Result<(), Failure> {
    let store = program.store()?;
    let rows = Arc::clone(&store);
    crate::serve::serve(program, Some(store), |program, broker| {
        let destinations = chosen(program, &asked)?;
        if destinations.is_empty() {
            tracing::warn!("no destination is configured: nothing to do until one is");
        }
        workers(program, broker, &rows, destinations)
    })
    .await
}

fn chosen(program: &Program, asked: &[String]) -> Result<Vec<Destination>, Failure> {
    let config = &program.config;
    if asked.is_empty() {
        return Ok(config.destinations.clone());
    }
    let one = |name: &String| {
        config.destination(name).cloned().ok_or_else(|| {
            let known: Vec<&str> = config
                .destinations
                .iter()
                .map(|one| one.name.as_str())
                .collect();
            Failure::Usage(format!(
                "--destination {name}: expected one of the configured destinations ({})",
                known.join(", ")
            ))
        })
    };
    asked.iter().map(one).collect()
}

/// The workers of these destinations, one each. Deliveries of a paused destination wait, and those of one whose breaker is open.
///
/// # Errors
/// A destination cannot be used.
pub fn workers(
    program: &Program,
    broker: &Arc<dyn Broker>,
    store: &Arc<dyn Store>,
    destinations: Vec<Destination>,
) -> Result<Vec<Worker>, Failure> {
    let names = destinations.iter().map(|destination| &*destination.name);
    let card = program.card(names.map(str::to_owned).collect());
    let copies = Arc::new(Copies::new(Arc::clone(store), card));
    let gates = Gates::new(Arc::clone(store), Arc::clone(&copies), &destinations);
    let gates = Arc::new(gates);
    let workers = destinations
        .iter()
        .map(|destination| {
            worker(
                program,
                broker,
                store,
                destination.clone(),
                (&gates, &copies),
            )
        })
        .collect::<Result<Vec<_>, _>>()?;
    if !workers.is_empty() {
        let stop = program.stop.clone();
        let following = async move { gates.follow(stop).await };
        tasks::spawn_until("gates", program.stop.clone(), following);
        let (stop, end) = (program.stop.clone(), program.end.clone());
        let following = async move {
            copies.follow(stop).await;
            // The next generation delivers as the same copy.
            if end.is_cancelled() {
                copies.leave().await;
            }
        };
        tasks::spawn_until("copies", program.stop.clone(), following);
    }
    Ok(workers)
}

/// The worker of one destination.
fn worker(
    program: &Program,
    broker: &Arc<dyn Broker>,
    store: &Arc<dyn Store>,
    destination: Destination,
    (gates, copies): (&Arc<Gates>, &Arc<Copies>),
) -> Result<Worker, Failure> {
    let queue = Names::new(program.config.namespace.clone()).integrate(&destination.name);
    let settings = settings(
        &destination,
        program.config.stage(Stage::Integrate).prefetch,
    );
    let means = Means::of(&program.config);
    let gate = gates.gate(&destination.name);
    let order = destination.order.as_ref();
    let order = order.map(|it| Order::start(&destination, it, queue.clone(), store));
    let handler = Deliver::new(
        destination,
        means,
        Arc::clone(store),
        (Arc::clone(gates), Arc::clone(copies)),
        order,
    )
    .map_err(|error| Failure::Usage(error.to_string()))?;
    let spec = Spec {
        gate,
        ..Spec::new(queue, settings)
    };
    Ok(program.worker(broker, Arc::new(handler), spec))
}

/// How long at most the worker of a destination has one delivery in hand.
pub(crate) fn longest_in_hand(destination: &Destination) -> Duration {
    LONGEST_TURN + destination.timeout + DATABASE_TIME
}

/// How long at most a worker with deliveries in hand makes no attempt: all of them may wait for a turn of the rate.
pub(crate) fn longest_between(destination: &Destination) -> Duration {
    let turn = destination.rate.map_or(Duration::ZERO, |_| LONGEST_TURN);
    destination.timeout + turn
}

/// A destination's own settings in the shape of a stage's. Everything in hand is handled at once: it
/// waits in the handler for one of the destination's places, so that what is asked of and told to the
/// database before and after takes none. Each event is a batch of its own (see `together`).
fn settings(destination: &Destination, most: u16) -> StageSettings {
    // Events in hand must get their turn in time, however slow the receiver or small the rate.
    let turns = |time: Duration, each: Duration| (time.as_secs_f64() / each.as_secs_f64()) as usize;
    let by_timeout = destination.concurrency
        * turns(LONGEST_TURN, destination.timeout).clamp(1, IN_HAND_PER_PLACE);
    let by_rate = destination
        .rate
        .map_or(usize::MAX, |rate| turns(PACED_TIME, rate.interval()));
    let prefetch = by_timeout.min(by_rate).clamp(1, usize::from(most));
    let prefetch = u16::try_from(prefetch).unwrap_or(most);
    StageSettings {
        prefetch,
        batch: 1,
        concurrency: usize::from(prefetch),
        timeout: longest_in_hand(destination),
        retry: destination.retry.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn destinations_are_named_either_way() {
        let asked = |arguments: &[&str]| {
            let arguments = [NAME].iter().chain(arguments);
            let matches = command().try_get_matches_from(arguments);
            matches.map(|matches| destinations(&matches)).ok()
        };
        assert_eq!(asked(&[]), Some(vec![]));
        assert_eq!(
            asked(&["--destination", "a", "--destination=b"]),
            Some(vec!["a".to_owned(), "b".to_owned()])
        );
        for wrong in [&["--destination"][..], &["a"], &["--destination="]] {
            assert_eq!(asked(wrong), None, "{wrong:?}");
        }
    }

    #[test]
    fn a_small_rate_keeps_little_in_hand() {
        let destination = |rate: &str| -> Destination {
            toml::from_str(&format!(
                "name = \"a\"\nrate = \"{rate}\"\nwebhook = {{ url = \"https://h\" }}"
            ))
            .unwrap()
        };
        let slow = settings(&destination("1/min"), 300);
        assert_eq!((slow.prefetch, slow.concurrency), (1, 1));
        let fast = settings(&destination("1000/s"), 300);
        assert_eq!((fast.prefetch, fast.concurrency), (300, 300));
    }
}
