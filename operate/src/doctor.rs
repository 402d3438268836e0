//! The checks of `longshore doctor`: problems, and what to do about each.

pub mod checks;
pub mod clock;
pub mod configurations;
pub mod files;
pub mod settings;

use std::time::Duration;

use common::bootstrap::{self, Failure};
use common::config::{Config, ConfigHash};
use common::store::DestinationState;
use common::topology::{Names, Topology};
use serde::Serialize;

use crate::queues::PausedQueues;
use crate::words::count;

/// What was found about one thing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// The name of the check.
    pub check: String,
    /// How bad it is.
    pub verdict: Verdict,
    /// The result in words.
    pub detail: String,
    /// What to do, if anything.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub advice: Option<String>,
}

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// As it should be.
    Ok,
    /// Worth a look; nothing is broken.
    Look,
    /// Broken.
    Problem,
    /// A dependency cannot be reached, so little else can be said.
    Unreachable,
}

impl Finding {
    /// A thing that is as it should be.
    pub fn ok(check: impl Into<String>, detail: impl Into<String>) -> Self {
        Self {
            check: check.into(),
            verdict: Verdict::Ok,
            detail: detail.into(),
            advice: None,
        }
    }

    /// A finding that needs attention, and what to do about it.
    pub fn bad(
        verdict: Verdict,
        check: impl Into<String>,
        detail: impl Into<String>,
        advice: impl Into<String>,
    ) -> Self {
        let advice = Some(advice.into());
        Self {
            check: check.into(),
            verdict,
            detail: detail.into(),
            advice,
        }
    }
}

/// Looks at everything. `hash` is that of the configuration, and `watch` how long queues are watched for whether they grow.
///
/// # Errors
/// The configuration cannot be used.
pub async fn examine(
    config: &Config,
    hash: &ConfigHash,
    watch: Duration,
) -> Result<Vec<Finding>, Failure> {
    let (mut items, of_database) = tokio::try_join!(broker(config, watch), database(config, hash))?;
    items.extend(of_database);
    items.push(clock::shown(common::event::now()));
    Ok(items)
}

/// The broker, and before it the file it is in, where it is in one.
async fn broker(config: &Config, watch: Duration) -> Result<Vec<Finding>, Failure> {
    let url = &config.broker.url;
    let mut found = files::look("broker file", "LONGSHORE_BROKER_URL", url).await;
    if !is_missing(&found) {
        let broker = bootstrap::broker(config, "longshore")?;
        let topology = Topology::new(&config.plan());
        let names = Names::new(config.namespace.clone());
        let paused = PausedQueues::new(&names, &states(config).await, &config.destinations);
        found.extend(checks::broker(broker.as_ref(), &topology, &paused, watch).await);
        broker.close().await;
    }
    Ok(found)
}

/// How destinations stand; nothing where the database cannot say, which is a finding of its own.
async fn states(config: &Config) -> Vec<DestinationState> {
    let file = files::look(
        "database file",
        "LONGSHORE_DATABASE_URL",
        &config.database.url,
    )
    .await;
    let Some(store) = bootstrap::store(config).ok().filter(|_| !is_missing(&file)) else {
        return Vec::new();
    };
    let states = store.destinations().destination_states().await;
    store.close().await;
    states.unwrap_or_default()
}

/// The database, and before it the file it is in, where it is in one.
async fn database(config: &Config, hash: &ConfigHash) -> Result<Vec<Finding>, Failure> {
    let url = &config.database.url;
    let mut found = files::look("database file", "LONGSHORE_DATABASE_URL", url).await;
    if !is_missing(&found) {
        let store = bootstrap::store(config)?;
        let of_rows = checks::database(store.as_ref()).await;
        let is_reached = of_rows.first().is_some_and(|it| it.verdict == Verdict::Ok);
        found.extend(of_rows);
        if is_reached {
            found.extend(configurations::look(store.as_ref(), hash).await);
        }
        store.close().await;
    }
    Ok(found)
}

/// Whether there is no file: to ask the engine would be to make it.
fn is_missing(file: &[Finding]) -> bool {
    file.iter()
        .any(|finding| finding.verdict == Verdict::Unreachable)
}

/// Whether all is well.
///
/// # Errors
/// It is not; the worst finding says which failure that is.
pub fn verdict(items: &[Finding]) -> Result<(), Failure> {
    let worst = items.iter().map(|finding| finding.verdict).max();
    let broken = items
        .iter()
        .filter(|finding| finding.verdict >= Verdict::Problem)
        .count();
    let found = format!("{} found", count(broken as u64, "problem"));
    match worst {
        Some(Verdict::Unreachable) => Err(Failure::Unreachable(found)),
        Some(Verdict::Problem) => Err(Failure::Failed(anyhow::anyhow!(found))),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_worst_finding_decides_the_exit_code() {
        let bad = |verdict| Finding::bad(verdict, "a", "b", "c");
        let code = |items: &[Finding]| verdict(items).err().map_or(0, |failure| failure.code());
        assert_eq!(code(&[Finding::ok("a", "b"), bad(Verdict::Look)]), 0);
        assert_eq!(code(&[bad(Verdict::Problem), bad(Verdict::Look)]), 1);
        assert_eq!(code(&[bad(Verdict::Problem), bad(Verdict::Unreachable)]), 3);
    }
}
