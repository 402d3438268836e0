//! From an outcome to what is done about it: the one function that decides, and it does no I/O.

use time::OffsetDateTime;

use super::Received;
use crate::broker::bounds::{cut, errors_as_json};
use crate::broker::{Address, Publication};
use crate::event::{Trail, broker_death, header, message_word, to_rfc3339};
use crate::message::Message;
use crate::outcome::{Failure, Outcome, Rejection};
use crate::reason::ReasonCode;
use crate::retry::RetryPolicy;
use crate::topology::{Fact, Names};

/// What is done about one event.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Settlement {
    /// Publish these, confirmed; then the event is dealt with.
    Finish {
        /// What goes out.
        publish: Vec<Publication>,
        /// The outcome's name, for metrics and logs.
        outcome: &'static str,
        /// The reason code, for a rejection, a retry or a dead letter.
        failure: Option<Failure>,
    },
    /// Give it back: somebody else handles it.
    GiveBack,
    /// Give it back and wait for the dependency.
    Hold {
        /// What is down.
        dependency: &'static str,
        /// How it shows.
        error: String,
    },
}

/// Where an event is handled.
#[derive(Debug, Clone, Copy)]
pub(super) struct Place<'p> {
    /// The queue it came from.
    pub(super) queue: &'p str,
    /// The queue that takes what is given up, where that is not the dead letters' own.
    pub(super) parked: Option<&'p str>,
    /// What a failed attempt waits for.
    pub(super) retry: &'p RetryPolicy,
}

/// Longer error chains are cut: headers travel in one AMQP frame.
const LONGEST_ERROR: usize = 8 * 1024;
/// Longer lists of field errors are cut, for the same reason.
const LONGEST_ERRORS: usize = 32 * 1024;

/// What is done about `received`, which a handler at `place` returned `outcome` for.
pub(super) fn settlement(
    outcome: Outcome,
    received: &Received,
    place: &Place<'_>,
    now: OffsetDateTime,
) -> Settlement {
    let Place { queue, retry, .. } = *place;
    match outcome {
        Outcome::Done => finish("done", Vec::new(), None),
        Outcome::Next(publish) => finish("next", publish, None),
        Outcome::Rejected(rejection) => {
            let failure = Failure::new(rejection.code, "");
            finish(
                "rejected",
                vec![rejected(rejection, received, queue, now)],
                Some(failure),
            )
        }
        Outcome::Retry { after, failure } => match retry.wait(received.attempt(), after) {
            Some(delay) => {
                let trail = Trail {
                    attempt: received.attempt(),
                    first_failed_at: received.trail.first_failed_at.or(Some(now)),
                    // Nobody has had the next attempt before.
                    again: false,
                    ..received.trail.clone()
                };
                let message = received.again(&trail);
                let to = Address::Later {
                    queue: queue.to_owned(),
                    delay,
                };
                finish("retry", vec![Publication { to, message }], Some(failure))
            }
            None => dead(failure, received, place, now),
        },
        Outcome::Dead(failure) => dead(failure, received, place, now),
        Outcome::Snooze(delay) => {
            let message = received.again(&received.trail);
            let to = Address::Later {
                queue: queue.to_owned(),
                delay,
            };
            finish("snooze", vec![Publication { to, message }], None)
        }
        Outcome::GiveBack => Settlement::GiveBack,
        Outcome::Hold { dependency, error } => Settlement::Hold { dependency, error },
    }
}

fn finish(
    outcome: &'static str,
    publish: Vec<Publication>,
    failure: Option<Failure>,
) -> Settlement {
    Settlement::Finish {
        publish,
        outcome,
        failure,
    }
}

/// The dead letter: the message as it was, and in headers all that is known of its death.
fn dead(
    failure: Failure,
    received: &Received,
    place: &Place<'_>,
    now: OffsetDateTime,
) -> Settlement {
    let trail = Trail {
        attempt: received.attempt(),
        first_failed_at: received.trail.first_failed_at.or(Some(now)),
        ..received.trail.clone()
    };
    let mut message = received.again(&trail);
    // A dead letter that the archive cannot take goes on telling of its own death: it will come back.
    let headers = &message.headers;
    let tells_of_its_own = place.parked.is_some()
        && (headers.get(header::QUEUE).is_some() || broker_death(headers).is_some());
    if !tells_of_its_own {
        describe(&mut message, failure.code, place.queue, now);
        let error = cut(&failure.error, LONGEST_ERROR).replace('\0', "\u{fffd}");
        message.headers.set(header::ERROR, error);
    }
    let damage = received.message.damage.as_ref();
    if damage.is_some() {
        message
            .headers
            .set(header::DIGEST, message_word(&received.message));
    }
    if let Some(body) = damage.and_then(|damage| damage.body.as_deref()) {
        message.headers.set(header::CUT, body);
    }
    let to = match place.parked {
        Some(parked) => Address::Queue(parked.to_owned()),
        None => Address::Fact {
            fact: Fact::Dead,
            routing_key: routing_key(received),
        },
    };
    finish("dead", vec![Publication { to, message }], Some(failure))
}

