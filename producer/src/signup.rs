//! `POST /v1/signups`.

use axum::extract::{Request, State};
use axum::response::Response;
use common::event::SIGNUP_REQUESTED;
use common::outcome::FieldError;
use secrecy::SecretString;
use secrecy::zeroize::Zeroizing;
use serde_json::value::RawValue;

use crate::admit::{self, Admitted, Origin, Refusal};
use crate::door::Door;
use crate::password;
use crate::problem::{Code, Problem};
use crate::{body, idempotency, json, media, publish};

/// The `source` of events that are born here.
const SOURCE: &str = "/v1/signups";

/// A signup as it was sent, the password taken out.
struct Form {
    /// The data of the event to be.
    data: String,
    password: Option<SecretString>,
    /// The errors of the parts that do not belong to the event.
    errors: Vec<FieldError>,
}

/// Takes a signup.
///
/// # Errors
/// As the contract says; nothing is taken then.
pub(crate) async fn post(State(door): State<Door>, request: Request) -> Result<Response, Problem> {
    let (parts, body) = request.into_parts();
    let key = idempotency::key(&parts.headers)?;
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
    if let Err(refusal) = admit::check_text(&door, SIGNUP_REQUESTED, &data) {
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

    let data = RawValue::from_string(data).map_err(|error| {
        tracing::error!(error.category = ?error.classify(), "a signup could not be written");
        Problem::new(Code::Internal, "the signup could not be written")
    })?;
    let origin = Origin::of(&parts.headers, &parts.extensions);
    let event = Admitted::born(&door, &origin, key, (SOURCE, SIGNUP_REQUESTED), data)?
        .with_password_hash(&door, hash.as_ref())
        .map_err(Refusal::into_problem)?;
    publish::one(&door, event).await
}

impl Form {
    fn read(text: &[u8]) -> Result<Self, Refusal> {
        let fields = json::fields(text).map_err(|wrong| Refusal::wrong("", wrong))?;
        let mut form = Self {
            data: String::with_capacity(text.len() + 128),
            password: None,
            errors: Vec::new(),
        };
        form.data.push('{');
        for (name, raw) in fields {
            match name.as_str() {
                "password" => form.read_password(raw)?,
                "password_hash" => form.errors.push(FieldError::new(
                    "/password_hash",
                    "expected no such field; send `password`, it is hashed here",
                )),
                _ => {
                    if form.data.len() > 1 {
                        form.data.push(',');
                    }
                    // As a JSON text, escapes and all; a text can always be written.
                    form.data
                        .push_str(&serde_json::Value::from(name).to_string());
                    form.data.push(':');
                    form.data.push_str(raw.get());
                }
            }
        }
        form.data.push('}');
        Ok(form)
    }

    fn read_password(&mut self, raw: &RawValue) -> Result<(), Refusal> {
        if raw.get() == "null" {
            return Ok(());
        }
        let expected = "expected a text of 8 to 1024 bytes";
        if !raw.get().starts_with('"') {
            // Any other value has to be JSON, or the whole text is not JSON.
            json::value(raw.get().as_bytes())
                .map_err(|wrong| Refusal::wrong("/password", wrong))?;
            self.errors.push(FieldError::new("/password", expected));
            return Ok(());
        }
        // The reader's own error would repeat the value.
        let password: String = serde_json::from_str(raw.get()).map_err(|_| {
            let detail = "expected a JSON text, found escapes that stand for no character";
            Refusal::wrong("/password", json::Wrong::Malformed(detail.to_owned()))
        })?;
        let password = Zeroizing::new(password);
        if password::BYTES.contains(&password.len()) {
            self.password = Some(SecretString::from(password.as_str()));
        } else {
            self.errors.push(FieldError::new("/password", expected));
        }
        Ok(())
    }
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
            form.data,
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
