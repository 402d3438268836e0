//! The standing watch: it reports everything lost or stuck, and mends it where possible.
//!
//! One archive worker at a time keeps it, under a lease in the database. Every few seconds it looks at all queues,
//! follows the history with a lag, and asks the tables for due deliveries:
//!
//! | finds | does |
//! |--|--|
//! | an event of the history in no table and no queue | sends it to `validate` again |
//! | a delivery that is due and in no queue | sends it to its queue again |
//! | the first of a key at an ordered destination that has ended | sends the next one |
//! | a parked dead letter | brings it back to the archive |
//! | a missing or unconsumed queue, suspects, a clock that jumped | reports it |
//!
//! Its messages say that they may have come before, so a false alarm changes nothing. Its findings are in `longshore
//! doctor` (the table `watch_findings`) and in the gauge `longshore_watch_findings`.

mod altered;
mod clock;
mod due;
mod follow;
mod lost;
mod order;
mod parked;
mod queues;

use std::sync::Arc;
use std::time::Duration;

use common::bootstrap::{Failure, Program};
use common::broker::Broker;
use common::config::Config;
use common::store::{Store, WatchFinding};
use common::telemetry::metrics;
use common::topology::{Names, Topology};
use operate::finding::{self, WATCH_LEASE};
use operate::history::Judge;
use time::OffsetDateTime;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use self::clock::Clock;
use self::due::DueWatch;
use self::follow::Follower;
use self::parked::Parked;
use self::queues::Queues;

/// How many intervals a lease lasts, and how long at least.
const LEASE_INTERVALS: u32 = 3;
const SHORTEST_LEASE: Duration = Duration::from_secs(15);

/// How long a repair is reported.
const TOLD: time::Duration = time::Duration::HOUR;

/// Something that is wrong.
pub(crate) fn found(
    finding: &str,
    subject: impl Into<String>,
    number: u64,
    detail: impl Into<String>,
) -> WatchFinding {
    WatchFinding {
        finding: finding.to_owned(),
        subject: subject.into(),
        number,
        detail: detail.into(),
    }
}

/// The dependencies of the watch.
pub(crate) struct Post {
    pub(crate) broker: Arc<dyn Broker>,
    pub(crate) store: Arc<dyn Store>,
    pub(crate) config: Arc<Config>,
    pub(crate) topology: Topology,
    pub(crate) names: Names,
    pub(crate) judge: Judge,
    stop: CancellationToken,
    /// Who we are in the lease.
    holder: Uuid,
}

/// The watch, if the configuration enables it.
///
/// # Errors
/// A configured event type cannot be used.
pub fn of(
    program: &Program,
    broker: &Arc<dyn Broker>,
    store: &Arc<dyn Store>,
) -> Result<Option<Watch>, Failure> {
    let config = Arc::clone(&program.config);
    if !config.watch.enabled {
        return Ok(None);
    }
    let post = Arc::new(Post {
        broker: Arc::clone(broker),
        store: Arc::clone(store),
        topology: Topology::new(&config.plan()),
        names: Names::new(config.namespace.clone()),
        judge: Judge::new(&config)?,
        config,
        stop: program.stop.clone(),
        holder: Uuid::now_v7(),
    });
    Ok(Some(Watch::new(post)))
}

impl Post {
    fn interval(&self) -> Duration {
        self.config.watch.interval
    }

    pub(crate) fn lag(&self) -> Duration {
        self.config.watch.lag
    }

    async fn pause(&self) -> bool {
        tokio::select! {
            () = tokio::time::sleep(self.interval()) => true,
            () = self.stop.cancelled() => false,
        }
    }
}

/// One term of the watch: its knowledge so far.
pub struct Watch {
    post: Arc<Post>,
    /// Knowledge that is valid only while we hold the lease.
    shift: Option<Shift>,
    clock: Clock,
    /// Whether the last round failed, so that a failure is logged once.
    is_failing: bool,
    told: Option<Vec<WatchFinding>>,
}

struct Shift {
    queues: Queues,
    follower: Follower,
    due: DueWatch,
    parked: Parked,
}

impl Watch {
    fn new(post: Arc<Post>) -> Self {
        Self {
            post,
            shift: None,
            clock: Clock::default(),
            is_failing: false,
            told: None,
        }
    }

