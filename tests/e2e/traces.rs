//! One event in the tracing system of its operators.

use anyhow::{Result, ensure};
use testkit::{
    collector::{Collector, Span},
    load::signup,
    process::Program,
    receiver::{Answer, Receiver},
    system::{Destination, System},
};

use crate::SOON;

/// Spans have the kinds and attributes of OpenTelemetry's conventions for messaging and HTTP. Each stage has a trace of
/// its own, linked to the previous one: an event can be followed, and retries and replays grow no endless trace.
#[tokio::test]
async fn an_event_can_be_followed_from_the_door_to_the_receiver_by_its_spans() -> Result<()> {
    let (collector, receiver) = (Collector::start().await?, Receiver::start().await?);
    receiver.first([Answer::status(500)]);
    let system = System::builder()
        .destination(Destination::webhook("crm", &receiver))
        .env("OTEL_EXPORTER_OTLP_ENDPOINT", &collector.endpoint())
        // As seldom as they are written out by default is too seldom for a test.
        .env("OTEL_BSP_SCHEDULE_DELAY", "100")
        // The log filter does not filter traces.
        .env("LONGSHORE_LOG", "warn")
        .start()
        .await?;
    let id = system.client().signup(&signup("traced")).await?;
    system.ledger().await?.all_completed(&[id], SOON).await?;

    let request = collector
        .await_span("the request", SOON, |span| {
            span.kind == "server" && span.attribute("http.route") == "/v1/signups"
        })
        .await?;
    ensure!(
        request.service == Program::Producer.name()
            && request.name == "POST /v1/signups"
            && request.attribute("http.request.method") == "POST"
            && request.attribute("http.response.status_code") == "202"
            && !request.is_error,
        "{request:?}"
    );
    let mut sent = published(&collector, &request, "received").await?;
    let id = id.to_string();
    // The second attempt is linked to the span that put the first one off.
    let way = [
        (Program::Validate, "validate", "accepted"),
        (Program::Store, "store", "stored"),
        (Program::Integrate, "integrate.crm", "integrate.crm"),
        (Program::Integrate, "integrate.crm", ""),
    ];
    let mut handled = Vec::new();
    for (worker, queue, onward) in way {
        let queue = system.named(queue);
        let span = collector
            .await_span(worker.name(), SOON, |span| {
                span.kind == "consumer" && span.links.contains(&sent.context)
            })
            .await?;
        ensure!(
            span.service == worker.name()
                && span.name == format!("process {queue}")
                && span.attribute("messaging.system") == "rabbitmq"
                && span.attribute("messaging.operation.type") == "process"
                && span.attribute("messaging.destination.name") == queue
                && span.attribute("messaging.message.id") == id
                && !span.texts.contains_key("messaging.batch.message_count"),
            "{span:?}"
        );
        ensure!(
            span.context.trace != sent.context.trace,
            "one trace grows over all stages: {span:?}"
        );
        if !onward.is_empty() {
            sent = published(&collector, &span, onward).await?;
            ensure!(sent.attribute("messaging.message.id") == id, "{sent:?}");
        }
        handled.push(span);
    }
    let requests = receiver.requests();
    for (attempt, status) in [(0, "500"), (1, "200")] {
        let call = collector
            .await_span("the call", SOON, |span| {
                span.kind == "client" && span.context.trace == handled[attempt + 2].context.trace
            })
            .await?;
        ensure!(
            call.name == "POST"
                && call.attribute("http.request.method") == "POST"
                && call.attribute("http.response.status_code") == status
                && call.attribute("server.address") == "127.0.0.1"
                && call.attribute("url.full") == receiver.url()
                && call.is_error == (status == "500")
                && (call.attribute("error.type") == "500") == (status == "500"),
            "{call:?}"
        );
        let told = requests[attempt].header("traceparent");
        ensure!(
            told == call.context.traceparent(),
            "the receiver was told of {told:?}, which is not {call:?}"
        );
    }
    system.finish().await
}

/// The span of publishing to `place` in the trace of `cause`.
async fn published(collector: &Collector, cause: &Span, place: &str) -> Result<Span> {
    let span = collector
        .await_span("publishing", SOON, |span| {
            span.kind == "producer" && span.context.trace == cause.context.trace
        })
        .await?;
    ensure!(
        span.attribute("messaging.system") == "rabbitmq"
            && span.attribute("messaging.operation.type") == "send"
            && span
                .attribute("messaging.destination.name")
                .ends_with(place)
            && span.name.starts_with("publish ")
            && !span.is_error,
        "{span:?}"
    );
    Ok(span)
}
