//! `/confirm/{token}`: the link of a mail that confirms the address of a signup.
//!
//! Opening it publishes `signup.confirmed`. The id of that event is made of the signup's, so it is stored once, however
//! often and through whichever of its links a signup is confirmed. Programs that look at links before people do may open
//! them too: with `confirmation.ask`, and for those that say they only prefetch, the answer is a page with a button, and
//! only that confirms.

mod page;

use axum::extract::rejection::PathRejection;
use axum::extract::{Path, Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, Method};
use axum::response::Response;
use common::confirmation::BadLink;
use common::event::{Confirmation, SIGNUP_CONFIRMED, now};
use serde_json::value::to_raw_value;

use crate::admit::{self, Admitted, Asked, Origin, Refusal};
use crate::auth::Grant;
use crate::door::Door;
use crate::problem::{Code, Problem};
use crate::publish;

pub(crate) use page::show;

/// The `source` of events that are born here.
const SOURCE: &str = "/confirm";

type Token = Result<Path<String>, PathRejection>;

/// Answers somebody who opens a link.
///
/// # Errors
/// The link confirms nothing, or not now.
pub(crate) async fn get(
    State(door): State<Door>,
    token: Token,
    request: Request,
) -> Result<Response, Problem> {
    let (parts, _) = request.into_parts();
    let confirmation = read(&door, token)?;
    let is_opened = parts.method == Method::GET && !is_prefetch(&parts.headers);
    if is_opened && !door.config.confirmation.ask {
        confirm(&door, &confirmation, &parts).await
    } else {
        Ok(page::ask(&door))
    }
}

/// Answers somebody who presses the button.
///
/// # Errors
/// The link confirms nothing, or not now.
pub(crate) async fn post(
    State(door): State<Door>,
    token: Token,
    request: Request,
) -> Result<Response, Problem> {
    let (parts, _) = request.into_parts();
    let confirmation = read(&door, token)?;
    confirm(&door, &confirmation, &parts).await
}

fn read(door: &Door, token: Token) -> Result<Confirmation, Problem> {
    let Some(links) = &door.confirmations else {
        let detail = "this door confirms nothing: `[confirmation]` is not configured";
        return Err(Problem::new(Code::NotFound, detail));
    };
    let read = match &token {
        Ok(Path(token)) => links.read(token, now()),
        Err(_) => Err(BadLink::Unknown),
    };
    read.map_err(|bad| {
        let code = match bad {
            BadLink::Unknown => Code::UnknownLink,
            BadLink::Expired => Code::LinkExpired,
        };
        Problem::new(code, bad.to_string())
    })
}

async fn confirm(
    door: &Door,
    confirmation: &Confirmation,
    parts: &Parts,
) -> Result<Response, Problem> {
    let grant = Grant::of_confirmation();
    let origin = Origin::by(grant.publisher(), grant, &parts.headers);
    let data = admit::written(to_raw_value(confirmation)).map_err(Refusal::into_problem)?;
    let checked = admit::check_text(door, SIGNUP_CONFIRMED, data.get());
    checked.map_err(Refusal::into_problem)?;
    let key = confirmation.signup.to_string();
    let event = Admitted::born(
        door,
        &origin,
        Asked::with_key(&key),
        (SOURCE, SIGNUP_CONFIRMED),
        data,
    )?;
    publish::one(door, event).await
}

/// Whether nobody has opened the page yet.
fn is_prefetch(headers: &HeaderMap) -> bool {
    ["sec-purpose", "purpose", "x-moz"].iter().any(|name| {
        let value = headers.get(*name).and_then(|value| value.to_str().ok());
        value.is_some_and(|value| value.to_ascii_lowercase().contains("prefetch"))
    })
}
