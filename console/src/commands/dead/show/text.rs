//! A dead letter's story as people read it.

use std::time::Duration;

use common::store::{AttemptRecord, DeadSummary, Progress};
use operate::dead::{Edit, Story};
use operate::words::moment;
use uuid::Uuid;

use super::Shown;
use crate::output::{clean, pairs, table};

/// Maximum length of an answer that is shown beside its attempt, in characters; the JSON form has all of it.
const LONGEST_ANSWER: usize = 200;

pub(super) fn text(shown: &Shown) -> String {
    let Shown { story, next } = shown;
    let mut text = head(story);
    let mut section = |title: &str, body: String| {
        if !body.is_empty() {
            text.push_str(&format!("\n{title}\n\n{}\n", body.trim_end()));
        }
    };
    section("Attempts", attempts(&story.tried));
    section("Replays", replays(&story.replays));
    section("Edits, the oldest first", edits(&story.edits));
    section("Other dead letters of the event", others(&story.others));
    let message = serde_json::to_string_pretty(&story.message).unwrap_or_default();
    section("The message", message);
    let first = story.action.sentence();
    section("What to do", format!("{first}\n\n{}", story.what_to_do));
    section(
        "Commands",
        pairs(next.iter().map(|next| (next.what, next.command.clone()))),
    );
    text
}

fn head(story: &Story) -> String {
    let id = |id: Option<Uuid>| id.map(|id| id.to_string()).unwrap_or_default();
    let status = story.event_status.as_ref();
    let replayed = story.replayed_at.map(|at| moment(at.0));
    let discarded = story
        .discarded
        .as_ref()
        .map(|it| format!("{} by {}: {}", moment(it.at.0), it.who, it.why));
    pairs([
        ("dead letter", story.id.to_string()),
        ("state", story.state.to_string()),
        ("replayed", replayed.unwrap_or_default()),
        ("replay", id(story.replay)),
        ("discarded", discarded.unwrap_or_default()),
        ("event", id(story.event.map(common::event::EventId::uuid))),
        (
            "event is",
            status.map(|it| it.status.to_string()).unwrap_or_default(),
        ),
        ("type", story.kind.clone().unwrap_or_default()),
        ("source", story.source.clone().unwrap_or_default()),
        ("died in", story.queue.clone()),
        ("routing key", story.routing_key.clone()),
        ("reason", format!("{}: {}", story.reason, story.summary)),
        ("whose doing", story.cause.as_str().to_owned()),
        ("error", story.error.clone()),
        ("attempts", story.attempts.to_string()),
        ("generation", story.generation.to_string()),
        ("came", times(story.copies)),
        ("first failed", moment(story.first_failed_at.0)),
        ("last failed", moment(story.last_failed_at.0)),
    ])
}

/// How often the message came, where that was more than once.
fn times(copies: u32) -> String {
    match copies {
        0 | 1 => String::new(),
        more => format!("{more} times at least, equal in everything"),
    }
}

fn attempts(attempts: &[AttemptRecord]) -> String {
    if attempts.is_empty() {
        return String::new();
    }
    let row = |attempt: &AttemptRecord| {
        let took = Duration::from_millis(attempt.duration_ms.into());
        let status = attempt.status_code.map(|code| code.to_string());
        let came_of_it = [
            Some(attempt.error.as_deref().unwrap_or("delivered").to_owned()),
            attempt.response_excerpt.as_deref().map(short),
        ];
        vec![
            moment(attempt.started_at.0),
            format!("{:.3}s", took.as_secs_f64()),
            attempt.generation.to_string(),
            attempt.attempt.to_string(),
            status.unwrap_or_default(),
            came_of_it
                .into_iter()
                .flatten()
                .collect::<Vec<_>>()
                .join("\n"),
        ]
    };
    let header = [
        "began",
        "took",
        "generation",
        "attempt",
        "status",
        "error and answer",
    ];
    table(&header, attempts.iter().map(row).collect())
}

/// The beginning of an answer, on one line.
fn short(answer: &str) -> String {
    let words = answer.split_whitespace().collect::<Vec<_>>().join(" ");
    match words.char_indices().nth(LONGEST_ANSWER) {
        Some((end, _)) => format!("{}…", &words[..end]),
        None => words,
    }
}

fn replays(replays: &[Progress]) -> String {
    if replays.is_empty() {
        return String::new();
    }
    let row = |replay: &Progress| {
        vec![
            replay.id.to_string(),
            moment(replay.started_at.0),
            replay.state.to_string(),
            replay.who.clone(),
            replay.why.clone().unwrap_or_default(),
        ]
    };
    let header = ["replay", "began", "state", "who", "why"];
    table(&header, replays.iter().map(row).collect())
}

fn edits(edits: &[Edit]) -> String {
    let told = edits.iter().map(|edit| {
        let why = edit.why.as_deref().unwrap_or("no reason given");
        let who = format!("{} by {}: {why}", moment(edit.at.0), edit.who);
        format!("{}\n{}", clean(&who), clean(&edit.diff))
    });
    told.collect::<Vec<_>>().join("\n")
}

fn others(others: &[DeadSummary]) -> String {
    if others.is_empty() {
        return String::new();
    }
    let row = |letter: &DeadSummary| {
        vec![
            letter.id.to_string(),
            moment(letter.last_failed_at.0),
            letter.state.to_string(),
            letter.queue.clone(),
            letter.generation.to_string(),
            letter.reason.to_string(),
        ]
    };
    let header = ["id", "died", "state", "queue", "generation", "reason"];
    table(&header, others.iter().map(row).collect())
}
