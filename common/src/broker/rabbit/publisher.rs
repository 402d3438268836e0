//! Publishing with confirms: a few lanes, each the sole owner of one channel.
//!
//! A lane must be one task: lapin numbers a publish and writes it under two different locks, so two
//! threads on one channel could swap each other's confirms.

mod drained;
mod flight;

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use lapin::options::ConfirmSelectOptions;
use lapin::types::ShortString;
use lapin::{BasicProperties, Channel};
use tokio::sync::{mpsc, oneshot};
use tokio::time::sleep_until;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use self::flight::Flight;
use super::connection::{Link, close_channel};
use super::explain::within;
use crate::broker::{BrokerError, PublishError};

/// A message, ready to be written.
#[derive(Debug)]
pub(super) struct Parcel {
    pub(super) exchange: ShortString,
    pub(super) routing_key: ShortString,
    pub(super) mandatory: bool,
    pub(super) properties: BasicProperties,
    pub(super) body: Bytes,
}

/// Tells a caller how its publish ended.
type Reply = oneshot::Sender<Result<(), PublishError>>;

#[derive(Debug)]
struct Job {
    /// Boxed: it is large, and handed on from one queue to the next.
    parcel: Box<Parcel>,
    reply: Reply,
}

/// What publishes for everybody in this process.
#[derive(Debug)]
pub(super) struct Publisher {
    link: Arc<Link>,
    lanes: Vec<mpsc::Sender<Job>>,
    turn: AtomicUsize,
}

/// How a lane works.
#[derive(Debug, Clone, Copy)]
pub(super) struct Pace {
    /// How many publishes may wait for their confirm at once.
    pub(super) window: usize,
    /// How long a confirm may take.
    pub(super) confirm_timeout: Duration,
}

impl Publisher {
    /// Starts `lanes` tasks in `tasks`. On `draining` they finish what is under way and end.
    pub(super) fn start(
        link: &Arc<Link>,
        lanes: usize,
        pace: Pace,
        draining: &CancellationToken,
        tasks: &TaskTracker,
    ) -> Self {
        let lanes = (0..lanes.max(1))
            .map(|_| {
                let (sender, jobs) = mpsc::channel(pace.window.max(1));
                let lane = Lane {
                    link: Arc::clone(link),
                    pace,
                    jobs,
                    ready: VecDeque::new(),
                    draining: draining.clone(),
                };
                tasks.spawn(lane.run());
                sender
            })
            .collect();
        Self {
            link: Arc::clone(link),
            lanes,
            turn: AtomicUsize::new(0),
        }
    }

    /// Publishes one message and waits for its confirm.
    pub(super) async fn publish(&self, parcel: Box<Parcel>) -> Result<(), PublishError> {
        self.link.usable().await.map_err(publish_error)?;
        let turn = self.turn.fetch_add(1, Ordering::Relaxed) % self.lanes.len();
        let gone = || PublishError::Disconnected("this program has closed it".to_owned());
        let Some(lane) = self.lanes.get(turn) else {
            return Err(gone());
        };
        let (reply, answer) = oneshot::channel();
        lane.send(Job { parcel, reply }).await.map_err(|_| gone())?;
        answer.await.unwrap_or_else(|_| Err(gone()))
    }
}

/// The task behind one publishing channel.
struct Lane {
    link: Arc<Link>,
    pace: Pace,
    jobs: mpsc::Receiver<Job>,
    /// Taken from `jobs`, not published yet.
    ready: VecDeque<Job>,
    draining: CancellationToken,
}

impl Lane {
    /// Runs until nobody can publish any more.
    async fn run(mut self) {
        while self.wait_for_job().await {
            match self.open().await {
                Ok(channel) => self.serve(channel).await,
                Err(error) => self.refuse_all(&publish_error(error)),
            }
        }
    }

    /// Waits until there is something to publish; `false` when there never will be again.
    async fn wait_for_job(&mut self) -> bool {
        if !self.ready.is_empty() {
            return true;
        }
        let job = tokio::select! {
            () = self.draining.cancelled() => {
                self.jobs.close();
                self.jobs.recv().await
            }
            job = self.jobs.recv() => job,
        };
        self.ready.extend(job);
        !self.ready.is_empty()
    }

    async fn open(&self) -> Result<Channel, BrokerError> {
        self.link.usable().await?;
        let channel = self.link.channel().await?;
        let select = channel.confirm_select(ConfirmSelectOptions::default());
        within(self.link.settings.patience, "confirm.select", select).await?;
        Ok(channel)
    }

    /// Answers everything that has not been published.
    fn refuse_all(&mut self, error: &PublishError) {
        while let Some(job) = self.ready.pop_front().or_else(|| self.jobs.try_recv().ok()) {
            // A caller that waits no longer needs no answer, here and below.
            let _ = job.reply.send(Err(error.clone()));
        }
    }

    /// Publishes on `channel` until it is of no more use or there is nothing left to do.
    async fn serve(&mut self, channel: Channel) {
        let window = self.pace.window.max(1);
        let mut flight = Flight::new(Arc::new(channel), self.pace.confirm_timeout);
        let mut open = true;
        let mut batch = Vec::new();
        loop {
            if let Some(reason) = self.link.blocked() {
                self.refuse_all(&PublishError::Blocked(reason));
            }
            while flight.len() < window
                && let Some(job) = self.ready.pop_front()
            {
                // Definitely not published yet, so it can have another channel.
                if !flight.channel().status().connected() {
                    self.ready.push_front(job);
                    flight.lost("the channel was closed");
                    return;
                }
                flight.start(job);
            }
            if !open && flight.is_empty() {
                close_channel(flight.channel(), self.link.settings.patience).await;
                return;
            }
            let free = window.saturating_sub(flight.len());
            let deadline = flight.deadline();
            tokio::select! {
                biased;
                landed = flight.landed(), if !flight.is_empty() => {
                    if flight.settle(landed).is_err() {
                        return;
                    }
                }
                () = async { sleep_until(deadline.unwrap_or_else(tokio::time::Instant::now)).await },
                    if deadline.is_some() =>
                {
                    let blocked = self.link.blocked().is_some();
                    if flight.fail_overdue(blocked) && !blocked {
                        // An unconfirmed publish cannot be taken back or forgotten, other than with
                        // its channel.
                        flight.lost(&format!(
                            "its channel was closed because messages before it were not confirmed \
                             within {}",
                            humantime::format_duration(self.pace.confirm_timeout)
                        ));
                        close_channel(flight.channel(), self.link.settings.patience).await;
                        return;
                    }
                }
                count = self.jobs.recv_many(&mut batch, free), if open && free > 0 => {
                    open = count > 0;
                    self.ready.extend(batch.drain(..));
                }
                () = self.draining.cancelled(), if !self.jobs.is_closed() => self.jobs.close(),
            }
        }
    }
}

/// Why nothing can be published now.
pub(super) fn publish_error(error: BrokerError) -> PublishError {
    match error {
        BrokerError::Blocked(reason) => PublishError::Blocked(reason),
        error => PublishError::Disconnected(error.to_string()),
    }
}
