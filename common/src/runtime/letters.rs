//! Dead letters and rejections as they leave a worker.

use time::OffsetDateTime;

use super::Received;
use super::place::Place;
use crate::broker::bounds::{cut, errors_as_json};
use crate::event::{Trail, broker_death, header, message_word, to_rfc3339};
use crate::message::Message;
use crate::outcome::{Failure, Rejection};
use crate::publication::{Address, Publication};
use crate::reason::ReasonCode;
use crate::topology::{Fact, Names};

/// Maximum bytes of an error chain; longer ones are cut, because headers travel in one AMQP frame.
const LONGEST_ERROR: usize = 8 * 1024;
/// Maximum bytes of a list of field errors; longer ones are cut, because headers travel in one AMQP frame.
const LONGEST_ERRORS: usize = 32 * 1024;

/// The dead letter: the message as it was, with all that is known of its death in headers.
pub(super) fn dead_letter(
    failure: &Failure,
    received: &Received,
    place: &Place<'_>,
    now: OffsetDateTime,
) -> Publication {
    let trail = Trail {
        attempt: received.attempt(),
        first_failed_at: received.trail.first_failed_at.or(Some(now)),
        ..received.trail.clone()
    };
    let mut message = received.again(&trail);
    // A dead letter that the archive cannot take keeps the headers of its own death: it will come back.
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
    Publication { to, message }
}

/// The rejection: the event as it travels on, with every rule that it breaks in headers.
pub(super) fn rejected(
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

/// The event type where the message names one, else its routing key, because dead letters are found by it. Never
/// too long for AMQP.
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
    use super::*;
    use crate::event::now;
    use crate::outcome::FieldError;
    use crate::retry::RetryPolicy;
    use crate::runtime::Claim;

    #[test]
    fn headers_stay_small_whatever_the_error() {
        let failure = Failure::new(ReasonCode::HandlerFailed, "é".repeat(100_000));
        let received = Received {
            message: Message::default(),
            routing_key: String::new(),
            redelivered: false,
            claim: Claim::default(),
            trail: Trail::default(),
        };
        let place = Place {
            queue: "longshore.store",
            parked: None,
            retry: &RetryPolicy::default(),
        };
        let headers = dead_letter(&failure, &received, &place, now())
            .message
            .headers;
        assert!(
            headers
                .text(header::ERROR)
                .is_some_and(|text| text.len() <= LONGEST_ERROR)
        );
        let errors = vec![FieldError::new("/x", "y".repeat(1000)); 50];
        assert!(errors_as_json(errors, LONGEST_ERRORS).len() <= LONGEST_ERRORS);
    }
}
