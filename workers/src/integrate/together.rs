//! Many small requests to the database made as one: whoever comes while a batch is on its way is in
//! the next one. What nobody waits for gathers a little longer under load; alone, nobody waits for
//! company.
//!
//! The batches of the runtime will not do. It batches events, and a delivery is asked about, sent and recorded when
//! its own turn comes and its own receiver answers. In a batch of events all would wait for the slowest, and where
//! one of them fails the batch, the runtime would handle, and so send, each of them again. What can be batched is
//! what the database is asked and told around each request.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use common::store::StoreError;
use common::tasks;
use tokio::sync::{mpsc, oneshot};

use crate::database::is_for_later;

/// Maximum of requests in one batch.
const MAX_BATCH: usize = 256;

/// How many requests in a batch mean load: the next one may gather.
const BUSY_BATCH: usize = 8;

/// The answer to one request.
type Answer<O> = Result<O, StoreError>;
type Request<I, O> = (I, oneshot::Sender<Answer<O>>);

/// Makes requests together.
pub(super) struct Together<I, O>(mpsc::Sender<Request<I, O>>);

impl<I, O> Together<I, O>
where
    I: Send + Sync + 'static,
    O: Send + 'static,
{
    /// Starts to make requests with `make`, which answers each request of a batch, in order, or the
    /// batch as a whole with an error. Under load, requests gather for as long as `gather` between two
    /// batches: a transaction costs nearly the same for many as for one. Ends when it is dropped.
    pub(super) fn start<M, F>(gather: Duration, make: M) -> Self
    where
        M: Fn(Arc<Vec<I>>) -> F + Send + Sync + 'static,
        F: Future<Output = Result<Vec<O>, StoreError>> + Send + 'static,
        I: Clone,
    {
        let (requests, queue) = mpsc::channel(4 * MAX_BATCH);
        tasks::spawn("requests to the database", work(gather, make, queue));
        Self(requests)
    }

    /// Makes one request.
    pub(super) async fn request(&self, input: I) -> Answer<O> {
        let (answer, answered) = oneshot::channel();
        let ended = || StoreError::Unavailable("the worker is ending".to_owned());
        self.0.send((input, answer)).await.map_err(|_| ended())?;
        answered.await.map_err(|_| ended())?
    }
}

/// Makes one batch after another, until nobody can ask any more.
async fn work<I, O, M, F>(gather: Duration, make: M, mut queue: mpsc::Receiver<Request<I, O>>)
where
    I: Clone,
    M: Fn(Arc<Vec<I>>) -> F,
    F: Future<Output = Result<Vec<O>, StoreError>>,
{
    loop {
        let mut requests = Vec::new();
        if queue.recv_many(&mut requests, MAX_BATCH).await == 0 {
            return;
        }
        let busy = requests.len() >= BUSY_BATCH;
        let (inputs, askers): (Vec<I>, Vec<_>) = requests.into_iter().unzip();
        let inputs = Arc::new(inputs);
        match make(Arc::clone(&inputs)).await {
            Ok(outputs) => {
                for (asker, output) in askers.into_iter().zip(outputs) {
                    // An asker that is gone was cancelled.
                    let _ = asker.send(Ok(output));
                }
            }
            // One of them may be to blame: each for itself then.
            Err(error) if inputs.len() > 1 && !is_for_later(&error) => {
                for (asker, input) in askers.into_iter().zip(inputs.iter()) {
                    let answer = make(Arc::new(vec![input.clone()])).await;
                    let _ = asker.send(answer.and_then(|outputs| {
                        let none = || StoreError::Fault("no answer to a request".to_owned());
                        outputs.into_iter().next().ok_or_else(none)
                    }));
                }
            }
            Err(error) => {
                for asker in askers {
                    let _ = asker.send(Err(error.clone()));
                }
            }
        }
        if busy && !gather.is_zero() {
            tokio::time::sleep(gather).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::future::join_all;

    use super::*;

    #[tokio::test]
    async fn each_gets_its_own_answer_and_a_bad_one_fails_alone() {
        let together = Together::start(Duration::ZERO, |batch: Arc<Vec<u32>>| async move {
            if batch.contains(&13) {
                return Err(StoreError::Data("thirteen".to_owned()));
            }
            Ok(batch.iter().map(|number| number * 2).collect())
        });
        let answers = join_all((0..600).map(|number| together.request(number))).await;
        for (number, answer) in (0..).zip(answers) {
            match answer {
                Ok(double) => assert_eq!(double, number * 2),
                Err(error) => {
                    assert_eq!((number, error.to_string().contains("thirteen")), (13, true));
                }
            }
        }
    }

    #[tokio::test]
    async fn when_the_database_is_away_everybody_hears_it() {
        let together: Together<u32, u32> = Together::start(Duration::from_millis(1), |_| async {
            Err(StoreError::Unavailable("gone".to_owned()))
        });
        let answers = join_all((0..10).map(|number| together.request(number))).await;
        assert!(
            answers
                .iter()
                .all(|answer| matches!(answer, Err(StoreError::Unavailable(_))))
        );
    }

    #[tokio::test]
    async fn a_panic_is_told_and_nobody_waits_for_the_answer() {
        let together: Together<u32, u32> =
            Together::start(Duration::ZERO, |_| async { panic!("on purpose") });
        assert!(together.request(1).await.is_err());
        let told = tasks::failed().await;
        let name = "the task \"requests to the database\" panicked: on purpose";
        assert_eq!(told, name);
    }
}
