//! The route table.

use axum::Router;
use axum::middleware::{from_fn, from_fn_with_state};
use axum::routing::{get, post};
use tower::ServiceBuilder;

use crate::auth::{Needs, guard};
use crate::door::Door;
use crate::layers::{answer_panics, bound, head, linger, observe, protect};
use crate::problem::{Code, Problem};
use crate::{
    cancel, confirm, documents, events, live, page, paths, processing, signup, sources, status,
};

/// Everything the producer answers. Pure construction: nothing is connected or spawned.
///
/// More routes can be merged into it; they are not under the layers of these.
pub fn router(door: Door) -> Router {
    let needs = |needs| from_fn_with_state((door.clone(), needs), guard);
    let signups = Router::new()
        .route(paths::SIGNUPS, post(signup::post))
        .route_layer(needs(Needs::Signup));
    let writing = Router::new()
        .route(paths::PROCESSING, post(processing::post))
        .route(paths::EVENTS, post(events::post))
        .route(paths::CANCEL, post(cancel::post))
        .route_layer(needs(Needs::Write));
    let reading = Router::new()
        .route(paths::EVENT, get(status::get))
        .route(paths::LIVE, get(live::get))
        .route_layer(needs(Needs::Read));
    let confirming = Router::new()
        .route(paths::CONFIRM, get(confirm::get).post(confirm::post))
        .route_layer(needs(Needs::Confirmation))
        .route_layer(from_fn_with_state(door.clone(), bound))
        .route_layer(from_fn_with_state(door.clone(), confirm::show))
        .with_state(door.clone());
    let api = Router::new()
        .merge(signups)
        .merge(writing)
        .merge(reading)
        // A provider shows no key: its signature says who it is.
        .route(paths::SOURCE, post(sources::post))
        .route_layer(from_fn_with_state(door.clone(), bound))
        .with_state(door.clone());
    // Page, documents, health and metrics have no bounds in common with the API: they answer when it
    // is overloaded, and the page can say so.
    let page = if door.has_form() {
        page::router()
    } else {
        Router::new()
    };
    let documents = documents::router(&door).route_layer(needs(Needs::Contract));
    let health = door.health();
    Router::new()
        .merge(api)
        .merge(confirming)
        .merge(page)
        .merge(documents)
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
         /v1/sources/{name}, and GET /v1/events/{id} and /v1/events/{id}/live; /v1/events/{id}/cancel takes POST; /docs describes them; the signup \
         page is at /, unless the door asks for keys and `auth.form` is not `public`",
    )
}

async fn method_not_allowed() -> Problem {
    Problem::new(
        Code::MethodNotAllowed,
        "this path takes other methods, see the Allow header",
    )
}
