//! `longshore publish`: events from a file straight to the broker.

mod line;

use std::path::{Path, PathBuf};

use clap::Args;
use common::bootstrap::Failure;
use common::broker::{Broker, PublishError};
use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use indicatif::{ProgressBar, ProgressStyle};
use operate::words::count;
use serde::Serialize;
use tokio::io::{AsyncBufRead, AsyncBufReadExt as _, BufReader};
use tokio_util::sync::CancellationToken;

use crate::app::App;
use crate::confirm::confirm;
use crate::stop;

/// What to publish.
#[derive(Debug, Args)]
#[command(after_help = "\
Each line is a structured CloudEvent, or in short {\"type\": …, \"data\": …} with `id`, `source`, `time` and
`subject` as you like. An event without an `id` gets one made from its content. Publishing a file
twice therefore changes nothing: the ids are the keys. Each event is confirmed by the broker; the
validate workers check it like anybody else's.

Examples:
  longshore publish signups.ndjson
  jq -c '{type: \"signup.requested\", data: .}' people.json | longshore publish - --yes")]
pub struct PublishArgs {
    /// A file with one JSON document a line; `-` is standard input
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Leave out bad lines and go on; else the first one ends it
    #[arg(long)]
    skip_bad: bool,
    /// Do not ask
    #[arg(long)]
    yes: bool,
}

/// What publishing came to.
#[derive(Debug, Default, PartialEq, Eq, Serialize)]
struct Summary {
    /// Events that the broker has confirmed.
    published: u64,
    /// Lines that are no events.
    bad: Vec<BadLine>,
    /// The last line that was looked at.
    lines: u64,
    /// Whether it ended before the end of the file.
    stopped: bool,
}

/// A line that is no event.
#[derive(Debug, PartialEq, Eq, Serialize)]
struct BadLine {
    /// Its number, from 1.
    line: u64,
    /// What was expected and what was found.
    problem: String,
}

/// At most this many bad lines are listed; the others are only counted in the message.
const MOST_LISTED: usize = 1000;

pub(crate) async fn run(app: &App, args: PublishArgs) -> Result<(), Failure> {
    let shown = args.file.display().to_string();
    confirm(
        &format!("publish the events of {shown} to {}", app.config.namespace),
        args.yes,
    )?;
    let (reader, bar) = open(&args.file).await?;
    let broker = app.believed_broker().await?;
    let (stop, window) = (stop::on_signals()?, app.config.broker.window);
    let pump = Pump {
        broker: broker.as_ref(),
        window,
        longest: app.config.limits.event_bytes,
        skip_bad: args.skip_bad,
        stop: &stop,
        bar: &bar,
    };
    let done = pump.run(reader).await;
    bar.finish_and_clear();
    broker.close().await;
    let (summary, failure) = done;
    app.output.show(&summary, text)?;
    if let Some(failure) = failure {
        return Err(failure);
    }
    match summary.bad.len() as u64 {
        0 if summary.stopped => Err(Failure::Failed(anyhow::anyhow!(
            "stopped after line {}; publish the file again to go on: what is published already changes nothing",
            summary.lines
        ))),
        0 => Ok(()),
        bad => Err(Failure::Failed(anyhow::anyhow!(
            "{}",
            count(bad, "bad line")
        ))),
    }
}

type Reader = Box<dyn AsyncBufRead + Unpin + Send>;

async fn open(path: &Path) -> Result<(Reader, ProgressBar), Failure> {
    if path == Path::new("-") {
        let bar = ProgressBar::new_spinner();
        return Ok((Box::new(BufReader::new(tokio::io::stdin())), bar));
    }
    let usage = |error: std::io::Error| {
        Failure::Usage(format!(
            "expected a file that can be read, {}: {error}",
            path.display()
        ))
    };
    let file = tokio::fs::File::open(path).await.map_err(usage)?;
    let bytes = file.metadata().await.map_err(usage)?.len();
    let style = "publishing   {bar:40} {bytes:>10}/{total_bytes:10} {msg} {eta:>4}";
    let bar = ProgressBar::new(bytes);
    // The template is a constant; were it wrong, the bar would only look plain.
    bar.set_style(
        ProgressStyle::with_template(style).unwrap_or_else(|_| ProgressStyle::default_bar()),
    );
    Ok((Box::new(BufReader::with_capacity(256 * 1024, file)), bar))
}

struct Pump<'a> {
    broker: &'a dyn Broker,
    /// How many events wait for their confirm at once.
    window: usize,
    longest: usize,
    skip_bad: bool,
    stop: &'a CancellationToken,
    bar: &'a ProgressBar,
}

