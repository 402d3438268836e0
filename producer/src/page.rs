//! `GET /`: the signup page, and the files it is made of.
//!
//! The page holds no secrets and no rules of its own. It sends the form to `POST /v1/signups`,
//! shows the problems of the answer at their fields, and then the events of `GET
//! /v1/events/{id}/live`. Its content security policy allows only that.

use axum::Router;
use axum::extract::Path;
use axum::extract::rejection::PathRejection;
use axum::http::HeaderMap;
use axum::response::Response;
use axum::routing::get;

use crate::asset::{Asset, CSS, HTML, JS, SVG, asset, file_of};
use crate::paths;
use crate::problem::Problem;

static INDEX: Asset = asset!("page", "index.html", HTML);
static FILES: [Asset; 6] = [
    asset!("page", "style.css", CSS),
    asset!("page", "main.js", JS),
    asset!("page", "form.js", JS),
    asset!("page", "progress.js", JS),
    asset!("page", "steps.js", JS),
    asset!("page", "icon.svg", SVG),
];

/// The page's routes.
pub(crate) fn router() -> Router {
    let index = async |headers: HeaderMap| INDEX.answer(&headers);
    Router::new()
        .route(paths::PAGE, get(index))
        .route(paths::PAGE_FILE, get(file))
}

async fn file(
    name: Result<Path<String>, PathRejection>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    file_of(&FILES, name, &headers)
}
