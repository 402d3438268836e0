//! Trace context through message headers (W3C Trace Context). Each stage starts a span of its own
//! and *links* it to the one that sent the event, so that retries and replays do not grow one
//! endless trace.

use opentelemetry::trace::{
    SpanContext, SpanId, TraceContextExt as _, TraceFlags, TraceId, TraceState,
};
use tracing::Span;
use tracing_opentelemetry::OpenTelemetrySpanExt as _;

use crate::event::header;
use crate::message::Headers;

/// Writes the current span's context into `headers`. Where spans are not exported, what was there
/// stays: the context of a publisher who traces is carried on.
pub fn inject(headers: &mut Headers) {
    let context = Span::current().context();
    let span = context.span();
    let span = span.span_context();
    if span.is_valid() {
        headers.set(header::TRACEPARENT, to_traceparent(span));
        headers.remove(header::TRACESTATE);
    }
}

/// Links `span` to the context in `headers`, where there is one.
pub fn link(headers: &Headers, span: &Span) {
    if let Some(context) = headers.text(header::TRACEPARENT).and_then(from_traceparent) {
        span.add_link(context);
    }
}

/// Reads a `traceparent` value; `None` where it is not valid.
pub fn from_traceparent(text: &str) -> Option<SpanContext> {
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
        TraceState::default(),
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
