//! Operators: people who look and mend.

use serde::Serialize;

use super::{Act, Moment, Role};

/// An operator to make.
#[derive(Debug, Clone, PartialEq)]
pub struct NewOperator {
    /// The id, which is also the public part of the key.
    pub id: String,
    /// The name. One operator at a time has it.
    pub name: String,
    /// The role.
    pub role: Role,
    /// SHA-256 of the key.
    pub key_hash: [u8; 32],
    /// The act that makes the operator.
    pub act: Act,
}

/// The outcome of making an operator.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OperatorMade {
    /// The operator is there, and the key may be used.
    Made,
    /// Another operator who is not revoked has the name.
    NameTaken,
}

/// An operator as recorded. The hash of the key is not told.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct OperatorRecord {
    /// The id, which is also the public part of the key.
    pub id: String,
    /// The name.
    pub name: String,
    /// The role.
    pub role: Role,
    /// When the operator was made.
    pub created_at: Moment,
    /// When the key was revoked.
    pub revoked_at: Option<Moment>,
    /// When the key was last used, to the minute.
    pub last_used_at: Option<Moment>,
}
