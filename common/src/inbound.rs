//! Signed inbound webhooks: who sent a request, and what it says.
//!
//! A [`Scheme`] is data: where a provider puts its signature, what it signs, and where the id, the type and the time of its
//! events stand. `inbound/schemes.toml` has the schemes that have a name. A configuration may spell out another in the
//! same words.
//!
//! ```text
//! WebhookRequest ─> Verifier::verify ─> Verified ─> handshake | notice
//! ```
//!
//! Nothing of the body is read before its signature is verified over the raw bytes. Only a [`Verified`] request has an id or
//! a type.

mod encoding;
mod key;
mod place;
mod request;
mod scheme;
mod signed;
mod template;
mod verified;
mod verifier;

pub use encoding::Encoding;
pub use key::{KeyForm, MacDigest};
pub use place::Place;
pub use request::WebhookRequest;
pub use scheme::{Handshake, Scheme, UnknownScheme};
pub use signed::SignedText;
pub use template::TypeTemplate;
pub use verified::{Notice, Verified};
pub use verifier::{DEFAULT_TOLERANCE, InvalidVerifier, Unverified, Verifier};

#[cfg(test)]
mod tests;
