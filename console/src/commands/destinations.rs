//! `longshore destinations`

use clap::Subcommand;
use common::bootstrap::Failure;
use common::store::{DestinationState, DestinationWorker, OpenBreaker, PausedDestination};
use operate::destinations::{self, Listed, Shown};
use operate::words::moment;
use serde_json::json;
use workers::integrate::{Pinged, RequestLine, ping};

use crate::app::App;
use crate::output::{pairs, table};

/// What to do with destinations.
#[derive(Debug, Subcommand)]
pub enum DestinationsCommand {
    /// List destinations: active, paused or broken, how much waits, how many dead letters
    List,
    /// Show one destination whole, and the copies with work now that deliver there
    #[command(after_help = "\
A copy of longshore-integrate (or longshore dev) is listed while it has deliveries in hand, for this or any other of its \
destinations. A copy without work is not listed.")]
    Show {
        /// The destination
        name: String,
    },
    /// Pause a destination: its deliveries wait, and no attempt is spent
    #[command(after_help = "\
From half a second on, no process begins a delivery there. Those under way end. Events wait in the destination's queue.

Example:
  longshore destinations pause crm --why 'their deploy'")]
    Pause {
        /// The destination
        name: String,
        /// The reason, kept with the record
        #[arg(long, value_name = "TEXT")]
        why: String,
    },
    /// Resume a destination: end its pause and close its breaker
    #[command(after_help = "\
Within five seconds, what waits is delivered. After an open breaker, no probe is made first, and the rate rises from a tenth. A \
receiver that still fails opens the breaker again.

Example:
  longshore destinations resume crm --why 'they have mended it'")]
    Resume {
        /// The destination
        name: String,
        /// The reason, kept with the record
        #[arg(long, value_name = "TEXT")]
        why: Option<String>,
    },
    /// Send a ping, and show request, answer and time
    #[command(after_help = "\
A ping is one request as a delivery would be, signed and with every header, of an event of the type longshore.ping. A paused \
destination is pinged as well. A mail server is asked whether it would take mail, and gets none.

Example:
  longshore destinations test crm")]
    Test {
        /// The destination
        name: String,
    },
}

pub(crate) async fn run(app: &App, command: DestinationsCommand) -> Result<(), Failure> {
    match command {
        DestinationsCommand::List => list(app).await,
        DestinationsCommand::Show { name } => show(app, &name).await,
        DestinationsCommand::Pause { name, why } => pause(app, &name, why).await,
        DestinationsCommand::Resume { name, why } => resume(app, &name, why).await,
        DestinationsCommand::Test { name } => test(app, &name).await,
    }
}

async fn list(app: &App) -> Result<(), Failure> {
    let (broker, store) = (app.broker()?, app.store()?);
    let listed = destinations::list(&app.config, broker.as_ref(), store.as_ref()).await;
    broker.close().await;
    store.close().await;
    app.output.show(&listed?, |list| {
        if list.items.is_empty() {
            return "no destinations are configured".to_owned();
        }
        let header = ["name", "state", "waiting", "dead", "address", "types", ""];
        table(&header, list.items.iter().map(row).collect())
    })
}

fn row(destination: &Listed) -> Vec<String> {
    vec![
        destination.name.clone(),
        destination.state.to_owned(),
        number(destination.messages),
        destination.dead.to_string(),
        destination.address.clone(),
        destination.types.join(" "),
        why(destination).unwrap_or_default(),
    ]
}

/// Why its deliveries wait, if they do.
fn why(destination: &Listed) -> Option<String> {
    let pause = destination.pause.as_ref().map(paused);
    pause.or_else(|| destination.breaker.as_ref().map(broken))
}

async fn show(app: &App, name: &str) -> Result<(), Failure> {
    let (broker, store) = (app.broker()?, app.store()?);
    let shown = destinations::show(&app.config, broker.as_ref(), store.as_ref(), name).await;
    broker.close().await;
    store.close().await;
    app.output.show(&shown?, whole)
}

