//! The broker's greeting before it asks for a login: its product and version.
//!
//! lapin reads this at each connection and keeps it to itself, so it is asked for over a connection that
//! goes no further.

use lapin::types::parsing::parse_field_table;
use lapin::types::{AMQPValue, FieldTable};
use lapin::uri::AMQPScheme;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::settings::Settings;
use crate::broker::BrokerError;

/// The first bytes of every AMQP 0-9-1 client.
const HELLO: &[u8] = b"AMQP\x00\x00\x09\x01";
/// The frame type (1: a method) and the channel (0) of the broker's answer.
const METHOD: &[u8] = &[1, 0, 0];
/// `connection.start`, class 10 and method 10.
const START: &[u8] = &[0, 10, 0, 10];
/// A greeting is a few hundred bytes; a longer one is not from a broker.
const LONGEST: u32 = 64 * 1024;

/// Product and version, such as "RabbitMQ 3.13.7"; `None` if the broker does not tell, and over TLS, where asking would
/// need a handshake of its own.
pub(super) async fn product(settings: &Settings) -> Result<Option<String>, BrokerError> {
    if settings.uri.scheme == AMQPScheme::AMQPS {
        return Ok(None);
    }
    let authority = &settings.uri.authority;
    let asked = tokio::time::timeout(settings.patience, ask(&authority.host, authority.port));
    let detail = match asked.await {
        Ok(Ok(greeting)) => return Ok(read(&greeting)),
        Ok(Err(error)) => error.to_string(),
        Err(_) => format!("no greeting within {:?}", settings.patience),
    };
    Err(BrokerError::Unreachable {
        address: settings.address.clone(),
        detail,
    })
}

/// The first method that the broker sends, without its frame.
async fn ask(host: &str, port: u16) -> std::io::Result<Vec<u8>> {
    let mut broker = TcpStream::connect((host, port)).await?;
    broker.write_all(HELLO).await?;
    let mut frame = [0; 3];
    broker.read_exact(&mut frame).await?;
    let length = broker.read_u32().await?;
    if frame != METHOD || length > LONGEST {
        return Err(std::io::Error::other(
            "the server there does not speak AMQP",
        ));
    }
    let mut method = Vec::new();
    broker.take(length.into()).read_to_end(&mut method).await?;
    Ok(method)
}

fn read(greeting: &[u8]) -> Option<String> {
    // Behind class and method: one byte each of the protocol's major and minor version.
    let properties = greeting.strip_prefix(START)?.get(2..)?;
    let (_, properties) = parse_field_table(properties).ok()?;
    let product = text(&properties, "product")?;
    Some(match text(&properties, "version") {
        Some(version) => format!("{product} {version}"),
        None => product,
    })
}

fn text(properties: &FieldTable, name: &str) -> Option<String> {
    match properties.inner().get(name)? {
        AMQPValue::LongString(text) => Some(text.to_string()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A greeting with these properties, as RabbitMQ lays it out.
    fn greeting(properties: &[(&str, &str)]) -> Vec<u8> {
        let mut table = Vec::new();
        for (name, value) in properties {
            table.push(u8::try_from(name.len()).unwrap());
            table.extend(name.as_bytes());
            table.push(b'S');
            table.extend(u32::try_from(value.len()).unwrap().to_be_bytes());
            table.extend(value.as_bytes());
        }
        let mut greeting = [START, &[0, 9]].concat();
        greeting.extend(u32::try_from(table.len()).unwrap().to_be_bytes());
        greeting.extend(table);
        greeting.extend(b"\0\0\0\x05PLAIN\0\0\0\x05en_US");
        greeting
    }

    #[test]
    fn product_and_version_are_read_where_the_broker_tells_them() {
        let told = greeting(&[("product", "RabbitMQ"), ("version", "3.13.7")]);
        assert_eq!(read(&told).as_deref(), Some("RabbitMQ 3.13.7"));
        let product = greeting(&[("product", "Somebody's")]);
        assert_eq!(read(&product).as_deref(), Some("Somebody's"));
        assert_eq!(read(&greeting(&[])), None);
    }

    #[test]
    fn what_is_no_greeting_tells_nothing() {
        let told = greeting(&[("product", "RabbitMQ")]);
        for end in 0..30 {
            assert_eq!(read(&told[..end]), None, "{end} bytes");
        }
        assert_eq!(read(b"HTTP/1.1 400 Bad Request"), None);
    }
}
