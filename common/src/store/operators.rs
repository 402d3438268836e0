//! Operators and their keys.

use async_trait::async_trait;

use super::{Act, NewOperator, OperatorMade, OperatorRecord, StoreError};

/// People who look and mend. A change is an entry of the audit record, in the transaction of the change.
#[async_trait]
pub trait Operators: Send + Sync {
    /// Makes an operator. The same operator made again, because an answer was lost, changes nothing.
    ///
    /// # Errors
    /// No operator is made.
    async fn make_operator(&self, operator: &NewOperator) -> Result<OperatorMade, StoreError>;

    /// All operators, the newest first, the revoked ones among them.
    ///
    /// # Errors
    /// The database cannot say.
    async fn all_operators(&self) -> Result<Vec<OperatorRecord>, StoreError>;

    /// Revokes the key of an operator, and gives the operator as it is then; `None` if there is no such operator. One who is
    /// revoked stays so.
    ///
    /// # Errors
    /// The operator stands as before.
    async fn revoke_operator(
        &self,
        id: &str,
        act: &Act,
    ) -> Result<Option<OperatorRecord>, StoreError>;

    /// The operator whose key has this hash, revoked or not. That the key was used is written down once a minute.
    ///
    /// # Errors
    /// The database cannot say.
    async fn operator_of_key(
        &self,
        key_hash: [u8; 32],
    ) -> Result<Option<OperatorRecord>, StoreError>;
}
