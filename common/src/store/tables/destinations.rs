//! Pauses of destinations as rows.

use serde_json::json;
use time::OffsetDateTime;

use crate::store::{Act, Moment, PausedDestination};

/// A row of a paused destination.
#[derive(sqlx_macros::FromRow)]
pub(in crate::store) struct PauseRow {
    name: String,
    paused_at: OffsetDateTime,
    paused_by: String,
    paused_why: String,
}

impl From<PauseRow> for PausedDestination {
    fn from(row: PauseRow) -> Self {
        Self {
            name: row.name,
            paused_at: Moment(row.paused_at),
            paused_by: row.paused_by,
            paused_why: row.paused_why,
        }
    }
}

/// The act that pauses or resumes.
pub(in crate::store) fn changed(act: &Act, is_paused: bool) -> Act {
    let facts = |is_paused: bool| Some(json!({ "paused": is_paused }));
    act.clone().changing(facts(!is_paused), facts(is_paused))
}
