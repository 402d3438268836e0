//! The latency from the door to a receiver at a steady rate, and the workers' usage while idle.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use bench::http_load::{self, HttpLoad};
use bench::{Events, Receiver, Report, Stamps, Unit, usage};
use common::bootstrap::Failure;
use longshore::system::System;

use super::door::all_accepted;
use super::lab::{EVENT_BYTES, Lab, MEGABYTE, PROGRAMS, delivering};

/// Events a second.
const RATE: u32 = 500;

/// How long events are sent.
const SECONDS: u64 = 20;

/// How long the idle workers are watched.
const IDLE: Duration = Duration::from_secs(10);

/// Watches the idle workers first: nothing of the load is in their memory then.
pub(super) async fn measure(lab: &Lab, report: &mut Report) -> Result<(), Failure> {
    let count = u64::from(RATE) * SECONDS;
    let start = Instant::now();
    let stamps = || Arc::new(Stamps::new(start, count));
    let (accepted, arrivals) = (stamps(), stamps());
    let receiver = Receiver::start(Some(Arc::clone(&arrivals))).await?;
    lab.on_a_system(&delivering(&receiver.url()), async |system| {
        let listening = system.start(&PROGRAMS).await?;
        let door = listening.first().context("the producer listens nowhere")?;
        lab.say(&format!("watching idle workers for {IDLE:?}"));
        idle(system, report).await?;
        lab.say(&format!("sending {RATE} events/s for {SECONDS} s"));
        let load = HttpLoad {
            base_url: format!("http://{door}"),
            key: None,
            events: Events::new(EVENT_BYTES),
            count,
            connections: 32,
            rate: Some(RATE),
            accepted: Some(Arc::clone(&accepted)),
        };
        let sent = http_load::singles(&load).await?;
        all_accepted(&sent, count)?;
        receiver.wait(count, Duration::from_secs(60)).await?;
        let latency = accepted
            .until(&arrivals)
            .percentiles()
            .context("nothing was measured")?;
        report.add(
            "accept_to_delivered_p50",
            latency.p50_ms,
            Unit::Milliseconds,
        );
        report.add(
            "accept_to_delivered_p99",
            latency.p99_ms,
            Unit::Milliseconds,
        );
        for (program, pid) in system.processes() {
            let name = format!("{program}_memory_after_load");
            report.add(
                name,
                usage(pid)?.resident_bytes as f64 / MEGABYTE,
                Unit::Megabytes,
            );
        }
        Ok(())
    })
    .await
}

async fn idle(system: &System, report: &mut Report) -> Result<(), Failure> {
    let programs = system.processes();
    let before = programs
        .iter()
        .map(|(_, pid)| usage(*pid))
        .collect::<anyhow::Result<Vec<_>>>()?;
    tokio::time::sleep(IDLE).await;
    for ((program, pid), before) in programs.into_iter().zip(before) {
        let (name, after) = (program, usage(pid)?);
        let busy = after.cpu.saturating_sub(before.cpu).as_secs_f64() / IDLE.as_secs_f64();
        let memory = after.resident_bytes as f64 / MEGABYTE;
        report.aim(format!("{name}_idle_memory"), memory, Unit::Megabytes, 25.0);
        report.aim(
            format!("{name}_idle_cpu"),
            100.0 * busy,
            Unit::PercentOfCore,
            1.0,
        );
    }
    Ok(())
}
