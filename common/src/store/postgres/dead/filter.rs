//! Which dead letters: how every statement that asks for some is put together.
//!
//! Statements hold only what is asked for, and are planned for their values each time. They are made so
//! that no plan can be a bad one, however the letters lie: a list looks at the head of each class that
//! matches, in the order of the index, and merges those heads. Where a fingerprint or a text is asked for,
//! the heads are those of each fingerprint that matches in each class that has it, and of each error.

use sqlx::{Postgres, QueryBuilder};
use time::OffsetDateTime;
use uuid::Uuid;

use crate::event::EventId;
use crate::fingerprint;
use crate::store::tables::letters::{pattern, reasons};
use crate::store::tables::text::keepable;
use crate::store::{DeadFilter, DeadState};

/// The beginning of a selection of letters.
const LETTERS: &str = "SELECT letter.dead_letter_id, letter.last_failed_at
    FROM dead_letters AS letter WHERE ";

/// A statement in the making.
pub(in crate::store::postgres) type Statement = QueryBuilder<Postgres>;

/// The most different errors with a text in them that are looked at one by one. Where there are more, letters
/// of their fingerprints are read in their order, and it is the errors that each is looked up in.
const FEW_ERRORS: usize = 500;

/// The most fingerprints that are looked at one by one. Where there are more, all letters are read in their order.
const FEW_PRINTS: usize = 1000;

/// The most different errors that letters are looked up in. Where there are more, so many letters match that
/// reading them in their order finds some soon.
pub(super) const MANY_ERRORS: usize = 50_000;

/// Looking one error up in an index costs as much as reading so many letters that lie side by side in another.
const LOOK_UP: usize = 16;

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
    fingerprint: Option<String>,
    text: Option<Text>,
    /// What letters have that match fingerprint and text, where one of these is asked for.
    found: Option<Found>,
}

/// A text to look for in errors.
#[derive(Clone)]
pub(super) struct Text {
    /// In small letters, as it is compared.
    pub(super) pattern: String,
    /// Whether every error of a fingerprint with this text has it as well.
    pub(super) is_plain: bool,
}

/// What letters have that match a fingerprint or a text.
#[derive(Clone, Default)]
pub(super) struct Found {
    /// These fingerprints: each of their letters matches.
    pub(super) prints: Prints,
    /// Fingerprints of which some errors match, or may.
    pub(super) others: Vec<Other>,
    /// More than [`MANY_ERRORS`] of their errors match; which ones is not kept then.
    pub(super) too_many: bool,
}

impl Found {
    /// The errors that match for themselves; none where they are too many.
    fn errors(&self) -> Vec<Uuid> {
        errors(&self.others)
    }

    /// Whether letters may match for their error.
    fn is_of_errors(&self) -> bool {
        self.too_many || !self.others.is_empty()
    }
}

/// A fingerprint of which some errors match, or may.
#[derive(Clone)]
pub(super) struct Other {
    pub(super) text: String,
    pub(super) id: Uuid,
    /// How many letters have it.
    pub(super) letters: i64,
    /// Those of its errors that match; none where they are too many.
    pub(super) errors: Vec<Uuid>,
}

impl Other {
    /// Whether its letters are soonest found by reading all that have it, and not one error after the other.
    fn is_soonest_read(&self) -> bool {
        self.errors.len().saturating_mul(LOOK_UP) as u64 >= self.letters.unsigned_abs()
    }
}

fn errors(others: &[Other]) -> Vec<Uuid> {
    let errors = others.iter().flat_map(|other| &other.errors);
    errors.copied().collect()
}

/// Fingerprints, as counts have them and as letters refer to them.
#[derive(Clone, Default)]
pub(super) struct Prints {
    texts: Vec<String>,
    pub(super) ids: Vec<Uuid>,
}

impl Prints {
    pub(super) fn push(&mut self, (text, id): (String, Uuid)) {
        self.texts.push(text);
        self.ids.push(id);
    }

