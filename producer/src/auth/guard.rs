//! The layer that asks for keys and tokens.

use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};

use crate::door::Door;

/// What a route needs of a key or token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Needs {
    /// Publishing a signup.
    Signup,
    /// Confirming a signup. The link itself says who may.
    Confirmation,
    /// Publishing events.
    Write,
    /// Reading the status of events.
    Read,
    /// Reading metrics.
    Metrics,
    /// Reading the documents of the door. Everyone may; a key opens the configured types in them.
    Contract,
}

impl Needs {
    /// Whether the signup form does this.
    pub(crate) fn is_of_form(self) -> bool {
        matches!(self, Self::Signup | Self::Read)
    }

    /// Whether it counts against the rate of a caller.
    pub(crate) fn is_counted(self) -> bool {
        matches!(self, Self::Signup | Self::Write)
    }
}

/// Lets in who may come in, with a [`super::Grant`] in the extensions of the request.
pub(crate) async fn guard(
    State((door, needs)): State<(Door, Needs)>,
    mut request: Request,
    next: Next,
) -> Response {
    let Some(auth) = &door.auth else {
        return next.run(request).await;
    };
    let client = auth.clients.of(request.headers(), request.extensions());
    let grant = match auth.admit(request.headers(), client, needs).await {
        Ok(grant) => grant,
        Err(problem) => return problem.into_response(),
    };
    let span = tracing::Span::current();
    span.record("caller.name", grant.caller());
    span.record("caller.key", grant.key());
    request.extensions_mut().insert(grant.clone());
    let mut response = next.run(request).await;
    grant.tell(response.headers_mut());
    response
}
