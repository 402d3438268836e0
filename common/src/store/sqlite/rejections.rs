//! Keeping rejections.

use super::link::{Link, document};
use crate::store::tables::rejections::RejectionRow;
use crate::store::{NewRejection, StoreError};

const INSERT: &str = r#"INSERT INTO "NAMESPACE.rejections"
    (rejection_id, event_id, type, source, publisher, reason, errors, stage, received_at, rejected_at,
     body, stream_id)
    SELECT unhex(value ->> 'id', '-'), unhex(value ->> 'event', '-'), value ->> 'kind',
           value ->> 'source', value ->> 'publisher', value ->> 'reason', value ->> 'errors',
           value ->> 'stage', value ->> 'received_at', value ->> 'rejected_at',
           unhex(value ->> 'body'), unhex(value ->> 'stream_id', '-')
    FROM jsonb_each($1) WHERE true
    ON CONFLICT (rejection_id) DO NOTHING"#;

pub(super) async fn keep(link: &Link, batch: &[NewRejection]) -> Result<(), StoreError> {
    if batch.is_empty() {
        return Ok(());
    }
    let rows: Vec<RejectionRow> = batch.iter().map(RejectionRow::from).collect();
    let rows = document(&rows)?;
    link.write(move |connection, link| {
        Box::pin(async move {
            sqlx::query(link.sql(INSERT))
                .bind(rows)
                .execute(connection)
                .await?;
            Ok(())
        })
    })
    .await
}
