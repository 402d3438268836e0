//! From an outcome to a decision. One function decides, and does no I/O.

use std::time::Duration;

use time::OffsetDateTime;

use super::Received;
use super::letters::{dead_letter, rejected};
use super::place::Place;
use crate::dependency::Dependency;
use crate::event::Trail;
use crate::outcome::{Failure, Outcome, OutcomeKind};
use crate::publication::{Address, Publication};
use crate::reason::ReasonCode;

/// The decision about one event.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Decision {
    /// Publish these, confirmed; then the event is finished.
    Finish {
        /// The publications.
        publish: Vec<Publication>,
        /// The end of the event here.
        finished: Finished,
    },
    /// Give it back, for another process to handle.
    GiveBack,
    /// Give it back and wait for the dependency.
    Hold {
        /// The dependency that is down.
        dependency: Dependency,
        /// The error that shows it.
        error: String,
    },
}

/// How this worker has finished an event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Finished {
    Done,
    Next,
    Rejected(ReasonCode),
    /// This attempt failed; the next one waits on the broker.
    Retry(Failure),
    Dead(Failure),
    Snooze,
}

impl Finished {
    /// Its name in metrics and logs.
    pub(super) fn kind(&self) -> OutcomeKind {
        match self {
            Self::Done => OutcomeKind::Done,
            Self::Next => OutcomeKind::Next,
            Self::Rejected(_) => OutcomeKind::Rejected,
            Self::Retry(_) => OutcomeKind::Retry,
            Self::Dead(_) => OutcomeKind::Dead,
            Self::Snooze => OutcomeKind::Snooze,
        }
    }

    /// The reason code of a rejection or a fault.
    pub(super) fn code(&self) -> Option<ReasonCode> {
        match self {
            Self::Rejected(code) => Some(*code),
            Self::Retry(failure) | Self::Dead(failure) => Some(failure.code),
            Self::Done | Self::Next | Self::Snooze => None,
        }
    }
}

/// The decision about `received`, for which a handler at `place` returned `outcome`.
pub(super) fn decide(
    outcome: Outcome,
    received: &Received,
    place: &Place<'_>,
    now: OffsetDateTime,
) -> Decision {
    let Place { queue, retry, .. } = *place;
    match outcome {
        Outcome::Done => finish(Vec::new(), Finished::Done),
        Outcome::Next(publish) => finish(publish, Finished::Next),
        Outcome::Rejected(rejection) => {
            let code = rejection.code;
            let rejection = rejected(rejection, received, queue, now);
            finish(vec![rejection], Finished::Rejected(code))
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
                let next = later(received, &trail, queue, delay);
                finish(vec![next], Finished::Retry(failure))
            }
            None => dead(failure, received, place, now),
        },
        Outcome::Dead(failure) => dead(failure, received, place, now),
        Outcome::Snooze(delay) => {
            let trail = Trail {
                // Only the broker knew that it was given out before, and to it this is a new message.
                again: received.redelivered || received.trail.again,
                ..received.trail.clone()
            };
            let same = later(received, &trail, queue, delay);
            finish(vec![same], Finished::Snooze)
        }
        Outcome::GiveBack => Decision::GiveBack,
        Outcome::Hold { dependency, error } => Decision::Hold { dependency, error },
    }
}

fn finish(publish: Vec<Publication>, finished: Finished) -> Decision {
    Decision::Finish { publish, finished }
}

fn dead(failure: Failure, received: &Received, place: &Place<'_>, now: OffsetDateTime) -> Decision {
    let letter = dead_letter(&failure, received, place, now);
    finish(vec![letter], Finished::Dead(failure))
}

