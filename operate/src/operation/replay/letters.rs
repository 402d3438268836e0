//! Sends dead letters: they are claimed, published and marked, a few batches side by side.

use std::collections::HashSet;

use common::bootstrap::Failure;
use common::event::header;
use common::store::{DeadLetter, LeftOpen};
use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use uuid::Uuid;

use super::courier::Parcel;
use super::dispatch::send_all;
use super::letter;
use crate::operation::outcome::{Ended, Sent};
use crate::operation::run::{Run, Supply, Wish};

/// How many batches are in hand at once where no rate is set. While one is claimed, another is published and a
/// third one marked.
const SIDE_BY_SIDE: usize = 4;

/// The result of one batch.
#[derive(Default)]
struct Batch {
    /// Whether there was no letter to claim.
    nothing: bool,
    replayed: u64,
    left_open: Vec<LeftOpen>,
}

/// The result of all batches.
#[derive(Default)]
struct Tally {
    replayed: u64,
    /// The letters that could not be sent.
    kept: HashSet<Uuid>,
}

impl Tally {
    fn add(&mut self, run: &Run<'_>, batch: Batch) {
        self.replayed += batch.replayed;
        for left in batch.left_open {
            self.kept.insert(left.letter);
            run.report.leave(left);
        }
    }

    fn sent(self, ended: Ended) -> Sent {
        Sent {
            replayed: self.replayed,
            ended,
        }
    }
}

/// Sends every letter that the replay can claim.
pub(super) async fn send(run: &Run<'_>) -> Result<Sent, Failure> {
    let side_by_side = if run.operation.rate.is_some() {
        1
    } else {
        SIDE_BY_SIDE
    };
    let mut tally = Tally::default();
    let mut failure = None;
    let mut in_hand = FuturesUnordered::new();
    let mut more = true;
    loop {
        while more && !run.is_halted() && in_hand.len() < side_by_side {
            in_hand.push(batch(run));
        }
        match in_hand.next().await {
            Some(Ok(batch)) => {
                more &= !batch.nothing;
                tally.add(run, batch);
            }
            // The other batches in hand are brought to their end.
            Some(Err(error)) => {
                more = false;
                failure.get_or_insert(error);
            }
            None => {
                if let Some(failure) = failure {
                    return Err(failure);
                }
                if run.is_halted() {
                    return Ok(tally.sent(Ended::Halted));
                }
                // There was no letter to claim: all are sent, or the replay was paused or stopped.
                if run.wish().await? == Wish::Stop {
                    return Ok(tally.sent(Ended::Steered));
                }
                if !send_forgotten(run, &mut tally).await? {
                    // While the replay was paused, open letters were left.
                    let batch = batch(run).await?;
                    if batch.nothing && !run.is_halted() {
                        return Ok(tally.sent(Ended::All));
                    }
                    tally.add(run, batch);
                }
                more = true;
            }
        }
    }
}

/// Sends letters that this replay has claimed without knowing it, because the answer to the claim was lost. It
/// also sends letters that were left while the replay was paused. Returns whether there were any, or whether the
/// run was told to end meanwhile.
async fn send_forgotten(run: &Run<'_>, tally: &mut Tally) -> Result<bool, Failure> {
    let (mut any, mut after) = (false, None);
    loop {
        let mut letters = claimed(run, after).await?;
        let Some(last) = letters.last() else {
            return Ok(any || run.is_halted());
        };
        after = Some(last.id);
        letters.retain(|letter| !tally.kept.contains(&letter.id));
        if letters.is_empty() {
            continue;
        }
        any = true;
        tally.add(run, send_batch(run, letters).await?);
        if run.is_halted() {
            return Ok(true);
        }
    }
}

async fn claimed(run: &Run<'_>, after: Option<Uuid>) -> Result<Vec<DeadLetter>, Failure> {
    let (operations, id, most) = (
        run.executor.store.operations(),
        run.operation.id,
        run.most(),
    );
    let claimed = async || operations.claimed_dead(id, after, most).await;
    run.patience.outlast(claimed).await
}

/// The next letters: first those that a previous run had claimed, then open ones.
async fn claim(run: &Run<'_>) -> Result<Vec<DeadLetter>, Failure> {
    let mut supply = run.supply.lock().await;
    if let Supply::LeftBehind(after) = *supply {
        let letters = claimed(run, after).await?;
        if let Some(last) = letters.last() {
            *supply = Supply::LeftBehind(Some(last.id));
            return Ok(letters);
        }
        *supply = Supply::Open;
    }
    let (operations, id, most) = (
        run.executor.store.operations(),
        run.operation.id,
        run.most(),
    );
    let claim = async || operations.claim_dead(id, most).await;
    run.patience.outlast(claim).await
}

async fn batch(run: &Run<'_>) -> Result<Batch, Failure> {
    let letters = claim(run).await?;
    if letters.is_empty() {
        return Ok(Batch {
            nothing: true,
            ..Batch::default()
        });
    }
    send_batch(run, letters).await
}

/// Publishes letters until the broker has answered for each, and marks the confirmed ones.
async fn send_batch(run: &Run<'_>, letters: Vec<DeadLetter>) -> Result<Batch, Failure> {
    let mut batch = Batch::default();
    let mut parcels = Vec::new();
    for letter in letters {
        match parcel(run, &letter).await? {
            Ok(parcel) => parcels.push((letter.id, parcel)),
            Err(left) => batch.left_open.push(left),
        }
    }
    let (operations, id) = (run.executor.store.operations(), run.operation.id);
    let dispatched = send_all(run, parcels, async |confirmed: &[Uuid]| {
        let mark = async || operations.mark_replayed(id, confirmed).await;
        run.patience.outlast(mark).await?;
        batch.replayed += confirmed.len() as u64;
        Ok(())
    })
    .await?;
    let refused = dispatched.refused.into_iter().map(|refused| LeftOpen {
        letter: refused.key,
        queue: refused.queue,
        problem: refused.problem,
    });
    batch.left_open.extend(refused);
    Ok(batch)
}

/// The parcel of a letter, or why it cannot be sent.
async fn parcel(run: &Run<'_>, dead: &DeadLetter) -> Result<Result<Parcel, LeftOpen>, Failure> {
    let executor = run.executor;
    let logins = executor.judge.logins();
    let to = run.operation.to_queue.as_deref();
    let queue = match letter::goes_to(dead, logins, executor.names, to) {
        Ok(queue) => queue,
        Err(left) => return Ok(Err(left)),
    };
    let problem = match letter::incomplete(dead) {
        None => {
            let (topology, broker) = (executor.topology, executor.broker);
            let problem = run.routes.problem(&run.patience, topology, broker, &queue);
            problem.await?
        }
        problem => problem,
    };
    if let Some(problem) = problem {
        return Ok(Err(LeftOpen {
            letter: dead.id,
            queue,
            problem,
        }));
    }
    let mut message = letter::again(dead, logins);
    if run.operation.new_ids {
        let generation = dead.generation.saturating_add(1);
        message.headers.set(header::NEW_ID, i64::from(generation));
    }
    Ok(Ok(Parcel { queue, message }))
}
