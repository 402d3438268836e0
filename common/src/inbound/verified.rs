//! What a believed request says.

use std::borrow::Cow;

use serde_json::Value;
use time::OffsetDateTime;

use super::{Place, Scheme, WebhookRequest};
use crate::event::from_rfc3339;
use crate::outcome::FieldError;

/// Maximum length of a text that is given back in a handshake, in bytes.
const MAX_ANSWER: usize = 1024;

/// From this number on, a moment is in milliseconds: in seconds it would be in the year 5138.
const MILLISECONDS_FROM: i64 = 100_000_000_000;

/// A request whose signature is right. The methods take the body as JSON.
#[derive(Debug, Clone, Copy)]
pub struct Verified<'r> {
    scheme: &'r Scheme,
    request: WebhookRequest<'r>,
}

/// The facts about an event, in its provider's words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notice {
    /// The provider's id. All repetitions of an event have the same.
    pub id: String,
    /// The provider's type.
    pub kind: String,
    /// When it happened, if the provider says so.
    pub time: Option<OffsetDateTime>,
}

impl<'r> Verified<'r> {
    pub(super) fn new(scheme: &'r Scheme, request: WebhookRequest<'r>) -> Self {
        Self { scheme, request }
    }

    /// The answer to a handshake; `None` if the request is not one.
    pub fn handshake(&self, data: &Value) -> Option<String> {
        let handshakes = self.scheme.handshakes.iter();
        let mut of_this = handshakes.filter(|it| {
            self.text(&it.at, data)
                .is_some_and(|text| text.as_ref() == it.is)
        });
        let Some(place) = &of_this.next()?.answer else {
            return Some("ok".to_owned());
        };
        let answer = self.text(place, data)?;
        let is_fit = answer.len() <= MAX_ANSWER && !answer.chars().any(char::is_control);
        is_fit.then(|| answer.into_owned())
    }

    /// The facts about the event.
    ///
    /// # Errors
    /// The id or the type is missing. The pointers are those of the event's attributes.
    pub fn notice(&self, data: &Value) -> Result<Notice, Vec<FieldError>> {
        let id = self.first("/id", &self.scheme.id, data);
        let kind = self.first("/type", &self.scheme.kind, data);
        match (id, kind) {
            (Ok(id), Ok(kind)) => Ok(Notice {
                id,
                kind,
                time: self.time(data),
            }),
            (id, kind) => Err([id.err(), kind.err()].into_iter().flatten().collect()),
        }
    }

    fn time(&self, data: &Value) -> Option<OffsetDateTime> {
        let mut places = self.scheme.time.iter();
        places.find_map(|place| moment(&self.text(place, data)?))
    }

    fn first(&self, pointer: &str, places: &[Place], data: &Value) -> Result<String, FieldError> {
        let found = places.iter().find_map(|place| self.text(place, data));
        found.map(Cow::into_owned).ok_or_else(|| {
            let places: Vec<_> = places.iter().map(Place::to_string).collect();
            let detail = format!("expected it at {}, found none", places.join(" or "));
            FieldError::new(pointer, detail)
        })
    }

    fn text<'d>(&self, place: &Place, data: &'d Value) -> Option<Cow<'d, str>>
    where
        'r: 'd,
    {
        place.text(self.scheme, &self.request, data)
    }
}

/// The moment that a text names: RFC 3339, or a whole number of seconds or milliseconds since 1970.
pub(super) fn moment(text: &str) -> Option<OffsetDateTime> {
    if !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return from_rfc3339(text);
    }
    let number: i64 = text.parse().ok()?;
    let nanoseconds = if number < MILLISECONDS_FROM {
        i128::from(number) * 1_000_000_000
    } else {
        i128::from(number) * 1_000_000
    };
    OffsetDateTime::from_unix_timestamp_nanos(nanoseconds).ok()
}

#[cfg(test)]
mod tests {
    use crate::event::to_rfc3339;

    #[test]
    fn a_moment_is_read_in_each_form_that_providers_write() {
        let moment = |text| super::moment(text).map(to_rfc3339);
        for (text, expected) in [
            ("1700000000", "2023-11-14T22:13:20Z"),
            ("1700000000123", "2023-11-14T22:13:20.123Z"),
            ("2023-11-14T23:13:20+01:00", "2023-11-14T22:13:20Z"),
        ] {
            assert_eq!(moment(text).as_deref(), Some(expected));
        }
        for bad in [
            "",
            "-1",
            "+1",
            "1e9",
            "1.5",
            "soon",
            "99999999999999999999",
            "9223372036854775807",
        ] {
            assert_eq!(moment(bad), None, "{bad:?}");
        }
    }
}
