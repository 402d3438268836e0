//! The filter: frames from the broker in, frames that the library can read out. Pure, no I/O.
//!
//! Bodies pass unchanged. The filter collects and reads only the frames before them: the method that announces a
//! delivery, and the header with its properties.

use std::collections::HashMap;
use std::io;
use std::sync::Arc;

use sha2::{Digest as _, Sha256};

use super::BodyLimits;
use super::envelope::{DIGEST, Envelope, HEAD, finish};
use super::fields::Reader;

const METHOD: u8 = 1;
const HEADER: u8 = 2;
const BODY: u8 = 3;
const HEARTBEAT: u8 = 8;
/// The last byte of every frame.
const FRAME_END: u8 = 0xce;
/// The bytes of a frame before its payload: type, channel, size.
const PROLOGUE: usize = 7;
/// Maximum bytes of a payload that we make: the room of the smallest frame that AMQP allows.
const PIECE: usize = 4096 - PROLOGUE - 1;
/// Maximum bytes of a frame that is collected; a larger one is not from a broker.
const LARGEST: usize = 16 * 1024 * 1024;

const CONNECTION: u16 = 10;
const CHANNEL: u16 = 20;
const BASIC: u16 = 60;
const CONNECTION_CLOSE: u16 = 50;
const CHANNEL_OPEN_OK: u16 = 11;
const CHANNEL_CLOSE: u16 = 40;
const CHANNEL_CLOSE_OK: u16 = 41;
const BASIC_DELIVER: u16 = 60;
const BASIC_GET_OK: u16 = 71;

/// One connection's filter.
#[derive(Debug)]
pub(super) struct Filter {
    limits: Arc<BodyLimits>,
    state: State,
    /// The frame that is being collected.
    frame: Vec<u8>,
    /// The bytes that go out before anything else, and how many of them have.
    ready: Vec<u8>,
    handed: usize,
    /// The channels on which a delivery is under way that is not passed as it is.
    channels: HashMap<u16, Content>,
}

#[derive(Debug, Clone, Copy)]
enum State {
    /// Collects a frame until it has this many bytes.
    Collect(usize),
    /// Passes this many bytes as they are.
    Pass(usize),
    /// Reads this many bytes of a body that is too large, and the end of the frame.
    Swallow(u16, usize),
    /// Passes everything: the other side does not speak AMQP 0-9-1.
    Foreign,
}

/// The part of a delivery that has come.
#[derive(Debug)]
enum Content {
    /// It was announced, with this routing key.
    Announced(Vec<u8>),
    /// Its body is too large.
    TooLarge {
        left: u64,
        /// How many bytes of its beginning are still to be kept.
        head: usize,
        hash: Sha256,
    },
}

impl Filter {
    /// The filter of a new connection.
    pub(super) fn new(limits: Arc<BodyLimits>) -> Self {
        Self {
            limits,
            state: State::Collect(PROLOGUE),
            frame: Vec::new(),
            ready: Vec::new(),
            handed: 0,
            channels: HashMap::new(),
        }
    }

    /// Whether there is output that needs no further input.
    pub(super) fn has_output(&self) -> bool {
        self.handed < self.ready.len()
    }

    /// Writes to `output` the filtered part of `input`, and returns how much that is. Stops when `output` is full or
    /// `input` used up.
    ///
    /// # Errors
    /// A frame that no broker sends.
    pub(super) fn pull(&mut self, input: &mut &[u8], output: &mut [u8]) -> io::Result<usize> {
        let mut written = 0;
        loop {
            let room = output.get_mut(written..).unwrap_or_default();
            written += self.hand_over(room);
            if written == output.len() || input.is_empty() {
                return Ok(written);
            }
            match self.state {
                State::Collect(need) => self.collect(input, need)?,
                State::Pass(left) => {
                    let passed = pass(input, output.get_mut(written..), left);
                    written += passed;
                    self.state = match left - passed {
                        0 => State::Collect(PROLOGUE),
                        left => State::Pass(left),
                    };
                }
                State::Swallow(channel, left) => self.swallow(input, channel, left),
                State::Foreign => written += pass(input, output.get_mut(written..), usize::MAX),
            }
        }
    }

