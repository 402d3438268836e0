//! `longshore dead show`

mod next;
mod text;

use common::bootstrap::Failure;
use common::event::EventId;
use common::reason::{Action, Cause, ReasonCode};
use common::store::{
    AttemptRecord, DeadLetter, DeadState, DeadStory, DeadSummary, DiscardRecord, Editable,
    EventStatus, Moment, Progress,
};
use serde::Serialize;
use serde_json::{Value, json};
use uuid::Uuid;

use self::next::Next;
use super::diff::diff;
use crate::app::App;
use crate::commands::explain::what_to_do;
use crate::mask;

/// A dead letter's whole story.
#[derive(Serialize)]
struct Story {
    id: Uuid,
    event: Option<EventId>,
    #[serde(rename = "type")]
    kind: Option<String>,
    source: Option<String>,
    state: DeadState,
    replay: Option<Uuid>,
    replayed_at: Option<Moment>,
    discarded: Option<DiscardRecord>,
    queue: String,
    stage: String,
    destination: Option<String>,
    reason: ReasonCode,
    cause: Cause,
    action: Action,
    summary: &'static str,
    error: String,
    fingerprint: String,
    attempts: u32,
    generation: u32,
    /// How often the message came at least.
    copies: u32,
    first_failed_at: Moment,
    last_failed_at: Moment,
    routing_key: String,
    /// As it would be sent again now.
    message: Value,
    /// Each attempt at the delivery that was recorded, of every generation.
    tried: Vec<AttemptRecord>,
    edits: Vec<Edit>,
    replays: Vec<Progress>,
    /// The other letters of its event.
    others: Vec<DeadSummary>,
    /// Where its event stands now, where the database knows it.
    event_status: Option<EventStatus>,
    what_to_do: &'static str,
    next: Vec<Next>,
}

/// A change.
#[derive(Serialize)]
struct Edit {
    at: Moment,
    who: String,
    why: Option<String>,
    /// The body before it.
    before: Value,
    /// Routing key, properties and headers before it, where it changed any.
    #[serde(skip_serializing_if = "Option::is_none")]
    envelope: Option<Value>,
    /// What it changed.
    diff: String,
}

pub(super) async fn run(app: &App, id: Uuid) -> Result<(), Failure> {
    let store = app.store()?;
    let found = async {
        let Some(story) = store.dead_story(id).await? else {
            return Err(no_such_letter(app, id));
        };
        let status = match story.letter.event {
            Some(event) => store.status(event).await?,
            None => None,
        };
        Ok(tell(story, status))
    }
    .await;
    store.close().await;
    app.output.show(&found?, text::text)
}

/// There is no letter of this id.
pub(super) fn no_such_letter(app: &App, id: Uuid) -> Failure {
    Failure::Failed(anyhow::anyhow!(
        "no dead letter {id} is kept in {}; `longshore dead list` shows those that are",
        app.config.namespace
    ))
}

fn tell(story: DeadStory, event_status: Option<EventStatus>) -> Story {
    let message = message(&story.letter);
    let edits = edits(&story);
    let next = next::next(&story.letter);
    let letter = story.letter;
    let tried = story.attempts.into_iter().map(|attempt| AttemptRecord {
        response_excerpt: attempt.response_excerpt.as_deref().map(excerpt),
        ..attempt
    });
    Story {
        id: letter.id,
        event: letter.event,
        kind: letter.kind,
        source: letter.source,
        state: letter.state,
        replay: letter.replay,
        replayed_at: story.replayed_at,
        discarded: story.discarded,
        queue: letter.queue,
        stage: letter.stage,
        destination: letter.destination,
        reason: letter.reason,
        cause: letter.reason.cause(),
        action: letter.reason.action(),
        summary: letter.reason.summary(),
        error: letter.error,
        fingerprint: story.fingerprint,
        attempts: letter.attempts,
        generation: letter.generation,
        copies: letter.copies,
        first_failed_at: Moment(letter.first_failed_at),
        last_failed_at: Moment(letter.last_failed_at),
        routing_key: letter.routing_key,
        message,
        tried: tried.collect(),
        edits,
        replays: story.replays,
        others: story.others,
        event_status,
        what_to_do: what_to_do(letter.reason),
        next,
    }
}

