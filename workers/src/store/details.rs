//! From an event to its rows.

use std::fmt::Display;

use common::config::Destination;
use common::event::content::Content;
use common::event::{
    Confirmation, PROCESSING_REQUESTED, Publisher, SIGNUP_CONFIRMED, SIGNUP_REQUESTED,
    from_rfc3339, normalise_email, now,
};
use common::outcome::Failure;
use common::reason::ReasonCode;
use common::runtime::Received;
use common::seal::Seal;
use common::store::{Details, NewEvent, NotBefore};
use serde::Deserialize;
use serde_json::value::RawValue;

use super::addressees::{Addressees, addressees, ordered};
use super::password;
use common::canonical::{Canonical, read, stream_id};

/// How far this clock may be ahead of that of the database, which decides when a moment has come: until this long after its moment
/// an event waits to be released.
const OTHER_CLOCK: time::Duration = time::Duration::MINUTE;

/// The rows of an event.
///
/// # Errors
/// Validation cannot have let this event through: a dead letter.
pub(super) fn rows(
    received: &Received,
    destinations: &[Destination],
    seal: &Seal,
) -> Result<NewEvent, Failure> {
    let Canonical { id, mut event } = read(received)?;
    let (password_hash, body) = password::open(&received.message, id, &mut event, seal)?;
    let fingerprint = Content::from(&event)
        .fingerprint()
        .map_err(|error| wrong(&error))?;
    let details = details(&event.kind, event.data(), password_hash)?;
    // Only the door itself knows who opened a link.
    let details = match details {
        Details::Confirmation { .. }
            if received.trail.publisher != Some(Publisher::confirmation()) =>
        {
            Details::None
        }
        details => details,
    };
    let trail = &received.trail;
    let received_at = trail.received_at.unwrap_or_else(now);
    let body = String::from_utf8(body.into_owned())
        .map_err(|error| Failure::new(ReasonCode::Undecodable, error.to_string()))?;
    let Addressees { due, filtered } = addressees(destinations, &event.kind, id, &body)
        .map_err(|wrong| Failure::new(ReasonCode::Undecodable, format!("{wrong:?}")))?;
    let ordered = ordered(destinations, &due, &body)
        .map_err(|wrong| Failure::new(ReasonCode::Undecodable, format!("{wrong:?}")))?;
    let not_before = event.not_before().map(|at| NotBefore {
        at,
        has_come: trail.release || at <= now() - OTHER_CLOCK,
        is_release: trail.release,
    });
    Ok(NewEvent {
        not_before,
        ordered,
        id,
        stream_id: stream_id(&received.message),
        generation: trail.generation,
        destinations: due,
        filtered,
        time: event.time.as_deref().and_then(from_rfc3339),
        kind: event.kind,
        source: event.source,
        source_id: event.id,
        publisher: trail
            .publisher
            .as_ref()
            .map_or("-", |publisher| publisher.as_str())
            .to_owned(),
        subject: event.subject,
        received_at,
        accepted_at: trail.accepted_at.unwrap_or(received_at),
        fingerprint,
        body,
        details,
    })
}

/// The parts of a signup's row. Parts without a column of their own are kept as written.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SignupData<'d> {
    email: String,
    name: String,
    #[serde(default)]
    plan: Option<String>,
    #[serde(default)]
    locale: Option<String>,
    #[serde(borrow, default)]
    attributes: Option<&'d RawValue>,
}

/// The parts of a processing request's row.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ProcessingData<'d> {
    task: String,
    #[serde(borrow)]
    payload: &'d RawValue,
}

fn details(kind: &str, data: &str, password_hash: Option<String>) -> Result<Details, Failure> {
    match kind {
        SIGNUP_REQUESTED => {
            let signup: SignupData<'_> =
                serde_json::from_str(data).map_err(|error| wrong(&error))?;
            let email_normalised = normalise_email(&signup.email).map_err(|error| wrong(&error))?;
            Ok(Details::Signup {
                email: signup.email,
                email_normalised,
                name: signup.name,
                plan: signup.plan,
                locale: signup.locale,
                password_hash,
                attributes: signup.attributes.map(object).transpose()?,
            })
        }
        PROCESSING_REQUESTED => {
            let processing: ProcessingData<'_> =
                serde_json::from_str(data).map_err(|error| wrong(&error))?;
            Ok(Details::Processing {
                task: processing.task,
                payload: object(processing.payload)?,
            })
        }
        SIGNUP_CONFIRMED => {
            let Confirmation { signup, email } =
                serde_json::from_str(data).map_err(|error| wrong(&error))?;
            Ok(Details::Confirmation { signup, email })
        }
        _ => Ok(Details::None),
    }
}

/// The text of an object, byte for byte.
fn object(value: &RawValue) -> Result<String, Failure> {
    if value.get().starts_with('{') {
        Ok(value.get().to_owned())
    } else {
        Err(wrong(&"expected an object, found another value"))
    }
}

fn wrong(error: &dyn Display) -> Failure {
    Failure::new(ReasonCode::Undecodable, format!("its data: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_has_no_column_of_its_own_is_kept_byte_for_byte() {
        let payload = r#"{"z": 1234567890123456.78, "a":1e2,"b":"\u00e9" , "c":9007199254740993}"#;
        let data = format!(r#"{{"task":"t","payload": {payload} }}"#);
        let kept = Details::Processing {
            task: "t".to_owned(),
            payload: payload.to_owned(),
        };
        assert_eq!(details(PROCESSING_REQUESTED, &data, None), Ok(kept));
        let data = format!(r#"{{"email":"a@b.example","name":"A","attributes":{payload}}}"#);
        let Ok(Details::Signup { attributes, .. }) = details(SIGNUP_REQUESTED, &data, None) else {
            panic!("expected a signup")
        };
        assert_eq!(attributes.as_deref(), Some(payload));
    }

    #[test]
    fn what_is_not_an_object_is_no_payload() {
        for payload in ["7", "null", "[{}]", "\"{}\""] {
            let data = format!(r#"{{"task":"t","payload":{payload}}}"#);
            assert!(
                details(PROCESSING_REQUESTED, &data, None).is_err(),
                "{payload}"
            );
        }
    }
}
