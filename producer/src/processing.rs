//! `POST /v1/processing`.

use axum::extract::{Request, State};
use axum::response::Response;
use common::event::PROCESSING_REQUESTED;
use serde_json::value::RawValue;

use crate::admit::{self, Admitted, Asked, Origin, Refusal};
use crate::door::Door;
use crate::json::Wrong;
use crate::problem::{Code, Problem};
use crate::{body, media, publish};

/// The `source` of events that are born here.
const SOURCE: &str = "/v1/processing";

/// Takes a piece of work. The body is the event's data, as it is written.
///
/// # Errors
/// As the contract says; nothing is taken then.
pub(crate) async fn post(State(door): State<Door>, request: Request) -> Result<Response, Problem> {
    let (parts, body) = request.into_parts();
    let asked = Asked::of(&parts.headers)?;
    media::expect_json(&parts.headers)?;
    let whole = body::read(&door, &parts, body, door.config.limits.event_bytes).await?;
    let _room = whole.room;
    let data = utf8(whole.bytes).map_err(Refusal::into_problem)?;
    admit::check_text(&door, PROCESSING_REQUESTED, &data).map_err(Refusal::into_problem)?;
    let data = RawValue::from_string(data).map_err(|error| {
        tracing::error!(error.category = ?error.classify(), "data could not be written");
        Problem::new(Code::Internal, "the event could not be written")
    })?;
    let origin = Origin::of(&parts.headers, &parts.extensions);
    let event = Admitted::born(&door, &origin, asked, (SOURCE, PROCESSING_REQUESTED), data)?;
    publish::one(&door, event).await
}

/// A body as text.
///
/// # Errors
/// It is not UTF-8.
fn utf8(bytes: Vec<u8>) -> Result<String, Refusal> {
    String::from_utf8(bytes).map_err(|error| {
        let at = error.utf8_error().valid_up_to();
        let detail = format!("expected UTF-8, found other bytes after the first {at}");
        Refusal::wrong("", Wrong::Malformed(detail))
    })
}
