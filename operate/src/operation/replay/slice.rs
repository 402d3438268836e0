//! Sends a part of the history to one queue.

use common::bootstrap::Failure;
use common::event::{header, topic_matches};
use common::filter::EventView;
use common::store::{EventRecord, HistorySlice};
use common::topology::Stage;
use futures_util::StreamExt as _;
use futures_util::stream;

use super::courier::Parcel;
use super::dispatch::send_all;
use super::generation;
use super::lately::Lately;
use super::raw::{Knowledge, as_stored, canonical, raw};
use crate::history::{Entry, Reader, Verdict, Window};
use crate::operation::outcome::{Ended, News, Sent};
use crate::operation::run::{Run, Wish};

/// How many events are looked up at once.
const LOOK_UPS: usize = 8;

/// The queue that a replay of the history goes to.
struct Target<'t> {
    queue: &'t str,
    stage: Stage,
    destination: Option<&'t str>,
}

/// The target of the replay.
async fn target<'t>(run: &'t Run<'_>) -> Result<Target<'t>, Failure> {
    let queue = run.operation.to_queue.as_deref().unwrap_or_default();
    let stage = run.executor.names.stage_of(queue);
    let Some((stage @ (Stage::Validate | Stage::Store | Stage::Integrate), destination)) = stage
    else {
        return Err(Failure::Usage(format!(
            "expected the queue of validate, store or a destination, found {queue:?}"
        )));
    };
    let (topology, broker) = (run.executor.topology, run.executor.broker);
    let problem = run
        .routes
        .problem(&run.patience, topology, broker, queue)
        .await?;
    match problem {
        Some(problem) => Err(Failure::Usage(problem)),
        None => Ok(Target {
            queue,
            stage,
            destination,
        }),
    }
}

/// Sends every event of the slice.
pub(super) async fn send(run: &Run<'_>, slice: &HistorySlice) -> Result<Sent, Failure> {
    let target = target(run).await?;
    let mut seen = Lately::default();
    let (mut replayed, mut position) = (0, run.operation.position);
    let mut reader = None;
    let mut outage = None;
    loop {
        if run.is_halted() {
            let ended = Ended::Halted;
            return Ok(Sent { replayed, ended });
        }
        if run.wish().await? == Wish::Stop {
            let ended = Ended::Steered;
            return Ok(Sent { replayed, ended });
        }
        let entries = match read(run, slice, &mut reader, position).await {
            Ok(entries) => entries,
            Err(Failure::Unreachable(why)) => {
                reader = None;
                run.patience.wait_out(&mut outage, why).await?;
                continue;
            }
            Err(failure) => return Err(failure),
        };
        if outage.take().is_some() {
            run.report.tell(News::GoingOn);
        }
        let Some(last) = entries.last().map(|entry| entry.offset) else {
            let ended = Ended::All;
            return Ok(Sent { replayed, ended });
        };
        let batch = prepare(run, &target, entries, &mut seen).await?;
        let (confirmed, reached) = publish(run, batch, last).await?;
        replayed += confirmed;
        if let Some(reached) = reached {
            let (operations, id) = (run.executor.store.operations(), run.operation.id);
            let report = run.report.so_far();
            let advance = async || {
                operations
                    .advance_replay(id, confirmed, reached, &report)
                    .await
            };
            run.patience.outlast(advance).await?;
            position = Some(reached);
        }
    }
}

/// Some entries of the history, each with its place.
#[derive(Default)]
struct Batch {
    parcels: Vec<(u64, Parcel)>,
    /// Entries that are not sent, and why.
    skipped: Vec<(u64, &'static str)>,
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
                    run.executor.broker,
                    run.executor.judge.logins(),
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
        let entry = run.executor.judge.judge(entry);
        let kind = slice.kind.as_deref();
        if kind.is_none_or(|pattern| topic_matches(pattern, &entry.kind)) {
            entries.push(entry);
        }
    }
    Ok(entries)
}

