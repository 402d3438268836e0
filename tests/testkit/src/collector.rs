//! A collector of traces: takes exports of programs by OTLP over HTTP, and reads them.

use std::{collections::HashMap, time::Duration};

use anyhow::{Context as _, Result, ensure};
use opentelemetry_proto::tonic::{
    collector::trace::v1::ExportTraceServiceRequest,
    common::v1::{KeyValue, any_value::Value},
    trace::v1::{self, span::SpanKind, status::StatusCode},
};
use prost::Message as _;

use crate::{
    receiver::{Receiver, Request},
    wait::eventually,
};

/// A collector on loopback.
pub struct Collector(Receiver);

/// Names a span.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Context {
    /// The trace it is in.
    pub trace: Vec<u8>,
    /// Its own id.
    pub span: Vec<u8>,
}

impl Context {
    /// As it stands in the header of that name, for a trace that is recorded.
    #[must_use]
    pub fn traceparent(&self) -> String {
        let hex =
            |bytes: &[u8]| -> String { bytes.iter().map(|byte| format!("{byte:02x}")).collect() };
        format!("00-{}-{}-01", hex(&self.trace), hex(&self.span))
    }
}

/// A span as it was exported.
#[derive(Clone, Debug)]
pub struct Span {
    /// The program that exported it.
    pub service: String,
    /// Its name.
    pub name: String,
    /// `server`, `client`, `producer`, `consumer` or `internal`.
    pub kind: &'static str,
    /// Whether it failed.
    pub is_error: bool,
    /// Its name.
    pub context: Context,
    /// The spans that it names as its causes.
    pub links: Vec<Context>,
    /// Those of its attributes that are texts or numbers, as texts.
    pub texts: HashMap<String, String>,
}

impl Collector {
    /// Starts a collector.
    ///
    /// # Errors
    /// If no port can be bound.
    pub async fn start() -> Result<Self> {
        Ok(Self(Receiver::start().await?))
    }

    /// The value for `OTEL_EXPORTER_OTLP_ENDPOINT`.
    #[must_use]
    pub fn endpoint(&self) -> String {
        self.0.url()
    }

    /// All spans that were exported so far.
    ///
    /// # Errors
    /// If something else than an export of traces came.
    pub fn spans(&self) -> Result<Vec<Span>> {
        let mut spans = Vec::new();
        for request in self.0.requests() {
            spans.extend(read(&request)?);
        }
        Ok(spans)
    }

    /// Waits for a span that `is_it`, and gives it.
    ///
    /// # Errors
    /// If none comes within the time; with the other spans that came.
    pub async fn await_span(
        &self,
        what: &str,
        within: Duration,
        is_it: impl Fn(&Span) -> bool,
    ) -> Result<Span> {
        eventually(within, format!("the span of {what}"), || async {
            let spans = self.spans()?;
            let found = spans.iter().find(|span| is_it(span)).cloned();
            found.with_context(|| format!("{spans:?}"))
        })
        .await
    }
}

fn read(request: &Request) -> Result<Vec<Span>> {
    ensure!(
        request.path.ends_with("/v1/traces")
            && request.header("content-type") == "application/x-protobuf",
        "this is no export of traces: {request:?}"
    );
    let export = ExportTraceServiceRequest::decode(&request.body[..])
        .context("the export cannot be decoded")?;
    let mut spans = Vec::new();
    for exported in export.resource_spans {
        let resource = texts(exported.resource.unwrap_or_default().attributes);
        let service = resource.get("service.name").cloned().unwrap_or_default();
        let scopes = exported.scope_spans.into_iter();
        spans.extend(
            scopes
                .flat_map(|scope| scope.spans)
                .map(|span| Span::new(&service, span)),
        );
    }
    Ok(spans)
}

impl Span {
    /// An attribute; empty if there is none.
    #[must_use]
    pub fn attribute(&self, name: &str) -> &str {
        self.texts.get(name).map_or("", String::as_str)
    }

    fn new(service: &str, span: v1::Span) -> Self {
        let links = span.links.into_iter().map(|link| Context {
            trace: link.trace_id,
            span: link.span_id,
        });
        Self {
            service: service.to_owned(),
            kind: match SpanKind::try_from(span.kind) {
                Ok(SpanKind::Server) => "server",
                Ok(SpanKind::Client) => "client",
                Ok(SpanKind::Producer) => "producer",
                Ok(SpanKind::Consumer) => "consumer",
                _ => "internal",
            },
            is_error: span
                .status
                .is_some_and(|status| status.code == StatusCode::Error as i32),
            name: span.name,
            context: Context {
                trace: span.trace_id,
                span: span.span_id,
            },
            links: links.collect(),
            texts: texts(span.attributes),
        }
    }
}

fn texts(attributes: Vec<KeyValue>) -> HashMap<String, String> {
    let mut texts = HashMap::new();
    for KeyValue { key, value, .. } in attributes {
        let text = match value.and_then(|value| value.value) {
            Some(Value::StringValue(text)) => text,
            Some(Value::IntValue(number)) => number.to_string(),
            _ => continue,
        };
        texts.insert(key, text);
    }
    texts
}
