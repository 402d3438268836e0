//! Looking at the messages of a queue without taking them.

use std::sync::Arc;

use lapin::options::{BasicGetOptions, BasicNackOptions};

use super::connection::{Link, close_channel};
use super::convert::short;
use super::explain::{Fault, NOT_FOUND, within};
use super::wire;
use crate::broker::{BrokerError, Waiting};
use crate::topology::DelayRoute;

/// Gets up to `most` messages of `queue` and gives all of them back at the end. Returns whether there are no more. One
/// after the other, because the broker then says when there is none; a consumer would wait.
pub(super) async fn look(
    link: &Arc<Link>,
    queue: &str,
    most: usize,
    seen: &mut (dyn FnMut(Waiting) + Send),
) -> Result<bool, BrokerError> {
    let missing = || BrokerError::NoSuchQueue(queue.to_owned());
    let name = short("queue name", queue).map_err(|_| missing())?;
    let patience = link.settings.patience;
    let channel = link.channel().await?;
    let mut last = None;
    let mut looked = Ok(false);
    for _ in 0..most {
        let get = channel.basic_get(name.clone(), BasicGetOptions { no_ack: false });
        match within(patience, "looking into a queue", get).await {
            Ok(Some(got)) => {
                let delivery = got.delivery;
                last = Some(delivery.delivery_tag);
                // The library sees no properties, and of the key only the readable part.
                if let Some((key, message)) = wire::open(delivery.data) {
                    seen(Waiting {
                        queue: DelayRoute::target(&key).unwrap_or(queue).to_owned(),
                        routing_key: key,
                        message,
                    });
                }
            }
            Ok(None) => {
                looked = Ok(true);
                break;
            }
            Err(fault) => {
                looked = Err(fault);
                break;
            }
        }
    }
    if let (Some(tag), Ok(_)) = (last, &looked) {
        // From RabbitMQ 4.3 on this does not count as a failed delivery, as closing the channel would.
        let options = BasicNackOptions {
            multiple: true,
            requeue: true,
        };
        let back = channel.basic_nack(tag, options);
        looked = within(patience, "giving messages back", back)
            .await
            .and(looked);
    }
    close_channel(&channel, patience).await;
    looked.map_err(|fault: Fault| match fault.code() {
        Some(NOT_FOUND) => missing(),
        _ => fault.into(),
    })
}
