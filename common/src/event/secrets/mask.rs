//! Masking secrets in bytes of any kind: JSON, broken or cut JSON, forms, YAML, XML, header lines, and any of them
//! inside a JSON text, in base64 or compressed.
//!
//! One scan without a grammar ([`scan`]): wherever a name stands before a value, and the name is that of a
//! secret, the value is replaced. Everything else stays as it is, to the byte.

mod quoted;
mod scan;

use std::borrow::Cow;
use std::cell::Cell;

use self::scan::Scan;
use super::coded;
use super::{MASK, names};

/// Maximum depth of texts inside texts that are searched.
const MAX_LAYERS: usize = 8;
/// Maximum number of scans over a text in which there are secrets.
const MAX_SCANS: usize = 16;

/// The findings of a search.
#[derive(Default)]
struct Found {
    /// The name of a secret before a value, masked already or not.
    name: Cell<bool>,
    /// A mask in the place of a secret.
    mask: Cell<bool>,
}

/// Masks every secret in `text`. A text without secrets is returned unchanged. Masking again changes nothing. Where
/// quotes and brackets do not match, a mask changes the reading of the rest, so the text is scanned until nothing more
/// is found.
pub fn mask(text: &[u8]) -> Cow<'_, [u8]> {
    let found = Found::default();
    let mut masked = mask_layer(text, 0, &found);
    for _ in 1..MAX_SCANS {
        match mask_layer(&masked, 0, &found) {
            Cow::Owned(again) if again != *masked => masked = Cow::Owned(again),
            _ => break,
        }
    }
    masked
}

/// Whether `text` has a mask in the place of a secret: then it is the stored copy of a refused message.
pub fn holds_mask(text: &[u8]) -> bool {
    let found = Found::default();
    let _ = mask_layer(text, 0, &found);
    found.mask.get()
}

fn mask_layer<'t>(text: &'t [u8], layer: usize, found: &Found) -> Cow<'t, [u8]> {
    if layer > MAX_LAYERS {
        return mask_unsearched(text);
    }
    // Between its zeros every name looks like a value.
    if coded::is_utf32(text) {
        return mask_unsearched(text);
    }
    if let Some((decoded, write)) = coded::utf16(text)
        && let Some(masked) = Scan::new(decoded.as_bytes(), layer, found).run()
    {
        let masked = String::from_utf8_lossy(&masked);
        return Cow::Owned(masked.encode_utf16().flat_map(write).collect());
    }
    if let Some(masked) = coded::masked_packed(text, |text| mask_layer(text, layer + 1, found)) {
        return Cow::Owned(masked);
    }
    let named_before = found.name.replace(false);
    let masked = Scan::new(text, layer, found).run();
    let named = found.name.get();
    found.name.set(named || named_before);
    match masked.or_else(|| coded::masked(text, |text| mask_layer(text, layer + 1, found))) {
        Some(masked) => Cow::Owned(masked),
        // Packed numbers and texts, say: nobody but its publisher knows where the value stands.
        None if !named && coded::is_binary(text) => mask_unsearched(text),
        None => Cow::Borrowed(text),
    }
}

/// Masks the whole of an unsearched text, if the name of a secret is in it.
fn mask_unsearched(text: &[u8]) -> Cow<'_, [u8]> {
    if names::names_one(text) {
        Cow::Owned(MASK.into())
    } else {
        Cow::Borrowed(text)
    }
}

#[cfg(test)]
mod tests;
