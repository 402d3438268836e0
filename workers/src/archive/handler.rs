//! What archiving means: nothing that comes here is ever refused for what it holds.

use std::sync::Arc;

use async_trait::async_trait;
use common::outcome::{Failure, Outcome};
use common::reason::ReasonCode;
use common::runtime::{Handler, Received};
use common::store::{DeadLetter, NewRejection, Store, StoreError};
use common::telemetry::metrics;
use common::topology::Names;

use super::{dead, rejection};
use crate::store::DATABASE;

/// Keeps dead letters.
pub struct KeepDead {
    store: Arc<dyn Store>,
    names: Names,
}

impl KeepDead {
    /// Keeps them in `store`.
    pub fn new(store: Arc<dyn Store>, names: Names) -> Self {
        Self { store, names }
    }
}

#[async_trait]
impl Handler for KeepDead {
    async fn handle(&self, batch: &[Received]) -> Vec<Outcome> {
        let letters: Vec<DeadLetter> = batch
            .iter()
            .map(|received| dead::letter(received, &self.names))
            .collect();
        let outcomes = match self.store.keep_dead(&letters).await {
            Err(StoreError::Data(_) | StoreError::Fault(_)) if letters.len() > 1 => {
                let mut each = Vec::with_capacity(letters.len());
                for one in letters.chunks(1) {
                    each.push(outcome(self.store.keep_dead(one).await));
                }
                each
            }
            kept => vec![outcome(kept); letters.len()],
        };
        for (letter, outcome) in letters.iter().zip(&outcomes) {
            if *outcome == Outcome::Done {
                metrics::kept_dead(&letter.queue, letter.reason.as_str());
            }
        }
        outcomes
    }

    async fn probe(&self, _: &'static str) -> Result<(), String> {
        self.store.ready().await.map_err(|error| error.to_string())
    }
}

/// Keeps rejections.
pub struct KeepRejections {
    store: Arc<dyn Store>,
    names: Names,
}

impl KeepRejections {
    /// Keeps them in `store`.
    pub fn new(store: Arc<dyn Store>, names: Names) -> Self {
        Self { store, names }
    }
}

#[async_trait]
impl Handler for KeepRejections {
    async fn handle(&self, batch: &[Received]) -> Vec<Outcome> {
        let read: Vec<Result<NewRejection, Failure>> = batch
            .iter()
            .map(|received| rejection::read(received, &self.names))
            .collect();
        let rejections: Vec<NewRejection> = read.iter().filter_map(|r| r.clone().ok()).collect();
        let mut kept = match self.store.keep_rejections(&rejections).await {
            Err(StoreError::Data(_) | StoreError::Fault(_)) if rejections.len() > 1 => {
                let mut each = Vec::with_capacity(rejections.len());
                for one in rejections.chunks(1) {
                    each.push(outcome(self.store.keep_rejections(one).await));
                }
                each
            }
            kept => vec![outcome(kept); rejections.len()],
        }
        .into_iter();
        read.into_iter()
            .map(|rejection| match rejection {
                Err(failure) => Outcome::Dead(failure),
                Ok(rejection) => {
                    let outcome = kept.next().unwrap_or(Outcome::Done);
                    if outcome == Outcome::Done {
                        metrics::kept_rejected(rejection.reason.as_str());
                    }
                    outcome
                }
            })
            .collect()
    }

    async fn probe(&self, _: &'static str) -> Result<(), String> {
        self.store.ready().await.map_err(|error| error.to_string())
    }
}

fn outcome(kept: Result<(), StoreError>) -> Outcome {
    match kept {
        Ok(()) => Outcome::Done,
        Err(StoreError::Data(detail)) => {
            Outcome::Dead(Failure::new(ReasonCode::Unstorable, detail))
        }
        Err(error @ (StoreError::Unavailable(_) | StoreError::Schema(_))) => Outcome::Hold {
            dependency: DATABASE,
            error: error.to_string(),
        },
        Err(error) => {
            let failure = Failure::new(ReasonCode::HandlerFailed, error.to_string());
            Outcome::Retry {
                after: None,
                failure,
            }
        }
    }
}
