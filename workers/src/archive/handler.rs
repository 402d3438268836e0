//! The archive's handler: it never refuses a message for its content.

use std::sync::Arc;

use async_trait::async_trait;
use common::outcome::{Failure, Outcome};
use common::runtime::{Handler, Received};
use common::store::{DeadLetter, NewRejection, Store, StoreError};
use common::telemetry::metrics;
use common::topology::{Names, Topology};
use futures_util::future::BoxFuture;
use operate::history::Judge;

use super::dead::Places;
use super::rejection;
use crate::database::{refused, unanswered};

/// Keeps dead letters.
pub struct KeepDead {
    store: Arc<dyn Store>,
    places: Places,
}

impl KeepDead {
    /// Keeps letters and rejections in `store`; they come from the queues of `topology`. Secrets are masked in messages
    /// that `judge` would refuse.
    pub fn new(store: Arc<dyn Store>, names: Names, topology: &Topology, judge: Judge) -> Self {
        let places = Places::new(names, topology, judge);
        Self { store, places }
    }
}

#[async_trait]
impl Handler for KeepDead {
    async fn handle(&self, batch: &[Received]) -> Vec<Outcome> {
        let letters: Vec<DeadLetter> = batch
            .iter()
            .map(|received| self.places.letter(received))
            .collect();
        let outcomes = keep(&letters, |letters| self.store.keep_dead(letters)).await;
        for (letter, outcome) in letters.iter().zip(&outcomes) {
            if *outcome == Outcome::Done {
                metrics::kept_dead(self.places.label(&letter.queue), letter.reason);
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
        let kept = keep(&rejections, |these| self.store.keep_rejections(these)).await;
        let mut kept = kept.into_iter();
        read.into_iter()
            .map(|rejection| match rejection {
                Err(failure) => Outcome::Dead(failure),
                Ok(rejection) => {
                    let outcome = kept.next().unwrap_or_else(unanswered);
                    if outcome == Outcome::Done {
                        metrics::kept_rejected(rejection.reason);
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

/// Keeps rows with `keep`; where the database refuses somebody's data, one by one, so that a poisoned
/// row never fails its neighbours. One outcome for each row.
async fn keep<'r, Row: Sync>(
    rows: &'r [Row],
    keep: impl Fn(&'r [Row]) -> BoxFuture<'r, Result<(), StoreError>> + Send + Sync,
) -> Vec<Outcome> {
    match keep(rows).await {
        Err(StoreError::Data(_) | StoreError::Fault(_)) if rows.len() > 1 => {
            let mut each = Vec::with_capacity(rows.len());
            for one in rows.chunks(1) {
                each.push(outcome(keep(one).await));
            }
            each
        }
        kept => vec![outcome(kept); rows.len()],
    }
}

fn outcome(kept: Result<(), StoreError>) -> Outcome {
    match kept {
        Ok(()) => Outcome::Done,
        Err(error) => refused(error),
    }
}

#[cfg(test)]
mod tests;
