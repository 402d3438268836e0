//! Who calls.

use axum::http::Extensions;
use common::event::Publisher;

/// The name of the sender of a request, if known. A layer that checks keys puts it into the
/// request's extensions. Without a name the caller is `anonymous`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Caller(pub String);

impl Caller {
    /// The caller as a publisher: part of every id that is derived from the caller's own id or key.
    pub(crate) fn publisher(extensions: &Extensions) -> Publisher {
        let name = extensions.get::<Self>();
        Publisher::http(name.map_or("anonymous", |caller| &caller.0))
    }
}
