//! Keeping rejections.

use std::sync::Arc;

use sqlx::postgres::PgBindIterExt as _;
use time::OffsetDateTime;
use uuid::Uuid;

use super::link::Link;
use super::text::keepable;
use crate::store::{NewRejection, StoreError};

/// A row to insert.
struct Row {
    id: Uuid,
    event: Uuid,
    kind: String,
    source: String,
    publisher: String,
    reason: &'static str,
    errors: String,
    stage: String,
    received_at: Option<OffsetDateTime>,
    rejected_at: OffsetDateTime,
    body: bytes::Bytes,
}

impl From<&NewRejection> for Row {
    fn from(rejection: &NewRejection) -> Self {
        Self {
            id: rejection.id,
            event: rejection.event.uuid(),
            kind: keepable(&rejection.kind),
            source: keepable(&rejection.source),
            publisher: keepable(&rejection.publisher),
            reason: rejection.reason.as_str(),
            // A list of texts: this cannot fail.
            errors: serde_json::to_string(&rejection.errors).unwrap_or_else(|_| "[]".to_owned()),
            stage: keepable(&rejection.stage),
            received_at: rejection.received_at,
            rejected_at: rejection.rejected_at,
            body: rejection.body.clone(),
        }
    }
}

pub(super) async fn keep(link: &Link, batch: &[NewRejection]) -> Result<(), StoreError> {
    if batch.is_empty() {
        return Ok(());
    }
    let mut rows: Vec<Row> = batch.iter().map(Row::from).collect();
    // In one order, so that two batches never wait for each other in a circle.
    rows.sort_by_key(|row| row.id);
    let rows: Arc<[Row]> = rows.into();
    link.run(move |connection| {
        let rows = Arc::clone(&rows);
        Box::pin(async move {
            sqlx::query(
                "INSERT INTO rejections (rejection_id, event_id, type, source, publisher, reason,
                                         errors, stage, received_at, rejected_at, body)
                SELECT rejection_id, event_id, type, source, publisher, reason, errors::json,
                       stage, received_at, rejected_at, body
                FROM UNNEST($1::uuid[], $2::uuid[], $3::text[], $4::text[], $5::text[],
                            $6::text[], $7::text[], $8::text[], $9::timestamptz[],
                            $10::timestamptz[], $11::bytea[])
                     AS given (rejection_id, event_id, type, source, publisher, reason, errors,
                               stage, received_at, rejected_at, body)
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
            .execute(connection)
            .await?;
            Ok(())
        })
    })
    .await
}
