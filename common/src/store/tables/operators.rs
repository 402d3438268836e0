//! Operators as rows.

use serde_json::json;
use time::OffsetDateTime;

use super::text::word;
use crate::store::{Act, Moment, NewOperator, OperatorRecord, StoreError};

/// A row without the hash of the key.
#[derive(sqlx_macros::FromRow)]
pub(in crate::store) struct OperatorRow {
    operator_id: String,
    name: String,
    role: String,
    created_at: OffsetDateTime,
    revoked_at: Option<OffsetDateTime>,
    last_used_at: Option<OffsetDateTime>,
}

impl TryFrom<OperatorRow> for OperatorRecord {
    type Error = StoreError;

    fn try_from(row: OperatorRow) -> Result<Self, StoreError> {
        Ok(Self {
            id: row.operator_id,
            name: row.name,
            role: word(&row.role)?,
            created_at: Moment(row.created_at),
            revoked_at: row.revoked_at.map(Moment),
            last_used_at: row.last_used_at.map(Moment),
        })
    }
}

/// The act that makes an operator.
pub(in crate::store) fn made(operator: &NewOperator) -> Act {
    let facts = json!({ "name": operator.name, "role": operator.role });
    operator.act.clone().changing(None, Some(facts))
}

/// The act that revokes an operator.
pub(in crate::store) fn revoked(act: &Act) -> Act {
    let facts = |is_revoked: bool| Some(json!({ "revoked": is_revoked }));
    act.clone().changing(facts(false), facts(true))
}
