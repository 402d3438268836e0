//! Sealing: a text that travels with an event although only one stage may read it. Everybody on the
//! way carries it, the history and dead letters keep it, and nobody but a holder of the key opens it.
//!
//! AES-256-GCM under a key made by HKDF-SHA256 from a secret, bound to the event: a sealed text beside another event
//! does not open. The form is `v1.KEY.BASE64`, where `KEY` names the key without revealing it.

mod keys;

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64;
use ring::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use ring::hkdf::{HKDF_SHA256, KeyType, Salt};
use ring::rand::{SecureRandom as _, SystemRandom};

use crate::config::Secret;
use crate::event::EventId;
use crate::reason::ReasonCode;

/// The prefix of a sealed text; another way of sealing would have another one.
const VERSION: &str = "v1";

/// The purpose of keys: the same secret makes other keys for another one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// Values that travel with an event.
    Event,
    /// Links that confirm signups.
    Link,
}

impl Purpose {
    fn salt(self) -> &'static [u8] {
        match self {
            Self::Event => b"longshore seal v1",
            Self::Link => b"longshore link v1",
        }
    }
}

/// Seals with its first key, opens with any. Cheap to clone.
#[derive(Clone)]
pub struct Seal(Arc<[Key]>);

struct Key {
    name: String,
    key: LessSafeKey,
}

/// A text could not be sealed: the system has no randomness or no such key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the text could not be sealed: the system gave no randomness")]
pub struct Unsealable;

/// Why a sealed text does not open.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unopened {
    /// It was sealed with a key that is not here.
    #[error(
        "it is sealed with key {key}, and this program has {}: add that secret to `secrets.seal` here, or \
         give all programs the same `secrets.seal`",
        known.join(", ")
    )]
    NoKey {
        /// The name of the key.
        key: String,
        /// The names of those that are here.
        known: Vec<String>,
    },
    /// It is damaged, or belongs to another event.
    #[error(
        "it does not open with the key that it names: it is damaged, or belongs to another event"
    )]
    Broken,
}

impl Unopened {
    /// The reason code of an event that cannot go on because of it.
    pub fn code(&self) -> ReasonCode {
        match self {
            Self::NoKey { .. } => ReasonCode::SealKeyMissing,
            Self::Broken => ReasonCode::SealBroken,
        }
    }
}

impl Seal {
    /// Seals with the first of these secrets and opens with any. Without one, nothing is sealed or opened.
    pub fn new<S: AsRef<[u8]>>(secrets: impl IntoIterator<Item = S>) -> Self {
        Self::of_purpose(Purpose::Event, secrets)
    }

    pub(crate) fn of_purpose<S: AsRef<[u8]>>(
        purpose: Purpose,
        secrets: impl IntoIterator<Item = S>,
    ) -> Self {
        let keys = secrets.into_iter();
        let keys = keys.filter_map(|secret| Key::new(purpose, secret.as_ref()));
        Self(keys.collect())
    }

    /// Seals `text` for `event`.
    ///
    /// # Errors
    /// The system gives no randomness.
    pub fn seal(&self, event: EventId, text: &str) -> Result<String, Unsealable> {
        let Key { name, key } = self.0.first().ok_or(Unsealable)?;
        let mut nonce = [0; NONCE_LEN];
        SystemRandom::new()
            .fill(&mut nonce)
            .map_err(|_| Unsealable)?;
        let mut sealed = nonce.to_vec();
        let mut content = text.as_bytes().to_vec();
        let nonce = Nonce::assume_unique_for_key(nonce);
        key.seal_in_place_append_tag(nonce, bound(event), &mut content)
            .map_err(|_| Unsealable)?;
        sealed.append(&mut content);
        Ok(format!("{VERSION}.{name}.{}", BASE64.encode(sealed)))
    }

    /// Opens a text that was sealed for `event`.
    ///
    /// # Errors
    /// The key is missing, or the text was not sealed for this event.
    pub fn open(&self, event: EventId, sealed: &str) -> Result<Secret, Unopened> {
        let mut parts = sealed.splitn(3, '.');
        let (Some(VERSION), Some(name), Some(content)) = (parts.next(), parts.next(), parts.next())
        else {
            return Err(Unopened::Broken);
        };
        let named = self.0.iter().filter(|key| key.name == name);
        let mut opened = named.map(|key| key.open(event, content)).peekable();
        if opened.peek().is_none() {
            return Err(Unopened::NoKey {
                key: name.chars().take(16).collect(),
                known: self.0.iter().map(|key| key.name.clone()).collect(),
            });
        }
        opened.flatten().next().ok_or(Unopened::Broken)
    }
}

