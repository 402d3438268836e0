//! Dead letters counted by what they died of.

use common::reason::{Action, Cause};
use common::store::{DeadFilter, DeadGroup, Store, StoreError};
use serde::Serialize;

/// One problem: letters that died of the same.
#[derive(Debug, Serialize)]
pub struct Group {
    /// The letters.
    #[serde(flatten)]
    pub group: DeadGroup,
    /// Whose doing it is.
    pub cause: Cause,
    /// What to do first.
    pub action: Action,
}

impl From<DeadGroup> for Group {
    fn from(group: DeadGroup) -> Self {
        Self {
            cause: group.reason.cause(),
            action: group.reason.action(),
            group,
        }
    }
}

/// The `limit` largest groups among the letters that match, the largest first.
///
/// # Errors
/// The database cannot say.
pub async fn stats(
    store: &dyn Store,
    filter: &DeadFilter,
    limit: u32,
) -> Result<Vec<Group>, StoreError> {
    let groups = store.dead_stats(filter, limit).await?;
    Ok(groups.into_iter().map(Group::from).collect())
}
