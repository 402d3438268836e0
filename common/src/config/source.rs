//! `[[source]]`: a provider whose signed webhooks become events.

use std::collections::HashSet;
use std::fmt;
use std::time::Duration;

use serde::de::value::MapAccessDeserializer;
use serde::de::{Error as _, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};

use super::Secret;
use super::destination::every_type;
use super::secret::one_or_more;
use super::stage::some_duration;
use crate::event::{is_topic_pattern, topic_matches};
use crate::inbound::{Scheme, TypeTemplate, Verifier};
use crate::topology::is_destination_name;

/// A provider whose signed webhooks become events.
#[derive(Debug, Clone, Deserialize)]
#[serde(try_from = "Written")]
pub struct WebhookSource {
    /// Its name: the last part of its path at the door.
    pub name: String,
    /// Verifies its requests.
    pub verifier: Verifier,
    /// Makes the types of its events.
    pub template: TypeTemplate,
    /// Which of these events are taken: AMQP topic patterns of event types. The others are answered and ignored.
    pub types: Vec<String>,
}

/// The section as it is written.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    name: String,
    #[serde(deserialize_with = "scheme")]
    scheme: Scheme,
    #[serde(default, deserialize_with = "one_or_more")]
    secret: Vec<Secret>,
    #[serde(rename = "type")]
    template: TypeTemplate,
    #[serde(default = "every_type")]
    types: Vec<String>,
    #[serde(default, deserialize_with = "some_duration")]
    tolerance: Option<Duration>,
}

impl TryFrom<Written> for WebhookSource {
    type Error = String;

    fn try_from(written: Written) -> Result<Self, Self::Error> {
        if !is_destination_name(&written.name) {
            return Err(
                "name: expected up to 40 lower-case letters, digits, '_' or '-', beginning with a letter, found another \
                 text"
                    .to_owned(),
            );
        }
        if written.types.is_empty()
            || !written
                .types
                .iter()
                .all(|pattern| is_topic_pattern(pattern))
        {
            return Err("types: expected topic patterns such as [\"stripe.invoice.*\"]".to_owned());
        }
        let secrets = written.secret.iter().map(Secret::expose);
        let verifier = Verifier::new(written.scheme, secrets, written.tolerance)
            .map_err(|error| error.to_string())?;
        Ok(Self {
            name: written.name,
            verifier,
            template: written.template,
            types: written.types,
        })
    }
}

impl WebhookSource {
    /// Whether an event of this type is taken.
    pub fn takes(&self, kind: &str) -> bool {
        self.types
            .iter()
            .any(|pattern| topic_matches(pattern, kind))
    }

    /// An error beside the known event types, if any: the key, and the expected and the found value.
    pub(super) fn problem(&self, known_types: &[String]) -> Option<(&'static str, &'static str)> {
        let mut taken = known_types
            .iter()
            .filter(|kind| self.template.can_make(kind) && self.takes(kind));
        taken.next().is_none().then_some((
            "type",
            "expected a template that makes a known type which `types` takes, found none; define a [[type]] for each \
             event that the provider sends",
        ))
    }
}

/// An error of the sources, if any: the key, and the expected and the found value.
pub(super) fn problem(
    sources: &[WebhookSource],
    known_types: &[String],
) -> Option<(String, String)> {
    let mut names = HashSet::new();
    for source in sources {
        if let Some((key, problem)) = source.problem(known_types) {
            return Some((format!("source.{}.{key}", source.name), problem.to_owned()));
        }
        if !names.insert(&source.name) {
            let problem = format!("expected each once, found {:?} twice", source.name);
            return Some(("source.name".to_owned(), problem));
        }
    }
    None
}

/// The error of a source without a secret. A command beside `longshore dev` has none and needs none, see
/// [`Sources::share`](super::Sources::share).
pub(super) fn missing_secret(sources: &[WebhookSource]) -> Option<(String, String)> {
    let source = sources.iter().find(|it| it.verifier.is_without_secret())?;
    let problem =
        "expected the provider's signing secret, or a list while it is rotated, found none";
    Some((format!("source.{}.secret", source.name), problem.to_owned()))
}

/// Reads a scheme: its name, or a section that spells it out.
fn scheme<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Scheme, D::Error> {
    deserializer.deserialize_any(GivenScheme)
}

struct GivenScheme;

impl<'de> Visitor<'de> for GivenScheme {
    type Value = Scheme;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the name of a scheme, such as \"stripe\", or a section that spells it out")
    }

    fn visit_str<E: serde::de::Error>(self, name: &str) -> Result<Scheme, E> {
        Scheme::named(name).map_err(|error| E::custom(format!("scheme: {error}")))
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Scheme, A::Error> {
        Scheme::deserialize(MapAccessDeserializer::new(map))
            .map_err(|error| A::Error::custom(format!("scheme: {error}")))
    }
}

#[cfg(test)]
mod tests;
