//! `POST /v1/events`: CloudEvents of any known type, structured, binary or in batches.

mod batch;
mod binary;

use axum::extract::{Request, State};
use axum::response::Response;
use bytes::Bytes;
use common::event::{PasswordHash, Read, structured, take_password_hash, to_rfc3339};

use crate::admit::{self, Admitted, Origin, Refusal};
use crate::door::Door;
use crate::problem::Problem;
use crate::{body, idempotency, media, not_before, publish};

/// Takes one event or a batch.
///
/// # Errors
/// As the contract says; nothing is taken then.
pub(crate) async fn post(State(door): State<Door>, request: Request) -> Result<Response, Problem> {
    let (parts, body) = request.into_parts();
    idempotency::expect_none(&parts.headers)?;
    not_before::expect_none(
        &parts.headers,
        "a CloudEvent names its moment in the extension attribute `notbefore`",
    )?;
    let media = media::given(&parts.headers)?;
    let limits = &door.config.limits;
    match &media {
        Some(media) if media.is_event() => {
            media::expect_utf8(media)?;
            let whole = body::read(&door, &parts, body, limits.event_bytes).await?;
            let _room = whole.room;
            let origin = Origin::of(&parts.headers, &parts.extensions);
            let event = one(&door, &origin, &Bytes::from(whole.bytes), None)
                .map_err(Refusal::into_problem)?;
            publish::one(&door, event).await
        }
        Some(media) if media.essence() == "application/cloudevents-batch+json" => {
            media::expect_utf8(media)?;
            let whole = body::read(&door, &parts, body, limits.request_bytes).await?;
            let _room = whole.room;
            let origin = Origin::of(&parts.headers, &parts.extensions);
            let events = batch::read(&door, &origin, &Bytes::from(whole.bytes))?;
            origin.grant.count_batch(events.len())?;
            publish::all(&door, events).await
        }
        other => {
            binary::expect(&parts.headers, other.as_ref())?;
            let whole = body::read(&door, &parts, body, limits.event_bytes).await?;
            let _room = whole.room;
            let origin = Origin::of(&parts.headers, &parts.extensions);
            let event = binary::read(&door, &origin, &parts.headers, &whole.bytes)
                .map_err(Refusal::into_problem)?;
            publish::one(&door, event).await
        }
    }
}

/// Reads one structured event. `element` is the part of `whole` that holds it, where that is not
/// all of it.
fn one(
    door: &Door,
    origin: &Origin,
    whole: &Bytes,
    element: Option<&str>,
) -> Result<Admitted, Refusal> {
    let text = element.map_or(&whole[..], str::as_bytes);
    let limit = door.config.limits.event_bytes;
    if text.len() > limit {
        return Err(Refusal::too_large(limit, text.len()));
    }
    let read = structured(text)?;
    // The event byte for byte, if its text already is the canonical form.
    let canonical = read.as_written.then(|| whole.slice_ref(text));
    complete(door, origin, read, canonical)
}

/// Checks the data of an event against its type, and gives the event its canonical form.
pub(crate) fn complete(
    door: &Door,
    origin: &Origin,
    read: Read,
    canonical: Option<Bytes>,
) -> Result<Admitted, Refusal> {
    let Read {
        mut event, data, ..
    } = read;
    if door.types.get(&event.kind).is_none() {
        return Err(Refusal::unknown_type(door));
    }
    admit::check(door, &event.kind, &data)
        .map_err(|refusal| refusal.below(event.data_pointer()))?;
    let hash = take_password_hash(&mut event);
    let as_written = event.time.is_some() && matches!(hash, PasswordHash::Unsaid);
    let body = match canonical.filter(|_| as_written) {
        Some(bytes) => bytes,
        None => {
            event.time.get_or_insert_with(|| to_rfc3339(origin.at));
            admit::write(&event)?
        }
    };
    let hash = match &hash {
        PasswordHash::Given(hash) => Some(hash),
        PasswordHash::Unsaid | PasswordHash::Absent => None,
    };
    Admitted::foreign(door, origin, event, body)?.with_password_hash(door, hash)
}
