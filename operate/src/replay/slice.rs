//! Sending a part of the history to one queue.

use common::bootstrap::Failure;
use common::event::{header, topic_matches};
use common::store::{EventRecord, HistorySlice};
use common::topology::Stage;
use futures_util::StreamExt as _;
use futures_util::stream;

use super::courier::{Fate, Parcel, publish_all};
use super::generation;
use super::lately::Lately;
use super::outcome::{Ended, News, Sent};
use super::raw::{Knowledge, as_stored, canonical, raw};
use super::run::{Run, Wish};
use crate::history::{Entry, Reader, Verdict, Window};

/// So many events are looked up at once.
const LOOK_UPS: usize = 8;

/// The queue that a replay of the history goes to.
struct Target<'t> {
    queue: &'t str,
    stage: Stage,
    destination: Option<&'t str>,
}

/// Sends every event of the slice.
pub(super) async fn send(run: &Run<'_>, slice: &HistorySlice) -> Result<Sent, Failure> {
    let queue = run.replay.to_queue.as_deref().unwrap_or_default();
    let stage = run.replayer.names.stage_of(queue);
    let Some((stage @ (Stage::Validate | Stage::Store | Stage::Integrate), destination)) = stage
    else {
        return Err(Failure::Usage(format!(
            "expected the queue of validate, store or a destination, found {queue:?}"
        )));
    };
    if let Some(problem) = run.routes.problem(run, queue).await? {
        return Err(Failure::Usage(problem));
    }
    let target = Target {
        queue,
        stage,
        destination,
    };
    let mut sent = Sent::default();
    let mut seen = Lately::default();
    let mut position = run.replay.position;
    let mut reader = None;
    let mut outage = None;
    loop {
        if run.is_halted() {
            sent.ended = Ended::Halted;
            return Ok(sent);
        }
        if run.wish().await? == Wish::Stop {
            sent.ended = Ended::Steered;
            return Ok(sent);
        }
        let entries = match read(run, slice, &mut reader, position).await {
            Ok(entries) => entries,
            Err(Failure::Unreachable(why)) => {
                reader = None;
                run.wait_out(&mut outage, why).await?;
                continue;
            }
            Err(failure) => return Err(failure),
        };
        if outage.take().is_some() {
            run.tell(News::GoingOn);
        }
        let Some(last) = entries.last().map(|entry| entry.offset) else {
            return Ok(sent);
        };
        let parcels = prepare(run, &target, entries, &mut seen, &mut sent).await?;
        let (confirmed, reached) = publish(run, parcels, last, &mut sent).await?;
        sent.replayed += confirmed;
        if let Some(reached) = reached {
            let (store, id) = (run.replayer.store, run.replay.id);
            run.patiently(async || store.advance_replay(id, confirmed, reached).await)
                .await?;
            position = Some(reached);
        }
    }
}

/// The next entries of the slice.
async fn read(
    run: &Run<'_>,
    slice: &HistorySlice,
    reader: &mut Option<Reader>,
    position: Option<u64>,
) -> Result<Vec<Entry>, Failure> {
    let reader = match reader {
        Some(reader) => reader,
        None => {
            let window = Window::from(slice);
            reader.insert(
                Reader::open(
                    run.replayer.broker,
                    run.replayer.judge.logins(),
                    window,
                    position,
                )
                .await?,
            )
        }
    };
    let mut entries = Vec::new();
    while entries.len() < run.most() as usize
        && let Some(entry) = reader.next().await?
    {
        let entry = run.replayer.judge.judge(entry);
        let kind = slice.kind.as_deref();
        if kind.is_none_or(|pattern| topic_matches(pattern, &entry.kind)) {
            entries.push(entry);
        }
    }
    Ok(entries)
}

/// The messages to send, each with its place in the history.
async fn prepare(
    run: &Run<'_>,
    target: &Target<'_>,
    entries: Vec<Entry>,
    seen: &mut Lately,
    sent: &mut Sent,
) -> Result<Vec<(u64, Parcel)>, Failure> {
    let look_ups = entries.into_iter().map(async |entry| {
        let record = look_up(run, &entry).await?;
        Ok::<_, Failure>((entry, record))
    });
    let mut known = stream::iter(look_ups).buffered(LOOK_UPS);
    let mut parcels = Vec::new();
    while let Some(looked_up) = known.next().await {
        let (entry, record) = looked_up?;
        if entry.event.is_some_and(|event| seen.has(event)) {
            sent.skip("repeated");
            continue;
        }
        match message(run, target, &entry, record.as_ref()) {
            Ok(message) => {
                if let Some(event) = entry.event {
                    seen.add(event);
                }
                let queue = target.queue.to_owned();
                parcels.push((entry.offset, Parcel { queue, message }));
            }
            Err(why) => sent.skip(why),
        }
    }
    Ok(parcels)
}

