//! `GET /v1/events/{id}/live`: the status of an event, sent after each change until it is at rest.
//! Server-sent events:
//!
//! | event | data |
//! |--|--|
//! | `status` | the document of `GET /v1/events/{id}` |
//! | `waiting` | `{"for": "event"}`: the event is unknown yet; `{"for": "database"}`: the database does not answer |
//! | `end` | `{"reason": …}`, the last event: `at_rest` or `unauthenticated`, or connect again: `unknown`, `too_long`, `stopping` |
//!
//! A stream looks at the database in growing waits. The number of streams and the duration of each
//! are bounded. A client that connects again gets the whole document again, so nothing is missed.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::http::{Extensions, HeaderName};
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse as _, Response};
use common::event::{EventId, now};
use common::retry::Waits;
use common::store::EventStatus;
use common::telemetry::metrics::LiveStream;
use futures_util::stream;
use serde_json::json;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::auth::Grant;
use crate::door::Door;
use crate::problem::{Code, Problem};
use crate::serve::Stopping;
use crate::status::{self, PATIENCE};

/// The first and the longest wait between two looks. Each change begins anew.
const WAITS: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(2));
/// How long an event may stay unknown: far longer than a healthy system needs to store it.
const UNKNOWN: Duration = Duration::from_secs(60);
/// An event received longer ago than this is older than the watcher's own request.
const OLD: Duration = Duration::from_secs(1);
/// How long such an event is watched although it is at rest: until a conflict would show.
const SETTLE: Duration = Duration::from_secs(2);
/// Maximum duration of one stream.
const LONGEST: Duration = Duration::from_secs(600);
/// Frequent enough for proxies that close silent streams, and to notice clients that are gone.
const KEEP_ALIVE: Duration = Duration::from_secs(15);
/// How long a browser waits before it connects again.
const COME_BACK: Duration = Duration::from_secs(2);

/// Tells proxies (nginx and its followers) to pass on every event at once.
const UNBUFFERED: (HeaderName, &str) = (HeaderName::from_static("x-accel-buffering"), "no");

/// Tells where an event stands until it is at rest.
///
/// # Errors
/// The id is not one, or too many watch already.
pub(crate) async fn get(
    State(door): State<Door>,
    id: Result<Path<String>, PathRejection>,
    extensions: Extensions,
) -> Result<Response, Problem> {
    let id = status::event_id(id)?;
    let Ok(place) = Arc::clone(&door.live_streams).try_acquire_owned() else {
        return Err(Problem::new(
            Code::Overloaded,
            "too many watch events live now; come back, or ask GET /v1/events/{id} now and then",
        )
        .retry_after(5));
    };
    let begun = Instant::now();
    let watch = Watch {
        door,
        grant: Grant::of(&extensions),
        id,
        // A router without a server around it never gets a stop signal.
        stop: extensions
            .get()
            .map_or_else(CancellationToken::new, |Stopping(stop)| stop.clone()),
        begun,
        waits: Waits::between(WAITS.0, WAITS.1),
        told: None,
        settled_at: None,
        over: false,
        _place: place,
        _counted: LiveStream::begin(),
    };
    let events = stream::unfold(watch, async |mut watch| {
        let event = watch.next().await?;
        Some((Ok::<_, Infallible>(event), watch))
    });
    let live = Sse::new(events).keep_alive(KeepAlive::new().interval(KEEP_ALIVE));
    Ok(([UNBUFFERED], live).into_response())
}

/// One stream.
struct Watch {
    door: Door,
    grant: Grant,
    id: EventId,
    stop: CancellationToken,
    begun: Instant,
    waits: Waits,
    /// The status sent last.
    told: Option<Seen>,
    /// When an event that was at rest before the watch began may count as at rest.
    settled_at: Option<Instant>,
    /// The last event was sent.
    over: bool,
    // Both are given back when the client goes away, as the stream is dropped then.
    _place: OwnedSemaphorePermit,
    _counted: LiveStream,
}

