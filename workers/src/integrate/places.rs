//! The places of a destination: how many of its deliveries may be under way at once, in this copy of the worker.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{Semaphore, SemaphorePermit, watch};

use super::share::Share;

/// The places of this copy: its part in those of all copies together.
pub(super) struct Places {
    /// Of all copies together.
    all: usize,
    share: watch::Receiver<Share>,
    free: Semaphore,
    size: Mutex<Size>,
}

/// How many places there are.
#[derive(Debug, Default)]
struct Size {
    /// Those that are free or taken.
    there: usize,
    /// How many of those that are taken end when they are given back.
    ending: usize,
}

/// A taken place. Dropped, it is free again.
pub(super) struct Place<'p> {
    places: &'p Places,
    permit: Option<SemaphorePermit<'p>>,
}

impl Places {
    /// The part of this copy in `all` places; `share` says which, now and later.
    pub(super) fn new(all: usize, share: watch::Receiver<Share>) -> Self {
        let all = all.min(Semaphore::MAX_PERMITS);
        Self {
            all,
            share,
            free: Semaphore::new(0),
            size: Mutex::default(),
        }
    }

    /// Waits for a free place. `None`: this copy has had no part at all for `patience`, since there are more copies than places.
    pub(super) async fn take(&self, patience: Duration) -> Option<Place<'_>> {
        let mut share = self.share.clone();
        loop {
            let part = share.borrow_and_update().of_number(self.all);
            self.resize(part);
            if part == 0 {
                // Without the sender, the share stays as it is.
                tokio::select! {
                    Ok(()) = share.changed() => continue,
                    () = tokio::time::sleep(patience) => return None,
                }
            }
            tokio::select! {
                biased;
                // The semaphore is never closed.
                permit = self.free.acquire() => {
                    let permit = permit.ok();
                    return Some(Place { places: self, permit });
                }
                // Without the sender, the share stays as it is.
                Ok(()) = share.changed() => {}
            }
        }
    }

    fn resize(&self, target: usize) {
        let mut size = self.size();
        let now = size.there - size.ending;
        if target > now {
            let stay = (target - now).min(size.ending);
            let new = target - now - stay;
            size.ending -= stay;
            size.there += new;
            self.free.add_permits(new);
        } else {
            let gone = self.free.forget_permits(now - target);
            size.there -= gone;
            size.ending += now - target - gone;
        }
    }

    fn size(&self) -> MutexGuard<'_, Size> {
        self.size.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        let mut size = self.places.size();
        if size.ending > 0
            && let Some(permit) = self.permit.take()
        {
            size.ending -= 1;
            size.there -= 1;
            permit.forget();
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;

    const SOON: Duration = Duration::from_millis(10);

    fn places(all: usize) -> (watch::Sender<Share>, Places) {
        let (shares, share) = watch::channel(Share::WHOLE);
        (shares, Places::new(all, share))
    }

    fn half(index: usize) -> Share {
        Share::new(Some(index), 2)
    }

    #[tokio::test]
    async fn as_many_are_under_way_as_the_share_says() {
        let (shares, places) = places(3);
        let mut taken = Vec::new();
        for _ in 0..3 {
            taken.push(places.take(SOON).await.unwrap());
        }
        assert!(places.take(SOON).now_or_never().is_none());
        // Another copy came: two of the three places are this one's, and those that are taken are given back first.
        shares.send(half(0)).unwrap();
        assert!(places.take(SOON).now_or_never().is_none());
        taken.pop();
        assert!(
            places.take(SOON).now_or_never().is_none(),
            "one too many is taken"
        );
        taken.pop();
        let again = places.take(SOON).now_or_never().flatten();
        assert!(again.is_some());
        assert!(places.take(SOON).now_or_never().is_none());
        // It left again.
        shares.send(Share::WHOLE).unwrap();
        assert!(places.take(SOON).now_or_never().flatten().is_some());
    }

    #[tokio::test]
    async fn who_waits_hears_of_a_larger_share() {
        let (shares, places) = places(2);
        shares.send(half(1)).unwrap();
        let _first = places.take(SOON).await.unwrap();
        let waiting = places.take(SOON);
        let leaving = async {
            tokio::task::yield_now().await;
            shares.send(Share::WHOLE).unwrap();
        };
        let (second, ()) = tokio::join!(waiting, leaving);
        assert!(second.is_some());
    }

    #[tokio::test]
    async fn a_copy_without_a_part_is_told() {
        let (shares, places) = places(1);
        shares.send(half(1)).unwrap();
        assert!(places.take(SOON).await.is_none());
        shares.send(half(0)).unwrap();
        assert!(places.take(SOON).await.is_some());
    }

    #[tokio::test]
    async fn many_changes_lose_no_place_and_make_none() {
        let (shares, places) = places(8);
        let mut taken = Vec::new();
        for step in 0..1000_usize {
            // A task that never waits is told that nothing is ready.
            tokio::task::yield_now().await;
            let of = 1 + (step * 7) % 5;
            shares.send(Share::new(Some(step % of), of)).unwrap();
            while let Some(Some(place)) = places.take(SOON).now_or_never() {
                taken.push(place);
            }
            taken.truncate(taken.len() - taken.len().min(step % 4));
        }
        drop(taken);
        tokio::task::yield_now().await;
        shares.send(Share::WHOLE).unwrap();
        let mut all = Vec::new();
        while let Some(Some(place)) = places.take(SOON).now_or_never() {
            all.push(place);
        }
        assert_eq!(all.len(), 8);
        drop(all);
        tokio::time::timeout(Duration::from_secs(1), places.take(SOON))
            .await
            .unwrap();
    }
}
