//! What a worker works on, how hard, and in what surroundings.

use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::config::StageSettings;
use crate::dependency::EngineKind;
use crate::event::Logins;
use crate::topology::Topology;

/// What a worker works on, and how hard.
#[derive(Debug, Clone)]
pub struct Spec {
    /// The queue.
    pub queue: String,
    /// How hard.
    pub settings: StageSettings,
    /// The queue that takes what is given up here, where that is not the dead letters' own: the
    /// archive's dead letters must not come back to it.
    pub parked: Option<String>,
}

impl Spec {
    /// A worker whose dead letters go to the archive.
    pub fn new(queue: String, settings: StageSettings) -> Self {
        Self {
            queue,
            settings,
            parked: None,
        }
    }
}

/// What all workers of a program have around them.
#[derive(Debug, Clone)]
pub struct Surroundings {
    /// Cancelled when the worker shall stop: it takes nothing new and finishes what is running.
    pub stop: CancellationToken,
    /// How long it may take to finish.
    pub drain: Duration,
    /// The first wait between two looks at a dependency that is down.
    pub probe_first: Duration,
    /// The longest such wait.
    pub probe_max: Duration,
    /// What keeps the rows of the program.
    pub database: EngineKind,
    /// Whose `longshore-*` headers count.
    pub logins: Logins,
    /// What is declared again before a hold for the broker ends: somebody may have deleted a part of it.
    pub topology: Topology,
}
