//! An event as a template sees it: its own members.

use std::collections::BTreeMap;

use common::confirmation::ConfirmationLinks;
use common::event::json::{self, Wrong};
use common::event::{
    EVENT_ID, EXTENSIONS, EventId, MEMBERS, Member, SIGNUP_REQUESTED, members, now,
};
use common::outcome::Failure;
use common::reason::ReasonCode;
use minijinja::Value;
use serde_json::value::RawValue;

use super::number;

/// The member that is a link, in events of type `signup.requested`.
pub(in crate::integrate) const LINK: &str = "confirmation_url";

/// What a template can name: the members of an event, and [`LINK`] of a signup.
///
/// # Errors
/// It is not an event, or no link can be made.
pub(in crate::integrate) fn values(
    event: &[u8],
    id: Option<EventId>,
    confirmations: Option<&ConfirmationLinks>,
) -> Result<Value, Failure> {
    let mut known = read(event, id).map_err(|error| {
        let (Wrong::Malformed(error) | Wrong::Kind(error)) = error;
        Failure::new(
            ReasonCode::Undecodable,
            format!("no canonical event: {error}"),
        )
    })?;
    if let Some((confirmations, (signup, email))) = confirmations.zip(signup(&known, id)) {
        let link = confirmations.link(signup, &email, now());
        let link =
            link.map_err(|error| Failure::new(ReasonCode::TemplateFailed, error.to_string()))?;
        known.insert(LINK.to_owned(), link.into());
    }
    Ok(Value::from_object(known))
}

/// The signup that an event is, and its address.
fn signup(members: &BTreeMap<String, Value>, id: Option<EventId>) -> Option<(EventId, String)> {
    if members.get("type")?.as_str()? != SIGNUP_REQUESTED {
        return None;
    }
    let email = members.get("data")?.get_attr("email").ok()?;
    Some((id?, email.as_str()?.to_owned()))
}

/// The members of an event by its text: `id`, `source`, `type`, `time`, `subject`, `datacontenttype`, `dataschema`, `data`
/// (`data_base64` of a binary event), and `extensions`, an object. Beside them `event_id`, our own id of it, if it has one.
///
/// # Errors
/// It is not an event.
fn read(event: &[u8], id: Option<EventId>) -> Result<BTreeMap<String, Value>, Wrong> {
    let mut known = BTreeMap::new();
    if let Some(id) = id {
        known.insert(EVENT_ID.to_owned(), Value::from(id.to_string()));
    }
    let mut extensions = BTreeMap::new();
    for (member, raw) in members(event)? {
        let value = value(raw)?;
        match member {
            Member::Own(place) => known.insert(MEMBERS[place].to_owned(), value),
            Member::Extension(name) => extensions.insert(name, value),
        };
    }
    known.insert(EXTENSIONS.to_owned(), Value::from_object(extensions));
    Ok(known)
}

/// A value of JSON, with its numbers as they were sent.
fn value(raw: &RawValue) -> Result<Value, Wrong> {
    // It says whether the text is right, so the reader need not.
    json::value(raw.get().as_bytes())?;
    let mut reader = Reader {
        text: raw.get(),
        at: 0,
    };
    reader
        .value(0)
        .ok_or_else(|| Wrong::Malformed("expected JSON".to_owned()))
}

/// Reads JSON that is known to be right, once from front to back.
struct Reader<'t> {
    text: &'t str,
    at: usize,
}

impl Reader<'_> {
    fn value(&mut self, depth: usize) -> Option<Value> {
        if depth > json::MAX_DEPTH {
            return None;
        }
        match self.peek()? {
            b'{' => self.object(depth),
            b'[' => self.array(depth),
            b'"' => self.string().map(Value::from),
            _ => self.word(),
        }
    }

    fn object(&mut self, depth: usize) -> Option<Value> {
        let mut members = BTreeMap::new();
        self.at += 1;
        loop {
            match self.peek()? {
                b'}' => {
                    self.at += 1;
                    return Some(Value::from_object(members));
                }
                b',' => self.at += 1,
                _ => {
                    let name = self.string()?;
                    self.peek().filter(|byte| *byte == b':')?;
                    self.at += 1;
                    members.insert(name, self.value(depth + 1)?);
                }
            }
        }
    }

    fn array(&mut self, depth: usize) -> Option<Value> {
        let mut values = Vec::new();
        self.at += 1;
        loop {
            match self.peek()? {
                b']' => {
                    self.at += 1;
                    return Some(Value::from(values));
                }
                b',' => self.at += 1,
                _ => values.push(self.value(depth + 1)?),
            }
        }
    }

    fn string(&mut self) -> Option<String> {
        self.peek().filter(|byte| *byte == b'"')?;
        let rest = self.text.as_bytes().get(self.at..)?;
        let mut end = 1;
        while *rest.get(end)? != b'"' {
            end += if rest[end] == b'\\' { 2 } else { 1 };
        }
        let written = self.text.get(self.at..=self.at + end)?;
        self.at += end + 1;
        serde_json::from_str(written).ok()
    }

    /// A number, a truth value or null.
    fn word(&mut self) -> Option<Value> {
        let rest = self.text.get(self.at..)?;
        let is_end = |c: char| c.is_ascii_whitespace() || [',', ']', '}'].contains(&c);
        let word = &rest[..rest.find(is_end).unwrap_or(rest.len())];
        self.at += word.len();
        match word {
            "" => None,
            "null" => Some(Value::from(())),
            "true" => Some(Value::from(true)),
            "false" => Some(Value::from(false)),
            number => Some(number::value(number)),
        }
    }

    /// The next byte that is not white space.
    fn peek(&mut self) -> Option<u8> {
        let rest = self.text.as_bytes().get(self.at..)?;
        self.at += rest.iter().position(|byte| !byte.is_ascii_whitespace())?;
        self.text.as_bytes().get(self.at).copied()
    }
}

