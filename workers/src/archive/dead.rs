//! From a message on the dead queue to a dead letter. Whatever it is, it becomes one.

use common::event::{
    EventId, Publisher, Trail, broker_death, from_rfc3339, header, name_based, now, secrets,
};
use common::message::{HeaderValue, Headers, Message};
use common::reason::ReasonCode;
use common::runtime::Received;
use common::store::{DeadLetter, DeadState};
use common::topology::{Names, Stage};
use time::OffsetDateTime;
use uuid::Uuid;

/// What is known of a death: from our own headers where a worker gave up, from the broker's where
/// the broker did, and from nothing at all where an outsider published to the dead exchange.
struct Death {
    queue: String,
    reason: ReasonCode,
    error: String,
    failed_at: OffsetDateTime,
    routing_key: String,
}

/// The dead letter that a message is.
pub(super) fn letter(received: &Received, names: &Names) -> DeadLetter {
    let Received { message, trail, .. } = received;
    let death = by_worker(received)
        .or_else(|| by_broker(&message.headers))
        .unwrap_or_else(|| by_nobody(received, names));
    let death = with_damage(death, received, names);
    let (stage, destination) = names
        .stage_of(&death.queue)
        .unwrap_or((Stage::Archive, None));
    let event = event_id(received, stage);
    let kind = message.kind.clone().or_else(|| {
        let key = &death.routing_key;
        (!key.is_empty() && names.stage_of(key).is_none()).then(|| key.clone())
    });
    let mut original = message.clone();
    if let Some(body) = original.damage.take().and_then(|damage| damage.body) {
        original.headers.set(header::CUT, body);
    }
    // What the archive has in columns of its own is not the message's.
    for name in [
        header::REASON,
        header::ERROR,
        header::QUEUE,
        header::FAILED_AT,
        header::ROUTING_KEY,
        header::DEATH,
    ] {
        original.headers.remove(name);
    }
    let mut error = death.error.clone();
    if was_refused(death.reason) {
        secrets::mask_message(&mut original);
        error = secrets::mask_text(&error);
    }
    DeadLetter {
        id: id(event, received, &death, trail),
        event,
        kind,
        source: message.app_id.clone(),
        stage: stage.as_str().to_owned(),
        destination: destination.map(str::to_owned),
        reason: death.reason,
        error,
        attempts: trail.attempt,
        generation: trail.generation,
        first_failed_at: trail.first_failed_at.unwrap_or(death.failed_at),
        last_failed_at: death.failed_at,
        routing_key: death.routing_key,
        queue: death.queue,
        message: original,
        state: DeadState::Open,
        replay: None,
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

fn by_worker(received: &Received) -> Option<Death> {
    let headers = &received.message.headers;
    let queue = headers.text(header::QUEUE)?;
    let failed_at = headers.text(header::FAILED_AT)?;
    Some(Death {
        queue: Names::without_suspect(queue).to_owned(),
        reason: headers.text(header::REASON)?.parse().ok()?,
        error: headers.text(header::ERROR).unwrap_or_default().to_owned(),
        failed_at: from_rfc3339(failed_at)?,
        routing_key: received.routing_key.clone(),
    })
}

/// RabbitMQ tells of its own dead letters in `x-death`, the newest first.
fn by_broker(headers: &Headers) -> Option<Death> {
    let death = broker_death(headers)?;
    let queue = death.text("queue")?;
    let said = death.text("reason").unwrap_or("for no given reason");
    let routing_key = match death.get("routing-keys") {
        Some(HeaderValue::List(keys)) => match keys.first() {
            Some(HeaderValue::Text(key)) => key.clone(),
            _ => String::new(),
        },
        _ => String::new(),
    };
    let seconds = match death.get("time") {
        Some(HeaderValue::Time(seconds)) => i64::try_from(*seconds).ok(),
        _ => None,
    };
    let reason = match said {
        "delivery_limit" => ReasonCode::DeliveryLimit,
        _ => ReasonCode::BrokerDeadLettered,
    };
    Some(Death {
        queue: Names::without_suspect(queue).to_owned(),
        reason,
        error: format!("the broker gave it up: {said}"),
        failed_at: seconds
            .and_then(|seconds| OffsetDateTime::from_unix_timestamp(seconds).ok())
            .unwrap_or_else(now),
        routing_key,
    })
}

/// A death with what could not be read of its message, which is the reason where there is no other.
fn with_damage(death: Death, received: &Received, names: &Names) -> Death {
    let Some(damage) = received.damage() else {
        return death;
    };
    if death.queue == names.dead() {
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

fn by_nobody(received: &Received, names: &Names) -> Death {
    Death {
        queue: names.dead(),
        reason: ReasonCode::BrokerDeadLettered,
        error: "it came to the dead exchange without a word of where it died".to_owned(),
        failed_at: now(),
        routing_key: received.routing_key.clone(),
    }
}

/// The event that a message is. Before validation a foreign publisher's `message_id` is the
/// publisher's own and names no event of ours.
fn event_id(received: &Received, stage: Stage) -> Option<EventId> {
    let foreign = received
        .trail
        .publisher
        .as_ref()
        .is_none_or(|publisher| publisher.as_str().starts_with(Publisher::AMQP));
    if stage == Stage::Validate && foreign {
        return None;
    }
    received.message.message_id.as_deref()?.parse().ok()
}

/// The same death twice is the same letter: an event dies once a queue and generation.
fn id(event: Option<EventId>, received: &Received, death: &Death, trail: &Trail) -> Uuid {
    let generation = trail.generation.to_be_bytes();
    let queue = death.queue.as_bytes();
    match event {
        Some(event) => name_based(&[b"dead", event.uuid().as_bytes(), queue, &generation]),
        None => nameless(&received.message, &death.queue, trail.generation),
    }
}

/// The id of the dead letter that a message becomes which names no event of ours, when it dies in
/// `queue`: so whoever has the message finds the letter.
pub fn nameless(message: &Message, queue: &str, generation: u32) -> Uuid {
    let own_id = message.message_id.as_deref().unwrap_or_default();
    name_based(&[
        b"dead message",
        own_id.as_bytes(),
        &message.body,
        queue.as_bytes(),
        &generation.to_be_bytes(),
    ])
}

#[cfg(test)]
mod tests {
    use common::message::Damage;
    use common::namespace::Namespace;
    use common::runtime::Claim;

    use super::*;

    const EVENT: &str = "01890a5d-ac96-774b-bcce-b302099a8057";

    fn received(headers: Headers) -> Received {
        Received {
            trail: Trail::read(&headers),
            message: Message {
                message_id: Some(EVENT.to_owned()),
                kind: Some("signup.requested".to_owned()),
                headers,
                ..Message::default()
            },
            routing_key: "signup.requested".to_owned(),
            redelivered: false,
            claim: Claim::default(),
        }
    }

    fn names() -> Names {
        Names::new(Namespace::default())
    }

    fn by_a_worker() -> Headers {
        Headers::from_iter([
            (header::QUEUE, HeaderValue::from("longshore.integrate.crm")),
            (header::REASON, HeaderValue::from("receiver_refused")),
            (header::ERROR, HeaderValue::from("422")),
            (header::FAILED_AT, HeaderValue::from("2026-01-02T03:04:05Z")),
            (header::ATTEMPT, HeaderValue::Int(3)),
            (header::GENERATION, HeaderValue::Int(1)),
            ("theirs", HeaderValue::from("kept")),
        ])
    }

    #[test]
    fn a_workers_dead_letter_tells_everything() {
        let letter = letter(&received(by_a_worker()), &names());
        assert_eq!(letter.queue, "longshore.integrate.crm");
        assert_eq!(
            (letter.stage.as_str(), letter.destination.as_deref()),
            ("integrate", Some("crm"))
        );
        assert_eq!(
            (letter.reason, letter.error.as_str()),
            (ReasonCode::ReceiverRefused, "422")
        );
        assert_eq!((letter.attempts, letter.generation), (3, 1));
        assert_eq!(
            letter.event.map(|id| id.to_string()).as_deref(),
            Some(EVENT)
        );
        assert_eq!(letter.message.headers.text("theirs"), Some("kept"));
        assert_eq!(letter.message.headers.get(header::REASON), None);
    }

    #[test]
    fn secrets_are_masked_in_what_was_refused_and_kept_in_what_was_not() {
        for (reason, is_kept) in [
            ("unknown_type", false),
            ("undecodable", false),
            ("too_large", false),
            ("receiver_refused", true),
            ("delivery_limit", true),
        ] {
            let mut headers = by_a_worker();
            headers.set(header::REASON, reason);
            headers.set(header::ERROR, r#"found {"password":"hunter2"}"#);
            headers.set("ce-token", "hunter2");
            let mut received = received(headers);
            received.message.body = r#"{"password":"hunter2","email":"a",}"#.into();
            let letter = letter(&received, &names());
            let shown = format!("{letter:?}");
            assert_eq!(shown.contains("hunter2"), is_kept, "{shown}");
            assert!(shown.contains("email"), "{shown}");
        }
    }

    #[test]
    fn one_death_is_one_letter_and_the_next_generation_another() {
        let again = letter(&received(by_a_worker()), &names());
        assert_eq!(letter(&received(by_a_worker()), &names()).id, again.id);
        let mut headers = by_a_worker();
        headers.set(header::GENERATION, 2_i64);
        assert_ne!(letter(&received(headers), &names()).id, again.id);
    }

    #[test]
    fn the_brokers_dead_letters_are_understood() {
        let death = Headers::from_iter([
            ("queue", HeaderValue::from("longshore.store.suspect")),
            ("reason", HeaderValue::from("delivery_limit")),
            ("time", HeaderValue::Time(1_767_322_245)),
            (
                "routing-keys",
                HeaderValue::List(vec![HeaderValue::from("signup.requested")]),
            ),
        ]);
        let list = HeaderValue::List(vec![HeaderValue::Table(death)]);
        let letter = letter(&received(Headers::from_iter([("x-death", list)])), &names());
        assert_eq!(letter.queue, "longshore.store");
        assert_eq!(letter.reason, ReasonCode::DeliveryLimit);
        assert_eq!(letter.last_failed_at.unix_timestamp(), 1_767_322_245);
    }

    #[test]
    fn anything_else_is_kept_all_the_same() {
        for headers in [
            Headers::default(),
            Headers::from_iter([("x-death", HeaderValue::Int(1))]),
            Headers::from_iter([(header::QUEUE, HeaderValue::from("x"))]),
        ] {
            let letter = letter(&received(headers), &names());
            assert_eq!(letter.queue, "longshore.dead");
            assert_eq!(letter.reason, ReasonCode::BrokerDeadLettered);
        }
    }

    #[test]
    fn what_could_not_be_read_is_said_and_is_the_reason_where_there_is_no_other() {
        let damaged = |headers| {
            let mut received = received(headers);
            received.message.damage = Some(Box::new(Damage {
                code: ReasonCode::TooLarge,
                detail: "too long".to_owned(),
                body: Some("9 bytes, sha256 00".to_owned()),
            }));
            letter(&received, &names())
        };
        let foreign = damaged(Headers::default());
        assert_eq!(
            (foreign.reason, foreign.error.as_str()),
            (ReasonCode::TooLarge, "too long")
        );
        assert_eq!(
            foreign.message.headers.text(header::CUT),
            Some("9 bytes, sha256 00")
        );
        let ours = damaged(by_a_worker());
        assert_eq!(
            (ours.reason, ours.error.as_str()),
            (ReasonCode::ReceiverRefused, "422; too long")
        );
    }

    #[test]
    fn a_foreign_message_id_names_no_event_of_ours() {
        let mut headers = by_a_worker();
        headers.set(header::QUEUE, "longshore.validate");
        headers.set(header::PUBLISHER, "amqp:-");
        assert_eq!(letter(&received(headers.clone()), &names()).event, None);
        headers.set(header::PUBLISHER, "http:crm");
        assert!(letter(&received(headers), &names()).event.is_some());
    }
}
