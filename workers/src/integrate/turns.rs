//! Turns: two copies of one delivery are never under way at once in one process. A copy that
//! follows soon after is known here as one.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use common::event::EventId;
use common::store::DeliveryKey;
use tokio::sync::OwnedMutexGuard;

/// The key of a delivery to one destination: the event, and how often it has been replayed.
type Key = (EventId, u32);

/// How many deliveries are remembered once they were tried.
const REMEMBERED: usize = 4096;

/// The deliveries that are under way, and those that were tried lately.
#[derive(Default)]
struct Book {
    under_way: HashMap<Key, Arc<tokio::sync::Mutex<()>>>,
    tried: HashSet<Key>,
    /// The keys in `tried`, the oldest first.
    order: VecDeque<Key>,
}

/// Gives the deliveries to one destination their turns.
#[derive(Default)]
pub(super) struct Turns(Arc<Mutex<Book>>);

/// One delivery's turn; the next copy has its own when this is dropped.
pub(super) struct Turn {
    book: Arc<Mutex<Book>>,
    key: Key,
    guard: Option<OwnedMutexGuard<()>>,
}

impl Turns {
    /// Waits for the turn of `key`.
    pub(super) async fn take(&self, key: &DeliveryKey) -> Turn {
        let key = (key.event, key.generation);
        let lock = Arc::clone(open(&self.0).under_way.entry(key).or_default());
        // From here on the entry is cleared away even if this is called off while it waits.
        let mut turn = Turn {
            book: Arc::clone(&self.0),
            key,
            guard: None,
        };
        turn.guard = Some(lock.lock_owned().await);
        turn
    }
}

impl Turn {
    /// Whether this process tried the delivery lately.
    pub(super) fn is_tried(&self) -> bool {
        open(&self.book).tried.contains(&self.key)
    }

    /// The delivery is being tried.
    pub(super) fn tried(&self) {
        let mut book = open(&self.book);
        if book.tried.insert(self.key) {
            book.order.push_back(self.key);
        }
        if book.order.len() > REMEMBERED
            && let Some(oldest) = book.order.pop_front()
        {
            book.tried.remove(&oldest);
        }
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.guard = None;
        let mut book = open(&self.book);
        // Nobody else holds it or waits for it: only the book does.
        if book
            .under_way
            .get(&self.key)
            .is_some_and(|lock| Arc::strong_count(lock) == 1)
        {
            book.under_way.remove(&self.key);
        }
    }
}

fn open(book: &Mutex<Book>) -> MutexGuard<'_, Book> {
    book.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use common::event::EventId;

    use super::*;

    fn key(generation: u32) -> DeliveryKey {
        let event = EventId::from_key(&common::event::Publisher::ourselves(), "a");
        DeliveryKey {
            event,
            destination: "crm".to_owned(),
            generation,
        }
    }

    #[tokio::test]
    async fn copies_take_turns_and_others_do_not_wait() {
        let turns = Turns::default();
        let contested = key(0);
        let first = turns.take(&contested).await;
        let other = turns.take(&key(1)).await;
        let second = turns.take(&contested);
        tokio::pin!(second);
        assert!(futures_util::poll!(&mut second).is_pending());
        drop(first);
        let second = second.await;
        drop((second, other));
        assert!(open(&turns.0).under_way.is_empty());
    }

    #[tokio::test]
    async fn what_was_tried_is_remembered_for_a_while() {
        let turns = Turns::default();
        for generation in 0..5000 {
            let turn = turns.take(&key(generation)).await;
            assert!(!turn.is_tried());
            turn.tried();
            turn.tried();
        }
        assert!(turns.take(&key(4999)).await.is_tried());
        assert!(!turns.take(&key(0)).await.is_tried());
        assert_eq!(open(&turns.0).tried.len(), REMEMBERED);
    }
}
