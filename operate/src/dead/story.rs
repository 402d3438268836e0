//! A dead letter's whole story, secrets masked.

use common::event::EventId;
use common::reason::{Action, Cause, ReasonCode};
use common::store::{
    AttemptRecord, DeadLetter, DeadState, DeadStory, DeadSummary, DiscardRecord, Editable,
    EventStatus, Moment, Progress, Store, StoreError,
};
use serde::Serialize;
use serde_json::{Value, json};
use uuid::Uuid;

use super::step::{Step, steps};
use crate::diff::diff;
use crate::mask;

/// A dead letter's whole story.
#[derive(Debug, Serialize)]
pub struct Story {
    /// Its id.
    pub id: Uuid,
    /// Its event, where the message is one.
    pub event: Option<EventId>,
    /// The event's type.
    #[serde(rename = "type")]
    pub kind: Option<String>,
    /// The event's source.
    pub source: Option<String>,
    /// What has been done about it.
    pub state: DeadState,
    /// The replay that has claimed it last.
    pub replay: Option<Uuid>,
    /// When it was sent again.
    pub replayed_at: Option<Moment>,
    /// Who gave it up, and why.
    pub discarded: Option<DiscardRecord>,
    /// The queue it died in.
    pub queue: String,
    /// The stage that gave up.
    pub stage: String,
    /// The destination it was on its way to.
    pub destination: Option<String>,
    /// Why it died.
    pub reason: ReasonCode,
    /// Whose doing that is.
    pub cause: Cause,
    /// What to do first.
    pub action: Action,
    /// The reason in a sentence.
    pub summary: &'static str,
    /// What was expected and what was found.
    pub error: String,
    /// What the error has in common with others of its kind.
    pub fingerprint: String,
    /// Attempts that were made.
    pub attempts: u32,
    /// How often it was replayed before it died.
    pub generation: u32,
    /// How often the message came at least.
    pub copies: u32,
    /// When the first attempt failed.
    pub first_failed_at: Moment,
    /// When it died.
    pub last_failed_at: Moment,
    /// The message's routing key.
    pub routing_key: String,
    /// As it would be sent again now.
    pub message: Value,
    /// Each attempt at the delivery that was recorded, of every generation.
    pub tried: Vec<AttemptRecord>,
    /// The changes of it, the oldest first.
    pub edits: Vec<Edit>,
    /// The replays that have sent it.
    pub replays: Vec<Progress>,
    /// The other letters of its event.
    pub others: Vec<DeadSummary>,
    /// Where its event stands now, where the database knows it.
    pub event_status: Option<EventStatus>,
    /// What to do, at length.
    pub what_to_do: &'static str,
    /// What can be done, the likeliest first.
    #[serde(skip)]
    pub steps: Vec<Step>,
}

/// A change.
#[derive(Debug, Serialize)]
pub struct Edit {
    /// When it was made.
    pub at: Moment,
    /// Who made it.
    pub who: String,
    /// Why.
    pub why: Option<String>,
    /// The body before it.
    pub before: Value,
    /// Routing key, properties and headers before it, where it changed any.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub envelope: Option<Value>,
    /// What it changed.
    pub diff: String,
}

/// The story of a letter; `None` where none is kept of this id.
///
/// # Errors
/// The database cannot say.
pub async fn story(store: &dyn Store, id: Uuid) -> Result<Option<Story>, StoreError> {
    let Some(story) = store.dead_story(id).await? else {
        return Ok(None);
    };
    let status = match story.letter.event {
        Some(event) => store.status(event).await?,
        None => None,
    };
    Ok(Some(Story::of(story, status)))
}

impl Story {
    /// The story as it may be shown. `event_status` is where its event stands.
    pub fn of(story: DeadStory, event_status: Option<EventStatus>) -> Self {
        let message = message(&story.letter);
        let edits = edits(&story);
        let steps = steps(&story.letter);
        let letter = story.letter;
        let tried = story.attempts.into_iter().map(|attempt| AttemptRecord {
            response_excerpt: attempt.response_excerpt.as_deref().map(excerpt),
            ..attempt
        });
        Self {
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
            steps,
        }
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

/// The "What to do" section of a code's page.
fn what_to_do(code: ReasonCode) -> &'static str {
    let page = code.page();
    let Some((_, after)) = page.split_once("## What to do") else {
        return page;
    };
    after.split("\n## ").next().unwrap_or(after).trim()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testbed;
    use common::store::DeadLetters as _;

    #[test]
    fn every_page_says_what_to_do() {
        for &code in ReasonCode::ALL {
            let text = what_to_do(code);
            assert!(!text.is_empty() && !text.contains("## "), "{code}: {text}");
        }
    }

    #[tokio::test]
    async fn a_letter_that_is_not_kept_has_no_story() {
        let store = testbed::store().await;
        let letter = testbed::letter("longshore.store");
        assert!(story(&store, letter.id).await.unwrap().is_none());
        store
            .keep_dead(std::slice::from_ref(&letter))
            .await
            .unwrap();
        let story = story(&store, letter.id).await.unwrap().unwrap();
        assert_eq!((story.id, story.event), (letter.id, letter.event));
    }

    #[test]
    fn no_secret_is_told() {
        let story = Story::of(testbed::story(), None);
        let told = serde_json::to_string(&story).unwrap();
        assert!(!told.contains("hunter2"), "{told}");
        for part in [
            "no locale",
            "cli:ada",
            "CRM wants a locale",
            "signup.request",
        ] {
            assert!(told.contains(part), "{part} in {told}");
        }
        assert!(story.edits[0].diff.contains("-    \"plan\": \"old\""));
    }
}