    fn of(others: &[Other]) -> Self {
        let mut prints = Self::default();
        for other in others {
            prints.push((other.text.clone(), other.id));
        }
        prints
    }
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
            fingerprint: filter.fingerprint.as_deref().map(keepable),
            text: filter.text.as_deref().map(|text| Text {
                pattern: pattern(text).to_ascii_lowercase(),
                is_plain: fingerprint::is_plain(text),
            }),
            found: None,
        }
    }

    /// Fingerprint and text, which have to be looked up first where one of them is asked for.
    pub(super) fn to_find(&self) -> Option<(Option<String>, Option<Text>)> {
        (self.fingerprint.is_some() || self.text.is_some())
            .then(|| (self.fingerprint.clone(), self.text.clone()))
    }

    /// The same, where this is what was found.
    pub(super) fn with_found(self, found: Found) -> Self {
        Self {
            found: Some(found),
            ..self
        }
    }

    /// The same, of those that were given up at `moment` or later.
    pub(in crate::store::postgres) fn since(self, moment: OffsetDateTime) -> Self {
        Self {
            since: self.since.max(Some(moment)),
            ..self
        }
    }

    /// Whether the counts of the classes tell of all letters that match, but for those of odd types and those
    /// of certain errors.
    pub(super) fn is_of_classes(&self) -> bool {
        self.ids.is_none() && self.event.is_none()
    }

    /// Whether there may be letters that match for their error, not for their fingerprint.
    pub(super) fn is_of_errors(&self) -> bool {
        self.found.as_ref().is_some_and(Found::is_of_errors)
    }

    /// Whether letters of some classes alone are asked for.
    fn is_of_some_classes(&self) -> bool {
        self.queue.is_some()
            || self.destination.is_some()
            || self.reasons.is_some()
            || self.kind.is_some()
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
        match &self.found {
            Some(found) if found.prints.ids.len() + found.others.len() <= FEW_PRINTS => {
                self.push_heads_of_prints(query, &found.prints, false, choice);
                if found.is_of_errors() {
                    query.push(" UNION ALL ");
                    let errors = found.errors();
                    if found.too_many || errors.len() > FEW_ERRORS {
                        let others = Prints::of(&found.others);
                        self.push_heads_of_prints(query, &others, true, choice);
                    } else {
                        self.push_heads_of_errors(query, errors, choice);
                    }
                }
            }
            _ => self.push_heads_of_classes(query, choice),
        }
        if self.is_of_type() {
            query
                .push(" UNION ALL SELECT odd.* FROM (")
                .push(LETTERS)
                .push(ODD);
            self.push_conditions(query);
            push_end(query, choice);
            query.push(") AS odd");
        }
        query.push(") AS head").push(choice.order.by("head"));
        query.push(" LIMIT ").push_bind(choice.most);
    }

    /// The first letters of each fingerprint in each state of each class that it is counted in; where only
    /// some of their errors match, of those.
    fn push_heads_of_prints(
        &self,
        query: &mut Statement,
        prints: &Prints,
        only_some: bool,
        choice: Choice,
    ) {
        query.push(
            "SELECT head.* FROM (
                SELECT class_id, md5(fingerprint)::uuid AS fingerprint_id, state
                FROM dead_letter_counts AS counts JOIN (",
        );
        self.push_classes(query);
        query.push(
            ") AS class USING (class_id)
                WHERE hour = '-infinity' AND letters > 0",
        );
        self.push_counted_state(query);
        query
            .push(" AND fingerprint = ANY(")
            .push_bind(prints.texts.clone())
            .push(")");
        query.push(") AS counted CROSS JOIN LATERAL (");
        query.push(LETTERS);
        query.push(
            "letter.fingerprint_id = counted.fingerprint_id
             AND letter.class_id = counted.class_id AND letter.state = counted.state",
        );
        if only_some {
            self.push_text(query);
        }
        push_window(query, self.since, self.until);
        push_end(query, choice);
        query.push(") AS head");
    }

    /// The first letters in each state of each error with the text in it.
    fn push_heads_of_errors(&self, query: &mut Statement, errors: Vec<Uuid>, choice: Choice) {
        query.push("SELECT head.* FROM UNNEST(").push_bind(errors);
        query
            .push("::uuid[]) AS of_error (error_id) CROSS JOIN UNNEST(")
            .push_bind(self.states.clone());
        query.push("::text[]) AS in_state (state) CROSS JOIN LATERAL (");
        query
            .push(LETTERS)
            .push("letter.error_id = of_error.error_id AND letter.state = in_state.state");
        self.push_in_classes(query);
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

    /// The condition on fingerprint and text, on `letter`.
    fn push_text(&self, query: &mut Statement) {
        let Some(found) = &self.found else {
            return;
        };
        query
            .push(" AND (letter.fingerprint_id = ANY(")
            .push_bind(found.prints.ids.clone());
        query.push(")");
        match &self.text {
            Some(text) if found.too_many => {
                query
                    .push(" OR letter.fingerprint_id = ANY(")
                    .push_bind(Prints::of(&found.others).ids);
                query
                    .push(") AND lower(letter.error COLLATE \"C\") LIKE ")
                    .push_bind(text.pattern.clone());
            }
            _ if !found.others.is_empty() => {
                query
                    .push(" OR letter.error_id = ANY(")
                    .push_bind(found.errors());
                query.push(")");
            }
            _ => {}
        }
        query.push(")");
    }

    /// Where letters that match for their error and not for their fingerprint are found, each of them in one place.
    pub(super) fn places_of_errors(&self) -> Vec<Place<'_>> {
        let (Some(found), Some(text)) = (&self.found, &self.text) else {
            return Vec::new();
        };
        if found.too_many {
            return vec![Place::Everywhere(found.others.iter().collect(), text)];
        }
        let (read, looked_up): (Vec<&Other>, Vec<&Other>) = found
            .others
            .iter()
            .partition(|other| other.is_soonest_read());
        let places = [Place::Prints(read), Place::Errors(looked_up)];
        let places = places
            .into_iter()
            .filter(|place| !place.others().is_empty());
        places.collect()
    }

    /// The condition on the classes, on `letter`, where not all will do.
    pub(super) fn push_in_classes(&self, query: &mut Statement) {
        if self.is_of_some_classes() {
            query.push(" AND letter.class_id = ANY(ARRAY(SELECT class_id FROM (");
            self.push_classes(query);
            query.push(") AS class))");
        }
    }

    /// The condition on the fingerprint, on counts.
    pub(super) fn push_counted_print(&self, query: &mut Statement) {
        if let Some(found) = &self.found {
            query
                .push(" AND fingerprint = ANY(")
                .push_bind(found.prints.texts.clone())
                .push(")");
        }
    }

    /// The condition on the fingerprint, on `letter`.
    pub(super) fn push_print(&self, query: &mut Statement) {
        if let Some(found) = &self.found {
            query
                .push(" AND letter.fingerprint_id = ANY(")
                .push_bind(found.prints.ids.clone())
                .push(")");
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

/// Where letters are found that match for their error.
pub(super) enum Place<'f> {
    /// Among all that have these fingerprints: most of them match.
    Prints(Vec<&'f Other>),
    /// With each of these fingerprints' errors.
    Errors(Vec<&'f Other>),
    /// With whatever errors of these fingerprints have the text: nobody has kept which these are.
    Everywhere(Vec<&'f Other>, &'f Text),
}

impl Place<'_> {
    fn others(&self) -> &[&Other] {
        match self {
            Self::Prints(others) | Self::Errors(others) | Self::Everywhere(others, _) => others,
        }
    }

    fn errors(&self) -> Vec<Uuid> {
        let errors = self.others().iter().flat_map(|other| &other.errors);
        errors.copied().collect()
    }

    fn prints(&self) -> Vec<Uuid> {
        self.others().iter().map(|other| other.id).collect()
    }

    /// The condition on `letter`.
    pub(super) fn push(&self, query: &mut Statement) {
        match self {
            Self::Prints(_) => {
                query
                    .push("letter.fingerprint_id = ANY(")
                    .push_bind(self.prints());
                // Said like this it is no condition for an index, and each letter is looked up in a hash table.
                query
                    .push(") AND (letter.error_id = ANY(")
                    .push_bind(self.errors())
                    .push(")) IS TRUE");
            }
            Self::Errors(_) => {
                query
                    .push("letter.error_id = ANY(")
                    .push_bind(self.errors())
                    .push(")");
            }
            Self::Everywhere(_, text) => {
                query.push("letter.error_id = ANY(ARRAY(SELECT error_id");
                push_errors_with(query, &text.pattern, &self.prints());
                query.push("))");
            }
        }
    }

    /// A column of `letter` that its fingerprint follows from, and that an index of this place has.
    pub(super) fn key(&self) -> &'static str {
        match self {
            Self::Prints(_) => "fingerprint_id",
            Self::Errors(_) | Self::Everywhere(..) => "error_id",
        }
    }

    /// What fingerprint follows from each key, as `told`.
    pub(super) fn push_told(&self, query: &mut Statement) {
        let others = self.others().iter();
        let texts = |times: fn(&Other) -> usize| {
            let texts = others
                .clone()
                .map(|other| (other.text.clone(), times(other)));
            let texts = texts.flat_map(|(text, times)| std::iter::repeat_n(text, times));
            texts.collect::<Vec<String>>()
        };
        match self {
            Self::Prints(_) => {
                query.push("UNNEST(").push_bind(self.prints());
                query
                    .push("::uuid[], ")
                    .push_bind(texts(|_| 1))
                    .push("::text[]) AS told (fingerprint_id, fingerprint)");
            }
            Self::Errors(_) => {
                query.push("UNNEST(").push_bind(self.errors());
                query
                    .push("::uuid[], ")
                    .push_bind(texts(|other| other.errors.len()))
                    .push("::text[]) AS told (error_id, fingerprint)");
            }
            Self::Everywhere(..) => {
                query
                    .push("(SELECT error_id, fingerprint FROM dead_letter_errors JOIN UNNEST(")
                    .push_bind(self.prints());
                query
                    .push("::uuid[], ")
                    .push_bind(texts(|_| 1))
                    .push("::text[]) AS print (fingerprint_id, fingerprint) USING (fingerprint_id)) AS told");
            }
        }
    }
}

/// From where the errors of these fingerprints come that match a pattern.
pub(super) fn push_errors_with(query: &mut Statement, pattern: &str, prints: &[Uuid]) {
    query
        .push(" FROM dead_letter_errors WHERE lower(error COLLATE \"C\") LIKE ")
        .push_bind(pattern.to_owned());
    query
        .push(" AND ARRAY[fingerprint_id] && ")
        .push_bind(prints.to_vec());
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
