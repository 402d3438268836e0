//! Filters of dead letters: how every statement that asks for some is put together.
//!
//! A statement holds only the conditions that are asked for, and is planned for their values each time. A list looks
//! at the head of each class that matches, in the order of the index, and merges those heads: so it never depends on
//! how the letters of one class lie among those of others. A text is looked for in `dead_letter_errors`, which has
//! each error once, and every letter with such an error is looked at.

use sqlx::{Postgres, QueryBuilder};
use time::OffsetDateTime;
use uuid::Uuid;

use crate::event::EventId;
use crate::store::tables::letters::{pattern, reasons};
use crate::store::tables::text::keepable;
use crate::store::{DeadFilter, DeadState, Moment};

/// The beginning of a selection of letters.
const LETTERS: &str = "SELECT letter.dead_letter_id, letter.last_failed_at
    FROM dead_letters AS letter WHERE ";

/// The letters whose type is not part of their class, as nobody has validated it. An index holds them alone.
pub(super) const UNVALIDATED: &str = "letter.stage NOT IN ('store', 'integrate')";

/// A statement in the making.
pub(in crate::store::postgres) type Statement = QueryBuilder<Postgres>;

/// The order in which letters are looked at.
#[derive(Clone, Copy)]
pub(in crate::store::postgres) enum Order {
    NewestFirst,
    OldestFirst,
}

impl Order {
    /// The clause for columns of `table`.
    fn by(self, table: &str) -> String {
        match self {
            Self::NewestFirst => {
                format!(" ORDER BY {table}.last_failed_at DESC, {table}.dead_letter_id DESC")
            }
            Self::OldestFirst => {
                format!(" ORDER BY {table}.last_failed_at, {table}.dead_letter_id")
            }
        }
    }
}

/// A choice among the letters that match.
#[derive(Clone, Copy)]
pub(in crate::store::postgres) struct Choice {
    pub(in crate::store::postgres) order: Order,
    /// Behind this one, in a list of the newest.
    pub(in crate::store::postgres) after: Option<(OffsetDateTime, Uuid)>,
    /// Kept at this moment or earlier.
    pub(in crate::store::postgres) archived_by: Option<OffsetDateTime>,
    pub(in crate::store::postgres) most: i64,
}

/// The letters that match a filter.
#[derive(Clone)]
pub(in crate::store::postgres) struct Matching(DeadFilter);

impl Matching {
    /// The letters that match `filter` and are in `state`, whatever the filter says of the state.
    pub(in crate::store::postgres) fn new(filter: &DeadFilter, state: Option<DeadState>) -> Self {
        Self(DeadFilter {
            state,
            ..filter.clone()
        })
    }

    /// The letters of these that were given up at `moment` or later.
    pub(in crate::store::postgres) fn since(self, moment: OffsetDateTime) -> Self {
        Self(DeadFilter {
            since: self.0.since.max(Some(Moment(moment))),
            ..self.0
        })
    }

    /// Whether whole classes match, apart from unvalidated types: then counts and heads of classes tell all.
    pub(super) fn is_of_classes(&self) -> bool {
        self.0.ids.is_none() && self.0.event.is_none() && self.0.text.is_none()
    }

    /// Whether letters of a certain type are asked for, which may not be validated.
    pub(super) fn is_of_type(&self) -> bool {
        self.0.kind.is_some()
    }

    /// The moments at which the window begins and ends.
    pub(super) fn window(&self) -> (Option<OffsetDateTime>, Option<OffsetDateTime>) {
        let (since, until) = (self.0.since, self.0.until);
        (since.map(|moment| moment.0), until.map(|moment| moment.0))
    }

    /// The chosen letters that nobody else is working on, locked, as id. Only the chosen letters are locked: a
    /// lock is a write.
    pub(in crate::store::postgres) fn push_locked(&self, query: &mut Statement, choice: Choice) {
        query.push("SELECT letter.dead_letter_id FROM (");
        self.push_chosen(query, choice);
        query.push(") AS chosen JOIN dead_letters AS letter USING (dead_letter_id) WHERE true");
        // The state may have changed since the letter was chosen.
        self.push_state(query, "letter");
        query.push(choice.order.by("letter"));
        query.push(" FOR UPDATE OF letter SKIP LOCKED");
    }

    /// The chosen letters, as id and moment.
    pub(in crate::store::postgres) fn push_chosen(&self, query: &mut Statement, choice: Choice) {
        if !self.is_of_classes() {
            query.push(LETTERS).push("true");
            self.push_conditions(query);
            push_end(query, choice);
            return;
        }
        query.push("SELECT head.dead_letter_id, head.last_failed_at FROM (");
        self.push_heads(query, choice);
        if self.is_of_type() {
            query.push(" UNION ALL SELECT unvalidated.* FROM (");
            query.push(LETTERS).push(UNVALIDATED);
            self.push_conditions(query);
            push_end(query, choice);
            query.push(") AS unvalidated");
        }
        query.push(") AS head").push(choice.order.by("head"));
        query.push(" LIMIT ").push_bind(choice.most);
    }

