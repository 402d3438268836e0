//! Who in this process waits for which queue, so that nobody has to look.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, Weak};

use tokio::sync::Notify;

use super::lock;
use crate::sqlite::Location;

/// By queue, each with a key that names it.
type Waiting = HashMap<i64, Vec<(u64, Arc<Notify>)>>;

/// The consumers of a file in this process.
#[derive(Debug, Default)]
pub(super) struct Wakes {
    waiting: Mutex<Waiting>,
    next: AtomicU64,
}

/// A place in [`Wakes`], until it is dropped.
#[derive(Debug)]
pub(super) struct Waiter {
    /// Told of everything new.
    pub(super) news: Arc<Notify>,
    wakes: Arc<Wakes>,
    queue: i64,
    key: u64,
}

/// Those of every file that this process has open.
static SHARED: Mutex<BTreeMap<Location, Weak<Wakes>>> = Mutex::new(BTreeMap::new());

impl Wakes {
    /// Those of a file, shared by everybody in this process who has it open.
    pub(super) fn shared(location: &Location) -> Arc<Self> {
        let mut shared = lock(&SHARED);
        shared.retain(|_, wakes| wakes.strong_count() > 0);
        let known = shared.get(location).and_then(Weak::upgrade);
        known.unwrap_or_else(|| {
            let wakes = Arc::new(Self::default());
            shared.insert(location.clone(), Arc::downgrade(&wakes));
            wakes
        })
    }

    /// Waits for news of a queue, and has to look once at the beginning.
    pub(super) fn wait_for(self: &Arc<Self>, queue: i64) -> Waiter {
        let news = Arc::new(Notify::new());
        news.notify_one();
        let key = self.next.fetch_add(1, Ordering::Relaxed);
        let mut waiting = lock(&self.waiting);
        waiting
            .entry(queue)
            .or_default()
            .push((key, Arc::clone(&news)));
        drop(waiting);
        Waiter {
            news,
            wakes: Arc::clone(self),
            queue,
            key,
        }
    }

    /// There is something new in these queues.
    pub(super) fn wake(&self, queues: &[i64]) {
        let waiting = lock(&self.waiting);
        for (_, news) in queues
            .iter()
            .filter_map(|queue| waiting.get(queue))
            .flatten()
        {
            news.notify_one();
        }
    }

    /// Everybody has to look.
    pub(super) fn wake_all(&self) {
        for (_, news) in lock(&self.waiting).values().flatten() {
            news.notify_one();
        }
    }

    /// Whether nobody waits.
    pub(super) fn is_empty(&self) -> bool {
        lock(&self.waiting).is_empty()
    }
}

impl Drop for Waiter {
    fn drop(&mut self) {
        let mut waiting = lock(&self.wakes.waiting);
        if let Some(waiters) = waiting.get_mut(&self.queue) {
            waiters.retain(|(key, _)| *key != self.key);
            if waiters.is_empty() {
                waiting.remove(&self.queue);
            }
        }
    }
}
