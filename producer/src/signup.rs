//! `POST /v1/signups`.

use axum::extract::{Request, State};
use axum::response::Response;
use common::event::SIGNUP_REQUESTED;
use common::outcome::FieldError;
use secrecy::SecretString;
use secrecy::zeroize::Zeroizing;
use serde::{Serialize, Serializer};
use serde_json::value::{RawValue, to_raw_value};

use crate::admit::{self, Admitted, Asked, Origin, Refusal};
use crate::auth::Grant;
use crate::door::Door;
use crate::password;
use crate::problem::{Code, Problem};
use crate::{body, json, media, not_before, publish};

/// The `source` of events that are born here.
const SOURCE: &str = "/v1/signups";

/// A signup as it was sent, the password taken out.
struct Form {
    /// The data of the event to be.
    data: Box<RawValue>,
    password: Option<SecretString>,
    /// The errors of the parts that do not belong to the event.
    errors: Vec<FieldError>,
}

/// A JSON object whose values stay as they were written.
struct Object<'a>(Vec<(String, &'a RawValue)>);

impl Serialize for Object<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|(name, value)| (name, value)))
    }
}

/// Takes a signup.
///
/// # Errors
/// As the contract says; nothing is taken then.
pub(crate) async fn post(State(door): State<Door>, request: Request) -> Result<Response, Problem> {
    let (parts, body) = request.into_parts();
    let asked = Asked::of(&parts.headers)?;
    // Before anything that costs much.
    let grant = Grant::of(&parts.extensions);
    let may = grant.expect_write(SIGNUP_REQUESTED);
    may.map_err(|missing| Problem::new(Code::Forbidden, missing))?;
    if !grant.may_schedule() {
        not_before::expect_none(&parts.headers, "a signup without a key goes on at once")?;
    }
    media::expect_json(&parts.headers)?;
    let whole = body::read(&door, &parts, body, door.config.limits.event_bytes).await?;
    let _room = whole.room;
    // It may hold a password: it is wiped, and not only freed.
    let text = Zeroizing::new(whole.bytes);

    let Form {
        data,
        password,
        mut errors,
    } = Form::read(&text).map_err(Refusal::into_problem)?;
    drop(text);
    if let Err(refusal) = admit::check_text(&door, SIGNUP_REQUESTED, data.get()) {
        if refusal.code != Code::Invalid {
            return Err(refusal.into_problem());
        }
        errors.splice(0..0, refusal.errors);
    }
    if !errors.is_empty() {
        return Err(Refusal::invalid(errors).into_problem());
    }
    // Last, because hashing is expensive.
    let hash = match password {
        Some(password) => Some(SecretString::from(door.hasher.hash(password).await?)),
        None => None,
    };

    let origin = Origin::of(&parts.headers, &parts.extensions);
    let event = Admitted::born(&door, &origin, asked, (SOURCE, SIGNUP_REQUESTED), data)?
        .with_password_hash(&door, hash.as_ref())
        .map_err(Refusal::into_problem)?;
    publish::one(&door, event).await
}

impl Form {
    fn read(text: &[u8]) -> Result<Self, Refusal> {
        let mut fields = json::fields(text).map_err(|wrong| Refusal::wrong("", wrong))?;
        let mut errors = Vec::new();
        let mut password = None;
        for (name, raw) in &fields {
            match name.as_str() {
                "password" => password = read_password(raw, &mut errors)?,
                "password_hash" => errors.push(FieldError::new(
                    "/password_hash",
                    "expected no such field; send `password`, it is hashed here",
                )),
                _ => {}
            }
        }
        fields.retain(|(name, _)| !matches!(name.as_str(), "password" | "password_hash"));
        let data = admit::written(to_raw_value(&Object(fields)))?;
        Ok(Self {
            data,
            password,
            errors,
        })
    }
}

/// The password of a signup; `None` where there is none, or what there is is noted among `errors`.
fn read_password(
    raw: &RawValue,
    errors: &mut Vec<FieldError>,
) -> Result<Option<SecretString>, Refusal> {
    if raw.get() == "null" {
        return Ok(None);
    }
    let expected = "expected a text of 8 to 1024 characters";
    if !raw.get().starts_with('"') {
        // Whatever it is, it has to be JSON, or the whole text is none.
        json::value(raw.get().as_bytes()).map_err(|wrong| Refusal::wrong("/password", wrong))?;
        errors.push(FieldError::new("/password", expected));
        return Ok(None);
    }
    // The reader's own error would repeat what it has read.
    let password: String = serde_json::from_str(raw.get()).map_err(|_| {
        let detail = "expected a JSON text, found escapes that stand for no character";
        Refusal::wrong("/password", json::Wrong::Malformed(detail.to_owned()))
    })?;
    let password = Zeroizing::new(password);
    if password::LENGTH.contains(&password.chars().count()) {
        return Ok(Some(SecretString::from(password.as_str())));
    }
    errors.push(FieldError::new("/password", expected));
    Ok(None)
}

#[cfg(test)]
mod tests {
    use secrecy::ExposeSecret as _;

    use super::*;

    #[test]
    fn the_password_is_taken_out_and_the_rest_stays_as_it_was_written() {
        let text = br#" {"password":"p\u00e4ssw\u00f6rd", "email": "a@b.example",
            "attributes":{"n": 1.00, "big":123456789012345678901234567890}, "\"":1} "#;
        let form = Form::read(text).unwrap_or_else(|refusal| panic!("{refusal:?}"));
        assert_eq!(
            form.data.get(),
            r#"{"email":"a@b.example","attributes":{"n": 1.00, "big":123456789012345678901234567890},"\"":1}"#
        );
        let password = form.password.unwrap_or_else(|| panic!("a password"));
        assert_eq!(password.expose_secret(), "pässwörd");
        assert_eq!(form.errors, []);
    }

    #[test]
    fn a_password_of_another_kind_is_an_error_that_does_not_repeat_it() {
        for bad in ["12345678", "\"short\"", "[\"hunter22\"]", "true"] {
            let text = format!(r#"{{"password":{bad}}}"#);
            let form = Form::read(text.as_bytes()).unwrap_or_else(|refusal| panic!("{refusal:?}"));
            assert!(form.password.is_none());
            assert_eq!(form.errors.len(), 1, "{bad}");
            assert!(!form.errors[0].detail.contains("hunter22"));
        }
    }
}
