//! A flood of dead letters through the archive, while the pipeline goes on.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, anyhow};
use bench::http_load::{self, HttpLoad};
use bench::{Events, Receiver, Report, Stamps, Unit};
use clap::Args;
use common::bootstrap::Failure;
use common::broker::{Address, Publication};
use common::event::{EventId, Trail, header, now, to_rfc3339};
use common::message::{CLOUDEVENTS_JSON, Headers, Message};
use common::reason::ReasonCode;
use common::store::DeadFilter;
use common::topology::Names;
use futures_util::future::try_join_all;
use longshore::system::System;
use operate::words::count;
use tokio::time::MissedTickBehavior;

use super::door::all_accepted;
use super::lab::{EVENT_BYTES, Lab, PROGRAMS, delivering};

/// How long letters come in.
const SECONDS: u64 = 60;

/// How many times a second a part of them is sent.
const PARTS: u64 = 10;

/// Events a second that go through the pipeline meanwhile.
const RATE: u32 = 100;

/// How long nothing may be archived before it is given up.
const PATIENCE: Duration = Duration::from_secs(60);

/// Maximum time of the archive for the rest after the flood, in milliseconds.
const BEHIND: f64 = 10_000.0;

/// How much of a flood.
#[derive(Debug, Args)]
#[command(after_help = "\
Sends dead letters of 1 kB to the archive for a minute, and 100 events a second through the whole pipeline \
meanwhile. At the end every letter has to be archived and every event delivered, or it fails. Everything is \
removed again.

Example:
  longshore-bench flood --json")]
pub(crate) struct FloodArgs {
    /// Dead letters in one minute
    #[arg(long, default_value_t = 100_000, value_name = "N", value_parser = clap::value_parser!(u64).range(1000..=1_000_000))]
    letters: u64,
    /// Exit with 1 when a goal is missed
    #[arg(long)]
    pub(super) check: bool,
}

pub(super) async fn measure(
    lab: &Lab,
    args: &FloodArgs,
    report: &mut Report,
) -> Result<(), Failure> {
    let events = u64::from(RATE) * SECONDS;
    let start = Instant::now();
    let stamps = || Arc::new(Stamps::new(start, events));
    let (accepted, arrivals) = (stamps(), stamps());
    let receiver = Receiver::start(Some(Arc::clone(&arrivals))).await?;
    lab.on_a_system(&delivering(&receiver.url()), async |system| {
        let listening = system.start(&PROGRAMS).await?;
        let door = listening.first().context("the producer listens nowhere")?;
        lab.say(&format!(
            "{} in {SECONDS} s, and {RATE} events/s beside them",
            count(args.letters, "dead letter")
        ));
        let load = HttpLoad {
            base_url: format!("http://{door}"),
            key: None,
            events: Events::new(EVENT_BYTES),
            count: events,
            connections: 32,
            rate: Some(RATE),
            accepted: Some(Arc::clone(&accepted)),
        };
        let (sent, flood) = tokio::join!(http_load::singles(&load), flood(system, args.letters));
        all_accepted(&sent?, events)?;
        let flood = flood?;
        let ended = until_archived(system, args.letters).await?;
        receiver.wait(events, PATIENCE).await?;
        // The ledger: as many as were sent, and no event of the pipeline among them.
        let kept = system.store.dead_count(&DeadFilter::default()).await?;
        if kept != args.letters {
            return Err(anyhow!(
                "expected {} in the archive, found {kept}",
                count(args.letters, "dead letter")
            )
            .into());
        }
        let seconds = flood.as_secs_f64().max(f64::EPSILON);
        report.add(
            "flood_sent",
            args.letters as f64 / seconds,
            Unit::EventsPerSecond,
        );
        let behind = ended.as_secs_f64() * 1000.0;
        report.aim("flood_archive_behind", behind, Unit::Milliseconds, BEHIND);
        let latency = accepted
            .until(&arrivals)
            .percentiles()
            .context("nothing was measured")?;
        for (name, value) in [("p50", latency.p50_ms), ("p99", latency.p99_ms)] {
            let name = format!("flood_accept_to_delivered_{name}");
            report.add(name, value, Unit::Milliseconds);
        }
        Ok(())
    })
    .await
}

/// Sends letters evenly over the time; says how long that took.
async fn flood(system: &System, letters: u64) -> Result<Duration, Failure> {
    let names = Names::new(system.config.namespace.clone());
    let events = Events::new(EVENT_BYTES);
    let begun = Instant::now();
    let mut tick = tokio::time::interval(Duration::from_secs(1) / PARTS as u32);
    tick.set_missed_tick_behavior(MissedTickBehavior::Burst);
    let parts = SECONDS * PARTS;
    for part in 0..parts {
        tick.tick().await;
        let (from, to) = (letters * part / parts, letters * (part + 1) / parts);
        let letters = (from..to).map(|number| {
            system.broker.publish(Publication {
                to: Address::Queue(names.dead()),
                message: died(&names, number, events.event(number).body),
            })
        });
        try_join_all(letters).await?;
    }
    Ok(begun.elapsed())
}

/// A message as the integrate worker hands it to the archive.
fn died(names: &Names, number: u64, body: impl Into<bytes::Bytes>) -> Message {
    let (event, at) = (EventId::born(), now());
    let kind = bench::SIGNUP_REQUESTED;
    let mut headers = Headers::default();
    let trail = Trail {
        attempt: 12,
        received_at: Some(at),
        accepted_at: Some(at),
        ..Trail::default()
    };
    trail.write(&mut headers);
    headers.set(header::REASON, ReasonCode::ReceiverFailing.as_str());
    headers.set(header::QUEUE, names.integrate("bench"));
    headers.set(header::FAILED_AT, to_rfc3339(at));
    let error = format!("expected a 2xx, found 503 after {} ms", number % 900);
    headers.set(header::ERROR, error);
    Message {
        body: body.into(),
        content_type: Some(CLOUDEVENTS_JSON.to_owned()),
        message_id: Some(event.to_string()),
        kind: Some(kind.to_owned()),
        headers,
        ..Message::default()
    }
}

/// Waits until `letters` letters are archived; returns how long that took.
async fn until_archived(system: &System, letters: u64) -> Result<Duration, Failure> {
    let begun = Instant::now();
    let (mut last, mut changed) = (0, Instant::now());
    loop {
        let kept = system.store.dead_count(&DeadFilter::default()).await?;
        if kept >= letters {
            return Ok(begun.elapsed());
        }
        if kept > last {
            (last, changed) = (kept, Instant::now());
        }
        if changed.elapsed() > PATIENCE {
            return Err(
                anyhow!("{kept} of {letters} are archived, and no more for {PATIENCE:?}").into(),
            );
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}
