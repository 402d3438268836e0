//! From an event to its rows.

use common::config::Destination;
use common::event::{
    PROCESSING_REQUESTED, Processing, SIGNUP_REQUESTED, Signup, from_rfc3339, normalise_email, now,
};
use common::outcome::Failure;
use common::reason::ReasonCode;
use common::runtime::Received;
use common::seal::Seal;
use common::store::{Details, NewEvent};
use serde_json::Value;
use sha2::{Digest as _, Sha256};

use super::password;
use crate::canonical::{Canonical, read};

/// The rows of an event.
///
/// # Errors
/// It is no event that validation can have let through: a dead letter.
pub(super) fn rows(
    received: &Received,
    destinations: &[Destination],
    seal: &Seal,
) -> Result<NewEvent, Failure> {
    let Canonical { id, mut event } = read(received)?;
    let (password_hash, body) = password::open(&received.message, id, &mut event, seal)?;
    let data: Value = serde_json::from_str(event.data())
        .map_err(|error| Failure::new(ReasonCode::Undecodable, format!("its data: {error}")))?;
    let fingerprint = fingerprint(&event.kind, event.subject.as_deref(), &data);
    let details = details(&event.kind, data, password_hash)?;
    let trail = &received.trail;
    let received_at = trail.received_at.unwrap_or_else(now);
    let body = String::from_utf8(body.into_owned())
        .map_err(|error| Failure::new(ReasonCode::Undecodable, error.to_string()))?;
    Ok(NewEvent {
        id,
        generation: trail.generation,
        destinations: destinations
            .iter()
            .filter(|destination| destination.takes(&event.kind))
            .map(|destination| destination.name.clone())
            .collect(),
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

fn details(kind: &str, data: Value, password_hash: Option<String>) -> Result<Details, Failure> {
    let wrong = |error: String| Failure::new(ReasonCode::Undecodable, format!("its data: {error}"));
    match kind {
        SIGNUP_REQUESTED => {
            let signup: Signup =
                serde_json::from_value(data).map_err(|error| wrong(error.to_string()))?;
            let email_normalised =
                normalise_email(&signup.email).map_err(|error| wrong(error.to_string()))?;
            let attributes = signup
                .attributes
                .as_ref()
                .map(serde_json::to_string)
                .transpose();
            Ok(Details::Signup {
                email: signup.email,
                email_normalised,
                name: signup.name,
                plan: signup.plan,
                locale: signup.locale,
                password_hash,
                attributes: attributes.map_err(|error| wrong(error.to_string()))?,
            })
        }
        PROCESSING_REQUESTED => {
            let processing: Processing =
                serde_json::from_value(data).map_err(|error| wrong(error.to_string()))?;
            let payload = serde_json::to_string(&processing.payload);
            let payload = payload.map_err(|error| wrong(error.to_string()))?;
            Ok(Details::Processing {
                task: processing.task,
                payload,
            })
        }
        _ => Ok(Details::None),
    }
}

/// What tells another content under the same id apart. Not the time, which is ours where the
/// publisher gave none; and not a password's hash, which is salted anew on each try.
fn fingerprint(kind: &str, subject: Option<&str>, data: &Value) -> [u8; 32] {
    let mut hash = Sha256::new();
    for part in [kind, subject.unwrap_or_default()] {
        hash.update(u64::try_from(part.len()).unwrap_or(u64::MAX).to_be_bytes());
        hash.update(part);
    }
    match data {
        Value::Object(fields) if fields.contains_key("password_hash") => {
            let mut fields = fields.clone();
            fields.remove("password_hash");
            hash.update(text(&Value::Object(fields)));
        }
        data => hash.update(text(data)),
    }
    hash.finalize().into()
}

/// JSON on one line. What was parsed can be written: the empty text never comes of it.
fn text(data: &Value) -> Vec<u8> {
    serde_json::to_vec(data).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_fingerprint_sees_content_and_nothing_else() {
        let of = |data: Value| fingerprint("signup.requested", None, &data);
        let ada = of(json!({"name": "Ada", "email": "a@b.example"}));
        assert_eq!(
            ada,
            of(json!({"email": "a@b.example", "name": "Ada"})),
            "order"
        );
        assert_eq!(
            of(json!({"name": "Ada", "email": "a@b.example", "password_hash": "1"})),
            of(json!({"name": "Ada", "email": "a@b.example", "password_hash": "2"})),
            "the salt of a hash"
        );
        assert_ne!(ada, of(json!({"name": "Bob", "email": "a@b.example"})));
        assert_ne!(
            fingerprint("a", Some("b"), &Value::Null),
            fingerprint("ab", None, &Value::Null)
        );
    }
}
