//! From a message on the dead queue to a dead letter. Every message becomes one.

use std::collections::HashSet;

use common::event::{broker_death, entry_key, from_rfc3339, header, letter_id, now, secrets};
use common::message::{HeaderValue, Headers, Message};
use common::reason::ReasonCode;
use common::runtime::Received;
use common::store::{DeadLetter, DeadState};
use common::topology::{Names, Stage, Topology};
use operate::history::Judge;
use time::OffsetDateTime;

/// The label of every queue that is not ours, as each would be one more label.
const OTHER: &str = "other";

/// The queues that a message can have died in.
pub(super) struct Places {
    names: Names,
    ours: HashSet<String>,
    judge: Judge,
}

/// Takes from a message what the archive has in columns of its own.
fn strip(message: &mut Message) {
    if let Some(body) = message.damage.take().and_then(|damage| damage.body) {
        message.headers.set(header::CUT, body);
    }
    for name in [
        header::REASON,
        header::ERROR,
        header::QUEUE,
        header::FAILED_AT,
        header::ROUTING_KEY,
        header::DEATH,
    ] {
        message.headers.remove(name);
    }
}

/// What is known of a death: from our own headers where a worker gave up, from the broker's where
/// the broker did, and from nothing at all where somebody published to the dead exchange.
struct Death {
    queue: String,
    reason: ReasonCode,
    error: String,
    failed_at: OffsetDateTime,
}

impl Places {
    pub(super) fn new(names: Names, topology: &Topology, judge: Judge) -> Self {
        let ours = topology.work_queues().map(|queue| queue.name.clone());
        Self {
            ours: ours.collect(),
            names,
            judge,
        }
    }

