//! Publishing in a span of its own, which the messages name as their sender.

use tracing::{Instrument as _, Span};

use super::{Address, Broker, Publication, PublishError};
use crate::dependency::EngineKind;
use crate::telemetry::trace;

/// Publishes as [`Broker::publish_all`] does, with the context of the trace written into each message.
pub async fn publish_traced(
    broker: &dyn Broker,
    publications: Vec<Publication>,
) -> Vec<Result<(), PublishError>> {
    in_span(broker.engine(), publications, |outgoing| {
        broker.publish_all(outgoing)
    })
    .await
}

/// Publishes as [`Broker::publish_reaching`] does, with the context of the trace written into each message.
pub async fn publish_traced_reaching(
    broker: &dyn Broker,
    queue: &str,
    publications: Vec<Publication>,
) -> Vec<Result<(), PublishError>> {
    in_span(broker.engine(), publications, |outgoing| {
        broker.publish_reaching(queue, outgoing)
    })
    .await
}

async fn in_span<F>(
    broker: EngineKind,
    publications: Vec<Publication>,
    publish: impl FnOnce(Vec<Publication>) -> F,
) -> Vec<Result<(), PublishError>>
where
    F: Future<Output = Vec<Result<(), PublishError>>>,
{
    let span = span(broker, &publications);
    let publish = async {
        let outgoing = publications.into_iter().map(|mut one| {
            trace::inject(&mut one.message.headers);
            one
        });
        let answers = publish(outgoing.collect()).await;
        if let Some(Err(error)) = answers.iter().find(|answer| answer.is_err()) {
            trace::failed(&Span::current(), error.name());
        }
        answers
    };
    publish.instrument(span).await
}

fn span(broker: EngineKind, publications: &[Publication]) -> Span {
    let mut places = publications.iter().map(|one| place(&one.to));
    let first = places.next();
    let is_same = places.all(|place| Some(place) == first);
    let id = match publications {
        [one] => one.message.message_id.as_deref(),
        _ => None,
    };
    let destination = first.filter(|_| is_same);
    trace::publishing(broker, destination, id, publications.len())
}

/// The exchange or queue, without the namespace of an exchange.
fn place(to: &Address) -> &str {
    match to {
        Address::Fact { fact, .. } => fact.as_str(),
        Address::Queue(queue) | Address::Later { queue, .. } => queue,
    }
}
