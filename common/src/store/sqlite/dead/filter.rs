//! Filters of dead letters: one condition for every statement that asks.

use sqlx::{QueryBuilder, Sqlite};

use crate::sqlite::Error;
use crate::store::sqlite::link::document;
use crate::store::tables::letters::{pattern, reasons};
use crate::store::tables::text::comparable;
use crate::store::{DeadFilter, DeadState};

/// `statement`, which ends with `WHERE`, for the letters that match `filter` and are in `state`, whatever the
/// filter says of the state. Its text holds only the conditions asked for: SQLite plans for the text alone.
pub(in crate::store::sqlite) fn matching(
    statement: String,
    filter: &DeadFilter,
    state: Option<DeadState>,
) -> Result<QueryBuilder<Sqlite>, Error> {
    let mut query = QueryBuilder::new(statement);
    query.push("true");
    if let Some(ids) = &filter.ids {
        query.push(" AND dead_letter_id IN (SELECT unhex(value, '-') FROM json_each(");
        query.push_bind(document(ids)?).push("))");
    }
    if let Some(event) = filter.event {
        query.push(" AND event_id = ").push_bind(event.uuid());
    }
    for (condition, text) in [
        (" AND queue = ", filter.queue.as_deref()),
        (" AND destination = ", filter.destination.as_deref()),
        (" AND type = ", filter.kind.as_deref()),
        (" AND fingerprint = ", filter.fingerprint.as_deref()),
    ] {
        if let Some(text) = text {
            query.push(condition).push_bind(text.to_owned());
        }
    }
    if let Some(state) = state {
        // Not bound: only a state in the text tells SQLite that an index of open letters will do.
        query.push(" AND state = '").push(state.as_str()).push("'");
    }
    if let Some(reasons) = reasons(filter) {
        query.push(" AND reason IN (SELECT value FROM json_each(");
        query.push_bind(document(&reasons)?).push("))");
    }
    if let Some(since) = filter.since {
        query.push(" AND last_failed_at >= ");
        query.push_bind(comparable(since.0));
    }
    if let Some(until) = filter.until {
        query.push(" AND last_failed_at < ");
        query.push_bind(comparable(until.0));
    }
    if let Some(text) = &filter.text {
        // Capitals of ASCII are as good as small letters to it, and of no other alphabet.
        query.push(" AND error LIKE ");
        query.push_bind(pattern(text)).push(r" ESCAPE '\'");
    }
    Ok(query)
}