    fn hand_over(&mut self, output: &mut [u8]) -> usize {
        if !self.has_output() {
            return 0;
        }
        let mut ready = self.ready.get(self.handed..).unwrap_or_default();
        let handed = pass(&mut ready, Some(output), usize::MAX);
        self.handed += handed;
        if !self.has_output() {
            self.ready.clear();
            self.handed = 0;
        }
        handed
    }

    fn collect(&mut self, input: &mut &[u8], need: usize) -> io::Result<()> {
        let missing = need.saturating_sub(self.frame.len()).min(input.len());
        let (taken, rest) = input.split_at(missing);
        self.frame.extend_from_slice(taken);
        *input = rest;
        if self.frame.len() < need {
            return Ok(());
        }
        if need > PROLOGUE {
            self.state = State::Collect(PROLOGUE);
            let frame = std::mem::take(&mut self.frame);
            self.rewrite(&frame);
            // Its memory serves the next one.
            self.frame = frame;
            self.frame.clear();
            return Ok(());
        }
        let mut prologue = Reader(&self.frame);
        let (Some(kind), Some(channel), Some(size)) =
            (prologue.u8(), prologue.u16(), prologue.u32())
        else {
            return Ok(());
        };
        let whole = usize::try_from(size)
            .unwrap_or(usize::MAX)
            .saturating_add(1);
        let content = self.channels.get(&channel);
        self.state = match (kind, content) {
            (b'A', _) => State::Foreign,
            (METHOD, _) | (HEADER, Some(Content::Announced(_))) => {
                if whole > LARGEST {
                    return Err(io::Error::new(
                        io::ErrorKind::InvalidData,
                        format!("expected AMQP frames, found one of {whole} bytes"),
                    ));
                }
                self.state = State::Collect(PROLOGUE + whole);
                return Ok(());
            }
            (BODY, Some(Content::TooLarge { .. })) => {
                self.frame.clear();
                self.state = State::Swallow(channel, whole);
                return Ok(());
            }
            _ => State::Pass(whole),
        };
        self.ready.append(&mut self.frame);
        Ok(())
    }

    /// Puts a whole frame out, as the library can read it.
    fn rewrite(&mut self, frame: &[u8]) {
        let rewritten = match frame.first() {
            Some(&METHOD) => self.method(frame),
            _ => self.header(frame),
        };
        if rewritten.is_none() {
            self.ready.extend_from_slice(frame);
        }
    }

    /// A method: the routing key of a delivery is kept for its envelope. `None` where it goes as it is.
    fn method(&mut self, frame: &[u8]) -> Option<()> {
        let mut reader = Reader(frame);
        reader.u8()?;
        let channel = reader.u16()?;
        reader.u32()?;
        match (reader.u16()?, reader.u16()?) {
            (BASIC, BASIC_DELIVER) => {
                reader.short()?;
            }
            (BASIC, BASIC_GET_OK) => {}
            (CHANNEL, CHANNEL_CLOSE) => {
                self.channels.remove(&channel);
                return self.close(frame);
            }
            (CHANNEL, CHANNEL_OPEN_OK | CHANNEL_CLOSE_OK) => {
                self.channels.remove(&channel);
                return None;
            }
            (CONNECTION, CONNECTION_CLOSE) => return self.close(frame),
            _ => return None,
        }
        // The delivery's number, and whether it is redelivered.
        reader.u64()?;
        reader.u8()?;
        let before = frame.get(PROLOGUE..frame.len() - reader.0.len())?;
        let _exchange = reader.short()?;
        let routing_key = reader.short()?;
        let behind = reader.take(reader.0.len().checked_sub(1)?)?;
        let payload = [before, &[0, 0], behind].concat();
        put(&mut self.ready, METHOD, channel, &payload);
        let announced = Content::Announced(routing_key.to_vec());
        self.channels.insert(channel, announced);
        Some(())
    }

    /// A goodbye, whose reason may be cut in the middle of a character.
    fn close(&mut self, frame: &[u8]) -> Option<()> {
        let mut reader = Reader(frame);
        reader.take(PROLOGUE + 2 + 2 + 2)?;
        let start = frame.len() - reader.0.len() + 1;
        let text = reader.short()?;
        if std::str::from_utf8(text).is_ok() {
            return None;
        }
        let readable = text
            .iter()
            .map(|byte| if byte.is_ascii() { *byte } else { b'?' });
        let readable: Vec<u8> = readable.collect();
        let frame = [frame.get(..start)?, &readable, reader.0].concat();
        self.ready.extend(frame);
        Some(())
    }

