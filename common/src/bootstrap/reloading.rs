//! Another configuration for a running program: noticed, checked as a whole as at the start, and only then taken up.
//!
//! ```text
//! SIGHUP, or files that changed ─> read ─> prepare (all that works with it is made) ─> declare ─> take over
//!                                    └────────────┴── refused: told, and the old one goes on
//! ```

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use serde_json::json;
use tokio::sync::watch;

use super::telling::host;
use super::{Failure, Program};
use crate::broker::Broker;
use crate::config::{Config, ConfigHash, Contents, Reading, Sources};
use crate::store::{Act, Actor, AuditAction, Store};
use crate::telemetry::metrics::{self, Reload};

/// How often the files are looked at. What two looks in a row have found is taken for complete: an editor may be writing.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Maximum wait for the audit record.
const RECORD_TIMEOUT: Duration = Duration::from_secs(10);

/// What lets the next generation of a program take over.
pub type TakeOver = Box<dyn FnOnce()>;

/// The next generation of a program, which does not work yet.
struct Next {
    program: Program,
    reading: Reading,
}

/// The configurations of a running program.
struct Reloading {
    /// The generation that works.
    running: Program,
    /// The sources at the start. Sections that need a restart are as these say.
    start: Sources,
    /// The configuration that is in force.
    in_force: Reading,
    /// The files to look at, and their contents when they were judged last.
    files: BTreeSet<PathBuf>,
    judged: Contents,
    hangups: watch::Receiver<u64>,
}

impl Program {
    /// Takes up other configurations until the program ends. `prepare` makes all that works with one, and gives what lets it take
    /// over. While it prepares, and if it fails, the generation before goes on. The topology is declared in between.
    ///
    /// Once a generation has taken over, [`Program::stop`] of the one before is cancelled.
    pub async fn follow_configuration(
        &self,
        broker: &Arc<dyn Broker>,
        store: Option<&Arc<dyn Store>>,
        mut prepare: impl AsyncFnMut(&Program) -> Result<TakeOver, Failure>,
    ) {
        let Some(mut reloading) = Reloading::new(self) else {
            return self.end.cancelled().await;
        };
        loop {
            let next = tokio::select! {
                () = self.end.cancelled() => return,
                next = reloading.next() => next,
            };
            let prepared = async {
                let take_over = prepare(&next.program).await?;
                self.declaring.store(true, Ordering::Relaxed);
                let is_declared = next.program.declare(broker).await;
                self.declaring.store(false, Ordering::Relaxed);
                Ok(is_declared?.then_some(take_over))
            };
            match prepared.await {
                Ok(Some(take_over)) => {
                    take_over();
                    reloading.apply(next, store).await;
                }
                // The program ends.
                Ok(None) => return,
                Err(failure) => {
                    // Tasks that it has begun end.
                    next.program.stop.cancel();
                    refuse(&failure);
                }
            }
        }
    }
}

/// Tells why a configuration is not taken up.
fn refuse(failure: &Failure) {
    tracing::error!(
        error = failure.in_one_line(),
        "the changed configuration is refused, and the old one goes on"
    );
    metrics::reloaded(Reload::Refused);
}

impl Reloading {
    /// `None` where nothing says what the configuration was read from.
    fn new(program: &Program) -> Option<Self> {
        let start = program.sources.as_deref()?.clone();
        let in_force = Reading {
            sources: start.clone(),
            contents: program.contents.clone(),
        };
        Some(Self {
            running: program.clone(),
            files: start.files(),
            judged: in_force.contents.clone(),
            in_force,
            start,
            hangups: program.hangups.clone(),
        })
    }

    /// The next generation of the program, whose configuration is right as far as it can be told from itself.
    async fn next(&mut self) -> Next {
        loop {
            self.wanted().await;
            match self.read() {
                Ok(Some(next)) => return next,
                Ok(None) => {}
                Err(failure) => refuse(&failure),
            }
        }
    }

