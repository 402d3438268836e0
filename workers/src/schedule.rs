//! Releases scheduled events: sends each to the store stage again when its moment has come.
//!
//! One archive worker at a time does it, under a lease in the database. The lease only saves work: an event that is sent
//! twice is released once, in the transaction that writes down where it is due. One that was sent and still waits after a while
//! is sent again: sooner while the queue of the store stage is empty.

use std::sync::Arc;
use std::time::{Duration, Instant};

use common::bootstrap::{Failure, Program};
use common::broker::{Address, Broker, Publication};
use common::event::EventId;
use common::retry::Waits;
use common::store::Store;
use common::telemetry::metrics;
use common::topology::Names;
use operate::survey::as_release;
use time::OffsetDateTime;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

/// The name of the lease.
const LEASE: &str = "schedule";

/// How long a lease lasts, and how often it is renewed.
const KEEP: Duration = Duration::from_secs(5);
const RENEW: Duration = Duration::from_millis(1500);

/// Time between two looks of the one that has the lease, and of the others.
const LOOK: Duration = Duration::from_millis(50);
const LOOK_OF_OTHERS: Duration = Duration::from_secs(1);

/// How many events are sent at once: their bodies are in memory.
const SENT_AT_ONCE: u32 = 100;

/// How long an event that was sent may take to be released while the queue of the store stage is empty, and while it is not. One that
/// is sent twice is released once.
const RELEASED_WITHIN: Duration = Duration::from_secs(60);
const RELEASED_WITHIN_A_BACKLOG: Duration = Duration::from_secs(600);

/// Time between two looks for events that take longer.
const LOOK_FOR_LOST: Duration = Duration::from_secs(10);

/// The first and the longest wait while broker or database do not answer.
const WAITS: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(5));

/// Releases scheduled events.
pub struct Releaser {
    broker: Arc<dyn Broker>,
    store: Arc<dyn Store>,
    /// The queue of the store stage.
    queue: String,
    stop: CancellationToken,
    /// Who we are in the lease.
    holder: Uuid,
    /// When the lease was renewed, while it is ours.
    renewed_at: Option<Instant>,
    looked_for_lost_at: Option<Instant>,
}

impl Releaser {
    /// Releases events until the program is told to stop, once it runs.
    pub fn new(program: &Program, broker: &Arc<dyn Broker>, store: &Arc<dyn Store>) -> Self {
        Self {
            broker: Arc::clone(broker),
            store: Arc::clone(store),
            queue: Names::new(program.config.namespace.clone()).store(),
            stop: program.stop.clone(),
            holder: Uuid::now_v7(),
            renewed_at: None,
            looked_for_lost_at: None,
        }
    }

    /// Releases events until the program is told to stop.
    pub async fn run(mut self) {
        let stop = self.stop.clone();
        let mut waits = Waits::between(WAITS.0, WAITS.1);
        let mut is_failing = false;
        let mut pause = LOOK;
        loop {
            tokio::select! {
                () = stop.cancelled() => break,
                () = tokio::time::sleep(pause) => {}
            }
            pause = match self.look().await {
                Ok(pause) => {
                    waits.reset();
                    is_failing = false;
                    pause
                }
                Err(failure) => {
                    if !std::mem::replace(&mut is_failing, true) {
                        tracing::warn!(error = %failure, "scheduled events cannot be released now");
                    }
                    waits.next_wait()
                }
            };
        }
        if self.renewed_at.is_some() {
            let watching = self.store.watching();
            // It ends by itself otherwise.
            let _ = watching.give_up_lease(LEASE, self.holder).await;
        }
    }

    /// One look, and how long to wait for the next one.
    async fn look(&mut self) -> Result<Duration, Failure> {
        if !self.holds_lease().await? {
            return Ok(LOOK_OF_OTHERS);
        }
        loop {
            let due = self.store.events_to_release(SENT_AT_ONCE).await?;
            if !due.is_empty() {
                self.send(&due).await?;
            }
            if due.len() < SENT_AT_ONCE as usize || !self.holds_lease().await? {
                break;
            }
        }
        self.look_for_lost().await?;
        Ok(LOOK)
    }

    async fn holds_lease(&mut self) -> Result<bool, Failure> {
        if self.renewed_at.is_some_and(|at| at.elapsed() < RENEW) {
            return Ok(true);
        }
        let now = Instant::now();
        let watching = self.store.watching();
        let lease = watching.hold_lease(LEASE, self.holder, KEEP, None).await?;
        self.renewed_at = lease.map(|_| now);
        Ok(self.renewed_at.is_some())
    }

    /// Lets events be sent again whose messages seem to be lost.
    async fn look_for_lost(&mut self) -> Result<(), Failure> {
        let is_time = self
            .looked_for_lost_at
            .is_none_or(|at| at.elapsed() >= LOOK_FOR_LOST);
        if !is_time {
            return Ok(());
        }
        let depth = self.broker.depth(&self.queue).await?;
        let within = match depth {
            Some(depth) if depth.messages == 0 => RELEASED_WITHIN,
            _ => RELEASED_WITHIN_A_BACKLOG,
        };
        let lost = self.store.send_events_again(within).await?;
        if lost > 0 {
            tracing::warn!(
                number = lost,
                "scheduled events whose moment has come were sent to the store stage and wait still: they are sent again"
            );
        }
        self.looked_for_lost_at = Some(Instant::now());
        Ok(())
    }

    /// Sends events to the store stage.
    async fn send(&self, due: &[(EventId, OffsetDateTime)]) -> Result<(), Failure> {
        let events: Vec<EventId> = due.iter().map(|(event, _)| *event).collect();
        let mut bodies = self.store.watching().stored_bodies(&events).await?;
        // In the order of their moments.
        bodies.sort_by_key(|body| {
            due.iter()
                .find(|(event, _)| *event == body.event)
                .map(|it| it.1)
        });
        let publications = bodies.iter().map(|body| Publication {
            to: Address::Queue(self.queue.clone()),
            message: as_release(body),
        });
        let answers = self.broker.publish_all(publications.collect()).await;
        let (mut sent, mut failure) = (Vec::with_capacity(bodies.len()), None);
        for (body, answer) in bodies.iter().zip(answers) {
            match answer {
                Ok(()) => sent.push(body.event),
                Err(error) => failure = Some(error),
            }
        }
        self.store.mark_events_sent(&sent).await?;
        let now = OffsetDateTime::now_utc();
        for (_, moment) in due.iter().filter(|(event, _)| sent.contains(event)) {
            metrics::released(Duration::try_from(now - *moment).unwrap_or_default());
        }
        match failure {
            None => Ok(()),
            Some(error) => Err(Failure::Unreachable(error.to_string())),
        }
    }
}

#[cfg(test)]
mod tests;
