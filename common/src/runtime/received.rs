//! An event in the hands of a handler.

use std::borrow::Cow;

use time::OffsetDateTime;

use super::Claim;
use crate::broker::{Delivery, Tag};
use crate::event::{EventId, Logins, Trail, event_of, header, secrets};
use crate::message::Message;
use crate::outcome::Failure;

/// A delivered message, and the knowledge of its way.
#[derive(Debug, Clone, PartialEq)]
pub struct Received {
    /// The message.
    pub message: Message,
    /// The routing key it was first published with.
    pub routing_key: String,
    /// Whether it was delivered before.
    pub redelivered: bool,
    /// The system's knowledge of it.
    pub trail: Trail,
    /// Whether it is still ours to act on.
    pub claim: Claim,
}

impl Received {
    /// Reads what is known of a delivery, on whichever queue. Our headers are believed only under one of our
    /// own logins; any other message is a foreign one, whose trail starts over.
    pub(super) fn new(
        delivery: Delivery,
        logins: &Logins,
        now: OffsetDateTime,
        claim: Claim,
    ) -> Self {
        let Delivery {
            mut message,
            mut routing_key,
            redelivered,
            ..
        } = delivery;
        let user = message.user_id.as_deref();
        if logins.trusts(user) {
            if let Some(first) = message.headers.text(header::ROUTING_KEY) {
                first.clone_into(&mut routing_key);
            }
            let trail = Trail::read(&message.headers);
            return Self {
                message,
                routing_key,
                redelivered,
                trail,
                claim,
            };
        }
        let trail = Trail::of_foreign(user, now);
        message
            .headers
            .retain(|name| !name.starts_with(header::PREFIX));
        Self {
            message,
            routing_key,
            redelivered,
            trail,
            claim,
        }
    }

    /// A message of the history, as the validate worker found it when it came through the door `now`.
    pub fn at_the_door(
        message: Message,
        routing_key: String,
        logins: &Logins,
        now: OffsetDateTime,
    ) -> Self {
        let delivery = Delivery {
            tag: Tag(0),
            message,
            routing_key,
            redelivered: false,
            returns: 0,
        };
        Self::new(delivery, logins, now, Claim::default())
    }

    /// Our id of the event; `None` for a message that names none of ours, whatever its `message_id` says.
    pub fn event(&self) -> Option<EventId> {
        event_of(&self.message, &self.trail)
    }

    /// Its name in a log: the `message_id`; that of a foreign message without the secrets that may be in it.
    pub(super) fn log_id(&self) -> Cow<'_, str> {
        match self.message.message_id.as_deref() {
            None => Cow::Borrowed("-"),
            Some(id) if self.event().is_some() => Cow::Borrowed(id),
            Some(id) => Cow::Owned(secrets::mask_text(id)),
        }
    }

    /// Whether nobody can have handled it before, here or at earlier stages: it is not redelivered, not retried,
    /// not replayed, no stage repeated its step, and its delivery has no other message. Then none of its effects can exist yet, unless the publisher
    /// sent it twice.
    pub fn is_fresh(&self) -> bool {
        let Trail {
            attempt,
            generation,
            again,
            turn,
            crashes,
            ..
        } = self.trail;
        let is_first = attempt == 0 && generation == 0 && crashes == 0;
        is_first && !self.redelivered && !again && !turn
    }

    /// The trail for the next stage, which also says that this step may be a repeated one.
    pub fn onward(&self) -> Trail {
        Trail {
            again: !self.is_fresh(),
            ..self.trail.onward()
        }
    }

    /// Why no stage can handle it, if so: the message is not as it was published.
    pub fn damage(&self) -> Option<Failure> {
        let damage = self.message.damage.as_ref()?;
        Some(Failure::new(damage.code, damage.detail.as_str()))
    }

    /// The number of this attempt; 1 is the first.
    pub fn attempt(&self) -> u32 {
        self.trail.attempt.saturating_add(1)
    }

    /// The message with `trail` in place of its own, ready to go out again. Our other headers stay: a dead letter
    /// on its way to the archive tells of its death there.
    pub(super) fn again(&self, trail: &Trail) -> Message {
        let mut message = self.message.clone();
        trail.write(&mut message.headers);
        message
            .headers
            .set(header::ROUTING_KEY, self.routing_key.as_str());
        message
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{Publisher, now};

    fn delivery(user: Option<&str>) -> Delivery {
        let mut message = Message {
            user_id: user.map(str::to_owned),
            message_id: Some("01890a5d-ac96-774b-bcce-b302099a8057".to_owned()),
            ..Message::default()
        };
        message.headers.set(header::ATTEMPT, 7_i64);
        message.headers.set(header::ROUTING_KEY, "first");
        message.headers.set("theirs", "kept");
        let routing_key = "second".to_owned();
        Delivery {
            tag: Tag(1),
            message,
            routing_key,
            redelivered: false,
            returns: 0,
        }
    }

    fn received(user: Option<&str>) -> Received {
        let logins = Logins::new(["us", "us-too"]);
        Received::new(delivery(user), &logins, now(), Claim::default())
    }

    #[test]
    fn our_own_headers_are_believed_under_each_of_our_logins() {
        for user in ["us", "us-too"] {
            let received = received(Some(user));
            assert_eq!(received.trail.attempt, 7);
            assert_eq!(received.routing_key, "first");
            assert!(!received.is_fresh());
        }
    }

    #[test]
    fn a_dead_letter_that_goes_out_again_still_tells_of_its_death() {
        let mut received = received(Some("us"));
        received.message.headers.set(header::REASON, "undecodable");
        let trail = Trail {
            crashes: 2,
            ..received.trail.clone()
        };
        let again = received.again(&trail);
        assert_eq!(again.headers.text(header::REASON), Some("undecodable"));
        assert_eq!(again.headers.text(header::ROUTING_KEY), Some("first"));
        assert_eq!(Trail::read(&again.headers), trail);
    }

    #[test]
    fn nobody_elses_are_on_any_queue() {
        for (user, publisher) in [(None, "amqp:-"), (Some("mallory"), "amqp:mallory")] {
            let received = received(user);
            assert_eq!(received.trail.attempt, 0);
            assert_eq!(received.routing_key, "second");
            assert_eq!(
                received.trail.publisher,
                Some(Publisher::trusted(publisher))
            );
            assert_eq!(received.message.headers.get(header::ATTEMPT), None);
            assert_eq!(received.message.headers.text("theirs"), Some("kept"));
            assert_eq!(received.event(), None);
        }
    }
}
