//! The archive's handler: it never refuses a message for its content.

use std::sync::Arc;

use async_trait::async_trait;
use common::outcome::{Failure, Outcome};
use common::runtime::{Batch, Handler, Outcomes};
use common::store::{DeadLetter, Store};
use common::telemetry::metrics;
use common::topology::{Names, Topology};
use operate::history::Judge;

use super::dead::Places;
use super::rejection;
use crate::database::refused;

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
    async fn handle(&self, batch: Batch<'_>) -> Result<Outcomes, Outcome> {
        let letters: Vec<DeadLetter> = batch
            .iter()
            .map(|received| self.places.letter(received))
            .collect();
        self.store.keep_dead(&letters).await.map_err(refused)?;
        for letter in &letters {
            metrics::kept_dead(self.places.label(&letter.queue), letter.reason);
        }
        Ok(batch.answer(|_| Outcome::Done))
    }

    async fn probe(&self) -> Result<(), String> {
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
    async fn handle(&self, batch: Batch<'_>) -> Result<Outcomes, Outcome> {
        let mut rejections = Vec::with_capacity(batch.len());
        let readable: Vec<Result<(), Failure>> = batch
            .iter()
            .map(|received| rejection::read(received, &self.names))
            .map(|rejection| rejection.map(|rejection| rejections.push(rejection)))
            .collect();
        self.store
            .keep_rejections(&rejections)
            .await
            .map_err(refused)?;
        for rejection in &rejections {
            metrics::kept_rejected(rejection.reason);
        }
        let mut readable = readable.into_iter();
        Ok(batch.answer(|_| match readable.next() {
            Some(Err(failure)) => Outcome::Dead(failure),
            _ => Outcome::Done,
        }))
    }

    async fn probe(&self) -> Result<(), String> {
        self.store.ready().await.map_err(|error| error.to_string())
    }
}

#[cfg(test)]
mod tests;
