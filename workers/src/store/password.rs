//! The password hash of a signup: opened here, for the table `signups` and nothing else.

use std::borrow::Cow;

use common::event::{CloudEvent, EventId, PasswordHash, header, take_password_hash};
use common::message::Message;
use common::outcome::Failure;
use common::seal::Seal;
use secrecy::ExposeSecret as _;

/// The hash of an event, and its canonical form without it. A hash in the data was put there by a program of an earlier
/// version, or by an operator who mended the event: it counts.
///
/// # Errors
/// It is sealed and does not open: a dead letter, which can be replayed once the key is there.
pub(super) fn open<'m>(
    message: &'m Message,
    id: EventId,
    event: &mut CloudEvent,
    seal: &Seal,
) -> Result<(Option<String>, Cow<'m, [u8]>), Failure> {
    let body = &message.body[..];
    let sealed = match take_password_hash(event) {
        PasswordHash::Unsaid => message.headers.text(header::SEALED_PASSWORD_HASH),
        said => {
            let hash = match said {
                PasswordHash::Given(hash) => Some(hash.expose_secret().to_owned()),
                _ => None,
            };
            // A value that was read a moment ago can be written.
            return Ok((hash, serde_json::to_vec(event).unwrap_or_default().into()));
        }
    };
    let hash = sealed.map(|sealed| seal.open(id, sealed)).transpose();
    let hash = hash.map_err(|error| {
        Failure::new(
            error.code(),
            format!("the password hash of the signup: {error}"),
        )
    })?;
    Ok((hash.map(|hash| hash.expose().to_owned()), body.into()))
}
