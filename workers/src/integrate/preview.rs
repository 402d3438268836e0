//! A request as people may see it.

use serde::Serialize;

/// One part of a request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct RequestLine {
    /// Its name, such as a header's.
    pub name: String,
    /// Its value; `***` for a secret.
    pub value: String,
}

impl RequestLine {
    pub(super) fn new(name: &str, value: impl Into<String>) -> Self {
        Self {
            name: name.to_owned(),
            value: value.into(),
        }
    }
}

/// A request as people may see it.
#[derive(Debug, Default)]
pub(super) struct Preview {
    pub(super) lines: Vec<RequestLine>,
    /// The beginning of the body.
    pub(super) body: String,
}
