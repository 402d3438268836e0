//! Rows of `dead_letters`, and the rows that are read beside them.

use bytes::Bytes;
use serde::Serialize;
use serde_json::Value;
use serde_json::value::RawValue;
use time::OffsetDateTime;
use uuid::Uuid;

use super::deliveries::AttemptRecordRow;
use super::messages::{Properties, written};
use super::operations::OperationRow;
use super::text::{hex, json, keepable, moment, number, word};
use crate::event::EventId;
use crate::fingerprint::fingerprint;
use crate::reason::ReasonCode;
use crate::store::{
    DeadFilter, DeadLetter, DeadStory, DeadSummary, DiscardRecord, EditRecord, Moment, StoreError,
};

/// The stage whose dead letters are about a delivery.
pub(in crate::store) const INTEGRATE: &str = "integrate";

/// The pattern that finds a text anywhere, and each of its characters as itself.
pub(in crate::store) fn pattern(text: &str) -> String {
    let mut pattern = String::from("%");
    for one in keepable(text).chars() {
        if matches!(one, '%' | '_' | '\\') {
            pattern.push('\\');
        }
        pattern.push(one);
    }
    pattern.push('%');
    pattern
}

/// The reasons that a filter lets through, if it says anything about them.
pub(in crate::store) fn reasons(filter: &DeadFilter) -> Option<Vec<&'static str>> {
    if filter.reason.is_none() && filter.cause.is_none() {
        return None;
    }
    let wanted = ReasonCode::ALL.iter().filter(|&&code| {
        filter.reason.is_none_or(|reason| reason == code)
            && filter.cause.is_none_or(|cause| cause == code.cause())
    });
    Some(wanted.map(|code| code.as_str()).collect())
}

/// A row to insert.
#[derive(Serialize)]
pub(in crate::store) struct NewLetterRow {
    pub id: Uuid,
    pub entry_key: Option<Uuid>,
    pub event: Option<Uuid>,
    pub kind: Option<String>,
    pub source: Option<String>,
    pub queue: String,
    pub stage: String,
    pub destination: Option<String>,
    pub generation: i64,
    pub reason: &'static str,
    pub error: String,
    pub fingerprint: String,
    pub attempts: i64,
    #[serde(serialize_with = "moment")]
    pub first_failed_at: OffsetDateTime,
    #[serde(serialize_with = "moment")]
    pub last_failed_at: OffsetDateTime,
    pub routing_key: String,
    pub content_type: Option<String>,
    pub properties: String,
    pub headers: String,
    #[serde(serialize_with = "hex")]
    pub body: Bytes,
    pub copies: i64,
}

impl NewLetterRow {
    /// The rows of a batch, each letter once, in one order: so two batches never wait for each other in a
    /// circle, and a statement touches no row twice.
    pub(in crate::store) fn of(batch: &[DeadLetter]) -> Vec<Self> {
        let mut rows: Vec<Self> = Vec::with_capacity(batch.len());
        let mut letters: Vec<&DeadLetter> = batch.iter().collect();
        // Of two letters about one delivery, the last one counts.
        letters.sort_by_key(|letter| (letter.id, letter.last_failed_at));
        for letter in letters {
            match rows.last_mut() {
                Some(known) if known.id == letter.id => {
                    known.copies += i64::from(letter.copies);
                }
                _ => rows.push(letter.into()),
            }
        }
        rows
    }
}

impl From<&DeadLetter> for NewLetterRow {
    fn from(letter: &DeadLetter) -> Self {
        let message = &letter.message;
        let (properties, headers) = written(message);
        Self {
            id: letter.id,
            entry_key: letter.entry_key,
            event: letter.event.map(EventId::uuid),
            kind: letter.kind.as_deref().map(keepable),
            source: letter.source.as_deref().map(keepable),
            queue: keepable(&letter.queue),
            stage: keepable(&letter.stage),
            destination: letter.destination.as_deref().map(keepable),
            generation: letter.generation.into(),
            reason: letter.reason.as_str(),
            error: keepable(&letter.error),
            fingerprint: keepable(&fingerprint(&letter.error)),
            attempts: letter.attempts.into(),
            first_failed_at: letter.first_failed_at,
            last_failed_at: letter.last_failed_at,
            routing_key: keepable(&letter.routing_key),
            content_type: message.content_type.as_deref().map(keepable),
            properties,
            headers,
            body: message.body.clone(),
            copies: letter.copies.into(),
        }
    }
}

/// A whole row.
#[derive(sqlx_macros::FromRow)]
pub(in crate::store) struct LetterRow {
    dead_letter_id: Uuid,
    entry_key: Option<Uuid>,
    event_id: Option<Uuid>,
    #[sqlx(rename = "type")]
    kind: Option<String>,
    source: Option<String>,
    queue: String,
    stage: String,
    destination: Option<String>,
    generation: i64,
    reason: String,
    error: String,
    attempts: i64,
    first_failed_at: OffsetDateTime,
    last_failed_at: OffsetDateTime,
    routing_key: String,
    content_type: Option<String>,
    properties: sqlx::types::Json<Box<RawValue>>,
    headers: sqlx::types::Json<Box<RawValue>>,
    body: Vec<u8>,
    state: String,
    replay_id: Option<Uuid>,
    copies: i64,
}

impl TryFrom<LetterRow> for DeadLetter {
    type Error = StoreError;