    /// Keeps the watch until it has to stop.
    pub async fn run(mut self) {
        metrics::watching(false);
        let post = Arc::clone(&self.post);
        while post.pause().await {
            let looked = tokio::select! {
                looked = self.look() => looked,
                () = post.stop.cancelled() => break,
            };
            match looked {
                Ok(keeps) => {
                    metrics::watching(keeps);
                    self.is_failing = false;
                }
                Err(failure) => {
                    metrics::watching(false);
                    if !std::mem::replace(&mut self.is_failing, true) {
                        tracing::warn!(error = %failure, "the standing watch cannot see");
                    }
                }
            }
        }
        if self.shift.is_some() {
            let watching = post.store.watching();
            // It ends by itself otherwise.
            let _ = watching.give_up_lease(WATCH_LEASE, post.holder).await;
            show(&[]);
        }
        metrics::watching(false);
    }

    /// One look at everything; says whether the watch is ours.
    async fn look(&mut self) -> Result<bool, Failure> {
        let post = Arc::clone(&self.post);
        let watching = post.store.watching();
        let keep = (post.interval() * LEASE_INTERVALS).max(SHORTEST_LEASE);
        let position = self.shift.as_ref().and_then(|it| it.follower.position());
        let lease = watching
            .hold_lease(WATCH_LEASE, post.holder, keep, position)
            .await?;
        let Some(lease) = lease else {
            if self.shift.take().is_some() {
                // From now on the next holder tells.
                show(&[]);
            }
            self.told = None;
            return Ok(false);
        };
        let shift = self.shift.get_or_insert_with(|| {
            tracing::info!("keeping the standing watch");
            Shift {
                queues: Queues::default(),
                follower: Follower::new(lease.position),
                due: DueWatch::default(),
                parked: Parked::default(),
            }
        });
        shift.queues.look(&post).await?;
        let states = post.store.destinations().destination_states().await?;
        let mut findings = shift.queues.findings(&post, &states);
        findings.extend(self.clock.look(post.broker.clock_ahead().await?));
        // Each by itself: a login that may not read the history still finds deliveries.
        let queues = &shift.queues;
        findings.extend(seen(
            "parked",
            shift.parked.bring_back(&post, queues).await.map(|()| []),
        ));
        findings.extend(seen("order", order::look(&post, queues).await.map(|()| [])));
        findings.extend(seen("history", shift.follower.look(&post, queues).await));
        findings.extend(seen("deliveries", shift.due.look(&post, queues).await));
        let since = OffsetDateTime::now_utc() - TOLD;
        let (events, deliveries) = watching.repairs_since(since).await?;
        for (subject, number) in [("events", events), ("deliveries", deliveries)] {
            if number > 0 {
                let detail = format!("{number} {subject} were in no queue and were sent again");
                findings.push(found(finding::REPAIRED, subject, number, detail));
            }
        }
        self.tell(findings).await?;
        Ok(true)
    }

    /// Reports the findings, if they differ from the last report.
    async fn tell(&mut self, findings: Vec<WatchFinding>) -> Result<(), Failure> {
        show(&findings);
        if self.told.as_ref() == Some(&findings) {
            return Ok(());
        }
        let news = findings.iter().filter(|it| {
            let told = self.told.iter().flatten();
            !told
                .into_iter()
                .any(|told| (&told.finding, &told.subject) == (&it.finding, &it.subject))
        });
        for it in news {
            tracing::warn!(
                finding = it.finding,
                subject = it.subject,
                number = it.number,
                "{}",
                it.detail
            );
        }
        self.post.store.watching().keep_findings(&findings).await?;
        self.told = Some(findings);
        Ok(())
    }
}

/// The findings of a part of the watch, or that it cannot see.
fn seen(
    part: &str,
    looked: Result<impl IntoIterator<Item = WatchFinding>, Failure>,
) -> Vec<WatchFinding> {
    match looked {
        Ok(findings) => findings.into_iter().collect(),
        Err(failure) => {
            let detail = format!("problems of {part} cannot be seen or mended: {failure}");
            vec![found(finding::BLIND, part, 1, detail)]
        }
    }
}

/// Sets the gauge of each finding.
fn show(findings: &[WatchFinding]) {
    for wrong in finding::WRONG {
        let of_it = findings.iter().filter(|it| it.finding == wrong);
        metrics::watch_finding(wrong, of_it.map(|it| it.number).sum());
    }
}

#[cfg(test)]
mod tests;
