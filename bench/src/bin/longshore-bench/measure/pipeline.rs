//! One run of the pipeline over a backlog.

use std::time::{Duration, Instant};

use anyhow::{Context as _, anyhow};
use bench::{CpuSplit, Events, Namespace, PublishLoad, Receiver, publish_raw};
use common::bootstrap::Failure;
use common::topology::Names;
use longshore::Program;
use longshore::system::System;

use super::lab::{EVENT_BYTES, Lab, delivering};

/// How long nothing may happen before a run is given up.
const PATIENCE: Duration = Duration::from_secs(60);

/// Confirms in flight while publishing, as many as the twin has.
const WINDOW: usize = 1000;

/// The processes of the pipeline.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Shape {
    /// A program for each worker, as in production.
    Programs,
    /// All of them in one process, as `longshore dev` runs them, and as the twin does.
    OneProcess,
}

/// The figures of a run.
pub(super) struct Run {
    /// Events a second, from the moment the first worker consumes to the end of the last event's way.
    pub(super) rate: f64,
    /// Who used the processor for it.
    pub(super) cpu: CpuSplit,
}

/// Publishes `count` events, then starts the workers and measures until each is delivered, or only
/// stored.
pub(super) async fn backlog(
    lab: &Lab,
    count: u64,
    deliver: bool,
    shape: Shape,
) -> Result<Run, Failure> {
    let receiver = Receiver::start(None).await?;
    let settings = if deliver {
        delivering(&receiver.url())
    } else {
        String::new()
    };
    lab.on_a_system(&settings, async |system| {
        publish(lab, system, count).await?;
        let mut listening = None;
        if shape == Shape::Programs {
            // Validate comes last: with it everything begins, and all others are there already.
            let mut programs = vec![Program::Store, Program::Archive];
            if deliver {
                programs.push(Program::Integrate);
            }
            listening = system.start(&programs).await?.first().copied();
        }
        let queue = Names::new(system.config.namespace.clone()).validate();
        let broker = std::sync::Arc::clone(&system.broker);
        let begun = tokio::spawn(async move {
            // Until a worker holds the first of them.
            while broker
                .depth(&queue)
                .await?
                .is_some_and(|depth| depth.messages >= count)
            {
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
            Ok::<_, Failure>(Instant::now())
        });
        let before = CpuSplit::now();
        match shape {
            Shape::Programs => {
                system.start(&[Program::Validate]).await?;
            }
            Shape::OneProcess => listening = Some(system.start_dev().await?),
        }
        let begun = begun.await.context("the clock was stopped")??;
        let ended = if deliver {
            receiver.wait(count, PATIENCE).await?;
            receiver.last_at().unwrap_or_else(Instant::now)
        } else {
            let address = listening.context("the store worker listens nowhere")?;
            until_stored(system, &format!("http://{address}/metrics"), count).await?
        };
        let cpu = CpuSplit::now().since(&before);
        let seconds = ended.duration_since(begun).as_secs_f64().max(f64::EPSILON);
        let rate = count as f64 / seconds;
        Ok(Run { rate, cpu })
    })
    .await
}

/// Publishes `count` events to the system's `received` exchange; events a second.
pub(super) async fn publish(lab: &Lab, system: &System, count: u64) -> Result<f64, Failure> {
    let namespace = Namespace::new(system.config.namespace.as_str())?;
    let load = PublishLoad {
        events: Events::new(EVENT_BYTES),
        count,
        window: WINDOW,
        rate: None,
        confirmed: None,
    };
    let published = publish_raw(lab.config.broker.url.expose(), &namespace, &load).await?;
    Ok(published.rate())
}

/// Waits until the store worker behind `metrics` has settled `count` events: they are stored and handed
/// on.
pub(super) async fn until_stored(
    system: &System,
    metrics: &str,
    count: u64,
) -> Result<Instant, Failure> {
    let queue = Names::new(system.config.namespace.clone()).store();
    let (mut last, mut changed) = (0, Instant::now());
    loop {
        let page = system
            .http()
            .get(metrics)
            .send()
            .await
            .context("no metrics")?;
        let page = page.text().await.context("no metrics")?;
        let stored = outcomes(&page, &queue);
        if stored >= count {
            return Ok(Instant::now());
        }
        if stored > last {
            (last, changed) = (stored, Instant::now());
        }
        if changed.elapsed() > PATIENCE {
            return Err(anyhow!(
                "{stored} of {count} events are stored, and no more for {PATIENCE:?}"
            )
            .into());
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// How many events of `queue` a worker has handed on or is done with, by its metrics page.
fn outcomes(page: &str, queue: &str) -> u64 {
    let label = format!("queue=\"{queue}\"");
    let lines = page
        .lines()
        .filter(|line| line.starts_with("longshore_outcomes_total{") && line.contains(&label));
    let good = |line: &&str| line.contains("outcome=\"next\"") || line.contains("outcome=\"done\"");
    let values = lines
        .filter(good)
        .filter_map(|line| line.rsplit(' ').next()?.parse::<u64>().ok());
    values.sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_went_well_is_counted() {
        let page = "# TYPE longshore_outcomes_total counter\n\
                    longshore_outcomes_total{queue=\"b.store\",outcome=\"next\",reason=\"\"} 40\n\
                    longshore_outcomes_total{queue=\"b.store\",outcome=\"done\",reason=\"\"} 2\n\
                    longshore_outcomes_total{queue=\"b.store\",outcome=\"retry\",reason=\"x\"} 7\n\
                    longshore_outcomes_total{queue=\"b.validate\",outcome=\"next\",reason=\"\"} 9\n\
                    longshore_holds_total{queue=\"b.store\"} 1\n";
        assert_eq!(outcomes(page, "b.store"), 42);
        assert_eq!(outcomes("", "b.store"), 0);
    }
}