fn rejected(
    rejection: Rejection,
    received: &Received,
    queue: &str,
    now: OffsetDateTime,
) -> Publication {
    let mut message = match rejection.event {
        Some(event) => *event,
        None => received.message.clone(),
    };
    message
        .headers
        .retain(|name| !name.starts_with(header::PREFIX) || name == header::STREAM_ID);
    received.trail.onward().write(&mut message.headers);
    describe(&mut message, rejection.code, queue, now);
    message.headers.set(
        header::ERRORS,
        errors_as_json(rejection.errors, LONGEST_ERRORS),
    );
    let routing_key = message
        .kind
        .clone()
        .unwrap_or_else(|| routing_key(received));
    Publication {
        to: Address::Fact {
            fact: Fact::Rejected,
            routing_key,
        },
        message,
    }
}

fn describe(message: &mut Message, code: ReasonCode, queue: &str, now: OffsetDateTime) {
    message.headers.set(header::REASON, code.as_str());
    message
        .headers
        .set(header::QUEUE, Names::without_suspect(queue));
    message.headers.set(header::FAILED_AT, to_rfc3339(now));
}

/// The event type where the message names one, else the key it came with: dead letters are found by
/// it. Never too long for AMQP.
fn routing_key(received: &Received) -> String {
    let kind = received
        .message
        .kind
        .as_deref()
        .filter(|kind| !kind.is_empty());
    let key = kind.unwrap_or(&received.routing_key);
    if key.len() <= 255 {
        key.to_owned()
    } else {
        "unknown".to_owned()
    }
}

#[cfg(test)]
mod tests {
    use crate::runtime::Claim;
    use std::time::Duration;

    use super::*;
    use crate::event::now;
    use crate::message::{HeaderValue, Headers};
    use crate::outcome::FieldError;

    const QUEUE: &str = "longshore.store";

    fn received(attempt: u32) -> Received {
        Received {
            message: Message {
                kind: Some("signup.requested".to_owned()),
                body: "{}".into(),
                ..Message::default()
            },
            routing_key: "signup.requested".to_owned(),
            redelivered: false,
            claim: Claim::default(),
            trail: Trail {
                attempt,
                generation: 3,
                ..Trail::default()
            },
        }
    }

    fn failure() -> Failure {
        Failure::new(ReasonCode::HandlerFailed, "it broke")
    }

    fn settle_in(
        queue: &str,
        parked: Option<&str>,
        outcome: Outcome,
        received: &Received,
    ) -> Settlement {
        let retry = &RetryPolicy::default();
        settlement(
            outcome,
            received,
            &Place {
                queue,
                parked,
                retry,
            },
            now(),
        )
    }

    fn settle(outcome: Outcome, received: &Received) -> Settlement {
        settle_in(QUEUE, None, outcome, received)
    }

    fn published(settlement: &Settlement) -> &Publication {
        match settlement {
            Settlement::Finish { publish, .. } if publish.len() == 1 => &publish[0],
            other => panic!("expected one publication, found {other:?}"),
        }
    }

    #[test]
    fn done_publishes_nothing() {
        let settlement = settle(Outcome::Done, &received(0));
        assert_eq!(settlement, finish("done", Vec::new(), None));
    }

    #[test]
    fn next_publishes_what_the_handler_says() {
        let next = Publication {
            to: Address::Queue("q".to_owned()),
            message: Message::default(),
        };
        let settlement = settle(Outcome::Next(vec![next.clone()]), &received(0));
        assert_eq!(settlement, finish("next", vec![next], None));
    }

    #[test]
    fn a_retry_waits_in_front_of_the_queue_it_failed_in() {
        let settlement = settle(
            Outcome::Retry {
                after: None,
                failure: failure(),
            },
            &received(1),
        );
        let publication = published(&settlement);
        let Address::Later { queue, delay } = &publication.to else {
            panic!("{publication:?}")
        };
        assert_eq!(queue, QUEUE);
        assert!((1600..=2400).contains(&delay.as_millis()), "{delay:?}");
        let trail = Trail::read(&publication.message.headers);
        assert_eq!((trail.attempt, trail.generation), (2, 3));
        assert!(trail.first_failed_at.is_some());
    }

    #[test]
    fn a_wait_asked_for_is_kept_to() {
        let after = Some(Duration::from_secs(60));
        let settlement = settle(
            Outcome::Retry {
                after,
                failure: failure(),
            },
            &received(0),
        );
        let Address::Later { delay, .. } = published(&settlement).to else {
            panic!()
        };
        assert_eq!(delay, Duration::from_secs(60));
    }

