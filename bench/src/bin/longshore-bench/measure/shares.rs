//! Whether copies that come and go keep the rate that they share.

use std::time::Duration;

use bench::http_load::{self, HttpLoad};
use bench::{Events, Receiver, Report, Unit};
use clap::Args;
use common::bootstrap::Failure;
use longshore::Program;
use longshore::system::System;
use tokio::time::{Instant, sleep_until};

use super::door::all_accepted;
use super::lab::{EVENT_BYTES, Lab, PROGRAMS, SECRET};

/// Deliveries a second, of all copies together.
const RATE: u64 = 100;

/// How many copies there are in each part of the time.
const COPIES: [usize; 6] = [1, 2, 4, 1, 4, 2];

/// How long the system delivers before the time begins.
const BEFORE: Duration = Duration::from_secs(3);

/// How long a delivery may take before the run is given up.
const PATIENCE: Duration = Duration::from_secs(60);

/// How near the deliveries must be to the rate: within a twentieth.
const GOAL: f64 = 0.95;

/// How long to deliver.
#[derive(Debug, Args)]
#[command(after_help = "\
Delivers a backlog to one destination with `rate = \"100/s\"`. Meanwhile there are 1, 2, 4, 1, 4 and 2 copies of \
longshore-integrate, each for a sixth of the time. The figure `shared_rate` is what was delivered divided by what the rate \
allows; `shared_rate_kept` is 1 less the distance of that from 1.

Example:
  longshore-bench shares --json")]
pub(crate) struct SharesArgs {
    /// How long, in seconds
    #[arg(long, default_value_t = 60, value_name = "N", value_parser = clap::value_parser!(u64).range(6..=600))]
    seconds: u64,
    /// Exit with 1 when a goal is missed
    #[arg(long)]
    pub(super) check: bool,
}

pub(super) async fn measure(
    lab: &Lab,
    args: &SharesArgs,
    report: &mut Report,
) -> Result<(), Failure> {
    let receiver = Receiver::start(None).await?;
    lab.on_a_system(&settings(&receiver.url()), async |system| {
        let listening = system.start(&PROGRAMS).await?;
        let count = RATE * (args.seconds + 30);
        let load = HttpLoad {
            base_url: format!("http://{}", listening[0]),
            key: None,
            events: Events::new(EVENT_BYTES),
            count,
            connections: 8,
            rate: None,
            accepted: None,
        };
        all_accepted(&http_load::batches(&load, 100).await?, count)?;
        receiver.wait(1, PATIENCE).await?;
        sleep_until(Instant::now() + BEFORE).await;
        let (began, before) = (Instant::now(), receiver.posts());
        let part = Duration::from_secs(args.seconds) / COPIES.len() as u32;
        let mut running = 1;
        for (number, copies) in (1..).zip(COPIES) {
            change(system, running, copies).await?;
            running = copies;
            sleep_until(began + part * number).await;
            lab.say(&format!(
                "{copies} copies: {} deliveries",
                receiver.posts() - before
            ));
        }
        let made = (receiver.posts() - before) as f64;
        let allowed = began.elapsed().as_secs_f64() * RATE as f64;
        let part = made / allowed;
        report.add("shared_rate", part, Unit::Ratio);
        report.aim(
            "shared_rate_kept",
            1.0 - (part - 1.0).abs(),
            Unit::Ratio,
            GOAL,
        );
        Ok(())
    })
    .await
}

/// Starts or ends copies of the integrate worker.
async fn change(system: &mut System, from: usize, to: usize) -> Result<(), Failure> {
    if from < to {
        system.start(&vec![Program::Integrate; to - from]).await?;
    }
    for _ in to..from {
        system.stop_last().await;
    }
    Ok(())
}

/// The configuration of a system with this destination.
fn settings(url: &str) -> String {
    format!(
        "[outbound]\nallow = [\"127.0.0.0/8\"]\n\n[[destination]]\nname = \"paced\"\nrate = \"{RATE}/s\"\n\
         webhook = {{ url = \"{url}\", secret = \"{SECRET}\" }}\n"
    )
}
