//! One chain of attempts for one delivery, over lost links and dead processes.
//!
//! An attempt is a message. Handling it takes four steps, and the process may die, or its link be lost, between
//! any two of them:
//!
//! 1. the request is sent,
//! 2. the attempt is recorded,
//! 3. the message of the next attempt is published (or the dead letter),
//! 4. the message is acknowledged.
//!
//! Only an acknowledged message is gone, so there is always at least one message for a delivery that is not at rest.
//! There may be more: the broker redelivers a message whose acknowledgement it did not get. The number of a copy's
//! attempt and the highest recorded number decide its treatment:
//!
//! | its number | it came back | the past | it |
//! |--|--|--|--|
//! | above the recorded one | either | step 2 was not reached | sends |
//! | the recorded one | yes | the end came after step 2, maybe before step 3 | does step 3 again, without a request |
//! | the recorded one | no | another message made this attempt, and has yet to do steps 3 and 4 | is dropped |
//! | below the recorded one | either | another message made this attempt and step 3 | is dropped |
//!
//! - The end came before step 1 or 2: the first row. The receiver may get the request twice, under one `webhook-id`:
//!   that is the meaning of *at least once*.
//! - The end came between 2 and 3: the second row. Without it the chain would end here.
//! - The end came between 3 and 4: the second row as well, so there are two messages of the next attempt. The
//!   first to arrive makes it. The other finds its number recorded, did not come back, and is dropped.
//! - A message whose link is lost while its request is under way comes back while the first copy still runs. The
//!   first one records its attempt, finds that the message is no longer its own and leaves step 3 to the copy.
//!
//! *Came back* is more than the broker's mark of a redelivery. A suspect, or a copy that a worker gave back, is a new
//! message to the broker; its `crashes` or its `again` tell. `again` may also come from the stage before, at the first
//! attempt: then a second message goes on, to be dropped at the next. A program that makes a new message for a delivery
//! on no queue gives it the recorded number of attempts, as if the last of them had failed just now.

use common::outcome::Failure;
use common::reason::ReasonCode;
use common::runtime::Received;
use common::store::{DeliveryRecord, DeliveryState};
use time::OffsetDateTime;

use super::transport::{Transport, Verdict};

/// The action for a message, in view of the recorded attempts of its delivery.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Step {
    /// Send the request.
    Send,
    /// The attempt was made, and this came of it: go on from there.
    GoOn(Verdict),
    /// Nothing: the delivery is at rest, or another message is about it.
    Drop,
}

/// The next step of `received`, of whose delivery `record` is known.
pub(super) fn step(
    received: &Received,
    record: Option<&DeliveryRecord>,
    transport: &dyn Transport,
    now: OffsetDateTime,
) -> Step {
    let Some(record) = record else {
        return Step::Send;
    };
    if is_at_rest(record) {
        return Step::Drop;
    }
    let attempt = received.attempt();
    if attempt > record.attempts {
        return Step::Send;
    }
    if attempt < record.attempts || !came_back(received) {
        return Step::Drop;
    }
    match recorded(record, transport, now) {
        // It would be at rest.
        Verdict::Delivered => Step::Send,
        failed => Step::GoOn(failed),
    }
}

/// Whether `received` may be the message by which a delivery has ended, and has yet to send the next one of its key: it came back,
/// or failed after its attempt was recorded, and is the attempt behind it now. Others of an ended delivery send nothing.
pub(super) fn has_yet_to_go_on(received: &Received, record: Option<&DeliveryRecord>) -> bool {
    let is_its_end = |record: &DeliveryRecord| {
        is_at_rest(record) && (came_back(received) || received.attempt() > record.attempts)
    };
    record.is_some_and(is_its_end)
}

fn is_at_rest(record: &DeliveryRecord) -> bool {
    matches!(
        record.state,
        DeliveryState::Delivered | DeliveryState::Discarded
    )
}

/// Whether it may have been handled before, up to any of the four steps.
fn came_back(received: &Received) -> bool {
    let trail = &received.trail;
    received.redelivered || trail.crashes > 0 || trail.again
}

