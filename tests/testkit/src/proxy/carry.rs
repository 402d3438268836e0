//! What one connection through a proxy carries.

use std::{future::pending, sync::OnceLock};

use anyhow::{Context, Result};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{
        TcpStream,
        tcp::{ReadHalf, WriteHalf},
    },
    sync::{Notify, broadcast, watch},
};

use super::{Protocol, State, Swallowed, lock};

/// The size of a read.
const BUFFER: usize = 64 * 1024;

/// A connection, and what it goes by.
pub(super) struct Connection {
    /// Its number, from 0.
    pub(super) number: u64,
    pub(super) protocol: Protocol,
    pub(super) state: watch::Receiver<State>,
    pub(super) swallowed: Swallowed,
    /// What the proxy says to the client by itself.
    pub(super) frames: broadcast::Receiver<Vec<u8>>,
}

/// An answer that does not reach the client.
#[derive(Default)]
struct Swallowing {
    /// What the answer ends in, once it is asked for.
    text: OnceLock<&'static [u8]>,
    done: Notify,
}

/// Carries bytes both ways until one side ends or the connection is to be reset.
pub(super) async fn carry(mut client: TcpStream, target: &str, connection: Connection) {
    let number = connection.number;
    if connection.state.borrow().resets(number) {
        let _ = client.set_zero_linger();
        return;
    }
    let Ok(mut server) = TcpStream::connect(target).await else {
        return;
    };
    let _ = (client.set_nodelay(true), server.set_nodelay(true));
    let mut watching = connection.state.clone();
    let swallowing = Swallowing::default();
    let is_broken = {
        let (from_client, to_client) = client.split();
        let (from_server, to_server) = server.split();
        let pump = |to| Pump {
            number,
            state: connection.state.clone(),
            to,
        };
        let (up, down) = (pump(to_server), pump(to_client));
        let asking = up.ask(from_client, &connection.swallowed, &swallowing);
        let answering = async {
            match connection.protocol {
                Protocol::Any => down.answer(from_server, &swallowing).await,
                Protocol::Amqp => down.answer_in_frames(from_server, connection.frames).await,
            }
        };
        tokio::select! {
            _ = watching.wait_for(|state| state.resets(number)) => true,
            () = swallowing.done.notified() => true,
            _ = async { tokio::join!(asking, answering) } => false,
        }
    };
    if is_broken {
        // A reset rather than a close: the peers must not take a cut for an orderly end.
        let _ = (client.set_zero_linger(), server.set_zero_linger());
    }
}

/// One direction of a connection.
struct Pump<'a> {
    number: u64,
    state: watch::Receiver<State>,
    to: WriteHalf<'a>,
}

impl Pump<'_> {
    /// Passes on what the client sends.
    async fn ask(mut self, mut from: ReadHalf<'_>, swallowed: &Swallowed, swallowing: &Swallowing) {
        let mut buffer = vec![0; BUFFER];
        while let Ok(count @ 1..) = from.read(&mut buffer).await {
            let bytes = &buffer[..count];
            if let Some(text) = lock(swallowed).take_if(|text| bytes.ends_with(text)) {
                // Only the first one counts.
                let _ = swallowing.text.set(text);
            }
            if self.pass(bytes).await.is_err() {
                break;
            }
        }
        let _ = self.to.shutdown().await;
    }

    /// Passes on what the server sends, but for an answer that is swallowed.
    async fn answer(mut self, mut from: ReadHalf<'_>, swallowing: &Swallowing) {
        let mut buffer = vec![0; BUFFER];
        let mut swallowed = Vec::new();
        while let Ok(count @ 1..) = from.read(&mut buffer).await {
            let bytes = &buffer[..count];
            if let Some(text) = swallowing.text.get() {
                swallowed.extend_from_slice(bytes);
                if swallowed.windows(text.len()).any(|part| part == *text) {
                    swallowing.done.notify_one();
                    pending::<()>().await;
                }
            } else if self.pass(bytes).await.is_err() {
                break;
            }
        }
        let _ = self.to.shutdown().await;
    }

    /// Passes on whole AMQP frames, and between them what the proxy says by itself.
    async fn answer_in_frames(
        mut self,
        mut from: ReadHalf<'_>,
        mut frames: broadcast::Receiver<Vec<u8>>,
    ) {
        let mut buffer = vec![0; BUFFER];
        let mut read = Vec::new();
        loop {
            let whole = tokio::select! {
                Ok(frame) = frames.recv() => frame,
                count = from.read(&mut buffer) => match count {
                    Ok(count @ 1..) => {
                        read.extend_from_slice(&buffer[..count]);
                        take_frames(&mut read)
                    }
                    _ => break,
                },
            };
            if self.pass(&whole).await.is_err() {
                break;
            }
        }
        let _ = self.to.shutdown().await;
    }

    /// Passes bytes on once the link lets them pass: what was read just when it stalled waits here.
    async fn pass(&mut self, bytes: &[u8]) -> Result<()> {
        let number = self.number;
        self.state
            .wait_for(|state| state.lets_pass(bytes, number))
            .await
            .context("the proxy is gone")?;
        Ok(self.to.write_all(bytes).await?)
    }
}

/// Takes the whole AMQP frames from the beginning of `read`.
fn take_frames(read: &mut Vec<u8>) -> Vec<u8> {
    let mut end = 0;
    // Type and channel, the size of the payload, the payload, and one byte that ends it.
    while let Some(&[_, _, _, a, b, c, d]) = read.get(end..end + 7) {
        let next = end + 8 + u32::from_be_bytes([a, b, c, d]) as usize;
        if read.len() < next {
            break;
        }
        end = next;
    }
    read.drain(..end).collect()
}
