//! Keeping rejections.

use std::sync::Arc;

use async_trait::async_trait;
use sqlx::postgres::PgBindIterExt as _;

use super::PostgresStore;
use crate::event::EventId;
use crate::store::tables::rejections::{RejectionRow, record};
use crate::store::{NewRejection, RejectionRecord, Rejections, StoreError};

#[async_trait]
impl Rejections for PostgresStore {
    async fn keep_rejections(&self, batch: &[NewRejection]) -> Result<(), StoreError> {
        if batch.is_empty() {
            return Ok(());
        }
        let mut rows: Vec<RejectionRow> = batch.iter().map(RejectionRow::from).collect();
        // In one order, so that two batches never wait for each other in a circle.
        rows.sort_by_key(|row| row.id);
        let rows: Arc<[RejectionRow]> = rows.into();
        self.link.run(move |connection| {
            let rows = Arc::clone(&rows);
            Box::pin(async move {
                sqlx::query(
                    "INSERT INTO rejections (rejection_id, event_id, type, source, publisher, reason,
                                             errors, stage, received_at, rejected_at, body, stream_id)
                    SELECT rejection_id, event_id, type, source, publisher, reason, errors::json,
                           stage, received_at, rejected_at, body, stream_id
                    FROM UNNEST($1::uuid[], $2::uuid[], $3::text[], $4::text[], $5::text[],
                                $6::text[], $7::text[], $8::text[], $9::timestamptz[],
                                $10::timestamptz[], $11::bytea[], $12::uuid[])
                         AS given (rejection_id, event_id, type, source, publisher, reason, errors,
                                   stage, received_at, rejected_at, body, stream_id)
                    ON CONFLICT (rejection_id) DO NOTHING",
                )
                .bind(rows.iter().map(|row| row.id).bind_iter())
                .bind(rows.iter().map(|row| row.event).bind_iter())
                .bind(rows.iter().map(|row| row.kind.as_str()).bind_iter())
                .bind(rows.iter().map(|row| row.source.as_str()).bind_iter())
                .bind(rows.iter().map(|row| row.publisher.as_str()).bind_iter())
                .bind(rows.iter().map(|row| row.reason).bind_iter())
                .bind(rows.iter().map(|row| row.errors.as_str()).bind_iter())
                .bind(rows.iter().map(|row| row.stage.as_str()).bind_iter())
                .bind(rows.iter().map(|row| row.received_at).bind_iter())
                .bind(rows.iter().map(|row| row.rejected_at).bind_iter())
                .bind(rows.iter().map(|row| row.body.as_ref()).bind_iter())
                .bind(rows.iter().map(|row| row.stream_id).bind_iter())
                .execute(connection)
                .await?;
                Ok(())
            })
        })
        .await
    }

    async fn rejections(&self, id: EventId) -> Result<Vec<RejectionRecord>, StoreError> {
        let rows: Vec<(String, String)> = self
            .link
            .run(move |connection| {
                Box::pin(async move {
                    sqlx::query_as(
                        "SELECT reason, errors::text FROM rejections
                        WHERE event_id = $1 ORDER BY rejected_at, rejection_id",
                    )
                    .bind(id.uuid())
                    .fetch_all(connection)
                    .await
                })
            })
            .await?;
        rows.iter()
            .map(|(reason, errors)| record(reason, errors))
            .collect()
    }
}
