//! Texts that stand for other bytes: UTF-16, base64, hexadecimal, percent-encoded or compressed. Each is
//! decoded to be searched, and encoded again as it was.

use std::borrow::Cow;
use std::io::{Read, Write as _};

use base64::Engine as _;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use flate2::Compression;
use flate2::read::{DeflateDecoder, GzDecoder, ZlibDecoder};
use flate2::write::{DeflateEncoder, GzEncoder, ZlibEncoder};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode, percent_encode};

/// Minimum length of a text that is tried as base64 or hexadecimal, in bytes.
const MIN_CODED: usize = 16;
/// Maximum size of unpacked data, in bytes.
const MAX_UNPACKED: u64 = 4 * 1024 * 1024;

const ANY_PADDING: GeneralPurposeConfig = GeneralPurposeConfig::new()
    .with_decode_padding_mode(DecodePaddingMode::Indifferent)
    .with_decode_allow_trailing_bits(true);
const UNPADDED: GeneralPurposeConfig = ANY_PADDING.with_encode_padding(false);

/// The characters that are escaped in a value of a form; the mask stays readable.
const ESCAPED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'*');

/// How a unit of UTF-16 is read and written, in either order of its bytes.
type ReadUnit = fn([u8; 2]) -> u16;
type WriteUnit = fn(u16) -> [u8; 2];

/// How something was packed.
#[derive(Debug, Clone, Copy)]
enum Packing {
    Gzip,
    Zlib,
    Deflate,
}

/// A coded text whose decoded form was masked by `mask`. `None` if it is not coded, or if there is nothing to mask.
pub(super) fn masked<'t>(
    text: &'t [u8],
    mask: impl for<'d> Fn(&'d [u8]) -> Cow<'d, [u8]>,
) -> Option<Vec<u8>> {
    masked_hex(text, &mask).or_else(|| masked_base64(text, &mask))
}

fn masked_hex(text: &[u8], mask: &impl for<'d> Fn(&'d [u8]) -> Cow<'d, [u8]>) -> Option<Vec<u8>> {
    if text.len() < MIN_CODED || !text.len().is_multiple_of(2) {
        return None;
    }
    let digit = |byte: u8| char::from(byte).to_digit(16);
    let bytes: Option<Vec<u8>> = text
        .chunks_exact(2)
        .map(|pair| u8::try_from(digit(pair[0])? * 16 + digit(pair[1])?).ok())
        .collect();
    let bytes = bytes?;
    let Cow::Owned(masked) = mask(&bytes) else {
        return None;
    };
    let digits = masked.iter().flat_map(|byte| [byte >> 4, byte & 15]);
    let digits = digits.map(|digit| b"0123456789abcdef"[usize::from(digit)]);
    Some(digits.collect())
}

fn masked_base64(
    text: &[u8],
    mask: &impl for<'d> Fn(&'d [u8]) -> Cow<'d, [u8]>,
) -> Option<Vec<u8>> {
    let text: Vec<u8> = text
        .iter()
        .copied()
        .filter(|byte| !byte.is_ascii_whitespace())
        .collect();
    if text.len() < MIN_CODED {
        return None;
    }
    let config = if text.ends_with(b"=") {
        ANY_PADDING
    } else {
        UNPADDED
    };
    let is_url_safe = text.iter().any(|byte| b"-_".contains(byte));
    let alphabet = if is_url_safe {
        &alphabet::URL_SAFE
    } else {
        &alphabet::STANDARD
    };
    let engine = GeneralPurpose::new(alphabet, config);
    let bytes = engine.decode(&text).ok()?;
    match mask(&bytes) {
        Cow::Owned(masked) => Some(engine.encode(masked).into_bytes()),
        Cow::Borrowed(_) => None,
    }
}

/// The same of a value of a form.
pub(super) fn masked_percent(
    text: &[u8],
    mask: impl for<'d> Fn(&'d [u8]) -> Cow<'d, [u8]>,
) -> Option<Vec<u8>> {
    if !text.contains(&b'%') {
        return None;
    }
    let bytes: Vec<u8> = percent_decode(text).collect();
    match mask(&bytes) {
        Cow::Owned(masked) => Some(percent_encode(&masked, ESCAPED).to_string().into_bytes()),
        Cow::Borrowed(_) => None,
    }
}

