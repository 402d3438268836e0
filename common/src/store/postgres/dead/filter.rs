//! Which dead letters: how every statement that asks for some is put together.
//!
//! Statements hold only what is asked for, and are planned for their values each time. They are made so
//! that no plan can be a bad one, however the letters lie: a list looks at the head of each class that
//! matches, in the order of the index, and merges those heads.

use sqlx::{Postgres, QueryBuilder};
use time::OffsetDateTime;
use uuid::Uuid;

use crate::event::EventId;
use crate::store::tables::letters::{pattern, reasons};
use crate::store::{DeadFilter, DeadState};

/// The beginning of a selection of letters.
const LETTERS: &str = "SELECT letter.dead_letter_id, letter.last_failed_at
    FROM dead_letters AS letter WHERE ";

/// A statement in the making.
pub(in crate::store::postgres) type Statement = QueryBuilder<Postgres>;

/// The most different errors with a text in them that are looked at one by one. Where there are more,
/// letters are read in their order, and it is the errors that each is looked up in.
const FEW_ERRORS: usize = 2000;

/// The most different errors that letters are looked up in. Where there are more, so many letters match that
/// reading them in their order finds some soon.
pub(super) const MANY_ERRORS: usize = 50_000;

/// Letters whose type may be anybody's word, and is no part of their class. An index holds them alone.
pub(super) const ODD: &str = "letter.stage NOT IN ('store', 'integrate')";

/// The values of the conditions.
#[derive(Clone)]
pub(in crate::store::postgres) struct Matching {
    ids: Option<Vec<Uuid>>,
    queue: Option<String>,
    destination: Option<String>,
    kind: Option<String>,
    reasons: Option<Vec<&'static str>>,
    event: Option<Uuid>,
    states: Vec<&'static str>,
    any_state: bool,
    since: Option<OffsetDateTime>,
    until: Option<OffsetDateTime>,
    pattern: Option<String>,
    /// The errors with the text in them, where they are not too many.
    errors: Option<Vec<Uuid>>,
}

/// In which order letters are looked at.
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

/// Which of the letters that match.
#[derive(Clone, Copy)]
pub(in crate::store::postgres) struct Choice {
    pub(in crate::store::postgres) order: Order,
    /// Behind this one, in a list of the newest.
    pub(in crate::store::postgres) after: Option<(OffsetDateTime, Uuid)>,
    /// Kept at this moment or earlier.
    pub(in crate::store::postgres) archived_by: Option<OffsetDateTime>,
    pub(in crate::store::postgres) most: i64,
}

impl Matching {
    /// The letters that match `filter` and are in `state`, whatever the filter says of the state.
    pub(in crate::store::postgres) fn new(filter: &DeadFilter, state: Option<DeadState>) -> Self {
        let states = state.as_slice();
        let states = if states.is_empty() {
            DeadState::ALL
        } else {
            states
        };
        Self {
            ids: filter.ids.clone(),
            queue: filter.queue.clone(),
            destination: filter.destination.clone(),
            kind: filter.kind.clone(),
            reasons: reasons(filter),
            event: filter.event.map(EventId::uuid),
            states: states.iter().map(|state| state.as_str()).collect(),
            any_state: state.is_none(),
            since: filter.since.map(|moment| moment.0),
            until: filter.until.map(|moment| moment.0),
            pattern: filter.text.as_deref().map(pattern),
            errors: None,
        }
    }

    /// What has to be looked for in the errors first.
    pub(super) fn text(&self) -> Option<&str> {
        self.pattern.as_deref().filter(|_| self.errors.is_none())
    }

    /// The same, where these are all the errors with the text in them.
    pub(super) fn with_errors(self, errors: Vec<Uuid>) -> Self {
        Self {
            errors: Some(errors),
            ..self
        }
    }

    /// Whether the counts of the classes tell all, but for letters of odd types.
    pub(super) fn is_of_classes(&self) -> bool {
        self.ids.is_none() && self.event.is_none() && self.pattern.is_none()
    }

    /// Whether letters of a certain type are asked for: these may be of an odd one.
    pub(super) fn is_of_type(&self) -> bool {
        self.kind.is_some()
    }

    /// Those of the chosen that nobody else is working on, locked, as id. Only what is chosen is locked: a
    /// lock is a write.
    pub(in crate::store::postgres) fn push_locked(&self, query: &mut Statement, choice: Choice) {
        query.push("SELECT letter.dead_letter_id FROM (");
        self.push_chosen(query, choice);
        query.push(") AS chosen JOIN dead_letters AS letter USING (dead_letter_id) WHERE true");
        // It may have changed since it was chosen.
        self.push_state(query);
        query.push(choice.order.by("letter"));
        query.push(" FOR UPDATE OF letter SKIP LOCKED");
    }

