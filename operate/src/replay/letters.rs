//! Sending dead letters: claimed, published, marked, a few batches side by side.

use std::collections::HashSet;

use common::bootstrap::Failure;
use common::event::header;
use common::store::DeadLetter;
use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use uuid::Uuid;

use super::courier::{Fate, Parcel, publish_all};
use super::letter;
use super::outcome::{Ended, LeftOpen, News, Sent};
use super::run::{Run, Supply, Wish};

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
    if resumed {
        *run.supply.lock().await = Supply::LeftBehind(None);
    }
    let mut more = true;
    loop {
        while more && !run.is_halted() && in_hand.len() < side_by_side {
            in_hand.push(batch(run));
        }
        match in_hand.next().await {
            Some(Ok(batch)) => {
                more &= !batch.nothing;
                record(&mut sent, &mut kept, batch);
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
                if !send_forgotten(run, &mut sent, &mut kept).await? {
                    // While it was paused, what was open was left.
                    let batch = batch(run).await?;
                    if batch.nothing && !run.is_halted() {
                        return Ok(sent);
                    }
                    record(&mut sent, &mut kept, batch);
                }
                more = true;
            }
        }
    }
}

/// Adds what a batch came to.
fn record(sent: &mut Sent, kept: &mut HashSet<Uuid>, batch: Batch) {
    sent.replayed += batch.replayed;
    for left in batch.left_open {
        kept.insert(left.letter);
        sent.leave(left);
    }
}

/// Sends letters that this replay has claimed without knowing it, because the answer to the claim was lost; and
/// those that were left while it was paused. Says whether there were any, or it was told to end meanwhile.
async fn send_forgotten(
    run: &Run<'_>,
    sent: &mut Sent,
    kept: &mut HashSet<Uuid>,
) -> Result<bool, Failure> {
    let (mut any, mut after) = (false, None);
    loop {
        let mut letters = claimed(run, after).await?;
        let Some(last) = letters.last() else {
            return Ok(any || run.is_halted());
        };
        after = Some(last.id);
        letters.retain(|letter| !kept.contains(&letter.id));
        if letters.is_empty() {
            continue;
        }
        any = true;
        record(sent, kept, send_batch(run, letters).await?);
        if run.is_halted() {
            return Ok(true);
        }
    }
}

async fn claimed(run: &Run<'_>, after: Option<Uuid>) -> Result<Vec<DeadLetter>, Failure> {
    let (store, id, most) = (run.replayer.store, run.replay.id, run.most());
    run.patiently(async || store.claimed_dead(id, after, most).await)
        .await
}

/// The next letters: first what a killed run had claimed, then what is open.
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
    let (store, id, most) = (run.replayer.store, run.replay.id, run.most());
    run.patiently(async || store.claim_dead(id, most).await)
        .await
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

/// Publishes letters until the broker has answered for each, and marks what it has confirmed.
async fn send_batch(run: &Run<'_>, letters: Vec<DeadLetter>) -> Result<Batch, Failure> {
    let mut batch = Batch::default();
    let (mut ids, mut parcels) = (Vec::new(), Vec::new());
    let logins = run.replayer.judge.logins();
    for dead in letters {
        let to = run.replay.to_queue.as_deref();
        let queue = match letter::goes_to(&dead, logins, run.replayer.names, to) {
            Ok(queue) => queue,
            Err(left) => {
                batch.left_open.push(left);
                continue;
            }
        };
        let problem = match letter::incomplete(&dead) {
            None => run.routes.problem(run, &queue).await?,
            problem => problem,
        };
        if let Some(problem) = problem {
            let letter = dead.id;
            batch.left_open.push(LeftOpen {
                letter,
                queue,
                problem,
            });
            continue;
        }
        ids.push(dead.id);
        let mut message = letter::again(&dead, logins);
        if run.replay.new_ids {
            let generation = dead.generation.saturating_add(1);
            message.headers.set(header::NEW_ID, i64::from(generation));
        }
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
        let (fates, failure) = publish_all(run.replayer.broker, &parcels, turn, || {
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
            if failure.is_some() {
                run.leave_unsure();
            }
            break;
        }
        if let Some(error) = failure {
            let why = Failure::from(error).in_one_line();
            run.wait_out(&mut outage, why).await?;
        }
    }
    Ok(batch)
}
