//! Keys: what callers show at the door, and operators to the commands.
//!
//! A key is `lsk_`, an id of 8 characters, a secret of 30 and a checksum of 6, all base62. This is the form of
//! [GitHub's tokens](https://github.blog/2021-04-05-behind-githubs-new-authentication-token-formats/): a scanner for leaked
//! secrets knows the prefix, and can tell keys from other texts by the checksum (CRC-32 of everything before it), without
//! asking anybody. The secret has 178 bits of randomness, so a plain SHA-256 keeps it well, and no slow hash is needed.
//!
//! The whole key is shown once, when it is made. Only its hash is kept. The id is public: it stands in lists and logs.

mod known;
mod scope;

use std::fmt;
use std::hash::{Hash, Hasher};
use std::str::FromStr;

use ring::rand::{SecureRandom as _, SystemRandom};
use secrecy::zeroize::Zeroizing;
use secrecy::{ExposeSecret as _, SecretString};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;

pub use known::{ANONYMOUS, KeyName, KnownKey};
pub use scope::{Scope, Scopes};

/// The prefix of every key.
pub const PREFIX: &str = "lsk_";

const ID: usize = 8;
const SECRET: usize = 30;
const CHECKSUM: usize = 6;
const LENGTH: usize = PREFIX.len() + ID + SECRET + CHECKSUM;

/// The digits of base62, in the order of their values.
const DIGITS: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

/// Random bytes from here on are thrown away, so that every digit is equally likely.
const FAIR: u8 = u8::MAX - u8::MAX % 62;

/// A whole key. It never shows in logs, errors or debug output.
#[derive(Clone)]
pub struct Key(SecretString);

/// The public part of a key: 8 base62 characters.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct KeyId(String);

/// What is kept of a key: the SHA-256 of its text, written in hex.
#[derive(Clone, Copy, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct KeyHash([u8; 32]);

/// Why a text is not a key. The text itself is never repeated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NoKey {
    /// It begins otherwise.
    #[error("expected a key, which begins with `{PREFIX}`, found another text")]
    Prefix,
    /// It is cut off, or something is attached to it.
    #[error("expected a key of {LENGTH} characters, found {0}")]
    Length(usize),
    /// It has other characters.
    #[error("expected a key of letters and digits behind `{PREFIX}`, found another character")]
    Character,
    /// A character is wrong.
    #[error(
        "expected a key whose last {CHECKSUM} characters are its checksum, found a mistyped or invented one"
    )]
    Checksum,
}

/// The system gave no randomness.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("no key could be made: the system gave no randomness")]
pub struct NoRandomness;

impl Key {
    /// A new key.
    ///
    /// # Errors
    /// The system gives no randomness.
    pub fn generate() -> Result<Self, NoRandomness> {
        let mut text = Zeroizing::new(String::with_capacity(LENGTH));
        text.push_str(PREFIX);
        push_random(&mut text, ID + SECRET)?;
        let checksum = checksum(&text);
        text.extend(checksum.iter().map(|&digit| char::from(digit)));
        Ok(Self(SecretString::from(text.as_str())))
    }

    /// Reads a key.
    ///
    /// # Errors
    /// The text is not a key: its form or its checksum is wrong.
    pub fn parse(text: &str) -> Result<Self, NoKey> {
        let digits = text.strip_prefix(PREFIX).ok_or(NoKey::Prefix)?;
        if !digits.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
            return Err(NoKey::Character);
        }
        if text.len() != LENGTH {
            return Err(NoKey::Length(text.len()));
        }
        let (body, given) = text.split_at(LENGTH - CHECKSUM);
        if checksum(body) != given.as_bytes() {
            return Err(NoKey::Checksum);
        }
        Ok(Self(SecretString::from(text)))
    }

    /// Its public part.
    pub fn id(&self) -> KeyId {
        KeyId(self.expose()[PREFIX.len()..PREFIX.len() + ID].to_owned())
    }

    /// What is kept of it.
    pub fn hash(&self) -> KeyHash {
        KeyHash(Sha256::digest(self.expose().as_bytes()).into())
    }

    /// The key itself. Let it go nowhere that is written down.
    pub fn expose(&self) -> &str {
        self.0.expose_secret()
    }
}

/// Appends random digits.
fn push_random(text: &mut String, digits: usize) -> Result<(), NoRandomness> {
    let random = SystemRandom::new();
    let end = text.len() + digits;
    while text.len() < end {
        let mut bytes = Zeroizing::new([0_u8; 64]);
        random.fill(&mut *bytes).map_err(|_| NoRandomness)?;
        let fair = bytes.iter().filter(|&&byte| byte < FAIR);
        let missing = end - text.len();
        text.extend(
            fair.take(missing)
                .map(|&byte| char::from(digit(u32::from(byte)))),
        );
    }
    Ok(())
}

/// The CRC-32 of a text in base62, the highest digit first.
fn checksum(text: &str) -> [u8; CHECKSUM] {
    let mut rest = crc32fast::hash(text.as_bytes());
    let mut digits = [0; CHECKSUM];
    for place in digits.iter_mut().rev() {
        *place = digit(rest);
        rest /= 62;
    }
    digits
}

/// The lowest base62 digit of a number.
fn digit(number: u32) -> u8 {
    DIGITS[(number % 62) as usize]
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Key({}…)", self.id())
    }
}

impl KeyId {
    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for KeyId {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text.len() == ID && text.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
            return Ok(Self(text.to_owned()));
        }
        // The text may be a whole key.
        Err(format!(
            "expected the id of a key, the {ID} characters behind `{PREFIX}`, found another text"
        ))
    }
}

impl TryFrom<String> for KeyId {
    type Error = String;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<KeyId> for String {
    fn from(id: KeyId) -> Self {
        id.0
    }
}

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl KeyHash {
    /// Its bytes, as the database keeps them.
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl From<[u8; 32]> for KeyHash {
    fn from(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }
}

impl TryFrom<&[u8]> for KeyHash {
    type Error = std::array::TryFromSliceError;

    fn try_from(bytes: &[u8]) -> Result<Self, Self::Error> {
        bytes.try_into().map(Self)
    }
}

/// In constant time.
impl PartialEq for KeyHash {
    fn eq(&self, other: &Self) -> bool {
        self.0.ct_eq(&other.0).into()
    }
}

impl Eq for KeyHash {}

impl Hash for KeyHash {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.hash(state);
    }
}

impl FromStr for KeyHash {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let wrong = || "expected a SHA-256 in hex (64 digits), found another text".to_owned();
        let mut bytes = [0; 32];
        if text.len() != 2 * bytes.len() || !text.is_ascii() {
            return Err(wrong());
        }
        for (byte, at) in bytes.iter_mut().zip((0..).step_by(2)) {
            *byte = u8::from_str_radix(&text[at..at + 2], 16).map_err(|_| wrong())?;
        }
        Ok(Self(bytes))
    }
}

impl TryFrom<String> for KeyHash {
    type Error = String;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<KeyHash> for String {
    fn from(hash: KeyHash) -> Self {
        hash.to_string()
    }
}

impl fmt::Display for KeyHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for KeyHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KeyHash({self})")
    }
}

#[cfg(test)]
mod tests;
