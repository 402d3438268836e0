//! Whether one sick destination makes the others slower.

use std::fmt::Write as _;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use bench::http_load::{self, HttpLoad};
use bench::{Events, Manner, Receiver, Report, Stamps, Unit};
use clap::Args;
use common::bootstrap::Failure;

use super::door::all_accepted;
use super::lab::{EVENT_BYTES, Lab, PROGRAMS, SECRET, median};

/// Events a second, over all destinations together.
const RATE: u32 = 500;

/// Destinations, each with a type of its own.
const DESTINATIONS: u64 = 20;

/// The number of the sick one.
const SICK: u64 = 7;

/// How long a healthy delivery may take before the run is given up.
const PATIENCE: Duration = Duration::from_secs(60);

/// The least part of the healthy p99 without the sick destination to that with it: it may grow by a tenth.
const GOAL: f64 = 1.0 / 1.1;

/// The breaker of each destination. Without one, every event that is refused comes back again and again, and the broker has that
/// to carry as well.
const BREAKER: &str = r#"{ failures = 0.5, of = 20, within = "1min", open = "30s" }"#;

/// What the sick destination does, and the name of the figures about it.
const MANNERS: [(&str, Manner); 4] = [
    ("well", Manner::Takes),
    ("fails", Manner::Fails),
    ("stalls", Manner::Stalls),
    ("slow", Manner::Slow(Duration::from_secs(10))),
];

/// How long to send.
#[derive(Debug, Args)]
#[command(after_help = "\
Sends 500 events of 1 kB a second to 20 destinations with a breaker each, in turn, and measures from the door to the 19 \
healthy receivers: with the other one well, then answering 503, never answering, and answering after ten seconds. \
These four take turns, so that other load on the machine meets all. A p99 is that of each second, and the median \
of all seconds counts: other load makes single seconds several times as long. The figures called `p99_kept` are the \
p99 of the runs in which all are well divided by that of the others, and should be 0.91 at least: with a sick \
destination, p99 is at most a tenth longer. Those called `p99_of_all` are over all events of a run, the median of \
the rounds.

Example:
  longshore-bench isolation --json")]
pub(crate) struct IsolationArgs {
    /// How long each run sends, in seconds
    #[arg(long, default_value_t = 20, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=600))]
    seconds: u64,
    /// Rounds of the comparison
    #[arg(long, default_value_t = 3, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=99))]
    rounds: u32,
    /// Exit with 1 when a goal is missed
    #[arg(long)]
    pub(super) check: bool,
}

pub(super) async fn measure(
    lab: &Lab,
    args: &IsolationArgs,
    report: &mut Report,
) -> Result<(), Failure> {
    let mut found = MANNERS.map(|_| P99::default());
    lab.say("warming up");
    healthy_p99(lab, Manner::Takes, 2).await?;
    for round in 1..=args.rounds {
        for ((name, manner), found) in MANNERS.iter().zip(&mut found) {
            let measured = healthy_p99(lab, *manner, args.seconds).await?;
            let of_a_second = median(measured.of_seconds.clone());
            lab.say(&format!(
                "round {round}: {name}, p99 of a second {of_a_second:.1} ms"
            ));
            found.add(measured);
        }
    }
    for ((name, _), found) in MANNERS.iter().zip(&found) {
        let (of_a_second, of_all) = (
            median(found.of_seconds.clone()),
            median(found.of_all.clone()),
        );
        report.add(
            format!("{name}_healthy_p99"),
            of_a_second,
            Unit::Milliseconds,
        );
        report.add(
            format!("{name}_healthy_p99_of_all"),
            of_all,
            Unit::Milliseconds,
        );
    }
    let p99 = found.map(|found| median(found.of_seconds));
    for ((name, _), with) in MANNERS.iter().zip(p99).skip(1) {
        let kept = p99[0] / with.max(f64::EPSILON);
        report.aim(format!("{name}_p99_kept"), kept, Unit::Ratio, GOAL);
    }
    Ok(())
}

/// From the door to the healthy receivers, in milliseconds.
#[derive(Default)]
struct P99 {
    /// Of each second.
    of_seconds: Vec<f64>,
    /// Of each run.
    of_all: Vec<f64>,
}

impl P99 {
    fn add(&mut self, other: Self) {
        self.of_seconds.extend(other.of_seconds);
        self.of_all.extend(other.of_all);
    }
}

async fn healthy_p99(lab: &Lab, manner: Manner, seconds: u64) -> Result<P99, Failure> {
    let count = u64::from(RATE) * seconds;
    let start = Instant::now();
    let stamps = || Arc::new(Stamps::new(start, count));
    let (accepted, arrivals) = (stamps(), stamps());
    let healthy = Receiver::start(Some(Arc::clone(&arrivals))).await?;
    // The sick one has no part in the figures, even while it is well.
    let sick = Receiver::with_manner(manner, None).await?;
    let settings = settings(&healthy.url(), &sick.url());
    lab.on_a_system(&settings, async |system| {
        let listening = system.start(&PROGRAMS).await?;
        let door = listening.first().context("the producer listens nowhere")?;
        let load = HttpLoad {
            base_url: format!("http://{door}"),
            key: None,
            events: Events::new(EVENT_BYTES).spread(DESTINATIONS),
            count,
            connections: 32,
            rate: Some(RATE),
            accepted: Some(Arc::clone(&accepted)),
        };
        all_accepted(&http_load::batches(&load, 1).await?, count)?;
        // The load ends with a whole turn.
        let to_healthy = count / DESTINATIONS * (DESTINATIONS - 1);
        healthy.wait(to_healthy, PATIENCE).await?;
        let p99 = |samples: bench::Samples| Some(samples.percentiles()?.p99_ms);
        let of_seconds = accepted.until_by(RATE as usize, &arrivals);
        let of_all = p99(accepted.until(&arrivals));
        Ok(P99 {
            of_seconds: of_seconds.into_iter().filter_map(p99).collect(),
            of_all: vec![of_all.context("nothing was measured")?],
        })
    })
    .await
}

/// The configuration of a system with these destinations.
fn settings(healthy: &str, sick: &str) -> String {
    let mut settings = "[outbound]\nallow = [\"127.0.0.0/8\"]\n".to_owned();
    for number in 0..DESTINATIONS {
        let kind = Events::kind(number);
        let url = if number == SICK { sick } else { healthy };
        // Writing to a String cannot fail.
        let _ = write!(
            settings,
            "\n[[type]]\nname = \"{kind}\"\nschema = {{ type = \"object\" }}\n\n\
             [[destination]]\nname = \"d{number:02}\"\ntypes = [\"{kind}\"]\ntimeout = \"15s\"\n\
             breaker = {BREAKER}\n\
             webhook = {{ url = \"{url}\", secret = \"{SECRET}\" }}\n"
        );
    }
    settings
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_type_goes_to_one_destination_and_one_of_them_is_sick() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("longshore.toml");
        let text = settings("http://127.0.0.1:8/hook", "http://127.0.0.1:9/hook");
        std::fs::write(&file, &text).unwrap();
        let path = file.to_string_lossy().into_owned();
        let config = common::config::load_from([("LONGSHORE_CONFIG".to_owned(), path)]).unwrap();
        for number in 0..DESTINATIONS {
            let kind = Events::kind(number);
            let takers = config.destinations.iter().filter(|it| it.takes(&kind));
            assert_eq!(takers.count(), 1, "{kind}");
        }
        assert_eq!(text.matches(":9/").count(), 1);
    }
}
