//! `longshore dead show`

use common::bootstrap::Failure;
use common::reason::{Cause, ReasonCode};
use common::store::{DeadLetter, DeadState, EventStatus, Moment};
use serde::Serialize;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::app::App;
use crate::commands::events::state;
use crate::commands::explain::what_to_do;
use crate::mask;
use crate::output::{moment, pairs};

/// A dead letter's whole story.
#[derive(Serialize)]
struct Story {
    id: Uuid,
    event: Option<common::event::EventId>,
    #[serde(rename = "type")]
    kind: Option<String>,
    source: Option<String>,
    state: DeadState,
    replay: Option<Uuid>,
    queue: String,
    stage: String,
    destination: Option<String>,
    reason: ReasonCode,
    cause: Cause,
    summary: &'static str,
    error: String,
    attempts: u32,
    generation: u32,
    first_failed_at: Moment,
    last_failed_at: Moment,
    routing_key: String,
    message: Value,
    /// Where its event stands now, where the database knows it.
    event_status: Option<EventStatus>,
    what_to_do: &'static str,
}

pub(super) async fn run(app: &App, id: Uuid) -> Result<(), Failure> {
    let store = app.store()?;
    let found = async {
        let letter = store.dead_letter(id).await?;
        let event = letter.as_ref().and_then(|letter| letter.event);
        let status = match event {
            Some(event) => store.status(event).await?,
            None => None,
        };
        Ok::<_, Failure>(letter.map(|letter| tell(letter, status)))
    }
    .await;
    store.close().await;
    match found? {
        Some(story) => app.output.show(&story, text),
        None => Err(Failure::Failed(anyhow::anyhow!(
            "no dead letter {id} is kept in {}; `longshore dead list` shows those that are",
            app.config.namespace
        ))),
    }
}

fn tell(letter: DeadLetter, event_status: Option<EventStatus>) -> Story {
    let message = &letter.message;
    let mut headers = message.headers.to_json();
    mask::mask(&mut headers);
    let message = json!({
        "content_type": message.content_type,
        "message_id": message.message_id,
        "type": message.kind,
        "app_id": message.app_id,
        "user_id": message.user_id,
        "timestamp": message.timestamp,
        "headers": headers,
        "body": mask::body(&message.body),
    });
    Story {
        id: letter.id,
        event: letter.event,
        kind: letter.kind,
        source: letter.source,
        state: letter.state,
        replay: letter.replay,
        queue: letter.queue,
        stage: letter.stage,
        destination: letter.destination,
        reason: letter.reason,
        cause: letter.reason.cause(),
        summary: letter.reason.summary(),
        error: letter.error,
        attempts: letter.attempts,
        generation: letter.generation,
        first_failed_at: Moment(letter.first_failed_at),
        last_failed_at: Moment(letter.last_failed_at),
        routing_key: letter.routing_key,
        message,
        event_status,
        what_to_do: what_to_do(letter.reason),
    }
}

fn text(story: &Story) -> String {
    let id = |id: Option<Uuid>| id.map(|id| id.to_string()).unwrap_or_default();
    let event_stands = story
        .event_status
        .as_ref()
        .map(|status| status.status.to_owned());
    let mut text = pairs([
        ("dead letter", story.id.to_string()),
        ("state", state(&story.state)),
        ("replay", id(story.replay)),
        ("event", id(story.event.map(common::event::EventId::uuid))),
        ("event is", event_stands.unwrap_or_default()),
        ("type", story.kind.clone().unwrap_or_default()),
        ("source", story.source.clone().unwrap_or_default()),
        ("died in", story.queue.clone()),
        ("routing key", story.routing_key.clone()),
        ("reason", format!("{}: {}", story.reason, story.summary)),
        ("whose doing", story.cause.as_str().to_owned()),
        ("error", story.error.clone()),
        ("attempts", story.attempts.to_string()),
        ("generation", story.generation.to_string()),
        ("first failed", moment(story.first_failed_at.0)),
        ("last failed", moment(story.last_failed_at.0)),
    ]);
    let message = serde_json::to_string_pretty(&story.message).unwrap_or_default();
    text.push_str(&format!(
        "\nThe message\n\n{message}\n\nWhat to do\n\n{}\n",
        story.what_to_do
    ));
    if story.state == DeadState::Open {
        text.push_str(&format!(
            "\nTo send it again: longshore dead replay {}\n",
            story.id
        ));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fakes;

    #[test]
    fn the_whole_story_is_told_and_no_secret_with_it() {
        let mut letter = fakes::letter("longshore.integrate.crm");
        letter
            .message
            .headers
            .set("authorization", "Bearer hunter2");
        let story = tell(letter.clone(), None);
        let json = serde_json::to_string(&story).unwrap();
        for told in [text(&story), json] {
            assert!(!told.contains("hunter2"), "{told}");
            for part in [
                &letter.id.to_string(),
                "integrate.crm",
                "receiver_failing",
                "found 500",
            ] {
                assert!(told.contains(part), "{part} in {told}");
            }
        }
        assert!(text(&story).contains("longshore dead replay"));
    }
}
