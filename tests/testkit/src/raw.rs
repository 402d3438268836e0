//! A publisher that writes AMQP frames by hand: properties and headers as any bytes, which no library would send.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use anyhow::{Context, Result, anyhow, bail, ensure};
use lapin::uri::AMQPUri;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

/// The limit for a single exchange with the broker.
const PATIENCE: Duration = Duration::from_secs(20);
/// The frame size that is asked for, RabbitMQ's own.
const FRAME_MAX: u32 = 131_072;

const METHOD: u8 = 1;
const HEADER: u8 = 2;
const BODY: u8 = 3;
const FRAME_END: u8 = 0xce;

/// Properties of a message, written as they are.
#[derive(Clone, Debug, Default)]
pub struct RawProperties {
    /// By their place in the flags.
    fields: BTreeMap<u8, Vec<u8>>,
    headers: Vec<u8>,
}

impl RawProperties {
    /// None at all.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets `content_type`.
    #[must_use]
    pub fn content_type(self, value: impl AsRef<[u8]>) -> Self {
        self.short(0, value.as_ref())
    }

    /// Sets `content_encoding`.
    #[must_use]
    pub fn content_encoding(self, value: impl AsRef<[u8]>) -> Self {
        self.short(1, value.as_ref())
    }

    /// Sets `priority`.
    #[must_use]
    pub fn priority(self, value: u8) -> Self {
        self.field(4, vec![value])
    }

    /// Sets `correlation_id`.
    #[must_use]
    pub fn correlation_id(self, value: impl AsRef<[u8]>) -> Self {
        self.short(5, value.as_ref())
    }

    /// Sets `reply_to`.
    #[must_use]
    pub fn reply_to(self, value: impl AsRef<[u8]>) -> Self {
        self.short(6, value.as_ref())
    }

    /// Sets `expiration`, in milliseconds.
    #[must_use]
    pub fn expiration(self, value: impl AsRef<[u8]>) -> Self {
        self.short(7, value.as_ref())
    }

    /// Sets `message_id`.
    #[must_use]
    pub fn message_id(self, value: impl AsRef<[u8]>) -> Self {
        self.short(8, value.as_ref())
    }

    /// Sets `timestamp`, in seconds since 1970.
    #[must_use]
    pub fn timestamp(self, value: u64) -> Self {
        self.field(9, value.to_be_bytes().to_vec())
    }

    /// Sets `type`.
    #[must_use]
    pub fn kind(self, value: impl AsRef<[u8]>) -> Self {
        self.short(10, value.as_ref())
    }

    /// Sets `user_id`; the broker takes no other than the one that publishes.
    #[must_use]
    pub fn user_id(self, value: impl AsRef<[u8]>) -> Self {
        self.short(11, value.as_ref())
    }

    /// Sets `app_id`.
    #[must_use]
    pub fn app_id(self, value: impl AsRef<[u8]>) -> Self {
        self.short(12, value.as_ref())
    }

    /// Sets `cluster_id`.
    #[must_use]
    pub fn cluster_id(self, value: impl AsRef<[u8]>) -> Self {
        self.short(13, value.as_ref())
    }

    /// Adds a header: its name, the letter of its AMQP type, and its value as that type is written.
    #[must_use]
    pub fn header(mut self, name: impl AsRef<[u8]>, kind: u8, value: impl AsRef<[u8]>) -> Self {
        self.headers.extend(short(name.as_ref()));
        self.headers.push(kind);
        self.headers.extend(value.as_ref());
        self
    }

    /// Adds a header of type long string.
    #[must_use]
    pub fn text_header(self, name: impl AsRef<[u8]>, value: impl AsRef<[u8]>) -> Self {
        self.header(name, b'S', long(value.as_ref()))
    }

    /// Adds a header that is a list in a list, `depth` times.
    #[must_use]
    pub fn deep_header(self, name: impl AsRef<[u8]>, depth: usize) -> Self {
        let mut value = Vec::new();
        for _ in 1..depth {
            value = [&b"A"[..], &long(&value)].concat();
        }
        self.header(name, b'A', long(&value))
    }

    fn short(self, place: u8, value: &[u8]) -> Self {
        self.field(place, short(value))
    }

    fn field(mut self, place: u8, value: Vec<u8>) -> Self {
        self.fields.insert(place, value);
        self
    }

    /// As they stand in a header frame, persistent.
    fn written(&self) -> Vec<u8> {
        let mut fields = self.fields.clone();
        fields.insert(3, vec![2]);
        if !self.headers.is_empty() {
            fields.insert(2, long(&self.headers));
        }
        let flags = fields
            .keys()
            .fold(0_u16, |flags, place| flags | 1 << (15 - place));
        let mut written = flags.to_be_bytes().to_vec();
        written.extend(fields.values().flatten());
        written
    }
}

/// A short string; longer values are cut.
fn short(bytes: &[u8]) -> Vec<u8> {
    let length = u8::try_from(bytes.len()).unwrap_or(u8::MAX);
    [&[length], &bytes[..length.into()]].concat()
}

/// A long string, and anything else that is written behind a length of 32 bits.
fn long(bytes: &[u8]) -> Vec<u8> {
    let length = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
    [&length.to_be_bytes(), bytes].concat()
}

/// One connection with one channel, with publisher confirms.
#[derive(Debug)]
pub struct RawPublisher {
    stream: TcpStream,
    /// The numbers of the unconfirmed messages.
    unconfirmed: BTreeSet<u64>,
    published: u64,
}

