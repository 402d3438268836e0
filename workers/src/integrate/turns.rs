//! Turns: two copies of one delivery are never under way at once in one process, so that the second
//! finds in the database what became of the first.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use common::store::DeliveryKey;
use tokio::sync::OwnedMutexGuard;

type Locks = Mutex<HashMap<DeliveryKey, Arc<tokio::sync::Mutex<()>>>>;

/// The deliveries that are under way.
#[derive(Default)]
pub(super) struct Turns(Arc<Locks>);

/// One delivery's turn; the next copy has its own when this is dropped.
pub(super) struct Turn {
    locks: Arc<Locks>,
    key: DeliveryKey,
    guard: Option<OwnedMutexGuard<()>>,
}

impl Turns {
    /// Waits for the turn of `key`.
    pub(super) async fn take(&self, key: &DeliveryKey) -> Turn {
        let lock = {
            let mut locks = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            Arc::clone(locks.entry(key.clone()).or_default())
        };
        // From here on the entry is cleared away even if this is called off while it waits.
        let mut turn = Turn {
            locks: Arc::clone(&self.0),
            key: key.clone(),
            guard: None,
        };
        turn.guard = Some(lock.lock_owned().await);
        turn
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.guard = None;
        let mut locks = self.locks.lock().unwrap_or_else(PoisonError::into_inner);
        // Nobody else holds it or waits for it: only the map does.
        if locks
            .get(&self.key)
            .is_some_and(|lock| Arc::strong_count(lock) == 1)
        {
            locks.remove(&self.key);
        }
    }
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
        assert!(turns.0.lock().unwrap().is_empty());
    }
}
