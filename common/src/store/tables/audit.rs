//! Entries of the audit record as rows.

use serde_json::value::RawValue;
use serde_json::{Value, json};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use uuid::Uuid;

use super::text::{hex_digits, keepable, word};
use crate::event::secrets;
use crate::store::chain::{AuditLink, CHAINED_COLUMNS, HASH_LENGTH, entry_hash};
use crate::store::{Act, AuditEntry, AuditFilter, AuditOutcome, DeadState, Moment, StoreError};

/// The end of the record once its number is that of the entry to come.
#[derive(sqlx_macros::FromRow)]
pub(in crate::store) struct NextRow {
    /// The number of the entry to come.
    pub seq: i64,
    /// The hash of the entry before.
    pub hash: Vec<u8>,
}

/// The row of a filter: each condition as its column is compared.
pub(in crate::store) struct FilterRow {
    pub who: Option<String>,
    pub action: Option<String>,
    pub target: Option<String>,
    pub outcome: Option<&'static str>,
}

impl From<&AuditFilter> for FilterRow {
    fn from(filter: &AuditFilter) -> Self {
        Self {
            who: filter.who.as_deref().map(with_stars),
            action: filter.action.as_deref().map(with_stars),
            target: filter.target.as_deref().map(with_stars),
            outcome: filter.outcome.map(AuditOutcome::as_str),
        }
    }
}

/// The pattern of `LIKE` in which `*` stands for any characters, and each other character for itself.
fn with_stars(text: &str) -> String {
    let mut pattern = String::new();
    for one in keepable(text).chars() {
        match one {
            '*' => pattern.push('%'),
            '%' | '_' | '\\' => pattern.extend(['\\', one]),
            _ => pattern.push(one),
        }
    }
    pattern
}

/// A whole row, every column in the text that its hash covers.
#[derive(Debug, Clone, PartialEq, Eq, sqlx_macros::FromRow)]
pub(in crate::store) struct AuditRow {
    pub seq: i64,
    pub at: String,
    pub who: String,
    pub role: Option<String>,
    pub origin: String,
    pub action: String,
    pub target: String,
    pub outcome: String,
    pub before: Option<String>,
    pub after: Option<String>,
    pub why: Option<String>,
    pub request_id: Option<String>,
    pub previous_hash: Vec<u8>,
    pub hash: Vec<u8>,
}

impl AuditRow {
    /// The row of an act, chained to the entry before. `at` is RFC 3339 in UTC with six digits of a second.
    pub(in crate::store) fn new(
        next: NextRow,
        at: String,
        act: &Act,
        outcome: AuditOutcome,
    ) -> Self {
        let mut row = Self {
            seq: next.seq,
            at,
            who: keepable(&act.actor.who),
            role: act.actor.role.map(|role| role.as_str().to_owned()),
            origin: keepable(&act.actor.origin),
            action: act.action.as_str().to_owned(),
            target: keepable(&act.target),
            outcome: outcome.as_str().to_owned(),
            before: act.before.as_ref().map(masked),
            after: act.after.as_ref().map(masked),
            why: act.why.as_deref().map(masked_text),
            request_id: act.request_id.as_deref().map(keepable),
            previous_hash: next.hash,
            hash: Vec::new(),
        };
        row.hash = row.computed_hash().to_vec();
        row
    }

    fn computed_hash(&self) -> [u8; HASH_LENGTH] {
        let seq = self.seq.to_string();
        let columns: [Option<&str>; CHAINED_COLUMNS.len()] = [
            Some(&seq),
            Some(&self.at),
            Some(&self.who),
            self.role.as_deref(),
            Some(&self.origin),
            Some(&self.action),
            Some(&self.target),
            Some(&self.outcome),
            self.before.as_deref(),
            self.after.as_deref(),
            self.why.as_deref(),
            self.request_id.as_deref(),
        ];
        entry_hash(&self.previous_hash, columns)
    }
}

/// JSON without secrets, as the record holds it.
fn masked(value: &Value) -> String {
    let mut value = value.clone();
    secrets::mask_value(&mut value);
    value.to_string()
}

/// A reason is free text: somebody may paste a secret into it.
fn masked_text(text: &str) -> String {
    keepable(&secrets::mask_text(text))
}

impl From<AuditRow> for AuditLink {
    fn from(row: AuditRow) -> Self {
        Self {
            seq: row.seq,
            computed: row.computed_hash(),
            previous_hash: row.previous_hash,
            hash: row.hash,
        }
    }
}