/// The event that an entry is, by its own id or by the one that the history makes of it.
async fn look_up(run: &Run<'_>, entry: &Entry) -> Result<Option<EventRecord>, Failure> {
    match entry.event {
        Some(event) => {
            let store = run.replayer.store;
            let record = run.patiently(async || store.event(event).await).await?;
            if record.is_some() {
                return Ok(record);
            }
            let of_stream = async || store.watching().events_of_stream(&[event]).await;
            match run.patiently(of_stream).await?.pop().flatten() {
                Some(event) => run.patiently(async || store.event(event).await).await,
                None => Ok(None),
            }
        }
        None => Ok(None),
    }
}

/// The message for the target, or why there is none.
fn message(
    run: &Run<'_>,
    target: &Target<'_>,
    entry: &Entry,
    record: Option<&EventRecord>,
) -> Result<common::message::Message, &'static str> {
    let deliveries = record.map_or(&[][..], |record| &record.status.deliveries);
    let ours = |name: &str| target.destination.is_none_or(|it| it == name);
    let deliveries = deliveries.iter().filter(|it| ours(&it.destination));
    let generation = generation::next(deliveries, run.replay.started_at);
    let named = |mut message: common::message::Message| {
        // What was never sent there has its own id.
        if run.replay.new_ids && generation > 0 {
            message.headers.set(header::NEW_ID, i64::from(generation));
        }
        message
    };
    let renamed = match (&entry.verdict, record) {
        (Verdict::Accepted(accepted), Some(record)) if entry.event != Some(record.status.id) => {
            Some(as_stored(accepted, record))
        }
        _ => None,
    };
    if target.stage == Stage::Validate
        && let Some(message) = renamed
    {
        // An event of this source and id has the same id of ours again.
        return Ok(named(canonical(message, generation)));
    }
    if target.stage == Stage::Validate {
        // What was read of it is not what was published.
        return match entry.received.damage() {
            Some(damage) => Err(damage.code.as_str()),
            None => Ok(named(raw(entry, generation))),
        };
    }
    let accepted = match &entry.verdict {
        Verdict::Accepted(message) => renamed.as_ref().unwrap_or(message),
        Verdict::Rejected(code) | Verdict::Dead(code) => return Err(code.as_str()),
    };
    if target.stage == Stage::Integrate
        && let Some(objection) = Knowledge(record).objection(accepted)
    {
        return Err(objection);
    }
    let mut message = canonical(accepted.clone(), generation);
    if target.stage == Stage::Integrate {
        // To the byte: where the publisher gave no time, the entry was given another one just now.
        if let Some(record) = record {
            message.body = record.body.clone().into();
        }
        // For the store stage alone.
        message.headers.remove(header::SEALED_PASSWORD_HASH);
        message.headers.remove(header::STREAM_ID);
        let replay = run.replay.id.to_string();
        message.headers.set(header::REPLAY, replay);
    }
    Ok(named(message))
}

/// Publishes until the broker has all of it, or it shall end. Says how many it has confirmed, and up to where
/// in the history nothing is left.
async fn publish(
    run: &Run<'_>,
    parcels: Vec<(u64, Parcel)>,
    last: u64,
    sent: &mut Sent,
) -> Result<(u64, Option<u64>), Failure> {
    let (mut places, mut parcels): (Vec<u64>, Vec<Parcel>) = parcels.into_iter().unzip();
    let mut confirmed = 0;
    let mut done: Vec<u64> = Vec::new();
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
        let mut again = (Vec::new(), Vec::new());
        for ((place, parcel), fate) in places.into_iter().zip(parcels).zip(fates) {
            match fate {
                Fate::Confirmed => {
                    confirmed += 1;
                    done.push(place);
                }
                Fate::Refused(_) => {
                    sent.skip("unroutable");
                    done.push(place);
                }
                Fate::Unknown => {
                    again.0.push(place);
                    again.1.push(parcel);
                }
            }
        }
        (places, parcels) = again;
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
    // What was confirmed behind the first one that was not is sent again, and dropped by its generation.
    let reached = match places.iter().min() {
        None => Some(last),
        Some(&first) => done.into_iter().filter(|&place| place < first).max(),
    };
    Ok((confirmed, reached))
}

#[cfg(test)]
mod tests;
