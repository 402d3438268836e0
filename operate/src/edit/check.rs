//! Whether a mended body will be taken by the stage that it goes to.

use common::bootstrap::Failure;
use common::event::{
    CloudEvent, EventType, Limits, Logins, Read, Refused, Types, decode, now, structured,
};
use common::message::CLOUDEVENTS_JSON;
use common::outcome::FieldError;
use common::store::{DeadLetter, Editable};
use common::topology::Stage;
use serde_json::Value;

/// Why a body cannot be saved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unfit {
    /// The expected and the found value.
    detail: String,
    /// Every wrong field of the data.
    errors: Vec<FieldError>,
}

impl std::fmt::Display for Unfit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.detail)?;
        for error in &self.errors {
            write!(f, "\n  {}: {}", error.pointer, error.detail)?;
        }
        Ok(())
    }
}

impl Unfit {
    /// The end of an edit that cannot be saved.
    pub fn into_failure(self) -> Failure {
        Failure::Failed(anyhow::anyhow!("nothing was saved: {self}"))
    }
}

/// What is unfit as a whole, and why.
pub(super) fn unfit(detail: impl Into<String>) -> Unfit {
    Unfit {
        detail: detail.into(),
        errors: Vec::new(),
    }
}

/// Checks `after` in the place of the letter, as the stage that it goes to will. All that validation demands of an event
/// is checked, and an event of ours must still be the same event.
pub(super) fn check(
    letter: &DeadLetter,
    after: &Editable,
    types: &Types,
    limits: Limits,
    logins: &Logins,
) -> Result<(), Unfit> {
    let inside = [Stage::Store, Stage::Integrate].map(Stage::as_str);
    let (kind, data) = if letter.event.is_some() && inside.contains(&letter.stage.as_str()) {
        canonical(letter, after, limits)?
    } else {
        foreign(letter, after, limits, logins)?
    };
    match types.check(&kind, &data) {
        Ok(()) => Ok(()),
        Err(Refused::Unknown) => {
            let known: Vec<&str> = types.iter().map(EventType::name).collect();
            Err(unfit(format!(
                "expected one of the types {}, found {kind:?}",
                known.join(", ")
            )))
        }
        Err(Refused::Rejected(rejection)) => Err(Unfit {
            detail: format!(
                "expected data that follows the schema and the rules of {kind} ({}), found",
                rejection.code
            ),
            errors: rejection.errors,
        }),
    }
}

/// Behind validation only canonical events are accepted, and their known facts cannot change.
fn canonical(
    letter: &DeadLetter,
    after: &Editable,
    limits: Limits,
) -> Result<(String, Value), Unfit> {
    let body = &after.message.body;
    if after.message.content_type.as_deref() != Some(CLOUDEVENTS_JSON) {
        return Err(unfit(format!(
            "expected a message of content type {CLOUDEVENTS_JSON} in {}, found {:?}",
            letter.queue,
            after.message.content_type.as_deref().unwrap_or_default()
        )));
    }
    if body.len() > limits.event_bytes {
        return Err(unfit(format!(
            "expected at most {} bytes, found {}",
            limits.event_bytes,
            body.len()
        )));
    }
    let Read { event, data, .. } = structured(body)
        .map_err(|error| unfit(format!("expected a structured CloudEvent: {error}")))?;
    if let Ok(before) = serde_json::from_slice::<CloudEvent>(&letter.message.body) {
        for (attribute, before, after) in [
            ("id", &before.id, &event.id),
            ("source", &before.source, &event.source),
            ("type", &before.kind, &event.kind),
        ] {
            if before != after {
                return Err(unfit(format!(
                    "attribute `{attribute}`: expected {before:?} as before, since it is still the same event, \
                     found {after:?}"
                )));
            }
        }
    }
    Ok((event.kind, data))
}

