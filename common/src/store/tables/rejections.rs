//! Rejections as rows.

use bytes::Bytes;
use serde::Serialize;
use time::OffsetDateTime;
use uuid::Uuid;

use super::text::{hex, json, keepable, moment, moment_if_any, word};
use crate::event::EventId;
use crate::reason::ReasonCode;
use crate::store::{NewRejection, RejectionRecord, StoreError};

/// A row to insert.
#[derive(Serialize)]
pub(in crate::store) struct RejectionRow {
    pub id: Uuid,
    pub event: Uuid,
    pub stream_id: Option<Uuid>,
    pub kind: String,
    pub source: String,
    pub publisher: String,
    pub reason: &'static str,
    pub errors: String,
    pub stage: String,
    #[serde(serialize_with = "moment_if_any")]
    pub received_at: Option<OffsetDateTime>,
    #[serde(serialize_with = "moment")]
    pub rejected_at: OffsetDateTime,
    #[serde(serialize_with = "hex")]
    pub body: Bytes,
}

impl From<&NewRejection> for RejectionRow {
    fn from(rejection: &NewRejection) -> Self {
        Self {
            id: rejection.id,
            event: rejection.event.uuid(),
            stream_id: rejection.stream_id.map(EventId::uuid),
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

/// A rejection as it is told, out of its columns.
pub(in crate::store) fn record(reason: &str, errors: &str) -> Result<RejectionRecord, StoreError> {
    let code: ReasonCode = word(reason)?;
    Ok(RejectionRecord {
        code,
        detail: code.summary().to_owned(),
        errors: json("rejections.errors", errors)?,
        dead_letter: None,
    })
}
