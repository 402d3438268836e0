//! Discards or restores dead letters, batch by batch.

use common::bootstrap::Failure;

use super::outcome::{Ended, News, Sent};
use super::run::{Run, Wish};
use crate::dead::Change;

/// Makes a change until no letter is left to change. Each batch and its count are one transaction, so a batch that is
/// made again after a kill changes and counts nothing twice.
pub(super) async fn make(run: &Run<'_>, change: &Change) -> Result<Sent, Failure> {
    let store = run.executor.store;
    let mut changed = 0;
    let ended = loop {
        if run.wish().await? == Wish::Stop {
            break Ended::Steered;
        }
        if run.is_halted() {
            break Ended::Halted;
        }
        let step = async || change.step(store).await;
        let more = run.patience.outlast(step).await?;
        if more == 0 {
            break Ended::All;
        }
        changed += more;
        run.report.tell(News::Sent(more));
    };
    Ok(Sent {
        replayed: changed,
        ended,
    })
}
