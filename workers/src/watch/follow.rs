//! Following the history: accepted events that are nowhere go on their way again.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::time::Duration;

use common::bootstrap::Failure;
use common::broker::{Address, Publication, PublishError};
use common::event::EventId;
use common::store::{Repair, RepairKey, WatchFinding};
use common::telemetry::metrics;
use operate::finding;
use operate::history::{Identity, Reader, Window};
use operate::survey::{Look, as_received, look_into_delays};
use time::OffsetDateTime;
use tokio::time::Instant;
use uuid::Uuid;

use super::altered::{Altered, renamed};
use super::lost::{EventSigns, may_send_again};
use super::queues::Queues;

use super::{Post, found};

/// How far back a watch begins that nobody has kept before.
const FIRST_LOOK: time::Duration = time::Duration::HOUR;

/// How many entries are looked up at once.
const BATCH: usize = 500;

/// Capacity for events that are in no table yet. Where workers are behind it is full, and reading waits for them.
const MAX_OPEN: usize = 1_000;

/// How long one round reads at most.
const READING: Duration = Duration::from_secs(3);

/// From this many waiting messages on, workers are behind, and one round reads at most `READ_BEHIND` entries: they need
/// the processor more.
const BEHIND: u64 = 2_000;
const READ_BEHIND: usize = 1_000;

/// How many are sent again in one round.
const MAX_SENT: usize = 500;

/// An event that no table knows yet.
#[derive(Debug)]
struct Open {
    identity: Identity,
    seen_at: Instant,
    /// Entries beyond this one were received clearly later.
    later: Option<u64>,
    /// Since when one of these is known to a table.
    overtaken_at: Option<Instant>,
}

/// The position in the history, and its open events.
#[derive(Debug)]
pub(super) struct Follower {
    /// The last entry that was read.
    read: Option<u64>,
    open: BTreeMap<u64, Open>,
    /// The letters whose entry has another spelling.
    altered: Altered,
    /// The newest entry that a table knows.
    settled: Option<u64>,
}

impl Follower {
    /// Goes on behind `position`.
    pub(super) fn new(position: Option<u64>) -> Self {
        Self {
            read: position,
            open: BTreeMap::new(),
            altered: Altered::default(),
            settled: None,
        }
    }

    /// The last entry of which, and of all before it, nothing is open.
    pub(super) fn position(&self) -> Option<u64> {
        match self.open.keys().next() {
            Some(first) => first.checked_sub(1),
            None => self.read,
        }
    }

    /// Reads on, looks open events up, and sends lost ones again. `queues` were looked at before.
    pub(super) async fn look(
        &mut self,
        post: &Post,
        queues: &Queues,
    ) -> Result<Vec<WatchFinding>, Failure> {
        let at_the_end = self.read_on(post, queues).await?;
        self.look_up_open(post).await?;
        let now = Instant::now();
        for open in self.open.values_mut() {
            if at_the_end && now - open.seen_at >= post.lag() {
                open.later = open.later.or(self.read);
            }
            if open.later.is_some() && self.settled > open.later {
                open.overtaken_at.get_or_insert(now);
            }
        }
        let lost = self.lost(post, queues, now).await?;
        let waiting = self.send_again(post, queues, &lost).await?;
        let number = waiting as u64;
        Ok((number > 0)
            .then(|| {
                let detail = "accepted, and in no table and no queue although they were sent again; \
                              `longshore events stuck` names them";
                found(finding::LOST_EVENT, "history", number, detail)
            })
            .into_iter()
            .collect())
    }