/// The messages to send.
async fn prepare(
    run: &Run<'_>,
    target: &Target<'_>,
    entries: Vec<Entry>,
    seen: &mut Lately,
) -> Result<Batch, Failure> {
    let look_ups = entries.into_iter().map(async |entry| {
        let record = look_up(run, &entry).await?;
        Ok::<_, Failure>((entry, record))
    });
    let mut known = stream::iter(look_ups).buffered(LOOK_UPS);
    let mut batch = Batch::default();
    while let Some(looked_up) = known.next().await {
        let (entry, record) = looked_up?;
        if entry.event.is_some_and(|event| seen.has(event)) {
            batch.skipped.push((entry.offset, "repeated"));
            continue;
        }
        match message(run, target, &entry, record.as_ref()) {
            Ok(message) => {
                if let Some(event) = entry.event {
                    seen.add(event);
                }
                let queue = target.queue.to_owned();
                batch
                    .parcels
                    .push((entry.offset, Parcel { queue, message }));
            }
            Err(why) => batch.skipped.push((entry.offset, why)),
        }
    }
    Ok(batch)
}

/// The stored event of an entry, by its own id or by the id that the history makes of it.
async fn look_up(run: &Run<'_>, entry: &Entry) -> Result<Option<EventRecord>, Failure> {
    match entry.event {
        Some(event) => {
            let store = run.executor.store;
            let record = run
                .patience
                .outlast(async || store.event(event).await)
                .await?;
            if record.is_some() {
                return Ok(record);
            }
            let of_stream = async || store.watching().events_of_stream(&[event]).await;
            match run.patience.outlast(of_stream).await?.pop().flatten() {
                Some(event) => {
                    run.patience
                        .outlast(async || store.event(event).await)
                        .await
                }
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
    let mut generation = generation::next(deliveries, run.operation.started_at);
    // Filters judge a repetition anew. In the first generation their first word stands.
    let is_filtered = record.is_some_and(|record| !record.status.filtered.is_empty());
    if is_filtered && target.stage != Stage::Integrate {
        generation = generation.max(1);
    }
    let named = |mut message: common::message::Message| {
        // An event that was never sent there keeps its own id.
        if run.operation.new_ids && generation > 0 {
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
        // An event with this source and id gets the same id of ours again.
        return Ok(named(canonical(message, generation)));
    }
    if target.stage == Stage::Validate {
        // The message that was read differs from the message that was published.
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
    if let (Some(destination), Some(record)) = (target.destination, record)
        && !passes_filter(run, destination, record)
    {
        return Err("filtered");
    }
    let mut message = canonical(accepted.clone(), generation);
    if target.stage == Stage::Integrate {
        // The stored body, to the byte: where the publisher gave no time, the entry was given another time just
        // now.
        if let Some(record) = record {
            message.body = record.body.clone().into();
        }
        // These headers are for the store stage alone.
        message.headers.remove(header::SEALED_PASSWORD_HASH);
        message.headers.remove(header::STREAM_ID);
        let replay = run.operation.id.to_string();
        message.headers.set(header::REPLAY, replay);
    }
    Ok(named(message))
}

/// Whether an event is due at a destination, by the destination's filter as it is now.
fn passes_filter(run: &Run<'_>, destination: &str, record: &EventRecord) -> bool {
    let mut destinations = run.executor.destinations.iter();
    let known = destinations.find(|it| it.name == destination);
    let Some(filter) = known.and_then(|it| it.filter.as_ref()) else {
        return true;
    };
    let view = EventView::read(record.body.as_bytes(), record.status.id);
    view.is_ok_and(|view| filter.judge(&view) == common::filter::Verdict::Match)
}

/// Publishes until the broker has the whole batch, or the run is to end. Returns how many messages were confirmed,
/// and the place in the history up to which nothing is left. Entries that were skipped up to that place are
/// reported.
async fn publish(run: &Run<'_>, batch: Batch, last: u64) -> Result<(u64, Option<u64>), Failure> {
    let mut done: Vec<u64> = Vec::new();
    let dispatched = send_all(run, batch.parcels, async |confirmed: &[u64]| {
        done.extend(confirmed);
        Ok(())
    })
    .await?;
    let confirmed = done.len() as u64;
    let refused = dispatched.refused.iter().map(|it| it.key);
    done.extend(refused.clone());
    // Messages that were confirmed behind the first unsent one are sent again, and dropped by their generation.
    let reached = match dispatched.unsent.iter().min() {
        None => Some(last),
        Some(&first) => done.into_iter().filter(|&place| place < first).max(),
    };
    let unroutable = refused.map(|place| (place, "unroutable"));
    for (place, why) in batch.skipped.into_iter().chain(unroutable) {
        if reached.is_some_and(|reached| place <= reached) {
            run.report.skip(why);
        }
    }
    Ok((confirmed, reached))
}

#[cfg(test)]
mod tests;
