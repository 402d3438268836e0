//! Publishing events from a text, one a line, straight to the broker.

mod line;

use common::bootstrap::Failure;
use common::broker::{Broker, PublishError};
use common::store::{AuditAction, Store};
use futures_util::FutureExt as _;
use futures_util::StreamExt as _;
use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use serde::Serialize;
use tokio::io::{AsyncBufRead, AsyncBufReadExt as _};
use tokio_util::sync::CancellationToken;

use crate::roles::{Requester, permit};
use crate::words::count;

/// Maximum of bad lines that are listed; with more, it ends.
const MAX_LISTED: usize = 1000;

/// Checks that the role of `by` allows to publish. Published events are not acts on kept data, so they are not in the audit
/// record: each event bears its publisher. A denial is recorded.
///
/// # Errors
/// It does not.
pub async fn permit_publishing(store: Option<&dyn Store>, by: &Requester) -> Result<(), Failure> {
    permit(store, &by.act(AuditAction::EventsPublish, "events")).await
}

/// What publishing came to.
#[derive(Debug, Default, PartialEq, Eq, Serialize)]
pub struct Summary {
    /// Events that the broker has confirmed.
    pub published: u64,
    /// Lines that are not events.
    pub bad: Vec<BadLine>,
    /// The last line that was looked at.
    pub lines: u64,
    /// Whether it ended before the end of the text.
    pub stopped: bool,
}

/// A line that is not an event.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub struct BadLine {
    /// Its number, from 1.
    pub line: u64,
    /// What was expected and what was found.
    pub problem: String,
}

impl Summary {
    /// Whether all of it was published.
    ///
    /// # Errors
    /// It was not, and what to do.
    pub fn verdict(&self) -> Result<(), Failure> {
        match self.bad.len() as u64 {
            0 if self.stopped => Err(Failure::Failed(anyhow::anyhow!(
                "stopped after line {}; publish the file again to go on: what is published already changes nothing",
                self.lines
            ))),
            0 => Ok(()),
            bad => Err(Failure::Failed(anyhow::anyhow!(
                "{}",
                count(bad, "bad line")
            ))),
        }
    }
}

/// How far it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Progress {
    /// How many more bytes were read.
    Read(u64),
    /// How many events are confirmed by now.
    Confirmed(u64),
}

/// Publishes a text.
pub struct Publishing<'a, P> {
    /// Where to.
    pub broker: &'a dyn Broker,
    /// How many events wait for their confirm at once.
    pub window: usize,
    /// Maximum length of a line, in bytes.
    pub longest: usize,
    /// Whether bad lines are left out; else the first one ends it.
    pub skip_bad: bool,
    /// Ends it early, in good order.
    pub stop: &'a CancellationToken,
    /// Is told how far it is.
    pub progress: P,
}

/// Confirms that are waited for.
type UnderWay<'a> = FuturesUnordered<BoxFuture<'a, Result<(), PublishError>>>;

/// Where publishing stands.
#[derive(Default)]
struct State {
    summary: Summary,
    /// What ended it.
    failure: Option<Failure>,
    /// Whether there is nothing more to read.
    is_read: bool,
}

impl<P: Fn(Progress)> Publishing<'_, P> {
    /// Publishes every line. Whatever ends it, the confirms under way are waited for first.
    pub async fn run(&self, mut reader: impl AsyncBufRead + Unpin) -> (Summary, Option<Failure>) {
        let mut state = State::default();
        let mut under_way = UnderWay::new();
        while !state.is_read || !under_way.is_empty() {
            if !state.is_read && under_way.len() < self.window {
                self.publish_line(&mut reader, &mut state, &mut under_way)
                    .await;
                // Answers are looked at as they come, without waiting for one.
                while !state.is_read
                    && let Some(Some(answer)) = under_way.next().now_or_never()
                {
                    self.settle(answer, &mut state);
                }
            } else if let Some(answer) = under_way.next().await {
                self.settle(answer, &mut state);
            }
        }
        (state.summary, state.failure)
    }

    /// Reads a line and publishes it, where it is an event.
    async fn publish_line<'s>(
        &'s self,
        reader: &mut (impl AsyncBufRead + Unpin),
        state: &mut State,
        under_way: &mut UnderWay<'s>,
    ) {
        let mut text = Vec::new();
        let read = tokio::select! {
            read = reader.read_until(b'\n', &mut text) => read,
            () = self.stop.cancelled() => {
                state.summary.stopped = true;
                Ok(0)
            }
        };
        match read {
            Ok(0) => state.is_read = true,
            Ok(bytes) => {
                (self.progress)(Progress::Read(bytes as u64));
                state.summary.lines += 1;
                if text.trim_ascii().is_empty() {
                    return;
                }
                match line::publication(&text, self.broker.user(), self.longest) {
                    Ok(publication) => under_way.push(self.broker.publish(publication)),
                    Err(problem) => {
                        let listed = state.summary.bad.len();
                        state.is_read = !self.skip_bad || listed >= MAX_LISTED;
                        let line = state.summary.lines;
                        state.summary.bad.push(BadLine { line, problem });
                    }
                }
            }
            Err(error) => {
                state.is_read = true;
                let problem = anyhow::Error::from(error);
                let failure = problem.context("the file cannot be read further").into();
                state.failure = Some(failure);
            }
        }
    }

    fn settle(&self, answer: Result<(), PublishError>, state: &mut State) {
        match answer {
            Ok(()) => {
                state.summary.published += 1;
                (self.progress)(Progress::Confirmed(state.summary.published));
            }
            // The first one says why; the others only follow from it.
            Err(error) => {
                state.is_read = true;
                state.failure.get_or_insert_with(|| error.into());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testbed::{self, Failing, FailingBroker};

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
        let stop = CancellationToken::new();
        let publishing = Publishing {
            broker,
            window: 2,
            longest: 1000,
            skip_bad,
            stop: &stop,
            progress: |_| {},
        };
        let (summary, failure) = publishing.run(text.as_bytes()).await;
        let depth = broker.depth("longshore.validate").await.unwrap().unwrap();
        (summary, failure, depth.messages)
    }

    #[tokio::test]
    async fn a_bad_line_is_named_and_ends_it_unless_it_may_be_skipped() {
        let text = format!("{GOOD}\nnonsense\n{GOOD}");
        let (summary, _, arrived) = publish(&text, false, &broker().await).await;
        assert_eq!((summary.published, summary.bad[0].line), (1, 3));
        assert_eq!(arrived, 1);
        assert!(summary.verdict().is_err_and(|failure| failure.code() == 1));
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
