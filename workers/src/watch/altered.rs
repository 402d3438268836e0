//! Entries that the history has in another spelling than their queue had. The watch knows events by the ids that
//! the history makes of them, and dead letters by their entry keys. These it counts: a letter stands for as many
//! entries as it has copies.

use std::collections::{HashMap, HashSet};

use common::bootstrap::Failure;
use common::event::EventId;
use operate::history::Identity;
use time::{Duration, OffsetDateTime};
use uuid::Uuid;

use super::Post;

/// Capacity for entry keys. Beyond it the count starts again: then a letter from before may stand for an entry once
/// more, unless it is clearly older.
const MAX_KEYS: usize = 50_000;

/// How much earlier than its entry a letter may be dated.
const SLACK: Duration = Duration::minutes(2);

/// The places of those whose events are known under another id than the history makes of them.
pub(super) async fn renamed(post: &Post, unknown: &[&Identity]) -> Result<HashSet<u64>, Failure> {
    let foreign = unknown.iter().filter(|it| it.entry_key.is_some());
    let events: Vec<(u64, EventId)> = foreign
        .filter_map(|it| Some((it.offset, it.event?)))
        .collect();
    let ids: Vec<EventId> = events.iter().map(|(_, event)| *event).collect();
    let known = post.store.watching().events_of_stream(&ids).await?;
    let known = events.iter().zip(known);
    Ok(known
        .filter_map(|((offset, _), event)| event.map(|_| *offset))
        .collect())
}

/// How many entries of each key have a letter.
#[derive(Debug, Default)]
pub(super) struct Altered {
    died: HashMap<Uuid, u64>,
}

impl Altered {
    /// Counts an entry that has a letter.
    pub(super) fn count(&mut self, identity: &Identity) {
        let Some(key) = identity.entry_key else {
            return;
        };
        if self.died.len() >= MAX_KEYS && !self.died.contains_key(&key) {
            self.died.clear();
        }
        *self.died.entry(key).or_default() += 1;
    }

    /// The places of those that nothing is known of by their own ids, and that there are letters enough for.
    pub(super) async fn settle(
        &mut self,
        post: &Post,
        unknown: &[&Identity],
    ) -> Result<HashSet<u64>, Failure> {
        let foreign: Vec<(&Identity, Uuid)> = unknown
            .iter()
            .filter_map(|it| Some((*it, it.entry_key?)))
            .collect();
        if foreign.is_empty() {
            return Ok(HashSet::new());
        }
        let earliest = foreign.iter().map(|(it, _)| it.at).min().flatten();
        let since = earliest.map_or(OffsetDateTime::UNIX_EPOCH, |at| at - SLACK);
        let keys: Vec<Uuid> = foreign.iter().map(|(_, key)| *key).collect();
        let watching = post.store.watching();
        let deaths = watching.deaths_by_entry(&keys, &[], since).await?;
        let mut settled = HashSet::new();
        for ((identity, key), deaths) in foreign.into_iter().zip(deaths) {
            if self.died.get(&key).copied().unwrap_or(0) < deaths.all() {
                self.count(identity);
                settled.insert(identity.offset);
            }
        }
        Ok(settled)
    }
}
