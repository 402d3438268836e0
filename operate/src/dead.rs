//! Dead letters: finding them, telling their stories, giving them up and taking that back.

mod batches;
mod change;
mod list;
mod purge;
mod stats;
mod step;
mod story;

use common::bootstrap::Failure;
use common::namespace::Namespace;
use uuid::Uuid;

pub use change::Change;
pub use list::page;
pub use purge::{count_settled, purge, settled_before};
pub use stats::{Group, stats};
pub use step::{Step, steps};
pub use story::{Edit, Story, story};

/// There is no letter of this id.
pub fn no_such_letter(namespace: &Namespace, id: Uuid) -> Failure {
    Failure::Failed(anyhow::anyhow!(
        "no dead letter {id} is kept in {namespace}; `longshore dead list` shows those that are"
    ))
}
