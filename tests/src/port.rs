//! Free TCP ports on loopback.

use std::net::{Ipv4Addr, TcpListener};

use anyhow::{Result, bail};

/// Below Linux's ephemeral range (32768 and up), so that no outgoing connection of a parallel test
/// takes the port between this check and the moment a process binds it.
const FIRST: u16 = 20_000;
const COUNT: u16 = 12_000;

/// A port on 127.0.0.1 that nobody listens on, picked at random so that parallel tests differ.
///
/// # Errors
/// If none of many tries is free.
pub fn free() -> Result<u16> {
    for _ in 0..200 {
        let port = FIRST + (uuid::Uuid::new_v4().as_u64_pair().0 % u64::from(COUNT)) as u16;
        if TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok() {
            return Ok(port);
        }
    }
    bail!(
        "found no free port between {FIRST} and {}; is something leaking listeners?",
        FIRST + COUNT
    )
}
