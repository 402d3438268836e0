//! The pace that a destination's `rate` sets: turns at equal distances, given in the order they are asked for.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// Gives turns, one every interval. There are no bursts: the rate is there to prevent them.
pub(super) struct Pace {
    interval: Duration,
    /// The earliest moment of the next turn.
    next: Mutex<Instant>,
}

impl Pace {
    /// A turn every `interval`, the first one now.
    pub(super) fn new(interval: Duration) -> Self {
        Self {
            interval,
            next: Mutex::new(Instant::now()),
        }
    }

    /// Takes the next turn and says when it is.
    ///
    /// # Errors
    /// It is further away than `longest`: nothing is taken, and this is how far.
    pub(super) fn take(&self, longest: Duration) -> Result<Instant, Duration> {
        let mut next = self.next.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        let turn = (*next).max(now);
        let wait = turn - now;
        if wait > longest {
            return Err(wait);
        }
        *next = turn + self.interval;
        Ok(turn)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LONGEST: Duration = Duration::from_secs(5);

    #[tokio::test(start_paused = true)]
    async fn turns_come_in_order_and_at_equal_distances() {
        let began = Instant::now();
        let pace = Pace::new(Duration::from_secs(2));
        let taken: Vec<_> = (0..4).map(|_| pace.take(LONGEST)).collect();
        let at = |seconds| Ok(began + Duration::from_secs(seconds));
        assert_eq!(taken, [at(0), at(2), at(4), Err(Duration::from_secs(6))]);
        // A refused caller has taken nothing.
        tokio::time::advance(Duration::from_secs(3)).await;
        assert_eq!(pace.take(LONGEST), at(6));
        // A pause saves up no turns.
        tokio::time::advance(Duration::from_secs(97)).await;
        assert_eq!((pace.take(LONGEST), pace.take(LONGEST)), (at(100), at(102)));
    }
}
