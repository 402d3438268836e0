//! The message that a dead letter becomes again.

use common::event::{Logins, Publisher, Trail, header};
use common::message::{Message, belongs_to_broker};
use common::store::{DeadLetter, LeftOpen};
use common::topology::Names;

/// The headers of a dead letter that tell the story of its end, beside the event and its trail.
const STORY: [&str; 7] = [
    header::REASON,
    header::ERROR,
    header::ERRORS,
    header::QUEUE,
    header::FAILED_AT,
    header::DIGEST,
    header::NOTE,
];

/// The queue that a letter is sent to: `to`, else the queue where it died. A message that no stage of ours has
/// accepted goes through the door, like any foreign message, and nowhere else. So validation sees every message
/// before its delivery.
///
/// # Errors
/// The letter may not go to that queue.
pub(super) fn goes_to(
    letter: &DeadLetter,
    logins: &Logins,
    names: &Names,
    to: Option<&str>,
) -> Result<String, LeftOpen> {
    if names_event(letter, logins) {
        let queue = to.unwrap_or_else(|| Names::without_suspect(&letter.queue));
        return Ok(queue.to_owned());
    }
    let door = names.validate();
    match to {
        Some(other) if Names::without_suspect(other) != door => Err(LeftOpen {
            letter: letter.id,
            queue: other.to_owned(),
            problem: format!(
                "no stage has accepted this message yet, so it can go to {door:?} only: leave out --to"
            ),
        }),
        _ => Ok(door),
    }
}

/// Whether the message is an event of ours: the archive has identified the event, and its login is believed.
fn names_event(letter: &DeadLetter, logins: &Logins) -> bool {
    letter.event.is_some() && logins.trusts(letter.message.user_id.as_deref())
}

/// The message as it was, one generation on. Attempts and crashes start over, and the headers about its end are
/// removed.
pub(super) fn again(letter: &DeadLetter, logins: &Logins) -> Message {
    let mut message = letter.message.clone();
    let user = message.user_id.take();
    let mut trail = if logins.trusts(user.as_deref()) {
        Trail::read(&message.headers).onward()
    } else {
        // We publish the message now, so its headers will be believed: claims that an outsider wrote there are
        // removed.
        message
            .headers
            .retain(|name| !name.starts_with(header::PREFIX));
        Trail {
            publisher: Some(Publisher::amqp(user.as_deref())),
            ..Trail::default()
        }
    };
    trail.generation = letter.generation.saturating_add(1);
    // An operator sends it where the filter of that time may have passed over it.
    trail.filtered.clear();
    let headers = &mut message.headers;
    headers.retain(|name| !STORY.contains(&name) && !belongs_to_broker(name));
    trail.write(headers);
    if !letter.routing_key.is_empty() {
        // A message that goes straight into a queue has no other place for its routing key. A plain message may
        // have its type from nowhere else.
        headers.set(header::ROUTING_KEY, letter.routing_key.as_str());
    }
    message
}

/// Why a letter cannot be sent again, if it is not the whole message.
pub(super) fn incomplete(letter: &DeadLetter) -> Option<String> {
    let cut = letter.message.headers.text(header::CUT)?;
    Some(format!(
        "only the beginning of its body was kept, of {cut}: raise limits.event_bytes everywhere, then send the \
         whole message again with `longshore history replay`"
    ))
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
            turn: true,
            release: true,
            crashes: 2,
            first_failed_at: Some(now()),
            filtered: vec!["audit".to_owned()],
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

        let message = again(&letter, &Logins::new(["guest"]));
        let expected = Trail {
            generation: 2,
            filtered: Vec::new(),
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
        letter.message.headers.set(header::ATTEMPT, 7_i64);
        let message = again(&letter, &Logins::new(["guest"]));
        let trail = Trail::read(&message.headers);
        assert_eq!(trail.publisher, Some(Publisher::amqp(Some("shop"))));
        assert_eq!(trail.generation, 1);
        assert_eq!(message.headers.get(header::ATTEMPT), None);
    }

    #[test]
    fn what_no_stage_has_accepted_goes_through_the_door_alone() {
        let names = Names::new(common::namespace::Namespace::default());
        let logins = Logins::new(["longshore"]);
        let goes = |letter: &DeadLetter, to| {
            goes_to(letter, &logins, &names, to).map_err(|left| left.problem)
        };
        let ours = testbed::letter("longshore.integrate.crm");
        assert_eq!(goes(&ours, None), Ok("longshore.integrate.crm".to_owned()));
        let mail = Some("longshore.integrate.mail");
        assert_eq!(goes(&ours, mail), Ok("longshore.integrate.mail".to_owned()));

        let mut forged = ours.clone();
        forged.message.user_id = Some("mallory".to_owned());
        let mut unnamed = ours;
        unnamed.event = None;
        for letter in [forged, unnamed] {
            let door = Ok("longshore.validate".to_owned());
            assert_eq!(goes(&letter, None), door);
            assert_eq!(goes(&letter, Some("longshore.validate")), door);
            let problem = goes(&letter, mail).unwrap_err();
            assert!(problem.contains("longshore.validate"), "{problem}");
        }
    }
}
