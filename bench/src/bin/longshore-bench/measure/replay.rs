//! A bulk replay beside raw publishing: how fast, and at which memory.

use std::time::Instant;

use bench::{Events, Report, Unit, usage};
use clap::Args;
use common::bootstrap::Failure;
use common::event::{EventId, Trail, now};
use common::message::{CLOUDEVENTS_JSON, Headers, Message};
use common::reason::ReasonCode;
use common::store::{DeadFilter, DeadLetter, DeadState, Operation, OperationKind};
use common::topology::Names;
use longshore::operator::program;
use longshore::system::System;
use operate::operation::beginning;
use operate::words::count;
use uuid::Uuid;

use super::lab::{EVENT_BYTES, Lab, MEGABYTE, delivering, median};
use super::pipeline::publish;

/// How many letters are replayed to warm up, until every buffer and cache has been in use. The embedded engine's caches
/// of pages need this many to settle. SQLite's connections take pages over from each other and make new ones in their
/// place. Each thread has a part of the heap of its own. So that part meanwhile grows by up to the size of a cache, while
/// the memory in use stays constant.
const WARM: u64 = 60_000;

/// Letters that are kept in one transaction.
const BATCH: u64 = 1000;

/// Events that are published raw, before and after.
const RAW: u64 = 20_000;

/// Maximum growth of memory, in megabytes, that counts as flat after many letters: buffers differ by that from one
/// moment to the next.
const FLAT: f64 = 5.0;

/// How much to replay.
#[derive(Debug, Args)]
#[command(after_help = "\
Fills a namespace of its own with dead letters of 1 kB and replays them at full speed, followed like every \
bulk replay. Publishes raw before and after it. No worker runs meanwhile. Everything is removed again.

Example:
  longshore-bench replay --json")]
pub(crate) struct ReplayArgs {
    /// Dead letters to replay
    #[arg(long, default_value_t = 232_000, value_name = "N", value_parser = clap::value_parser!(u64).range(1000..))]
    letters: u64,
    /// Exit with 1 when a goal is missed
    #[arg(long)]
    pub(super) check: bool,
}

pub(super) async fn measure(
    lab: &Lab,
    args: &ReplayArgs,
    report: &mut Report,
) -> Result<(), Failure> {
    // Nobody delivers, so nobody is called there.
    lab.on_a_system(&delivering("http://127.0.0.1:9/"), async |system| {
        fill(system, WARM).await?;
        replay(lab, system, WARM).await?;
        lab.say(&format!("keeping {}", count(args.letters, "dead letter")));
        fill(system, args.letters).await?;
        let rabbit = !lab.config.broker.url.is_embedded();
        let mut raw = Vec::new();
        if rabbit {
            raw.push(publish(lab, system, RAW).await?);
        }
        lab.say("replaying them");
        let before = memory()?;
        let rate = replay(lab, system, args.letters).await?;
        let after = memory()?;
        if rabbit {
            raw.push(publish(lab, system, RAW).await?);
            let raw = median(raw);
            report.add("publish_raw", raw, Unit::EventsPerSecond);
            report.add("replay", rate, Unit::EventsPerSecond);
            report.aim("replay_to_publish_raw", rate / raw, Unit::Ratio, 0.5);
        } else {
            report.add("replay", rate, Unit::EventsPerSecond);
        }
        report.add("replay_memory_before", before, Unit::Megabytes);
        report.add("replay_memory_after", after, Unit::Megabytes);
        let growth = (after - before).max(0.0);
        report.aim("replay_memory_growth", growth, Unit::Megabytes, FLAT);
        Ok(())
    })
    .await
}

/// Keeps `letters` dead letters that died on the way to the destination.
async fn fill(system: &System, letters: u64) -> Result<(), Failure> {
    let queue = Names::new(system.config.namespace.clone()).integrate("bench");
    let events = Events::new(EVENT_BYTES);
    let login = system.config.broker.own_login();
    let mut from = 0;
    while from < letters {
        let to = letters.min(from + BATCH);
        let batch: Vec<DeadLetter> = (from..to)
            .map(|number| letter(&queue, login.as_deref(), events.event(number).body))
            .collect();
        system.store.keep_dead(&batch).await?;
        from = to;
    }
    Ok(())
}

fn letter(queue: &str, login: Option<&str>, body: impl Into<bytes::Bytes>) -> DeadLetter {
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
    DeadLetter {
        id: Uuid::now_v7(),
        entry_key: None,
        event: Some(event),
        kind: Some(kind.to_owned()),
        source: Some("/bench".to_owned()),
        queue: queue.to_owned(),
        stage: "integrate".to_owned(),
        destination: Some("bench".to_owned()),
        reason: ReasonCode::ReceiverFailing,
        error: "expected a 2xx, found 503".to_owned(),
        attempts: 12,
        generation: 0,
        first_failed_at: at,
        last_failed_at: at,
        routing_key: kind.to_owned(),
        message: Message {
            body: body.into(),
            content_type: Some(CLOUDEVENTS_JSON.to_owned()),
            message_id: Some(event.to_string()),
            kind: Some(kind.to_owned()),
            user_id: login.map(str::to_owned),
            headers,
            ..Message::default()
        },
        state: DeadState::Open,
        replay: None,
        copies: 1,
    }
}

/// Replays everything; letters a second.
async fn replay(lab: &Lab, system: &System, letters: u64) -> Result<f64, Failure> {
    let id = Uuid::now_v7();
    let all = Operation {
        id,
        kind: OperationKind::Replay,
        filter: DeadFilter::default(),
        to_queue: None,
        act: beginning(id, &program("bench")),
        rate: None,
        // As every bulk replay is watched.
        stop_when: Some(20),
        slice: None,
        new_ids: false,
        resumes: None,
    };
    let begun = Instant::now();
    let sent = system.replay(&all, &lab.stop).await?;
    let seconds = begun.elapsed().as_secs_f64();
    if sent != letters {
        return Err(Failure::Failed(anyhow::anyhow!(
            "expected {letters} letters to be sent, found {sent}"
        )));
    }
    Ok(letters as f64 / seconds.max(f64::EPSILON))
}

/// The resident memory of this process, in megabytes.
fn memory() -> anyhow::Result<f64> {
    Ok(usage(std::process::id())?.resident_bytes as f64 / MEGABYTE)
}