impl Pump<'_> {
    /// Publishes every line. Whatever ends it, what was under way is waited for first.
    async fn run(&self, mut reader: Reader) -> (Summary, Option<Failure>) {
        let mut summary = Summary::default();
        let mut failure = None;
        let mut under_way = FuturesUnordered::new();
        let mut text = Vec::new();
        let mut more = true;
        while more || !under_way.is_empty() {
            if more && under_way.len() < self.window {
                text.clear();
                let read = tokio::select! {
                    read = reader.read_until(b'\n', &mut text) => read,
                    () = self.stop.cancelled() => {
                        summary.stopped = true;
                        Ok(0)
                    }
                };
                match read {
                    Ok(0) => more = false,
                    Ok(bytes) => {
                        self.bar.inc(bytes as u64);
                        summary.lines += 1;
                        if text.trim_ascii().is_empty() {
                            continue;
                        }
                        match line::publication(&text, self.broker.user(), self.longest) {
                            Ok(publication) => under_way.push(self.broker.publish(publication)),
                            Err(problem) => {
                                more = self.skip_bad && summary.bad.len() < MOST_LISTED;
                                summary.bad.push(BadLine {
                                    line: summary.lines,
                                    problem,
                                });
                            }
                        }
                    }
                    Err(error) => {
                        more = false;
                        let problem = anyhow::Error::from(error);
                        failure = Some(problem.context("the file cannot be read further").into());
                    }
                }
                if more && under_way.len() < self.window {
                    // Answers are looked at as they come, without waiting for one.
                    while let Some(Some(answer)) =
                        futures_util::FutureExt::now_or_never(under_way.next())
                    {
                        self.settle(answer, &mut summary, &mut failure);
                    }
                    more = failure.is_none();
                    continue;
                }
            }
            if let Some(answer) = under_way.next().await {
                self.settle(answer, &mut summary, &mut failure);
                more = more && failure.is_none();
            }
        }
        (summary, failure)
    }

    fn settle(
        &self,
        answer: Result<(), PublishError>,
        summary: &mut Summary,
        failure: &mut Option<Failure>,
    ) {
        match answer {
            Ok(()) => {
                summary.published += 1;
                if summary.published.is_multiple_of(100) {
                    self.bar.set_message(count(summary.published, "event"));
                }
            }
            // The first one says why; the others only follow from it.
            Err(error) => {
                failure.get_or_insert_with(|| Failure::from(error));
            }
        }
    }
}

fn text(summary: &Summary) -> String {
    let bad = summary.bad.iter().map(|bad| {
        format!(
            "line {}: {}\n",
            bad.line,
            crate::output::clean(&bad.problem)
        )
    });
    let bad: String = bad.collect();
    format!(
        "{bad}{} published and confirmed, of {}",
        count(summary.published, "event"),
        count(summary.lines, "line")
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use operate::testbed::{self, Failing, FailingBroker};

    const GOOD: &str = "{\"type\": \"t.one\", \"data\": {\"n\": 1}}\n";

    async fn broker() -> FailingBroker {
        FailingBroker::with(&testbed::topology(&[])).await
    }

    /// What publishing `text` comes to, and how much of it waits to be validated.
    async fn publish(
        text: &str,
        skip_bad: bool,
        broker: &FailingBroker,
    ) -> (Summary, Option<Failure>, u64) {
        let (stop, bar) = (CancellationToken::new(), ProgressBar::hidden());
        let pump = Pump {
            broker,
            window: 2,
            longest: 1000,
            skip_bad,
            stop: &stop,
            bar: &bar,
        };
        let text = std::io::Cursor::new(text.as_bytes().to_vec());
        let (summary, failure) = pump.run(Box::new(BufReader::new(text))).await;
        let depth = broker.depth("longshore.validate").await.unwrap().unwrap();
        (summary, failure, depth.messages)
    }

    #[tokio::test]
    async fn a_bad_line_is_named_and_ends_it_unless_it_may_be_skipped() {
        let text = format!("{GOOD}\nnonsense\n{GOOD}");
        let (summary, _, arrived) = publish(&text, false, &broker().await).await;
        assert_eq!((summary.published, summary.bad[0].line), (1, 3));
        assert_eq!(arrived, 1);
        let (summary, failure, arrived) = publish(&text, true, &broker().await).await;
        assert_eq!(
            (summary.published, summary.bad.len(), summary.lines),
            (2, 1, 4)
        );
        assert_eq!(arrived, 2);
        assert!(failure.is_none());
    }

    #[tokio::test]
    async fn what_the_broker_did_not_confirm_is_not_counted() {
        let broker = broker().await;
        broker.fail(1, Failing::Nack);
        let (summary, failure, arrived) = publish(&GOOD.repeat(50), false, &broker).await;
        assert!(failure.is_some_and(|failure| failure.code() == 3));
        assert!(summary.published < 50);
        assert_eq!(summary.published, arrived);
    }

    #[tokio::test]
    async fn a_last_line_without_an_end_counts() {
        let (summary, failure, arrived) = publish(GOOD.trim_end(), false, &broker().await).await;
        assert_eq!(
            (summary.published, failure.is_none(), arrived),
            (1, true, 1)
        );
    }
}
