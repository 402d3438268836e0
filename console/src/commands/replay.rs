//! `longshore replay`

mod here;
pub(crate) mod send;
mod watch;

use clap::{Args, Subcommand};
use common::bootstrap::Failure;
use common::store::{
    DeadFilter, DeadState, Moment, OperationKind, OperationPage, OperationReport, OperationState,
    Progress, ReplayOutcome, Store,
};
use serde::Serialize;
use serde_json::json;
use uuid::Uuid;

use crate::app::App;
use crate::confirm::confirm;
use crate::output::{List, pairs, table};
use operate::operation;
use operate::page::Cursor;
use operate::words::{count, moment};
use send::{SendArgs, Work, send};

/// What to do with replays, of dead letters and of the history alike, and with discards and restores in bulk.
#[derive(Debug, Subcommand)]
pub enum ReplayCommand {
    /// List replays, and discards and restores in bulk, newest first
    List(ListArgs),
    /// Show one replay: what it sends, who began it and why, how far it is, and what became of it
    Show {
        /// The replay's id
        id: Uuid,
    },
    /// Watch a replay until it has ended; Ctrl-C ends the watching, not the replay
    Watch {
        /// The replay's id
        id: Uuid,
    },
    /// Go on with a replay that was killed, paused or stopped
    #[command(after_help = "\
A worker (longshore-archive) goes on with it, and it is watched here; --here runs it in this process. What a killed \
one had in hand is sent once more, under the same generation, so nothing is done twice. For that it first waits, where \
a destination has several workers, until what was sent is taken and written down. One of dead letters that was stopped \
goes on as a new replay of the same.")]
    Resume {
        /// The replay's id
        id: Uuid,
        #[command(flatten)]
        send: SendArgs,
    },
    /// Let a replay that runs wait, wherever it runs
    Pause {
        /// The replay's id
        id: Uuid,
    },
    /// End a replay, wherever it runs; what it has not sent is open again
    Stop {
        /// The replay's id
        id: Uuid,
    },
}

/// Which page of the list.
#[derive(Debug, Args)]
pub struct ListArgs {
    /// Maximum length of the list
    #[arg(long, value_name = "N", default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=1000))]
    limit: u32,
    /// The `next` of the page before
    #[arg(long, value_name = "CURSOR")]
    after: Option<Cursor>,
}

/// A replay and the fate of its messages.
#[derive(Serialize)]
struct Shown {
    #[serde(flatten)]
    progress: Progress,
    #[serde(skip_serializing_if = "Option::is_none")]
    outcome: Option<ReplayOutcome>,
}

pub(crate) async fn run(app: &App, command: ReplayCommand) -> Result<(), Failure> {
    let store = app.store()?;
    let done = match command {
        ReplayCommand::List(args) => list(app, store.as_ref(), &args).await,
        ReplayCommand::Show { id } => show(app, store.as_ref(), id).await,
        ReplayCommand::Watch { id } => look_at(app, store.as_ref(), id).await,
        ReplayCommand::Resume { id, send } => resume(app, store.as_ref(), id, &send).await,
        ReplayCommand::Pause { id } => steer(app, store.as_ref(), id, OperationState::Paused).await,
        ReplayCommand::Stop { id } => steer(app, store.as_ref(), id, OperationState::Stopped).await,
    };
    store.close().await;
    done
}

async fn list(app: &App, store: &dyn Store, args: &ListArgs) -> Result<(), Failure> {
    let page = OperationPage {
        after: args.after.map(|cursor| (cursor.at, cursor.id)),
        limit: args.limit,
    };
    let by = app.requester(store).await?;
    let items = by.reads(store.operations().operations_page(page).await?);
    let full = items.len() == args.limit as usize;
    let last = items.last().filter(|_| full);
    let next = last.map(|last| {
        let (at, id) = (last.started_at.0, last.id);
        Cursor { at, id }.to_string()
    });
    let row = |replay: &Progress| {
        vec![
            replay.id.to_string(),
            replay.state.to_string(),
            replay.replayed.to_string(),
            moment(replay.started_at.0),
            replay.who.clone(),
            what(replay),
            replay.why.clone().unwrap_or_default(),
        ]
    };
    let header = ["id", "state", "sent", "began", "who", "what", "why"];
    app.output.show(&List { items, next }, |list| {
        if list.items.is_empty() {
            return "no replays".to_owned();
        }
        let mut text = table(&header, list.items.iter().map(row).collect());
        if let Some(next) = &list.next {
            text.push_str(&format!("\n\nmore: --after {next}"));
        }
        text
    })
}

async fn show(app: &App, store: &dyn Store, id: Uuid) -> Result<(), Failure> {
    let by = app.requester(store).await?;
    let Some(progress) = by.reads(store.operations().operation(id).await?) else {
        return Err(unknown(id));
    };
    let outcome = match progress.kind {
        OperationKind::Replay => Some(store.operations().replay_outcome(id).await?),
        OperationKind::Discard | OperationKind::Restore => None,
    };
    app.output.show(&Shown { progress, outcome }, |shown| {
        let Shown { progress, outcome } = shown;
        let maybe = |at: Option<Moment>| at.map(|at| moment(at.0)).unwrap_or_default();
        let report = &progress.report;
        let rate = progress.rate.map(|rate| format!("{rate}/s"));
        let stop_when = progress
            .stop_when
            .map(|limit| format!("more than {limit}% die again"));
        pairs([
            ("id", progress.id.to_string()),
            ("state", progress.state.to_string()),
            ("what", what(progress)),
            (
                "to",
                match (progress.kind, &progress.to_queue) {
                    (_, Some(queue)) => queue.clone(),
                    (OperationKind::Replay, None) => "the queues they died in".to_owned(),
                    (OperationKind::Discard | OperationKind::Restore, None) => String::new(),
                },
            ),
            ("who", progress.who.clone()),
            ("why", progress.why.clone().unwrap_or_default()),
            ("rate", rate.unwrap_or_default()),
            ("stops when", stop_when.unwrap_or_default()),
            (
                "ids",
                if progress.new_ids { "new" } else { "as before" }.to_owned(),
            ),
            ("began", moment(progress.started_at.0)),
            ("ended", maybe(progress.ended_at)),
            (
                "position",
                progress
                    .position
                    .map(|it| it.to_string())
                    .unwrap_or_default(),
            ),
            ("goes on with", id_text(progress.resumes)),
            (watch::done(progress.kind), progress.replayed.to_string()),
            ("not sent", not_sent(report)),
            ("waits for", report.waiting_for.clone().unwrap_or_default()),
            ("stopped", report.why_stopped.clone().unwrap_or_default()),
            ("became", outcome.as_ref().map(became).unwrap_or_default()),
        ])
    })
}