    #[test]
    fn the_last_attempt_makes_a_dead_letter_that_tells_everything() {
        let last = RetryPolicy::default().attempts - 1;
        let settlement = settle(
            Outcome::Retry {
                after: None,
                failure: failure(),
            },
            &received(last),
        );
        let publication = published(&settlement);
        let to = Address::Fact {
            fact: Fact::Dead,
            routing_key: "signup.requested".to_owned(),
        };
        assert_eq!(publication.to, to);
        let headers = &publication.message.headers;
        assert_eq!(headers.text(header::REASON), Some("handler_failed"));
        assert_eq!(headers.text(header::ERROR), Some("it broke"));
        assert_eq!(headers.text(header::QUEUE), Some(QUEUE));
        assert_eq!(headers.int(header::ATTEMPT), Some(12));
        assert!(headers.text(header::FAILED_AT).is_some());
    }

    #[test]
    fn a_suspect_dies_in_the_name_of_its_own_queue() {
        let outcome = Outcome::Dead(failure());
        let settlement = settle_in("longshore.store.suspect", None, outcome, &received(0));
        let headers = &published(&settlement).message.headers;
        assert_eq!(headers.text(header::QUEUE), Some(QUEUE));
    }

    #[test]
    fn what_the_archive_gives_up_does_not_come_back_to_it() {
        let parked = Some("longshore.dead.parked");
        let outcome = Outcome::Dead(failure());
        let settlement = settle_in("longshore.dead", parked, outcome, &received(0));
        let to = Address::Queue("longshore.dead.parked".to_owned());
        assert_eq!(published(&settlement).to, to);
    }

    #[test]
    fn a_letter_that_the_archive_gives_up_goes_on_telling_of_its_own_death() {
        let death = Headers::from_iter([("queue", HeaderValue::from(QUEUE))]);
        for (name, value) in [
            (header::QUEUE, HeaderValue::from(QUEUE)),
            (header::DEATH, HeaderValue::Table(death)),
        ] {
            let mut letter = received(0);
            letter.message.headers.set(name, value);
            let settlement = settle_in(
                "longshore.dead",
                Some("longshore.dead.parked"),
                Outcome::Dead(failure()),
                &letter,
            );
            let headers = &published(&settlement).message.headers;
            assert_eq!(headers.get(header::REASON), None, "{name}");
        }
    }

    #[test]
    fn a_rejection_carries_every_error_and_the_masked_event() {
        let masked = Message {
            body: "masked".into(),
            ..Message::default()
        };
        let rejection = Rejection {
            code: ReasonCode::PlaintextPassword,
            errors: vec![FieldError::new("/password", "no")],
            event: Some(Box::new(masked)),
        };
        let settlement = settle(Outcome::Rejected(rejection), &received(0));
        let publication = published(&settlement);
        assert_eq!(publication.message.body, "masked");
        let headers = &publication.message.headers;
        assert_eq!(headers.text(header::REASON), Some("plaintext_password"));
        assert_eq!(
            headers.text(header::ERRORS),
            Some(r#"[{"pointer":"/password","detail":"no"}]"#)
        );
    }

    #[test]
    fn headers_stay_small_whatever_the_error() {
        let failure = Failure::new(ReasonCode::HandlerFailed, "é".repeat(100_000));
        let settlement = settle(Outcome::Dead(failure), &received(0));
        let headers = &published(&settlement).message.headers;
        assert!(
            headers
                .text(header::ERROR)
                .is_some_and(|text| text.len() <= LONGEST_ERROR)
        );
        let errors = vec![FieldError::new("/x", "y".repeat(1000)); 50];
        assert!(errors_as_json(errors, LONGEST_ERRORS).len() <= LONGEST_ERRORS);
    }

    #[test]
    fn a_snooze_waits_and_spends_no_attempt() {
        let delay = Duration::from_secs(90);
        let settlement = settle(Outcome::Snooze(delay), &received(2));
        let publication = published(&settlement);
        let to = Address::Later {
            queue: QUEUE.to_owned(),
            delay,
        };
        assert_eq!(publication.to, to);
        assert_eq!(Trail::read(&publication.message.headers).attempt, 2);
    }

    #[test]
    fn what_is_given_back_is_not_published() {
        assert_eq!(
            settle(Outcome::GiveBack, &received(2)),
            Settlement::GiveBack
        );
    }

    #[test]
    fn a_hold_settles_nothing() {
        let outcome = Outcome::Hold {
            dependency: "postgres",
            error: "gone".to_owned(),
        };
        let hold = Settlement::Hold {
            dependency: "postgres",
            error: "gone".to_owned(),
        };
        assert_eq!(settle(outcome, &received(0)), hold);
    }
}