/// The message with `trail`, back in front of its queue after `delay`.
fn later(received: &Received, trail: &Trail, queue: &str, delay: Duration) -> Publication {
    let to = Address::Later {
        queue: queue.to_owned(),
        delay,
    };
    let message = received.again(trail);
    Publication { to, message }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{header, now};
    use crate::message::{HeaderValue, Headers, Message};
    use crate::outcome::{FieldError, Rejection};
    use crate::retry::RetryPolicy;
    use crate::runtime::Claim;
    use crate::topology::Fact;

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

    fn decision_in(
        queue: &str,
        parked: Option<&str>,
        outcome: Outcome,
        received: &Received,
    ) -> Decision {
        let retry = &RetryPolicy::default();
        decide(
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

    fn decision_on(outcome: Outcome, received: &Received) -> Decision {
        decision_in(QUEUE, None, outcome, received)
    }

    fn published(decision: &Decision) -> &Publication {
        match decision {
            Decision::Finish { publish, .. } if publish.len() == 1 => &publish[0],
            other => panic!("expected one publication, found {other:?}"),
        }
    }

    #[test]
    fn done_publishes_nothing() {
        let decision = decision_on(Outcome::Done, &received(0));
        assert_eq!(decision, finish(Vec::new(), Finished::Done));
    }

    #[test]
    fn next_publishes_what_the_handler_says() {
        let next = Publication {
            to: Address::Queue("q".to_owned()),
            message: Message::default(),
        };
        let decision = decision_on(Outcome::Next(vec![next.clone()]), &received(0));
        assert_eq!(decision, finish(vec![next], Finished::Next));
    }

    #[test]
    fn a_retry_waits_in_front_of_the_queue_it_failed_in() {
        let decision = decision_on(
            Outcome::Retry {
                after: None,
                failure: failure(),
            },
            &received(1),
        );
        let publication = published(&decision);
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
        let decision = decision_on(
            Outcome::Retry {
                after,
                failure: failure(),
            },
            &received(0),
        );
        let Address::Later { delay, .. } = published(&decision).to else {
            panic!()
        };
        assert_eq!(delay, Duration::from_secs(60));
    }

    #[test]
    fn the_last_attempt_makes_a_dead_letter_that_tells_everything() {
        let last = RetryPolicy::default().attempts - 1;
        let decision = decision_on(
            Outcome::Retry {
                after: None,
                failure: failure(),
            },
            &received(last),
        );
        let publication = published(&decision);
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
        let decision = decision_in("longshore.store.suspect", None, outcome, &received(0));
        let headers = &published(&decision).message.headers;
        assert_eq!(headers.text(header::QUEUE), Some(QUEUE));
    }

    #[test]
    fn what_the_archive_gives_up_does_not_come_back_to_it() {
        let parked = Some("longshore.dead.parked");
        let outcome = Outcome::Dead(failure());
        let decision = decision_in("longshore.dead", parked, outcome, &received(0));
        let to = Address::Queue("longshore.dead.parked".to_owned());
        assert_eq!(published(&decision).to, to);
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
            let decision = decision_in(
                "longshore.dead",
                Some("longshore.dead.parked"),
                Outcome::Dead(failure()),
                &letter,
            );
            let headers = &published(&decision).message.headers;
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
        let decision = decision_on(Outcome::Rejected(rejection), &received(0));
        let publication = published(&decision);
        assert_eq!(publication.message.body, "masked");
        let headers = &publication.message.headers;
        assert_eq!(headers.text(header::REASON), Some("plaintext_password"));
        assert_eq!(
            headers.text(header::ERRORS),
            Some(r#"[{"pointer":"/password","detail":"no"}]"#)
        );
    }

    #[test]
    fn a_snooze_waits_and_spends_no_attempt() {
        let delay = Duration::from_secs(90);
        let decision = decision_on(Outcome::Snooze(delay), &received(2));
        let publication = published(&decision);
        let to = Address::Later {
            queue: QUEUE.to_owned(),
            delay,
        };
        assert_eq!(publication.to, to);
        assert_eq!(Trail::read(&publication.message.headers).attempt, 2);
    }

    #[test]
    fn a_copy_that_is_snoozed_comes_back_as_one() {
        for (redelivered, again) in [(false, false), (true, false), (false, true)] {
            let mut received = received(0);
            received.redelivered = redelivered;
            received.trail.again = again;
            let decision = decision_on(Outcome::Snooze(Duration::from_secs(1)), &received);
            let trail = Trail::read(&published(&decision).message.headers);
            assert_eq!(trail.again, redelivered || again);
        }
    }

    #[test]
    fn what_is_given_back_is_not_published() {
        assert_eq!(
            decision_on(Outcome::GiveBack, &received(2)),
            Decision::GiveBack
        );
    }

    #[test]
    fn a_hold_settles_nothing() {
        let outcome = Outcome::Hold {
            dependency: Dependency::Database,
            error: "gone".to_owned(),
        };
        let hold = Decision::Hold {
            dependency: Dependency::Database,
            error: "gone".to_owned(),
        };
        assert_eq!(decision_on(outcome, &received(0)), hold);
    }
}
