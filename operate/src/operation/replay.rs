//! Sends dead letters, or a part of the history, again. It works in batches and at a set rate. Only messages that the
//! broker has confirmed are marked.
//!
//! A letter is claimed by one replay alone, so two replays never send the same letter. A program may be killed between a
//! confirm and the mark. The next run then sends that letter once more under the same generation. The dedupe keys contain
//! the generation, so they drop the second message.

mod calm;
mod courier;
mod dispatch;
mod generation;
mod lately;
mod letter;
mod letters;
mod raw;
mod slice;

use common::bootstrap::Failure;

use super::lease::{self, Before};
use super::outcome::Sent;
use super::run::Run;

/// Sends what is still to be sent, after what previous runs sent is recorded.
pub(super) async fn send(run: &Run<'_>, before: Before) -> Result<Sent, Failure> {
    if may_have_sent(run, before).await? {
        calm::wait(run).await?;
    }
    match &run.operation.slice {
        Some(slice) => slice::send(run, slice).await,
        None => letters::send(run).await,
    }
}

/// Whether a previous run may have sent messages that are not recorded.
async fn may_have_sent(run: &Run<'_>, before: Before) -> Result<bool, Failure> {
    let (store, replay) = (run.executor.store, run.operation);
    match (before, replay.resumes) {
        (Before::Known, _) => Ok(false),
        (Before::Unknown, _) => Ok(true),
        (Before::NoRun, Some(stopped)) => {
            let left = lease::left_by(&run.patience, store, stopped).await?;
            Ok(left != Before::Known)
        }
        // An older version, which had no leases, may have run the replay.
        (Before::NoRun, None) => {
            let claimed = async || store.operations().claimed_dead(replay.id, None, 1).await;
            let is_new = replay.replayed == 0
                && replay.position.is_none()
                && run.patience.outlast(claimed).await?.is_empty();
            Ok(!is_new)
        }
    }
}
