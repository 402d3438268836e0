//! Which dead letters: one condition for every statement that asks.

use sqlx::Postgres;
use sqlx::postgres::PgArguments;
use sqlx::query::QueryAs;
use uuid::Uuid;

use crate::event::EventId;
use crate::reason::ReasonCode;
use crate::store::{DeadFilter, DeadState};

/// The condition, on the parameters 1 to 7 that [`Matching::bind`] binds. Each that is not set is
/// true, which the planner sees, because it plans these statements for their values.
macro_rules! matching {
    () => {
        "($1::uuid[] IS NULL OR dead_letter_id = ANY($1))
         AND ($2::text IS NULL OR queue = $2)
         AND ($3::text IS NULL OR destination = $3)
         AND ($4::text IS NULL OR type = $4)
         AND ($5::text IS NULL OR reason = $5)
         AND ($6::uuid IS NULL OR event_id = $6)
         AND ($7::text IS NULL OR state = $7)"
    };
}
pub(in crate::store::postgres) use matching;

/// The values of the condition.
pub(in crate::store::postgres) struct Matching {
    ids: Option<Vec<Uuid>>,
    queue: Option<String>,
    destination: Option<String>,
    kind: Option<String>,
    reason: Option<&'static str>,
    event: Option<Uuid>,
    state: Option<&'static str>,
}

impl Matching {
    /// The letters that match `filter` and are in `state`, whatever the filter says of the state.
    pub(in crate::store::postgres) fn new(filter: &DeadFilter, state: Option<DeadState>) -> Self {
        Self {
            ids: filter.ids.clone(),
            queue: filter.queue.clone(),
            destination: filter.destination.clone(),
            kind: filter.kind.clone(),
            reason: filter.reason.map(ReasonCode::as_str),
            event: filter.event.map(EventId::uuid),
            state: state.map(DeadState::as_str),
        }
    }

    /// Binds the parameters 1 to 7. The statement is not kept prepared: a plan for any values would
    /// have to read the whole table for each.
    pub(in crate::store::postgres) fn bind<'q, T>(
        &'q self,
        query: QueryAs<'q, Postgres, T, PgArguments>,
    ) -> QueryAs<'q, Postgres, T, PgArguments> {
        query
            .persistent(false)
            .bind(self.ids.as_deref())
            .bind(self.queue.as_deref())
            .bind(self.destination.as_deref())
            .bind(self.kind.as_deref())
            .bind(self.reason)
            .bind(self.event)
            .bind(self.state)
    }
}
