//! The generations of a worker program: what works with one configuration after the other.
//!
//! The worker of a queue begins when the one before on the same queue has finished what it had in hand, so a message is in the hand
//! of one of them. A slow destination delays its own successor alone.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use common::bootstrap::{Failure, Program};
use common::runtime::Worker;
use common::tasks;
use futures_util::future::LocalBoxFuture;
use futures_util::stream::FuturesUnordered;
use futures_util::{FutureExt as _, StreamExt as _};
use tokio::sync::mpsc;
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::operations::Operations;
use crate::schedule::Releaser;
use crate::watch::Watch;

/// What a program does until it is told to stop.
#[derive(Default)]
pub struct Work {
    /// The workers, which take from queues.
    pub workers: Vec<Worker>,
    /// What runs operations, where the program does.
    pub operations: Option<Operations>,
    /// The standing watch, where the program keeps it.
    pub watch: Option<Watch>,
    /// The releaser of scheduled events, where the program has it.
    pub releaser: Option<Releaser>,
}

impl From<Vec<Worker>> for Work {
    fn from(workers: Vec<Worker>) -> Self {
        Self {
            workers,
            ..Self::default()
        }
    }
}

/// A part of a generation. All of them run in the task of the program; lanes have tasks of their own.
type Task = LocalBoxFuture<'static, Result<(), Failure>>;

/// The generations of a program, of which the last one works and those before finish.
pub struct Generations {
    end: CancellationToken,
    drain: Duration,
    sender: mpsc::UnboundedSender<Task>,
    tasks: tokio::sync::Mutex<mpsc::UnboundedReceiver<Task>>,
    /// For each queue, and what else there is one of: cancelled when the last that works on it has ended.
    last: Mutex<BTreeMap<String, CancellationToken>>,
}

impl Generations {
    /// No generation yet.
    pub fn new(program: &Program) -> Self {
        let (sender, tasks) = mpsc::unbounded_channel();
        Self {
            end: program.end.clone(),
            drain: program.config.worker.drain,
            sender,
            tasks: tokio::sync::Mutex::new(tasks),
            last: Mutex::default(),
        }
    }

    /// The work of a generation begins, each part of it when its predecessor has ended.
    pub fn begin(&self, program: &Program, work: Work) {
        for worker in work.workers {
            let turn = self.turn(worker.queue());
            self.add(async move {
                let _ended = turn.await;
                Ok(worker.run().await?)
            });
        }
        if let Some(watch) = work.watch {
            let (turn, stop) = (self.turn("the standing watch"), program.stop.clone());
            self.add(async move {
                let _ended = turn.await;
                // A panic in it ends the program.
                let _ = tasks::spawn_until("watch", stop, watch.run()).await;
                Ok(())
            });
        }
        if let Some(releaser) = work.releaser {
            let (turn, stop) = (self.turn("the schedule"), program.stop.clone());
            self.add(async move {
                let _ended = turn.await;
                // A panic in it ends the program.
                let _ = tasks::spawn_until("schedule", stop, releaser.run()).await;
                Ok(())
            });
        }
        if let Some(operations) = work.operations {
            let (turn, late) = (self.turn("operations"), late(self.end.clone(), self.drain));
            self.add(async move {
                let _ended = turn.await;
                tokio::select! {
                    () = operations.run() => {}
                    () = late => tracing::warn!("operations are cut off: others take them up"),
                }
                Ok(())
            });
        }
    }

    /// Waits until the program is told to stop and all generations have ended.
    ///
    /// # Errors
    /// What was running did not end within the drain deadline.
    pub async fn run(&self) -> Result<(), Failure> {
        let mut new = self.tasks.lock().await;
        let mut under_way = FuturesUnordered::new();
        loop {
            tokio::select! {
                Some(task) = new.recv() => under_way.push(task),
                Some(ended) = under_way.next() => ended?,
                () = self.end.cancelled(), if under_way.is_empty() => return Ok(()),
            }
        }
    }

    fn add(&self, task: impl Future<Output = Result<(), Failure>> + 'static) {
        // The other end lives as long as this one.
        let _ = self.sender.send(task.boxed_local());
    }

    /// Waits until the last that works on `what` has ended. The next one waits until the guard is dropped.
    fn turn(&self, what: &str) -> impl Future<Output = DropGuard> + Send + 'static {
        let ended = CancellationToken::new();
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        let before = last.insert(what.to_owned(), ended.clone());
        async move {
            let ended = ended.drop_guard();
            if let Some(before) = before {
                before.cancelled().await;
            }
            ended
        }
    }
}

/// Waits until the program was told to stop and its time to drain is over.
async fn late(end: CancellationToken, drain: Duration) {
    end.cancelled().await;
    tokio::time::sleep(drain).await;
}

#[cfg(test)]
mod tests {
    use common::config::Config;
    use common::telemetry::metrics::MetricsPage;

    use super::*;

    fn generations() -> Generations {
        let program = Program::new("test", Config::default(), MetricsPage::start());
        Generations::new(&program)
    }

    #[tokio::test]
    async fn each_waits_for_the_one_before_on_the_same_queue_alone() {
        let generations = generations();
        let first = generations.turn("a").await;
        let (second, third) = (generations.turn("a"), generations.turn("a"));
        drop(generations.turn("b").await);
        let mut second = std::pin::pin!(second);
        assert!(second.as_mut().now_or_never().is_none());
        drop(first);
        let second = second.await;
        let mut third = std::pin::pin!(third);
        assert!(third.as_mut().now_or_never().is_none());
        drop(second);
        third.await;
    }

    #[tokio::test]
    async fn a_program_without_work_waits_for_its_end() {
        let generations = generations();
        assert!(generations.run().now_or_never().is_none());
        generations.end.cancel();
        generations.run().await.unwrap();
    }
}
