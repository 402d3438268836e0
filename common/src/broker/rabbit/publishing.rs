//! The way of publications: written down for AMQP, published, counted.

use std::sync::atomic::Ordering;
use std::time::Instant;

use lapin::types::ShortString;

use super::RabbitBroker;
use super::convert::{self, short};
use super::publisher::{Parcel, publish_error};
use crate::broker::{Address, Publication, PublishError, bounds};
use crate::telemetry::metrics;
use crate::topology::DelayRoute;

impl RabbitBroker {
    /// The exchange and the routing key of an address.
    fn route(&self, to: &Address) -> (String, String) {
        match to {
            Address::Fact { fact, routing_key } => {
                (self.names.exchange(*fact), routing_key.clone())
            }
            Address::Queue(queue) => (String::new(), queue.clone()),
            Address::Later { queue, delay } => {
                let levels = self.levels.load(Ordering::Relaxed);
                let route = DelayRoute::new(&self.names, queue, *delay, levels);
                (route.exchange, route.routing_key)
            }
        }
    }

    /// A message as it is written down, in at most `room` bytes of properties and headers.
    fn parcel(&self, mut publication: Publication, room: usize) -> Result<Parcel, String> {
        bounds::fit(&mut publication.message, room)?;
        let (exchange, routing_key) = self.route(&publication.to);
        Ok(Parcel {
            exchange: short("exchange name", &exchange)?,
            routing_key: short("routing key", &routing_key)?,
            mandatory: publication.to.must_route(),
            properties: convert::to_amqp(&publication.message, self.settings.user.as_deref())?,
            body: publication.message.body,
        })
    }

    /// Publishes messages; with `queue` they count as published only if that queue is there.
    pub(super) async fn publish_while(
        &self,
        queue: Option<ShortString>,
        publications: Vec<Publication>,
    ) -> Vec<Result<(), PublishError>> {
        let began = Instant::now();
        let room = match self.publishing.header_room().await {
            Ok(room) => room,
            Err(error) => {
                let error = publish_error(error);
                return publications.iter().map(|_| Err(error.clone())).collect();
            }
        };
        let mut parcels = Vec::with_capacity(publications.len());
        let mut answers: Vec<_> = publications
            .into_iter()
            .map(|publication| self.parcel(publication, room))
            .map(|written| written.map(|parcel| parcels.push(parcel)))
            .map(|written| written.map_err(PublishError::Invalid))
            .collect();
        let mut published = self.publisher.publish(parcels, queue).await.into_iter();
        for answer in answers.iter_mut().filter(|answer| answer.is_ok()) {
            *answer = published
                .next()
                .unwrap_or_else(|| Err(PublishError::unanswered()));
        }
        let took = began.elapsed();
        for answer in &answers {
            let failed = answer.as_ref().err().map(PublishError::name);
            metrics::published(failed, took);
            if let Err(PublishError::Unroutable { .. }) = answer {
                self.missed.notify_one();
            }
        }
        answers
    }
}
