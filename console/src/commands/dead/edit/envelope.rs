//! What can be mended of a letter beside its body, by names that are the same for every shape of an event.
//!
//! Where a name is kept depends on the shape, which the content type and the headers tell: in the body of a
//! structured event, in `cloudEvents` headers, or in the properties of the message.

use std::fmt;
use std::str::FromStr;

use common::event::{from_rfc3339, to_rfc3339};
use common::message::{CLOUDEVENTS_JSON, HeaderValue, Message};
use common::store::Editable;
use serde_json::json;
use time::OffsetDateTime;

use super::patch;

/// A name that can be set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Field {
    ContentType,
    RoutingKey,
    Type,
    Source,
    Id,
    Time,
}

impl Field {
    /// All of them, in the order in which they are set: the content type decides where others are.
    pub(super) const ALL: [Self; 6] = [
        Self::ContentType,
        Self::RoutingKey,
        Self::Type,
        Self::Source,
        Self::Id,
        Self::Time,
    ];

    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::ContentType => "content_type",
            Self::RoutingKey => "routing_key",
            Self::Type => "type",
            Self::Source => "source",
            Self::Id => "id",
            Self::Time => "time",
        }
    }
}

/// `NAME=VALUE`; an empty value takes away what was there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Setting {
    pub(super) field: Field,
    pub(super) value: Option<String>,
}

impl FromStr for Setting {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (name, value) = text
            .split_once('=')
            .ok_or_else(|| format!("expected NAME=VALUE, found {text:?}"))?;
        Self::new(name, value)
    }
}

impl Setting {
    /// A setting of `name`, as it is called on the command line and in the editor.
    pub(super) fn new(name: &str, value: &str) -> Result<Self, String> {
        let field = Field::ALL
            .into_iter()
            .find(|field| field.as_str() == name.trim());
        let field = field.ok_or_else(|| {
            let names = Field::ALL.map(Field::as_str).join(", ");
            format!("expected one of {names}, found {name:?}")
        })?;
        let value = value.trim();
        if field == Field::Time && !value.is_empty() && from_rfc3339(value).is_none() {
            return Err(format!(
                "expected a time as in RFC 3339, such as 2026-01-02T03:04:05Z, found {value:?}"
            ));
        }
        let value = Some(value.to_owned()).filter(|value| !value.is_empty());
        Ok(Self { field, value })
    }
}