/// The message, secrets masked.
fn message(letter: &DeadLetter) -> Value {
    let message = &letter.message;
    let mut headers = message.headers.to_json();
    mask::mask(&mut headers);
    json!({
        "content_type": message.content_type,
        "content_encoding": message.content_encoding,
        "message_id": message.message_id,
        "correlation_id": message.correlation_id,
        "reply_to": message.reply_to,
        "type": message.kind,
        "app_id": message.app_id,
        "user_id": message.user_id,
        "cluster_id": message.cluster_id,
        "timestamp": message.timestamp,
        "priority": message.priority,
        "expiration": message.expiration,
        "headers": headers,
        "header_types": message.headers.types(),
        "body": mask::body(&message.body),
    })
}

/// Each edit with what it changed: the body after it is the one before the next.
fn edits(story: &DeadStory) -> Vec<Edit> {
    let mut after = story.letter.message.body.clone();
    let mut envelope_after = Editable::from(&story.letter).envelope();
    let mut told = Vec::with_capacity(story.edits.len());
    for edit in story.edits.iter().rev() {
        let mut differences = String::new();
        let mut masked = edit.envelope.clone();
        if let Some(before) = &edit.envelope {
            let texts = [before, &envelope_after].map(Value::to_string);
            differences.push_str(&diff(texts[0].as_bytes(), texts[1].as_bytes()));
            envelope_after.clone_from(before);
        }
        if edit.before != after || edit.envelope.is_none() {
            differences.push_str(&diff(&edit.before, &after));
        }
        if let Some(envelope) = &mut masked {
            mask::mask(envelope);
        }
        after.clone_from(&edit.before);
        told.push(Edit {
            at: edit.at,
            who: edit.who.clone(),
            why: edit.why.clone(),
            before: mask::body(&edit.before),
            envelope: masked,
            diff: differences,
        });
    }
    told.reverse();
    told
}

/// The beginning of a receiver's answer, secrets masked.
fn excerpt(answer: &str) -> String {
    match mask::body(answer.as_bytes()) {
        Value::String(text) => text,
        json => json.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use common::event::now;
    use common::store::EditRecord;

    use super::*;
    use operate::testbed;

    fn story() -> DeadStory {
        let mut letter = testbed::letter("longshore.integrate.crm");
        letter
            .message
            .headers
            .set("authorization", "Bearer hunter2");
        DeadStory {
            fingerprint: "expected a #xx, found #".to_owned(),
            replayed_at: None,
            discarded: None,
            attempts: vec![AttemptRecord {
                generation: 0,
                attempt: 1,
                started_at: Moment(now()),
                duration_ms: 1234,
                status_code: Some(500),
                error: Some("expected a 2xx, found 500".to_owned()),
                response_excerpt: Some(r#"{"token":"hunter2","hint":"no locale"}"#.to_owned()),
            }],
            others: Vec::new(),
            edits: vec![EditRecord {
                at: Moment(now()),
                who: "cli:ada".to_owned(),
                why: Some("CRM wants a locale".to_owned()),
                before: br#"{"data":{"password_hash":"hunter2","plan":"old"}}"#[..].into(),
                envelope: Some(json!({
                    "routing_key": "signup.request", "headers": {"cookie": "hunter2"},
                })),
            }],
            replays: Vec::new(),
            letter,
        }
    }

    #[test]
    fn the_whole_story_is_told_and_no_secret_with_it() {
        let story = story();
        let letter = story.letter.clone();
        let story = tell(story, None);
        let json = serde_json::to_string(&story).unwrap();
        for told in [text::text(&story), json] {
            assert!(!told.contains("hunter2"), "{told}");
            for part in [
                &letter.id.to_string(),
                "integrate.crm",
                "receiver_failing",
                "found 500",
                "no locale",
                "cli:ada",
                "CRM wants a locale",
                "old",
                "signup.request",
            ] {
                assert!(told.contains(part), "{part} in {told}");
            }
        }
        let told = text::text(&story);
        for part in ["1.234s", "-    \"plan\": \"old\"", "dead replay"] {
            assert!(told.contains(part), "{part} in {told}");
        }
    }
}