    /// Waits for SIGHUP, or for files with other contents than those judged last.
    async fn wanted(&mut self) {
        let mut last = None;
        loop {
            tokio::select! {
                Ok(()) = self.hangups.changed() => return,
                () = tokio::time::sleep(LOOK_EVERY) => {}
            }
            let files = self.files.clone();
            let looked = tokio::task::spawn_blocking(move || Contents::read(&files)).await;
            // It cannot fail, but for the end of the program.
            let Ok(contents) = looked else { continue };
            if contents == self.judged {
                last = None;
            } else if last.replace(contents.clone()) == Some(contents) {
                return;
            }
        }
    }

    /// Reads the configuration. `None`: it is the one in force, or is being written.
    fn read(&mut self) -> Result<Option<Next>, Failure> {
        self.judged = Contents::read(&self.files);
        let reading = Reading::again(&self.start)?;
        self.files = reading.sources.files();
        let before = std::mem::replace(&mut self.judged, Contents::read(&self.files));
        if !before.agree(&self.judged) {
            // Somebody writes them right now. The next looks find them changed.
            self.judged = before;
            return Ok(None);
        }
        let config = reading.config(&self.running.config)?;
        if reading.takes_up_the_same(&self.in_force) {
            tracing::info!("the configuration was read again, and nothing in it changes what runs");
            self.warn_of_fixed_keys(&reading.sources);
            metrics::reloaded(Reload::Unchanged);
            return Ok(None);
        }
        let program = self
            .running
            .next_generation(config, reading.sources.clone());
        Ok(Some(Next { program, reading }))
    }

    /// The next generation works: the one before ends.
    async fn apply(&mut self, next: Next, store: Option<&Arc<dyn Store>>) {
        let before = std::mem::replace(&mut self.running, next.program);
        self.in_force = next.reading;
        before.stop.cancel();
        let hashes = [&before, &self.running].map(|it| it.config.hash());
        metrics::reloaded(Reload::Applied);
        metrics::configuration(Some(hashes[0].as_str()), hashes[1].as_str());
        tracing::info!(
            before = %hashes[0], configuration = %hashes[1],
            "the configuration is reloaded"
        );
        self.warn_of_fixed_keys(&self.in_force.sources);
        self.running.hash.send_replace(hashes[1].clone());
        if let Some(store) = store {
            self.record(store, &hashes).await;
        }
    }

    fn warn_of_fixed_keys(&self, sources: &Sources) {
        let keys = sources.keys_that_need_a_restart(&self.start);
        if !keys.is_empty() {
            tracing::warn!(
                keys = keys.join(", "),
                "changed as well, and needs a restart: it stays as it was"
            );
        }
    }

    /// Writes the change into the audit record.
    async fn record(&self, store: &Arc<dyn Store>, [before, after]: &[ConfigHash; 2]) {
        let actor = Actor {
            who: self.running.name.to_owned(),
            role: None,
            origin: host(),
        };
        let facts = |hash: &ConfigHash| Some(json!({ "hash": hash.as_str() }));
        let act = Act::new(actor, AuditAction::ConfigurationReload, "configuration")
            .changing(facts(before), facts(after));
        let recorded = tokio::time::timeout(RECORD_TIMEOUT, store.audit().record(&act)).await;
        let error = match recorded {
            Ok(Ok(())) => return,
            Ok(Err(error)) => error.to_string(),
            Err(_) => format!("no answer within {RECORD_TIMEOUT:?}"),
        };
        tracing::warn!(error, "the reload is not in the audit record");
    }
}

impl Program {
    /// The next generation of this program, with another configuration.
    fn next_generation(&self, config: Config, sources: Sources) -> Self {
        Self {
            config: Arc::new(config),
            sources: Some(Arc::new(sources)),
            stop: self.end.child_token(),
            ..self.clone()
        }
    }
}
