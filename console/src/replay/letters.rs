//! Sending dead letters: claimed, published, marked, a few batches side by side.

use std::collections::HashSet;

use common::bootstrap::Failure;
use common::store::DeadLetter;
use common::topology::Names;
use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use uuid::Uuid;

use super::courier::{Fate, Parcel, round};
use super::letter;
use super::outcome::{Ended, LeftOpen, News, Sent};
use super::run::{Run, Wish};
use crate::app::publish_failure;

/// So many batches are in hand at once where no rate is set: while one is claimed, another is published
/// and a third one marked.
const SIDE_BY_SIDE: usize = 4;

/// What one batch came to.
#[derive(Default)]
struct Batch {
    /// Whether nothing was there to be claimed.
    nothing: bool,
    replayed: u64,
    left_open: Vec<LeftOpen>,
}

/// Sends every letter that the replay can claim.
pub(super) async fn send(run: &Run<'_>, resumed: bool) -> Result<Sent, Failure> {
    let side_by_side = if run.replay.rate.is_some() {
        1
    } else {
        SIDE_BY_SIDE
    };
    let mut sent = Sent::default();
    let mut kept: HashSet<Uuid> = HashSet::new();
    let mut failure = None;
    let mut in_hand = FuturesUnordered::new();
    // What a killed run had claimed comes once, with the first batch.
    let mut resume = resumed;
    let mut more = true;
    loop {
        while more && !run.is_halted() && in_hand.len() < side_by_side {
            let left_behind = std::mem::take(&mut resume);
            in_hand.push(batch(run, left_behind));
        }
        match in_hand.next().await {
            Some(Ok(batch)) => {
                more &= !batch.nothing;
                sent.replayed += batch.replayed;
                for left in batch.left_open {
                    kept.insert(left.letter);
                    sent.leave(left);
                }
            }
            // What else is in hand is brought to its end.
            Some(Err(error)) => {
                more = false;
                failure.get_or_insert(error);
            }
            None => {
                if let Some(failure) = failure {
                    return Err(failure);
                }
                if run.is_halted() {
                    sent.ended = Ended::Halted;
                    return Ok(sent);
                }
                // Nothing was to be claimed: all is sent, or somebody has paused or stopped it.
                if run.wish().await? == Wish::Stop {
                    sent.ended = Ended::Steered;
                    return Ok(sent);
                }
                let forgotten = forgotten(run, &kept).await?;
                if forgotten.is_empty() && !run.is_halted() {
                    return Ok(sent);
                }
                let again = send_batch(run, forgotten).await?;
                sent.replayed += again.replayed;
                for left in again.left_open {
                    kept.insert(left.letter);
                    sent.leave(left);
                }
                more = true;
            }
        }
    }
}

/// Letters that this replay has claimed without knowing it, because the answer to the claim was lost; and
/// those that were left while it was paused.
async fn forgotten(run: &Run<'_>, kept: &HashSet<Uuid>) -> Result<Vec<DeadLetter>, Failure> {
    let mut letters = claim(run, true).await?;
    letters.retain(|letter| !kept.contains(&letter.id));
    Ok(letters)
}

async fn claim(run: &Run<'_>, left_behind: bool) -> Result<Vec<DeadLetter>, Failure> {
    let (store, id, most) = (run.replayer.store, run.replay.id, run.most());
    let _turn = run.claiming.lock().await;
    run.patiently(async || store.claim_dead(id, most, left_behind).await)
        .await
}

async fn batch(run: &Run<'_>, left_behind: bool) -> Result<Batch, Failure> {
    let letters = claim(run, left_behind).await?;
    if letters.is_empty() {
        return Ok(Batch {
            nothing: true,
            ..Batch::default()
        });
    }
    send_batch(run, letters).await
}

/// Publishes letters until the broker has answered for each, and marks what it has confirmed.
async fn send_batch(run: &Run<'_>, letters: Vec<DeadLetter>) -> Result<Batch, Failure> {
    let mut batch = Batch::default();
    let (mut ids, mut parcels) = (Vec::new(), Vec::new());
    for dead in letters {
        let queue = match &run.replay.to_queue {
            Some(queue) => queue.clone(),
            None => Names::without_suspect(&dead.queue).to_owned(),
        };
        if let Some(problem) = run.routes.problem(run, &queue).await? {
            let letter = dead.id;
            batch.left_open.push(LeftOpen {
                letter,
                queue,
                problem,
            });
            continue;
        }
        ids.push(dead.id);
        let message = letter::again(&dead, run.replayer.broker.user());
        parcels.push(Parcel { queue, message });
    }
    let mut outage = None;
    while !parcels.is_empty() {
        let turn = async || {
            tokio::select! {
                biased;
                () = run.halted() => false,
                () = run.pace.turn() => true,
            }
        };
        let (fates, failure) = round(run.replayer.broker, &parcels, turn, || {
            run.tell(News::Sent(1));
        })
        .await;
        let (mut confirmed, mut again) = (Vec::new(), (Vec::new(), Vec::new()));
        for ((letter, parcel), fate) in ids.into_iter().zip(parcels).zip(fates) {
            match fate {
                Fate::Confirmed => confirmed.push(letter),
                Fate::Refused(problem) => {
                    let queue = parcel.queue;
                    batch.left_open.push(LeftOpen {
                        letter,
                        queue,
                        problem,
                    });
                }
                Fate::Unknown => {
                    again.0.push(letter);
                    again.1.push(parcel);
                }
            }
        }
        (ids, parcels) = again;
        if !confirmed.is_empty() {
            let (store, id) = (run.replayer.store, run.replay.id);
            run.patiently(async || store.mark_replayed(id, &confirmed).await)
                .await?;
            batch.replayed += confirmed.len() as u64;
            if outage.take().is_some() {
                run.tell(News::GoingOn);
            }
        }
        if run.is_halted() {
            break;
        }
        if let Some(error) = failure {
            let why = crate::app::describe(&publish_failure(error));
            run.wait_out(&mut outage, why).await?;
        }
    }
    Ok(batch)
}
