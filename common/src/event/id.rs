//! The event id: our key for an event, and who published it.

use std::fmt;
use std::str::FromStr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use uuid::Uuid;

/// Our key for an event: `id` in the API, `message_id` in AMQP.
///
/// A version 7 UUID when the event is born at our door, else a version 5 one of publisher, `source`
/// and `id`. So nobody's ids can collide with or shadow another's.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
#[serde(transparent)]
pub struct EventId(pub Uuid);

/// The version 5 name space of all derived event ids.
const IDS: Uuid = Uuid::from_u128(0x6c6f_6e67_7368_4f72_a565_7665_6e74_0001);

impl EventId {
    /// The id of no event.
    pub const NONE: Self = Self(Uuid::nil());

    /// A new id for an event that is born here, now.
    pub fn born() -> Self {
        Self(Uuid::now_v7())
    }

    /// The id of an event that came with a `source` and an `id` of its publisher's.
    pub fn derived(publisher: &Publisher, source: &str, id: &str) -> Self {
        Self(name_based(&[
            publisher.as_str().as_bytes(),
            source.as_bytes(),
            id.as_bytes(),
        ]))
    }

    /// The id for `Idempotency-Key: KEY` from `caller`, for any body.
    pub fn from_key(caller: &Publisher, key: &str) -> Self {
        Self(name_based(&[
            b"Idempotency-Key",
            caller.as_str().as_bytes(),
            b"",
            key.as_bytes(),
        ]))
    }

    /// The id as a plain UUID.
    pub fn uuid(self) -> Uuid {
        self.0
    }
}

impl fmt::Display for EventId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for EventId {
    type Err = uuid::Error;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        text.parse().map(Self)
    }
}

/// Who published an event, as far as we can vouch for it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Publisher(String);

impl Publisher {
    /// How every foreign AMQP publisher begins.
    const AMQP: &str = "amqp:";
    const OURSELVES: &str = "longshore";
    const HTTP: &str = "http";
    const SOURCE: &str = "source:";

    /// The event was born at our own door: its CloudEvents `id` is the event id.
    pub fn ourselves() -> Self {
        Self(Self::OURSELVES.to_owned())
    }

    /// As [`Publisher::ourselves`], for a caller with a key.
    pub fn ourselves_for(caller: &str) -> Self {
        Self(format!("{}:{caller}", Self::OURSELVES))
    }

    /// The door itself, as somebody opened a link that confirms a signup. No caller can have this name.
    pub fn confirmation() -> Self {
        Self::ourselves_for("/confirm")
    }

    /// A caller of the HTTP API who gave the event an id of its own.
    pub fn http(caller: &str) -> Self {
        Self(format!("{}:{caller}", Self::HTTP))
    }

    /// A provider whose signed webhooks come in under the source called `name`.
    pub fn source(name: &str) -> Self {
        Self(format!("{}{name}", Self::SOURCE))
    }

    /// Whether it is a provider whose webhooks come in under a source.
    pub fn is_source(&self) -> bool {
        self.0.starts_with(Self::SOURCE)
    }

    /// A foreign AMQP publisher; `user` is the broker user where the broker vouches for it.
    pub fn amqp(user: Option<&str>) -> Self {
        Self(format!("{}{}", Self::AMQP, user.unwrap_or("-")))
    }

    /// A publisher as it stands in a header that we wrote ourselves.
    pub fn trusted(text: &str) -> Self {
        Self(text.to_owned())
    }

    /// Whether it is a foreign AMQP publisher: one that did not come through our own door.
    pub fn is_foreign(&self) -> bool {
        self.0.starts_with(Self::AMQP)
    }

    /// Whether the event was born at our own door.
    pub fn is_ourselves(&self) -> bool {
        self.0 == Self::OURSELVES || self.caller_of(Self::OURSELVES).is_some()
    }

    /// The caller of the HTTP API that published it, if it gave a name.
    pub fn caller(&self) -> Option<&str> {
        self.caller_of(Self::OURSELVES)
            .or_else(|| self.caller_of(Self::HTTP))
    }

    fn caller_of(&self, way: &str) -> Option<&str> {
        self.0.strip_prefix(way)?.strip_prefix(':')
    }

    /// The publisher as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// A stable id for something that has none: made from its parts. Each part is hashed with its
/// length, so that no two lists of parts look alike.
pub fn name_based(parts: &[&[u8]]) -> Uuid {
    let mut digest = Digest::default();
    for part in parts {
        digest.part(part);
    }
    Uuid::new_v5(&IDS, &digest.finish())
}

/// A digest of parts, each hashed with its length.
#[derive(Default)]
pub(super) struct Digest(Sha256);

impl Digest {
    /// Adds a part.
    pub(super) fn part(&mut self, part: &[u8]) {
        let length = u64::try_from(part.len()).unwrap_or(u64::MAX);
        self.0.update(length.to_be_bytes());
        self.0.update(part);
    }

    /// Adds a part of a kind that has a mark.
    pub(super) fn marked(&mut self, mark: u8, part: &[u8]) {
        self.part(&[mark]);
        self.part(part);
    }

    /// Adds a part that may be missing, which is not the same as empty.
    pub(super) fn optional<P: AsRef<[u8]> + ?Sized>(&mut self, part: Option<&P>) {
        match part {
            Some(part) => self.marked(b'+', part.as_ref()),
            None => self.part(b"-"),
        }
    }

    /// The digest of all that was added.
    pub(super) fn finish(self) -> [u8; 32] {
        self.0.finalize().into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_depend_on_every_part_and_on_nothing_else() {
        let crm = Publisher::http("crm");
        let id = EventId::derived(&crm, "/a", "1");
        assert_eq!(id, EventId::derived(&crm, "/a", "1"));
        assert_ne!(id, EventId::derived(&Publisher::http("other"), "/a", "1"));
        assert_ne!(id, EventId::derived(&Publisher::source("crm"), "/a", "1"));
        assert_ne!(id, EventId::derived(&crm, "/b", "1"));
        assert_ne!(id, EventId::derived(&crm, "/a", "2"));
        assert_ne!(
            EventId::derived(&crm, "/ab", "c"),
            EventId::derived(&crm, "/a", "bc")
        );
        assert_ne!(
            EventId::from_key(&crm, "1"),
            EventId::derived(&crm, "Idempotency-Key", "1")
        );
    }

    #[test]
    fn the_way_ids_are_derived_is_fixed_for_ever() {
        let id = EventId::derived(&Publisher::amqp(None), "/shop", "42");
        assert_eq!(id.uuid().get_version_num(), 5);
        insta::assert_snapshot!(id, @"daf8afd9-529a-5a6b-8a72-ecdac0f02226");
    }
}
