//! The route table.

use axum::Router;
use axum::middleware::{from_fn, from_fn_with_state};
use axum::routing::{get, post};
use tower::ServiceBuilder;

use crate::auth::{Needs, guard};
use crate::door::Door;
use crate::layers::{answer_panics, bound, head, linger, observe, protect};
use crate::problem::{Code, Problem};
use crate::{events, live, page, processing, signup, sources, status};

/// Everything the producer answers. Pure construction: nothing is connected or spawned.
///
/// More routes can be merged into it; they are not under the layers of these.
pub fn router(door: Door) -> Router {
    let needs = |needs| from_fn_with_state((door.clone(), needs), guard);
    let signups = Router::new()
        .route("/v1/signups", post(signup::post))
        .route_layer(needs(Needs::Signup));
    let writing = Router::new()
        .route("/v1/processing", post(processing::post))
        .route("/v1/events", post(events::post))
        .route_layer(needs(Needs::Write));
    let reading = Router::new()
        .route("/v1/events/{id}", get(status::get))
        .route("/v1/events/{id}/live", get(live::get))
        .route_layer(needs(Needs::Read));
    let api = Router::new()
        .merge(signups)
        .merge(writing)
        .merge(reading)
        // A provider shows no key: its signature says who it is.
        .route("/v1/sources/{name}", post(sources::post))
        .route_layer(from_fn_with_state(door.clone(), bound))
        .with_state(door.clone());
    // Page, health and metrics have no bounds in common with the API: they answer when it is
    // overloaded, and the page can say so.
    let page = if door.has_form() {
        page::router()
    } else {
        Router::new()
    };
    let health = door.health();
    Router::new()
        .merge(api)
        .merge(page)
        .merge(health.clone().probes())
        .merge(health.metrics().route_layer(needs(Needs::Metrics)))
        .fallback(not_found)
        .method_not_allowed_fallback(method_not_allowed)
        .layer(
            ServiceBuilder::new()
                .layer(from_fn(observe))
                .layer(from_fn(protect))
                .layer(from_fn(linger))
                .layer(from_fn(answer_panics))
                .layer(from_fn(head)),
        )
}

async fn not_found() -> Problem {
    Problem::new(
        Code::NotFound,
        "nothing is here; the API is POST /v1/signups, /v1/processing, /v1/events and \
         /v1/sources/{name}, and GET /v1/events/{id} and /v1/events/{id}/live; the signup page is at /, \
         unless the door asks for keys and `auth.form` is not `public`",
    )
}

async fn method_not_allowed() -> Problem {
    Problem::new(
        Code::MethodNotAllowed,
        "this path takes other methods, see the Allow header",
    )
}
