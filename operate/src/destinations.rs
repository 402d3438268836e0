//! Destinations: how each stands, pausing one, and letting it go on.

use common::bootstrap::Failure;
use common::broker::Broker;
use common::config::{Breaker, Config, Destination, Order, Protection, Transport, masked};
use common::store::{
    AuditAction, DeadFilter, DeadState, DestinationState, DestinationWorker, NewPause, OpenBreaker,
    PausedDestination, Store,
};
use common::topology::Names;
use serde::Serialize;

use crate::page::List;
use crate::roles::{Requester, permit};

/// A destination in a list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Listed {
    /// Its name.
    pub name: String,
    /// `active`; `paused`; or `broken`, while its breaker is open.
    pub state: &'static str,
    /// Its pause, while it is paused.
    pub pause: Option<PausedDestination>,
    /// Its breaker, while that is open.
    pub breaker: Option<OpenBreaker>,
    /// Messages that wait in its queue; `null` if the queue does not exist.
    pub messages: Option<u64>,
    /// Consumers of its queue. A process lets go of a paused one with the first event that it takes.
    pub consumers: Option<u64>,
    /// Its open dead letters.
    pub dead: u64,
    /// Where its deliveries go, without any secret.
    pub address: String,
    /// The event types that it takes.
    pub types: Vec<String>,
}

/// A destination, whole.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Shown {
    /// As the list has it.
    #[serde(flatten)]
    pub listed: Listed,
    /// How many deliveries all copies of the worker make at once.
    pub concurrency: usize,
    /// Maximum rate of all copies together, such as `50/s`.
    pub rate: Option<String>,
    /// When its breaker opens; `null` where it has none.
    pub breaker_opens: Option<String>,
    /// The order of its deliveries; `null` where it keeps none.
    pub order: Option<String>,
    /// How long one delivery may take.
    pub timeout: String,
    /// How many attempts a delivery gets.
    pub attempts: u32,
    /// The copies of the worker that deliver to it and have work now.
    pub copies: Vec<DestinationWorker>,
}

/// All configured destinations, in the order of the configuration.
///
/// # Errors
/// Broker or database cannot say.
pub async fn list(
    config: &Config,
    broker: &dyn Broker,
    store: &dyn Store,
) -> Result<List<Listed>, Failure> {
    let states = store.destinations().destination_states().await?;
    let mut items = Vec::with_capacity(config.destinations.len());
    for destination in &config.destinations {
        items.push(listed(config, destination, &states, broker, store).await?);
    }
    Ok(List::whole(items))
}

/// One destination.
///
/// # Errors
/// None of this name is configured, or broker or database cannot say.
pub async fn show(
    config: &Config,
    broker: &dyn Broker,
    store: &dyn Store,
    name: &str,
) -> Result<Shown, Failure> {
    let destination = configured(config, name)?;
    let states = store.destinations().destination_states().await?;
    Ok(Shown {
        listed: listed(config, destination, &states, broker, store).await?,
        concurrency: destination.concurrency,
        rate: destination.rate.map(|rate| rate.to_string()),
        breaker_opens: destination.breaker.as_ref().map(Breaker::to_string),
        order: destination.order.as_ref().map(Order::to_string),
        timeout: format!("{:?}", destination.timeout),
        attempts: destination.retry.attempts,
        copies: store.workers().destination_workers(name).await?,
    })
}

async fn listed(
    config: &Config,
    destination: &Destination,
    states: &[DestinationState],
    broker: &dyn Broker,
    store: &dyn Store,
) -> Result<Listed, Failure> {
    let queue = Names::new(config.namespace.clone()).integrate(&destination.name);
    let depth = broker.depth(&queue).await?;
    let open = DeadFilter {
        destination: Some(destination.name.clone()),
        state: Some(DeadState::Open),
        ..DeadFilter::default()
    };
    let known = states.iter().find(|it| it.name == destination.name);
    let pause = known.and_then(|it| it.pause.clone());
    let breaker = known.and_then(|it| it.breaker_of(destination).cloned());
    Ok(Listed {
        name: destination.name.clone(),
        state: match (&pause, &breaker) {
            (Some(_), _) => "paused",
            (None, Some(_)) => "broken",
            (None, None) => "active",
        },
        pause,
        breaker,
        messages: depth.map(|depth| depth.messages),
        consumers: depth.map(|depth| depth.consumers),
        dead: store.dead_count(&open).await?,
        address: address(&destination.transport),
        types: destination.types.clone(),
    })
}

