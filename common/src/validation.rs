//! The verdict of validation.

use crate::event::{
    CloudEvent, Decoded, EventId, EventType, Limits, Logins, PasswordHash, Refused, Trail, Types,
    decode, header, now, recognise, secrets, take_password_hash,
};
use crate::message::{CLOUDEVENTS_JSON, Headers, Message};
use crate::outcome::{Failure, FieldError, Outcome, Rejection};
use crate::reason::ReasonCode;
use crate::runtime::{Batch, Handler, Outcomes, Received};
use crate::seal::{Seal, Unsealable};
use crate::topology::Fact;
use async_trait::async_trait;
use secrecy::ExposeSecret as _;

use crate::canonical::onward;

/// Validates events. Needs nothing but the events themselves.
#[derive(Debug)]
pub struct Validate {
    types: Types,
    limits: Limits,
    logins: Logins,
    seal: Seal,
}

impl Validate {
    /// Validates against `types`. Our own headers are believed under `logins` alone. `seal` seals the
    /// password hash of a signup that brings it in its data.
    pub fn new(types: Types, limits: Limits, logins: Logins, seal: Seal) -> Self {
        Self {
            types,
            limits,
            logins,
            seal,
        }
    }

    /// The verdict on a message: equal for every caller and every call.
    pub fn judge(&self, received: &Received) -> Outcome {
        let Received {
            message,
            routing_key,
            trail,
            ..
        } = received;
        if let Some(failure) = received.damage() {
            return Outcome::Dead(failure);
        }
        let received_at = trail.received_at.unwrap_or_else(now);
        let mut decoded = match decode(message, routing_key, &self.logins, self.limits, received_at)
        {
            Ok(decoded) => decoded,
            Err(error) => {
                let detail = secrets::mask_text(&error.detail);
                return Outcome::Dead(Failure::new(error.code, detail));
            }
        };
        // In every outcome, the hash goes on sealed or not at all.
        let hash = take_password_hash(&mut decoded.event);
        if !matches!(hash, PasswordHash::Unsaid) {
            decoded.body = written(&decoded.event).into();
        }
        match self.types.check(&decoded.event.kind, &decoded.data) {
            Ok(()) if trail.generation > 0 && holds_mask(message, &decoded) => {
                Outcome::Dead(Failure::new(
                    ReasonCode::Undecodable,
                    "expected an event, found the masked copy of a refused one, with `***` in the place of \
                 a secret; `longshore dead edit` can put the value in",
                ))
            }
            Ok(()) => self.accept(received, decoded, hash),
            Err(Refused::Unknown) => Outcome::Dead(self.unknown(message, &decoded.event.kind)),
            Err(Refused::Rejected(rejection)) => reject(received, decoded, rejection),
        }
    }

    /// A valid event goes on in its canonical form.
    fn accept(&self, received: &Received, decoded: Decoded, hash: PasswordHash) -> Outcome {
        let trail = Trail {
            publisher: decoded.trail.publisher.clone(),
            received_at: decoded.trail.received_at,
            accepted_at: Some(now()),
            ..received.onward()
        };
        let kind = decoded.event.kind.clone();
        let id = decoded.id;
        let mut event = canonical(received, decoded);
        if let Err(error) = self.seal(hash, id, &mut event.headers) {
            return Outcome::Retry {
                after: None,
                failure: Failure::new(ReasonCode::HandlerFailed, error.to_string()),
            };
        }
        Outcome::Next(vec![onward(Fact::Accepted, &event, &kind, &trail)])
    }

    /// Why a message of the type `kind` is dead: no such type is known.
    fn unknown(&self, message: &Message, kind: &str) -> Failure {
        let known: Vec<&str> = self.types.iter().map(EventType::name).collect();
        let mut error = format!(
            "expected one of the types {}, found {kind:?}",
            known.join(", ")
        );
        if let Some(sight) = recognise(message) {
            error.push_str("; ");
            error.push_str(&sight);
        }
        Failure::new(ReasonCode::UnknownType, secrets::mask_text(&error))
    }

    /// Puts the password hash that stood in the data of a signup into the header that only the store stage
    /// opens. A door of ours has put it there already.
    fn seal(
        &self,
        hash: PasswordHash,
        event: EventId,
        headers: &mut Headers,
    ) -> Result<(), Unsealable> {
        match hash {
            PasswordHash::Unsaid => {}
            PasswordHash::Absent => headers.remove(header::SEALED_PASSWORD_HASH),
            PasswordHash::Given(hash) => {
                let sealed = self.seal.seal(event, hash.expose_secret())?;
                headers.set(header::SEALED_PASSWORD_HASH, sealed);
            }
        }
        Ok(())
    }
}

