//! `POST /v1/sources/{name}`: the signed webhook of a provider becomes an event with the provider's id.
//!
//! The signature is verified over the body as it came. Only then is the body read.

use axum::Json;
use axum::body::Body;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, Request, State};
use axum::http::StatusCode;
use axum::http::request::Parts;
use axum::response::{IntoResponse as _, Response};
use common::config::WebhookSource;
use common::event::{CloudEvent, Publisher, plain, to_rfc3339};
use common::inbound::{Notice, Unverified, Verified, WebhookRequest};
use common::telemetry::metrics;
use serde_json::value::RawValue;
use serde_json::{Value, json};

use crate::admit::{Origin, Refusal};
use crate::auth::Grant;
use crate::door::Door;
use crate::json::value;
use crate::problem::{Code, Problem};
use crate::{body, events, media, publish};

/// The path of every source: with the name, it is the `source` of the events.
const PATH: &str = "/v1/sources/";

/// The scheme of authentication in `WWW-Authenticate`.
const CHALLENGE: &str = "Signature";

/// Takes a webhook.
///
/// # Errors
/// As the contract says; nothing is taken then.
pub(crate) async fn post(
    State(door): State<Door>,
    name: Result<Path<String>, PathRejection>,
    request: Request,
) -> Result<Response, Problem> {
    let source = name.ok().and_then(|Path(name)| door.config.source(&name));
    let source = source.ok_or_else(|| {
        let detail = "no source of this name is configured; check the address at the provider, or add a [[source]]";
        Problem::new(Code::NotFound, detail)
    })?;
    let (parts, body) = request.into_parts();
    let answered = receive(&door, source, &parts, body).await;
    let result = match &answered {
        Ok((result, _)) => *result,
        Err(problem) => problem.code().as_str(),
    };
    metrics::webhook_answered(&source.name, result);
    answered.map(|(_, response)| response)
}

/// Answers a webhook, and says how in a word.
async fn receive(
    door: &Door,
    source: &WebhookSource,
    parts: &Parts,
    body: Body,
) -> Result<(&'static str, Response), Problem> {
    expect_json(parts)?;
    let whole = body::read(door, parts, body, door.config.limits.event_bytes).await?;
    let _room = whole.room;
    let origin = Origin::by(
        Publisher::source(&source.name),
        Grant::of_source(),
        &parts.headers,
    );
    let headers = parts.headers.iter();
    let headers: Vec<_> = headers
        .map(|(name, value)| (name.as_str(), value.as_bytes()))
        .collect();
    let request = WebhookRequest {
        headers: &headers,
        body: &whole.bytes,
    };
    let verified = source
        .verifier
        .verify(request, origin.at)
        .map_err(|error| unauthenticated(source, error))?;
    let data = value(&whole.bytes).map_err(|wrong| Refusal::wrong("/data", wrong).into_problem());
    let data = data.inspect_err(|problem| log_refusal(source, problem))?;
    if let Some(answer) = verified.handshake(&data) {
        tracing::info!(source = source.name, "a handshake was answered");
        return Ok(("handshake", answer.into_response()));
    }
    take_event(door, source, &origin, &verified, &data, &whole.bytes)
        .await
        .inspect_err(|problem| log_refusal(source, problem))
}

/// Publishes the event of a verified webhook, or ignores it as the configuration says.
async fn take_event(
    door: &Door,
    source: &WebhookSource,
    origin: &Origin,
    verified: &Verified<'_>,
    data: &Value,
    body: &[u8],
) -> Result<(&'static str, Response), Problem> {
    let notice = verified
        .notice(data)
        .map_err(|errors| Refusal::invalid(errors).into_problem())?;
    let kind = source.template.fill(&notice.kind);
    if !source.takes(&kind) {
        let answer = (StatusCode::OK, Json(json!({ "ignored": kind })));
        return Ok(("ignored", answer.into_response()));
    }
    if door.types.get(&kind).is_none() {
        return Err(unknown_type(&kind));
    }
    let event = plain(event(source, origin, notice, &kind), body)
        .map_err(Refusal::from)
        .and_then(|read| events::complete(door, origin, read, None))
        .map_err(Refusal::into_problem)?;
    Ok(("accepted", publish::one(door, event).await?))
}

/// The event of a webhook. Its data is still missing: it is the body.
fn event(source: &WebhookSource, origin: &Origin, notice: Notice, kind: &str) -> CloudEvent {
    let from = format!("{PATH}{}", source.name);
    let time = to_rfc3339(notice.time.unwrap_or(origin.at));
    CloudEvent::new(notice.id, &from, kind, time, RawValue::NULL.to_owned())
}

/// Expects JSON. Some providers leave the content type out.
fn expect_json(parts: &Parts) -> Result<(), Problem> {
    match media::given(&parts.headers)? {
        Some(media) if !media.is_json() => Err(media::unsupported(
            "expected Content-Type: application/json, found another; choose JSON at the provider (forms, as Slack sends \
             them for slash commands, are not taken)",
        )),
        Some(media) => media::expect_utf8(&media),
        None => Ok(()),
    }
}

/// The answer to a request that is not believed: the same for a signature that is missing, wrong or by another secret.
fn unauthenticated(source: &WebhookSource, error: Unverified) -> Problem {
    let header = source.verifier.header();
    let detail = match error {
        Unverified::Signature => format!(
            "expected a signature of this body in `{header}`, made with a secret of this source, found none; compare the \
             secret here with the provider's"
        ),
        Unverified::Time => format!(
            "expected a time of signing within {} s of ours, found another; set the clock, or have the provider send \
             the event anew",
            source.verifier.tolerance().as_secs()
        ),
    };
    Problem::new(Code::Unauthenticated, detail).challenge(CHALLENGE)
}

fn unknown_type(kind: &str) -> Problem {
    let kind: String = kind.chars().take(100).collect();
    let detail = format!(
        "expected a type that is built in or configured, found `{kind}`; define it as a [[type]], leave it out of the \
         source's `types`, or stop the provider from sending it"
    );
    Problem::new(Code::UnknownType, detail)
}

/// Logs that an authentic webhook was refused: its provider alone would know otherwise.
fn log_refusal(source: &WebhookSource, problem: &Problem) {
    let (source, code) = (source.name.as_str(), problem.code().as_str());
    tracing::warn!(
        source,
        problem.code = code,
        "a provider's webhook was refused"
    );
}
