//! Destinations: how each stands, pausing one, and letting it go on.

use common::bootstrap::Failure;
use common::broker::Broker;
use common::config::{Breaker, Config, Destination, Protection, Transport, masked};
use common::store::{
    AuditAction, DeadFilter, DeadState, DestinationState, NewPause, OpenBreaker, PausedDestination,
    Store,
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
    /// How long one delivery may take.
    pub timeout: String,
    /// How many attempts a delivery gets.
    pub attempts: u32,
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
        timeout: format!("{:?}", destination.timeout),
        attempts: destination.retry.attempts,
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

/// Lets deliveries to a destination go on, which may no longer be configured. `None` if it was not paused.
///
/// # Errors
/// Nobody knows the name, the role of `by` does not allow it, or the database failed.
pub async fn resume(
    config: &Config,
    store: &dyn Store,
    name: &str,
    why: Option<String>,
    by: &Requester,
) -> Result<Option<PausedDestination>, Failure> {
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
mod tests {
    use std::time::Duration;

    use common::store::{AuditFilter, AuditPage, Role, Store as _};

    use super::*;
    use crate::testbed;

    fn config() -> Config {
        toml::from_str(
            "[[destination]]\nname = \"crm\"\nrate = \"50/s\"\nbreaker = { of = 10 }\n\
             webhook = { url = \"https://u:hunter2@crm.example/hook\", secret = \"whsec_hunter2\" }\n",
        )
        .unwrap()
    }

    fn said<T>(result: Result<T, Failure>) -> (u8, String) {
        let failure = result.err().expect("a failure");
        (failure.code(), failure.to_string())
    }

    #[tokio::test]
    async fn a_destination_is_paused_and_resumed_and_both_are_recorded() {
        let (config, store, by) = (config(), testbed::store().await, testbed::requester());
        let broker = testbed::broker();
        broker.apply(&testbed::topology(&["crm"])).await.unwrap();
        let look = async || show(&config, &broker, &store, "crm").await.unwrap();
        let open = look().await;
        assert_eq!(
            (open.listed.state, open.listed.messages),
            ("active", Some(0))
        );
        assert_eq!(open.rate.as_deref(), Some("50/s"));
        let shown = serde_json::to_string(&open).unwrap();
        assert!(
            shown.contains("crm.example") && !shown.contains("hunter2"),
            "{shown}"
        );

        let why = || "their deploy".to_owned();
        let paused = pause(&config, &store, "crm", why(), &by).await.unwrap();
        assert_eq!(
            (&*paused.paused_by, &*paused.paused_why),
            ("cli:test", "their deploy")
        );
        let again = pause(&config, &store, "crm", "another".to_owned(), &by).await;
        assert_eq!(again.unwrap(), paused);
        let listed = list(&config, &broker, &store).await.unwrap().items;
        assert_eq!(
            (listed[0].state, listed[0].pause.as_ref()),
            ("paused", Some(&paused))
        );

        let ended = resume(&config, &store, "crm", None, &by).await.unwrap();
        assert_eq!(ended, Some(paused));
        let twice = resume(&config, &store, "crm", None, &by).await.unwrap();
        assert_eq!((twice, look().await.listed.state), (None, "active"));
        let page = AuditPage {
            before: None,
            limit: 9,
        };
        let entries = store
            .audit()
            .audit_page(&AuditFilter::default(), page)
            .await
            .unwrap();
        let actions: Vec<&str> = entries.iter().map(|entry| &*entry.action).collect();
        assert_eq!(actions, ["destination.resume", "destination.pause"]);
    }

    #[tokio::test]
    async fn an_open_breaker_is_shown_and_a_pause_comes_first() {
        let (config, store, by) = (config(), testbed::store().await, testbed::requester());
        let broker = testbed::broker();
        broker.apply(&testbed::topology(&["crm"])).await.unwrap();
        let destinations = store.destinations();
        let open = Duration::from_secs(30);
        destinations
            .open_breaker("crm", "answered 503", open)
            .await
            .unwrap();
        let look = async || show(&config, &broker, &store, "crm").await.unwrap();
        let shown = look().await;
        let breaker = shown.listed.breaker.expect("an open breaker");
        assert_eq!(
            (shown.listed.state, &*breaker.why),
            ("broken", "answered 503")
        );
        let opens = "50 % of 10 or more attempts fail within 60s; for 30s";
        assert_eq!(shown.breaker_opens.as_deref(), Some(opens));
        pause(&config, &store, "crm", "their deploy".to_owned(), &by)
            .await
            .unwrap();
        let shown = look().await.listed;
        assert_eq!((shown.state, shown.breaker.is_some()), ("paused", true));
        // Without a breaker in the configuration, it holds nothing.
        let mut without = config.clone();
        without.destinations[0].breaker = None;
        let listed = list(&without, &broker, &store).await.unwrap().items;
        assert_eq!(listed[0].breaker, None);
    }

    #[tokio::test]
    async fn what_cannot_be_paused_is_said_with_what_can() {
        let (config, store, mut by) = (config(), testbed::store().await, testbed::requester());
        let why = || "their deploy".to_owned();
        let (code, told) = said(pause(&config, &store, "crn", why(), &by).await);
        assert!(
            code == 2 && told.contains("(crm)") && told.contains("crn"),
            "{told}"
        );
        let (code, _) = said(resume(&config, &store, "crn", None, &by).await);
        assert_eq!(code, 2);
        let (code, told) = said(pause(&config, &store, "crm", " ".to_owned(), &by).await);
        assert!(code == 2 && told.contains("--why"), "{told}");
        by.actor.role = Some(Role::Viewer);
        let (code, told) = said(pause(&config, &store, "crm", why(), &by).await);
        assert!(code == 1 && told.contains("operator"), "{told}");
        // A destination that was taken out of the configuration can be resumed.
        by.actor.role = Some(Role::Operator);
        pause(&config, &store, "crm", why(), &by).await.unwrap();
        let ended = resume(&Config::default(), &store, "crm", None, &by).await;
        assert!(ended.unwrap().is_some());
    }
}