    /// The queue of a letter as a metric's label: outsiders' texts never become labels.
    pub(super) fn label<'q>(&self, queue: &'q str) -> &'q str {
        if self.ours.contains(queue) {
            queue
        } else {
            OTHER
        }
    }

    /// The dead letter that a message is.
    pub(super) fn letter(&self, received: &Received) -> DeadLetter {
        let Received {
            message,
            trail,
            routing_key,
            ..
        } = received;
        let death = self.death(received);
        let (stage, destination) = self
            .names
            .stage_of(&death.queue)
            .unwrap_or((Stage::Archive, None));
        let mut kind = self.kind(received);
        let mut original = message.clone();
        if let Some(expiration) = expired_after(message) {
            original.expiration.get_or_insert(expiration);
        }
        let id = letter_id(&original, trail, routing_key, &death.queue);
        let is_entry = received.event().is_none()
            && trail.generation == 0
            && death.queue == self.names.validate();
        let entry_key = is_entry.then(|| entry_key(&original, trail, routing_key));
        strip(&mut original);
        let mut error = death.error;
        let mut routing_key = routing_key.clone();
        if was_refused(death.reason) || self.would_be_refused(received) {
            secrets::mask_message(&mut original);
            error = secrets::mask_text(&error);
            routing_key = secrets::mask_text(&routing_key);
            kind = kind.map(|kind| secrets::mask_text(&kind));
        }
        // A message that came back, or was in hand when a worker died, may have been written and counted before.
        let is_counted = received.redelivered || trail.crashes > 0;
        DeadLetter {
            id,
            entry_key,
            event: received.event(),
            kind,
            source: original.app_id.clone(),
            stage: stage.as_str().to_owned(),
            destination: destination.map(str::to_owned),
            reason: death.reason,
            error,
            attempts: trail.attempt,
            generation: trail.generation,
            first_failed_at: trail.first_failed_at.unwrap_or(death.failed_at),
            last_failed_at: death.failed_at,
            routing_key,
            queue: death.queue,
            message: original,
            state: DeadState::Open,
            replay: None,
            copies: u32::from(!is_counted),
        }
    }

    /// What is known of the death of a message.
    fn death(&self, received: &Received) -> Death {
        let death = self
            .by_worker(received)
            .or_else(|| self.by_broker(received))
            .unwrap_or_else(|| self.by_nobody());
        self.with_damage(death, received)
    }

    /// The type of a message: its own word for it, or its routing key, unless that is a queue of ours.
    fn kind(&self, received: &Received) -> Option<String> {
        let key = &received.routing_key;
        let is_type = !key.is_empty() && self.names.stage_of(key).is_none();
        let kind = received.message.kind.clone();
        kind.or_else(|| is_type.then(|| key.clone()))
    }

    /// Whether validation has not seen it, and would refuse it: it expired at its door, say.
    fn would_be_refused(&self, received: &Received) -> bool {
        received.event().is_none() && !self.judge.would_take(received)
    }

    /// The death that a worker reports. Only our own headers come this far.
    fn by_worker(&self, received: &Received) -> Option<Death> {
        let headers = &received.message.headers;
        let queue = headers.text(header::QUEUE)?;
        let failed_at = headers.text(header::FAILED_AT)?;
        Some(Death {
            queue: Names::without_suspect(queue).to_owned(),
            reason: headers.text(header::REASON)?.parse().ok()?,
            error: headers.text(header::ERROR).unwrap_or_default().to_owned(),
            failed_at: from_rfc3339(failed_at)?,
        })
    }

    /// RabbitMQ tells of its own dead letters in `x-death`, the newest first. A publisher can write that header,
    /// too, and RabbitMQ before 4.0 then only counts up an entry of the same queue and reason. So of a foreign
    /// message these two are believed, where they name a queue of ours, and nothing else.
    fn by_broker(&self, received: &Received) -> Option<Death> {
        let death = broker_death(&received.message.headers)?;
        let queue = Names::without_suspect(death.text("queue")?);
        let is_vouched = received.event().is_some();
        let is_known =
            self.ours.contains(queue) || (is_vouched && self.names.stage_of(queue).is_some());
        let (reason, error) = match death.text("reason") {
            Some("delivery_limit") => (
                ReasonCode::DeliveryLimit,
                "the broker gave it up: delivery_limit",
            ),
            Some("expired") => (
                ReasonCode::Expired,
                "it expired before a worker took it: the broker gave it up",
            ),
            Some("maxlen") => (
                ReasonCode::BrokerDeadLettered,
                "the broker gave it up: maxlen",
            ),
            Some("rejected") => (
                ReasonCode::BrokerDeadLettered,
                "the broker gave it up: rejected",
            ),
            _ => (
                ReasonCode::BrokerDeadLettered,
                "the broker gave it up for no reason that is known",
            ),
        };
        is_known.then(|| Death {
            queue: queue.to_owned(),
            reason,
            error: error.to_owned(),
            failed_at: moment(death).filter(|_| is_vouched).unwrap_or_else(now),
        })
    }

    /// A death with the unreadable parts of its message, which are the reason if there is no other.
    fn with_damage(&self, death: Death, received: &Received) -> Death {
        let Some(damage) = received.damage() else {
            return death;
        };
        if death.queue == self.names.dead() {
            return Death {
                reason: damage.code,
                error: damage.error,
                ..death
            };
        }
        Death {
            error: format!("{}; {}", death.error, damage.error),
            ..death
        }
    }

    fn by_nobody(&self) -> Death {
        Death {
            queue: self.names.dead(),
            reason: ReasonCode::BrokerDeadLettered,
            error: "it came to the dead exchange without a word of where it died".to_owned(),
            failed_at: now(),
        }
    }
}

/// Whether validation refused the message: then secrets in it are masked before it is kept. Any other
/// letter is an event, and is kept as it is, so that it can be replayed.
fn was_refused(reason: ReasonCode) -> bool {
    matches!(
        reason,
        ReasonCode::Undecodable | ReasonCode::UnknownType | ReasonCode::TooLarge
    )
}

/// The `expiration` that the broker took off a message when it had run out.
fn expired_after(message: &Message) -> Option<String> {
    let expiration = broker_death(&message.headers)?.text("original-expiration")?;
    Some(expiration.to_owned())
}

/// When the broker gave it up.
fn moment(death: &Headers) -> Option<OffsetDateTime> {
    let Some(HeaderValue::Time(seconds)) = death.get("time") else {
        return None;
    };
    OffsetDateTime::from_unix_timestamp(i64::try_from(*seconds).ok()?).ok()
}

#[cfg(test)]
mod tests;
