//! Free TCP ports on loopback.

use std::net::{Ipv4Addr, TcpListener};
use std::ops::Range;
use std::sync::{Mutex, PoisonError};

use anyhow::{Result, bail};

/// Below Linux's ephemeral range (32768 and up). So no outgoing connection of a parallel test takes
/// the port between this check and the moment a process binds it.
const FIRST: u16 = 20_000;
const BLOCKS: u16 = 300;

/// How many ports a block has. Its first is its lock.
const SIZE: u16 = 40;

/// Ports for this process alone.
struct Block {
    /// Keeps others out: the system closes it when this process ends, however it ends.
    _lock: TcpListener,
    left: Range<u16>,
}

/// The last is the one in use. The others' ports are all given, and stay so.
static TAKEN: Mutex<Vec<Block>> = Mutex::new(Vec::new());

/// A port on 127.0.0.1 that nobody listens on and that nobody else is given while this process lives: a program may
/// need a while until it listens, and a test may stop listening for a while.
///
/// # Errors
/// If all are given or in use.
pub fn free() -> Result<u16> {
    let mut taken = TAKEN.lock().unwrap_or_else(PoisonError::into_inner);
    loop {
        let mut left = taken
            .last_mut()
            .into_iter()
            .flat_map(|block| &mut block.left);
        if let Some(port) = left.find(|port| listen(*port).is_some()) {
            return Ok(port);
        }
        taken.push(Block::take()?);
    }
}

impl Block {
    /// Parallel processes begin to look at different ones.
    fn take() -> Result<Self> {
        let begin = std::process::id() % u32::from(BLOCKS);
        let begin = u16::try_from(begin)?;
        for block in (begin..BLOCKS).chain(0..begin) {
            let first = FIRST + block * SIZE;
            if let Some(lock) = listen(first) {
                let left = first + 1..first + SIZE;
                return Ok(Self { _lock: lock, left });
            }
        }
        bail!(
            "found no free port between {FIRST} and {}; is something leaking listeners?",
            FIRST + BLOCKS * SIZE
        )
    }
}

fn listen(port: u16) -> Option<TcpListener> {
    TcpListener::bind((Ipv4Addr::LOCALHOST, port)).ok()
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn processes_that_begin_at_the_same_block_get_different_ones() -> Result<()> {
        // The same id twice is what two ids with the same remainder are.
        let (one, other) = (Block::take()?, Block::take()?);
        assert!(!one.left.clone().any(|port| other.left.contains(&port)));
        Ok(())
    }

    #[test]
    fn no_port_is_given_twice() -> Result<()> {
        let ports: Vec<u16> = (0..3 * SIZE).map(|_| free()).collect::<Result<_>>()?;
        let distinct: HashSet<_> = ports.iter().collect();
        assert_eq!(distinct.len(), ports.len());
        Ok(())
    }
}
