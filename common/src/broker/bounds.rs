//! What a message may be at most, the same for every engine: the bounds that AMQP sets.

pub(super) use crate::message::belongs_to_broker;
use crate::message::{HeaderValue, Message};

/// The most bytes that properties and headers may have together. On RabbitMQ they travel in one
/// frame, which it bounds to 128 KiB by default; a larger one would cost us the whole connection.
/// The rest is for what the broker adds when it dead-letters.
const MOST_BYTES: usize = 100_000;

/// How deep headers may be nested. Deeper ones are somebody's attempt on our stack.
pub(super) const DEEPEST: usize = 32;

/// The most bytes of a name: AMQP's short string.
const LONGEST_NAME: usize = 255;

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

/// Whether a message can be published, or what of it cannot be written down.
pub(crate) fn check(message: &Message) -> Result<(), String> {
    let mut bytes = 0;
    for (what, text) in [
        ("content type", &message.content_type),
        ("message_id", &message.message_id),
        ("type", &message.kind),
        ("app_id", &message.app_id),
    ] {
        let Some(text) = text else { continue };
        name(what, text)?;
        bytes += 1 + text.len();
    }
    for (header, value) in message.headers.iter() {
        if belongs_to_broker(header) {
            continue;
        }
        name("header name", header)?;
        bytes += 1 + header.len() + size(value, 1)?;
    }
    if bytes > MOST_BYTES {
        return Err(format!(
            "expected at most {MOST_BYTES} bytes of properties and headers, found {bytes}"
        ));
    }
    Ok(())
}

/// How many bytes a value takes in a field table, its type included.
fn size(value: &HeaderValue, depth: usize) -> Result<usize, String> {
    if depth > DEEPEST {
        return Err(format!(
            "expected headers nested at most {DEEPEST} deep, found deeper ones"
        ));
    }
    let content = match value {
        HeaderValue::Null => 0,
        HeaderValue::Bool(_) => 1,
        HeaderValue::Int(_) | HeaderValue::Float(_) | HeaderValue::Time(_) => 8,
        HeaderValue::Text(text) => 4 + text.len(),
        HeaderValue::Bytes(bytes) => 4 + bytes.len(),
        HeaderValue::List(values) => values.iter().try_fold(4, |sum, value| {
            Ok::<_, String>(sum + size(value, depth + 1)?)
        })?,
        HeaderValue::Table(table) => table.iter().try_fold(4, |sum, (header, value)| {
            name("header name", header)?;
            Ok::<_, String>(sum + 1 + header.len() + size(value, depth + 1)?)
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
            with_header("big", HeaderValue::Bytes(vec![0; MOST_BYTES])),
        ];
        for message in cases {
            let problem = check(&message).expect_err("cannot be published");
            assert!(problem.starts_with("expected"), "{problem}");
            assert!(problem.len() < 200, "{problem}");
        }
        let mut deep = HeaderValue::Null;
        for _ in 0..40 {
            deep = HeaderValue::List(vec![deep]);
        }
        let problem = check(&with_header("deep", deep)).expect_err("too deep");
        assert!(problem.contains("nested"), "{problem}");
    }

    #[test]
    fn the_brokers_own_headers_are_not_held_against_a_message() {
        let death = HeaderValue::Bytes(vec![0; MOST_BYTES]);
        assert_eq!(check(&with_header("x-death", death)), Ok(()));
    }
}
