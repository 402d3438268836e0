//! The message at the start: the addresses, and a first command to try.

use std::net::SocketAddr;
use std::path::Path;

use common::config::Config;
use serde::Serialize;

use crate::data;
use crate::shell::{called, quoted};

/// The addresses of the system, and a first command to try.
#[derive(Debug, Serialize)]
pub(super) struct Greeting {
    /// The URL of the page, where the API begins too.
    url: String,
    /// A command that makes a signup.
    curl: String,
    /// The engines that carry the messages and keep the rows.
    engines: String,
    broker: String,
    database: String,
    destinations: Vec<String>,
    /// The command that started this program, for other commands beside it.
    #[serde(skip)]
    program: String,
    /// The variables that such a command needs.
    #[serde(skip)]
    beside: String,
    /// The folder of the data, where the data is in files.
    #[serde(skip_serializing_if = "Option::is_none")]
    data: Option<String>,
}

impl Greeting {
    /// `is_shared` says whether commands in this folder find everything by themselves.
    pub(super) fn new(config: &Config, address: SocketAddr, is_shared: bool) -> Self {
        let scheme = match config.producer.tls.identity() {
            Some(_) => "https",
            None => "http",
        };
        let url = format!("{scheme}://{address}");
        // One address signs up once, so each start suggests another.
        let body = format!(
            "{{\"email\": \"ada.{:04x}@example.com\", \"name\": \"Ada Lovelace\"}}",
            rand::random::<u16>()
        );
        let curl = format!(
            "curl -i {url}/v1/signups -H 'Content-Type: application/json' -d {}",
            quoted(&body)
        );
        let configured =
            std::env::vars_os().any(|(name, _)| name.to_string_lossy().starts_with("LONGSHORE_"));
        let files = [config.database.url.file(), config.broker.url.file()];
        let folder = files.into_iter().flatten().find_map(Path::parent);
        Self {
            url,
            curl,
            engines: data::engines(config),
            broker: config.broker.url.to_string(),
            database: config.database.url.to_string(),
            destinations: config
                .destinations
                .iter()
                .map(|destination| destination.name.clone())
                .collect(),
            program: called(),
            beside: if is_shared {
                HERE.to_owned()
            } else {
                beside(config, configured)
            },
            data: folder.map(|folder| {
                let whole = std::path::absolute(folder).unwrap_or_else(|_| folder.to_owned());
                whole.display().to_string()
            }),
        }
    }

    /// The greeting for people.
    pub(super) fn text(&self) -> String {
        let (url, curl, program, beside) = (&self.url, &self.curl, &self.program, &self.beside);
        let destinations = if self.destinations.is_empty() {
            "none yet: events are complete once they are stored (docs/configuration.md)".to_owned()
        } else {
            self.destinations.join(", ")
        };
        let data = match &self.data {
            Some(folder) => format!(
                "{folder} ({}); the next start goes on from there",
                self.engines
            ),
            None => format!("{}: {} and {}", self.engines, self.broker, self.database),
        };
        format!(
            "\nLongshore is up at {url}\n\n\
             \x20 page          {url}/\n\
             \x20 or try        {curl}\n\
             \x20 then, {beside}:\n\
             \x20               {program} events show ID    where the event stands; curl prints its id\n\
             \x20               {program} queues            what waits where\n\
             \x20               {program} dead list         what was given up\n\
             \x20 health        {url}/readyz, {url}/metrics\n\
             \x20 destinations  {destinations}\n\
             \x20 data          {data}\n\
             \x20 stop          Ctrl-C finishes what is running\n"
        )
    }
}

/// The place to run commands beside this program.
const HERE: &str = "in another terminal, in this folder";

/// The settings with which a command beside this program finds the same data. No URL with a password is printed.
/// `configured` says whether this program was given any `LONGSHORE_*` variable.
fn beside(config: &Config, configured: bool) -> String {
    let preset = Config::default();
    let urls = [&config.broker.url, &config.database.url];
    let mut needs = HERE.to_owned();
    if configured {
        needs.push_str(", with the same LONGSHORE_* variables");
    }
    let given = urls != [&preset.broker.url, &preset.database.url];
    if given && urls.iter().all(|url| url.is_embedded()) {
        let [broker, database] = urls.map(|url| quoted(&url.to_string()));
        needs.push_str(&format!(
            ", after `export LONGSHORE_BROKER_URL={broker} LONGSHORE_DATABASE_URL={database}`"
        ));
    }
    needs
}

#[cfg(test)]
mod tests {
    use super::*;

    fn greeting(variables: &[(&str, &str)]) -> Greeting {
        let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        let config = common::config::load_from(variables.iter().map(owned)).unwrap();
        Greeting::new(&config, "127.0.0.1:8080".parse().unwrap(), false)
    }

    #[test]
    fn the_greeting_says_where_everything_is() {
        let text = greeting(&[]).text();
        for words in [
            "http://127.0.0.1:8080/",
            "curl -i http://127.0.0.1:8080/v1/signups",
            "in this folder",
            "/longshore-data (the embedded engine)",
            "Ctrl-C",
        ] {
            assert!(text.contains(words), "{words} is not in {text}");
        }
    }

    #[test]
    fn what_a_command_beside_it_needs_is_said() {
        let preset = Config::default();
        assert_eq!(
            beside(&preset, false),
            "in another terminal, in this folder"
        );
        assert!(beside(&preset, true).contains("the same LONGSHORE_* variables"));
        let mut moved = Config::default();
        crate::data::keep_in(&mut moved, Path::new("/a b")).unwrap();
        let needs = beside(&moved, false);
        assert!(
            needs.contains("LONGSHORE_BROKER_URL='sqlite:/a b/broker.db'"),
            "{needs}"
        );
    }

    #[test]
    fn other_urls_are_said_without_their_passwords() {
        let text = greeting(&[
            ("LONGSHORE_BROKER_URL", "amqp://u:hunter2@h:5672/%2f"),
            ("LONGSHORE_DATABASE_URL", "postgres://u:hunter2@h/d"),
        ])
        .text();
        assert!(
            text.contains("RabbitMQ and PostgreSQL: amqp://u:***@h:5672"),
            "{text}"
        );
        assert!(!text.contains("hunter2"), "{text}");
        let text = greeting(&[
            ("LONGSHORE_BROKER_URL", "sqlite:/a b/x.db"),
            ("LONGSHORE_DATABASE_URL", "sqlite:/a b/y.db"),
        ])
        .text();
        assert!(
            text.contains("LONGSHORE_BROKER_URL='sqlite:/a b/x.db'"),
            "{text}"
        );
    }
}