/// Where an event of this shape has its attributes.
enum Shape {
    Structured,
    /// In headers that begin so.
    Binary(&'static str),
    Plain,
}

/// What the attributes of a binary event begin with.
const PREFIXES: [&str; 4] = ["cloudEvents:", "cloudEvents_", "ce-", "ce_"];

fn shape(message: &Message) -> Shape {
    let media = message.content_type.as_deref().unwrap_or_default();
    let essence = media.split(';').next().unwrap_or_default().trim();
    if essence.eq_ignore_ascii_case(CLOUDEVENTS_JSON) {
        return Shape::Structured;
    }
    let is_used = |prefix: &&str| {
        let mut names = message.headers.iter().map(|(name, _)| name);
        names.any(|name| name.starts_with(prefix))
    };
    match PREFIXES.into_iter().find(is_used) {
        Some(prefix) => Shape::Binary(prefix),
        None => Shape::Plain,
    }
}

/// What cannot be set.
#[derive(Debug, thiserror::Error)]
pub(super) enum CannotSet {
    #[error("a structured CloudEvent has its `{0}` in the body: {1}")]
    InBody(&'static str, patch::NoJson),
}

/// What a field holds, as somebody would set it.
pub(super) fn get(it: &Editable, field: Field) -> String {
    let message = &it.message;
    let held = match (field, shape(message)) {
        (Field::ContentType, _) => message.content_type.clone(),
        (Field::RoutingKey, _) => Some(it.routing_key.clone()),
        (_, Shape::Structured) => {
            let body: Option<serde_json::Value> = serde_json::from_slice(&message.body).ok();
            body.and_then(|body| body.get(field.as_str())?.as_str().map(str::to_owned))
        }
        (_, Shape::Binary(prefix)) => {
            let name = format!("{prefix}{}", field.as_str());
            match message.headers.get(&name) {
                Some(HeaderValue::Text(text)) => Some(text.clone()),
                Some(HeaderValue::Time(seconds)) => Some(moment(*seconds)),
                Some(other) => Some(other.to_json().to_string()),
                None => None,
            }
        }
        (Field::Type, Shape::Plain) => message.kind.clone(),
        (Field::Source, Shape::Plain) => message.app_id.clone(),
        (Field::Id, Shape::Plain) => message.message_id.clone(),
        (Field::Time, Shape::Plain) => message.timestamp.map(moment),
    };
    held.unwrap_or_default()
}

/// Seconds since 1970 as RFC 3339; a number that is none stays one.
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
pub(super) fn set(it: &Editable, settings: &[Setting]) -> Result<Editable, CannotSet> {
    let mut it = it.clone();
    for field in Field::ALL {
        for setting in settings.iter().filter(|setting| setting.field == field) {
            set_one(&mut it, field, setting.value.clone())?;
        }
    }
    Ok(it)
}

fn set_one(it: &mut Editable, field: Field, value: Option<String>) -> Result<(), CannotSet> {
    let message = &mut it.message;
    match (field, shape(message)) {
        (Field::ContentType, _) => message.content_type = value,
        (Field::RoutingKey, _) => it.routing_key = value.unwrap_or_default(),
        (_, Shape::Structured) => {
            let change = json!({ field.as_str(): value }).to_string();
            let body = std::str::from_utf8(&message.body).unwrap_or_default();
            let body = patch::patched(body, &change)
                .map_err(|error| CannotSet::InBody(field.as_str(), error))?;
            message.body = body.into();
        }
        (_, Shape::Binary(prefix)) => {
            let name = format!("{prefix}{}", field.as_str());
            match value {
                Some(value) => message.headers.set(name, value),
                None => message.headers.remove(&name),
            }
        }
        (Field::Type, Shape::Plain) => message.kind = value,
        (Field::Source, Shape::Plain) => message.app_id = value,
        (Field::Id, Shape::Plain) => message.message_id = value,
        (Field::Time, Shape::Plain) => {
            let moment = value.as_deref().and_then(from_rfc3339);
            message.timestamp =
                moment.and_then(|moment| u64::try_from(moment.unix_timestamp()).ok());
        }
    }
    Ok(())
}

impl fmt::Display for Field {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The line in the editor between the settings and the body.
const BODY: &str = "--- body ---";

/// What the editor shows: the settings a line each, and the body.
pub(super) fn form(it: &Editable, body: &str) -> String {
    let mut form =
        String::from("# Lines that begin with # are left out. An empty value takes it away.\n");
    for field in Field::ALL {
        form.push_str(format!("{field}: {}", get(it, field)).trim_end());
        form.push('\n');
    }
    form.push_str(BODY);
    form.push('\n');
    form.push_str(body);
    form
}

/// What somebody has made of [`form`]: the settings that differ from `it`, and the body.
///
/// # Errors
/// A line says nothing that can be set.
pub(super) fn read_form<'f>(
    it: &Editable,
    form: &'f str,
) -> Result<(Vec<Setting>, &'f str), String> {
    let (head, body) = form
        .split_once(&format!("{BODY}\n"))
        .ok_or_else(|| format!("expected the line {BODY:?} before the body, found none"))?;
    let mut settings = Vec::new();
    for line in head.lines().map(str::trim) {
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let (name, value) = line
            .split_once(':')
            .ok_or_else(|| format!("expected NAME: VALUE, found {line:?}"))?;
        // What stays as it is may be what nobody could set.
        let is_held = Field::ALL
            .iter()
            .any(|field| field.as_str() == name.trim() && get(it, *field).trim() == value.trim());
        if !is_held {
            settings.push(Setting::new(name, value)?);
        }
    }
    Ok((settings, body))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn setting(text: &str) -> Setting {
        text.parse().unwrap_or_else(|error| panic!("{error}"))
    }

    fn plain() -> Editable {
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
    fn what_cannot_be_set_says_what_can() {
        for (text, word) in [
            ("type", "NAME=VALUE"),
            ("user_id=longshore", "content_type, routing_key, type"),
            ("time=yesterday", "RFC 3339"),
        ] {
            let error = text.parse::<Setting>().unwrap_err();
            assert!(error.contains(word), "{error}");
        }
    }

    #[test]
    fn the_form_gives_back_what_was_changed_in_it() {
        let it = plain();
        let form = form(&it, "{}\n");
        assert_eq!(read_form(&it, &form), Ok((Vec::new(), "{}\n")));
        let changed = form
            .replace("routing_key: signup.request", "routing_key: a.b")
            .replace("time: 1767322245000", "time:")
            .replace("{}", "[]");
        let expected = vec![setting("routing_key=a.b"), setting("time=")];
        assert_eq!(read_form(&it, &changed), Ok((expected, "[]\n")));
        assert!(read_form(&it, "{}").is_err());
        assert!(read_form(&it, &form.replace("id:", "key:")).is_err());
    }
}