impl Key {
    fn new(purpose: Purpose, secret: &[u8]) -> Option<Self> {
        let made = Salt::new(HKDF_SHA256, purpose.salt()).extract(secret);
        let key = made.expand(&[b"key"], &AES_256_GCM).ok()?;
        let mut name = [0; Name::BYTES];
        made.expand(&[b"name"], Name).ok()?.fill(&mut name).ok()?;
        Some(Self {
            name: name.iter().map(|byte| format!("{byte:02x}")).collect(),
            key: LessSafeKey::new(UnboundKey::from(key)),
        })
    }

    fn open(&self, event: EventId, content: &str) -> Option<Secret> {
        let mut content = BASE64.decode(content).ok()?;
        let (nonce, sealed) = content.split_at_mut_checked(NONCE_LEN)?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).ok()?;
        let text = self.key.open_in_place(nonce, bound(event), sealed).ok()?;
        std::str::from_utf8(text).ok().map(Secret::new)
    }
}

/// The binding of a sealed text to its event.
fn bound(event: EventId) -> Aad<[u8; 16]> {
    Aad::from(event.uuid().into_bytes())
}

/// The length of a key's name, for the derivation.
#[derive(Debug, Clone, Copy)]
struct Name;

impl Name {
    const BYTES: usize = 4;
}

impl KeyType for Name {
    fn len(&self) -> usize {
        Self::BYTES
    }
}

impl std::fmt::Debug for Seal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list()
            .entries(self.0.iter().map(|key| &key.name))
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const HASH: &str = "$argon2id$v=19$m=19456,t=2,p=1$c2FsdA$aGFzaA";

    proptest! {
        #[test]
        fn what_is_sealed_opens_again_and_tells_nothing(text in ".{0,200}") {
            let (seal, event) = (Seal::new(["one", "two"]), EventId::born());
            let sealed = seal.seal(event, &text).unwrap();
            prop_assert!(sealed.is_ascii());
            prop_assert!(text.len() < 8 || !sealed.contains(&text));
            let opened = seal.open(event, &sealed).unwrap();
            prop_assert_eq!(opened.expose(), text);
        }

        #[test]
        fn no_text_makes_it_panic(text in "\\PC{0,60}", tail in "[A-Za-z0-9_-]{0,60}") {
            let seal = Seal::new(["one"]);
            prop_assert!(seal.open(EventId::born(), &text).is_err());
            let name = &seal.0[0].name;
            let forged = format!("v1.{name}.{tail}");
            prop_assert_eq!(seal.open(EventId::born(), &forged).err(), Some(Unopened::Broken));
        }
    }

    #[test]
    fn the_same_text_is_never_sealed_alike() {
        let (seal, event) = (Seal::new(["one"]), EventId::born());
        assert_ne!(seal.seal(event, HASH), seal.seal(event, HASH));
    }

    #[test]
    fn it_does_not_open_beside_another_event() {
        let seal = Seal::new(["one"]);
        let sealed = seal.seal(EventId::born(), HASH).unwrap();
        let moved = seal.open(EventId::born(), &sealed).err();
        assert_eq!(moved, Some(Unopened::Broken));
        assert_eq!(Unopened::Broken.code(), ReasonCode::SealBroken);
    }

    #[test]
    fn a_new_key_seals_and_the_old_ones_still_open() {
        let event = EventId::born();
        let old = Seal::new(["old"]).seal(event, HASH).unwrap();
        let rotated = Seal::new(["new", "old"]);
        assert_eq!(rotated.open(event, &old).unwrap().expose(), HASH);
        let new = rotated.seal(event, HASH).unwrap();
        assert!(Seal::new(["new"]).open(event, &new).is_ok());
    }

    #[test]
    fn a_key_that_is_not_here_is_named_and_its_secret_is_not() {
        let event = EventId::born();
        let there = Seal::new(["a secret that nobody shall see"]);
        let sealed = there.seal(event, HASH).unwrap();
        let error = Seal::new(["another"]).open(event, &sealed).unwrap_err();
        assert_eq!(error.code(), ReasonCode::SealKeyMissing);
        let text = error.to_string();
        assert!(
            text.contains(&there.0[0].name) && text.contains("secrets.seal"),
            "{text}"
        );
        assert!(!format!("{text} {there:?}").contains("nobody"), "{there:?}");
    }
}