fn whole(shown: &Shown) -> String {
    let listed = &shown.listed;
    let state = why(listed).unwrap_or_else(|| listed.state.to_owned());
    let settings = pairs([
        ("name", listed.name.clone()),
        ("state", state),
        ("address", listed.address.clone()),
        ("types", listed.types.join(" ")),
        ("waiting", number(listed.messages)),
        ("consumers", number(listed.consumers)),
        ("dead letters", listed.dead.to_string()),
        (
            "concurrency",
            format!("{} in all copies together", shown.concurrency),
        ),
        (
            "rate",
            shown.rate.clone().unwrap_or_else(|| "unbounded".to_owned()),
        ),
        (
            "breaker opens",
            shown
                .breaker_opens
                .as_ref()
                .map_or_else(|| "never".to_owned(), |when| format!("when {when}")),
        ),
        (
            "order",
            shown.order.clone().unwrap_or_else(|| "none".to_owned()),
        ),
        ("timeout", shown.timeout.clone()),
        ("attempts", shown.attempts.to_string()),
    ]);
    format!("{}\n\n{}", settings.trim_end(), copies(&shown.copies))
}

/// One line a copy.
fn copies(copies: &[DestinationWorker]) -> String {
    if copies.is_empty() {
        return "no copy that delivers here has work now".to_owned();
    }
    let row = |copy: &DestinationWorker| {
        let since = moment(copy.since.0);
        let [program, version, host] = [&copy.program, &copy.version, &copy.host].map(Clone::clone);
        vec![program, version, host, since]
    };
    let header = ["copy with work", "version", "host", "since"];
    table(&header, copies.iter().map(row).collect())
}

async fn pause(app: &App, name: &str, why: String) -> Result<(), Failure> {
    let store = app.store()?;
    let pausing = async {
        let by = app.requester(store.as_ref()).await?;
        destinations::pause(&app.config, store.as_ref(), name, why, &by).await
    };
    let pause = pausing.await;
    store.close().await;
    app.output.show(&pause?, |pause| {
        format!("{} is {}", pause.name, paused(pause))
    })
}

async fn resume(app: &App, name: &str, why: Option<String>) -> Result<(), Failure> {
    let store = app.store()?;
    let resuming = async {
        let by = app.requester(store.as_ref()).await?;
        destinations::resume(&app.config, store.as_ref(), name, why, &by).await
    };
    let before = resuming.await;
    store.close().await;
    let before = before?;
    let document = json!({
        "name": name,
        "state": "active",
        "ended": before.as_ref().and_then(|it| it.pause.as_ref()),
        "breaker": before.as_ref().and_then(|it| it.breaker.as_ref()),
    });
    app.output
        .show(&document, |_| resumed(name, before.as_ref()))
}

/// Why the deliveries of a resumed destination waited.
fn resumed(name: &str, before: Option<&DestinationState>) -> String {
    let pause = before.and_then(|it| it.pause.as_ref()).map(paused);
    let breaker = before.and_then(|it| it.breaker.as_ref()).map(broken_since);
    let causes: Vec<String> = pause.into_iter().chain(breaker).collect();
    if causes.is_empty() {
        return format!("{name} was neither paused nor broken");
    }
    format!(
        "{name} is active again; it was {}",
        causes.join("; it was ")
    )
}

async fn test(app: &App, name: &str) -> Result<(), Failure> {
    if app.handed_over {
        return Err(Failure::Usage(
            "expected a configuration with the secrets of destinations, found the one that the `longshore dev` of this \
             folder hands over, which has none: name its file with LONGSHORE_CONFIG, in another folder"
                .to_owned(),
        ));
    }
    let store = app.store()?;
    let permitting = async {
        let by = app.requester(store.as_ref()).await?;
        destinations::permit_test(&app.config, store.as_ref(), name, &by).await
    };
    let permitted = permitting.await;
    store.close().await;
    let pinged = ping(permitted?, &app.config).await;
    let pinged = pinged.map_err(|error| Failure::Usage(error.to_string()))?;
    app.output.show(&pinged, told)?;
    if pinged.taken {
        return Ok(());
    }
    let error = pinged.error.unwrap_or_default();
    Err(Failure::Failed(anyhow::anyhow!(
        "{name} did not take the ping: {error}"
    )))
}

