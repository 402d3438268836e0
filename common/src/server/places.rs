//! Places for connections: bounded, and never all taken by those who do nothing. When none is free, the
//! connection that has been idle for longest is closed.

use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::{Body, Bytes, HttpBody};
use hyper::body::{Frame, SizeHint};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// How long a connection is left alone that does nothing: who has just come is about to ask.
const GRACE: Duration = Duration::from_millis(500);

/// How often to look again for an idle one while every place is taken.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// All places of a server.
#[derive(Clone)]
pub(super) struct Places(Arc<Inner>);

struct Inner {
    free: Arc<Semaphore>,
    idle: Mutex<Idle>,
}

/// The connections that have no request under way.
#[derive(Default)]
struct Idle {
    next: u64,
    by_age: BTreeMap<(Instant, u64), CancellationToken>,
}

/// The place of one connection.
#[derive(Clone)]
pub(super) struct Place(Arc<Taken>);

struct Taken {
    places: Places,
    /// Cancelled when the connection is to make room for another one.
    evicted: CancellationToken,
    /// Its key among the idle ones, and how many requests are under way.
    state: Mutex<State>,
    _permit: OwnedSemaphorePermit,
}

#[derive(Default)]
struct State {
    idle: Option<(Instant, u64)>,
    busy: usize,
}

/// A request is under way until this is dropped.
struct Busy(Place);

impl Places {
    pub(super) fn new(count: usize) -> Self {
        Self(Arc::new(Inner {
            free: Arc::new(Semaphore::new(count.clamp(1, Semaphore::MAX_PERMITS))),
            idle: Mutex::default(),
        }))
    }

    /// A place, as soon as there is one; `None` once there never will be.
    pub(super) async fn take(&self) -> Option<Place> {
        let permit = loop {
            let free = Arc::clone(&self.0.free).acquire_owned();
            match tokio::time::timeout(Duration::ZERO, free).await {
                Ok(permit) => break permit.ok()?,
                Err(_) => self.evict(),
            }
            let free = Arc::clone(&self.0.free).acquire_owned();
            if let Ok(permit) = tokio::time::timeout(LOOK_EVERY, free).await {
                break permit.ok()?;
            }
        };
        let place = Place(Arc::new(Taken {
            places: self.clone(),
            evicted: CancellationToken::new(),
            state: Mutex::default(),
            _permit: permit,
        }));
        place.rest();
        Some(place)
    }

    /// Closes the connection that has been idle for longest, if any has been for long enough.
    fn evict(&self) {
        let mut idle = lock(&self.0.idle);
        let Some(oldest) = idle.by_age.first_entry() else {
            return;
        };
        if oldest.key().0.elapsed() >= GRACE {
            oldest.remove().cancel();
        }
    }
}

impl Place {
    /// Done once the connection is to make room.
    pub(super) async fn evicted(&self) {
        self.0.evicted.cancelled().await;
    }

    /// From now on the connection is idle.
    fn rest(&self) {
        let mut idle = lock(&self.0.places.0.idle);
        let mut state = lock(&self.0.state);
        if state.busy > 0 {
            // The next request was there already.
            return;
        }
        let key = (Instant::now(), idle.next);
        idle.next += 1;
        idle.by_age.insert(key, self.0.evicted.clone());
        state.idle = Some(key);
    }

    /// A request has come.
    fn begin(&self) -> Busy {
        let mut idle = lock(&self.0.places.0.idle);
        let mut state = lock(&self.0.state);
        state.busy += 1;
        if let Some(key) = state.idle.take() {
            idle.by_age.remove(&key);
        }
        drop((state, idle));
        Busy(self.clone())
    }

    /// Answers a request. The connection is idle again when the answer is written, or thrown away.
    pub(super) async fn answering<E>(
        &self,
        answer: impl Future<Output = Result<axum::response::Response, E>>,
    ) -> Result<axum::response::Response, E> {
        let busy = self.begin();
        let answer = answer.await?;
        Ok(answer.map(|body| Body::new(Held { body, _busy: busy })))
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        {
            let mut state = lock(&self.0.0.state);
            state.busy = state.busy.saturating_sub(1);
        }
        self.0.rest();
    }
}

impl Drop for Taken {
    fn drop(&mut self) {
        if let Some(key) = lock(&self.state).idle.take() {
            lock(&self.places.0.idle).by_age.remove(&key);
        }
    }
}

/// The body of an answer that is still being written.
struct Held {
    body: Body,
    _busy: Busy,
}

impl HttpBody for Held {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// The content of a lock. No holder of these can leave it half-changed.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn the_one_that_was_idle_for_longest_makes_room() {
        let places = Places::new(3);
        let first = places.take().await.unwrap();
        let second = places.take().await.unwrap();
        let third = places.take().await.unwrap();
        // The first one works, so the second is the one.
        let busy = first.begin();
        let closing = second.clone();
        tokio::spawn(async move {
            closing.evicted().await;
            drop(closing);
        });
        drop(second);
        let begun = Instant::now();
        let fourth = places.take().await.unwrap();
        assert!(begun.elapsed() >= GRACE, "{:?}", begun.elapsed());
        for place in [&first, &third, &fourth] {
            assert!(!place.0.evicted.is_cancelled());
        }
        drop((busy, first, third, fourth));
        assert!(lock(&places.0.idle).by_age.is_empty());
        assert_eq!(places.0.free.available_permits(), 3);
    }

    #[tokio::test(start_paused = true)]
    async fn those_who_work_keep_their_places() {
        let places = Places::new(1);
        let place = places.take().await.unwrap();
        let (one, two) = (place.begin(), place.begin());
        let waited = tokio::time::timeout(Duration::from_secs(60), places.take()).await;
        assert!(waited.is_err());
        drop(one);
        assert!(lock(&places.0.idle).by_age.is_empty());
        drop(two);
        assert_eq!(lock(&places.0.idle).by_age.len(), 1);
    }
}
