//! Keeping rejections.

use async_trait::async_trait;

use super::PostgresStore;
use super::columns::column;
use crate::event::EventId;
use crate::store::tables::rejections::{RejectionRow, record};
use crate::store::{NewRejection, RejectionRecord, Rejections, StoreError};

const INSERT: &str =
    "INSERT INTO rejections (rejection_id, event_id, type, source, publisher, reason,
                             errors, stage, received_at, rejected_at, body, stream_id)
    SELECT rejection_id, event_id, type, source, publisher, reason, errors::json,
           stage, received_at, rejected_at, body, stream_id
    FROM UNNEST($1::uuid[], $2::uuid[], $3::text[], $4::text[], $5::text[],
                $6::text[], $7::text[], $8::text[], $9::timestamptz[],
                $10::timestamptz[], $11::bytea[], $12::uuid[])
         AS given (rejection_id, event_id, type, source, publisher, reason, errors,
                   stage, received_at, rejected_at, body, stream_id)
    ON CONFLICT (rejection_id) DO NOTHING";

const REJECTIONS: &str = "SELECT reason, errors::text FROM rejections
    WHERE event_id = $1 ORDER BY rejected_at, rejection_id";

#[async_trait]
impl Rejections for PostgresStore {
    async fn keep_rejections(&self, batch: &[NewRejection]) -> Result<(), StoreError> {
        if batch.is_empty() {
            return Ok(());
        }
        let mut rows: Vec<RejectionRow> = batch.iter().map(RejectionRow::from).collect();
        // In one order, so that two batches never wait for each other in a circle.
        rows.sort_by_key(|row| row.id);
        self.link
            .execute(INSERT, move |query| {
                query
                    .bind(column(&rows, |row| row.id))
                    .bind(column(&rows, |row| row.event))
                    .bind(column(&rows, |row| row.kind.as_str()))
                    .bind(column(&rows, |row| row.source.as_str()))
                    .bind(column(&rows, |row| row.publisher.as_str()))
                    .bind(column(&rows, |row| row.reason))
                    .bind(column(&rows, |row| row.errors.as_str()))
                    .bind(column(&rows, |row| row.stage.as_str()))
                    .bind(column(&rows, |row| row.received_at))
                    .bind(column(&rows, |row| row.rejected_at))
                    .bind(column(&rows, |row| row.body.as_ref()))
                    .bind(column(&rows, |row| row.stream_id))
            })
            .await
    }

    async fn rejections(&self, id: EventId) -> Result<Vec<RejectionRecord>, StoreError> {
        let rows: Vec<(String, String)> = self
            .link
            .rows(REJECTIONS, move |query| query.bind(id.uuid()))
            .await?;
        rows.iter()
            .map(|(reason, errors)| record(reason, errors))
            .collect()
    }
}