/// An event that breaks a rule, as it is kept and announced: nothing of it is secret any more.
fn reject(received: &Received, decoded: Decoded, mut rejection: Rejection) -> Outcome {
    if let Some(sight) = recognise(&received.message) {
        rejection.errors.push(FieldError::new("", sight));
    }
    for error in &mut rejection.errors {
        error.pointer = secrets::mask_text(&error.pointer);
        error.detail = secrets::mask_text(&error.detail);
    }
    let mut event = canonical(received, decoded);
    secrets::mask_message(&mut event);
    Outcome::Rejected(Rejection {
        event: Some(Box::new(event)),
        ..rejection
    })
}

/// The canonical form. Writing what was read a moment ago cannot fail; an empty text still hides all of it.
fn written(event: &CloudEvent) -> String {
    serde_json::to_string(event).unwrap_or_default()
}

#[async_trait]
impl Handler for Validate {
    async fn handle(&self, batch: Batch<'_>) -> Result<Outcomes, Outcome> {
        Ok(batch.answer(|received| self.judge(received)))
    }
}

/// Whether it is a letter whose secrets were masked: a replay must not make an event of it.
fn holds_mask(message: &Message, decoded: &Decoded) -> bool {
    let extensions = &decoded.event.extensions;
    secrets::holds_mask(&message.body)
        || secrets::holds_mask(decoded.event.source.as_bytes())
        || extensions
            .iter()
            .any(|(name, value)| value.as_str() == Some(secrets::MASK) && secrets::is_secret(name))
}

/// The message of a canonical event.
fn canonical(received: &Received, decoded: Decoded) -> Message {
    let Decoded {
        id,
        stream_id,
        event,
        body,
        ..
    } = decoded;
    let CloudEvent { kind, source, .. } = event;
    let mut headers = received.message.headers.clone();
    match stream_id {
        Some(stream_id) => headers.set(header::STREAM_ID, stream_id.to_string()),
        None => headers.remove(header::STREAM_ID),
    }
    Message {
        body,
        content_type: Some(CLOUDEVENTS_JSON.to_owned()),
        message_id: Some(id.to_string()),
        kind: Some(kind),
        // AMQP bounds it; the event itself holds it whole.
        app_id: Some(source).filter(|source| source.len() <= 255),
        timestamp: received.message.timestamp,
        headers,
        ..Message::default()
    }
}

#[cfg(test)]
mod tests {
    use crate::event::Publisher;
    use crate::publication::Address;
    use crate::runtime::Claim;
    use serde_json::json;

    use super::*;

    fn handle(content_type: &str, body: &str, headers: Headers) -> Outcome {
        let received = message(content_type, body, headers);
        validate().judge(&received)
    }

    fn validate() -> Validate {
        let seal = Seal::new(["a secret of the tests"]);
        Validate::new(
            Types::built_in(),
            Limits::default(),
            Logins::new(["us"]),
            seal,
        )
    }

    fn message(content_type: &str, body: &str, headers: Headers) -> Received {
        Received {
            message: Message {
                body: body.to_owned().into(),
                content_type: Some(content_type.to_owned()),
                message_id: Some("7".to_owned()),
                app_id: Some("/shop".to_owned()),
                headers,
                ..Message::default()
            },
            routing_key: "signup.requested".to_owned(),
            redelivered: false,
            claim: Claim::default(),
            trail: Trail {
                received_at: Some(now()),
                ..Trail::default()
            },
        }
    }

    #[test]
    fn a_foreign_event_becomes_canonical_and_goes_on() {
        let headers = Headers::from_iter([("theirs", "dropped"), ("traceparent", "kept")]);
        let body = r#"{"email":"a@b.example","name":"A"}"#;
        let Outcome::Next(next) = handle("application/json", body, headers) else {
            panic!("expected it to go on")
        };
        let [publication] = &next[..] else {
            panic!("expected one publication")
        };
        let to = Address::Fact {
            fact: Fact::Accepted,
            routing_key: "signup.requested".to_owned(),
        };
        assert_eq!(publication.to, to);
        let message = &publication.message;
        assert_eq!(message.content_type.as_deref(), Some(CLOUDEVENTS_JSON));
        assert_eq!(message.headers.text("traceparent"), Some("kept"));
        assert_eq!(message.headers.text("theirs"), None);
        let trail = Trail::read(&message.headers);
        assert_eq!(trail.publisher, Some(Publisher::amqp(None)));
        assert!(trail.accepted_at >= trail.received_at && trail.received_at.is_some());
        let event: CloudEvent = serde_json::from_slice(&message.body).unwrap();
        assert_eq!((event.id.as_str(), event.data()), ("7", body));
    }

    #[test]
    fn what_breaks_a_rule_is_rejected_and_not_dead() {
        let outcome = handle(
            "application/json",
            r#"{"email":"nobody"}"#,
            Headers::default(),
        );
        let Outcome::Rejected(rejection) = outcome else {
            panic!("expected a rejection")
        };
        assert_eq!(rejection.code, ReasonCode::Invalid);
        assert_eq!(rejection.errors.len(), 2, "{:?}", rejection.errors);
        assert!(rejection.event.is_some_and(|event| event.kind.is_some()));
    }