impl TryFrom<AuditRow> for AuditEntry {
    type Error = StoreError;

    fn try_from(row: AuditRow) -> Result<Self, StoreError> {
        let at = OffsetDateTime::parse(&row.at, &Rfc3339).map_err(|_| altered(row.seq, "at"))?;
        let role = row.role.map(|role| word(&role)).transpose()?;
        let before = row.before.map(|text| raw(row.seq, "before", text));
        let after = row.after.map(|text| raw(row.seq, "after", text));
        Ok(Self {
            seq: row.seq,
            at: Moment(at),
            who: row.who,
            role,
            origin: row.origin,
            action: row.action,
            target: row.target,
            outcome: word(&row.outcome)?,
            before: before.transpose()?,
            after: after.transpose()?,
            why: row.why,
            request_id: row.request_id,
            previous_hash: hex_digits(&row.previous_hash),
            hash: hex_digits(&row.hash),
        })
    }
}

/// The act that moves dead letters from one state to another.
pub(in crate::store) fn moved(act: &Act, from: DeadState, to: DeadState, letters: &[Uuid]) -> Act {
    let before = json!({ "state": from });
    let after = json!({ "state": to, "letters": letters.len(), "ids": letters });
    act.clone().changing(Some(before), Some(after))
}

/// The act that removes dead letters settled before `older_than`.
pub(in crate::store) fn purged(act: &Act, older_than: OffsetDateTime, letters: u64) -> Act {
    let after = json!({ "settled_before": Moment(older_than), "letters": letters });
    act.clone().changing(None, Some(after))
}

fn raw(seq: i64, column: &str, text: String) -> Result<Box<RawValue>, StoreError> {
    RawValue::from_string(text).map_err(|_| altered(seq, column))
}

/// A value that no version of ours writes.
fn altered(seq: i64, column: &str) -> StoreError {
    StoreError::Fault(format!(
        "expected audit.{column} of entry {seq} in the shape this program writes, found another: \
         `longshore audit verify` says where the record is altered"
    ))
}

/// The error of a record without its head.
pub(in crate::store) const NO_HEAD: &str = "expected one row in audit_head, found none, so that no act can be recorded: restore the row from a backup, and see `longshore audit verify`";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::chain::BEGINNING;
    use crate::store::{Actor, AuditAction, Role};

    fn act() -> Act {
        let actor = Actor {
            who: "cli:ada".to_owned(),
            role: Some(Role::Admin),
            origin: "desk".to_owned(),
        };
        Act::new(actor, AuditAction::DeadEdit, "dead:7")
    }

    fn row(act: &Act) -> AuditRow {
        let next = NextRow {
            seq: 1,
            hash: BEGINNING.to_vec(),
        };
        let at = "2026-11-29T08:00:00.000000Z".to_owned();
        AuditRow::new(next, at, act, AuditOutcome::Allowed)
    }

    #[test]
    fn no_secret_comes_into_a_row() {
        let facts = || Some(json!({"list": [{"password": "hunter2"}], "text": "token=hunter2"}));
        let act = act()
            .changing(facts(), facts())
            .because(Some("password: hunter2".to_owned()));
        let row = row(&act);
        assert!(!format!("{row:?}").contains("hunter2"), "{row:?}");
        assert!(row.before.is_some() && row.after.is_some() && row.why.is_some());
    }

    #[test]
    fn a_row_comes_back_as_its_entry() {
        let act = act().changing(None, Some(json!({"letters": 1.10})));
        let entry = AuditEntry::try_from(row(&act)).unwrap();
        assert_eq!(entry.after.unwrap().get(), r#"{"letters":1.1}"#);
        assert_eq!(entry.at.0, time::macros::datetime!(2026-11-29 08:00 UTC));
        assert_eq!(entry.previous_hash, "0".repeat(64));
        let mut altered = row(&act);
        altered.at = "yesterday".to_owned();
        let error = AuditEntry::try_from(altered).unwrap_err();
        assert!(error.to_string().contains("audit.at of entry 1"), "{error}");
    }

    #[test]
    fn a_star_stands_for_anything_and_other_characters_for_themselves() {
        assert_eq!(with_stars("dead.*"), "dead.%");
        assert_eq!(with_stars("100%_\\"), "100\\%\\_\\\\");
    }
}