/// A ping in words: the request, a free line, the body, a free line, the answer.
fn told(pinged: &Pinged) -> String {
    let mut text = String::new();
    for RequestLine { name, value } in &pinged.request {
        text.push_str(&format!("{name}: {value}\n"));
    }
    if !pinged.body.is_empty() {
        text.push_str(&format!("\n{}\n", pinged.body));
    }
    let status = pinged.status.map(|status| format!("answered {status}"));
    let status = status.unwrap_or_else(|| "no answer".to_owned());
    let verdict = if pinged.taken { "taken" } else { "not taken" };
    text.push_str(&format!("\n{status} in {} ms: {verdict}", pinged.took_ms));
    if let Some(answer) = &pinged.answer {
        text.push_str(&format!("\n{answer}"));
    }
    text
}

/// An open breaker in words.
fn broken(breaker: &OpenBreaker) -> String {
    let probe = moment(breaker.probe_at.0);
    format!("{}; a probe at {probe}", broken_since(breaker))
}

/// The beginning and the cause of an open breaker.
fn broken_since(breaker: &OpenBreaker) -> String {
    format!(
        "broken since {}: {}",
        moment(breaker.opened_at.0),
        breaker.why
    )
}

/// A pause in words.
fn paused(pause: &PausedDestination) -> String {
    let at = moment(pause.paused_at.0);
    format!(
        "paused since {at} by {}: {}",
        pause.paused_by, pause.paused_why
    )
}

fn number(number: Option<u64>) -> String {
    number.map_or_else(|| "-".to_owned(), |number| number.to_string())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use common::store::Moment;

    use super::*;

    #[test]
    fn a_resumed_destination_is_told_with_all_that_held_it() {
        let at = Moment(time::OffsetDateTime::UNIX_EPOCH);
        let pause = PausedDestination {
            name: "crm".to_owned(),
            paused_at: at,
            paused_by: "cli:ada".to_owned(),
            paused_why: "their deploy".to_owned(),
        };
        let breaker = OpenBreaker {
            opened_at: at,
            why: "answered 503".to_owned(),
            probe_at: at,
            probe_in: Duration::ZERO,
            due_for: Duration::ZERO,
        };
        let told = |pause: Option<&PausedDestination>, breaker: Option<&OpenBreaker>| {
            let before = DestinationState {
                name: "crm".to_owned(),
                pause: pause.cloned(),
                breaker: breaker.cloned(),
                closed_for: None,
            };
            resumed("crm", Some(&before))
        };
        let since = "since 1970-01-01T00:00:00Z";
        let was_paused = format!("it was paused {since} by cli:ada: their deploy");
        let was_broken = format!("it was broken {since}: answered 503");
        assert_eq!(resumed("crm", None), "crm was neither paused nor broken");
        assert_eq!(
            told(Some(&pause), None),
            format!("crm is active again; {was_paused}")
        );
        assert_eq!(
            told(None, Some(&breaker)),
            format!("crm is active again; {was_broken}")
        );
        assert_eq!(
            told(Some(&pause), Some(&breaker)),
            format!("crm is active again; {was_paused}; {was_broken}")
        );
    }

    #[test]
    fn each_copy_with_work_has_a_line() {
        let copy = DestinationWorker {
            program: "longshore-integrate".to_owned(),
            host: "a-host".to_owned(),
            version: "0.1.0".to_owned(),
            since: Moment(time::OffsetDateTime::UNIX_EPOCH),
        };
        let told = copies(&[copy.clone(), copy]);
        let lines: Vec<&str> = told.lines().collect();
        assert_eq!(lines.len(), 3, "{told}");
        for part in ["longshore-integrate", "0.1.0", "a-host", "1970-01-01"] {
            assert!(lines[2].contains(part), "{told}");
        }
        assert_eq!(copies(&[]), "no copy that delivers here has work now");
    }
}
