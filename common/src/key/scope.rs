//! Scopes: what a key opens.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::event::{is_topic_pattern, topic_matches};

/// One thing that a key opens.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Scope {
    /// `events:write:PATTERN`: publishing events whose type matches the topic pattern. `events:write` is short for
    /// `events:write:#`.
    Write(String),
    /// `events:read`: the status of events that keys of this name have published.
    Read,
    /// `events:read:all`: the status of every event.
    ReadAll,
    /// `sources`: the status of events that came in as webhooks of providers.
    Sources,
    /// `metrics`: the page of metrics.
    Metrics,
}

/// Everything that a key opens.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Scopes(pub Vec<Scope>);

impl Scopes {
    /// Whether events of this type may be published.
    pub fn may_write(&self, kind: &str) -> bool {
        let mut patterns = self.patterns();
        patterns.any(|pattern| topic_matches(pattern, kind))
    }

    /// Whether events of any type may be published.
    pub fn may_write_some(&self) -> bool {
        self.patterns().next().is_some()
    }

    /// Whether the status of some events may be read.
    pub fn may_read_some(&self) -> bool {
        self.may_read_own() || self.has(&Scope::Sources)
    }

    /// Whether the status of the caller's own events may be read.
    pub fn may_read_own(&self) -> bool {
        self.has(&Scope::Read) || self.may_read_all()
    }

    /// Whether the status of every event may be read.
    pub fn may_read_all(&self) -> bool {
        self.has(&Scope::ReadAll)
    }

    /// Whether this very scope is among them.
    pub fn has(&self, scope: &Scope) -> bool {
        self.0.contains(scope)
    }

    fn patterns(&self) -> impl Iterator<Item = &str> {
        self.0.iter().filter_map(|scope| match scope {
            Scope::Write(pattern) => Some(pattern.as_str()),
            _ => None,
        })
    }
}

impl FromStr for Scope {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "events:write" => return Ok(Self::Write("#".to_owned())),
            "events:read" => return Ok(Self::Read),
            "events:read:all" => return Ok(Self::ReadAll),
            "sources" => return Ok(Self::Sources),
            "metrics" => return Ok(Self::Metrics),
            _ => {}
        }
        if let Some(pattern) = text.strip_prefix("events:write:") {
            if is_topic_pattern(pattern) {
                return Ok(Self::Write(pattern.to_owned()));
            }
            return Err(format!(
                "expected a topic pattern of event types behind `events:write:`, such as `signup.*`, found {pattern:?}"
            ));
        }
        Err(format!(
            "expected one of `events:write`, `events:write:PATTERN`, `events:read`, `events:read:all`, `sources`, \
             `metrics`, \
             found {text:?}"
        ))
    }
}

impl TryFrom<String> for Scope {
    type Error = String;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<Scope> for String {
    fn from(scope: Scope) -> Self {
        scope.to_string()
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Write(pattern) if pattern == "#" => f.write_str("events:write"),
            Self::Write(pattern) => write!(f, "events:write:{pattern}"),
            Self::Read => f.write_str("events:read"),
            Self::ReadAll => f.write_str("events:read:all"),
            Self::Sources => f.write_str("sources"),
            Self::Metrics => f.write_str("metrics"),
        }
    }
}

impl fmt::Display for Scopes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let texts: Vec<String> = self.0.iter().map(Scope::to_string).collect();
        f.write_str(&texts.join(", "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scopes(texts: &[&str]) -> Scopes {
        Scopes(texts.iter().map(|text| text.parse().unwrap()).collect())
    }

    #[test]
    fn a_key_publishes_what_its_patterns_match_and_nothing_else() {
        let shop = scopes(&["events:write:signup.*", "events:write:order.#"]);
        for (kind, expected) in [
            ("signup.requested", true),
            ("signup", false),
            ("signup.requested.again", false),
            ("order", true),
            ("order.paid.late", true),
            ("processing.requested", false),
        ] {
            assert_eq!(shop.may_write(kind), expected, "{kind}");
        }
        assert!(shop.may_write_some() && !shop.may_read_some());
        assert!(scopes(&["events:write"]).may_write("anything.at.all"));
        assert!(!scopes(&["events:read", "metrics"]).may_write_some());
    }

    #[test]
    fn reading_all_includes_reading_ones_own() {
        let own = scopes(&["events:read"]);
        assert!(own.may_read_own() && !own.may_read_all());
        let all = scopes(&["events:read:all"]);
        assert!(all.may_read_own() && all.may_read_all());
        assert!(!all.has(&Scope::Metrics));
        let sources = scopes(&["sources"]);
        assert!(sources.may_read_some() && !sources.may_read_own());
    }

    #[test]
    fn every_scope_reads_back_as_it_is_written() {
        for text in [
            "events:write",
            "events:write:signup.*",
            "events:read",
            "events:read:all",
            "sources",
            "metrics",
        ] {
            assert_eq!(text.parse::<Scope>().unwrap().to_string(), text);
        }
        assert_eq!(
            "events:write:#".parse::<Scope>().unwrap().to_string(),
            "events:write"
        );
        for wrong in [
            "",
            "events",
            "events:write:",
            "events:write:a b",
            "Metrics",
            "events:read:own",
        ] {
            assert!(wrong.parse::<Scope>().is_err(), "{wrong}");
        }
    }
}
