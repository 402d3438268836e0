//! Destinations as rows.

use serde_json::json;
use time::OffsetDateTime;

use crate::store::{Act, DestinationState, Moment, OpenBreaker, PausedDestination};

/// A row, whole.
#[derive(sqlx_macros::FromRow)]
pub(in crate::store) struct DestinationRow {
    name: String,
    paused_at: Option<OffsetDateTime>,
    paused_by: Option<String>,
    paused_why: Option<String>,
    breaker_opened_at: Option<OffsetDateTime>,
    breaker_why: Option<String>,
    breaker_probe_at: Option<OffsetDateTime>,
    breaker_closed_at: Option<OffsetDateTime>,
    /// Now, by the clock that wrote the other moments.
    at: OffsetDateTime,
}

impl From<DestinationRow> for DestinationState {
    fn from(row: DestinationRow) -> Self {
        let pause = row.paused_at.map(|at| PausedDestination {
            name: row.name.clone(),
            paused_at: Moment(at),
            paused_by: row.paused_by.unwrap_or_default(),
            paused_why: row.paused_why.unwrap_or_default(),
        });
        let breaker =
            row.breaker_opened_at
                .zip(row.breaker_probe_at)
                .map(|(opened_at, probe_at)| OpenBreaker {
                    opened_at: Moment(opened_at),
                    why: row.breaker_why.unwrap_or_default(),
                    probe_at: Moment(probe_at),
                    probe_in: (probe_at - row.at).try_into().unwrap_or_default(),
                    due_for: (row.at - probe_at).try_into().unwrap_or_default(),
                });
        Self {
            name: row.name,
            pause,
            breaker,
            // A clock that was set back has seen nothing close yet.
            closed_for: row
                .breaker_closed_at
                .and_then(|at| (row.at - at).try_into().ok()),
        }
    }
}

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

/// The act that pauses a destination.
pub(in crate::store) fn pausing(act: &Act) -> Act {
    let facts = |is_paused: bool| Some(json!({ "paused": is_paused }));
    act.clone().changing(facts(false), facts(true))
}

/// The act that resumes a destination which stood as in `before`.
pub(in crate::store) fn resuming(act: &Act, before: &DestinationState) -> Act {
    let facts =
        |is_paused: bool, is_broken: bool| json!({ "paused": is_paused, "broken": is_broken });
    let held = facts(before.pause.is_some(), before.breaker.is_some());
    act.clone().changing(Some(held), Some(facts(false, false)))
}
