//! The specification of a worker: its queue, its settings and its surroundings.

use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::Gate;
use crate::config::StageSettings;
use crate::dependency::EngineKind;
use crate::event::Logins;
use crate::topology::Topology;

/// The queue of a worker, and its settings.
#[derive(Debug, Clone)]
pub struct Spec {
    /// The queue.
    pub queue: String,
    /// The settings of the stage.
    pub settings: StageSettings,
    /// The queue for dead letters, if it is not the usual one: the archive's dead letters must not come back to
    /// the archive.
    pub parked: Option<String>,
    /// While it is shut, the worker takes nothing.
    pub gate: Gate,
}

impl Spec {
    /// A worker whose dead letters go to the archive.
    pub fn new(queue: String, settings: StageSettings) -> Self {
        Self {
            queue,
            settings,
            parked: None,
            gate: Gate::default(),
        }
    }
}

/// The surroundings that all workers of a program share.
#[derive(Debug, Clone)]
pub struct Surroundings {
    /// Cancelled when the worker must stop: it takes nothing new and finishes the running calls.
    pub stop: CancellationToken,
    /// Cancelled when the program as a whole must stop; `stop` is then cancelled as well.
    pub end: CancellationToken,
    /// Maximum time for the worker to finish once the program must stop. A worker that stops alone, because another takes its
    /// place, finishes what it has in hand.
    pub drain: Duration,
    /// The first wait between two looks at a dependency that is down.
    pub probe_first: Duration,
    /// Maximum wait between two looks at a dependency that is down.
    pub probe_max: Duration,
    /// The database engine of the program.
    pub database: EngineKind,
    /// The logins whose `longshore-*` headers count.
    pub logins: Logins,
    /// The topology to declare again before a hold for the broker ends, because a part of it may have been
    /// deleted.
    pub topology: Topology,
}