    /// The header of a delivery: an empty one, and the envelope as the beginning of the body.
    fn header(&mut self, frame: &[u8]) -> Option<()> {
        let mut reader = Reader(frame);
        reader.u8()?;
        let channel = reader.u16()?;
        reader.u32()?;
        let class = reader.u16()?;
        reader.u16()?;
        let body_size = reader.u64()?;
        let properties = reader.take(reader.0.len().checked_sub(1)?)?;
        let Some(Content::Announced(routing_key)) = self.channels.remove(&channel) else {
            return None;
        };
        let limit = self.limits.of(channel).max(HEAD);
        let limit = u64::try_from(limit).unwrap_or(u64::MAX);
        let too_large = body_size > limit;
        let envelope = Envelope {
            routing_key: &routing_key,
            body_size,
            limit: if too_large { limit } else { 0 },
            properties,
        };
        let envelope = envelope.seal()?;
        let kept = if too_large {
            self.channels.insert(
                channel,
                Content::TooLarge {
                    left: body_size,
                    head: HEAD,
                    hash: Sha256::new(),
                },
            );
            length(HEAD + DIGEST)
        } else {
            body_size
        };
        let mut payload = Vec::with_capacity(14);
        payload.extend(class.to_be_bytes());
        payload.extend([0, 0]);
        payload.extend((length(envelope.len()) + kept).to_be_bytes());
        payload.extend([0, 0]);
        put(&mut self.ready, HEADER, channel, &payload);
        put_body(&mut self.ready, channel, &envelope);
        Some(())
    }

    /// Reads on in a frame of a body that is too large; `left` bytes of it are to come, its end included.
    fn swallow(&mut self, input: &mut &[u8], channel: u16, left: usize) {
        let (taken, rest) = input.split_at(left.min(input.len()));
        *input = rest;
        let ends = taken.len() == left;
        let body = if ends {
            taken.split_last().map_or(taken, |(_, body)| body)
        } else {
            taken
        };
        self.state = if ends {
            State::Collect(PROLOGUE)
        } else {
            State::Swallow(channel, left - taken.len())
        };
        let Some(Content::TooLarge { left, head, hash }) = self.channels.get_mut(&channel) else {
            return;
        };
        hash.update(body);
        *left = left.saturating_sub(length(body.len()));
        let kept = body.get(..body.len().min(*head)).unwrap_or_default();
        *head -= kept.len();
        put_body(&mut self.ready, channel, kept);
        if !ends {
            return;
        }
        if *left > 0 {
            // The library counts arriving frames as the link's sign of life.
            put(&mut self.ready, HEARTBEAT, 0, &[]);
            return;
        }
        let digest = finish(std::mem::take(hash));
        put_body(&mut self.ready, channel, &digest);
        self.channels.remove(&channel);
    }
}

/// Copies at most `most` bytes from `input` to `output`.
fn pass(input: &mut &[u8], output: Option<&mut [u8]>, most: usize) -> usize {
    let output = output.unwrap_or_default();
    let count = most.min(input.len()).min(output.len());
    let (passed, rest) = input.split_at(count);
    output[..count].copy_from_slice(passed);
    *input = rest;
    count
}

/// Puts out a frame.
fn put(out: &mut Vec<u8>, kind: u8, channel: u16, payload: &[u8]) {
    // Our own payload fits into the smallest frame, or is as large as a frame that came.
    let size = u32::try_from(payload.len()).unwrap_or(u32::MAX);
    out.push(kind);
    out.extend(channel.to_be_bytes());
    out.extend(size.to_be_bytes());
    out.extend_from_slice(payload);
    out.push(FRAME_END);
}

/// Puts out a piece of a body, in frames of any size that is allowed.
fn put_body(out: &mut Vec<u8>, channel: u16, bytes: &[u8]) {
    for piece in bytes.chunks(PIECE) {
        put(out, BODY, channel, piece);
    }
}

fn length(bytes: usize) -> u64 {
    u64::try_from(bytes).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests;
