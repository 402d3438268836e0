//! The paths of the door, written once: for the router, the labels of metrics and the documents.

pub(crate) const PAGE: &str = "/";
pub(crate) const PAGE_FILE: &str = "/page/{file}";
pub(crate) const SIGNUPS: &str = "/v1/signups";
pub(crate) const PROCESSING: &str = "/v1/processing";
pub(crate) const EVENTS: &str = "/v1/events";
pub(crate) const EVENT: &str = "/v1/events/{id}";
pub(crate) const LIVE: &str = "/v1/events/{id}/live";
pub(crate) const CANCEL: &str = "/v1/events/{id}/cancel";
pub(crate) const SOURCE: &str = "/v1/sources/{name}";
pub(crate) const CONFIRM: &str = "/confirm/{token}";
pub(crate) const DOCS: &str = "/docs";
pub(crate) const DOCS_FILE: &str = "/docs/{file}";
pub(crate) const OPENAPI: &str = "/openapi.json";
pub(crate) const ASYNCAPI: &str = "/asyncapi.json";
pub(crate) const SCHEMA: &str = "/schemas/{type}";
// These three are routes of `common::health`.
pub(crate) const LIVEZ: &str = "/livez";
pub(crate) const READYZ: &str = "/readyz";
pub(crate) const METRICS: &str = "/metrics";

/// All of them.
pub(crate) const ALL: [&str; 18] = [
    PAGE, PAGE_FILE, SIGNUPS, PROCESSING, EVENTS, EVENT, LIVE, CANCEL, SOURCE, CONFIRM, DOCS,
    DOCS_FILE, OPENAPI, ASYNCAPI, SCHEMA, LIVEZ, READYZ, METRICS,
];
