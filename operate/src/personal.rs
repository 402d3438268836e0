//! Masking personal data in what viewers read: e-mail addresses anywhere, and values whose names say that they are about a
//! person.

use common::event::secrets::MASK;
use common::store::{AuditEntry, DeadSummary, Progress};
use serde_json::Value;
use serde_json::value::{RawValue, to_raw_value};

use crate::dead::Story;
use crate::events::Found;
use crate::page::List;
use crate::roles::Requester;

/// A document that may hold personal data.
pub trait Personal {
    /// Masks it.
    fn mask(&mut self);
}

impl Requester {
    /// A document as the operator may read it.
    pub fn reads<T: Personal>(&self, mut document: T) -> T {
        if self.reads_masked() {
            document.mask();
        }
        document
    }
}

impl<T: Personal> Personal for Option<T> {
    fn mask(&mut self) {
        self.iter_mut().for_each(T::mask);
    }
}

impl<T: Personal> Personal for Vec<T> {
    fn mask(&mut self) {
        self.iter_mut().for_each(T::mask);
    }
}

impl<T: Personal> Personal for List<T> {
    fn mask(&mut self) {
        self.items.mask();
    }
}

impl Personal for DeadSummary {
    fn mask(&mut self) {
        self.error = mask_text(&self.error);
    }
}

impl Personal for Progress {
    fn mask(&mut self) {
        mask_option(&mut self.filter.text);
        mask_option(&mut self.why);
        mask_option(&mut self.report.waiting_for);
        mask_option(&mut self.report.why_stopped);
    }
}

/// Its hash is that of the entry as it is kept.
impl Personal for AuditEntry {
    fn mask(&mut self) {
        self.target = mask_text(&self.target);
        mask_option(&mut self.why);
        for facts in [&mut self.before, &mut self.after] {
            *facts = facts.as_deref().and_then(masked_facts);
        }
    }
}

fn masked_facts(facts: &RawValue) -> Option<Box<RawValue>> {
    let mut value = serde_json::from_str(facts.get()).ok()?;
    mask_addresses(&mut value);
    to_raw_value(&value).ok()
}

fn mask_option(text: &mut Option<String>) {
    *text = text.as_deref().map(mask_text);
}

/// Fields about a person, in lower case and without separators.
const ABOUT_A_PERSON: [&str; 18] = [
    "address",
    "birthdate",
    "birthday",
    "city",
    "dateofbirth",
    "email",
    "familyname",
    "firstname",
    "fullname",
    "givenname",
    "lastname",
    "mobile",
    "name",
    "phone",
    "phonenumber",
    "street",
    "surname",
    "username",
];

/// The text in the place of a difference that a viewer may not see.
const HIDDEN: &str = "(viewers do not see what an edit changed)";

/// A text with `***` in the place of each e-mail address.
pub fn mask_text(text: &str) -> String {
    let mut masked = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('@') {
        let (before, after) = (&rest[..at], &rest[at + 1..]);
        let local = before.len() - length_of(before.chars().rev());
        let domain = length_of(after.chars());
        if local < before.len() && domain > 0 {
            masked.push_str(&before[..local]);
            masked.push_str(MASK);
        } else {
            masked.push_str(&rest[..at + 1 + domain]);
        }
        rest = &after[domain..];
    }
    masked.push_str(rest);
    masked
}

/// How many bytes of these characters may be a part of an address.
fn length_of(characters: impl Iterator<Item = char>) -> usize {
    let is_part = |it: &char| it.is_alphanumeric() || "._%+-!#$&'*/=?^`{|}~".contains(*it);
    characters.take_while(is_part).map(char::len_utf8).sum()
}

/// Masks personal data in a document about an event or a letter: e-mail addresses in every text.
pub fn mask_addresses(value: &mut Value) {
    match value {
        Value::Object(members) => members.values_mut().for_each(mask_addresses),
        Value::Array(items) => items.iter_mut().for_each(mask_addresses),
        Value::String(text) => *text = mask_text(text),
        _ => {}
    }
}

/// Masks personal data in a body: e-mail addresses, and fields about a person.
pub fn mask_body(value: &mut Value) {
    match value {
        Value::Object(members) => {
            for (name, member) in members {
                if is_about_a_person(name) && !member.is_null() {
                    *member = Value::from(MASK);
                } else {
                    mask_body(member);
                }
            }
        }
        Value::Array(items) => items.iter_mut().for_each(mask_body),
        Value::String(text) => *text = mask_body_text(text),
        _ => {}
    }
}

/// A body that is not JSON may name a person anywhere.
fn mask_body_text(text: &str) -> String {
    match serde_json::from_str::<Value>(text) {
        Ok(mut inner @ (Value::Object(_) | Value::Array(_))) => {
            mask_body(&mut inner);
            inner.to_string()
        }
        _ => mask_text(text),
    }
}

fn is_about_a_person(name: &str) -> bool {
    let plain: String = name
        .chars()
        .filter(char::is_ascii_alphanumeric)
        .map(|it| it.to_ascii_lowercase())
        .collect();
    ABOUT_A_PERSON.contains(&plain.as_str())
}

