//! The words for states in columns, JSON and on the command line.

use std::fmt;
use std::str::FromStr;

use super::rows::{
    AuditAction, AuditOutcome, DeadState, DeliveryState, OperationKind, OperationState, Role,
    Standing,
};
use crate::reason::UnknownReason;

/// No state has this name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("expected {expected}, found {found:?}")]
pub struct UnknownWord {
    /// The words that are right.
    pub expected: String,
    /// The word that was found.
    pub found: String,
}

impl From<UnknownReason> for UnknownWord {
    fn from(UnknownReason(found): UnknownReason) -> Self {
        Self {
            expected: "a reason code this program knows".to_owned(),
            found,
        }
    }
}

/// Gives an enum its words. They are those of its `serde` form if it has one; a test compares.
macro_rules! words {
    ($name:ident { $($variant:ident = $word:literal),+ }) => {
        impl $name {
            /// Every variant.
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];

            /// The word for it.
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $word,)+ }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.as_str())
            }
        }

        impl FromStr for $name {
            type Err = UnknownWord;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                match text {
                    $($word => Ok(Self::$variant),)+
                    other => Err(UnknownWord {
                        expected: [$($word),+].join(", "),
                        found: other.to_owned(),
                    }),
                }
            }
        }
    };
}

words!(DeliveryState {
    Due = "due",
    Delivered = "delivered",
    Dead = "dead",
    Discarded = "discarded"
});
words!(DeadState {
    Open = "open",
    Replaying = "replaying",
    Replayed = "replayed",
    Discarded = "discarded",
    Superseded = "superseded"
});
words!(OperationKind {
    Replay = "replay",
    Discard = "discard",
    Restore = "restore"
});
words!(OperationState {
    Running = "running",
    Paused = "paused",
    Done = "done",
    Stopped = "stopped"
});
words!(Standing {
    Scheduled = "scheduled",
    Stored = "stored",
    Delivering = "delivering",
    Completed = "completed",
    Rejected = "rejected",
    Dead = "dead",
    Cancelled = "cancelled"
});

words!(Role {
    Viewer = "viewer",
    Operator = "operator",
    Admin = "admin"
});
words!(AuditOutcome {
    Allowed = "allowed",
    Denied = "denied"
});
words!(AuditAction {
    DeadEdit = "dead.edit",
    DeadDiscard = "dead.discard",
    DeadRestore = "dead.restore",
    DeadPurge = "dead.purge",
    OperationBegin = "operation.begin",
    OperationPause = "operation.pause",
    OperationResume = "operation.resume",
    OperationStop = "operation.stop",
    OperationRate = "operation.rate",
    EventsPublish = "events.publish",
    EventsRequeue = "events.requeue",
    EventCancel = "event.cancel",
    DestinationPause = "destination.pause",
    DestinationResume = "destination.resume",
    DestinationTest = "destination.test",
    KeyCreate = "key.create",
    KeyRotate = "key.rotate",
    KeyRevoke = "key.revoke",
    OperatorCreate = "operator.create",
    OperatorRevoke = "operator.revoke",
    TopologyApply = "topology.apply",
    TopologyDelete = "topology.delete",
    SchemaMigrate = "schema.migrate",
    ConfigurationReload = "configuration.reload"
});

#[cfg(test)]
mod tests {
    use serde::Serialize;

    use super::*;

    fn agree<T>(all: &[T])
    where
        T: Copy + Serialize + FromStr<Err = UnknownWord> + fmt::Display + PartialEq + fmt::Debug,
    {
        for &one in all {
            assert_eq!(
                serde_json::to_value(one).unwrap(),
                serde_json::Value::String(one.to_string())
            );
            assert_eq!(one.to_string().parse(), Ok(one));
        }
    }

    #[test]
    fn words_are_those_of_the_json_form() {
        agree(DeliveryState::ALL);
        agree(DeadState::ALL);
        agree(OperationKind::ALL);
        agree(OperationState::ALL);
        agree(Standing::ALL);
        agree(Role::ALL);
        agree(AuditOutcome::ALL);
    }

    #[test]
    fn each_action_is_found_by_its_word() {
        for &action in AuditAction::ALL {
            assert_eq!(action.as_str().parse(), Ok(action));
        }
    }

    #[test]
    fn an_unknown_word_names_the_known_ones() {
        let error = "late".parse::<DeliveryState>().unwrap_err().to_string();
        assert_eq!(
            error,
            "expected due, delivered, dead, discarded, found \"late\""
        );
    }
}
