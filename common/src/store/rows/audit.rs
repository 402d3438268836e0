//! The audit record: who acts, what an act is, and the entry that it leaves.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use serde_json::value::RawValue;
use time::OffsetDateTime;

use super::Moment;

/// The role of an operator. A later role may do all that an earlier one may.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Reads, personal data masked.
    Viewer,
    /// Mends, replays and pauses.
    Operator,
    /// Keeps keys, operators, topology and schema.
    Admin,
}

/// Who acts, and from where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Actor {
    /// The name, such as `cli:ada` for a user of the operating system.
    pub who: String,
    /// The role; `None` if the caller is not known.
    pub role: Option<Role>,
    /// The host of the command line, or the address of an HTTP client.
    pub origin: String,
}

/// What an act does. The words are stable: they are in the record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum AuditAction {
    /// Mends a dead letter.
    DeadEdit,
    /// Discards dead letters.
    DeadDiscard,
    /// Opens discarded dead letters again.
    DeadRestore,
    /// Removes settled dead letters.
    DeadPurge,
    /// Begins an operation: a replay, a discard or a restore.
    OperationBegin,
    /// Pauses an operation.
    OperationPause,
    /// Lets an operation run again.
    OperationResume,
    /// Stops an operation.
    OperationStop,
    /// Sets the maximum rate of an operation.
    OperationRate,
    /// Publishes events from a file.
    EventsPublish,
    /// Sends stuck events on their way again.
    EventsRequeue,
    /// Cancels an event that waits for its moment.
    EventCancel,
    /// Pauses a destination.
    DestinationPause,
    /// Lets deliveries to a destination go on.
    DestinationResume,
    /// Sends a ping to a destination.
    DestinationTest,
    /// Makes a key for the door.
    KeyCreate,
    /// Gives a key another secret.
    KeyRotate,
    /// Revokes a key.
    KeyRevoke,
    /// Makes an operator.
    OperatorCreate,
    /// Revokes an operator.
    OperatorRevoke,
    /// Declares the topology anew.
    TopologyApply,
    /// Deletes the topology.
    TopologyDelete,
    /// Brings the schema up to date.
    SchemaMigrate,
    /// Takes up another configuration in a running program.
    ConfigurationReload,
}

/// Whether an act was allowed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AuditOutcome {
    /// The act was done.
    Allowed,
    /// The act was refused, and changed nothing.
    Denied,
}

/// One act of an operator.
#[derive(Debug, Clone, PartialEq)]
pub struct Act {
    /// Who acts.
    pub actor: Actor,
    /// What the act does.
    pub action: AuditAction,
    /// What it is done to: a kind and an id, such as `dead:…` or `operation:…`.
    pub target: String,
    /// The facts that it changes, as they were. The record masks secrets by the names of their fields.
    pub before: Option<Value>,
    /// The same facts after the act.
    pub after: Option<Value>,
    /// The reason.
    pub why: Option<String>,
    /// The request that it is a part of.
    pub request_id: Option<String>,
}

impl Act {
    /// An act without facts, reason or request.
    pub fn new(actor: Actor, action: AuditAction, target: impl Into<String>) -> Self {
        Self {
            actor,
            action,
            target: target.into(),
            before: None,
            after: None,
            why: None,
            request_id: None,
        }
    }

    /// The act with this reason.
    #[must_use]
    pub fn because(self, why: Option<String>) -> Self {
        Self { why, ..self }
    }

    /// The act with these facts before and after it.
    #[must_use]
    pub fn changing(self, before: Option<Value>, after: Option<Value>) -> Self {
        Self {
            before,
            after,
            ..self
        }
    }
}

/// An entry as it is stored.
#[derive(Debug, Clone, Serialize)]
pub struct AuditEntry {
    /// Its number: 1 is the first, and there are no gaps.
    pub seq: i64,
    /// When the act was done.
    pub at: Moment,
    /// Who acted.
    pub who: String,
    /// The role, where the caller was known.
    pub role: Option<Role>,
    /// Where the act came from.
    pub origin: String,
    /// What it did; a later version may know other words than [`AuditAction`].
    pub action: String,
    /// What it was done to.
    pub target: String,
    /// Whether it was allowed.
    pub outcome: AuditOutcome,
    /// The facts that it has changed, as they were.
    pub before: Option<Box<RawValue>>,
    /// The same facts after the act.
    pub after: Option<Box<RawValue>>,
    /// The reason.
    pub why: Option<String>,
    /// The request that it was a part of.
    pub request_id: Option<String>,
    /// The hash of the entry before, in hexadecimal digits.
    pub previous_hash: String,
    /// The hash of the entry, in hexadecimal digits.
    pub hash: String,
}

/// A filter of entries. Every condition that is set must hold. In texts, `*` stands for any characters, and A to Z count as a
/// to z.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AuditFilter {
    /// By somebody of this name.
    pub who: Option<String>,
    /// With this action, such as `dead.*`.
    pub action: Option<String>,
    /// About this target.
    pub target: Option<String>,
    /// With this outcome.
    pub outcome: Option<AuditOutcome>,
    /// Done at this moment or later.
    pub since: Option<OffsetDateTime>,
    /// Done before this moment.
    pub until: Option<OffsetDateTime>,
}

/// A page of entries: keyset pages, newest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AuditPage {
    /// The number of the last entry of the page before.
    pub before: Option<i64>,
    /// Maximum length of the page.
    pub limit: u32,
}
