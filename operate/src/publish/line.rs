//! One line of a file of events.

use bytes::Bytes;
use common::broker::{Address, Publication};
use common::event::{CloudEvent, EventId, Publisher};
use common::message::{CLOUDEVENTS_JSON, Message};
use common::topology::Fact;
use serde_json::{Value, json};
use uuid::Uuid;

/// The source of an event that does not name one.
const SOURCE: &str = "/longshore/publish";

/// The message of one line. `user` is the broker user that publishes.
///
/// # Errors
/// What was expected and what was found.
pub(super) fn publication(
    line: &[u8],
    user: Option<&str>,
    longest: usize,
) -> Result<Publication, String> {
    let line = line.trim_ascii();
    if line.len() > longest {
        return Err(format!(
            "expected at most {longest} bytes, found {}",
            line.len()
        ));
    }
    let body = whole(line)?;
    let event: CloudEvent =
        serde_json::from_slice(&body).map_err(|error| format!("expected a CloudEvent: {error}"))?;
    event
        .check_attributes()
        .map_err(|error| error.to_string())?;
    let id = EventId::derived(&Publisher::amqp(user), &event.source, &event.id);
    // AMQP's own field holds 255 bytes; the event has its source in any case.
    let app_id = Some(event.source).filter(|source| source.len() <= 255);
    let message = Message {
        body,
        content_type: Some(CLOUDEVENTS_JSON.to_owned()),
        message_id: Some(id.to_string()),
        kind: Some(event.kind.clone()),
        app_id,
        ..Message::default()
    };
    let to = Address::Fact {
        fact: Fact::Received,
        routing_key: event.kind,
    };
    Ok(Publication { to, message })
}

/// The structured CloudEvent that a line stands for: itself, or what the short form leaves out filled in.
fn whole(line: &[u8]) -> Result<Bytes, String> {
    let mut value: Value = serde_json::from_slice(line)
        .map_err(|error| format!("expected a JSON document a line: {error}"))?;
    let Some(members) = value.as_object_mut() else {
        return Err("expected a JSON object".to_owned());
    };
    if members
        .get("data")
        .is_some_and(|data| data.get("password").is_some())
    {
        return Err(
            "expected no `password`: the broker must never hold one; send such signups \
                    over HTTP, where it is hashed"
                .to_owned(),
        );
    }
    if members.contains_key("specversion") {
        return Ok(Bytes::copy_from_slice(line));
    }
    for known in ["type", "data"] {
        if !members.contains_key(known) {
            return Err(format!(
                "expected `specversion`, or `type` and `data`; `{known}` is missing"
            ));
        }
    }
    members.entry("source").or_insert_with(|| json!(SOURCE));
    members.entry("specversion").or_insert_with(|| json!("1.0"));
    // The content is the id, so that a file published twice does not become a second set of events.
    let id = Uuid::new_v5(&Uuid::NAMESPACE_OID, line).to_string();
    members.entry("id").or_insert_with(|| json!(id));
    Ok(Bytes::from(value.to_string()))
}

#[cfg(test)]
mod tests {
    use common::event::{Limits, Logins, decode, now};

    use super::*;

    #[test]
    fn a_whole_event_is_published_byte_for_byte_and_known_by_the_same_id_again() {
        let line =
            br#"{"specversion":"1.0", "id":"7","source":"/a","type":"t.one","data":{"x": 1}}"#;
        let publication = publication(line, Some("guest"), 1000).unwrap();
        assert_eq!(publication.message.body, &line[..]);
        let mut message = publication.message;
        let logins = Logins::new(["guest"]);
        message.user_id = Some("guest".to_owned());
        let decoded = decode(&message, "t.one", &logins, Limits::default(), now()).unwrap();
        assert_eq!(message.message_id, Some(decoded.id.to_string()));
    }

    #[test]
    fn a_short_line_becomes_an_event_with_an_id_of_its_content() {
        let id = |line: &str| {
            publication(line.as_bytes(), None, 1000)
                .unwrap()
                .message
                .message_id
        };
        let line = r#"{"type":"t.one","data":{"x":1}}"#;
        assert_eq!(id(line), id(&format!("  {line}\r\n")));
        assert_ne!(id(line), id(r#"{"type":"t.one","data":{"x":2}}"#));
        assert_ne!(
            id(line),
            id(r#"{"type":"t.one","data":{"x":1},"id":"mine"}"#)
        );
    }

    #[test]
    fn what_is_no_event_says_what_was_expected() {
        let cases = [
            ("nonsense", "JSON"),
            ("[]", "object"),
            (r#"{"type":"t.one"}"#, "`data`"),
            (r#"{"data":{}}"#, "`type`"),
            (r#"{"type":"","data":{}}"#, "type"),
            (r#"{"type":"t.one","data":{},"time":"yesterday"}"#, "time"),
            (
                r#"{"specversion":"2.0","id":"1","source":"/a","type":"t"}"#,
                "specversion",
            ),
        ];
        for (line, word) in cases {
            let problem = publication(line.as_bytes(), None, 1000).unwrap_err();
            assert!(problem.contains(word), "{word} in {problem}");
        }
        let long = format!(r#"{{"type":"t.one","data":"{}"}}"#, "x".repeat(1000));
        assert!(publication(long.as_bytes(), None, 1000).is_err());
    }

    #[test]
    fn a_password_in_the_clear_does_not_reach_the_broker() {
        let line = br#"{"type":"signup.requested","data":{"password":"hunter2"}}"#;
        let problem = publication(line, None, 1000).unwrap_err();
        assert!(!problem.contains("hunter2"));
    }
}
