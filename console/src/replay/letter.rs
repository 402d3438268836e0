//! The message that a dead letter becomes again.

use common::event::{Publisher, Trail, header};
use common::message::Message;
use common::store::DeadLetter;
use common::topology::Stage;

/// What a dead letter carried beside the event and its trail: the story of its end.
const STORY: [&str; 5] = [
    header::REASON,
    header::ERROR,
    header::ERRORS,
    header::QUEUE,
    header::FAILED_AT,
];

/// The message as it was, one generation on: attempts and crashes start over, and nothing is left of
/// how it died. `own_user` is the broker user that we publish as.
pub(super) fn again(letter: &DeadLetter, own_user: Option<&str>) -> Message {
    let mut message = letter.message.clone();
    let user = message.user_id.take();
    let mut trail = if is_believed(letter, user.as_deref(), own_user) {
        Trail::read(&message.headers).onward()
    } else {
        // We publish it now, so its headers will be believed: they must not say what an outsider
        // wrote there.
        Trail {
            publisher: Some(Publisher::amqp(user.as_deref())),
            ..Trail::default()
        }
    };
    trail.generation = letter.generation.saturating_add(1);
    let headers = &mut message.headers;
    headers.retain(|name| !STORY.contains(&name) && !is_brokers(name));
    trail.write(headers);
    if !letter.routing_key.is_empty() {
        // Straight into a queue there is no other way to tell it, and a plain message may have its
        // type from nowhere else.
        headers.set(header::ROUTING_KEY, letter.routing_key.as_str());
    }
    message
}

/// Why a letter cannot be sent again, if so: it is not the whole message.
pub(super) fn incomplete(letter: &DeadLetter) -> Option<String> {
    let cut = letter.message.headers.text(header::CUT)?;
    Some(format!(
        "only the beginning of its body was kept, of {cut}: raise limits.event_bytes everywhere, then send the \
         whole message again with `longshore history replay`"
    ))
}

/// Whether we wrote the `longshore-*` headers: they are under our own name, or the message died
/// where outsiders do not publish.
fn is_believed(letter: &DeadLetter, user: Option<&str>, own_user: Option<&str>) -> bool {
    let inside = [Stage::Store, Stage::Integrate].map(Stage::as_str);
    inside.contains(&letter.stage.as_str()) || (user.is_some() && user == own_user)
}

/// What the broker wrote about an earlier life, and what would make it send copies elsewhere.
pub(super) fn is_brokers(name: &str) -> bool {
    matches!(
        name,
        "CC" | "BCC" | "x-death" | "x-delivery-count" | "x-acquired-count" | "x-stream-offset"
    ) || name.starts_with("x-first-death-")
        || name.starts_with("x-last-death-")
}

#[cfg(test)]
mod tests {
    use common::event::now;
    use common::message::HeaderValue;

    use super::*;
    use crate::testbed;

    #[test]
    fn a_letter_without_its_whole_body_is_not_sent_again() {
        let mut letter = testbed::letter("longshore.validate");
        assert_eq!(incomplete(&letter), None);
        letter.message.headers.set(header::CUT, "4194304 bytes");
        let problem = incomplete(&letter).expect("refused");
        assert!(problem.contains("4194304 bytes"), "{problem}");
    }

    #[test]
    fn what_belongs_to_the_event_stays_and_how_it_died_goes() {
        let mut letter = testbed::letter("longshore.integrate.crm");
        let trail = Trail {
            attempt: 3,
            generation: 1,
            new_id: 1,
            publisher: Some(Publisher::ourselves()),
            received_at: Some(now()),
            accepted_at: Some(now()),
            again: true,
            crashes: 2,
            first_failed_at: Some(now()),
        };
        letter.generation = 1;
        letter.message.user_id = Some("guest".to_owned());
        trail.write(&mut letter.message.headers);
        for name in STORY
            .into_iter()
            .chain(["x-death", "x-first-death-queue", "CC"])
        {
            letter.message.headers.set(name, "gone");
        }
        letter.message.headers.set(header::TRACEPARENT, "00-1-2-01");
        letter.message.headers.set("their-own", HeaderValue::Int(7));

        let message = again(&letter, Some("guest"));
        let expected = Trail {
            generation: 2,
            ..trail.onward()
        };
        assert_eq!(Trail::read(&message.headers), expected);
        assert!(
            message
                .headers
                .iter()
                .all(|(_, value)| *value != HeaderValue::from("gone"))
        );
        assert_eq!(message.headers.text(header::TRACEPARENT), Some("00-1-2-01"));
        assert_eq!(message.headers.int("their-own"), Some(7));
        assert_eq!(
            message.headers.text(header::ROUTING_KEY),
            Some("signup.requested")
        );
        assert_eq!(
            (message.body, message.kind),
            (letter.message.body, letter.message.kind)
        );
    }

    #[test]
    fn an_outsider_does_not_pass_for_another_by_being_replayed() {
        let mut letter = testbed::letter("longshore.validate");
        letter.stage = "validate".to_owned();
        letter.message.user_id = Some("shop".to_owned());
        letter.message.headers.set(header::PUBLISHER, "longshore");
        letter.message.headers.set(header::GENERATION, 40_i64);
        let message = again(&letter, Some("guest"));
        let trail = Trail::read(&message.headers);
        assert_eq!(trail.publisher, Some(Publisher::amqp(Some("shop"))));
        assert_eq!(trail.generation, 1);
    }
}