#[cfg(test)]
mod tests {
    use common::config::load_from;
    use proptest::prelude::*;
    use serde_json::json;

    use super::super::json::text;
    use super::*;

    #[test]
    fn a_template_sees_the_members_of_an_event() {
        let event = r#"{"specversion":"1.0","id":"7","source":"/shop","type":"a.b","time":"2026-01-02T03:04:05Z",
            "subject":"s","shop":"x","tries":3,"data":{"total":1234567890123456.78,"lines":[1.0,null,"}"]}}"#;
        let members = values(event.as_bytes(), None, None).unwrap();
        let json: serde_json::Value = serde_json::from_str(&text(&members).unwrap()).unwrap();
        for (name, value) in [
            ("id", json!("7")),
            ("source", json!("/shop")),
            ("type", json!("a.b")),
            ("time", json!("2026-01-02T03:04:05Z")),
            ("subject", json!("s")),
            ("extensions", json!({"shop": "x", "tries": 3})),
        ] {
            assert_eq!(json[name], value, "{name}");
        }
        let data = text(&members.get_attr("data").unwrap()).unwrap();
        assert!(
            data.contains("1234567890123456.78") && data.contains("[1.0,null,\"}\"]"),
            "{data}"
        );
        assert!(members.get_attr("specversion").unwrap().is_undefined());
    }

    #[test]
    fn a_signup_has_a_link_where_links_are_made() {
        let variables = [
            ("LONGSHORE__CONFIRMATION__URL", "https://shop.example.com"),
            ("LONGSHORE__CONFIRMATION__SECRET", "0123456789abcdef"),
        ];
        let variables = variables.map(|(name, value)| (name.to_owned(), value.to_owned()));
        let links = ConfirmationLinks::of(&load_from(variables).unwrap()).unwrap();
        let id = EventId::born();
        let link = |event: serde_json::Value, id, links| {
            let values = values(event.to_string().as_bytes(), id, links).unwrap();
            let link = values.get_attr(LINK).unwrap();
            link.as_str().map(str::to_owned)
        };
        let signup = json!({"type": SIGNUP_REQUESTED, "data": {"email": "Ada@example.com"}});
        let made = link(signup.clone(), Some(id), Some(&links)).unwrap();
        let token = made
            .strip_prefix("https://shop.example.com/confirm/")
            .unwrap();
        let confirmation = links.read(token, now()).unwrap();
        assert_eq!(
            (confirmation.signup, &*confirmation.email),
            (id, "Ada@example.com")
        );
        let other = json!({"type": "a.b", "data": {"email": "ada@example.com"}});
        let without = json!({"type": SIGNUP_REQUESTED, "data": {}});
        for (event, id, links) in [
            (signup.clone(), Some(id), None),
            (signup, None, Some(&links)),
            (other, Some(id), Some(&links)),
            (without, Some(id), Some(&links)),
        ] {
            assert_eq!(link(event, id, links), None);
        }
    }

    #[test]
    fn what_is_no_event_has_no_members() {
        for bad in [
            "",
            "[]",
            "{",
            "{\"a\":1,\"a\":2}",
            "{\"data\":{\"a\":1,\"a\":2}}",
            "null",
        ] {
            assert!(values(bad.as_bytes(), None, None).is_err(), "{bad}");
        }
    }

    fn any_json() -> impl Strategy<Value = serde_json::Value> {
        let leaf = prop_oneof![
            Just(json!(null)),
            any::<bool>().prop_map(|it| json!(it)),
            any::<i64>().prop_map(|it| json!(it)),
            any::<u64>().prop_map(|it| json!(it)),
            any::<f64>().prop_map(|it| json!(it)),
            any::<String>().prop_map(|it| json!(it)),
        ];
        leaf.prop_recursive(5, 40, 5, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..5).prop_map(|it| json!(it)),
                prop::collection::btree_map(any::<String>(), inner, 0..5).prop_map(|it| json!(it)),
            ]
        })
    }

    proptest! {
        #[test]
        fn data_comes_out_as_it_went_in(data in any_json()) {
            let event = json!({"data": data, "n": 1});
            for written in [event.to_string(), serde_json::to_string_pretty(&event).unwrap()] {
                let members = values(written.as_bytes(), None, None).unwrap();
                let out = text(&members.get_attr("data").unwrap()).unwrap();
                let out: serde_json::Value = serde_json::from_str(&out).unwrap();
                prop_assert_eq!(&out, &data);
            }
        }

        #[test]
        fn no_text_makes_it_panic(text in ".{0,60}") {
            let _ = values(text.as_bytes(), None, None);
            let _ = values(format!("{{\"data\":{text}}}").as_bytes(), None, None);
        }
    }
}
