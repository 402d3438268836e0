//! The common equipment of all measurements.

use anyhow::anyhow;
use common::bootstrap::Failure;
use common::config::Config;
use common::telemetry::stderr;
use longshore::Program;
use longshore::system::System;
use tokio_util::sync::CancellationToken;

/// The size of every event.
pub(super) const EVENT_BYTES: usize = 1000;

/// All programs of a system; the door is the first.
pub(super) const PROGRAMS: [Program; 5] = [
    Program::Producer,
    Program::Validate,
    Program::Store,
    Program::Integrate,
    Program::Archive,
];

/// The secret that webhooks are signed with.
pub(super) const SECRET: &str = "whsec_bG9uZ3Nob3JlIGJlbmNoIGtleSBvZiAzMiBieXRlcw==";

/// A megabyte as memory is reported.
pub(super) const MEGABYTE: f64 = 1e6;

/// The broker and database to measure on, and the wish to stop.
pub(super) struct Lab {
    /// Where broker and database are.
    pub(super) config: Config,
    /// Cancelled when the measurements must end.
    pub(super) stop: CancellationToken,
}

impl Lab {
    /// Where broker and database are, for the twin.
    pub(super) fn services(&self) -> bench::twin::Services {
        bench::twin::Services {
            broker_url: self.config.broker.url.expose().to_owned(),
            database_url: self.config.database.url.expose().to_owned(),
        }
    }

    /// A line of news on standard error.
    pub(super) fn say(&self, text: &str) {
        stderr::say(text);
    }

    /// Fails when the measurements must end.
    pub(super) fn check(&self) -> Result<(), Failure> {
        if self.stop.is_cancelled() {
            Err(stopped())
        } else {
            Ok(())
        }
    }

    /// Measures something on a system of its own, which is removed after success and failure.
    pub(super) async fn on_a_system<T>(
        &self,
        settings: &str,
        work: impl AsyncFnOnce(&mut System) -> Result<T, Failure>,
    ) -> Result<T, Failure> {
        self.check()?;
        let mut system = System::create(&self.config, "bench", settings).await?;
        let worked = tokio::select! {
            worked = work(&mut system) => worked,
            () = self.stop.cancelled() => Err(stopped()),
        };
        let removed = system.remove().await;
        // The first failure matters most; the rest may only follow from it.
        let worked = worked?;
        removed?;
        Ok(worked)
    }
}

fn stopped() -> Failure {
    Failure::Failed(anyhow!(
        "stopped before the end; the measured system is removed"
    ))
}

/// The configuration of a system that delivers to `url`, with as many posts at once as the twin, and
/// signed as the twin signs.
pub(super) fn delivering(url: &str) -> String {
    let posts = bench::twin::Tuning::default().posts;
    format!(
        "[outbound]\nallow = [\"127.0.0.0/8\"]\n\n[[destination]]\nname = \"bench\"\n\
         webhook = {{ url = \"{url}\", secret = \"{SECRET}\" }}\n\
         concurrency = {posts}\n"
    )
}

/// The middle value; the mean of the two in the middle for an even number.
pub(super) fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    match (values.get(middle), values.len() % 2) {
        (Some(value), 1) => *value,
        (Some(value), _) => {
            f64::midpoint(values.get(middle - 1).copied().unwrap_or(*value), *value)
        }
        (None, _) => 0.0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_odd_round_does_not_move_the_median() {
        assert_eq!(median(vec![5.0, 1.0, 4.0]), 4.0);
        assert_eq!(median(vec![4.0, 2.0]), 3.0);
        assert_eq!(median(vec![]), 0.0);
    }

    #[test]
    fn the_measured_configuration_is_valid() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("longshore.toml");
        std::fs::write(&file, delivering("http://127.0.0.1:9/hook")).unwrap();
        let variable = (
            "LONGSHORE_CONFIG".to_owned(),
            file.to_string_lossy().into_owned(),
        );
        let config = common::config::load_from([variable]).unwrap();
        assert!(
            config
                .destination("bench")
                .is_some_and(|bench| bench.takes("signup.requested"))
        );
    }
}
