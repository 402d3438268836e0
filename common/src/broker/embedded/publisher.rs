//! Publishing: one task that writes together whatever has gathered while it wrote the last.

use std::sync::Arc;

use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::engine::{Engine, publish_error};
use super::publish::{Outgoing, publish};
use super::routes::Nowhere;
use crate::broker::PublishError;
use crate::tasks::supervised;
use crate::telemetry::metrics;

/// The most messages that one transaction publishes.
const MOST: usize = 256;

struct Job {
    outgoing: Outgoing,
    /// Whether it is an error if nobody takes it.
    mandatory: bool,
    reply: oneshot::Sender<Result<(), PublishError>>,
}

/// What publishes for everybody who uses one broker.
#[derive(Clone)]
pub(super) struct Publisher {
    jobs: mpsc::Sender<Job>,
}

impl Publisher {
    /// Starts the task. On `closing` it finishes what it has taken and ends.
    pub(super) fn start(
        engine: &Arc<Engine>,
        window: usize,
        tasks: &TaskTracker,
        closing: &CancellationToken,
    ) -> Self {
        let (jobs, queue) = mpsc::channel(window.max(1));
        let work = run(Arc::clone(engine), queue, closing.clone());
        tasks.spawn(supervised("publisher", work));
        Self { jobs }
    }

    /// Publishes one message; returns when it is on the disk.
    pub(super) async fn publish(
        &self,
        outgoing: Outgoing,
        mandatory: bool,
    ) -> Result<(), PublishError> {
        let closed = || PublishError::Disconnected("this program has closed it".to_owned());
        let (reply, answer) = oneshot::channel();
        let job = Job {
            outgoing,
            mandatory,
            reply,
        };
        self.jobs.send(job).await.map_err(|_| closed())?;
        answer.await.unwrap_or_else(|_| Err(closed()))
    }
}

async fn run(engine: Arc<Engine>, mut jobs: mpsc::Receiver<Job>, closing: CancellationToken) {
    let mut gathered = Vec::with_capacity(MOST);
    let mut blocked = false;
    loop {
        tokio::select! {
            count = jobs.recv_many(&mut gathered, MOST) => {
                if count == 0 {
                    return;
                }
            }
            () = closing.cancelled(), if !jobs.is_closed() => {
                jobs.close();
                continue;
            }
        }
        let (batch, waiting): (Vec<_>, Vec<_>) = gathered
            .drain(..)
            .map(|job| (job.outgoing, (job.mandatory, job.reply)))
            .unzip();
        let batch = Arc::new(batch);
        let (theirs, routes) = (Arc::clone(&batch), engine.routes());
        let now = engine.clock.now();
        let published = engine.write(move |connection| {
            Box::pin(async move { publish(connection, routes, &theirs, now).await })
        });
        match published.await.map_err(publish_error) {
            Ok(published) => {
                engine.learn(&published.routes);
                engine.wakes.wake(&published.queues);
                for ((routed, outgoing), (mandatory, reply)) in
                    published.routed.into_iter().zip(&*batch).zip(waiting)
                {
                    // Nobody may be waiting any more, here and below.
                    let _ = reply.send(verdict(routed, outgoing, mandatory));
                }
                report(&mut blocked, None);
            }
            Err(error) => {
                report(&mut blocked, Some(&error));
                for (_, reply) in waiting {
                    let _ = reply.send(Err(error.clone()));
                }
            }
        }
    }
}

fn verdict(
    routed: Result<(), Nowhere>,
    outgoing: &Outgoing,
    mandatory: bool,
) -> Result<(), PublishError> {
    let reason = match routed {
        Ok(()) => return Ok(()),
        Err(Nowhere::NoRoute) if !mandatory => return Ok(()),
        Err(Nowhere::NoRoute) => "312 NO_ROUTE".to_owned(),
        Err(Nowhere::NoExchange) => format!(
            "no exchange {:?}; `longshore topology apply` declares it",
            outgoing.exchange
        ),
    };
    Err(PublishError::Unroutable {
        exchange: outgoing.exchange.clone(),
        routing_key: outgoing.routing_key.clone(),
        reason,
    })
}

/// Says once that nothing can be written now, and once that it works again.
fn report(blocked: &mut bool, error: Option<&PublishError>) {
    match error {
        Some(error) if !*blocked => {
            tracing::warn!(%error, "cannot publish");
            metrics::blocked(true);
        }
        None if *blocked => {
            tracing::info!("the broker takes messages again");
            metrics::blocked(false);
        }
        _ => {}
    }
    *blocked = error.is_some();
}
