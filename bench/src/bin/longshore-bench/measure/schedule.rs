//! How punctual scheduled events are, and what many that wait cost the others.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use bench::http_load::{self, HttpLoad};
use bench::{Events, Receiver, Report, Stamps, Unit};
use clap::Args;
use common::bootstrap::Failure;
use common::event::{EventId, now};
use common::store::{Details, NewEvent, NotBefore, Store};
use longshore::system::System;
use operate::words::count;
use time::OffsetDateTime;

use super::door::all_accepted;
use super::lab::{EVENT_BYTES, Lab, PROGRAMS, delivering, median};

/// Events a second whose moments come.
const RATE: u32 = 500;

/// Events of each run beside those that wait.
const EVENTS: u64 = 20_000;

/// How many events are stored at once before the measurement.
const AT_ONCE: u64 = 1000;

/// How long nothing may be delivered before it is given up.
const PATIENCE: Duration = Duration::from_secs(60);

/// Maximum lateness at p99, in milliseconds.
const LATE: f64 = 100.0;

/// The least part of the rate with many waiting events to that with none.
const KEPT: f64 = 0.95;

/// How many wait, and how long to measure.
#[derive(Debug, Args)]
#[command(after_help = "\
Stores events whose moment is years away, and measures two things beside them. How late an event reaches its \
receiver after its moment, with 500 moments a second. And how many events a second go from the door to a receiver: \
a system with the waiting events and one without take turns, and the median of the rounds counts.

Example:
  longshore-bench schedule --waiting 1000000 --json")]
pub(crate) struct ScheduleArgs {
    /// Events that wait
    #[arg(long, default_value_t = 100_000, value_name = "N", value_parser = clap::value_parser!(u64).range(1000..=10_000_000))]
    waiting: u64,
    /// How long moments come, in seconds
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
    args: &ScheduleArgs,
    report: &mut Report,
) -> Result<(), Failure> {
    let receiver = Receiver::start(None).await?;
    let settings = delivering(&receiver.url());
    let late = lateness(lab, args).await?;
    let (empty, full) = lab
        .on_a_system(&settings, async |empty| {
            let door_of_empty = begin(empty).await?;
            lab.on_a_system(&settings, async |full| {
                fill(lab, &*full.store, args.waiting).await?;
                let door_of_full = begin(full).await?;
                let mut rates = (Vec::new(), Vec::new());
                for round in 1..=args.rounds {
                    let without = rate(&door_of_empty, &receiver).await?;
                    let with = rate(&door_of_full, &receiver).await?;
                    lab.say(&format!(
                        "round {round}: {without:.0} events/s without, {with:.0} with waiting ones"
                    ));
                    rates.0.push(without);
                    rates.1.push(with);
                }
                Ok(rates)
            })
            .await
        })
        .await?;
    let (empty, full) = (median(empty), median(full));
    report.aim("schedule_late_p99", late, Unit::Milliseconds, LATE);
    report.add("schedule_none_waiting", empty, Unit::EventsPerSecond);
    report.add("schedule_many_waiting", full, Unit::EventsPerSecond);
    let kept = full / empty.max(f64::EPSILON);
    report.aim("schedule_rate_kept", kept, Unit::Ratio, KEPT);
    Ok(())
}

/// Starts all programs; the address of the door.
async fn begin(system: &mut System) -> Result<String, Failure> {
    let listening = system.start(&PROGRAMS).await?;
    let door = listening.first().context("the producer listens nowhere")?;
    Ok(format!("http://{door}"))
}

fn load(door: &str, events: Events, count: u64) -> HttpLoad {
    HttpLoad {
        base_url: door.to_owned(),
        key: None,
        events,
        count,
        connections: 8,
        rate: None,
        accepted: None,
    }
}

/// Events a second, from the door to the receiver.
async fn rate(door: &str, receiver: &Receiver) -> Result<f64, Failure> {
    let before = receiver.distinct();
    let begun = Instant::now();
    let load = load(door, Events::new(EVENT_BYTES), EVENTS);
    all_accepted(&http_load::batches(&load, 100).await?, EVENTS)?;
    receiver.wait(before + EVENTS, PATIENCE).await?;
    Ok(EVENTS as f64 / begun.elapsed().as_secs_f64())
}

/// From the moments of events to their receiver, in milliseconds at p99, while others wait.
async fn lateness(lab: &Lab, args: &ScheduleArgs) -> Result<f64, Failure> {
    let number = u64::from(RATE) * args.seconds;
    let start = Instant::now();
    let stamps = || Arc::new(Stamps::new(start, number));
    let (moments, arrivals) = (stamps(), stamps());
    let receiver = Receiver::start(Some(Arc::clone(&arrivals))).await?;
    lab.on_a_system(&delivering(&receiver.url()), async |system| {
        fill(lab, &*system.store, args.waiting).await?;
        let door = begin(system).await?;
        lab.say(&format!("{} at {RATE} a second", count(number, "moment")));
        // All are stored before the first moment.
        let lead = Duration::from_secs(10) + Duration::from_secs(number / 1000);
        let (first, first_at) = (Instant::now() + lead, OffsetDateTime::now_utc() + lead);
        let gap = Duration::from_secs(1) / RATE;
        for seq in 0..number {
            moments.mark_at(seq, first + gap * u32::try_from(seq).unwrap_or(u32::MAX));
        }
        let events = Events::new(EVENT_BYTES).scheduled(first_at, gap);
        all_accepted(
            &http_load::batches(&load(&door, events, number), 100).await?,
            number,
        )?;
        if Instant::now() > first {
            return Err(Failure::Failed(anyhow::anyhow!(
                "events were accepted only after their moments: give fewer --seconds"
            )));
        }
        receiver.wait(number, PATIENCE + lead).await?;
        let latency = moments.until(&arrivals).percentiles();
        Ok(latency.context("nothing was measured")?.p99_ms)
    })
    .await
}

/// Stores events whose moments are years away.
async fn fill(lab: &Lab, store: &dyn Store, waiting: u64) -> Result<(), Failure> {
    lab.say(&format!("storing {}", count(waiting, "event that waits")));
    let at = now();
    for from in (0..waiting).step_by(AT_ONCE as usize) {
        lab.check()?;
        let events = (from..waiting.min(from + AT_ONCE)).map(|seq| {
            let id = EventId::born();
            NewEvent {
                id,
                stream_id: None,
                generation: 0,
                kind: "bench.waits".to_owned(),
                source: "/bench".to_owned(),
                source_id: id.to_string(),
                publisher: "http:bench".to_owned(),
                subject: None,
                time: None,
                received_at: at,
                accepted_at: at,
                fingerprint: [0; 32],
                body: format!(
                    r#"{{"specversion":"1.0","id":"{id}","source":"/bench","type":"bench.waits"}}"#
                ),
                details: Details::None,
                destinations: Vec::new(),
                filtered: Vec::new(),
                ordered: None,
                not_before: Some(NotBefore {
                    at: at + time::Duration::days(365) + time::Duration::seconds(seq as i64),
                    has_come: false,
                    is_release: false,
                }),
            }
        });
        store.store(events.collect::<Vec<_>>().into()).await?;
    }
    Ok(())
}
