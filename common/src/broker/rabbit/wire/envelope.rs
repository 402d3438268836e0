//! The filter's text in front of a body, and its reader: routing key and properties as they came.

use bytes::Bytes;
use sha2::{Digest as _, Sha256};

use super::fields::{self, Reader, short_text};
use super::notes::Notes;
use crate::message::{Damage, Message};
use crate::reason::ReasonCode;

/// How many bytes of a body that is too large are kept.
pub(super) const HEAD: usize = 4096;
/// How many bytes its SHA-256 has, which stands behind them.
pub(super) const DIGEST: usize = 32;

/// A delivery on its way to the library.
#[derive(Debug, Clone, Copy)]
pub(in crate::broker::rabbit) struct Envelope<'b> {
    pub(in crate::broker::rabbit) routing_key: &'b [u8],
    /// The size of the body, as it was published.
    pub(in crate::broker::rabbit) body_size: u64,
    /// How large the body may be; zero where it is not larger and comes whole.
    pub(in crate::broker::rabbit) limit: u64,
    /// Flags and properties.
    pub(in crate::broker::rabbit) properties: &'b [u8],
}

impl Envelope<'_> {
    /// The bytes in front of the body. `None` if they are larger than four gigabytes.
    pub(in crate::broker::rabbit) fn seal(&self) -> Option<Vec<u8>> {
        let key = u8::try_from(self.routing_key.len()).ok()?;
        let length = 4 + 8 + 8 + 1 + self.routing_key.len() + self.properties.len();
        let mut bytes = Vec::with_capacity(length);
        bytes.extend(u32::try_from(length).ok()?.to_be_bytes());
        bytes.extend(self.body_size.to_be_bytes());
        bytes.extend(self.limit.to_be_bytes());
        bytes.push(key);
        bytes.extend(self.routing_key);
        bytes.extend(self.properties);
        Some(bytes)
    }
}

/// A message as the library delivered it: `data` is an envelope and its body. `None` where it is not.
pub(in crate::broker::rabbit) fn open(data: Vec<u8>) -> Option<(String, Message)> {
    let data = Bytes::from(data);
    let mut reader = Reader(&data);
    let length = usize::try_from(reader.u32()?).ok()?;
    let mut reader = Reader(data.get(4..length)?);
    let (body_size, limit) = (reader.u64()?, reader.u64()?);
    let mut notes = Notes::default();
    let routing_key = short_text("routing key", reader.short()?, &mut notes).into_owned();
    let mut message = fields::read(reader.0, &mut notes);
    let body = data.slice(length..);
    if limit == 0 {
        message.body = body;
        message.damage = notes.finish().map(|detail| {
            Box::new(Damage {
                code: ReasonCode::Undecodable,
                detail,
                body: None,
            })
        });
        return Some((routing_key, message));
    }
    let digest = body.slice(body.len().checked_sub(DIGEST)?..);
    // A copy, so that nothing larger is held on to.
    message.body = Bytes::copy_from_slice(&body[..body.len() - DIGEST]);
    let hash: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
    notes.add(&format!(
        "expected a body of at most {limit} bytes, found {body_size}; only its first {} bytes are kept; \
         SHA-256 of the whole: {hash}",
        message.body.len(),
    ));
    message.damage = notes.finish().map(|detail| {
        Box::new(Damage {
            code: ReasonCode::TooLarge,
            detail,
            body: Some(format!("{body_size} bytes, sha256 {hash}")),
        })
    });
    Some((routing_key, message))
}

/// The end of a body that is too large: its hash.
pub(super) fn finish(hash: Sha256) -> [u8; DIGEST] {
    hash.finalize().into()
}
