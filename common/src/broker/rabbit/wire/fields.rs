//! AMQP's properties and field tables, read leniently: everything that a broker lets through can be read. Values that
//! are not text, nested too deeply or broken off are noted.

use std::borrow::Cow;

use super::notes::Notes;
use crate::broker::bounds::{self, DEEPEST, LONGEST_NAME, MAX_BYTES, cut};
use crate::event::header;
use crate::message::{HeaderValue, Headers, Message};

/// Bytes that are read from the front.
#[derive(Debug, Clone, Copy)]
pub(super) struct Reader<'b>(pub(super) &'b [u8]);

impl<'b> Reader<'b> {
    pub(super) fn take(&mut self, count: usize) -> Option<&'b [u8]> {
        let (taken, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(taken)
    }

    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        self.take(N)?.try_into().ok()
    }

    pub(super) fn u8(&mut self) -> Option<u8> {
        self.array().map(u8::from_be_bytes)
    }

    pub(super) fn u16(&mut self) -> Option<u16> {
        self.array().map(u16::from_be_bytes)
    }

    pub(super) fn u32(&mut self) -> Option<u32> {
        self.array().map(u32::from_be_bytes)
    }

    pub(super) fn u64(&mut self) -> Option<u64> {
        self.array().map(u64::from_be_bytes)
    }

    /// A short string.
    pub(super) fn short(&mut self) -> Option<&'b [u8]> {
        let length = self.u8()?;
        self.take(length.into())
    }

    /// A long string, or anything else behind a length of 32 bits.
    fn long(&mut self) -> Option<&'b [u8]> {
        let length = self.u32()?;
        self.take(usize::try_from(length).ok()?)
    }
}

/// A message without its body, from its properties as they came.
pub(super) fn read(properties: &[u8], notes: &mut Notes) -> Message {
    let mut message = Message::default();
    if fill(&mut message, Reader(properties), notes).is_none() {
        notes.expected(
            "properties that are not broken off",
            "properties",
            properties,
        );
    }
    // Where they came from, see `convert::to_amqp`.
    for (kept, property) in [
        (header::EXPIRATION, &mut message.expiration),
        (header::REPLY_TO, &mut message.reply_to),
    ] {
        if let Some(HeaderValue::Text(text)) = message.headers.take(kept) {
            property.get_or_insert(text);
        }
    }
    // A message that could not be published again is cut now, so that every reader sees the same
    // message.
    if let Ok(bytes) = bounds::size(&message)
        && bytes > MAX_BYTES
    {
        notes.add(&format!(
            "properties and headers: expected at most {MAX_BYTES} bytes, found {bytes}"
        ));
        message.headers.remove(header::DIGEST);
        if let Err(problem) = bounds::fit(&mut message, MAX_BYTES / 2) {
            notes.add(&problem);
        }
        if let Some(word) = message.headers.text(header::DIGEST) {
            notes.add(&format!("SHA-256 of what it said: {word}"));
        }
        if let Some(note) = message.headers.text(header::NOTE) {
            notes.add(note);
        }
    }
    message
}

/// Reads properties in their order; `None` where they break off.
fn fill(message: &mut Message, mut reader: Reader<'_>, notes: &mut Notes) -> Option<()> {
    let flags = reader.u16()?;
    let has = |place: u16| flags & (1 << (15 - place)) != 0;
    let mut text = |reader: &mut Reader<'_>, place, what| {
        if !has(place) {
            return Some(None);
        }
        let bytes = reader.short()?;
        Some(Some(short_text(what, bytes, notes).into_owned()))
    };
    message.content_type = text(&mut reader, 0, "content_type")?;
    message.content_encoding = text(&mut reader, 1, "content_encoding")?;
    if has(2) {
        message.headers = table(reader.long()?, 1, "headers", notes);
    }
    if has(3) {
        // The delivery mode: everything we publish is persistent.
        reader.u8()?;
    }
    if has(4) {
        message.priority = Some(reader.u8()?);
    }
    let mut text = |reader: &mut Reader<'_>, place, what| {
        if !has(place) {
            return Some(None);
        }
        let bytes = reader.short()?;
        Some(Some(short_text(what, bytes, notes).into_owned()))
    };
    message.correlation_id = text(&mut reader, 5, "correlation_id")?;
    message.reply_to = text(&mut reader, 6, "reply_to")?;
    message.expiration = text(&mut reader, 7, "expiration")?;
    message.message_id = text(&mut reader, 8, "message_id")?;
    if has(9) {
        message.timestamp = Some(reader.u64()?);
    }
    message.kind = text(&mut reader, 10, "type")?;
    message.user_id = text(&mut reader, 11, "user_id")?;
    message.app_id = text(&mut reader, 12, "app_id")?;
    message.cluster_id = text(&mut reader, 13, "cluster_id")?;
    Some(())
}

