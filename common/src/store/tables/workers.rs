//! Workers as rows.

use time::OffsetDateTime;
use uuid::Uuid;

use super::text::json;
use crate::store::{LiveWorker, StoreError};

/// A row of a live worker.
#[derive(sqlx_macros::FromRow)]
pub(in crate::store) struct WorkerRow {
    worker_id: Uuid,
    destinations: String,
    joined_at: OffsetDateTime,
    /// Now, by the clock that wrote the other moment.
    at: OffsetDateTime,
}

impl TryFrom<WorkerRow> for LiveWorker {
    type Error = StoreError;

    fn try_from(row: WorkerRow) -> Result<Self, StoreError> {
        Ok(Self {
            id: row.worker_id,
            destinations: json("workers.destinations", &row.destinations)?,
            // A clock that was set back has seen nobody join yet.
            live_for: (row.at - row.joined_at).try_into().unwrap_or_default(),
        })
    }
}

/// The names of destinations as the column has them.
pub(in crate::store) fn names(destinations: &[String]) -> String {
    serde_json::Value::from(destinations).to_string()
}
