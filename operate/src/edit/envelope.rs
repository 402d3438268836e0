//! Where the names that can be set are kept in a message.
//!
//! That depends on the shape of the event, which the content type and the headers tell: in the body of a
//! structured event, in `cloudEvents` headers, or in the properties of the message.

use common::event::{from_rfc3339, split_attribute, to_rfc3339};
use common::message::{CLOUDEVENTS_JSON, HeaderValue, Message};
use common::store::Editable;
use serde_json::json;
use time::OffsetDateTime;

use super::patch;
use super::setting::{Field, Setting};

/// Where an event of this shape has its attributes.
enum Shape {
    Structured,
    /// In headers that begin so.
    Binary(String),
    Plain,
}

fn shape(message: &Message) -> Shape {
    let media = message.content_type.as_deref().unwrap_or_default();
    let essence = media.split(';').next().unwrap_or_default().trim();
    if essence.eq_ignore_ascii_case(CLOUDEVENTS_JSON) {
        return Shape::Structured;
    }
    let mut names = message.headers.iter().map(|(name, _)| name);
    match names.find_map(split_attribute) {
        Some((prefix, _)) => Shape::Binary(prefix.to_owned()),
        None => Shape::Plain,
    }
}

/// The headers that hold an attribute of a binary event: some publishers write several.
fn holders(message: &Message, attribute: &str) -> Vec<String> {
    let names = message.headers.iter().map(|(name, _)| name);
    let holds = |name: &&str| split_attribute(name).is_some_and(|(_, held)| held == attribute);
    names.filter(holds).map(str::to_owned).collect()
}

/// A field that cannot be set.
#[derive(Debug, thiserror::Error)]
pub enum CannotSet {
    /// It stands in the body of this message, where it cannot be set.
    #[error("a structured CloudEvent has its `{0}` in the body: {1}")]
    InBody(String, patch::NoJson),
    /// Only an event of another shape has it.
    #[error("a plain message has no `{0}`; one with content_type {CLOUDEVENTS_JSON} has")]
    NotPlain(String),
    /// AMQP counts seconds since 1970.
    #[error("a plain message has no time before 1970")]
    BeforeEpoch,
}

/// The value of a field, as a user would set it.
pub(super) fn get(it: &Editable, field: &Field) -> String {
    let message = &it.message;
    let held = match (field, shape(message)) {
        (Field::ContentType, _) => message.content_type.clone(),
        (Field::ContentEncoding, _) => message.content_encoding.clone(),
        (Field::RoutingKey, _) => Some(it.routing_key.clone()),
        (Field::Header(name), _) => message.headers.get(name).map(shown),
        (_, Shape::Structured) => {
            let body: Option<serde_json::Value> = serde_json::from_slice(&message.body).ok();
            body.and_then(|body| body.get(field.as_str())?.as_str().map(str::to_owned))
        }
        (_, Shape::Binary(_)) => {
            let names = holders(message, field.as_str());
            names
                .first()
                .and_then(|name| message.headers.get(name))
                .map(shown)
        }
        (Field::Type, Shape::Plain) => message.kind.clone(),
        (Field::Source, Shape::Plain) => message.app_id.clone(),
        (Field::Id, Shape::Plain) => message.message_id.clone(),
        (Field::Time, Shape::Plain) => message.timestamp.map(moment),
        (Field::Specversion | Field::Subject | Field::Dataschema, Shape::Plain) => None,
    };
    held.unwrap_or_default()
}

fn shown(value: &HeaderValue) -> String {
    match value {
        HeaderValue::Text(text) => text.clone(),
        HeaderValue::Time(seconds) => moment(*seconds),
        other => other.to_json().to_string(),
    }
}

/// Seconds since 1970 as RFC 3339; a number out of range stays a number.
fn moment(seconds: u64) -> String {
    i64::try_from(seconds)
        .ok()
        .and_then(|seconds| OffsetDateTime::from_unix_timestamp(seconds).ok())
        .map_or_else(|| seconds.to_string(), to_rfc3339)
}

/// `it` with these settings.
///
/// # Errors
/// The place of one of them cannot be written to.
pub fn set(it: &Editable, settings: &[Setting]) -> Result<Editable, CannotSet> {
    let mut it = it.clone();
    let (headers, others): (Vec<_>, Vec<_>) = settings
        .iter()
        .partition(|setting| matches!(setting.field, Field::Header(_)));
    for setting in headers {
        set_one(&mut it, &setting.field, setting.value.clone())?;
    }
    for field in &Field::ALL {
        for setting in others.iter().filter(|setting| setting.field == *field) {
            set_one(&mut it, field, setting.value.clone())?;
        }
    }
    Ok(it)
}

