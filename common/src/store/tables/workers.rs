//! Workers as rows.

use time::OffsetDateTime;
use uuid::Uuid;

use super::text::json;
use crate::store::{ConfiguredWorker, DestinationWorker, LiveWorker, Moment, StoreError};

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

/// A row of a live worker of a destination.
#[derive(sqlx_macros::FromRow)]
pub(in crate::store) struct DestinationWorkerRow {
    program: String,
    host: String,
    version: String,
    joined_at: OffsetDateTime,
}

impl From<DestinationWorkerRow> for DestinationWorker {
    fn from(row: DestinationWorkerRow) -> Self {
        Self {
            program: row.program,
            host: row.host,
            version: row.version,
            since: Moment(row.joined_at),
        }
    }
}

/// A row of a process that has told its configuration.
#[derive(sqlx_macros::FromRow)]
pub(in crate::store) struct ConfiguredRow {
    worker_id: Uuid,
    program: String,
    host: String,
    version: String,
    configuration: String,
    configured_at: OffsetDateTime,
}

impl From<ConfiguredRow> for ConfiguredWorker {
    fn from(row: ConfiguredRow) -> Self {
        Self {
            id: row.worker_id,
            program: row.program,
            host: row.host,
            version: row.version,
            configuration: row.configuration,
            since: Moment(row.configured_at),
        }
    }
}

/// The names of destinations as the column has them.
pub(in crate::store) fn names(destinations: &[String]) -> String {
    serde_json::Value::from(destinations).to_string()
}
