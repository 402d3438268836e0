//! What operators see of one event in their tracing system.

use anyhow::{Result, ensure};
use e2e::{
    collector::Collector,
    load::signup,
    process::Program,
    receiver::Receiver,
    system::{Destination, System},
};

use crate::SOON;

/// Each stage has a trace of its own, linked to the one before: an event can be followed, and retries
/// and replays grow no endless trace.
#[tokio::test]
async fn an_event_can_be_followed_from_the_door_to_the_receiver_by_its_spans() -> Result<()> {
    let (collector, receiver) = (Collector::start().await?, Receiver::start().await?);
    let system = System::builder()
        .destination(Destination::webhook("crm", &receiver))
        .env("OTEL_EXPORTER_OTLP_ENDPOINT", &collector.endpoint())
        // As seldom as they are written out by default is too seldom for a test.
        .env("OTEL_BSP_SCHEDULE_DELAY", "100")
        // How much is logged is another question than what is traced.
        .env("LONGSHORE_LOG", "warn")
        .start()
        .await?;
    let id = system.client().signup(&signup("traced")).await?;
    system.ledger().await?.all_completed(&[id], SOON).await?;

    let request = collector
        .await_span("the request", SOON, |span| {
            span.service == Program::Producer.name()
                && span.texts.get("http.route").map(String::as_str) == Some("/v1/signups")
        })
        .await?;
    let mut way = vec![request];
    for worker in [Program::Validate, Program::Store, Program::Integrate] {
        let before = &way[way.len() - 1].context;
        let span = collector
            .await_span(worker.name(), SOON, |span| {
                span.service == worker.name() && span.links.contains(before)
            })
            .await?;
        ensure!(
            span.context.trace != before.trace,
            "one trace grows over all stages: {span:?}"
        );
        way.push(span);
    }
    let requests = receiver.requests();
    let told = requests[0].header("traceparent");
    ensure!(
        way.iter().any(|span| told == span.context.traceparent()),
        "the receiver was told of {told:?}, which is none of {way:?}"
    );
    system.finish().await
}
