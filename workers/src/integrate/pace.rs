//! The pace that a destination's `rate` sets: turns at equal distances, given in the order they are asked for.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;

use super::share::Share;

/// How late a turn may be taken without moving those behind it: a timer is late by about a millisecond, and the rate should
/// be met all the same.
const LATENESS: Duration = Duration::from_millis(20);

/// Gives turns, one every interval. There are no bursts: the rate is there to prevent them.
///
/// The interval is that of all copies of the worker together; this copy has its share. No turn is given away before its
/// time, so a change of the share holds from the next turn on.
pub(super) struct Pace {
    interval: Duration,
    share: watch::Receiver<Share>,
    /// The moment of the last turn.
    last: Mutex<Option<Instant>>,
    /// Held by the one whose turn is next.
    next: tokio::sync::Mutex<()>,
    waiting: AtomicU32,
}

/// One that waits for its turn.
struct Waiting<'p>(&'p AtomicU32);

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Pace {
    /// A turn every `interval` in all copies together, the first one at once.
    pub(super) fn new(interval: Duration, share: watch::Receiver<Share>) -> Self {
        Self {
            interval,
            share,
            last: Mutex::default(),
            next: tokio::sync::Mutex::default(),
            waiting: AtomicU32::new(0),
        }
    }

    /// Waits for the next turn.
    ///
    /// # Errors
    /// It is probably further away than `longest`: nothing is taken, and this is how far.
    pub(super) async fn turn(&self, longest: Duration) -> Result<(), Duration> {
        let mut share = self.share.clone();
        let before = self.waiting.fetch_add(1, Ordering::Relaxed);
        let _waiting = Waiting(&self.waiting);
        // A share that rises is soon all that it can be.
        let interval = share.borrow_and_update().at(100).of_interval(self.interval);
        let until = self.due(interval).saturating_duration_since(Instant::now());
        let wait = until + interval.saturating_mul(before);
        if wait > longest {
            return Err(wait);
        }
        let _next = self.next.lock().await;
        loop {
            let due = self.due(self.interval_of(&mut share));
            tokio::select! {
                biased;
                // Without the sender, the share stays as it is.
                Ok(()) = share.changed() => {}
                () = tokio::time::sleep_until(due) => {
                    *self.last() = Some(due);
                    return Ok(());
                }
            }
        }
    }

    /// The moment of the next turn. A pause saves up no turns.
    fn due(&self, interval: Duration) -> Instant {
        let now = Instant::now();
        match *self.last() {
            Some(last) if last + interval + LATENESS >= now => last + interval,
            _ => now,
        }
    }

    fn last(&self) -> MutexGuard<'_, Option<Instant>> {
        self.last.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn interval_of(&self, share: &mut watch::Receiver<Share>) -> Duration {
        share.borrow_and_update().of_interval(self.interval)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use tokio::task::JoinSet;

    use super::*;

    const LONGEST: Duration = Duration::from_secs(5);

    fn pace(seconds: u64) -> (watch::Sender<Share>, Pace) {
        let (shares, share) = watch::channel(Share::WHOLE);
        (shares, Pace::new(Duration::from_secs(seconds), share))
    }

    #[tokio::test(start_paused = true)]
    async fn turns_come_in_order_and_at_equal_distances() {
        let began = Instant::now();
        let (_shares, pace) = pace(2);
        let pace = Arc::new(pace);
        let mut turns = JoinSet::new();
        for number in 0..4 {
            let pace = Arc::clone(&pace);
            turns.spawn(async move { (number, pace.turn(LONGEST).await, began.elapsed()) });
            // So that they ask in this order.
            tokio::task::yield_now().await;
        }
        let mut taken = turns.join_all().await;
        taken.sort_by_key(|(number, ..)| *number);
        let at = Duration::from_secs;
        assert_eq!(
            taken,
            [
                (0, Ok(()), at(0)),
                (1, Ok(()), at(2)),
                (2, Ok(()), at(4)),
                // It has taken nothing.
                (3, Err(at(6)), at(0)),
            ]
        );
        assert_eq!(pace.turn(LONGEST).await, Ok(()));
        assert_eq!(began.elapsed(), at(6));
        // A pause saves up no turns.
        tokio::time::advance(at(94)).await;
        for elapsed in [100, 102] {
            pace.turn(LONGEST).await.unwrap();
            assert_eq!(began.elapsed(), at(elapsed));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_share_that_changes_holds_from_the_next_turn_on() {
        let began = Instant::now();
        let (shares, pace) = pace(2);
        pace.turn(LONGEST).await.unwrap();
        let changing = async {
            tokio::time::sleep(Duration::from_secs(1)).await;
            shares.send(Share::new(Some(1), 2)).unwrap();
        };
        let (turn, ()) = tokio::join!(pace.turn(LONGEST), changing);
        turn.unwrap();
        assert_eq!(began.elapsed(), Duration::from_secs(4));
        let changing = async {
            tokio::time::sleep(Duration::from_secs(3)).await;
            shares.send(Share::WHOLE).unwrap();
        };
        let (turn, ()) = tokio::join!(pace.turn(LONGEST), changing);
        turn.unwrap();
        // Two seconds were over when the other copy left.
        assert_eq!(began.elapsed(), Duration::from_secs(7));
    }

    #[tokio::test(start_paused = true)]
    async fn who_gives_up_waiting_holds_nobody_up() {
        let began = Instant::now();
        let (_shares, pace) = pace(2);
        pace.turn(LONGEST).await.unwrap();
        let gave_up = tokio::time::timeout(Duration::from_secs(1), pace.turn(LONGEST)).await;
        assert!(gave_up.is_err());
        pace.turn(LONGEST).await.unwrap();
        assert_eq!(began.elapsed(), Duration::from_secs(2));
        assert_eq!(pace.waiting.load(Ordering::Relaxed), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn a_high_rate_is_met() {
        let (_shares, share) = watch::channel(Share::WHOLE);
        let pace = Pace::new(Duration::from_micros(500), share);
        let began = Instant::now();
        for _ in 0..2000 {
            pace.turn(LONGEST).await.unwrap();
        }
        let took = began.elapsed();
        assert!(
            took > Duration::from_millis(970) && took < Duration::from_millis(1030),
            "{took:?}"
        );
    }
}
