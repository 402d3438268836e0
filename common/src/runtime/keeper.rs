//! The keeper of holds. It ends a hold once the dependency answers and one event has gone through.
//!
//! A dependency may answer and still not do its work: a database that can only be read, a queue that refuses
//! publications. So an answer is followed by a trial with a single event, and only its outcome ends the hold.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::time::timeout;

use super::call;
use super::desk::Desk;
use super::hold::Down;
use super::trial::Trial;
use crate::broker::declare_missing;
use crate::dependency::Dependency;
use crate::tasks;
use crate::telemetry::millis;

/// Maximum time of a trial. A refusal comes at once; a dependency that takes longer is at work.
const TRIAL_TIMEOUT: Duration = Duration::from_secs(15);

/// Maximum time between the end of a hold and the beginning of another that may be the same hold.
const RELAPSE: Duration = Duration::from_secs(10);

/// How the last hold ended.
struct Ended {
    dependency: Dependency,
    at: Instant,
    /// How many events had gone through by then.
    through: u64,
}

/// Ends each hold of one worker.
pub(super) struct Keeper {
    desk: Arc<Desk>,
}

impl Keeper {
    pub(super) fn new(desk: Arc<Desk>) -> Self {
        Self { desk }
    }

    /// Ends each hold, until the worker is told to stop and the trials are over.
    pub(super) async fn run(self) {
        let desk = &self.desk;
        tokio::select! {
            () = self.end_holds() => {}
            () = desk.stopped() => {}
        }
        desk.trials.close();
        desk.trials.wait().await;
    }

    async fn end_holds(&self) {
        let desk = &self.desk;
        let mut waits = desk.waits();
        let mut last: Option<Ended> = None;
        loop {
            let mut down = desk.hold.begun().await;
            if last.as_ref().is_some_and(|last| self.relapsed(last, &down)) {
                tracing::debug!(queue.name = %desk.spec.queue, "the hold goes on");
            } else {
                waits.reset();
                let engine = desk.engines.engine_of(down.dependency);
                desk.metrics.hold(engine);
                tracing::warn!(
                    queue.name = %desk.spec.queue, dependency = engine.as_str(), error = down.error,
                    "holding: giving events back until it answers"
                );
            }
            loop {
                let wait = waits.next_wait();
                tracing::debug!(queue.name = %desk.spec.queue, wait_ms = millis(wait), "waiting");
                tokio::time::sleep(wait).await;
                match self.look(down.dependency).await {
                    Ok(()) => break,
                    Err(still) => {
                        let engine = desk.engines.engine_of(still.dependency);
                        tracing::debug!(
                            queue.name = %desk.spec.queue, dependency = engine.as_str(), error = still.error,
                            "still down"
                        );
                        desk.hold.go_on(still.clone());
                        down = still;
                    }
                }
            }
            tracing::info!(
                queue.name = %desk.spec.queue, dependency = desk.engines.engine_of(down.dependency).as_str(),
                "it answers and an event went through: working again"
            );
            last = Some(Ended {
                dependency: down.dependency,
                at: Instant::now(),
                through: desk.through(),
            });
            desk.metrics.holding(false);
            desk.hold.end();
        }
    }

    /// Whether this hold repeats the last one: it begins soon after, and fewer events than fit in hand went
    /// through in between. Then its waits go on growing.
    fn relapsed(&self, last: &Ended, down: &Down) -> bool {
        let through = self.desk.through().saturating_sub(last.through);
        last.dependency == down.dependency
            && last.at.elapsed() < RELAPSE
            && through < u64::from(self.desk.spec.settings.prefetch)
    }

    /// Asks the dependency, then tries one event.
    async fn look(&self, dependency: Dependency) -> Result<(), Down> {
        self.probe(dependency)
            .await
            .map_err(|error| Down { dependency, error })?;
        // Behind a shut gate nothing is taken, not even one event. If the dependency is down all the same, the first event
        // shows it once the gate opens.
        if !self.desk.spec.gate.is_open() {
            return Ok(());
        }
        let trial = tasks::supervised("trial", Trial::new(&self.desk).run());
        match timeout(TRIAL_TIMEOUT, self.desk.trials.spawn(trial)).await {
            Ok(Ok(tried)) => tried,
            // The error ends the program.
            Ok(Err(error)) => Err(Down {
                dependency,
                error: error.to_string(),
            }),
            Err(_) => Ok(()),
        }
    }

    async fn probe(&self, dependency: Dependency) -> Result<(), String> {
        let desk = &self.desk;
        if dependency != Dependency::Broker {
            return call::probe(&*desk.handler, desk.spec.settings.timeout).await;
        }
        desk.broker
            .ready()
            .await
            .map_err(|error| error.to_string())?;
        // A queue or exchange for our publications may have been deleted.
        declare_missing(&*desk.broker, &desk.surroundings.topology)
            .await
            .map(|_| ())
            .map_err(|error| error.to_string())
    }
}
