//! What an open file needs of itself while it is open: a look at what other programs did to it, signs
//! of life, messages of the dead given back, old history forgotten.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use sqlx::SqliteConnection;
use tokio::time::{Instant, Interval, MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use super::clock::Jumps;
use super::engine::Engine;
use super::history;
use super::owner::{BEAT, Watch};
use crate::broker::BrokerError;
use crate::sqlite::Error;

/// How often to look whether another program has published: a look at the time of the log, and a row
/// if that has changed.
const LOOK: Duration = Duration::from_millis(25);

/// How often to look after those who have the file open.
const TEND: Duration = Duration::from_secs(1);

/// How often to look for old history. While there is some, it is forgotten bit by bit.
const TRIM: Duration = Duration::from_secs(10);

/// How often to look whether the clock on the wall was set.
const JUMP: Duration = Duration::from_secs(1);

/// How long nothing is forgotten after the clock was set: it may be set back, and what it seemed to be old was
/// not.
const CALM: Duration = Duration::from_secs(60 * 60);

/// Keeps a file until `closing`.
pub(super) async fn keep(engine: Arc<Engine>, closing: CancellationToken) {
    let (mut look, mut tend) = (every(LOOK), every(TEND));
    let (mut beat, mut jump) = (every(BEAT), every(JUMP));
    let mut jumps = Jumps::of(&engine.clock);
    let shared = !engine.is_in_memory();
    let mut glance = Glance::default();
    let mut heard = Heard::default();
    let mut watch = Watch::default();
    loop {
        let done = tokio::select! {
            () = closing.cancelled() => return,
            _ = look.tick(), if shared => {
                if engine.wakes.is_empty() || !glance.is_news(engine.log()) {
                    continue;
                }
                listen(&engine, &mut heard).await
            }
            _ = jump.tick() => {
                if let Some(jump) = jumps.look() {
                    tell_of_jump(jump);
                    // Delayed messages may be due, or have to wait by another clock.
                    engine.wakes.wake_all();
                }
                continue;
            }
            _ = tend.tick(), if shared => tend_to(&engine, &mut watch).await,
            _ = beat.tick(), if shared && !engine.wakes.is_empty() => engine.beat().await,
        };
        report(done);
    }
}

/// Forgets old history until `closing`. By itself, for there may be much of it.
pub(super) async fn keep_history_short(engine: Arc<Engine>, closing: CancellationToken) {
    let mut trim = every(TRIM);
    let mut jumps = Jumps::of(&engine.clock);
    let mut set_at: Option<Instant> = None;
    loop {
        tokio::select! {
            () = closing.cancelled() => return,
            _ = trim.tick() => {}
        }
        if jumps.look().is_some() {
            set_at = Some(Instant::now());
        }
        if set_at.is_none_or(|at| at.elapsed() > CALM) {
            report(forget(&engine, &closing).await);
        }
    }
}

fn tell_of_jump(jump: i64) {
    let seconds = jump.abs() / 1_000_000;
    if jump > 0 {
        tracing::warn!(
            "the clock of this machine was set forward by {seconds} s: delayed messages may come early"
        );
    } else {
        tracing::warn!(
            "the clock of this machine was set back by {seconds} s: delayed messages may come later, by \
             their own delay at most"
        );
    }
}

fn report(done: Result<(), BrokerError>) {
    if let Err(error) = done {
        // Whoever publishes or consumes says so louder; here the next time will do.
        tracing::debug!(%error, "could not look after the broker's file");
    }
}

fn every(period: Duration) -> Interval {
    let mut interval = interval(period);
    interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
    interval
}

/// Whether anybody has written since the last look.
#[derive(Debug, Default)]
struct Glance {
    seen: Option<(SystemTime, u64)>,
    /// It was news the last time.
    again: bool,
}

impl Glance {
    /// Looks at the log of a file. What is written in the same tick of the system's clock as something
    /// before looks like that, so after news it is looked at once more.
    fn is_news(&mut self, log: Option<&Path>) -> bool {
        let found = log.and_then(|log| std::fs::metadata(log).ok());
        let found = found.and_then(|found| Some((found.modified().ok()?, found.len())));
        let differs = found.is_none() || found != self.seen;
        self.seen = found;
        std::mem::replace(&mut self.again, differs) || differs
    }
}

/// What is known of what other programs did.
#[derive(Debug, Clone, Copy, Default)]
struct Heard {
    /// Moves on with everything published.
    clock: i64,
    /// The version of the topology.
    topology: i64,
}

/// Wakes who waits for what another program has published, and who consumes a queue that it has deleted.
async fn listen(engine: &Engine, heard: &mut Heard) -> Result<(), BrokerError> {
    let before = *heard;
    let (now, queues) = engine
        .read(move |connection| Box::pin(filled_since(connection, before)))
        .await?;
    *heard = now;
    if now.topology == before.topology {
        engine.wakes.wake(&queues);
    } else {
        engine.wakes.wake_all();
    }
    Ok(())
}

/// What there is to hear, and if the clock has moved on, the queues in which something waits, be it only for its time.
async fn filled_since(
    connection: &mut SqliteConnection,
    before: Heard,
) -> Result<(Heard, Vec<i64>), Error> {
    const FILLED: &str = "
        SELECT id FROM queues WHERE EXISTS (SELECT 1 FROM waiting WHERE queue = queues.id)";
    let (clock, topology) = sqlx::query_as("SELECT clock, topology FROM state")
        .fetch_one(&mut *connection)
        .await?;
    let now = Heard { clock, topology };
    let queues = if now.clock == before.clock {
        Vec::new()
    } else {
        sqlx::query_scalar(FILLED).fetch_all(connection).await?
    };
    Ok((now, queues))
}

/// Gives back what those hold who have ended or stand still, and sees to it that we do not count as
/// one of them.
async fn tend_to(engine: &Engine, watch: &mut Watch) -> Result<(), BrokerError> {
    engine.end_orphans().await;
    let mut others = engine.owners().await?;
    let all = others.len();
    others.retain(|other| other.id != engine.owner.id);
    if others.len() == all {
        tracing::warn!("this program stood still for so long that others got its messages");
        engine.restore().await?;
        engine.wakes.wake_all();
    }
    for other in &others {
        if engine.is_gone(other) {
            engine.take_over(other, None).await?;
        }
    }
    for other in watch.still(&others, Instant::now()) {
        engine.take_over(&other, Some(other.beat)).await?;
    }
    Ok(())
}

/// Forgets old history, a little at a time so that others can write in between.
pub(super) async fn forget(
    engine: &Engine,
    closing: &CancellationToken,
) -> Result<(), BrokerError> {
    let routes = engine.current_routes().await?;
    while !closing.is_cancelled() {
        let (theirs, now) = (Arc::clone(&routes), engine.clock.now());
        let overdue = engine.read(move |connection| {
            Box::pin(async move { history::is_overdue(connection, &theirs, now).await })
        });
        if !overdue.await? {
            break;
        }
        let theirs = Arc::clone(&routes);
        engine
            .write(move |connection| {
                Box::pin(async move { history::trim(connection, &theirs, now).await })
            })
            .await?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_is_news_twice_and_then_no_more() {
        let folder = tempfile::tempdir().expect("a folder");
        let log = folder.path().join("x.db-wal");
        let mut glance = Glance::default();
        // Where nothing can be seen, anything may have happened.
        assert!(glance.is_news(Some(&log)));
        assert!(glance.is_news(None));
        for size in 1..4 {
            std::fs::write(&log, vec![0; size]).expect("written");
            assert!(glance.is_news(Some(&log)));
            assert!(glance.is_news(Some(&log)));
            assert!(!glance.is_news(Some(&log)));
        }
    }
}