    /// Reads on; says whether it came to the end.
    async fn read_on(&mut self, post: &Post, queues: &Queues) -> Result<bool, Failure> {
        let window = match self.read {
            Some(_) => Window::default(),
            None => Window {
                from: Some(OffsetDateTime::now_utc() - FIRST_LOOK),
                to: None,
            },
        };
        let waiting =
            queues.messages(&post.names.validate()) + queues.messages(&post.names.store());
        let mut left = if waiting > BEHIND {
            READ_BEHIND
        } else {
            usize::MAX
        };
        let began = Instant::now();
        // With the last one that was read once more: where it is gone, so is the history that it was in.
        let again = self.read.and_then(|read| read.checked_sub(1));
        let mut reader = Reader::open(&*post.broker, post.judge.logins(), window, again).await?;
        let mut is_gone = self.read.is_some();
        while self.open.len() < MAX_OPEN && left > 0 && began.elapsed() < READING {
            let mut batch: Vec<Identity> = Vec::new();
            while batch.len() < BATCH.min(left) {
                let Some(entry) = reader.next().await? else {
                    break;
                };
                is_gone = false;
                if Some(entry.offset) <= self.read {
                    continue;
                }
                batch.push(post.judge.identify(entry));
            }
            left -= batch.len();
            let ended = batch.len() < BATCH;
            let read = batch.last().map(|last| last.offset);
            let known = known(post, batch.iter()).await?;
            let seen_at = Instant::now();
            for identity in batch {
                let offset = identity.offset;
                if known.contains(&offset) {
                    self.settled = self.settled.max(Some(offset));
                    continue;
                }
                let open = Open {
                    identity,
                    seen_at,
                    later: None,
                    overtaken_at: None,
                };
                self.open.insert(offset, open);
            }
            // Only now: entries that were not looked up are read again.
            self.read = if is_gone { None } else { read.or(self.read) };
            if ended && left > 0 {
                return Ok(true);
            }
        }
        Ok(false)
    }

    async fn look_up_open(&mut self, post: &Post) -> Result<(), Failure> {
        let open: Vec<&Identity> = self.open.values().map(|open| &open.identity).collect();
        let mut settled = HashSet::new();
        for batch in open.chunks(BATCH) {
            settled.extend(known(post, batch.iter().copied()).await?);
        }
        let unknown: Vec<&Identity> = open
            .into_iter()
            .filter(|it| !settled.contains(&it.offset))
            .collect();
        for batch in unknown.chunks(BATCH) {
            let elsewhere = renamed(post, batch).await?;
            let letters: Vec<Uuid> = batch.iter().map(|it| it.letter).collect();
            let states = post.store.watching().letter_states(&letters).await?;
            let mut nowhere = Vec::new();
            for (identity, state) in batch.iter().zip(states) {
                if elsewhere.contains(&identity.offset) {
                    settled.insert(identity.offset);
                } else if state.is_some() {
                    self.altered.count(identity);
                    settled.insert(identity.offset);
                } else {
                    nowhere.push(*identity);
                }
            }
            settled.extend(self.altered.settle(post, &nowhere).await?);
        }
        self.settled = self.settled.max(settled.iter().max().copied());
        self.open.retain(|offset, _| !settled.contains(offset));
        Ok(())
    }

    /// The places of the lost events.
    async fn lost(&self, post: &Post, queues: &Queues, now: Instant) -> Result<Vec<u64>, Failure> {
        let names = &post.names;
        let on_the_way = [
            names.validate(),
            names.store(),
            names.rejected(),
            names.dead(),
        ];
        let out_of_order = [
            common::topology::Names::suspect(&names.validate()),
            common::topology::Names::suspect(&names.store()),
            common::topology::Names::suspect(&names.rejected()),
            common::topology::Names::suspect(&names.dead()),
            names.rejected(),
            names.dead(),
        ];
        let empty_for = queues.empty_for(&on_the_way);
        let may_be_aside = out_of_order.iter().any(|queue| queues.messages(queue) > 0);
        let signs = |open: &Open| EventSigns {
            age: now - open.seen_at,
            overtaken_for: open.overtaken_at.map(|at| now - at),
            empty_for,
            may_be_aside,
        };
        let mut lost: Vec<&Open> = self
            .open
            .values()
            .filter(|open| signs(open).are_of_a_loss(post.lag()))
            .collect();
        if !lost.is_empty() && queues.any_aside(post) {
            let look = look_into_delays(&*post.broker, &post.topology, names, &post.judge).await?;
            if !look.unseen.is_empty() {
                return Ok(Vec::new());
            }
            lost.retain(|open| !was_seen(&look, &open.identity));
        }
        Ok(lost.iter().map(|open| open.identity.offset).collect())
    }

