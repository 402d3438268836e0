//! What delivering means: check, wait for a turn, send, write down, say what came of it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use common::config::Destination;
use common::event::now;
use common::outcome::{Failure, Outcome};
use common::runtime::{Handler, Received};
use common::store::{Attempt, DeliveryKey, DeliveryState, Store, StoreError};
use common::telemetry::metrics::DestinationMetrics;
use governor::{DefaultDirectRateLimiter, Quota, RateLimiter};
use ipnet::IpNet;
use tokio::sync::Semaphore;

use super::answer::Verdict;
use super::together::Together;
use super::turns::Turns;
use super::webhook::{UnusableWebhook, Webhook};
use crate::canonical::passed_on;
use crate::database::refused;

/// How long attempts gather under load before they are written down. No receiver waits for it, and an
/// attempt that is not yet recorded takes no place from another.
const GATHER: Duration = Duration::from_millis(15);

/// Delivers events to one destination.
pub struct Deliver {
    destination: String,
    webhook: Webhook,
    /// One for each delivery that may be under way.
    places: Semaphore,
    rate: Option<DefaultDirectRateLimiter>,
    store: Arc<dyn Store>,
    turns: Turns,
    known: Together<DeliveryKey, Option<DeliveryState>>,
    recorded: Together<Attempt, ()>,
    metrics: DestinationMetrics,
}

impl Deliver {
    /// Delivers to `destination`, which may be at a private address that `allow` names.
    ///
    /// # Errors
    /// The webhook cannot be used as configured.
    pub fn new(
        destination: Destination,
        allow: Vec<IpNet>,
        store: Arc<dyn Store>,
    ) -> Result<Self, UnusableWebhook> {
        let webhook = Webhook::new(&destination.webhook, destination.timeout, allow)?;
        let rate = destination.rate.and_then(|rate| {
            // One at a time: a burst would be all that the rate is there to prevent.
            let quota = Quota::with_period(rate.interval())?;
            Some(RateLimiter::direct(quota))
        });
        let rows = Arc::clone(&store);
        let known = Together::start(Duration::ZERO, move |keys: Arc<Vec<DeliveryKey>>| {
            let store = Arc::clone(&rows);
            async move { store.deliveries(&keys).await }
        });
        let rows = Arc::clone(&store);
        let recorded = Together::start(GATHER, move |attempts: Arc<Vec<Attempt>>| {
            let store = Arc::clone(&rows);
            async move {
                store.record_attempts(&attempts).await?;
                Ok(vec![(); attempts.len()])
            }
        });
        let metrics = DestinationMetrics::new(&destination.name);
        Ok(Self {
            destination: destination.name,
            webhook,
            places: Semaphore::new(destination.concurrency),
            rate,
            store,
            turns: Turns::default(),
            known,
            recorded,
            metrics,
        })
    }

    async fn deliver(&self, received: &Received) -> Result<Outcome, StoreError> {
        let event = match passed_on(received) {
            Ok(event) => event,
            Err(failure) => return Ok(Outcome::Dead(failure)),
        };
        let key = DeliveryKey {
            event,
            destination: self.destination.clone(),
            generation: received.trail.generation,
        };
        // At least once means that a copy may come; the receiver shall not see it. Of a fresh event
        // there can be no copy from before this process began to remember; of any other the database
        // knows.
        let turn = self.turns.take(&key).await;
        if turn.is_made() || (!received.is_fresh() && !self.is_due(&key).await?) {
            return Ok(Outcome::Done);
        }
        let (attempt, verdict) = {
            // Never closed.
            let _place = self.places.acquire().await;
            if let Some(rate) = &self.rate {
                rate.until_ready().await;
            }
            self.attempt(key, received).await
        };
        self.recorded.request(attempt).await?;
        if verdict == Verdict::Delivered {
            turn.made();
        }
        Ok(match verdict {
            Verdict::Delivered => Outcome::Done,
            Verdict::Later { after, failure } => Outcome::Retry { after, failure },
            Verdict::Never(failure) => Outcome::Dead(failure),
        })
    }

    async fn is_due(&self, key: &DeliveryKey) -> Result<bool, StoreError> {
        let known = self.known.request(key.clone()).await?;
        Ok(!matches!(
            known,
            Some(DeliveryState::Delivered | DeliveryState::Discarded)
        ))
    }

    async fn attempt(&self, key: DeliveryKey, received: &Received) -> (Attempt, Verdict) {
        let started_at = now();
        let began = Instant::now();
        let id = webhook_id(&key);
        let sent = self
            .webhook
            .send(&id, key.event, started_at, received)
            .await;
        let took = began.elapsed();
        let verdict = sent.verdict;
        let failure: Option<&Failure> = match &verdict {
            Verdict::Delivered => None,
            Verdict::Later { failure, .. } | Verdict::Never(failure) => Some(failure),
        };
        self.metrics
            .attempt(failure.map(|failure| failure.code), took);
        let attempt = Attempt {
            key,
            attempt: received.attempt(),
            started_at,
            duration_ms: u32::try_from(took.as_millis()).unwrap_or(u32::MAX),
            status_code: sent.status,
            error: failure.map(|failure| failure.error.clone()),
            response_excerpt: sent.excerpt,
            delivered: failure.is_none(),
        };
        (attempt, verdict)
    }
}

/// What the receiver knows the delivery by: the same in every attempt, another one in a replay,
/// which is sent on purpose. Holds no dot, as Standard Webhooks asks.
fn webhook_id(key: &DeliveryKey) -> String {
    match key.generation {
        0 => key.event.to_string(),
        generation => format!("{}-r{generation}", key.event),
    }
}

#[async_trait]
impl Handler for Deliver {
    async fn handle(&self, batch: &[Received]) -> Vec<Outcome> {
        let mut outcomes = Vec::with_capacity(batch.len());
        for received in batch {
            outcomes.push(self.deliver(received).await.unwrap_or_else(refused));
        }
        outcomes
    }

    async fn probe(&self, _: &'static str) -> Result<(), String> {
        self.store.ready().await.map_err(|error| error.to_string())
    }
}

#[cfg(test)]
mod tests;