/// Before validation it has the form that its publisher gave it.
fn foreign(
    letter: &DeadLetter,
    after: &Editable,
    limits: Limits,
    logins: &Logins,
) -> Result<(String, Value), Unfit> {
    let decoded = decode(&after.message, &after.routing_key, logins, limits, now())
        .map_err(|error| unfit(error.to_string()))?;
    if letter.event.is_some_and(|event| event != decoded.id) {
        return Err(unfit(
            "expected `id` and `source` as before, since it is still the same event",
        ));
    }
    Ok((decoded.event.kind, decoded.data))
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use common::event::EventId;
    use common::message::Headers;
    use common::reason::ReasonCode;
    use serde_json::json;

    use super::*;
    use crate::testbed;

    fn event(data: &Value) -> Value {
        json!({
            "specversion": "1.0", "id": "7", "source": "/shop", "type": "signup.requested", "data": data,
        })
    }

    fn inside() -> DeadLetter {
        let mut letter = testbed::letter("longshore.integrate.crm");
        letter.message.content_type = Some(CLOUDEVENTS_JSON.to_owned());
        letter.message.body = event(&json!({"email": "nobody"})).to_string().into();
        letter
    }

    fn refusal(letter: &DeadLetter, body: &Value) -> Option<String> {
        let mut after = Editable::from(letter);
        after.message.body = body.to_string().into();
        let logins = Logins::new(["longshore"]);
        let checked = check(
            letter,
            &after,
            &Types::built_in(),
            Limits::default(),
            &logins,
        );
        checked.err().map(|unfit| unfit.to_string())
    }

    #[test]
    fn a_mended_event_passes_and_every_wrong_field_of_another_is_named() {
        let good = event(&json!({"email": "a@b.example", "name": "A"}));
        assert_eq!(refusal(&inside(), &good), None);
        let told = refusal(&inside(), &event(&json!({"email": "hunter2"}))).unwrap();
        assert!(
            told.contains("/email: ") && told.contains("(invalid)"),
            "{told}"
        );
        assert!(told.contains("\"name\" is a required property"), "{told}");
        assert!(!told.contains("hunter2"), "{told}");
        let told = refusal(&inside(), &event(&json!({"password": "hunter2"}))).unwrap();
        assert!(
            told.contains(ReasonCode::PlaintextPassword.as_str()),
            "{told}"
        );
    }

    #[test]
    fn it_stays_the_same_event() {
        let data = json!({"email": "a@b.example", "name": "A"});
        for attribute in ["id", "source", "type"] {
            let mut other = event(&data);
            other[attribute] = "other".into();
            let told = refusal(&inside(), &other).unwrap();
            assert!(told.contains(&format!("`{attribute}`")), "{told}");
        }
        let mut wrong = event(&data);
        wrong["time"] = "noon".into();
        assert!(refusal(&inside(), &wrong).is_some_and(|told| told.contains("RFC 3339")));
    }

    #[test]
    fn what_cannot_be_read_is_refused_where_it_died() {
        let told = refusal(&inside(), &json!("hello")).unwrap();
        assert!(told.contains("CloudEvent"), "{told}");
        let large = event(&json!({"x": "y".repeat(300_000)}));
        assert!(refusal(&inside(), &large).is_some_and(|told| told.contains("262144")));
        let mut letter = inside();
        letter.message.content_type = None;
        let told = refusal(&letter, &event(&json!({}))).unwrap();
        assert!(
            told.contains("expected a message of content type"),
            "{told}"
        );
    }

    #[test]
    fn before_validation_any_shape_of_an_event_will_do() {
        let mut letter = testbed::letter("longshore.validate");
        letter.stage = "validate".to_owned();
        letter.event = None;
        letter.message.headers = Headers::default();
        letter.message.content_type = Some("application/json".to_owned());
        letter.message.body = Bytes::from_static(b"{ broken");
        let good = json!({"email": "a@b.example", "name": "A"});
        assert_eq!(refusal(&letter, &good), None);
        letter.routing_key = "no.such.type".to_owned();
        letter.message.kind = None;
        let told = refusal(&letter, &good).unwrap();
        assert!(
            told.contains("signup.requested, found \"no.such.type\""),
            "{told}"
        );
        letter.event = Some(EventId::born());
        assert!(refusal(&letter, &good).is_some_and(|told| told.contains("same event")));
    }
}
