//! The copies of the worker that deliver now, and the share of this one.
//!
//! A copy tells the others of itself right before deliveries, at most twice a second, and every second while it has some in
//! hand. A copy without work tells nothing, keeps no connection from others, and has no share: those that deliver have all of it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use common::store::{LiveWorker, Store, StoreError, WorkerCard};
use tokio::sync::{Notify, watch};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::lately::Lately;
use super::share::Share;

/// How often a copy with deliveries in hand tells of itself.
const BEAT: Duration = Duration::from_secs(1);

/// The copies that this one knows.
pub(super) struct Copies {
    store: Arc<dyn Store>,
    card: WorkerCard,
    /// The share of this copy at each destination.
    shares: BTreeMap<String, watch::Sender<Share>>,
    known: Lately,
    in_hand: AtomicUsize,
    /// The last delivery in hand has ended.
    idle: Notify,
}

/// A delivery in hand.
pub(super) struct InHand<'c>(&'c Copies);

impl Drop for InHand<'_> {
    fn drop(&mut self) {
        if self.0.in_hand.fetch_sub(1, Ordering::Relaxed) == 1 {
            self.0.idle.notify_one();
        }
    }
}

impl Copies {
    /// The copy with this card.
    pub(super) fn new(store: Arc<dyn Store>, card: WorkerCard) -> Self {
        let share = |name: &String| (name.clone(), watch::Sender::new(Share::WHOLE));
        Self {
            shares: card.destinations.iter().map(share).collect(),
            card,
            store,
            known: Lately::default(),
            in_hand: AtomicUsize::new(0),
            idle: Notify::new(),
        }
    }

    /// The share of this copy at a destination, now and later.
    pub(super) fn share(&self, destination: &str) -> watch::Receiver<Share> {
        match self.shares.get(destination) {
            Some(share) => share.subscribe(),
            None => watch::Sender::new(Share::WHOLE).subscribe(),
        }
    }

    /// Sets the part of its rate and its concurrency that all copies together may use at a destination now, in percent.
    pub(super) fn ramp(&self, destination: &str, percent: u32) {
        if let Some(share) = self.shares.get(destination) {
            change(share, |known| known.at(percent));
        }
    }

    /// A delivery is in hand until the guard is dropped.
    pub(super) fn in_hand(&self) -> InHand<'_> {
        self.in_hand.fetch_add(1, Ordering::Relaxed);
        InHand(self)
    }

    /// Makes sure that the shares are those that the database knew lately. While it does not answer, they stay as they are.
    ///
    /// # Errors
    /// The database has never answered.
    pub(super) async fn check(&self) -> Result<(), StoreError> {
        self.known.check(async || self.beat().await).await
    }

    /// Tells of this copy while it has deliveries in hand, until `stop` and the end of the last of them.
    pub(super) async fn follow(&self, stop: CancellationToken) {
        loop {
            let is_idle = self.in_hand.load(Ordering::Relaxed) == 0;
            tokio::select! {
                // Requests that are under way take places from other copies.
                () = stop.cancelled(), if is_idle => return,
                () = self.idle.notified(), if stop.is_cancelled() => continue,
                () = tokio::time::sleep(BEAT) => {}
            }
            if self.in_hand.load(Ordering::Relaxed) == 0 {
                continue;
            }
            if let Err(error) = self.known.read(async || self.beat().await).await {
                tracing::debug!(%error, "other copies do not hear of this one");
            }
        }
    }

    /// Tells that this copy is gone.
    pub(super) async fn leave(&self) {
        if self.known.is_read()
            && let Err(error) = self.store.workers().leave(self.card.id).await
        {
            tracing::debug!(%error, "other copies do not hear that this one ends");
        }
    }

    async fn beat(&self) -> Result<(), StoreError> {
        let live = self.store.workers().beat(&self.card).await?;
        self.set(&live);
        Ok(())
    }

    fn set(&self, live: &[LiveWorker]) {
        for (name, share) in &self.shares {
            let here = live
                .iter()
                .filter(|worker| worker.destinations.contains(name));
            let ids: Vec<Uuid> = here.map(|worker| worker.id).collect();
            let index = ids.iter().position(|id| *id == self.card.id);
            change(share, |known| {
                Share::new(index, ids.len()).at(known.percent())
            });
        }
    }
}

/// Changes a share, and tells those who wait for that if it is another.
fn change(share: &watch::Sender<Share>, to: impl FnOnce(Share) -> Share) {
    share.send_if_modified(|known| {
        let new = to(*known);
        let is_new = *known != new;
        *known = new;
        is_new
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testbed;

    fn copy(store: &Arc<dyn Store>, destinations: &[&'static str]) -> Arc<Copies> {
        Arc::new(Copies::new(Arc::clone(store), testbed::card(destinations)))
    }

    fn share(copy: &Copies, destination: &str) -> Share {
        *copy.share(destination).borrow()
    }

    #[tokio::test]
    async fn copies_share_the_destinations_that_both_deliver_to() {
        let store = testbed::store().await;
        let (first, second) = (copy(&store, &["crm", "mail"]), copy(&store, &["crm"]));
        first.check().await.unwrap();
        assert_eq!(share(&first, "crm"), Share::WHOLE);
        second.check().await.unwrap();
        assert_eq!(share(&second, "crm"), Share::new(Some(1), 2));
        first.known.age();
        first.check().await.unwrap();
        assert_eq!(share(&first, "crm"), Share::new(Some(0), 2));
        assert_eq!(share(&first, "mail"), Share::WHOLE);
        // It ends, and says so.
        second.leave().await;
        first.known.age();
        first.check().await.unwrap();
        assert_eq!(share(&first, "crm"), Share::WHOLE);
    }

    #[tokio::test]
    async fn a_copy_with_deliveries_in_hand_stays_known() {
        let store = testbed::store().await;
        let (busy, idle) = (copy(&store, &["crm"]), copy(&store, &["crm"]));
        let stop = CancellationToken::new();
        let (followed, ended) = (Arc::clone(&busy), stop.clone());
        let following = tokio::spawn(async move { followed.follow(ended).await });
        let delivery = busy.in_hand();
        idle.check().await.unwrap();
        let mut shares = idle.share("crm");
        // It hears of the other without asking before its own deliveries.
        let hears = async {
            while *shares.borrow_and_update() == Share::WHOLE {
                idle.known.age();
                idle.check().await.unwrap();
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        let heard = tokio::time::timeout(Duration::from_secs(20), hears).await;
        heard.expect("a sign of life");
        stop.cancel();
        // It stays known until the delivery has ended.
        let mut following = following;
        let soon = Duration::from_millis(50);
        assert!(tokio::time::timeout(soon, &mut following).await.is_err());
        drop(delivery);
        following.await.unwrap();
    }
}