fn set_one(it: &mut Editable, field: &Field, value: Option<String>) -> Result<(), CannotSet> {
    let message = &mut it.message;
    match (field, shape(message)) {
        (Field::ContentType, _) => message.content_type = value,
        (Field::ContentEncoding, _) => message.content_encoding = value,
        (Field::RoutingKey, _) => it.routing_key = value.unwrap_or_default(),
        (Field::Header(name), _) => set_header(message, name, value),
        (_, Shape::Structured) => {
            let change = json!({ field.as_str(): value }).to_string();
            let body = std::str::from_utf8(&message.body).unwrap_or_default();
            let body = patch::patched(body, &change)
                .map_err(|error| CannotSet::InBody(field.as_str().to_owned(), error))?;
            message.body = body.into();
        }
        (_, Shape::Binary(prefix)) => {
            let mut names = holders(message, field.as_str());
            names.iter().for_each(|name| message.headers.remove(name));
            names.push(format!("{prefix}{}", field.as_str()));
            set_header(message, &names[0], value);
        }
        (Field::Type, Shape::Plain) => message.kind = value,
        (Field::Source, Shape::Plain) => message.app_id = value,
        (Field::Id, Shape::Plain) => message.message_id = value,
        (Field::Time, Shape::Plain) => {
            let moment = value.as_deref().and_then(from_rfc3339);
            let seconds = moment.map(|moment| u64::try_from(moment.unix_timestamp()));
            message.timestamp = seconds.transpose().map_err(|_| CannotSet::BeforeEpoch)?;
        }
        (Field::Specversion | Field::Subject | Field::Dataschema, Shape::Plain) => {
            if value.is_some() {
                return Err(CannotSet::NotPlain(field.as_str().to_owned()));
            }
        }
    }
    Ok(())
}

fn set_header(message: &mut Message, name: &str, value: Option<String>) {
    match value {
        Some(value) => message.headers.set(name.to_owned(), value),
        None => message.headers.remove(name),
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub(in super::super) fn setting(text: &str) -> Setting {
        text.parse().unwrap_or_else(|error| panic!("{error}"))
    }

    pub(in super::super) fn plain() -> Editable {
        Editable {
            routing_key: "signup.request".to_owned(),
            message: Message {
                body: r#"{"email":"a@b.example"}"#.into(),
                timestamp: Some(1_767_322_245_000),
                ..Message::default()
            },
        }
    }

    fn set_all(it: &Editable, settings: &[&str]) -> Editable {
        let settings: Vec<Setting> = settings.iter().map(|text| setting(text)).collect();
        set(it, &settings).unwrap_or_else(|error| panic!("{error}"))
    }

    #[test]
    fn a_plain_message_has_them_in_its_properties() {
        let mended = set_all(
            &plain(),
            &[
                "time=2026-01-02T02:50:45Z",
                "type=signup.requested",
                "content_type=application/json",
                "routing_key=signup.requested",
                "source=/shop",
                "id=7",
            ],
        );
        assert_eq!(mended.routing_key, "signup.requested");
        let message = &mended.message;
        assert_eq!(message.content_type.as_deref(), Some("application/json"));
        assert_eq!(message.kind.as_deref(), Some("signup.requested"));
        assert_eq!(message.app_id.as_deref(), Some("/shop"));
        assert_eq!(message.message_id.as_deref(), Some("7"));
        assert_eq!(message.timestamp, Some(1_767_322_245));
        assert_eq!(set_all(&mended, &["time="]).message.timestamp, None);
    }

    #[test]
    fn a_binary_event_has_them_in_its_headers_and_a_structured_one_in_its_body() {
        let mut binary = plain();
        binary.message.headers.set("cloudEvents_type", "wrong");
        let mended = set_all(&binary, &["type=a.b", "time=2026-01-02T02:50:45Z"]);
        let headers = &mended.message.headers;
        assert_eq!(headers.text("cloudEvents_type"), Some("a.b"));
        assert_eq!(
            headers.text("cloudEvents_time"),
            Some("2026-01-02T02:50:45Z")
        );
        assert_eq!(mended.message.kind, None);

        let mended = set_all(
            &plain(),
            &["content_type=application/cloudevents+json", "type=a.b"],
        );
        assert_eq!(
            mended.message.body,
            r#"{"email":"a@b.example","type":"a.b"}"#
        );
        let broken = Editable {
            message: Message {
                body: "hello".into(),
                ..mended.message
            },
            ..mended
        };
        let error = set(&broken, &[setting("type=a.b")]).unwrap_err();
        assert!(error.to_string().contains("in the body"), "{error}");
    }

    #[test]
    fn every_writing_of_a_header_is_the_one_that_is_read() {
        let mut binary = plain();
        binary.message.headers.set("CE-Type", "wrong");
        binary.message.headers.set("cloudEvents:TYPE", "other");
        binary.message.headers.set("cE_bad-name", "x");
        let mended = set_all(
            &binary,
            &["type=a.b", "specversion=1.0", "header:cE_bad-name="],
        );
        assert_eq!(get(&mended, &Field::Type), "a.b");
        let attributes = mended.message.headers.iter();
        let attributes = attributes.filter_map(|(name, _)| Some(split_attribute(name)?.1));
        let mut attributes: Vec<_> = attributes.collect();
        attributes.sort();
        assert_eq!(attributes, ["specversion", "type"]);
        assert_eq!(
            set_all(&mended, &["type="]).message.headers.iter().count(),
            1
        );
    }

    #[test]
    fn a_setting_that_would_do_nothing_is_an_error() {
        for text in ["subject=x", "time=1969-12-31T23:59:59Z"] {
            assert!(set(&plain(), &[setting(text)]).is_err(), "{text}");
        }
        let mut packed = plain();
        packed.message.content_encoding = Some("latin1".to_owned());
        assert_eq!(
            set_all(&packed, &["content_encoding="])
                .message
                .content_encoding,
            None
        );
    }
}