impl Personal for Story {
    fn mask(&mut self) {
        mask_addresses(&mut self.message);
        if let Some(body) = self.message.get_mut("body") {
            hide_body(body);
        }
        self.error = mask_text(&self.error);
        for attempt in &mut self.tried {
            mask_option(&mut attempt.error);
            attempt.response_excerpt = attempt.response_excerpt.as_deref().map(mask_body_text);
        }
        for edit in &mut self.edits {
            hide_body(&mut edit.before);
            if let Some(envelope) = &mut edit.envelope {
                mask_addresses(envelope);
            }
            mask_option(&mut edit.why);
            HIDDEN.clone_into(&mut edit.diff);
        }
        for other in &mut self.others {
            other.error = mask_text(&other.error);
        }
        if let Some(discarded) = &mut self.discarded {
            discarded.why = mask_text(&discarded.why);
        }
        self.replays.mask();
        if let Some(status) = self.event_status.take() {
            self.event_status = Some(status.public());
        }
    }
}

/// A body as viewers read it: one that is not JSON is hidden as a whole.
fn hide_body(body: &mut Value) {
    match body {
        Value::String(text) => *body = Value::from(format!("{MASK} ({} bytes)", text.len())),
        other => mask_body(other),
    }
}

impl Personal for Found {
    fn mask(&mut self) {
        for delivery in &mut self.status.deliveries {
            mask_option(&mut delivery.error);
        }
        if let Some(stored) = &mut self.stored {
            mask_body(&mut stored.event);
        }
    }
}

#[cfg(test)]
mod tests {
    use common::store::{
        Audit as _, AuditAction, AuditFilter, AuditPage, DeadFilter, Operation, OperationKind,
        Operations as _, Role,
    };
    use serde_json::json;
    use uuid::Uuid;

    use super::*;
    use crate::testbed;

    #[test]
    fn addresses_are_masked_wherever_they_stand() {
        for (text, masked) in [
            ("ada@example.com", "***"),
            ("<ada.l+x@example.com>, b@c", "<***>, ***"),
            (
                "no address @ all, @home or ada@",
                "no address @ all, @home or ada@",
            ),
            ("ünï@exämple.com!", "***"),
            ("a@b@c", "***@c"),
            ("", ""),
        ] {
            assert_eq!(mask_text(text), masked, "{text}");
        }
    }

    #[test]
    fn fields_about_a_person_are_masked_at_any_depth_of_a_body() {
        let mut body = json!({
            "data": {"Email": "ada", "first_name": "Ada", "plan": "pro", "name": null},
            "list": [{"phone": {"home": 7}}],
            "text": "{\"name\":\"Ada\"}",
        });
        mask_body(&mut body);
        let expected = json!({
            "data": {"Email": "***", "first_name": "***", "plan": "pro", "name": null},
            "list": [{"phone": "***"}],
            "text": "{\"name\":\"***\"}",
        });
        assert_eq!(body, expected);
    }

    #[test]
    fn a_story_for_viewers_names_nobody() {
        let mut story = testbed::story();
        story.letter.message.body =
            br#"{"data":{"email":"ada@example.com","name":"Lovelace","plan":"pro"}}"#[..].into();
        story.letter.error = "ada@example.com is refused".to_owned();
        story.edits[0].why = Some("ada@example.com asked".to_owned());
        story.edits[0].before = b"Lovelace as text"[..].into();
        story.attempts[0].response_excerpt = Some("no ada@example.com".to_owned());
        let mut story = Story::of(story, None);
        story.mask();
        let told = serde_json::to_string(&story).unwrap();
        for personal in ["ada@", "Lovelace"] {
            assert!(!told.contains(personal), "{told}");
        }
        for part in ["pro", "is refused", "receiver_failing"] {
            assert!(told.contains(part), "{part} in {told}");
        }
    }

    #[tokio::test]
    async fn an_operation_and_its_audit_entry_name_nobody_to_viewers() {
        let store = testbed::store().await;
        let why = || Some("ada@example.com asked".to_owned());
        let mut by = testbed::requester();
        let mut act = by.act(AuditAction::OperationBegin, "ada@example.com");
        act.why = why();
        act.after = Some(json!({"text": "ada@example.com"}));
        let operation = Operation {
            id: Uuid::now_v7(),
            kind: OperationKind::Replay,
            filter: DeadFilter {
                text: why(),
                ..DeadFilter::default()
            },
            to_queue: None,
            act,
            rate: None,
            stop_when: None,
            slice: None,
            new_ids: false,
            resumes: None,
        };
        store.begin_operation(&operation).await.unwrap();
        let page = AuditPage {
            before: None,
            limit: 10,
        };
        for (role, is_named) in [(Role::Operator, true), (Role::Viewer, false)] {
            by.actor.role = Some(role);
            let progress = store.operation(operation.id).await.unwrap();
            let entries = store.audit_page(&AuditFilter::default(), page).await;
            let progress = serde_json::to_string(&by.reads(progress)).unwrap();
            let entries = serde_json::to_string(&by.reads(entries.unwrap())).unwrap();
            for told in [&progress, &entries] {
                assert_eq!(told.contains("ada@"), is_named, "{told}");
                assert!(told.contains("asked"), "{told}");
            }
        }
    }
}
