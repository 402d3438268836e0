//! Trace context through message headers (W3C Trace Context), and spans named by OpenTelemetry's conventions for
//! messaging. Each stage starts a span of its own and *links* it to the one that sent the event, so that retries and
//! replays do not grow one endless trace.

use std::borrow::Cow;

use opentelemetry::trace::{
    SpanContext, SpanId, TraceContextExt as _, TraceFlags, TraceId, TraceState,
};
use tracing::Span;
use tracing::field::Empty;
use tracing_opentelemetry::OpenTelemetrySpanExt as _;

use crate::dependency::EngineKind;
use crate::event::header;
use crate::message::Headers;

/// The target of spans that are there for traces alone: no log shows them unless it is asked for.
pub const TARGET: &str = "longshore::trace";

/// Trace context on its way out.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Outgoing<'h> {
    /// `traceparent`
    pub parent: Option<Cow<'h, str>>,
    /// `tracestate`: never without the other.
    pub state: Option<Cow<'h, str>>,
}

/// The current span's context. Where spans are not exported it is the one in `headers`: the context of a publisher
/// who traces is carried on.
pub fn outgoing(headers: &Headers) -> Outgoing<'_> {
    let context = Span::current().context();
    let span = context.span();
    let span = span.span_context();
    if span.is_valid() {
        let state = span.trace_state().header();
        return Outgoing {
            parent: Some(to_traceparent(span).into()),
            state: Some(state.into()).filter(|state: &Cow<'_, str>| !state.is_empty()),
        };
    }
    let parent = headers.text(header::TRACEPARENT);
    Outgoing {
        parent: parent.map(Cow::from),
        state: parent
            .and_then(|_| headers.text(header::TRACESTATE))
            .map(Cow::from),
    }
}

/// Writes the current span's context into `headers`. Without exported spans, the former context stays.
pub fn inject(headers: &mut Headers) {
    let context = Span::current().context();
    let span = context.span();
    let span = span.span_context();
    if span.is_valid() {
        headers.set(header::TRACEPARENT, to_traceparent(span));
        match span.trace_state().header() {
            state if state.is_empty() => headers.remove(header::TRACESTATE),
            state => headers.set(header::TRACESTATE, state),
        }
    }
}

/// Links `span` to the context in `headers`, where there is one.
pub fn link(headers: &Headers, span: &Span) {
    if let Some(parent) = headers.text(header::TRACEPARENT)
        && let Some(context) = from_headers(parent, headers.text(header::TRACESTATE))
    {
        span.add_link(context);
    }
}

/// The span of handling messages from `queue` of `broker`: of one, or of a batch.
pub fn processing<'h>(
    broker: EngineKind,
    queue: &str,
    messages: impl ExactSizeIterator<Item = (Option<&'h str>, &'h Headers)>,
) -> Span {
    let span = tracing::trace_span!(
        target: TARGET,
        "process",
        otel.name = %format_args!("process {queue}"),
        otel.kind = "consumer",
        otel.status_code = Empty,
        error.type = Empty,
        messaging.system = broker.as_str(),
        messaging.operation.name = "process",
        messaging.operation.type = "process",
        messaging.destination.name = queue,
        messaging.message.id = Empty,
        messaging.batch.message_count = Empty,
    );
    if !span.is_disabled() {
        let count = messages.len();
        if count > 1 {
            span.record("messaging.batch.message_count", count);
        }
        for (id, headers) in messages {
            if count == 1
                && let Some(id) = id
            {
                span.record("messaging.message.id", id);
            }
            link(headers, &span);
        }
    }
    span
}

