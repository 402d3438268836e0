//! Watches an operation that a worker runs, and tells its outcome.

use std::cell::RefCell;
use std::ops::Range;

use common::bootstrap::Failure;
use common::store::{LeftOpen, OperationKind, OperationState, Progress, ReplayOutcome, Store};
use indicatif::ProgressBar;
use operate::operation::{Outcome, PATIENCE, Watched, follow, watch_progress};
use operate::words::count;
use serde_json::json;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::{became, send};
use crate::app::App;
use crate::output::{bar, spinner, table};
use crate::stop;

/// The word of a progress bar.
pub(super) fn doing(kind: OperationKind) -> &'static str {
    match kind {
        OperationKind::Replay => "replaying",
        OperationKind::Discard => "discarding",
        OperationKind::Restore => "restoring",
    }
}

/// The word for messages that an operation has dealt with.
pub(super) fn done(kind: OperationKind) -> &'static str {
    match kind {
        OperationKind::Replay => "sent",
        OperationKind::Discard => "discarded",
        OperationKind::Restore => "restored",
    }
}

/// Watches an operation on its way through `messages`, and shows how it ends. The range begins with those it has dealt
/// with until now, and is empty where the number of the others is not known. Ctrl-C ends the watching alone.
pub(super) async fn watch(
    app: &App,
    store: &dyn Store,
    kind: OperationKind,
    replay: Uuid,
    messages: Range<u64>,
) -> Result<(), Failure> {
    let stop = stop::on_signals()?;
    let bar = if messages.is_empty() {
        spinner(doing(kind))
    } else {
        bar(messages.end - messages.start, doing(kind))
    };
    bar.println(format!("{kind} {replay}"));
    let (said, before) = (RefCell::new(None::<String>), messages.start);
    let tell = |progress: &Progress| show(&bar, progress, before, &mut said.borrow_mut());
    let watched = watch_progress(store, replay, before, &stop, tell).await;
    bar.finish_and_clear();
    match watched? {
        Watched::Ended(outcome) => finish(app, store, outcome, true, &stop).await,
        Watched::Left => send::left(app, kind, replay),
        Watched::Unclaimed => Err(Failure::Unreachable(format!(
            "no worker runs {kind} {replay}: start longshore-archive, which goes on with it; or \
             `longshore replay resume {replay} --here` runs it in this process"
        ))),
    }
}

/// Shows the outcome of an operation that has ended. Where `waits`, it first waits for the fate of messages that were
/// sent.
pub(super) async fn finish(
    app: &App,
    store: &dyn Store,
    mut outcome: Outcome,
    waits: bool,
    stop: &CancellationToken,
) -> Result<(), Failure> {
    let (kind, number) = (outcome.kind, outcome.replayed);
    if kind != OperationKind::Replay {
        let document = json!({ done(kind): number, "replay": outcome.replay });
        app.output.show(&document, |_| {
            let letters = count(number, "dead letter");
            format!("{letters} {} ({kind} {})", done(kind), outcome.replay)
        })?;
        return verdict(&outcome);
    }
    if waits && number > 0 && !stop.is_cancelled() {
        let became = settle(store, outcome.replay, stop).await?;
        // Messages from the history cannot be followed.
        outcome.became = (became.untraced < became.sent).then_some(became);
    }
    app.output.show(&outcome, text)?;
    verdict(&outcome)
}

/// Waits until the messages have come to rest.
async fn settle(
    store: &dyn Store,
    replay: Uuid,
    stop: &CancellationToken,
) -> Result<ReplayOutcome, Failure> {
    let settled = bar(0, "settled");
    let outcome = follow(store, replay, PATIENCE, stop, |outcome| {
        settled.set_length(outcome.sent - outcome.untraced);
        settled.set_position(outcome.completed + outcome.died_again);
    })
    .await;
    settled.finish_and_clear();
    outcome
}

/// Shows how far the replay is. The reason for a wait is told once: `said` is the reason told last.
fn show(bar: &ProgressBar, progress: &Progress, before: u64, said: &mut Option<String>) {
    bar.set_position(progress.replayed.saturating_sub(before));
    let waiting_for = &progress.report.waiting_for;
    bar.set_message(match (progress.state, waiting_for) {
        (OperationState::Paused, _) => "paused",
        (_, Some(_)) => "waiting",
        (_, None) => doing(progress.kind),
    });
    if said != waiting_for {
        if let Some(why) = waiting_for {
            bar.println(why);
        }
        said.clone_from(waiting_for);
    }
}

fn verdict(outcome: &Outcome) -> Result<(), Failure> {
    if let Some(why) = &outcome.why_stopped {
        return Err(Failure::Failed(anyhow::anyhow!(
            "{why}; go on with `longshore replay resume {}`",
            outcome.replay
        )));
    }
    match outcome.left_open_count {
        0 => Ok(()),
        left => Err(Failure::Failed(anyhow::anyhow!(
            "{} left open",
            count(left, "dead letter")
        ))),
    }
}

fn text(outcome: &Outcome) -> String {
    let mut text = format!(
        "{} sent (replay {})",
        count(outcome.replayed, "message"),
        outcome.replay
    );
    for (why, number) in &outcome.skipped {
        text.push_str(&format!("\n{number} not sent: {why}"));
    }
    if let Some(known) = &outcome.became {
        text.push_str(&format!("\n{}", became(known)));
        if known.died_again > 0 {
            text.push_str("; `longshore dead stats` says of what");
        }
    }
    if !outcome.left_open.is_empty() {
        let row = |left: &LeftOpen| {
            vec![
                left.letter.to_string(),
                left.queue.clone(),
                left.problem.clone(),
            ]
        };
        text.push_str("\n\n");
        text.push_str(&table(
            &["left open", "queue", "problem"],
            outcome.left_open.iter().map(row).collect(),
        ));
    }
    text
}
