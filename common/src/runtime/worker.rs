//! A worker: two lanes, one for the queue and one for its suspects, and the keeper of its holds.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use tokio_util::task::AbortOnDropHandle;

use super::Handler;
use super::desk::Desk;
use super::hand::LaneKind;
use super::keeper::Keeper;
use super::lane::Lane;
use super::spec::{Spec, Surroundings};
use super::standing::{Consuming, Standing};
use crate::broker::Broker;
use crate::tasks;
use crate::topology::Names;

/// A worker on one queue.
pub struct Worker {
    desk: Arc<Desk>,
    main: Arc<Consuming>,
    suspects: Arc<Consuming>,
}

/// Why a worker did not end in good order. Nothing is lost: the broker gives out unsettled messages again.
#[derive(Debug, thiserror::Error)]
pub enum Unfinished {
    /// Running calls did not end within the drain deadline.
    #[error(
        "what was running on {queue} did not end within {drain:?}; the broker will give it out again"
    )]
    Late {
        /// The worker's queue.
        queue: String,
        /// The deadline.
        drain: Duration,
    },
    /// A task of the worker's was aborted or panicked.
    #[error("a task of {queue} failed: {error}")]
    TaskFailed {
        /// The worker's queue.
        queue: String,
        /// The error of the task.
        error: tokio::task::JoinError,
    },
}

impl Worker {
    /// A worker in these surroundings. It starts to work in [`Worker::run`].
    pub fn new(
        surroundings: Surroundings,
        broker: Arc<dyn Broker>,
        handler: Arc<dyn Handler>,
        spec: Spec,
    ) -> Self {
        Self {
            main: Consuming::new(&spec.queue),
            suspects: Consuming::new(&Names::suspect(&spec.queue)),
            desk: Arc::new(Desk::new(surroundings, broker, handler, spec)),
        }
    }

    /// The worker's queue.
    pub fn queue(&self) -> &str {
        &self.desk.spec.queue
    }

    /// The standing of the worker, also while it runs.
    pub fn standing(&self) -> Standing {
        let lanes = [&self.main, &self.suspects].map(Arc::clone);
        Standing::new(
            self.queue(),
            Arc::clone(&self.desk.hold),
            self.desk.spec.gate.clone(),
            lanes,
        )
    }

    /// Works until it is told to stop, then finishes the running calls and gives the other messages back.
    ///
    /// # Errors
    /// The program must stop, and running calls did not end within the drain deadline. Nothing is lost: the broker gives
    /// their messages out again.
    pub async fn run(self) -> Result<(), Unfinished> {
        let Self {
            desk,
            main,
            suspects,
        } = self;
        let queue = desk.spec.queue.clone();
        // A worker on the same queue may have left them as they were.
        desk.metrics.begin();
        let lane = |kind, queue| Lane::new(&desk, kind, queue);
        let main = lane(LaneKind::Main, queue.clone()).run(main);
        let suspects = lane(LaneKind::Suspects, Names::suspect(&queue)).run(suspects);
        // Tasks of their own: the runtime's threads take up deliveries as they arrive, and no other task has to be
        // woken.
        let stop = || desk.surroundings.stop.clone();
        let keeper = Keeper::new(Arc::clone(&desk));
        let all = [
            tasks::spawn_until("keeper of holds", stop(), keeper.run()),
            tasks::spawn_until("lane", stop(), main),
            tasks::spawn_until("lane of suspects", stop(), suspects),
        ];
        let all = join_all(all.map(AbortOnDropHandle::new));
        tokio::pin!(all);
        let drain = desk.surroundings.drain;
        let ended = tokio::select! {
            ended = &mut all => ended,
            () = async {
                desk.surroundings.end.cancelled().await;
                tokio::time::sleep(drain).await;
            } => return Err(Unfinished::Late { queue, drain }),
        };
        for task in ended {
            task.map_err(|error| Unfinished::TaskFailed {
                queue: queue.clone(),
                error,
            })?;
        }
        Ok(())
    }
}
