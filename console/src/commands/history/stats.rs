//! `longshore history stats`

use std::collections::BTreeMap;

use common::bootstrap::Failure;
use common::broker::Broker;
use common::event::Logins;
use common::store::Moment;
use serde::Serialize;

use crate::app::App;
use crate::history::{Reader, Window};
use crate::output::{count, moment, spinner, table};

/// So many types are counted apart; anybody may publish any routing key.
const TYPES: usize = 1000;

/// What there is.
#[derive(Debug, Default, PartialEq, Serialize)]
pub(super) struct Stats {
    /// When the oldest entry was received, as far as it tells.
    from: Option<Moment>,
    /// When the newest was.
    to: Option<Moment>,
    entries: u64,
    /// By the routing key they were published with.
    types: BTreeMap<String, u64>,
}

pub(super) async fn run(app: &App) -> Result<(), Failure> {
    let broker = app.believed_broker().await?;
    let logins = app.config.broker.logins();
    let spinner = spinner("read");
    let stats = stats(broker.as_ref(), &logins, || spinner.inc(1)).await;
    spinner.finish_and_clear();
    broker.close().await;
    app.output.show(&stats?, text)
}

/// Reads all of the history and counts.
pub(super) async fn stats(
    broker: &dyn Broker,
    logins: &Logins,
    read: impl Fn(),
) -> Result<Stats, Failure> {
    let mut reader = Reader::open(broker, logins, Window::default(), None).await?;
    let mut stats = Stats::default();
    while let Some(entry) = reader.next().await? {
        read();
        stats.entries += 1;
        let at = entry.time.map(Moment);
        stats.from = stats.from.or(at);
        stats.to = stats.to.max(at);
        let full = stats.types.len() >= TYPES && !stats.types.contains_key(&entry.routing_key);
        let kind = if full {
            "others".to_owned()
        } else {
            entry.routing_key
        };
        *stats.types.entry(kind).or_default() += 1;
    }
    Ok(stats)
}

fn text(stats: &Stats) -> String {
    let at = |at: Option<Moment>| at.map_or_else(|| "unknown".to_owned(), |at| moment(at.0));
    if stats.entries == 0 {
        return "the history is empty".to_owned();
    }
    let mut text = format!(
        "{} from {} to {}",
        count(stats.entries, "message"),
        at(stats.from),
        at(stats.to)
    );
    let row = |(kind, number): (&String, &u64)| vec![kind.clone(), number.to_string()];
    text.push_str("\n\n");
    text.push_str(&table(
        &["type", "messages"],
        stats.types.iter().map(row).collect(),
    ));
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testbed::pipeline::Pipeline;

    #[tokio::test]
    async fn the_whole_history_is_counted_by_type() {
        let pipeline = Pipeline::new(&[]).await;
        let empty = stats(&pipeline.broker, pipeline.judge.logins(), || {})
            .await
            .unwrap();
        assert_eq!(empty, Stats::default());
        pipeline.signup("ada").await;
        pipeline.signup("bob").await;
        pipeline.receive("text/plain", "unheard.of", "hello").await;
        let stats = stats(&pipeline.broker, pipeline.judge.logins(), || {})
            .await
            .unwrap();
        assert_eq!((stats.entries, stats.types["signup.requested"]), (3, 2));
        assert!(stats.from.is_some() && stats.from <= stats.to);
    }
}