impl RawPublisher {
    /// Connects as the URL says: user, password, host, port, virtual host.
    ///
    /// # Errors
    /// If the broker cannot be reached or refuses.
    pub async fn connect(url: &str) -> Result<Self> {
        let uri: AMQPUri = url.parse().map_err(|error| anyhow!("{error}"))?;
        let user = &uri.authority.userinfo;
        let stream = TcpStream::connect((uri.authority.host.as_str(), uri.authority.port)).await?;
        let mut publisher = Self {
            stream,
            unconfirmed: BTreeSet::new(),
            published: 0,
        };
        publisher.stream.write_all(b"AMQP\x00\x00\x09\x01").await?;
        publisher.expect(10, 10).await?;
        let login = format!("\0{}\0{}", user.username, user.password);
        let start = [
            &[0, 0, 0, 0][..],
            &short(b"PLAIN"),
            &long(login.as_bytes()),
            &short(b"en_US"),
        ];
        publisher.method(0, 10, 11, &start.concat()).await?;
        publisher.expect(10, 30).await?;
        // One channel, and no heartbeats.
        let tune = [&[0, 1][..], &FRAME_MAX.to_be_bytes(), &[0, 0]];
        publisher.method(0, 10, 31, &tune.concat()).await?;
        let open = [&short(uri.vhost.as_bytes())[..], &[0, 0]];
        publisher.method(0, 10, 40, &open.concat()).await?;
        publisher.expect(10, 41).await?;
        publisher.method(1, 20, 10, &[0]).await?;
        publisher.expect(20, 11).await?;
        publisher.method(1, 85, 10, &[0]).await?;
        publisher.expect(85, 11).await?;
        Ok(publisher)
    }

    /// Publishes a message and waits for its confirm.
    ///
    /// # Errors
    /// If the broker closes or refuses it.
    pub async fn publish(
        &mut self,
        exchange: &str,
        routing_key: impl AsRef<[u8]>,
        properties: &RawProperties,
        body: &[u8],
    ) -> Result<()> {
        self.send(exchange, routing_key, properties, body).await?;
        self.confirmed().await
    }

    /// Publishes a message; [`confirmed`](Self::confirmed) waits for the broker's answer.
    ///
    /// # Errors
    /// If the connection is closed.
    pub async fn send(
        &mut self,
        exchange: &str,
        routing_key: impl AsRef<[u8]>,
        properties: &RawProperties,
        body: &[u8],
    ) -> Result<()> {
        let publish = [
            &[0, 0][..],
            &short(exchange.as_bytes()),
            &short(routing_key.as_ref()),
            &[0],
        ];
        self.method(1, 60, 40, &publish.concat()).await?;
        let size = u64::try_from(body.len())?.to_be_bytes();
        let header = [&[0, 60, 0, 0][..], &size, &properties.written()];
        self.frame(HEADER, 1, &header.concat()).await?;
        for piece in body.chunks(100_000) {
            self.frame(BODY, 1, piece).await?;
        }
        self.published += 1;
        self.unconfirmed.insert(self.published);
        Ok(())
    }

    /// Waits until everything sent is confirmed.
    ///
    /// # Errors
    /// If the broker closes, or refuses a message.
    pub async fn confirmed(&mut self) -> Result<()> {
        while !self.unconfirmed.is_empty() {
            let (class, method, rest) = self.next().await?;
            match (class, method) {
                (60, 80) => {
                    let tag = rest.get(..8).context("an ack without a tag")?;
                    let tag = u64::from_be_bytes(tag.try_into()?);
                    if rest.get(8) == Some(&1) {
                        self.unconfirmed = self.unconfirmed.split_off(&(tag + 1));
                    } else {
                        self.unconfirmed.remove(&tag);
                    }
                }
                (60, 120) => bail!("the broker refused a message"),
                other => bail!("the broker says {}", said(other, &rest)),
            }
        }
        Ok(())
    }

    async fn expect(&mut self, class: u16, method: u16) -> Result<()> {
        let (found_class, found_method, rest) = self.next().await?;
        let found = (found_class, found_method);
        ensure!(
            found == (class, method),
            "expected method {class}.{method}, the broker says {}",
            said(found, &rest)
        );
        Ok(())
    }

    /// The next method that comes, without its class and number.
    async fn next(&mut self) -> Result<(u16, u16, Vec<u8>)> {
        let read = async {
            loop {
                let kind = self.stream.read_u8().await?;
                self.stream.read_u16().await?;
                let size = self.stream.read_u32().await?;
                let mut payload = vec![0; usize::try_from(size)?];
                self.stream.read_exact(&mut payload).await?;
                ensure!(
                    self.stream.read_u8().await? == FRAME_END,
                    "no end of a frame"
                );
                if kind == METHOD && payload.len() >= 4 {
                    let rest = payload.split_off(4);
                    let class = u16::from_be_bytes([payload[0], payload[1]]);
                    let method = u16::from_be_bytes([payload[2], payload[3]]);
                    return Ok((class, method, rest));
                }
            }
        };
        timeout(PATIENCE, read)
            .await
            .context("the broker did not answer")?
    }

    async fn method(&mut self, channel: u16, class: u16, method: u16, rest: &[u8]) -> Result<()> {
        let payload = [&class.to_be_bytes(), &method.to_be_bytes(), rest].concat();
        self.frame(METHOD, channel, &payload).await
    }

    async fn frame(&mut self, kind: u8, channel: u16, payload: &[u8]) -> Result<()> {
        let mut frame = vec![kind];
        frame.extend(channel.to_be_bytes());
        frame.extend(long(payload));
        frame.push(FRAME_END);
        timeout(PATIENCE, self.stream.write_all(&frame))
            .await
            .context("the broker does not read")??;
        Ok(())
    }
}

/// A method for people: a close has its reason in it.
fn said((class, method): (u16, u16), rest: &[u8]) -> String {
    format!("{class}.{method}: {}", String::from_utf8_lossy(rest))
}