    #[test]
    fn a_password_in_the_clear_travels_no_further() {
        let body =
            r#"{"email":"a@b.example","name":"A","password":"hunter2","password_hash":"hunter2"}"#;
        let outcome = handle("application/json", body, Headers::default());
        assert!(!format!("{outcome:?}").contains("hunter2"));
        let Outcome::Rejected(rejection) = outcome else {
            panic!("expected a rejection")
        };
        assert_eq!(rejection.code, ReasonCode::PlaintextPassword);
    }

    #[test]
    fn a_password_hash_is_sealed_for_the_store_stage() {
        let hash = "$argon2id$v=19$m=19456,t=2,p=1$c2FsdA$aGFzaA";
        let body = format!(r#"{{"email":"a@b.example","password_hash":"{hash}","name":"A"}}"#);
        let outcome = handle("application/json", &body, Headers::default());
        assert!(!format!("{outcome:?}").contains("argon2id"), "{outcome:?}");
        let Outcome::Next(next) = outcome else {
            panic!("expected it to go on")
        };
        let message = &next[0].message;
        let id = message.message_id.as_deref().unwrap().parse().unwrap();
        let sealed = message.headers.text(header::SEALED_PASSWORD_HASH).unwrap();
        let opened = Seal::new(["a secret of the tests"])
            .open(id, sealed)
            .unwrap();
        assert_eq!(opened.expose(), hash);
        let event: CloudEvent = serde_json::from_slice(&message.body).unwrap();
        assert_eq!(event.data(), r#"{"email":"a@b.example","name":"A"}"#);
    }

    #[test]
    fn a_rejection_does_not_tell_the_hash() {
        let body = r#"{"email":"nobody","name":"A","password_hash":"$argon2id$x"}"#;
        let outcome = handle("application/json", body, Headers::default());
        assert!(matches!(outcome, Outcome::Rejected(_)), "{outcome:?}");
        assert!(!format!("{outcome:?}").contains("argon2id"), "{outcome:?}");
    }

    #[test]
    fn no_secret_of_a_refused_event_is_kept() {
        for body in [
            r#"{"email":"nobody","name":"A","apiKey":"hunter2"}"#,
            r#"{"email":"a@b.example","name":"A","attributes":{"x":[{"secret":"hunter2"}]}}"#,
        ] {
            let headers = Headers::from_iter([("authorization", "hunter2")]);
            let outcome = handle("application/json", body, headers);
            assert!(matches!(outcome, Outcome::Rejected(_)), "{outcome:?}");
            assert!(!format!("{outcome:?}").contains("hunter2"), "{outcome:?}");
        }
    }

    #[test]
    fn a_replay_makes_no_event_of_a_mask() {
        let body = r#"{"token":"***"}"#;
        let judge = |generation| {
            let mut received = message("application/json", body, Headers::default());
            received.routing_key = "device.added".to_owned();
            received.trail.generation = generation;
            let types = json!([{"name": "device.added", "schema": true}]);
            let types = Types::with(&serde_json::from_value::<Vec<_>>(types).unwrap()).unwrap();
            let seal = Seal::new(["a secret of the tests"]);
            Validate::new(types, Limits::default(), Logins::new(["us"]), seal).judge(&received)
        };
        assert!(matches!(judge(0), Outcome::Next(_)));
        let Outcome::Dead(failure) = judge(1) else {
            panic!("expected a dead letter")
        };
        assert!(failure.error.contains("dead edit"), "{}", failure.error);
    }

    #[test]
    fn the_reason_names_what_it_saw() {
        let celery = r#"{"task":"shop.add","id":"7","args":[],"kwargs":{}}"#;
        let Outcome::Rejected(rejection) = handle("application/json", celery, Headers::default())
        else {
            panic!("expected a rejection")
        };
        let told = rejection.errors.iter().map(|error| error.detail.as_str());
        assert!(told.collect::<String>().contains("a Celery task"));
        let headers = Headers::from_iter([
            ("cloudEvents:specversion", "1.0"),
            ("cloudEvents:id", "7"),
            ("cloudEvents:source", "/"),
            ("cloudEvents:type", "nope"),
        ]);
        let Outcome::Dead(failure) = handle("application/json", celery, headers) else {
            panic!("expected a dead letter")
        };
        assert_eq!(failure.code, ReasonCode::UnknownType);
        assert!(failure.error.contains("a Celery task"), "{}", failure.error);
    }

    #[test]
    fn what_is_no_event_is_dead_at_once() {
        for (content_type, body, code) in [
            ("text/plain", "hello", ReasonCode::Undecodable),
            ("application/json", "{", ReasonCode::Undecodable),
            (
                CLOUDEVENTS_JSON,
                r#"{"specversion":"1.0","id":"1","source":"/","type":"nope","data":{}}"#,
                ReasonCode::UnknownType,
            ),
        ] {
            match handle(content_type, body, Headers::default()) {
                Outcome::Dead(failure) => assert_eq!(failure.code, code),
                other => panic!("expected a dead letter, found {other:?}"),
            }
        }
    }
}