/// A compressed text whose unpacked form was masked. Data that unpacks to too much cannot be searched: then all of it
/// is masked.
pub(super) fn masked_packed(
    text: &[u8],
    mask: impl for<'d> Fn(&'d [u8]) -> Cow<'d, [u8]>,
) -> Option<Vec<u8>> {
    let packing = match text {
        [0x1f, 0x8b, ..] => Packing::Gzip,
        [0x78, 0x01 | 0x5e | 0x9c | 0xda, ..] => Packing::Zlib,
        _ if is_binary(text) => Packing::Deflate,
        _ => return None,
    };
    let unpacked = packing.unpack(text)?;
    if unpacked.len() as u64 > MAX_UNPACKED {
        return Some(super::MASK.into());
    }
    match mask(&unpacked) {
        Cow::Owned(masked) => packing.pack(&masked),
        Cow::Borrowed(_) => None,
    }
}

/// Whether these bytes are not a text of any kind.
pub(super) fn is_binary(text: &[u8]) -> bool {
    let is_control = |byte: &u8| byte.is_ascii_control() && !byte.is_ascii_whitespace();
    text.iter().any(is_control) || std::str::from_utf8(text).is_err()
}

impl Packing {
    /// As far as possible: cut data still shows its beginning.
    fn unpack(self, packed: &[u8]) -> Option<Vec<u8>> {
        let mut unpacked = Vec::new();
        let read = match self {
            Self::Gzip => read(GzDecoder::new(packed), &mut unpacked),
            Self::Zlib => read(ZlibDecoder::new(packed), &mut unpacked),
            // Any bytes may begin like this, so all of them must be it.
            Self::Deflate => {
                return read(DeflateDecoder::new(packed), &mut unpacked).then_some(unpacked);
            }
        };
        (read || !unpacked.is_empty()).then_some(unpacked)
    }

    fn pack(self, bytes: &[u8]) -> Option<Vec<u8>> {
        let level = Compression::default();
        match self {
            Self::Gzip => {
                let mut packer = GzEncoder::new(Vec::new(), level);
                packer.write_all(bytes).ok()?;
                packer.finish().ok()
            }
            Self::Zlib => {
                let mut packer = ZlibEncoder::new(Vec::new(), level);
                packer.write_all(bytes).ok()?;
                packer.finish().ok()
            }
            Self::Deflate => {
                let mut packer = DeflateEncoder::new(Vec::new(), level);
                packer.write_all(bytes).ok()?;
                packer.finish().ok()
            }
        }
    }
}

/// Reads up to a little more than the maximum; whether it came to a good end.
fn read(unpacker: impl Read, into: &mut Vec<u8>) -> bool {
    unpacker.take(MAX_UNPACKED + 1).read_to_end(into).is_ok()
}

/// UTF-16 of either order, recognised by its mark or by the zeros between ASCII letters: the text as UTF-8, and the way
/// to write it again.
pub(super) fn utf16(text: &[u8]) -> Option<(String, WriteUnit)> {
    let (read, write): (ReadUnit, WriteUnit) = match text {
        [0xff, 0xfe, ..] | [1..=255, 0, 1..=255, 0, ..] => (u16::from_le_bytes, u16::to_le_bytes),
        [0xfe, 0xff, ..] | [0, 1..=255, 0, 1..=255, ..] => (u16::from_be_bytes, u16::to_be_bytes),
        _ => return None,
    };
    let units = text.chunks_exact(2).map(|pair| read([pair[0], pair[1]]));
    let letters = char::decode_utf16(units);
    let decoded = letters.map(|letter| letter.unwrap_or(char::REPLACEMENT_CHARACTER));
    Some((decoded.collect(), write))
}

/// Whether it is UTF-32, by its mark or by the zeros beside its first letter.
pub(super) fn is_utf32(text: &[u8]) -> bool {
    matches!(
        text,
        [0xff, 0xfe, 0, 0, ..]
            | [0, 0, 0xfe, 0xff, ..]
            | [_, 0, 0, 0, _, 0, 0, 0, ..]
            | [0, 0, 0, _, 0, 0, 0, ..]
    )
}
