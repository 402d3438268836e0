//! The key by which an ordered destination keeps events in order.

use std::borrow::Cow;

use serde_json::value::RawValue;
use uuid::Uuid;

use super::json::Wrong;
use super::{MEMBERS, Member, members, name_based};

/// The extension of CloudEvents that names the key.
/// <https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/extensions/partitioning.md>
const PARTITION_KEY: &str = "partitionkey";

/// What the events have in common that an ordered destination gets one after the other. A UUID of version 5: it tells nobody the
/// text that it was made of, and is of one length.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct OrderKey(pub Uuid);

impl OrderKey {
    /// The key of this text.
    pub fn named(text: &str) -> Self {
        Self(name_based(&[b"order", text.as_bytes()]))
    }

    /// The key of a canonical event: its extension `partitionkey`, else its `subject`. `None` for one that has neither.
    ///
    /// # Errors
    /// It is not an event.
    pub fn of(event: &[u8]) -> Result<Option<Self>, Wrong> {
        let mut subject = None;
        for (member, raw) in members(event)? {
            match member {
                Member::Extension(name) if name == PARTITION_KEY => {
                    if let Some(text) = text(raw) {
                        return Ok(Some(Self::named(&text)));
                    }
                }
                Member::Own(place) if MEMBERS.get(place) == Some(&"subject") => subject = text(raw),
                Member::Own(_) | Member::Extension(_) => {}
            }
        }
        Ok(subject.map(|text| Self::named(&text)))
    }
}

/// A text, or a number or a boolean as it is written. Nothing for what says nothing.
fn text(raw: &RawValue) -> Option<Cow<'_, str>> {
    let raw = raw.get();
    let text = match raw.starts_with('"') {
        true => serde_json::from_str::<String>(raw).map_or(Cow::Borrowed(raw), Cow::Owned),
        false => Cow::Borrowed(raw),
    };
    (!text.is_empty() && text != "null").then_some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(members: &str) -> Option<OrderKey> {
        let event =
            format!(r#"{{"specversion":"1.0","id":"1","source":"/shop","type":"a.b"{members}}}"#);
        OrderKey::of(event.as_bytes()).unwrap()
    }

    #[test]
    fn the_partition_key_comes_before_the_subject() {
        let named = |text| Some(OrderKey::named(text));
        assert_eq!(key(r#","subject":"s","partitionkey":"p""#), named("p"));
        assert_eq!(key(r#","partitionkey":"p","subject":"s""#), named("p"));
        assert_eq!(key(r#","subject":"s""#), named("s"));
        // However it is written.
        assert_eq!(key(r#","subject":"\u0073""#), named("s"));
        assert_eq!(key(r#","partitionkey":7"#), named("7"));
        assert_ne!(named("s"), named("p"));
    }

    #[test]
    fn an_event_without_either_has_none() {
        for members in [
            "",
            r#","partitionkey":"""#,
            r#","subject":null"#,
            r#","data":{"subject":"s"}"#,
        ] {
            assert_eq!(key(members), None, "{members}");
        }
        assert!(OrderKey::of(b"[]").is_err());
    }
}