/// Watches a replay that runs.
async fn look_at(app: &App, store: &dyn Store, id: Uuid) -> Result<(), Failure> {
    let Some(replay) = store.operations().operation(id).await? else {
        return Err(unknown(id));
    };
    let left = left_to_do(store, &replay).await?;
    let messages = replay.replayed..replay.replayed + left;
    watch::watch(app, store, replay.kind, id, messages).await
}

/// About how many messages an operation still has to deal with; 0 where that is not known.
async fn left_to_do(store: &dyn Store, replay: &Progress) -> Result<u64, Failure> {
    if replay.slice.is_some() {
        return Ok(0);
    }
    let state = match replay.kind {
        OperationKind::Replay | OperationKind::Discard => DeadState::Open,
        OperationKind::Restore => DeadState::Discarded,
    };
    let left = DeadFilter {
        state: Some(state),
        ..replay.filter.clone()
    };
    Ok(store.dead_count(&left).await?)
}

/// Goes on with an operation.
pub(crate) async fn resume(
    app: &App,
    store: &dyn Store,
    id: Uuid,
    args: &SendArgs,
) -> Result<(), Failure> {
    let Some(replay) = store.operations().operation(id).await? else {
        return Err(Failure::Usage(format!(
            "expected a replay that `longshore replay list` shows, found none with id {id}"
        )));
    };
    if args.rate.is_some() && replay.kind != OperationKind::Replay {
        return Err(Failure::Usage(format!(
            "expected --rate for a replay alone, found that {id} is a {}",
            replay.kind
        )));
    }
    confirm(
        &format!("go on with {} {id} ({})", replay.kind, replay.state),
        args.run.yes,
    )?;
    let left = left_to_do(store, &replay).await?;
    let by = app.requester(store).await?;
    let work = Work::Resume(&replay, args.rate);
    send(app, store, work, &by, left, &args.run).await
}

async fn steer(app: &App, store: &dyn Store, id: Uuid, to: OperationState) -> Result<(), Failure> {
    let by = app.requester(store).await?;
    let Some(state) = operation::steer(store, id, to, &by).await? else {
        return Err(unknown(id));
    };
    let document = json!({ "replay": id, "state": state });
    app.output
        .show(&document, |_| format!("replay {id} is {state}"))?;
    if state == to {
        Ok(())
    } else {
        Err(Failure::Failed(anyhow::anyhow!(
            "it has ended before: it is {state}"
        )))
    }
}

fn unknown(id: Uuid) -> Failure {
    Failure::Failed(anyhow::anyhow!(
        "no replay has the id {id}; `longshore replay list` shows all"
    ))
}

fn id_text(id: Option<Uuid>) -> String {
    id.map(|id| id.to_string()).unwrap_or_default()
}

/// The messages that a replay could not send or has left out, in a few words.
fn not_sent(report: &OperationReport) -> String {
    let mut parts: Vec<String> = Vec::new();
    if report.left_open_count > 0 {
        let letters = count(report.left_open_count, "dead letter");
        parts.push(format!("{letters} left open"));
    }
    let skipped = report.skipped.iter();
    parts.extend(skipped.map(|(why, number)| format!("{number} {why}")));
    parts.join(", ")
}

/// What an operation does, in a few words.
fn what(replay: &Progress) -> String {
    match replay.kind {
        OperationKind::Replay => messages(replay),
        kind @ (OperationKind::Discard | OperationKind::Restore) => {
            format!("{kind} {}", messages(replay))
        }
    }
}

/// The messages of an operation, in a few words.
fn messages(replay: &Progress) -> String {
    match &replay.slice {
        Some(slice) => format!(
            "history {} to {}{}",
            moment(slice.from.0),
            moment(slice.to.0),
            slice
                .kind
                .as_deref()
                .map(|kind| format!(", {kind}"))
                .unwrap_or_default()
        ),
        None => match serde_json::to_string(&replay.filter) {
            Ok(filter) if filter != "{}" => format!("dead letters {filter}"),
            _ => "all dead letters".to_owned(),
        },
    }
}

/// The fate of the messages of a replay, in a few words.
pub(crate) fn became(outcome: &ReplayOutcome) -> String {
    let mut parts = vec![format!("{} completed", outcome.completed)];
    for (number, what) in [
        (outcome.died_again, "died again"),
        (outcome.under_way, "under way"),
        (outcome.untraced, "not to be followed"),
    ] {
        if number > 0 {
            parts.push(format!("{number} {what}"));
        }
    }
    format!(
        "of {}: {}",
        count(outcome.sent, "message"),
        parts.join(", ")
    )
}