    /// Those of the letters that match which are chosen, as id and moment.
    pub(in crate::store::postgres) fn push_chosen(&self, query: &mut Statement, choice: Choice) {
        if self.ids.is_some() || self.event.is_some() {
            // A handful, found by their key.
            query.push(LETTERS).push("true");
            self.push_conditions(query);
            push_end(query, choice);
            return;
        }
        query.push("SELECT head.dead_letter_id, head.last_failed_at FROM (");
        match &self.errors {
            Some(errors) if errors.len() <= FEW_ERRORS => {
                self.push_heads_of_errors(query, errors, choice);
            }
            _ => {
                self.push_heads_of_classes(query, choice);
                if self.is_of_type() {
                    query
                        .push(" UNION ALL SELECT odd.* FROM (")
                        .push(LETTERS)
                        .push(ODD);
                    self.push_conditions(query);
                    push_end(query, choice);
                    query.push(") AS odd");
                }
            }
        }
        query.push(") AS head").push(choice.order.by("head"));
        query.push(" LIMIT ").push_bind(choice.most);
    }

    /// The first letters of each error with the text in it.
    fn push_heads_of_errors(&self, query: &mut Statement, errors: &[Uuid], choice: Choice) {
        query
            .push("SELECT head.* FROM UNNEST(")
            .push_bind(errors.to_vec());
        query.push("::uuid[]) AS of_error (error_id) CROSS JOIN LATERAL (");
        query
            .push(LETTERS)
            .push("letter.error_id = of_error.error_id");
        self.push_class_conditions(query);
        self.push_state(query);
        self.push_kind(query);
        push_window(query, self.since, self.until);
        push_end(query, choice);
        query.push(") AS head");
    }

    /// The first letters in each state of each class.
    fn push_heads_of_classes(&self, query: &mut Statement, choice: Choice) {
        query.push("SELECT head.* FROM (");
        self.push_classes(query);
        query
            .push(") AS class CROSS JOIN UNNEST(")
            .push_bind(self.states.clone());
        query.push("::text[]) AS in_state (state) CROSS JOIN LATERAL (");
        query.push(LETTERS);
        query.push("letter.class_id = class.class_id AND letter.state = in_state.state");
        self.push_text(query);
        push_window(query, self.since, self.until);
        push_end(query, choice);
        query.push(") AS head");
    }

    /// The classes whose letters match, or may.
    pub(super) fn push_classes(&self, query: &mut Statement) {
        query.push("SELECT class_id, group_id FROM dead_letter_classes AS letter WHERE true");
        self.push_class_conditions(query);
        self.push_kind(query);
    }

    /// Every condition, on `letter`.
    pub(super) fn push_conditions(&self, query: &mut Statement) {
        if let Some(ids) = &self.ids {
            query
                .push(" AND letter.dead_letter_id = ANY(")
                .push_bind(ids.clone())
                .push(")");
        }
        if let Some(event) = self.event {
            query.push(" AND letter.event_id = ").push_bind(event);
        }
        self.push_class_conditions(query);
        self.push_state(query);
        self.push_kind(query);
        self.push_text(query);
        push_window(query, self.since, self.until);
    }

    /// The conditions on what is the same for a whole class, on `letter`.
    pub(super) fn push_class_conditions(&self, query: &mut Statement) {
        if let Some(queue) = &self.queue {
            query.push(" AND letter.queue = ").push_bind(queue.clone());
        }
        if let Some(destination) = &self.destination {
            query
                .push(" AND letter.destination = ")
                .push_bind(destination.clone());
        }
        if let Some(reasons) = &self.reasons {
            query
                .push(" AND letter.reason = ANY(")
                .push_bind(reasons.clone())
                .push(")");
        }
    }

    /// The condition on the state, on `letter`.
    pub(super) fn push_state(&self, query: &mut Statement) {
        if !self.any_state {
            query
                .push(" AND letter.state = ANY(")
                .push_bind(self.states.clone())
                .push(")");
        }
    }

    fn push_kind(&self, query: &mut Statement) {
        if let Some(kind) = &self.kind {
            query.push(" AND letter.type = ").push_bind(kind.clone());
        }
    }

    fn push_text(&self, query: &mut Statement) {
        if let Some(errors) = &self.errors {
            query
                .push(" AND letter.error_id = ANY(")
                .push_bind(errors.clone())
                .push(")");
        } else if let Some(pattern) = &self.pattern {
            query
                .push(" AND letter.error ILIKE ")
                .push_bind(pattern.clone());
        }
    }

    /// The condition on the state, on counts.
    pub(super) fn push_counted_state(&self, query: &mut Statement) {
        if !self.any_state {
            query
                .push(" AND state = ANY(")
                .push_bind(self.states.clone())
                .push(")");
        }
    }

    /// The states, all of them where any will do.
    pub(super) fn states(&self) -> Vec<&'static str> {
        self.states.clone()
    }

    /// From when to when.
    pub(super) fn window(&self) -> (Option<OffsetDateTime>, Option<OffsetDateTime>) {
        (self.since, self.until)
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

/// What ends a selection of letters.
fn push_end(query: &mut Statement, choice: Choice) {
    if let Some((at, id)) = choice.after {
        query
            .push(" AND (letter.last_failed_at, letter.dead_letter_id) < (")
            .push_bind(at)
            .push(", ")
            .push_bind(id)
            .push(")");
    }
    if let Some(moment) = choice.archived_by {
        query.push(" AND letter.archived_at <= ").push_bind(moment);
    }
    query.push(choice.order.by("letter"));
    query.push(" LIMIT ").push_bind(choice.most);
}
