//! The lease under which an operation runs: one process holds it at a time.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use common::bootstrap::Failure;
use common::store::{LeaseState, Store};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::patience::Patience;

/// How long a lease lasts without renewal.
const LEASE_TIME: Duration = Duration::from_secs(4);

/// How often a run renews its lease.
const RENEWAL_INTERVAL: Duration = Duration::from_secs(1);

/// Time between two looks whether another run has ended.
const ASK_INTERVAL: Duration = Duration::from_millis(250);

/// The value beside a lease: whether the last run knew, at its end, all that it had sent.
const IS_KNOWN: u64 = 1;
const IS_UNKNOWN: u64 = 0;

/// The state that previous runs have left.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Before {
    /// No process has ever held the lease.
    NoRun,
    /// The last run knew, at its end, all that it had sent.
    Known,
    /// The last run was killed, or cut off from the broker.
    Unknown,
}

impl Before {
    fn of(position: Option<u64>) -> Self {
        match position {
            None => Self::NoRun,
            Some(IS_KNOWN) => Self::Known,
            Some(_) => Self::Unknown,
        }
    }
}

/// The right to send the messages of an operation. It ends by itself soon after its process was killed.
pub(super) struct RunLease {
    name: String,
    holder: Uuid,
    /// The state that previous runs have left.
    pub(super) before: Before,
    is_known: AtomicBool,
}

impl RunLease {
    /// Takes the lease; `None` where another process holds it.
    ///
    /// # Errors
    /// The database cannot say.
    pub(super) async fn try_take(store: &dyn Store, replay: Uuid) -> Result<Option<Self>, Failure> {
        let (name, holder) = (lease_name(replay), Uuid::now_v7());
        let watching = store.watching();
        let taken = watching.hold_lease(&name, holder, LEASE_TIME, None).await?;
        let Some(taken) = taken else {
            return Ok(None);
        };
        let marked = watching.hold_lease(&name, holder, LEASE_TIME, Some(IS_UNKNOWN));
        if marked.await?.is_none() {
            return Ok(None);
        }
        Ok(Some(Self {
            name,
            holder,
            before: Before::of(taken.position),
            is_known: AtomicBool::new(false),
        }))
    }

    /// Takes the lease; waits for the end of a run that was killed.
    ///
    /// # Errors
    /// The operation runs elsewhere, or the database cannot say.
    pub(super) async fn take(
        store: &dyn Store,
        replay: Uuid,
        stop: &CancellationToken,
    ) -> Result<Self, Failure> {
        loop {
            if let Some(lease) = Self::try_take(store, replay).await? {
                return Ok(lease);
            }
            if stop.is_cancelled() || is_renewed(store, replay).await? {
                return Err(elsewhere(replay));
            }
        }
    }

    /// The run has ended, and knows all that it has sent.
    pub(super) fn all_is_known(&self) {
        self.is_known.store(true, Ordering::Relaxed);
    }

    /// Renews the lease until `over` is cancelled, and then gives it up. Cancels `lost` where another run holds
    /// the lease meanwhile: this run has stood still, or was cut off from the database.
    pub(super) async fn keep(
        &self,
        store: &dyn Store,
        lost: &CancellationToken,
        over: &CancellationToken,
    ) {
        let watching = store.watching();
        loop {
            tokio::select! {
                () = over.cancelled() => break,
                () = tokio::time::sleep(RENEWAL_INTERVAL) => {}
            }
            // A database that cannot be reached now is asked again.
            let renewed = watching.hold_lease(&self.name, self.holder, LEASE_TIME, None);
            if matches!(renewed.await, Ok(None)) {
                lost.cancel();
                return;
            }
        }
        self.give_up(store).await;
    }

    /// Lets the next run take the lease at once. Where the database cannot be reached, the lease ends by itself.
    pub(super) async fn give_up(&self, store: &dyn Store) {
        let watching = store.watching();
        if self.is_known.load(Ordering::Relaxed) {
            let known = watching.hold_lease(&self.name, self.holder, LEASE_TIME, Some(IS_KNOWN));
            let _ = known.await;
        }
        let _ = watching.give_up_lease(&self.name, self.holder).await;
    }
}

fn lease_name(replay: Uuid) -> String {
    format!("replay {replay}")
}

/// Whether a process holds the lease of an operation now: a process that runs the operation, or one that was killed just
/// now.
///
/// # Errors
/// The database cannot say.
pub async fn is_leased(store: &dyn Store, replay: Uuid) -> Result<bool, Failure> {
    let lease = store.watching().lease(&lease_name(replay)).await?;
    Ok(lease.is_some_and(|lease| lease.is_held))
}

/// Whether a process renews the lease of an operation. Waits for the renewal, or for the end of the lease of a run
/// that was killed.
///
/// # Errors
/// The database cannot say.
pub(super) async fn is_renewed(store: &dyn Store, replay: Uuid) -> Result<bool, Failure> {
    let name = lease_name(replay);
    let held = async || -> Result<Option<LeaseState>, Failure> {
        let lease = store.watching().lease(&name).await?;
        Ok(lease.filter(|lease| lease.is_held))
    };
    let Some(first) = held().await? else {
        return Ok(false);
    };
    let until = Instant::now() + LEASE_TIME + RENEWAL_INTERVAL;
    loop {
        tokio::time::sleep(ASK_INTERVAL).await;
        match held().await? {
            None => return Ok(false),
            Some(lease) if lease.renewed_at != first.renewed_at || Instant::now() >= until => {
                return Ok(true);
            }
            Some(_) => {}
        }
    }
}

/// Waits for the end of the run of an operation that was stopped. Returns the state that the run left.
///
/// # Errors
/// The database was down for too long.
pub(super) async fn left_by(
    patience: &Patience<'_>,
    store: &dyn Store,
    replay: Uuid,
) -> Result<Before, Failure> {
    let (watching, name) = (store.watching(), lease_name(replay));
    loop {
        let lease = patience.outlast(async || watching.lease(&name).await);
        match lease.await? {
            None => return Ok(Before::NoRun),
            Some(lease) if !lease.is_held => return Ok(Before::of(lease.position)),
            Some(_) if patience.is_over() => return Ok(Before::Unknown),
            Some(_) => tokio::time::sleep(ASK_INTERVAL).await,
        }
    }
}

/// The failure where another process runs the operation.
pub(super) fn elsewhere(replay: Uuid) -> Failure {
    Failure::Usage(format!(
        "expected a replay that nobody runs, found that {replay} runs elsewhere; `longshore replay watch {replay}` \
         shows how far it is, and `pause` and `stop` are heard there"
    ))
}
