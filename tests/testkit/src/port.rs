//! Free TCP ports on loopback.

use std::net::{Ipv4Addr, TcpListener};
use std::sync::atomic::{AtomicU32, Ordering};

use anyhow::{Result, bail};

/// Below Linux's ephemeral range (32768 and up). So no outgoing connection of a parallel test takes
/// the port between this check and the moment a process binds it.
const FIRST: u32 = 20_000;
const COUNT: u32 = 12_000;

/// How many ports a test has before it comes to those of a parallel one.
const OF_ONE_TEST: u32 = 40;

/// How many ports this test has been given.
static GIVEN: AtomicU32 = AtomicU32::new(0);

/// A port on 127.0.0.1 that nobody listens on and that nobody was given before: a process may need a while until it
/// listens. Each test is a process of its own, so parallel ones begin at other ports.
///
/// # Errors
/// If none of many tries is free.
pub fn free() -> Result<u16> {
    let first = std::process::id().wrapping_mul(OF_ONE_TEST);
    for _ in 0..200 {
        let given = GIVEN.fetch_add(1, Ordering::Relaxed);
        let port = FIRST + first.wrapping_add(given) % COUNT;
        let port = u16::try_from(port)?;
        if TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok() {
            return Ok(port);
        }
    }
    bail!(
        "found no free port between {FIRST} and {}; is something leaking listeners?",
        FIRST + COUNT
    )
}
