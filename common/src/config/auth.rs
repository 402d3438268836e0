//! Who may come in: `[auth]`. The keys themselves are `[[key]]` ([`crate::key::KnownKey`]) or in the database.

use std::net::SocketAddr;

use ipnet::IpNet;
use serde::Deserialize;

use super::Rate;

/// `[auth]`
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Auth {
    /// Whether the door asks for keys. Unset: not on a loopback address, but on every other.
    pub door: Option<DoorMode>,
    /// Whether the signup form works without a key.
    pub form: FormMode,
    /// How many signups without a key one address may send, at a door that asks for keys.
    pub form_rate: Rate,
    /// The proxies in front of the door: their word on a client's address (`X-Forwarded-For`) is believed.
    pub proxies: Vec<IpNet>,
}

/// Whether the door asks for keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DoorMode {
    /// It asks for keys.
    Keys,
    /// It asks for nothing: everyone who reaches it may publish and read everything.
    Open,
}

/// Whether the signup form works without a key.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FormMode {
    /// It works as the rest of the door does.
    #[default]
    Closed,
    /// It does.
    Public,
}

impl Default for Auth {
    fn default() -> Self {
        Self {
            door: None,
            form: FormMode::default(),
            form_rate: Rate::per_minute(std::num::NonZeroU32::MIN.saturating_add(9)),
            proxies: Vec::new(),
        }
    }
}

impl Auth {
    /// Whether a door on this address asks for keys.
    pub fn door_at(&self, address: SocketAddr) -> DoorMode {
        let by_address = if address.ip().to_canonical().is_loopback() {
            DoorMode::Open
        } else {
            DoorMode::Keys
        };
        self.door.unwrap_or(by_address)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_loopback_door_is_open_unless_somebody_says_so() {
        let mut auth = Auth::default();
        for (address, mode) in [
            ("127.0.0.1:8080", DoorMode::Open),
            ("127.9.9.9:1", DoorMode::Open),
            ("[::1]:8080", DoorMode::Open),
            ("[::ffff:127.0.0.1]:8080", DoorMode::Open),
            ("0.0.0.0:8080", DoorMode::Keys),
            ("[::]:8080", DoorMode::Keys),
            ("10.0.0.5:8080", DoorMode::Keys),
        ] {
            assert_eq!(auth.door_at(address.parse().unwrap()), mode, "{address}");
        }
        auth.door = Some(DoorMode::Open);
        assert_eq!(auth.door_at(([0, 0, 0, 0], 80).into()), DoorMode::Open);
        auth.door = Some(DoorMode::Keys);
        assert_eq!(auth.door_at(([127, 0, 0, 1], 80).into()), DoorMode::Keys);
    }
}
