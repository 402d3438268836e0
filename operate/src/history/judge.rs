//! The validate worker's verdict on an entry of the history.

use common::bootstrap::Failure;
use common::broker::HistoryEntry;
use common::config::Config;
use common::event::{EventId, Logins, Trail, Types, entry_key, event_of, letter_id, now};
use common::message::Message;
use common::outcome::Outcome;
use common::reason::ReasonCode;
use common::runtime::Received;
use common::seal::Seal;
use common::topology::Names;
use time::OffsetDateTime;
use uuid::Uuid;

use common::validation::Validate;

/// Judges entries as the validate worker does.
#[derive(Debug)]
pub struct Judge {
    validate: Validate,
    logins: Logins,
    /// The queue that entries went to first.
    queue: String,
}

/// An entry, judged.
#[derive(Debug)]
pub struct Entry {
    /// Its place in the history.
    pub offset: u64,
    /// When it was received, as far as anybody tells.
    pub at: Option<OffsetDateTime>,
    /// The message as the validate worker found it.
    pub received: Received,
    /// The event it is, where our id for it is known.
    pub event: Option<EventId>,
    /// Its type, as far as it names one.
    pub kind: String,
    /// The verdict of validation.
    pub verdict: Verdict,
}

/// The keys of an entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// Its place in the history.
    pub offset: u64,
    /// When it was received, as far as anybody tells who is believed.
    pub at: Option<OffsetDateTime>,
    /// The event it is, where our id for it is known.
    pub event: Option<EventId>,
    /// The dead letter of an entry that died before its event had an id of ours; for an event that had one from the
    /// start, that id.
    pub letter: Uuid,
    /// The key of a dead letter whose entry the history spells otherwise ([`entry_key`]); `None` for an entry from our
    /// own door.
    pub entry_key: Option<Uuid>,
    /// Its type, as far as it names one.
    pub kind: String,
}

impl Identity {
    /// The one id that tells it apart.
    pub fn key(&self) -> Uuid {
        self.event.map_or(self.letter, EventId::uuid)
    }
}

/// The validate worker's verdict on an entry.
#[derive(Debug)]
pub enum Verdict {
    /// It goes on, in canonical form.
    Accepted(Box<Message>),
    /// A rule refuses it.
    Rejected(ReasonCode),
    /// It is not an event, or of an unknown type.
    Dead(ReasonCode),
}

impl Judge {
    /// Judges by the types, limits and logins of a configuration.
    ///
    /// # Errors
    /// A configured event type or the sealing key cannot be used.
    pub fn new(config: &Config) -> Result<Self, Failure> {
        let types =
            Types::with(&config.types).map_err(|error| Failure::Usage(error.to_string()))?;
        let seal = Seal::of(config)?;
        Ok(Self {
            validate: Validate::new(types, config.limits.events(), config.broker.logins(), seal),
            logins: config.broker.logins(),
            queue: Names::new(config.namespace.clone()).validate(),
        })
    }

    /// Whether validation would let a message pass that it has not seen.
    pub fn would_take(&self, received: &Received) -> bool {
        matches!(self.validate.judge(received), Outcome::Next(_))
    }

    /// Judges one entry.
    pub fn judge(&self, entry: HistoryEntry) -> Entry {
        let HistoryEntry {
            offset,
            time,
            routing_key,
            message,
        } = entry;
        let at_the_door = time.unwrap_or_else(now);
        let received = Received::at_the_door(message, routing_key, &self.logins, at_the_door);
        let (verdict, known) = match self.validate.judge(&received) {
            Outcome::Next(next) => match next.into_iter().next() {
                Some(publication) => {
                    let message = publication.message;
                    let known = (id_of(&message), message.kind.clone());
                    (Verdict::Accepted(Box::new(message)), known)
                }
                None => (Verdict::Dead(ReasonCode::Undecodable), (None, None)),
            },
            Outcome::Rejected(rejection) => {
                let event = rejection.event.map(|event| *event).unwrap_or_default();
                (
                    Verdict::Rejected(rejection.code),
                    (id_of(&event), event.kind),
                )
            }
            Outcome::Dead(failure) => {
                // For a message that is not an event, only our own door's word counts.
                (Verdict::Dead(failure.code), (received.event(), None))
            }
            // Validating needs nothing and nobody, so it knows no other outcome.
            Outcome::Done
            | Outcome::Retry { .. }
            | Outcome::Snooze(_)
            | Outcome::GiveBack
            | Outcome::Hold { .. } => (Verdict::Dead(ReasonCode::Undecodable), (None, None)),
        };
        let (event, kind) = known;
        Entry {
            offset,
            at: time,
            event,
            kind: kind
                .or_else(|| received.message.kind.clone())
                .unwrap_or_else(|| received.routing_key.clone()),
            verdict,
            received,
        }
    }

    /// Whose messages are believed.
    pub fn logins(&self) -> &Logins {
        &self.logins
    }

    /// The keys of an entry. The body of an entry from our own door is not read.
    pub fn identify(&self, entry: HistoryEntry) -> Identity {
        if self.logins.trusts(entry.message.user_id.as_deref())
            && let Some(event) = event_of(&entry.message, &Trail::read(&entry.message.headers))
        {
            return Identity {
                offset: entry.offset,
                at: entry.time,
                event: Some(event),
                letter: event.uuid(),
                entry_key: None,
                kind: entry.message.kind.unwrap_or(entry.routing_key),
            };
        }
        let at = entry.time;
        let entry = self.judge(entry);
        Identity {
            offset: entry.offset,
            at,
            event: entry.event,
            letter: self.letter_of(&entry, 0),
            entry_key: Some(Self::entry_key_of(&entry)),
            kind: entry.kind,
        }
    }

    /// The key of an entry's dead letter, for any spelling of the history.
    pub fn entry_key_of(entry: &Entry) -> Uuid {
        let received = &entry.received;
        entry_key(&received.message, &received.trail, &received.routing_key)
    }

    /// The dead letter that an entry became if it died in its first queue.
    pub fn letter_of(&self, entry: &Entry, generation: u32) -> Uuid {
        let Received {
            message,
            trail,
            routing_key,
            ..
        } = &entry.received;
        let trail = Trail {
            generation,
            ..trail.clone()
        };
        letter_id(message, &trail, routing_key, &self.queue)
    }
}

fn id_of(message: &Message) -> Option<EventId> {
    message.message_id.as_deref()?.parse().ok()
}
