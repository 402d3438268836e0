//! The plan of a system, and its start.

use std::fs;

use anyhow::{Context, Result};

use super::{
    System, UP,
    config::{self, Destination},
};
use crate::{
    client::Client, namespace::Namespace, port, process::Program, scratch::Scratch,
    services::Services,
};

/// The plan of a system.
#[derive(Debug)]
pub struct Builder {
    services: Services,
    told: Option<Services>,
    destinations: Vec<Destination>,
    later: Vec<String>,
    config: String,
    environment: Vec<(String, String)>,
    own: Vec<(Program, String, String)>,
    copies: Vec<(Program, usize)>,
    migrate: bool,
}

impl Builder {
    pub(super) fn new() -> Self {
        let programs = [Program::Producer].into_iter().chain(Program::WORKERS);
        Self {
            services: Services::shared(),
            told: None,
            destinations: Vec::new(),
            later: Vec::new(),
            config: String::new(),
            environment: Vec::new(),
            own: Vec::new(),
            copies: programs.map(|program| (program, 1)).collect(),
            migrate: true,
        }
    }

    /// Uses these services instead of the shared ones.
    #[must_use]
    pub fn services(mut self, services: Services) -> Self {
        self.services = services;
        self
    }

    /// Tells the processes these addresses, such as a proxy's, while the test itself keeps looking
    /// at the services directly.
    #[must_use]
    pub fn told(mut self, services: Services) -> Self {
        self.told = Some(services);
        self
    }

    /// Adds a destination.
    #[must_use]
    pub fn destination(mut self, destination: Destination) -> Self {
        self.destinations.push(destination);
        self
    }

    /// Says that a destination of this name comes later, so that its queues are removed with the others.
    #[must_use]
    pub fn destination_later(mut self, name: &str) -> Self {
        self.later.push(name.to_owned());
        self
    }

    /// Adds TOML to the configuration file, after the builder's own.
    #[must_use]
    pub fn config(mut self, toml: &str) -> Self {
        self.config.push_str(toml);
        self.config.push('\n');
        self
    }

    /// Sets an environment variable of every process.
    #[must_use]
    pub fn env(mut self, key: &str, value: &str) -> Self {
        self.environment.push((key.to_owned(), value.to_owned()));
        self
    }

    /// Sets an environment variable of one program's processes.
    #[must_use]
    pub fn env_of(mut self, program: Program, key: &str, value: &str) -> Self {
        self.own.push((program, key.to_owned(), value.to_owned()));
        self
    }

    /// Sets the number of copies of a program; 1 of each by default, and 0 is allowed.
    #[must_use]
    pub fn copies(mut self, program: Program, copies: usize) -> Self {
        self.copies.retain(|(other, _)| *other != program);
        self.copies.push((program, copies));
        self
    }

    /// Does not run `longshore migrate` first.
    #[must_use]
    pub fn without_migration(mut self) -> Self {
        self.migrate = false;
        self
    }

    /// Migrates, starts every process and waits until each is up.
    ///
    /// # Errors
    /// If a program is not built, ends early or is not up in time; with its output.
    pub async fn start(self) -> Result<System> {
        let scratch = Scratch::new()?;
        let names = self.destinations.iter().map(Destination::name);
        let names = names.chain(self.later.iter().map(String::as_str));
        let namespace = Namespace::new(&self.services, names, &scratch).await?;
        let config = scratch.path().join("longshore.toml");
        fs::write(&config, config::render(&self.destinations, &self.config))
            .with_context(|| format!("writing {}", config.display()))?;
        let told = self.told.unwrap_or_else(|| self.services.clone());
        let mut environment = self.environment;
        environment.extend([
            ("LONGSHORE_BROKER_URL".to_owned(), told.broker_url),
            ("LONGSHORE_DATABASE_URL".to_owned(), told.database_url),
            (
                "LONGSHORE_NAMESPACE".to_owned(),
                namespace.name().to_owned(),
            ),
            ("LONGSHORE_CONFIG".to_owned(), config.display().to_string()),
            ("LONGSHORE_LOG_FORMAT".to_owned(), "json".to_owned()),
        ]);
        environment.extend(self.destinations.iter().map(Destination::secret));
        let mut system = System {
            members: Vec::new(),
            finished: false,
            client: Client::new(format!("http://127.0.0.1:{}", port::free()?))?,
            environment,
            own: self.own,
            services: self.services,
            namespace,
            scratch,
        };
        if self.migrate {
            system.longshore(&["migrate"]).await?.success()?;
        }
        for (program, copies) in self.copies {
            for _ in 0..copies {
                system.launch(program)?;
            }
        }
        for member in &mut system.members {
            member.await_up(UP).await?;
        }
        Ok(system)
    }
}