/// Where deliveries go, without any secret.
fn address(transport: &Transport) -> String {
    match transport {
        Transport::Webhook(webhook) => masked(&webhook.url),
        Transport::Smtp(smtp) => {
            let scheme = match smtp.protection {
                Protection::Tls(_) => "smtps",
                Protection::StartTls(_) | Protection::None => "smtp",
            };
            format!("{scheme}://{}:{}", smtp.server.host, smtp.server.port)
        }
    }
}

/// Pauses a destination: no process begins a delivery there from half a second on. Those under way end. A pause that holds
/// already stays as it is.
///
/// # Errors
/// None of this name is configured, `why` says nothing, the role of `by` does not allow it, or the database failed.
pub async fn pause(
    config: &Config,
    store: &dyn Store,
    name: &str,
    why: String,
    by: &Requester,
) -> Result<PausedDestination, Failure> {
    let destination = configured(config, name)?;
    if why.trim().is_empty() {
        return Err(Failure::Usage(
            "expected --why to say why, found nothing".to_owned(),
        ));
    }
    let act = by.act(AuditAction::DestinationPause, target(name));
    let act = act.because(Some(why.clone()));
    permit(store, &act).await?;
    let pause = NewPause {
        destination: destination.name.clone(),
        by: by.actor.who.clone(),
        why,
    };
    let paused = store.destinations().pause_destination(&pause, Some(&act));
    Ok(paused.await?)
}

/// Lets deliveries to a destination go on, which may no longer be configured: ends its pause, and closes its breaker. Gives how
/// it stood before; `None` if it was neither paused nor broken.
///
/// # Errors
/// Nobody knows the name, the role of `by` does not allow it, or the database failed.
pub async fn resume(
    config: &Config,
    store: &dyn Store,
    name: &str,
    why: Option<String>,
    by: &Requester,
) -> Result<Option<DestinationState>, Failure> {
    let act = by.act(AuditAction::DestinationResume, target(name));
    let act = act.because(why);
    permit(store, &act).await?;
    let resumed = store.destinations().resume_destination(name, &act).await?;
    if resumed.is_none() {
        configured(config, name)?;
    }
    Ok(resumed)
}

/// Permits a ping to a destination, and records it before it is sent.
///
/// # Errors
/// None of this name is configured, the role of `by` does not allow it, or the database failed.
pub async fn permit_test<'c>(
    config: &'c Config,
    store: &dyn Store,
    name: &str,
    by: &Requester,
) -> Result<&'c Destination, Failure> {
    let destination = configured(config, name)?;
    let act = by.act(AuditAction::DestinationTest, target(name));
    permit(store, &act).await?;
    store.audit().record(&act).await?;
    Ok(destination)
}

/// The configured destination of this name.
///
/// # Errors
/// There is none; the failure names those there are.
pub fn configured<'c>(config: &'c Config, name: &str) -> Result<&'c Destination, Failure> {
    config.destination(name).ok_or_else(|| {
        let names: Vec<&str> = config
            .destinations
            .iter()
            .map(|destination| destination.name.as_str())
            .collect();
        let known = match names.as_slice() {
            [] => "none is configured".to_owned(),
            names => names.join(", "),
        };
        Failure::Usage(format!(
            "expected one of the configured destinations ({known}), found {name:?}"
        ))
    })
}

fn target(name: &str) -> String {
    format!("destination:{name}")
}

#[cfg(test)]
mod tests;
