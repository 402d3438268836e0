//! Takes everything that is ready out of a `FuturesUnordered`, and really everything.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};

use futures_util::stream::{FuturesUnordered, Stream};
use futures_util::task::AtomicWaker;

/// Tells "nothing is ready" from "ask again": `FuturesUnordered` answers `Pending` for both, the
/// latter with a wake-up while it is being asked.
#[derive(Debug, Default)]
pub(super) struct Drained(Arc<Woken>);

#[derive(Debug, Default)]
struct Woken {
    again: AtomicBool,
    task: AtomicWaker,
}

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.again.store(true, Ordering::SeqCst);
        self.task.wake();
    }
}

impl Drained {
    /// Polls `futures` until none of them is ready, and hands over all that were.
    ///
    /// When this returns, every future whose completion was announced before the completion of one
    /// that is handed over is handed over too.
    pub(super) fn poll<F: Future>(
        &self,
        futures: &mut FuturesUnordered<F>,
        cx: &mut Context<'_>,
    ) -> Poll<Vec<F::Output>> {
        self.0.task.register(cx.waker());
        let waker = Waker::from(Arc::clone(&self.0));
        let mut inner = Context::from_waker(&waker);
        let mut ready = Vec::new();
        loop {
            self.0.again.store(false, Ordering::SeqCst);
            match Pin::new(&mut *futures).poll_next(&mut inner) {
                Poll::Ready(Some(output)) => ready.push(output),
                Poll::Ready(None) => break,
                Poll::Pending if self.0.again.load(Ordering::SeqCst) => {}
                Poll::Pending => break,
            }
        }
        if ready.is_empty() {
            Poll::Pending
        } else {
            Poll::Ready(ready)
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use super::*;

    #[tokio::test]
    async fn futures_that_yield_are_waited_for() {
        let mut futures = FuturesUnordered::new();
        for number in 0..50 {
            // Wakes itself while it is polled, as a future does that another thread completes.
            let mut yields = 3;
            futures.push(poll_fn(move |cx| {
                if yields == 0 {
                    return Poll::Ready(number);
                }
                yields -= 1;
                cx.waker().wake_by_ref();
                Poll::Pending
            }));
        }
        let drained = Drained::default();
        let mut all = poll_fn(|cx| drained.poll(&mut futures, cx)).await;
        all.sort_unstable();
        assert_eq!(all, (0..50).collect::<Vec<_>>());
    }
}
