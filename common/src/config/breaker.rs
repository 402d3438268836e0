//! `[[destination]]`, key `breaker`: when a destination that fails is left alone.

use std::fmt;
use std::time::Duration;

use serde::Deserialize;

use super::duration;
use crate::retry::LONGEST_WAIT;

/// The settings of a breaker. It opens in all copies of the worker when too many attempts of one of them found no receiver that
/// could answer; it closes when a probe finds one.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Breaker {
    /// The part of attempts, above 0 and at most 1, that opens it when they fail and are to be tried again.
    pub failures: f64,
    /// How many attempts there must be for that, in one process.
    pub of: u32,
    /// How long an attempt counts.
    #[serde(with = "duration")]
    pub within: Duration,
    /// How long it stays open before a probe.
    #[serde(with = "duration")]
    pub open: Duration,
}

impl Default for Breaker {
    fn default() -> Self {
        Self {
            failures: 0.5,
            of: 20,
            within: Duration::from_secs(60),
            open: Duration::from_secs(30),
        }
    }
}

impl fmt::Display for Breaker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            failures,
            of,
            within,
            open,
        } = self;
        let percent = failures * 100.0;
        write!(
            f,
            "{percent:.0} % of {of} or more attempts fail within {within:?}; for {open:?}"
        )
    }
}

impl Breaker {
    /// What is wrong, if anything.
    pub(super) fn problem(&self) -> Option<String> {
        // Also not a number.
        if !(self.failures > 0.0 && self.failures <= 1.0) {
            let found = self.failures;
            return Some(format!(
                "expected `failures` above 0 and at most 1, found {found}"
            ));
        }
        if self.of == 0 {
            return Some("expected `of` to be at least 1, found 0".to_owned());
        }
        if self.within.is_zero() || self.open.is_zero() {
            return Some("expected `within` and `open` to be times above 0s".to_owned());
        }
        if self.within > LONGEST_WAIT || self.open > LONGEST_WAIT {
            return Some("expected `within` and `open` to be at most 30days".to_owned());
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Breaker, String> {
        let breaker: Breaker = toml::from_str(text).map_err(|error| error.to_string())?;
        match breaker.problem() {
            Some(problem) => Err(problem),
            None => Ok(breaker),
        }
    }

    #[test]
    fn what_is_not_said_has_a_default() {
        assert_eq!(read(""), Ok(Breaker::default()));
        let said = read("failures = 1\nof = 5\nwithin = \"10s\"\nopen = \"2min\"").unwrap();
        let opens = "100 % of 5 or more attempts fail within 10s; for 120s";
        assert_eq!(said.to_string(), opens);
    }

    #[test]
    fn what_could_never_open_or_never_close_is_an_error() {
        for (text, key) in [
            ("failures = 0.0", "failures"),
            ("failures = 1.1", "failures"),
            ("failures = nan", "failures"),
            ("of = 0", "of"),
            ("within = \"0s\"", "within"),
            ("open = \"0s\"", "open"),
            ("within = \"31days\"", "within"),
            ("open = \"31days\"", "open"),
            ("open = 5", "open"),
            ("opens = \"5s\"", "opens"),
        ] {
            let error = read(text).unwrap_err();
            assert!(error.contains(key), "{text}: {error}");
        }
    }
}
