//! `longshore keys create`

use std::num::NonZeroU32;

use clap::Args;
use common::bootstrap::Failure;
use common::config::{Rate, duration};
use common::event::{from_rfc3339, now};
use common::key::{KeyName, Scope};
use ipnet::IpNet;
use operate::keys::{Made, Order};
use time::OffsetDateTime;

use super::{document, text};
use crate::app::App;

/// For whom, and what it opens.
#[derive(Debug, Args)]
#[command(after_help = "\
Scopes: events:write or events:write:PATTERN (publish events whose type matches, such as signup.*), events:read (the status of
events that keys of this name have published), events:read:all (of every event), sources (of events that came in as webhooks of providers), metrics.

Keys of one name belong to one caller: event ids are made of the name.

Examples:
  longshore keys create shop --scope 'events:write:signup.*' --scope events:read --rate 100/s
  longshore keys create partner --scope events:write --expires 90days --network 203.0.113.0/24
  longshore keys create edge --scope events:write --offline       for a door without a database: prints a [[key]]")]
pub struct CreateArgs {
    /// Who gets it: lower-case letters, digits, `.`, `_` and `-`
    name: KeyName,
    /// What it opens; can be given several times
    #[arg(long = "scope", value_name = "SCOPE", required = true)]
    scopes: Vec<Scope>,
    /// Maximum rate of events, such as 100/s
    #[arg(long, value_name = "RATE")]
    rate: Option<Rate>,
    /// Maximum number of events at once; as many as the rate counts unless given
    #[arg(long, value_name = "N", requires = "rate")]
    burst: Option<NonZeroU32>,
    /// When it ends: a moment such as 2027-01-01T00:00:00Z, or a time from now such as 90days
    #[arg(long, value_name = "WHEN", value_parser = end)]
    expires: Option<OffsetDateTime>,
    /// A network that it may be used from, such as 10.0.0.0/8; can be given several times
    #[arg(long = "network", value_name = "CIDR")]
    networks: Vec<IpNet>,
    /// Keep nothing in the database: print a [[key]] for the configuration
    #[arg(long)]
    offline: bool,
}

pub(super) async fn run(app: &App, args: CreateArgs) -> Result<(), Failure> {
    let is_offline = args.offline;
    let order = args.order();
    if is_offline {
        let made = operate::keys::make(order)?;
        return app.output.show(&offline(&made), |_| {
            format!("{}\n\n{}", text(&made), section(&made))
        });
    }
    let store = app.store()?;
    let making = async {
        let by = app.requester(store.as_ref()).await?;
        operate::keys::create(store.as_ref(), &by, order).await
    };
    let made = making.await;
    store.close().await;
    let made = made?;
    app.output.show(&document(&made), |_| text(&made))
}

impl CreateArgs {
    fn order(self) -> Order {
        Order {
            name: self.name,
            scopes: self.scopes,
            rate: self.rate,
            burst: self.burst,
            networks: self.networks,
            expires_at: self.expires,
        }
    }
}

fn offline(made: &Made) -> serde_json::Value {
    let mut document = document(made);
    document["sha256"] = made.known.hash.to_string().into();
    document
}

/// The key as a section of the configuration.
fn section(made: &Made) -> String {
    let known = &made.known;
    let quoted = |texts: Vec<String>| format!("{texts:?}");
    let mut lines = vec![
        "[[key]]".to_owned(),
        format!("name = {:?}", known.name.as_str()),
        format!("sha256 = \"{}\"", known.hash),
        format!(
            "scopes = {}",
            quoted(known.scopes.0.iter().map(Scope::to_string).collect())
        ),
    ];
    if let Some(rate) = known.rate {
        lines.push(format!("rate = \"{rate}\""));
    }
    if let Some(burst) = known.burst {
        lines.push(format!("burst = {burst}"));
    }
    if !known.networks.is_empty() {
        let networks = known.networks.iter().map(IpNet::to_string).collect();
        lines.push(format!("networks = {}", quoted(networks)));
    }
    if let Some(at) = known.expires_at {
        lines.push(format!("expires = \"{}\"", common::event::to_rfc3339(at)));
    }
    lines.join("\n")
}

/// Reads a moment, or how long it is until then.
fn end(given: &str) -> Result<OffsetDateTime, String> {
    if let Some(at) = from_rfc3339(given) {
        return Ok(at);
    }
    let time = duration::parse(given).ok();
    time.and_then(|time| now().checked_add(time.try_into().ok()?))
        .filter(|at| at.year() <= 9999)
        .ok_or_else(|| {
            format!(
                "expected a moment such as \"2027-01-01T00:00:00Z\", or a time from now such as \"90days\", found {given:?}"
            )
        })
}

#[cfg(test)]
mod tests {
    use common::config::load_from;

    use super::*;

    #[test]
    fn a_section_for_the_configuration_reads_back() {
        let order = Order {
            name: "edge".parse().unwrap(),
            scopes: vec!["events:write:signup.*".parse().unwrap(), Scope::Metrics],
            rate: Some("100/s".parse().unwrap()),
            burst: NonZeroU32::new(500),
            networks: vec!["10.0.0.0/8".parse().unwrap()],
            expires_at: Some(end("90days").unwrap()),
        };
        let made = operate::keys::make(order).unwrap();
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), section(&made)).unwrap();
        let path = file.path().to_str().unwrap().to_owned();
        let config = load_from([("LONGSHORE_CONFIG".to_owned(), path)]).unwrap();
        let mut expected = made.known.clone();
        // As text it has no nanoseconds.
        expected.expires_at = config.keys[0].expires_at;
        assert_eq!(config.keys, [expected]);
        assert!(config.keys[0].expires_at.is_some());
    }

    #[test]
    fn an_end_is_a_moment_or_a_time_from_now() {
        assert!(end("2027-01-01T00:00:00Z").is_ok());
        assert!(end("24h").unwrap() > now());
        for wrong in ["", "soon", "-1h", "90000years"] {
            assert!(end(wrong).is_err(), "{wrong}");
        }
    }
}
