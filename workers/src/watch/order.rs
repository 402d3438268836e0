//! Order: where the first of a key has ended otherwise than by its delivery, the next one goes on.

use std::time::{Duration, Instant};

use common::bootstrap::Failure;
use common::broker::Address;
use common::config::OnDead;
use common::message::Message;
use common::store::OrderedDelivery;

use super::Post;
use super::due::publish;
use super::queues::Queues;
use crate::integrate::next_ones;
use crate::stored::messages_at;

/// How many deliveries one look lets go on at once at a destination.
const MOST: u32 = 500;

/// How many times in one look, where a destination keeps no order any more.
const PAGES: usize = 20;

/// How long nothing must take a place at such a destination: other processes may have the configuration in which it keeps an
/// order, before this one has it.
const QUIET: Duration = Duration::from_secs(120);

/// How long messages wait until the places before theirs are given up.
const DELAY: Duration = Duration::from_secs(2);

/// Lets the next ones go on where the first of their key has ended, and all that wait where an order is kept no more.
pub(super) async fn look(post: &Post, queues: &Queues) -> Result<(), Failure> {
    let order = post.store.order();
    let destinations = post.config.destinations.iter();
    let ordered = destinations.filter_map(|it| Some((&it.name, it.order.as_ref()?)));
    let names: Vec<String> = ordered.clone().map(|(name, _)| name.clone()).collect();
    for name in order.unordered(&names, QUIET).await? {
        let queue = post.names.integrate(&name);
        let is_configured = post.config.destination(&name).is_some();
        // Messages there may be of those that wait, as they came.
        if !is_configured || queues.empty_for(&[queue]).is_some() {
            disband(post, &name).await?;
        }
    }
    for (name, settings) in ordered {
        if !queues.exists(&post.names.integrate(name)) {
            continue;
        }
        let skips = settings.on_dead == OnDead::Skip;
        let ended = order.ended_first(name, skips, MOST).await?;
        if ended.is_empty() {
            continue;
        }
        let keys: Vec<_> = ended.iter().map(|it| it.key).collect();
        let next = next_ones(&*post.store, name, &keys, &ended).await?;
        send_and_leave(post, name, next.into_iter().flatten().collect(), &ended).await?;
    }
    Ok(())
}

/// Sends what waits at a destination that keeps no order any more, and takes the places away. One that is no longer configured
/// has no queue, and nothing is sent.
pub(super) async fn disband(post: &Post, name: &str) -> Result<(), Failure> {
    for _ in 0..PAGES {
        let places = post.store.order().places(name, MOST).await?;
        if places.is_empty() {
            return Ok(());
        }
        let messages = match post.config.destination(name) {
            Some(_) => {
                let events: Vec<_> = places.iter().map(|it| it.event).collect();
                messages_at(&*post.store, name, &events).await?
            }
            None => Vec::new(),
        };
        let messages = messages.into_iter().map(|(_, message)| message).collect();
        send_and_leave(post, name, messages, &places).await?;
        tracing::info!(
            destination.name = name,
            number = places.len(),
            "deliveries to a destination that keeps no order any more wait for no other"
        );
    }
    Ok(())
}

/// Sends messages that come when these places are given up, and gives them up. Killed before that, it finds the places again;
/// killed after it, the messages are on their way.
async fn send_and_leave(
    post: &Post,
    name: &str,
    messages: Vec<Message>,
    places: &[OrderedDelivery],
) -> Result<(), Failure> {
    let queue = post.names.integrate(name);
    let delayed = Address::Later {
        queue: queue.clone(),
        delay: DELAY,
    };
    let begun = Instant::now();
    let all = messages.len() as u64;
    if publish(post, &delayed, messages.clone()).await? < all {
        let problem = format!("the broker has not taken all messages to {queue}");
        return Err(Failure::Unreachable(problem));
    }
    post.store.order().leave_order(name, places).await?;
    if begun.elapsed() >= DELAY {
        // They may have come too early, and gone.
        publish(post, &Address::Queue(queue), messages).await?;
    }
    Ok(())
}
