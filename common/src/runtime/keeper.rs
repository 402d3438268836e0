//! The keeper of holds: it ends each of them, once the dependency answers and one event has gone through.
//!
//! A dependency may answer and still not do its work: a database that can only be read, a queue that
//! refuses what is published. So an answer is followed by a trial with a single event, and only what
//! becomes of that ends the hold.

use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::StreamExt as _;
use tokio::time::timeout;

use super::call;
use super::hold::{BROKER, Down};
use super::lane::{InHand, Lane, LaneKind};
use super::worker::Worker;
use crate::bootstrap::millis;
use crate::broker::{Delivery, Subscription, SubscriptionControl, declare_anew};
use crate::tasks;

/// How long a trial waits for an event. Where none comes, nothing waits for the hold to end.
const MOMENT: Duration = Duration::from_secs(1);

/// How long a trial may take. A refusal comes at once; what takes longer is at work.
const TRIAL_TIMEOUT: Duration = Duration::from_secs(15);

/// A hold that begins within this time of the last one's end may be the same hold.
const RELAPSE: Duration = Duration::from_secs(10);

/// How the last hold ended.
struct Ended {
    dependency: &'static str,
    at: Instant,
    /// How many events had gone through by then.
    through: u64,
}

impl Worker {
    /// Ends each hold, until the worker is told to stop and the trials are over.
    pub(super) async fn keep(self: Arc<Self>) {
        tokio::select! {
            () = self.end_holds() => {}
            () = self.stop.cancelled() => {}
        }
        self.trials.close();
        self.trials.wait().await;
    }

    async fn end_holds(self: &Arc<Self>) {
        let mut waits = self.waits();
        let mut last: Option<Ended> = None;
        loop {
            let mut down = self.hold.begun().await;
            if last.as_ref().is_some_and(|last| self.relapsed(last, &down)) {
                tracing::debug!(queue.name = %self.spec.queue, "the hold goes on");
            } else {
                waits.reset();
                self.metrics.hold(down.dependency);
                tracing::warn!(
                    queue.name = %self.spec.queue, dependency = down.dependency, error = down.error,
                    "holding: giving events back until it answers"
                );
            }
            loop {
                let wait = waits.next_wait();
                tracing::debug!(queue.name = %self.spec.queue, wait_ms = millis(wait), "waiting");
                tokio::time::sleep(wait).await;
                match self.look(down.dependency).await {
                    Ok(()) => break,
                    Err(still) => {
                        let Down { dependency, error } = &still;
                        tracing::debug!(queue.name = %self.spec.queue, dependency, error, "still down");
                        self.hold.go_on(still.clone());
                        down = still;
                    }
                }
            }
            tracing::info!(
                queue.name = %self.spec.queue, dependency = down.dependency,
                "it answers and an event went through: working again"
            );
            last = Some(Ended {
                dependency: down.dependency,
                at: Instant::now(),
                through: self.through(),
            });
            self.metrics.holding(false);
            self.hold.end();
        }
    }

    /// Whether a hold is the last one over again: it begins soon after, and fewer events than fit in hand
    /// went through in between. Its waits go on growing then.
    fn relapsed(&self, last: &Ended, down: &Down) -> bool {
        let through = self.through().saturating_sub(last.through);
        last.dependency == down.dependency
            && last.at.elapsed() < RELAPSE
            && through < u64::from(self.spec.settings.prefetch)
    }

    /// Asks the dependency, then tries one event.
    async fn look(self: &Arc<Self>, dependency: &'static str) -> Result<(), Down> {
        self.probe(dependency)
            .await
            .map_err(|error| Down { dependency, error })?;
        let lane = Lane::new(self, LaneKind::Trial, self.spec.queue.clone());
        let trial = tasks::supervised("trial", lane.try_one());
        match timeout(TRIAL_TIMEOUT, self.trials.spawn(trial)).await {
            Ok(Ok(tried)) => tried,
            // The program is ending over it.
            Ok(Err(error)) => Err(Down {
                dependency,
                error: error.to_string(),
            }),
            Err(_) => Ok(()),
        }
    }

    async fn probe(&self, dependency: &'static str) -> Result<(), String> {
        if dependency != BROKER {
            return call::probe(&*self.handler, dependency, self.spec.settings.timeout).await;
        }
        self.broker
            .ready()
            .await
            .map_err(|error| error.to_string())?;
        // Somebody may have deleted what we publish to.
        declare_anew(&*self.broker, &self.topology)
            .await
            .map_err(|error| error.to_string())
    }
}

impl Lane {
    /// Takes one event, if there is one, and handles it. The error says what it could not do without.
    async fn try_one(self) -> Result<(), Down> {
        let lane = Arc::new(self);
        let subscribed = lane.worker.broker.subscribe(&lane.queue, lane.prefetch());
        let Subscription {
            mut deliveries,
            control,
        } = subscribed.await.map_err(Down::broker)?;
        let first = timeout(MOMENT, deliveries.next()).await;
        // One is enough, and none is also an answer; but one may still have been under way.
        control.cancel().await.map_err(Down::broker)?;
        let first = match first {
            Ok(Some(Ok(first))) => Some(first),
            Ok(Some(Err(error))) => return Err(Down::broker(error)),
            Ok(None) => return Err(Down::broker("the subscription ended")),
            Err(_) => None,
        };
        let mut more: Vec<InHand> = Vec::new();
        while let Some(Ok(delivery)) = deliveries.next().await {
            more.push(lane.in_hand(delivery, &control));
        }
        let tried = match first {
            Some(first) => lane.try_with(first, &control).await,
            None => Ok(()),
        };
        lane.give_back(more, &control).await;
        if let Err(error) = control.flush().await {
            tracing::debug!(queue.name = %lane.queue, %error, "the tried event may come again");
        }
        control.close().await;
        tried
    }

    async fn try_with(
        self: &Arc<Self>,
        delivery: Delivery,
        control: &Arc<dyn SubscriptionControl>,
    ) -> Result<(), Down> {
        let in_hand = self.in_hand(delivery, control);
        if self.is_suspect(&in_hand) {
            return self.put_aside(in_hand, control).await;
        }
        // Never closed.
        let Ok(permit) = Arc::clone(&self.worker.slots).acquire_owned().await else {
            return Ok(());
        };
        let lane = Arc::clone(self);
        lane.handle(vec![in_hand], permit, Arc::clone(control))
            .await
    }
}
