//! Dead letters that not even the archive could take: back to it, now and then.

use std::time::Duration;

use common::bootstrap::Failure;
use common::event::{carry_death, header};
use common::message::Message;
use common::runtime::carry;
use common::telemetry::metrics;
use tokio::time::Instant;

use super::Post;
use super::queues::Queues;

/// How many come back in one round.
const MAX_MOVED: u16 = 100;

/// Maximum number of times that one letter comes back; then it is left for people.
const MAX_RETURNS: i64 = 20;

/// From this many messages on, the archive has enough to do.
const BUSY: u64 = 1_000;

/// Maximum wait between two rounds, while letters that come back are parked again.
const LONGEST_WAIT: Duration = Duration::from_secs(3600);

/// When to bring back the next ones.
#[derive(Debug)]
pub(super) struct Parked {
    next: Instant,
    wait: Duration,
}

impl Default for Parked {
    fn default() -> Self {
        Self {
            next: Instant::now(),
            wait: Duration::ZERO,
        }
    }
}

impl Parked {
    /// Brings some back, if the database accepts writes, as it has just done for the lease.
    pub(super) async fn bring_back(&mut self, post: &Post, queues: &Queues) -> Result<(), Failure> {
        let (parked, dead) = (post.names.parked(), post.names.dead());
        let ready = queues.messages(&parked) > 0
            && queues.is_consumed(&dead)
            && queues.messages(&dead) < BUSY;
        if !ready || Instant::now() < self.next {
            return Ok(());
        }
        let mut came_again = false;
        let carried = carry(&*post.broker, &parked, &dead, MAX_MOVED, |message| {
            let returns = message.headers.int(header::PARKED).unwrap_or(0).max(0);
            came_again |= returns > 0;
            let moves = returns < MAX_RETURNS;
            if moves {
                once_more(message, &dead, returns + 1);
            }
            moves
        })
        .await?;
        metrics::watch_repaired("parked", carried.moved);
        if carried.moved > 0 {
            tracing::info!(
                number = carried.moved,
                "parked dead letters are back on their way to the archive"
            );
        }
        self.wait = match came_again {
            true => (self.wait * 2).clamp(post.lag(), LONGEST_WAIT),
            false => Duration::ZERO,
        };
        self.next = Instant::now() + self.wait;
        Ok(())
    }
}

/// The letter, once more. Its report of its own death stays, also the broker's. Deaths of workers over it do not count
/// again.
fn once_more(message: &mut Message, dead: &str, returns: i64) {
    carry_death(&mut message.headers, dead);
    message.headers.remove(header::CRASHES);
    message.headers.set(header::PARKED, returns);
}
