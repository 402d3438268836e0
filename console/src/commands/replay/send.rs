//! Running a replay at a terminal: progress, what became of it, and how it ends.

use clap::Args;
use common::bootstrap::Failure;
use common::store::{Replay, Store};
use indicatif::ProgressBar;
use operate::history::Judge;
use operate::replay::{LeftOpen, News, Outcome, PATIENCE, Replayer, follow, longest_attempt};
use operate::words::count;
use uuid::Uuid;

use super::became;
use crate::app::App;
use crate::output::{bar, spinner, table};
use crate::stop;

/// How to send.
#[derive(Debug, Args)]
pub struct SendArgs {
    /// At most so many a second, such as 500/s; as fast as the broker takes them unless set
    #[arg(long, value_name = "N/s", value_parser = rate)]
    pub(crate) rate: Option<u32>,
    /// Do not wait to see what becomes of what was sent
    #[arg(long)]
    no_wait: bool,
    /// Do not ask
    #[arg(long)]
    pub(crate) yes: bool,
    /// Why, for whoever looks at it later
    #[arg(long, value_name = "TEXT")]
    pub(crate) why: Option<String>,
}

fn rate(text: &str) -> Result<u32, String> {
    let number = text
        .strip_suffix("/s")
        .unwrap_or(text)
        .trim()
        .parse::<u32>();
    match number {
        Ok(rate @ 1..) => Ok(rate),
        _ => Err(format!(
            "expected so many a second, such as 500/s, found {text:?}"
        )),
    }
}

/// What to run.
pub(crate) enum Work<'a> {
    Begin(&'a Replay),
    Resume(Uuid),
}

/// Runs a replay of about `found` messages (0 where that is not known), and shows how it ends.
pub(crate) async fn send(
    app: &App,
    store: &dyn Store,
    work: Work<'_>,
    found: u64,
    args: &SendArgs,
) -> Result<(), Failure> {
    let (topology, names) = (app.topology(), app.names());
    let broker = app.believed_broker().await?;
    let stop = stop::on_signals()?;
    let judge = Judge::new(&app.config)?;
    let replayer = Replayer {
        broker: broker.as_ref(),
        store,
        topology: &topology,
        names: &names,
        judge: &judge,
        stop: &stop,
        patience: PATIENCE,
        longest_attempt: longest_attempt(&app.config),
    };
    let bar = if found > 0 {
        bar(found, "replaying")
    } else {
        spinner("replaying")
    };
    let done = match work {
        Work::Begin(replay) => {
            bar.println(format!("replay {}", replay.id));
            replayer.begin(replay, |news| show(&bar, news)).await
        }
        Work::Resume(id) => replayer.resume(id, |news| show(&bar, news)).await,
    };
    bar.finish_and_clear();
    broker.close().await;
    let mut outcome = done?;
    if !args.no_wait && outcome.replayed > 0 && !stop.is_cancelled() {
        let became = watch(store, outcome.replay, &stop).await?;
        // What came from the history cannot be followed.
        outcome.became = (became.untraced < became.sent).then_some(became);
    }
    app.output.show(&outcome, text)?;
    verdict(&outcome)
}

/// Waits until what was sent has come to rest.
async fn watch(
    store: &dyn Store,
    replay: Uuid,
    stop: &tokio_util::sync::CancellationToken,
) -> Result<common::store::ReplayOutcome, Failure> {
    let settled = bar(0, "settled");
    let outcome = follow(store, replay, PATIENCE, stop, |outcome| {
        settled.set_length(outcome.sent - outcome.untraced);
        settled.set_position(outcome.completed + outcome.died_again);
    })
    .await;
    settled.finish_and_clear();
    outcome
}

fn show(bar: &ProgressBar, news: News<'_>) {
    match news {
        News::Sent(more) => bar.inc(more),
        News::Waiting(why) => {
            bar.set_message("waiting");
            bar.println(why);
        }
        News::Paused => bar.set_message("paused"),
        News::GoingOn => bar.set_message("replaying"),
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_is_so_many_a_second() {
        assert_eq!((rate("500/s"), rate("7")), (Ok(500), Ok(7)));
        for bad in ["0/s", "", "fast", "5/min", "-1"] {
            assert!(rate(bad).is_err(), "{bad:?}");
        }
    }
}
