//! Whether a subscription's messages are still ours, for a process that may have stood still.
//!
//! A process that is frozen misses that its link was lost: when it wakes, everything looks as it did before.
//! Only the clock does not. So an answer of the broker proves for a short while that the subscription is
//! ours, unless the process has stood still since. After that the broker is asked again.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use super::standstill::{Moment, Wakefulness};

/// How long an answer of the broker is proof. Shorter than any broker waits before it gives up a client.
const PROOF: Duration = Duration::from_secs(2);

/// How often a broker is asked that takes longer than that to answer.
const ASKED_AT_MOST: usize = 3;

/// When the broker last proved that a subscription is ours.
pub(super) struct Ownership {
    proven: Mutex<Moment>,
    /// One asks for all.
    asking: tokio::sync::Mutex<()>,
    wakefulness: &'static Wakefulness,
}

impl Ownership {
    /// Proven from now on: made before the broker is asked for the subscription.
    pub(super) fn new() -> Self {
        Self::with(Wakefulness::of_this_process())
    }

    fn with(wakefulness: &'static Wakefulness) -> Self {
        Self {
            proven: Mutex::new(Moment::now()),
            asking: tokio::sync::Mutex::default(),
            wakefulness,
        }
    }

    /// Whether the subscription is ours. Asks the broker with `ask`, unless it has just answered.
    pub(super) async fn holds<F: Future<Output = bool>>(&self, ask: impl Fn() -> F) -> bool {
        if self.is_proven() {
            return true;
        }
        let _asking = self.asking.lock().await;
        for _ in 0..ASKED_AT_MOST {
            // The process may also stand still between the question and here.
            if self.is_proven() {
                return true;
            }
            let asked = Moment::now();
            if !ask().await {
                return false;
            }
            *self.proven.lock().unwrap_or_else(PoisonError::into_inner) = asked;
        }
        // A slow broker, but one that answers.
        true
    }

    fn is_proven(&self) -> bool {
        let proven = *self.proven.lock().unwrap_or_else(PoisonError::into_inner);
        proven.is_within(PROOF) && self.wakefulness.has_lasted_since(proven)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use futures_util::future::join_all;

    use super::*;

    impl Ownership {
        fn age(&self, by: Duration) {
            self.proven.lock().unwrap().age(by);
        }
    }

    /// An ownership in a process that stands still for no shorter time than this.
    fn ownership(standstill: Duration) -> (Ownership, &'static Wakefulness) {
        let wakefulness = Box::leak(Box::new(Wakefulness::new(standstill)));
        (Ownership::with(wakefulness), wakefulness)
    }

    #[tokio::test]
    async fn the_broker_is_asked_once_for_all_when_its_answer_is_old() {
        let asked = AtomicUsize::new(0);
        let ask = || async {
            asked.fetch_add(1, Ordering::Relaxed);
            tokio::task::yield_now().await;
            true
        };
        let (ownership, _) = ownership(PROOF * 60);
        assert!(ownership.holds(ask).await);
        assert_eq!(asked.load(Ordering::Relaxed), 0, "it has just answered");
        ownership.age(PROOF * 2);
        let all = join_all((0..100).map(|_| ownership.holds(ask))).await;
        assert!(all.into_iter().all(|ours| ours));
        assert_eq!(asked.load(Ordering::Relaxed), 1);
    }

    #[tokio::test]
    async fn what_the_broker_denies_is_not_ours_and_neither_is_an_answer_from_before_a_freeze() {
        let (ownership, _) = ownership(PROOF * 60);
        ownership.age(PROOF * 2);
        assert!(!ownership.holds(|| async { false }).await);
        assert!(!ownership.holds(|| async { false }).await, "it stays so");
        let first = AtomicUsize::new(0);
        let frozen_once = || async {
            let is_first = first.fetch_add(1, Ordering::Relaxed) == 0;
            if is_first {
                // The answer is there, but the process sleeps before it reads it.
                tokio::time::sleep(PROOF + Duration::from_millis(100)).await;
            }
            is_first
        };
        assert!(
            !ownership.holds(frozen_once).await,
            "asked again, and denied"
        );
    }

    #[tokio::test]
    async fn an_answer_from_before_a_short_standstill_proves_nothing() {
        let asked = AtomicUsize::new(0);
        let denied = || async {
            asked.fetch_add(1, Ordering::Relaxed);
            false
        };
        let (ownership, wakefulness) = ownership(PROOF / 2);
        assert!(ownership.holds(denied).await);
        wakefulness.age(PROOF * 3 / 4);
        assert!(!ownership.holds(denied).await);
        assert_eq!(asked.load(Ordering::Relaxed), 1);
    }
}
