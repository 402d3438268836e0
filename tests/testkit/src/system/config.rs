//! The configuration file of a system under test.

use std::{fmt::Write as _, path::Path};

use crate::receiver::Receiver;

/// A destination to configure. By default it takes every type and makes six attempts within about
/// eight seconds.
#[derive(Clone, Debug)]
pub struct Destination {
    name: String,
    way: Way,
    types: Vec<String>,
    filter: Option<String>,
    attempts: u32,
    first: String,
    max: String,
    timeout: String,
    concurrency: u32,
    rate: Option<String>,
    breaker: Option<String>,
    on_dead: Option<String>,
    secret: Option<String>,
    keys: String,
}

/// What reaches a destination.
#[derive(Clone, Debug)]
enum Way {
    /// A webhook at this URL.
    Webhook(String),
    /// The inside of the section `smtp`.
    Smtp(String),
}

impl Destination {
    /// The signing secret of every webhook.
    pub const SECRET: &str = "whsec_bG9uZ3Nob3JlLWVuZC10by1lbmQtdGVzdC1rZXk=";

    /// A webhook at a receiver.
    #[must_use]
    pub fn webhook(name: &str, receiver: &Receiver) -> Self {
        Self::at(name, receiver.url())
    }

    /// A webhook at any URL.
    #[must_use]
    pub fn at(name: &str, url: impl Into<String>) -> Self {
        Self::by(name, Way::Webhook(url.into()))
    }

    /// Mail of `Shop <hello@example.com>` without TLS, through a server on a port of this machine.
    #[must_use]
    pub fn mail(name: &str, port: u16, template: &Path) -> Self {
        let smtp = format!(
            "url = \"smtp://127.0.0.1:{port}\", tls = \"none\", from = \"Shop <hello@example.com>\", \
             template = {template:?}"
        );
        Self::by(name, Way::Smtp(smtp))
    }

    fn by(name: &str, way: Way) -> Self {
        Self {
            name: name.to_owned(),
            way,
            types: vec!["#".to_owned()],
            filter: None,
            attempts: 6,
            first: "250ms".to_owned(),
            max: "4s".to_owned(),
            timeout: "5s".to_owned(),
            concurrency: 32,
            rate: None,
            breaker: None,
            on_dead: None,
            secret: None,
            keys: String::new(),
        }
    }

    /// Takes only these topic patterns.
    #[must_use]
    pub fn types<'a>(mut self, types: impl IntoIterator<Item = &'a str>) -> Self {
        self.types = types.into_iter().map(str::to_owned).collect();
        self
    }

    /// Takes only events that match this expression.
    #[must_use]
    pub fn filter(mut self, expression: &str) -> Self {
        self.filter = Some(expression.to_owned());
        self
    }

    /// Sets the number of attempts, and the wait after the first.
    #[must_use]
    pub fn attempts(mut self, attempts: u32, first: &str) -> Self {
        (self.attempts, self.first) = (attempts, first.to_owned());
        self
    }

    /// Waits at most this long between two attempts.
    #[must_use]
    pub fn longest_wait(mut self, max: &str) -> Self {
        self.max = max.to_owned();
        self
    }

    /// Gives up on one attempt after this time.
    #[must_use]
    pub fn timeout(mut self, timeout: &str) -> Self {
        self.timeout = timeout.to_owned();
        self
    }

    /// Sets the maximum of concurrent calls.
    #[must_use]
    pub fn concurrency(mut self, concurrency: u32) -> Self {
        self.concurrency = concurrency;
        self
    }

    /// Sets the maximum rate, such as `50/s`.
    #[must_use]
    pub fn rate(mut self, rate: &str) -> Self {
        self.rate = Some(rate.to_owned());
        self
    }

    /// Gives it a breaker, as an inline table of TOML.
    #[must_use]
    pub fn breaker(mut self, breaker: &str) -> Self {
        self.breaker = Some(breaker.to_owned());
        self
    }

    /// Keeps events of one key in order: `hold` or `skip` behind a dead one.
    #[must_use]
    pub fn ordered(mut self, on_dead: &str) -> Self {
        self.on_dead = Some(on_dead.to_owned());
        self
    }

    /// Sets the signing secrets, as TOML.
    #[must_use]
    pub fn signed_by(mut self, secrets: &str) -> Self {
        self.secret = Some(secrets.to_owned());
        self
    }

    /// Adds keys to `webhook`, as TOML on one line.
    #[must_use]
    pub fn keys(mut self, toml: &str) -> Self {
        self.keys = format!(", {toml}");
        self
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// The variable that holds its signing secret, with the secret.
    pub(crate) fn secret(&self) -> (String, String) {
        (self.secret_name(), Self::SECRET.to_owned())
    }

    fn secret_name(&self) -> String {
        format!("E2E_{}_SECRET", self.name.to_uppercase().replace('-', "_"))
    }

    fn render(&self, toml: &mut String) {
        let Self {
            name,
            way,
            types,
            attempts,
            first,
            max,
            timeout,
            concurrency,
            keys,
            ..
        } = self;
        let way = match way {
            Way::Webhook(url) => {
                let by_name = || format!("{{ env = {:?} }}", self.secret_name());
                let secret = self.secret.clone().unwrap_or_else(by_name);
                format!("webhook = {{ url = {url:?}, secret = {secret}{keys} }}")
            }
            Way::Smtp(smtp) => format!("smtp = {{ {smtp} }}"),
        };
        // Writing to a String cannot fail. Debug of these strings is a TOML basic string.
        let _ = write!(
            toml,
            "\n[[destination]]\nname = {name:?}\ntypes = {types:?}\n{way}\n\
             retry = {{ attempts = {attempts}, first = {first:?}, factor = 2.0, max = {max:?}, \
             jitter = 0.1 }}\nconcurrency = {concurrency}\ntimeout = {timeout:?}\n"
        );
        if let Some(filter) = &self.filter {
            let _ = writeln!(toml, "where = {filter:?}");
        }
        if let Some(rate) = &self.rate {
            let _ = writeln!(toml, "rate = {rate:?}");
        }
        if let Some(breaker) = &self.breaker {
            let _ = writeln!(toml, "breaker = {breaker}");
        }
        if let Some(on_dead) = &self.on_dead {
            let _ = writeln!(toml, "ordered = true\non_dead = {on_dead:?}");
        }
    }
}

/// The whole file: the settings for receivers on loopback, the destinations, and the test's
/// additions.
pub(crate) fn render(destinations: &[Destination], more: &str) -> String {
    let mut toml = "[outbound]\nallow = [\"127.0.0.0/8\"]\n".to_owned();
    for destination in destinations {
        destination.render(&mut toml);
    }
    toml.push('\n');
    toml.push_str(more);
    toml
}