    fn try_from(row: LetterRow) -> Result<Self, StoreError> {
        let properties: Properties = json("dead_letters.properties", row.properties.get())?;
        let headers: Value = json("dead_letters.headers", row.headers.get())?;
        Ok(Self {
            id: row.dead_letter_id,
            entry_key: row.entry_key,
            event: row.event_id.map(EventId),
            kind: row.kind,
            source: row.source,
            queue: row.queue,
            stage: row.stage,
            destination: row.destination,
            reason: word(&row.reason)?,
            error: row.error,
            attempts: number("dead_letters.attempts", row.attempts)?,
            generation: number("dead_letters.generation", row.generation)?,
            first_failed_at: row.first_failed_at,
            last_failed_at: row.last_failed_at,
            routing_key: row.routing_key,
            message: properties.message(row.content_type, &headers, row.body.into()),
            state: word(&row.state)?,
            replay: row.replay_id,
            copies: number("dead_letters.copies", row.copies)?,
        })
    }
}

/// A row with its fingerprint, and when it was replayed or discarded.
#[derive(sqlx_macros::FromRow)]
pub(in crate::store) struct StoryRow {
    #[sqlx(flatten)]
    letter: LetterRow,
    fingerprint: String,
    replayed_at: Option<OffsetDateTime>,
    discarded_at: Option<OffsetDateTime>,
    discarded_by: Option<String>,
    discarded_why: Option<String>,
}

impl StoryRow {
    pub(in crate::store) fn event(&self) -> Option<Uuid> {
        self.letter.event_id
    }

    pub(in crate::store) fn destination(&self) -> Option<&str> {
        self.letter.destination.as_deref()
    }
}

/// Maximum number of other letters of an event in a story.
pub(in crate::store) const MOST_OTHERS: i64 = 100;

/// A row of `dead_letter_edits`.
#[derive(sqlx_macros::FromRow)]
pub(in crate::store) struct EditRow {
    edited_at: OffsetDateTime,
    who: String,
    why: Option<String>,
    before: Vec<u8>,
    envelope: Option<sqlx::types::Json<Box<RawValue>>>,
}

impl TryFrom<EditRow> for EditRecord {
    type Error = StoreError;

    fn try_from(row: EditRow) -> Result<Self, StoreError> {
        let envelope = row.envelope;
        let envelope = envelope.map(|text| json("dead_letter_edits.envelope", text.get()));
        Ok(Self {
            at: Moment(row.edited_at),
            who: row.who,
            why: row.why,
            before: row.before.into(),
            envelope: envelope.transpose()?,
        })
    }
}

/// The rows that a story is told from.
pub(in crate::store) type StoryRows = (
    StoryRow,
    Vec<AttemptRecordRow>,
    Vec<SummaryRow>,
    Vec<EditRow>,
    Vec<OperationRow>,
);

/// The story that rows tell.
pub(in crate::store) fn story(rows: StoryRows) -> Result<DeadStory, StoreError> {
    let (row, attempts, others, edits, replays) = rows;
    let discarded = row.discarded_at.map(|at| DiscardRecord {
        at: Moment(at),
        who: row.discarded_by.unwrap_or_default(),
        why: row.discarded_why.unwrap_or_default(),
    });
    Ok(DeadStory {
        letter: row.letter.try_into()?,
        fingerprint: row.fingerprint,
        replayed_at: row.replayed_at.map(Moment),
        discarded,
        attempts: all(attempts)?,
        others: all(others)?,
        edits: all(edits)?,
        replays: all(replays)?,
    })
}

fn all<T: TryFrom<R, Error = StoreError>, R>(rows: Vec<R>) -> Result<Vec<T>, StoreError> {
    rows.into_iter().map(T::try_from).collect()
}

/// The columns of a row in a list.
#[derive(sqlx_macros::FromRow)]
pub(in crate::store) struct SummaryRow {
    dead_letter_id: Uuid,
    event_id: Option<Uuid>,
    #[sqlx(rename = "type")]
    kind: Option<String>,
    queue: String,
    destination: Option<String>,
    reason: String,
    error: String,
    attempts: i64,
    generation: i64,
    last_failed_at: OffsetDateTime,
    state: String,
    copies: i64,
}

impl TryFrom<SummaryRow> for DeadSummary {
    type Error = StoreError;

    fn try_from(row: SummaryRow) -> Result<Self, StoreError> {
        Ok(Self {
            id: row.dead_letter_id,
            event: row.event_id.map(EventId),
            kind: row.kind,
            queue: row.queue,
            destination: row.destination,
            reason: word(&row.reason)?,
            error: row.error,
            attempts: number("dead_letters.attempts", row.attempts)?,
            generation: number("dead_letters.generation", row.generation)?,
            last_failed_at: Moment(row.last_failed_at),
            state: word(&row.state)?,
            copies: number("dead_letters.copies", row.copies)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reason::Cause;

    #[test]
    fn a_pattern_means_the_text_itself() {
        assert_eq!(pattern(r"100 %_\"), r"%100 \%\_\\%");
    }

    #[test]
    fn reason_and_cause_must_both_hold() {
        let filter = |reason, cause| DeadFilter {
            reason,
            cause,
            ..DeadFilter::default()
        };
        assert_eq!(reasons(&filter(None, None)), None);
        let gone = Some(ReasonCode::ReceiverGone);
        assert_eq!(reasons(&filter(gone, None)), Some(vec!["receiver_gone"]));
        assert_eq!(
            reasons(&filter(gone, Some(Cause::Theirs))),
            Some(vec!["receiver_gone"])
        );
        assert_eq!(reasons(&filter(gone, Some(Cause::Ours))), Some(vec![]));
        let infrastructure = reasons(&filter(None, Some(Cause::Infrastructure))).unwrap();
        assert!(infrastructure.contains(&"delivery_limit"));
        assert!(!infrastructure.contains(&"receiver_gone"));
    }
}