/// The span of publishing `count` messages to `broker`; to `destination` and with `id` where that is the same for
/// all.
pub fn publishing(
    broker: EngineKind,
    destination: Option<&str>,
    id: Option<&str>,
    count: usize,
) -> Span {
    let span = tracing::trace_span!(
        target: TARGET,
        "publish",
        otel.name = Empty,
        otel.kind = "producer",
        otel.status_code = Empty,
        error.type = Empty,
        messaging.system = broker.as_str(),
        messaging.operation.name = "publish",
        messaging.operation.type = "send",
        messaging.destination.name = destination,
        messaging.message.id = id,
        messaging.batch.message_count = Empty,
    );
    if !span.is_disabled() {
        if let Some(destination) = destination {
            span.record("otel.name", format!("publish {destination}"));
        }
        if count > 1 {
            span.record("messaging.batch.message_count", count);
        }
    }
    span
}

/// The span of answering a request.
pub fn serving(method: &str, route: &str) -> Span {
    tracing::trace_span!(
        target: TARGET,
        "serve",
        otel.name = %format_args!("{method} {route}"),
        otel.kind = "server",
        otel.status_code = Empty,
        error.type = Empty,
        http.request.method = method,
        http.route = route,
        http.response.status_code = Empty,
    )
}

/// Writes the status of an answer down in `span`, and whether that is an error on its side.
pub fn answered(span: &Span, status: u16, is_error: bool) {
    span.record("http.response.status_code", status);
    if is_error {
        failed(span, &status.to_string());
    }
}

/// Marks `span` as failed, with the class of the error.
pub fn failed(span: &Span, class: &str) {
    span.record("error.type", class);
    span.record("otel.status_code", "ERROR");
}

/// Reads a `traceparent` value; `None` where it is not valid.
pub fn from_traceparent(text: &str) -> Option<SpanContext> {
    from_headers(text, None)
}

/// Reads `traceparent` and the `tracestate` beside it. A state that is not valid is left out.
fn from_headers(text: &str, state: Option<&str>) -> Option<SpanContext> {
    let mut parts = text.split('-');
    let (version, trace, span, flags) =
        (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
    let lower_hex = |part: &str, length: usize| {
        part.len() == length && part.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
    };
    // Later versions may append fields; ff is forbidden.
    let fits =
        lower_hex(version, 2) && version != "ff" && (version != "00" || parts.next().is_none());
    if !(fits && lower_hex(trace, 32) && lower_hex(span, 16) && lower_hex(flags, 2)) {
        return None;
    }
    let context = SpanContext::new(
        TraceId::from_hex(trace).ok()?,
        SpanId::from_hex(span).ok()?,
        TraceFlags::new(u8::from_str_radix(flags, 16).ok()?),
        true,
        state
            .and_then(|state| state.parse::<TraceState>().ok())
            .unwrap_or_default(),
    );
    context.is_valid().then_some(context)
}

fn to_traceparent(span: &SpanContext) -> String {
    format!(
        "00-{}-{}-{:02x}",
        span.trace_id(),
        span.span_id(),
        span.trace_flags().to_u8()
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_valid_parent_reads_and_writes_back() {
        let text = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
        let context = from_traceparent(text).unwrap_or_else(|| panic!("valid"));
        assert_eq!(to_traceparent(&context), text);
    }

    #[test]
    fn the_state_goes_with_its_parent_and_never_alone() {
        let parent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
        let mut headers = Headers::default();
        headers.set(header::TRACESTATE, "vendor=1,other=2");
        assert_eq!(outgoing(&headers), Outgoing::default());
        headers.set(header::TRACEPARENT, parent);
        let Outgoing {
            parent: told,
            state,
        } = outgoing(&headers);
        assert_eq!(told.as_deref(), Some(parent));
        assert_eq!(state.as_deref(), Some("vendor=1,other=2"));
        let context = from_headers(parent, state.as_deref()).unwrap_or_else(|| panic!("valid"));
        assert_eq!(context.trace_state().get("other"), Some("2"));
        let without = from_headers(parent, Some("not a state")).unwrap_or_else(|| panic!("valid"));
        assert_eq!(without.trace_state().header(), "");
    }

    #[test]
    fn anything_else_is_ignored() {
        for bad in [
            "",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7",
            "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-more",
        ] {
            assert!(from_traceparent(bad).is_none(), "{bad}");
        }
    }
}
