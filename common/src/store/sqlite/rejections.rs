//! Keeping rejections.

use async_trait::async_trait;

use super::SqliteStore;
use super::link::document;
use crate::event::EventId;
use crate::store::tables::rejections::{RejectionRow, record};
use crate::store::{NewRejection, RejectionRecord, Rejections, StoreError};

const INSERT: &str = r#"INSERT INTO "NAMESPACE.rejections"
    (rejection_id, event_id, type, source, publisher, reason, errors, stage, received_at, rejected_at,
     body, stream_id)
    SELECT unhex(value ->> 'id', '-'), unhex(value ->> 'event', '-'), value ->> 'kind',
           value ->> 'source', value ->> 'publisher', value ->> 'reason', value ->> 'errors',
           value ->> 'stage', value ->> 'received_at', value ->> 'rejected_at',
           unhex(value ->> 'body'), unhex(value ->> 'stream_id', '-')
    FROM jsonb_each($1) WHERE true
    ON CONFLICT (rejection_id) DO NOTHING"#;

const REJECTIONS: &str = r#"SELECT reason, errors FROM "NAMESPACE.rejections"
    WHERE event_id = $1 ORDER BY rejected_at, rejection_id"#;

#[async_trait]
impl Rejections for SqliteStore {
    async fn keep_rejections(&self, batch: &[NewRejection]) -> Result<(), StoreError> {
        if batch.is_empty() {
            return Ok(());
        }
        let rows: Vec<RejectionRow> = batch.iter().map(RejectionRow::from).collect();
        let rows = document(&rows)?;
        self.link.execute(INSERT, |query| query.bind(rows)).await
    }

    async fn rejections(&self, id: EventId) -> Result<Vec<RejectionRecord>, StoreError> {
        let rows: Vec<(String, String)> = self
            .link
            .rows(REJECTIONS, |query| query.bind(id.uuid()))
            .await?;
        rows.iter()
            .map(|(reason, errors)| record(reason, errors))
            .collect()
    }
}
