//! The content of the history, counted.

use std::collections::BTreeMap;

use common::bootstrap::Failure;
use common::broker::Broker;
use common::event::Logins;
use common::store::Moment;
use serde::Serialize;

use super::{Reader, Window};

/// Maximum of types that are counted separately: a publisher may invent any routing key.
const TYPES: usize = 1000;

/// The counts.
#[derive(Debug, Default, PartialEq, Serialize)]
pub struct Stats {
    /// When the oldest entry was received, as far as it tells.
    pub from: Option<Moment>,
    /// When the newest was.
    pub to: Option<Moment>,
    /// How many entries there are.
    pub entries: u64,
    /// By the routing key they were published with.
    pub types: BTreeMap<String, u64>,
}

/// Reads all of the history and counts.
pub async fn stats(
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
