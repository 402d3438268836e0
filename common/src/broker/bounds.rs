//! The bounds of a message: those of AMQP, for every engine.

use crate::event::{header, message_word};
pub(super) use crate::message::belongs_to_broker;
use crate::message::{HeaderValue, Message};
use crate::outcome::FieldError;

/// Maximum bytes of properties and headers together, unless a lower bound is set. It leaves room in RabbitMQ's default
/// frame of 128 KiB for the broker's additions.
pub(crate) const MAX_BYTES: usize = 100_000;

/// How deep headers may be nested. Deeper ones are somebody's attempt on our stack.
pub(super) const DEEPEST: usize = 32;

/// The most bytes of a name: AMQP's short string.
pub(super) const LONGEST_NAME: usize = 255;

/// Maximum bytes of the sentence about omissions.
const LONGEST_NOTE: usize = 300;

/// Whether a text can be a name, or why not.
pub(super) fn name(what: &str, text: &str) -> Result<(), String> {
    if text.len() <= LONGEST_NAME {
        return Ok(());
    }
    let start: String = text.chars().take(40).collect();
    Err(format!(
        "expected a {what} of at most {LONGEST_NAME} bytes, found {} bytes: {start:?}…",
        text.len()
    ))
}

/// Makes a message fit to be published, in at most `room` bytes of properties and headers. Our own texts are cut; then
/// foreign headers are left out, the largest first, with a note. The error names a part that cannot be written down at
/// all.
pub(super) fn fit(message: &mut Message, room: usize) -> Result<(), String> {
    let mut bytes = size(message)?;
    if bytes <= room {
        return Ok(());
    }
    shorten(message, room / 4);
    bytes = size(message)?;
    if bytes > room {
        leave_out(message, bytes, room);
        bytes = size(message)?;
    }
    if bytes > room {
        shorten(message, 100);
        for kept in [
            &mut message.correlation_id,
            &mut message.reply_to,
            &mut message.cluster_id,
            &mut message.content_encoding,
            &mut message.expiration,
        ] {
            *kept = None;
        }
        bytes = size(message)?;
    }
    if bytes > room {
        return Err(format!(
            "expected at most {room} bytes of properties and headers, found {bytes}"
        ));
    }
    Ok(())
}

/// Cuts our own texts that may be long to `longest` bytes each.
fn shorten(message: &mut Message, longest: usize) {
    let headers = &mut message.headers;
    if let Some(error) = headers.text(header::ERROR)
        && error.len() > longest
    {
        let error = cut(error, longest).to_owned();
        headers.set(header::ERROR, error);
    }
    if let Some(errors) = headers.text(header::ERRORS)
        && errors.len() > longest
    {
        let errors = serde_json::from_str(errors).unwrap_or_default();
        headers.set(header::ERRORS, errors_as_json(errors, longest));
    }
}

/// Leaves out foreign headers, the largest first, until a message of `bytes` bytes fits into `room`.
fn leave_out(message: &mut Message, mut bytes: usize, room: usize) {
    let headers = message.headers.iter();
    let foreign = headers.filter(|(name, _)| {
        !belongs_to_broker(name) && (!name.starts_with(header::PREFIX) || *name == header::NOTE)
    });
    let mut foreign: Vec<(usize, String)> = foreign
        .filter_map(|(name, value)| Some((header_size(name, value).ok()?, name.to_owned())))
        .collect();
    foreign.sort_by(|one, other| other.cmp(one));
    let note = 1 + header::NOTE.len() + 5 + LONGEST_NOTE;
    // An omitted part still distinguishes this message from another.
    let word = message_word(message);
    bytes += 1 + header::DIGEST.len() + 5 + word.len();
    message.headers.set(header::DIGEST, word);
    let mut left_out = Vec::new();
    for (size, name) in foreign {
        if bytes + note <= room {
            break;
        }
        message.headers.remove(&name);
        bytes -= size;
        left_out.push(format!("{name:?} ({size} bytes)"));
    }
    if !left_out.is_empty() {
        let note = format!(
            "{} foreign header(s) were left out, to fit into {room} bytes: {}",
            left_out.len(),
            left_out.join(", ")
        );
        message.headers.set(header::NOTE, cut(&note, LONGEST_NOTE));
    }
}

/// Field errors as JSON of at most `longest` bytes: the rest is left out.
pub(crate) fn errors_as_json(mut errors: Vec<FieldError>, longest: usize) -> String {
    loop {
        let text = serde_json::to_string(&errors).unwrap_or_default();
        if text.len() <= longest || errors.is_empty() {
            return text;
        }
        match &mut errors[..] {
            [one] if !one.detail.is_empty() => {
                one.detail = cut(&one.detail, one.detail.len() / 2).to_owned();
            }
            more => {
                let half = more.len() / 2;
                errors.truncate(half);
            }
        }
    }
}

/// The beginning of `text`, at most `longest` bytes of it.
pub(crate) fn cut(text: &str, longest: usize) -> &str {
    &text[..text.floor_char_boundary(longest)]
}

/// How many bytes properties and headers take, as far as they are published.
pub(crate) fn size(message: &Message) -> Result<usize, String> {
    // Flags, delivery mode and priority, the time, the table's length.
    let mut bytes = 2 + 2 + 8 + 4;
    for (what, text) in [
        ("content type", &message.content_type),
        ("content encoding", &message.content_encoding),
        ("message_id", &message.message_id),
        ("correlation_id", &message.correlation_id),
        ("reply_to", &message.reply_to),
        ("type", &message.kind),
        ("app_id", &message.app_id),
        ("cluster_id", &message.cluster_id),
    ] {
        let Some(text) = text else { continue };
        name(what, text)?;
        bytes += 1 + text.len();
    }
    for (kept, text) in [
        (header::EXPIRATION, &message.expiration),
        (header::REPLY_TO, &message.reply_to),
    ] {
        let Some(text) = text else { continue };
        bytes += 1 + kept.len() + 5 + text.len();
    }
    for (name, value) in message.headers.iter() {
        if !belongs_to_broker(name) {
            bytes += header_size(name, value)?;
        }
    }
    Ok(bytes)
}

