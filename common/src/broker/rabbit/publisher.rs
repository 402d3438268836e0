//! Publishing with confirms: a few lanes, each the sole owner of one channel.
//!
//! A lane must be one task. lapin numbers a publish and writes it under two different locks, so two
//! threads on one channel could swap each other's confirms.

mod batch;
mod drained;
mod flight;
mod looks;

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use lapin::options::ConfirmSelectOptions;
use lapin::types::ShortString;
use lapin::{BasicProperties, Channel};
use tokio::sync::mpsc;
use tokio::time::sleep_until;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use self::batch::{Answer, Ticket};
use self::flight::{Broken, Flight};
use self::looks::Look;
use super::connection::{Link, close_channel};
use super::explain::within;
use crate::broker::{BrokerError, PublishError};
use crate::tasks::supervised;

/// A message, ready to be written.
#[derive(Debug)]
pub(super) struct Parcel {
    pub(super) exchange: ShortString,
    pub(super) routing_key: ShortString,
    pub(super) mandatory: bool,
    pub(super) properties: BasicProperties,
    pub(super) body: Bytes,
}

/// A message to publish, and where the answer goes.
#[derive(Debug)]
struct Job {
    parcel: Parcel,
    ticket: Ticket,
    /// To be sent once it is written.
    look: Option<Look>,
}

/// The publisher of this process.
#[derive(Debug)]
pub(super) struct Publisher {
    link: Arc<Link>,
    lanes: Vec<mpsc::Sender<Vec<Job>>>,
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
    /// Starts `lanes` tasks in `tasks`. On `draining` they finish their running publishes and end.
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
                    looks: Vec::new(),
                    draining: draining.clone(),
                };
                tasks.spawn(supervised("publisher", lane.run()));
                sender
            })
            .collect();
        Self {
            link: Arc::clone(link),
            lanes,
            turn: AtomicUsize::new(0),
        }
    }

    /// Publishes messages, in order, and waits until each is confirmed or known not to be. With `queue`, none
    /// counts as published unless that queue is found once all of them are routed. One answer for each, in
    /// order.
    pub(super) async fn publish(
        &self,
        parcels: Vec<Parcel>,
        queue: Option<ShortString>,
    ) -> Vec<Answer> {
        if parcels.is_empty() {
            return Vec::new();
        }
        if let Err(error) = self.link.usable().await {
            let error = publish_error(error);
            return parcels.iter().map(|_| Err(error.clone())).collect();
        }
        let (mut tickets, answers) = batch::open(parcels.len() + usize::from(queue.is_some()));
        let mut jobs: Vec<Job> = parcels
            .into_iter()
            .zip(&mut tickets)
            .map(|(parcel, ticket)| Job {
                parcel,
                ticket,
                look: None,
            })
            .collect();
        let looks = queue.is_some();
        if let Some(last) = jobs.last_mut() {
            let look = queue.zip(tickets.next());
            last.look = look.map(|(queue, ticket)| Look {
                queue,
                ticket,
                is_second: false,
            });
        }
        drop(tickets);
        let turn = self.turn.fetch_add(1, Ordering::Relaxed) % self.lanes.len();
        // A lane that is gone drops them, and a ticket that is dropped is an answer.
        match self.lanes.get(turn) {
            Some(lane) => drop(lane.send(jobs).await),
            None => drop(jobs),
        }
        let mut answers = answers.await;
        if looks && let Some(Err(error)) = answers.pop() {
            deny(&mut answers, &error);
        }
        answers
    }
}

/// Revokes answers that rest on a confirm alone. For the other errors too, the missing queue is the one that matters.
fn deny(answers: &mut [Answer], error: &PublishError) {
    let is_missing = matches!(error, PublishError::Unroutable { .. });
    for answer in answers {
        if answer.is_ok() || is_missing {
            *answer = Err(error.clone());
        }
    }
}

/// The task behind one publishing channel.
struct Lane {
    link: Arc<Link>,
    pace: Pace,
    jobs: mpsc::Receiver<Vec<Job>>,
    /// Taken from `jobs`, not published yet.
    ready: VecDeque<Job>,
    /// Looks to be made on the next channel.
    looks: Vec<Look>,
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
        while self.ready.is_empty() && self.looks.is_empty() {
            let jobs = tokio::select! {
                () = self.draining.cancelled() => {
                    self.jobs.close();
                    self.jobs.recv().await
                }
                jobs = self.jobs.recv() => jobs,
            };
            let Some(jobs) = jobs else { return false };
            self.ready.extend(jobs);
        }
        true
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
        while let Ok(jobs) = self.jobs.try_recv() {
            self.ready.extend(jobs);
        }
        for job in self.ready.drain(..) {
            job.ticket.answer(Err(error.clone()));
        }
        for look in self.looks.drain(..) {
            look.ticket.answer(Err(error.clone()));
        }
    }

    /// Publishes on `channel` until it is of no more use or there is nothing left to do.
    async fn serve(&mut self, channel: Channel) {
        let window = self.pace.window.max(1);
        let mut flight = Flight::new(Arc::new(channel), self.pace);
        flight.look_again(std::mem::take(&mut self.looks));
        let mut open = true;
        let mut batch = Vec::new();
        loop {
            if let Some(reason) = self.link.blocked() {
                self.refuse_all(&PublishError::Blocked(reason));
            }
            let worn = flight.is_worn();
            while !worn
                && flight.len() < window
                && let Some(job) = self.ready.pop_front()
            {
                // Definitely not published yet, so it can have another channel.
                if !flight.channel().status().connected() {
                    self.ready.push_front(job);
                    let Broken(looks) = flight.closed();
                    self.looks = looks;
                    return;
                }
                flight.start(job);
            }
            if (worn || !open) && flight.is_empty() {
                close_channel(flight.channel(), self.link.settings.patience).await;
                return;
            }
            let free = window.saturating_sub(flight.len());
            let deadline = flight.deadline();
            tokio::select! {
                biased;
                landed = flight.landed(), if !flight.is_empty() => {
                    if let Err(Broken(looks)) = flight.settle(landed) {
                        self.looks = looks;
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
                count = self.jobs.recv_many(&mut batch, free), if open && free > 0 && !worn => {
                    open = count > 0;
                    self.ready.extend(batch.drain(..).flatten());
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
