//! Rates as people write them: `"50/s"`, `"600/min"`, `"1/10min"`.

use std::fmt;
use std::num::NonZeroU32;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::duration;
use crate::retry::LONGEST_WAIT;

/// How many in a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Rate {
    /// How many.
    pub count: NonZeroU32,
    period: Duration,
}

/// The times that have a short name.
const UNITS: [(&str, Duration); 3] = [
    ("s", Duration::from_secs(1)),
    ("min", Duration::from_secs(60)),
    ("h", Duration::from_secs(3600)),
];

impl Rate {
    /// This number a minute.
    pub const fn per_minute(count: NonZeroU32) -> Self {
        Self {
            count,
            period: Duration::from_secs(60),
        }
    }

    /// In which time.
    pub fn period(self) -> Duration {
        self.period
    }

    /// The time between two at this rate.
    pub fn interval(self) -> Duration {
        self.period / self.count.get()
    }
}

impl FromStr for Rate {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let wrong = || {
            "expected a rate such as \"50/s\", \"600/min\" or \"1/10min\", found another text"
                .to_owned()
        };
        let (count, period) = text.split_once('/').ok_or_else(wrong)?;
        let period = period.trim();
        let unit = UNITS.into_iter().find(|(name, _)| *name == period);
        let period = match unit {
            Some((_, period)) => period,
            None => duration::parse(period).map_err(|_| wrong())?,
        };
        if period.is_zero() || period > LONGEST_WAIT {
            return Err(wrong());
        }
        Ok(Self {
            count: count.trim().parse().map_err(|_| wrong())?,
            period,
        })
    }
}

impl TryFrom<String> for Rate {
    type Error = String;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<Rate> for String {
    fn from(rate: Rate) -> Self {
        rate.to_string()
    }
}

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match UNITS.into_iter().find(|(_, period)| *period == self.period) {
            Some((name, _)) => write!(f, "{}/{name}", self.count),
            None => write!(
                f,
                "{}/{}",
                self.count,
                humantime::format_duration(self.period)
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_read_and_write() {
        for (text, interval_ms) in [
            ("50/s", 20),
            ("600/min", 100),
            ("3600/h", 1000),
            ("1/10m", 600_000),
            ("1/7days", 604_800_000),
        ] {
            let rate: Rate = text.parse().unwrap_or_else(|error| panic!("{error}"));
            assert_eq!(rate.interval(), Duration::from_millis(interval_ms));
            assert_eq!(rate.to_string(), text);
        }
        for bad in ["50", "0/s", "-1/s", "50/day", "", "x/s", "1/0s", "1/60days"] {
            assert!(bad.parse::<Rate>().is_err(), "{bad:?}");
        }
    }
}