/// A short string as text that is a short string again: bytes that are not text become U+FFFD and are noted.
pub(super) fn short_text<'b>(what: &str, bytes: &'b [u8], notes: &mut Notes) -> Cow<'b, str> {
    match String::from_utf8_lossy(bytes) {
        Cow::Borrowed(text) => Cow::Borrowed(text),
        Cow::Owned(lossy) => {
            notes.expected("UTF-8", what, bytes);
            Cow::Owned(cut(&lossy, LONGEST_NAME).to_owned())
        }
    }
}

fn table(bytes: &[u8], depth: usize, place: &str, notes: &mut Notes) -> Headers {
    let mut reader = Reader(bytes);
    let mut headers = Headers::default();
    while !reader.0.is_empty() {
        let before = reader.0;
        let Some(name) = reader.short() else {
            notes.expected("a name", place, before);
            break;
        };
        let name = short_text("a header's name", name, notes);
        let Some(value) = value(&mut reader, depth, &name, notes) else {
            let what = format!("header {name:?}");
            notes.expected("a value of a type that AMQP has", &what, before);
            break;
        };
        headers.set(header::name(&name), value);
    }
    headers
}

/// The next value; `None` where it breaks off or is of an unknown type, so that nothing behind it can be read.
fn value(
    reader: &mut Reader<'_>,
    depth: usize,
    name: &str,
    notes: &mut Notes,
) -> Option<HeaderValue> {
    Some(match reader.u8()? {
        b'V' => HeaderValue::Null,
        b't' => HeaderValue::Bool(reader.u8()? != 0),
        b'b' => HeaderValue::Int8(i8::from_be_bytes(reader.array()?)),
        b'B' => HeaderValue::UInt8(reader.u8()?),
        // Two letters each: RabbitMQ and the specification differ, and mean the same.
        b's' | b'U' => HeaderValue::Int16(i16::from_be_bytes(reader.array()?)),
        b'u' => HeaderValue::UInt16(reader.u16()?),
        b'I' => HeaderValue::Int32(i32::from_be_bytes(reader.array()?)),
        b'i' => HeaderValue::UInt32(reader.u32()?),
        b'l' | b'L' => HeaderValue::Int(i64::from_be_bytes(reader.array()?)),
        b'f' => HeaderValue::Float32(f32::from_be_bytes(reader.array()?)),
        b'd' => HeaderValue::Float(f64::from_be_bytes(reader.array()?)),
        b'D' => HeaderValue::Decimal {
            scale: reader.u8()?,
            value: reader.u32()?,
        },
        b'T' => HeaderValue::Time(reader.u64()?),
        b'x' => HeaderValue::Bytes(reader.long()?.to_vec()),
        b'S' => {
            let bytes = reader.long()?;
            match std::str::from_utf8(bytes) {
                Ok(text) => HeaderValue::from(text),
                Err(_) => HeaderValue::RawText(bytes.to_vec()),
            }
        }
        kind @ (b'A' | b'F') => {
            let bytes = reader.long()?;
            if depth >= DEEPEST {
                notes.add(&format!(
                    "header {name:?}: expected values nested at most {DEEPEST} deep, found deeper ones"
                ));
                HeaderValue::Null
            } else if kind == b'F' {
                HeaderValue::Table(table(bytes, depth + 1, name, notes))
            } else {
                HeaderValue::List(list(bytes, depth + 1, name, notes))
            }
        }
        _ => return None,
    })
}

