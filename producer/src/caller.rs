//! Who calls.

use axum::http::Extensions;
use common::event::Publisher;

/// The name of whoever sent a request, as far as we know it. A layer that checks keys puts it into
/// the request's extensions; without one everybody is `anonymous`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Caller(pub String);

impl Caller {
    /// The caller as a publisher: part of every id that is derived from what the caller chose.
    pub(crate) fn publisher(extensions: &Extensions) -> Publisher {
        let name = extensions.get::<Self>();
        Publisher::http(name.map_or("anonymous", |caller| &caller.0))
    }
}