/// The result of one look at the database.
#[derive(PartialEq)]
enum Seen {
    /// This.
    Status(Box<EventStatus>),
    /// Nothing is known of the event.
    Nothing,
    /// The database cannot say.
    NoAnswer,
}

impl Watch {
    /// The next event, once the status has changed; `None` after the last.
    async fn next(&mut self) -> Option<Event> {
        if self.over {
            return None;
        }
        let stop = self.stop.clone();
        tokio::select! {
            biased;
            () = stop.cancelled() => {
                self.over = true;
                Some(end("stopping"))
            }
            event = self.change() => Some(event),
        }
    }

    /// Looks until there is a change, or no more point in looking.
    async fn change(&mut self) -> Event {
        loop {
            if let Some(reason) = self.reason_to_end() {
                self.over = true;
                return end(reason);
            }
            if self.told.is_some() {
                tokio::time::sleep(self.waits.next_wait()).await;
            }
            if !self.renew_grant() {
                self.over = true;
                return end("unauthenticated");
            }
            let seen = self.look().await;
            if self.told.as_ref() != Some(&seen) {
                self.waits.reset();
                let event = tell(&seen);
                if self.told.is_none() && is_old(&seen) {
                    self.settled_at = Some(Instant::now() + SETTLE);
                }
                self.told = Some(seen);
                return event;
            }
        }
    }

    fn reason_to_end(&self) -> Option<&'static str> {
        let age = self.begun.elapsed();
        match &self.told {
            Some(Seen::Status(status)) if status.status.is_at_rest() && self.is_settled() => {
                Some("at_rest")
            }
            Some(Seen::Nothing) if age >= UNKNOWN => Some("unknown"),
            _ if age >= LONGEST => Some("too_long"),
            _ => None,
        }
    }

    /// Whether the key or the token that opened the stream still opens it.
    fn renew_grant(&mut self) -> bool {
        let Some(auth) = &self.door.auth else {
            return true;
        };
        let renewed = auth.renew(&self.grant);
        renewed.map(|grant| self.grant = grant).is_some()
    }

    fn is_settled(&self) -> bool {
        self.settled_at.is_none_or(|at| at <= Instant::now())
    }

    async fn look(&self) -> Seen {
        let asking = async {
            let _turn = self.door.live_looks.acquire().await;
            self.door.statuses.status(self.id).await
        };
        match tokio::time::timeout(PATIENCE, asking).await {
            Ok(Ok(Some(status))) if self.grant.may_read(status.publisher.as_ref()) => {
                Seen::Status(Box::new(status.public()))
            }
            Ok(Ok(_)) => Seen::Nothing,
            Ok(Err(error)) => {
                tracing::debug!(event.id = %self.id, %error, "the database cannot say where an event stands");
                Seen::NoAnswer
            }
            Err(_) => Seen::NoAnswer,
        }
    }
}

/// Whether an event is older than its watcher's request. That request may have sent another content under the same id;
/// the conflict shows in a moment.
fn is_old(seen: &Seen) -> bool {
    let Seen::Status(status) = seen else {
        return false;
    };
    let received_at = status.received_at();
    status.status.is_at_rest() && received_at.is_some_and(|at| now() - at > OLD)
}

fn tell(seen: &Seen) -> Event {
    match seen {
        Seen::Status(status) => event("status", json!(status)),
        Seen::Nothing => waiting("event"),
        Seen::NoAnswer => waiting("database"),
    }
}

fn waiting(what: &str) -> Event {
    event("waiting", json!({ "for": what }))
}

fn end(reason: &str) -> Event {
    event("end", json!({ "reason": reason }))
}

fn event(name: &str, data: serde_json::Value) -> Event {
    Event::default()
        .retry(COME_BACK)
        .event(name)
        .data(data.to_string())
}