    /// Sends lost events to validation again, each now and then; returns how many were sent before.
    async fn send_again(
        &self,
        post: &Post,
        queues: &Queues,
        lost: &[u64],
    ) -> Result<usize, Failure> {
        let validate = post.names.validate();
        if lost.is_empty() {
            return Ok(0);
        }
        let watching = post.store.watching();
        let key = |offset: &u64| self.open.get(offset).map(|open| open.identity.key());
        let subjects: Vec<Uuid> = lost.iter().filter_map(key).collect();
        let repairs: HashMap<Uuid, Repair> = watching
            .repairs(&subjects)
            .await?
            .into_iter()
            .filter(|repair| repair.key.destination.is_none())
            .map(|repair| (repair.key.subject, repair))
            .collect();
        let may_go = |offset: &&u64| {
            let repair = key(offset).and_then(|key| repairs.get(&key));
            repair.is_none_or(|repair| {
                let ago = OffsetDateTime::now_utc() - repair.last_at;
                may_send_again(repair.sent, ago.try_into().unwrap_or_default())
            })
        };
        if queues.exists(&validate) {
            let now: Vec<u64> = lost.iter().filter(may_go).take(MAX_SENT).copied().collect();
            self.send(post, &now, validate).await?;
        }
        Ok(repairs.len())
    }

    async fn send(&self, post: &Post, offsets: &[u64], queue: String) -> Result<(), Failure> {
        let (Some(first), Some(last)) = (offsets.iter().min(), offsets.iter().max()) else {
            return Ok(());
        };
        let wanted: HashSet<u64> = offsets.iter().copied().collect();
        let mut sent = 0;
        let position = first.checked_sub(1);
        let mut reader = Reader::open(
            &*post.broker,
            post.judge.logins(),
            Window::default(),
            position,
        )
        .await?;
        while let Some(entry) = reader.next().await? {
            if entry.offset > *last {
                break;
            }
            if !wanted.contains(&entry.offset) {
                continue;
            }
            let entry = post.judge.judge(entry);
            let Some(open) = self.open.get(&entry.offset) else {
                continue;
            };
            // Before it is sent: killed in between it waits a minute, and is never sent in a loop.
            let repair = RepairKey {
                subject: open.identity.key(),
                destination: None,
                generation: 0,
            };
            post.store.watching().record_repairs(&[repair]).await?;
            let publication = Publication {
                to: Address::Queue(queue.clone()),
                message: as_received(&entry.received),
            };
            match post.broker.publish(publication).await {
                Ok(()) => sent += 1,
                Err(error @ PublishError::Invalid(_)) => {
                    tracing::warn!(%error, offset = entry.offset, "a lost event cannot be sent again");
                }
                Err(error) => return Err(Failure::Unreachable(error.to_string())),
            }
        }
        metrics::watch_repaired("event", sent);
        tracing::warn!(
            number = sent,
            "accepted events that were in no table and no queue are on their way again"
        );
        Ok(())
    }
}

fn was_seen(look: &Look, identity: &Identity) -> bool {
    look.has_event(identity.key()) || look.has_event(identity.letter)
}

/// The places of those that a table knows by the id of an event.
async fn known(
    post: &Post,
    identities: impl Iterator<Item = &Identity>,
) -> Result<HashSet<u64>, Failure> {
    let mut known = HashSet::new();
    let events: Vec<(u64, EventId)> = identities
        .filter_map(|it| Some((it.offset, it.event?)))
        .collect();
    let ids = |of: &[(u64, EventId)]| of.iter().map(|(_, event)| *event).collect::<Vec<_>>();
    let completed = post.store.watching().are_completed(&ids(&events)).await?;
    let (mut done, mut rest) = (Vec::new(), Vec::new());
    for (event, completed) in events.into_iter().zip(completed) {
        if completed { &mut done } else { &mut rest }.push(event);
    }
    known.extend(done.iter().map(|(offset, _)| *offset));
    let standings = post.store.standings(&ids(&rest)).await?;
    let stand = rest.iter().zip(standings);
    known.extend(stand.filter_map(|((offset, _), standing)| standing.map(|_| *offset)));
    Ok(known)
}
