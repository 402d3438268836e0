//! The documents of the door: `/openapi.json`, `/asyncapi.json`, `/schemas/{type}`, and `/docs`, a page that shows them.
//!
//! They are made once, at the start, from what the code has anyway: the paths of the router, the schemas of the event
//! types, the codes of problems, the names of the topology. They hold no name of a source, a destination or a host.
//! Everyone may read them. At a door that asks for keys, only the holder of a key or a token sees the configured event types.

mod answers;
mod asyncapi;
mod examples;
mod facts;
mod openapi;
mod operation;
mod operations;
mod schemas;

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Router;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::http::{Extensions, HeaderMap};
use axum::response::Response;
use axum::routing::{MethodRouter, get};
use common::event::Types;
use serde_json::Value;

use self::facts::Facts;
use crate::asset::{Asset, CSS, HTML, JS, SVG, asset, file_of};
use crate::auth::Grant;
use crate::door::Door;
use crate::paths;
use crate::problem::{Code, Problem};

static INDEX: Asset = asset!("documents/page", "index.html", HTML);
static FILES: [Asset; 4] = [
    asset!("page", "icon.svg", SVG),
    asset!("documents/page", "docs.css", CSS),
    asset!("documents/page", "docs.js", JS),
    asset!("documents/page", "schema.js", JS),
];

/// The documents as everyone may read them, and with the configured event types.
struct Documents {
    built_in: Edition,
    whole: Edition,
}

/// The documents with some event types.
struct Edition {
    openapi: Asset,
    asyncapi: Asset,
    /// The schema of each type's data.
    schemas: BTreeMap<String, Asset>,
}

/// The routes of the documents.
pub(crate) fn router(door: &Door) -> Router {
    let built_in = Types::built_in();
    let documents = Documents {
        whole: Edition::new(door, &built_in, &door.types),
        built_in: Edition::new(door, &built_in, &built_in),
    };
    let index = async |headers: HeaderMap| INDEX.answer(&headers);
    Router::new()
        .route(paths::OPENAPI, large(|edition| &edition.openapi))
        .route(paths::ASYNCAPI, large(|edition| &edition.asyncapi))
        .route(paths::SCHEMA, get(schema))
        .route(paths::DOCS, get(index))
        .route(paths::DOCS_FILE, get(file))
        .with_state(Arc::new(documents))
}

impl Documents {
    /// The documents for the sender of a request.
    fn of(&self, extensions: &Extensions) -> &Edition {
        if Grant::of(extensions).may_see_configured_types() {
            &self.whole
        } else {
            &self.built_in
        }
    }
}

impl Edition {
    fn new(door: &Door, built_in: &Types, types: &Types) -> Self {
        let types: Vec<_> = types.iter().collect();
        let facts = Facts {
            door,
            built_in,
            types: &types,
        };
        let schemas = types.iter().map(|kind| {
            let schema = document(schemas::SCHEMA_JSON, &schemas::standalone(kind));
            (kind.name().to_owned(), schema)
        });
        Self {
            openapi: document(JSON, &openapi::document(facts)),
            asyncapi: document(JSON, &asyncapi::document(facts)),
            schemas: schemas.collect(),
        }
    }
}

/// The media type of the two large documents.
const JSON: &str = "application/json";

fn document(media: &'static str, content: &Value) -> Asset {
    Asset {
        name: "",
        media,
        text: Cow::Owned(format!("{content:#}\n")),
    }
}

/// Answers with one of the two large documents.
fn large(which: fn(&Edition) -> &Asset) -> MethodRouter<Arc<Documents>> {
    get(
        async move |State(documents): State<Arc<Documents>>,
                    extensions: Extensions,
                    headers: HeaderMap| {
            which(documents.of(&extensions)).answer(&headers)
        },
    )
}

async fn schema(
    State(documents): State<Arc<Documents>>,
    name: Result<Path<String>, PathRejection>,
    extensions: Extensions,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let schemas = &documents.of(&extensions).schemas;
    let schema = name.ok().and_then(|Path(name)| schemas.get(&name));
    let missing = || {
        let detail = "expected the name of an event type, found another; /openapi.json lists them, the configured ones \
                      for holders of a key where the door asks for keys";
        Problem::new(Code::NotFound, detail)
    };
    Ok(schema.ok_or_else(missing)?.answer(&headers))
}

async fn file(
    name: Result<Path<String>, PathRejection>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    file_of(&FILES, name, &headers)
}