/// How many bytes a header takes.
fn header_size(header: &str, value: &HeaderValue) -> Result<usize, String> {
    name("header name", header)?;
    Ok(1 + header.len() + value_size(value, 1)?)
}

/// How many bytes a value takes in a field table, its type included.
fn value_size(value: &HeaderValue, depth: usize) -> Result<usize, String> {
    if depth > DEEPEST {
        return Err(format!(
            "expected headers nested at most {DEEPEST} deep, found deeper ones"
        ));
    }
    let content = match value {
        HeaderValue::Null => 0,
        HeaderValue::Bool(_) | HeaderValue::Int8(_) | HeaderValue::UInt8(_) => 1,
        HeaderValue::Int16(_) | HeaderValue::UInt16(_) => 2,
        HeaderValue::Int32(_) | HeaderValue::UInt32(_) | HeaderValue::Float32(_) => 4,
        HeaderValue::Decimal { .. } => 5,
        HeaderValue::Int(_) | HeaderValue::Float(_) | HeaderValue::Time(_) => 8,
        HeaderValue::Text(text) => 4 + text.len(),
        HeaderValue::Bytes(bytes) | HeaderValue::RawText(bytes) => 4 + bytes.len(),
        HeaderValue::List(values) => values.iter().try_fold(4, |sum, value| {
            Ok::<_, String>(sum + value_size(value, depth + 1)?)
        })?,
        HeaderValue::Table(table) => table.iter().try_fold(4, |sum, (header, value)| {
            name("header name", header)?;
            Ok::<_, String>(sum + 1 + header.len() + value_size(value, depth + 1)?)
        })?,
    };
    Ok(1 + content)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with_header(name: &str, value: HeaderValue) -> Message {
        Message {
            headers: [(name.to_owned(), value)].into_iter().collect(),
            ..Message::default()
        }
    }

    #[test]
    fn what_cannot_be_written_down_is_refused_with_a_reason() {
        let long = "x".repeat(256);
        let nested = [(long.clone(), HeaderValue::Null)].into_iter().collect();
        let cases = [
            Message {
                message_id: Some(long.clone()),
                ..Message::default()
            },
            Message {
                kind: Some(long.clone()),
                ..Message::default()
            },
            with_header(&long, HeaderValue::Null),
            with_header("table", HeaderValue::Table(nested)),
        ];
        for mut message in cases {
            let problem = fit(&mut message, MAX_BYTES).expect_err("cannot be published");
            assert!(problem.starts_with("expected"), "{problem}");
            assert!(problem.len() < 200, "{problem}");
        }
        let mut deep = HeaderValue::Null;
        for _ in 0..40 {
            deep = HeaderValue::List(vec![deep]);
        }
        let problem = fit(&mut with_header("deep", deep), MAX_BYTES).expect_err("too deep");
        assert!(problem.contains("nested"), "{problem}");
    }

    #[test]
    fn the_brokers_own_headers_are_not_held_against_a_message() {
        let death = HeaderValue::Bytes(vec![0; MAX_BYTES]);
        let mut message = with_header("x-death", death);
        let before = message.clone();
        assert_eq!(fit(&mut message, MAX_BYTES), Ok(()));
        assert_eq!(message, before);
    }

    #[test]
    fn the_largest_foreign_header_makes_room_and_is_named() {
        let mut message = with_header("theirs", HeaderValue::Bytes(vec![0; 7900]));
        message.headers.set("small", "stays");
        message.headers.set(header::QUEUE, "longshore.validate");
        assert_eq!(fit(&mut message, 6000), Ok(()));
        assert_eq!(message.headers.get("theirs"), None);
        assert_eq!(message.headers.text("small"), Some("stays"));
        assert_eq!(
            message.headers.text(header::QUEUE),
            Some("longshore.validate")
        );
        let note = message.headers.text(header::NOTE).expect("a note");
        assert!(note.contains("\"theirs\" (7912 bytes)"), "{note}");
    }

    #[test]
    fn whatever_a_letter_holds_it_fits_the_smallest_frame() {
        let long = || Some("x".repeat(LONGEST_NAME));
        let mut message = Message {
            content_type: long(),
            content_encoding: long(),
            message_id: long(),
            correlation_id: long(),
            reply_to: long(),
            kind: long(),
            app_id: long(),
            cluster_id: long(),
            expiration: long(),
            ..Message::default()
        };
        for name in [header::QUEUE, header::ROUTING_KEY, header::PUBLISHER] {
            message.headers.set(name, "x".repeat(LONGEST_NAME));
        }
        let errors = vec![FieldError::new("/x", "y".repeat(1000)); 50];
        message
            .headers
            .set(header::ERRORS, errors_as_json(errors, 32 * 1024));
        message.headers.set(header::ERROR, "é".repeat(5000));
        for number in 0..500 {
            message.headers.set(format!("theirs-{number}"), "value");
        }
        assert_eq!(fit(&mut message, 3000), Ok(()));
        assert!(size(&message).is_ok_and(|bytes| bytes <= 3000));
        let errors = message.headers.text(header::ERRORS).expect("still there");
        assert!(serde_json::from_str::<Vec<FieldError>>(errors).is_ok());
        assert!(message.headers.text(header::ERROR).is_some());
    }
}