/// The result of the last attempt. The receiver's `Retry-After` is not recorded.
fn recorded(record: &DeliveryRecord, transport: &dyn Transport, now: OffsetDateTime) -> Verdict {
    if let Some(status) = record.last_status_code {
        return transport.verdict_on(status, now);
    }
    let error = record.last_error.clone();
    let error = error.unwrap_or_else(|| "the last attempt failed".to_owned());
    Verdict::Later {
        after: None,
        failure: Failure::new(ReasonCode::ReceiverFailing, error),
    }
}

#[cfg(test)]
mod tests {
    use common::event::{EventId, now};

    use async_trait::async_trait;

    use super::super::preview::Preview;
    use super::super::transport::{Parcel, Sent};
    use super::*;
    use crate::testbed::signup;

    /// A receiver for which every status from 400 to 499 is final.
    struct Strict;

    #[async_trait]
    impl Transport for Strict {
        async fn send(&self, _: Parcel<'_>) -> Sent {
            Sent::unanswered(ReasonCode::ReceiverFailing, "nobody sends here".to_owned())
        }

        fn preview(&self, _: Parcel<'_>) -> Preview {
            Preview::default()
        }

        fn verdict_on(&self, status: u16, _: OffsetDateTime) -> Verdict {
            let failure = Failure::new(ReasonCode::ReceiverRefused, status.to_string());
            match status {
                400..500 => Verdict::Never(failure),
                _ => Verdict::Later {
                    after: None,
                    failure,
                },
            }
        }
    }

    fn message(attempt: u32, redelivered: bool) -> Received {
        let mut received = signup(EventId::born(), "ada@example.com");
        received.trail.attempt = attempt - 1;
        received.redelivered = redelivered;
        received
    }

    fn record(state: DeliveryState, attempts: u32, status: Option<u16>) -> DeliveryRecord {
        DeliveryRecord {
            state,
            attempts,
            last_status_code: status,
            last_error: Some("as recorded".to_owned()),
        }
    }

    fn kind(step: &Step) -> &'static str {
        match step {
            Step::Send => "send",
            Step::GoOn(Verdict::Later { .. }) => "later",
            Step::GoOn(Verdict::Never(_) | Verdict::NotMade(_)) => "never",
            Step::GoOn(Verdict::Delivered) => "delivered",
            Step::Drop => "drop",
        }
    }

    #[test]
    fn one_message_of_a_delivery_goes_on() {
        let due = record(DeliveryState::Due, 2, Some(503));
        for (attempt, redelivered, expected) in [
            (1, false, "drop"),
            (1, true, "drop"),
            (2, false, "drop"),
            (2, true, "later"),
            (3, false, "send"),
            (3, true, "send"),
        ] {
            let step = step(&message(attempt, redelivered), Some(&due), &Strict, now());
            assert_eq!(kind(&step), expected, "attempt {attempt}, {redelivered}");
        }
    }

    #[test]
    fn what_was_put_aside_or_given_back_as_a_copy_came_back() {
        let due = record(DeliveryState::Due, 1, Some(503));
        let mut aside = message(1, false);
        aside.trail.crashes = 2;
        assert_eq!(kind(&step(&aside, Some(&due), &Strict, now())), "later");
        let mut given_back = message(1, false);
        given_back.trail.again = true;
        assert_eq!(
            kind(&step(&given_back, Some(&due), &Strict, now())),
            "later"
        );
    }

    #[test]
    fn it_goes_on_from_what_was_recorded() {
        let came = |status| {
            let due = record(DeliveryState::Due, 1, status);
            step(&message(1, true), Some(&due), &Strict, now())
        };
        assert_eq!(kind(&came(Some(422))), "never");
        assert_eq!(kind(&came(Some(500))), "later");
        match came(None) {
            Step::GoOn(Verdict::Later { failure, .. }) => assert_eq!(failure.error, "as recorded"),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn what_is_at_rest_is_not_sent_and_what_nobody_knows_is() {
        for state in [DeliveryState::Delivered, DeliveryState::Discarded] {
            let rest = record(state, 1, Some(200));
            for redelivered in [true, false] {
                assert_eq!(
                    step(&message(2, redelivered), Some(&rest), &Strict, now()),
                    Step::Drop
                );
            }
        }
        assert_eq!(step(&message(1, true), None, &Strict, now()), Step::Send);
        let untried = record(DeliveryState::Due, 0, None);
        assert_eq!(
            step(&message(1, true), Some(&untried), &Strict, now()),
            Step::Send
        );
    }
}
