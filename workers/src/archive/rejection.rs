//! From a message on the rejected queue to a rejection.

use common::event::{EventId, from_rfc3339, header, name_based, now, secrets};
use common::message::Message;
use common::outcome::{Failure, FieldError};
use common::reason::ReasonCode;
use common::runtime::Received;
use common::store::NewRejection;
use common::topology::Names;

use common::canonical::stream_id;

/// The rejection that a message is.
///
/// # Errors
/// It is not a rejection: only an outsider can have published it. It becomes a dead letter.
pub(super) fn read(received: &Received, names: &Names) -> Result<NewRejection, Failure> {
    let none =
        |detail: &str| Failure::new(ReasonCode::Undecodable, format!("no rejection: {detail}"));
    let message = &received.message;
    let headers = &message.headers;
    let event: EventId = message
        .message_id
        .as_deref()
        .and_then(|id| id.parse().ok())
        .ok_or_else(|| none("expected a UUID in message_id"))?;
    let reason: ReasonCode = headers
        .text(header::REASON)
        .and_then(|code| code.parse().ok())
        .ok_or_else(|| none("expected a reason code in its headers"))?;
    let errors: Vec<FieldError> = headers
        .text(header::ERRORS)
        .and_then(|text| serde_json::from_str(text).ok())
        .unwrap_or_default();
    let rejected_at = headers
        .text(header::FAILED_AT)
        .and_then(from_rfc3339)
        .unwrap_or_else(now);
    let stage = headers
        .text(header::QUEUE)
        .and_then(|queue| names.stage_of(queue));
    let trail = &received.trail;
    Ok(NewRejection {
        id: name_based(&[
            b"rejection",
            event.uuid().as_bytes(),
            reason.as_str().as_bytes(),
            content(message),
        ]),
        event,
        stream_id: stream_id(message),
        kind: message
            .kind
            .clone()
            .unwrap_or_else(|| received.routing_key.clone()),
        source: message.app_id.clone().unwrap_or_default(),
        publisher: trail
            .publisher
            .as_ref()
            .map_or("-", |publisher| publisher.as_str())
            .to_owned(),
        reason,
        errors,
        stage: stage.map_or("", |(stage, _)| stage.as_str()).to_owned(),
        received_at: trail.received_at,
        rejected_at,
        body: secrets::mask(&message.body).into_owned().into(),
    })
}

/// The part that distinguishes two rejections of one event: its data, not its time.
fn content(message: &Message) -> &[u8] {
    #[derive(serde::Deserialize)]
    struct Data<'d> {
        #[serde(borrow)]
        data: &'d serde_json::value::RawValue,
    }
    match serde_json::from_slice::<Data<'_>>(&message.body) {
        Ok(Data { data }) => data.get().as_bytes(),
        Err(_) => &message.body,
    }
}
