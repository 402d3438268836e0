//! `POST /v1/events`: CloudEvents of any known type, structured, binary or in batches.

mod attributes;
mod batch;
mod binary;

use axum::extract::{Request, State};
use axum::response::Response;
use bytes::Bytes;
use common::event::{CloudEvent, PasswordHash, take_password_hash, to_rfc3339};
use common::outcome::FieldError;

use crate::admit::{self, Admitted, Origin, Refusal};
use crate::door::Door;
use crate::problem::Problem;
use crate::{body, idempotency, media, publish};

use attributes::Read;

/// Takes one event or a batch.
///
/// # Errors
/// As the contract says; nothing is taken then.
pub(crate) async fn post(State(door): State<Door>, request: Request) -> Result<Response, Problem> {
    let (parts, body) = request.into_parts();
    idempotency::expect_none(&parts.headers)?;
    let essence = media::essence(&parts.headers)?;
    let limits = &door.config.limits;
    match essence.as_deref() {
        Some("application/cloudevents+json") => {
            let whole = body::read(&door, &parts, body, limits.event_bytes).await?;
            let _room = whole.room;
            let origin = Origin::of(&parts.headers, &parts.extensions);
            let event = structured(&door, &origin, &Bytes::from(whole.bytes), None)
                .map_err(Refusal::into_problem)?;
            publish::one(&door, event).await
        }
        Some("application/cloudevents-batch+json") => {
            let whole = body::read(&door, &parts, body, limits.request_bytes).await?;
            let _room = whole.room;
            let origin = Origin::of(&parts.headers, &parts.extensions);
            let events = batch::read(&door, &origin, &Bytes::from(whole.bytes))?;
            publish::all(&door, events).await
        }
        other => {
            binary::expect(&parts.headers, other)?;
            let whole = body::read(&door, &parts, body, limits.event_bytes).await?;
            let _room = whole.room;
            let origin = Origin::of(&parts.headers, &parts.extensions);
            let event = binary::read(&door, &origin, &parts.headers, whole.bytes)
                .map_err(Refusal::into_problem)?;
            publish::one(&door, event).await
        }
    }
}

/// Reads one structured event. `element` is the part of `whole` that holds it, where that is not
/// all of it.
fn structured(
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
    let Read { event, as_written } = attributes::read(text)?;
    // What the event is, byte for byte, if it says everything that the canonical form says.
    let canonical = as_written.then(|| whole.slice_ref(text));
    complete(door, origin, event, canonical)
}

/// Checks an event whose attributes have been read, and gives it its canonical form.
fn complete(
    door: &Door,
    origin: &Origin,
    mut event: CloudEvent,
    canonical: Option<Bytes>,
) -> Result<Admitted, Refusal> {
    if let Err(invalid) = event.check_attributes() {
        let pointer = attributes::pointer(&invalid.attribute);
        let error = FieldError::new(pointer, invalid.problem);
        return Err(Refusal::invalid(vec![error]));
    }
    if door.types.get(&event.kind).is_none() {
        return Err(Refusal::unknown_type(door));
    }
    admit::check(door, &event.kind, event.data()).map_err(|refusal| refusal.below("/data"))?;
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