fn list(bytes: &[u8], depth: usize, name: &str, notes: &mut Notes) -> Vec<HeaderValue> {
    let mut reader = Reader(bytes);
    let mut values = Vec::new();
    while !reader.0.is_empty() {
        let before = reader.0;
        match value(&mut reader, depth, name, notes) {
            Some(value) => values.push(value),
            None => {
                let what = format!("a list in header {name:?}");
                notes.expected("a value of a type that AMQP has", &what, before);
                break;
            }
        }
    }
    values
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Properties whose only one is the headers with this content.
    fn headers(table: &[u8]) -> Vec<u8> {
        let length = u32::try_from(table.len()).unwrap();
        [&[0x20, 0][..], &length.to_be_bytes(), table].concat()
    }

    fn read_noting(properties: &[u8]) -> (Message, String) {
        let mut notes = Notes::default();
        let message = read(properties, &mut notes);
        (message, notes.finish().unwrap_or_default())
    }

    #[test]
    fn a_property_that_is_no_text_is_noted_with_its_bytes() {
        let (message, notes) = read_noting(&[0, 0x08, 1, 0xe9]);
        assert_eq!(message.app_id.as_deref(), Some("\u{fffd}"));
        assert_eq!(
            notes,
            "app_id: expected UTF-8, found the bytes 6Q== (base64)"
        );
    }

    #[test]
    fn what_is_no_text_is_short_enough_to_be_published_again() {
        let properties = [&[0, 0x80, 255][..], &[0xff; 255]].concat();
        let (message, notes) = read_noting(&properties);
        assert_eq!(message.message_id.map(|id| id.len()), Some(255));
        assert!(notes.starts_with("message_id: expected UTF-8"), "{notes}");
    }

    #[test]
    fn one_broken_header_costs_no_other_property() {
        let mut properties = headers(b"\x04good\x53\0\0\0\x01x\x03bad?\x01\x02");
        properties[1] |= 0x80;
        properties.extend(b"\x02id");
        let (message, notes) = read_noting(&properties);
        assert_eq!(message.headers.text("good"), Some("x"));
        assert_eq!(message.headers.len(), 1);
        assert_eq!(message.message_id.as_deref(), Some("id"));
        assert!(
            notes.contains("header \"bad\": expected a value"),
            "{notes}"
        );
    }

    #[test]
    fn deep_nesting_is_cut_where_it_could_not_be_published_again() {
        let mut value = vec![b'V'];
        for _ in 0..1000 {
            let length = u32::try_from(value.len()).unwrap().to_be_bytes();
            value = [&[b'A'][..], &length, &value].concat();
        }
        let (mut message, notes) = read_noting(&headers(&[b"\x04deep", &value[..]].concat()));
        assert!(notes.contains("nested at most 32 deep"), "{notes}");
        assert_eq!(bounds::fit(&mut message, MAX_BYTES), Ok(()));
    }

    #[test]
    fn headers_that_fit_no_frame_are_left_out_with_a_note() {
        let length = 131_014_u32.to_be_bytes();
        let table = [
            &b"\x03bigS"[..],
            &length,
            &[b'x'; 131_014],
            b"\x05smallt\x01",
        ]
        .concat();
        let (message, notes) = read_noting(&headers(&table));
        assert_eq!(message.headers.get("big"), None);
        assert_eq!(message.headers.get("small"), Some(&HeaderValue::Bool(true)));
        assert!(notes.contains("expected at most 100000 bytes"), "{notes}");
        assert!(notes.contains("\"big\" (131023 bytes)"), "{notes}");
    }

    #[test]
    fn long_lists_of_faults_stay_short() {
        let names: Vec<u8> = (0..=255).flat_map(|one| [2, 0xff, one, b'V']).collect();
        let (_, notes) = read_noting(&headers(&names));
        assert!(notes.len() < 2200, "{}", notes.len());
        assert!(notes.ends_with(" more"), "{notes}");
    }

    proptest! {
        #[test]
        fn any_bytes_can_be_read_and_published_again(
            properties in prop::collection::vec(any::<u8>(), 0..400),
        ) {
            let (mut message, _) = read_noting(&properties);
            prop_assert_eq!(bounds::fit(&mut message, MAX_BYTES), Ok(()));
        }

        #[test]
        fn any_table_can_be_read_and_published_again(
            entries in prop::collection::vec(
                (prop::collection::vec(any::<u8>(), 0..4), "[VtbBsuIilfdDTxSAF]", prop::collection::vec(any::<u8>(), 0..12)),
                0..6,
            ),
        ) {
            let mut bytes = Vec::new();
            for (name, kind, content) in entries {
                bytes.push(u8::try_from(name.len()).unwrap());
                bytes.extend(name);
                bytes.extend(kind.as_bytes());
                if matches!(&*kind, "x" | "S" | "A" | "F") {
                    bytes.extend(u32::try_from(content.len()).unwrap().to_be_bytes());
                }
                bytes.extend(content);
            }
            let (mut message, _) = read_noting(&headers(&bytes));
            prop_assert_eq!(bounds::fit(&mut message, MAX_BYTES), Ok(()));
        }
    }
}