    /// The first letters in each state of each class.
    fn push_heads(&self, query: &mut Statement, choice: Choice) {
        query.push("SELECT head.* FROM (");
        self.push_classes(query);
        query.push(") AS class CROSS JOIN UNNEST(");
        query.push_bind(self.states());
        query.push("::text[]) AS in_state (state) CROSS JOIN LATERAL (");
        query.push(LETTERS);
        query.push("letter.class_id = class.class_id AND letter.state = in_state.state");
        self.push_fingerprint(query);
        self.push_window(query);
        push_end(query, choice);
        query.push(") AS head");
    }

    /// The classes whose letters match.
    pub(super) fn push_classes(&self, query: &mut Statement) {
        query.push("SELECT class_id, group_id FROM dead_letter_classes AS class WHERE true");
        self.push_class_conditions(query);
        if let Some(kind) = &self.0.kind {
            query.push(" AND class.type = ").push_bind(kind.clone());
        }
    }

    /// The conditions on the common values of a whole class, on `class`.
    fn push_class_conditions(&self, query: &mut Statement) {
        for (condition, value) in [
            (" AND class.queue = ", &self.0.queue),
            (" AND class.destination = ", &self.0.destination),
        ] {
            if let Some(value) = value {
                query.push(condition).push_bind(value.clone());
            }
        }
        if let Some(reasons) = reasons(&self.0) {
            query.push(" AND class.reason = ANY(");
            query.push_bind(reasons).push(")");
        }
    }

    /// Every condition, on `letter`.
    pub(super) fn push_conditions(&self, query: &mut Statement) {
        if let Some(ids) = &self.0.ids {
            query.push(" AND letter.dead_letter_id = ANY(");
            query.push_bind(ids.clone()).push(")");
        }
        if let Some(event) = self.0.event.map(EventId::uuid) {
            query.push(" AND letter.event_id = ").push_bind(event);
        }
        if self.0.queue.is_some() || self.0.destination.is_some() || reasons(&self.0).is_some() {
            query.push(" AND letter.class_id = ANY(ARRAY(SELECT class_id FROM dead_letter_classes AS class WHERE true");
            self.push_class_conditions(query);
            query.push("))");
        }
        if let Some(kind) = &self.0.kind {
            query.push(" AND letter.type = ").push_bind(kind.clone());
        }
        self.push_state(query, "letter");
        self.push_fingerprint(query);
        self.push_text(query);
        self.push_window(query);
    }

    /// The condition on the state, on `table`.
    pub(super) fn push_state(&self, query: &mut Statement, table: &str) {
        if let Some(state) = self.0.state {
            query.push(format!(" AND {table}.state = "));
            query.push_bind(state.as_str());
        }
    }

    /// The state that is asked for, or each of them.
    pub(super) fn states(&self) -> Vec<&'static str> {
        let asked = self.0.state.as_slice();
        let states = if asked.is_empty() {
            DeadState::ALL
        } else {
            asked
        };
        states.iter().map(|state| state.as_str()).collect()
    }

    /// The condition on the fingerprint, on `letter`.
    pub(super) fn push_fingerprint(&self, query: &mut Statement) {
        if let Some(fingerprint) = &self.0.fingerprint {
            query.push(" AND letter.fingerprint_id = md5(");
            query.push_bind(keepable(fingerprint)).push(")::uuid");
        }
    }

    /// The condition on the fingerprint, on counts.
    pub(super) fn push_counted_fingerprint(&self, query: &mut Statement) {
        if let Some(fingerprint) = &self.0.fingerprint {
            query.push(" AND counts.fingerprint = ");
            query.push_bind(keepable(fingerprint));
        }
    }

    /// The condition on the text, on `letter`. Capitals of ASCII count as small letters.
    fn push_text(&self, query: &mut Statement) {
        if let Some(text) = &self.0.text {
            query.push(
                " AND letter.error_id IN (SELECT error_id FROM dead_letter_errors WHERE lower(error COLLATE \"C\") LIKE ",
            );
            query
                .push_bind(pattern(text).to_ascii_lowercase())
                .push(")");
        }
    }

    /// The condition on the moment, on `letter`.
    fn push_window(&self, query: &mut Statement) {
        let (since, until) = self.window();
        push_window(query, since, until);
    }
}

/// Given up from `since` on and before `until`, on `letter`.
pub(super) fn push_window(
    query: &mut Statement,
    since: Option<OffsetDateTime>,
    until: Option<OffsetDateTime>,
) {
    if let Some(since) = since {
        query
            .push(" AND letter.last_failed_at >= ")
            .push_bind(since);
    }
    if let Some(until) = until {
        query.push(" AND letter.last_failed_at < ").push_bind(until);
    }
}

/// The end of a selection of letters.
fn push_end(query: &mut Statement, choice: Choice) {
    if let Some((at, id)) = choice.after {
        query.push(" AND (letter.last_failed_at, letter.dead_letter_id) < (");
        query.push_bind(at).push(", ").push_bind(id).push(")");
    }
    if let Some(moment) = choice.archived_by {
        query.push(" AND letter.archived_at <= ").push_bind(moment);
    }
    query.push(choice.order.by("letter"));
    query.push(" LIMIT ").push_bind(choice.most);
}
