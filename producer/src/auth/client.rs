//! The address of a client, seen through proxies that are believed.

use std::net::{IpAddr, Ipv6Addr};

use axum::http::{Extensions, HeaderMap};
use common::server::Peer;
use ipnet::IpNet;

const FORWARDED_FOR: &str = "x-forwarded-for";

/// The address of a client; `None` where there is no connection, as in tests of the router alone.
pub(crate) type Client = Option<IpAddr>;

/// Tells the addresses of clients.
pub(crate) struct Clients {
    /// The proxies whose word is believed.
    proxies: Vec<IpNet>,
}

impl Clients {
    pub(crate) fn new(proxies: Vec<IpNet>) -> Self {
        Self { proxies }
    }

    /// The address of the sender of a request. A proxy appends the address that it sees, so the client's is the last address in
    /// `X-Forwarded-For` that does not belong to a proxy. Everything before it is the client's own word.
    pub(crate) fn of(&self, headers: &HeaderMap, extensions: &Extensions) -> Client {
        let Peer(peer) = extensions.get::<Peer>()?;
        let mut address = peer.ip().to_canonical();
        let forwarded = headers.get_all(FORWARDED_FOR).iter();
        let forwarded: Vec<&str> = forwarded
            .filter_map(|value| value.to_str().ok())
            .flat_map(|value| value.split(','))
            .collect();
        for text in forwarded.iter().rev() {
            if !self.is_proxy(address) {
                break;
            }
            // What a proxy has not understood is not understood here either.
            let Ok(before) = text.trim().parse::<IpAddr>() else {
                break;
            };
            address = before.to_canonical();
        }
        Some(address)
    }

    fn is_proxy(&self, address: IpAddr) -> bool {
        self.proxies.iter().any(|proxy| proxy.contains(&address))
    }
}

/// The network that counts as one client: all of an IPv6 /64 usually belongs to one.
pub(super) fn network(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(_) => address,
        IpAddr::V6(address) => {
            let [a, b, c, d, ..] = address.segments();
            Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0).into()
        }
    }
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    fn seen(peer: &str, forwarded: &[&str]) -> String {
        let clients = Clients::new(vec!["10.0.0.0/8".parse().unwrap()]);
        let mut headers = HeaderMap::new();
        for value in forwarded {
            headers.append(FORWARDED_FOR, HeaderValue::from_str(value).unwrap());
        }
        let mut extensions = Extensions::new();
        extensions.insert(Peer(peer.parse().unwrap()));
        clients.of(&headers, &extensions).unwrap().to_string()
    }

    #[test]
    fn a_proxy_is_believed_and_nobody_else() {
        assert_eq!(seen("203.0.113.9:1", &["198.51.100.1"]), "203.0.113.9");
        assert_eq!(seen("10.0.0.1:1", &["198.51.100.1"]), "198.51.100.1");
        assert_eq!(
            seen("10.0.0.1:1", &["198.51.100.1, 10.2.2.2"]),
            "198.51.100.1"
        );
        assert_eq!(
            seen("[::ffff:10.0.0.1]:1", &["198.51.100.1"]),
            "198.51.100.1"
        );
    }

    #[test]
    fn what_a_client_has_written_before_its_proxy_counts_for_nothing() {
        let invented = "192.0.2.7, 198.51.100.1";
        assert_eq!(seen("10.0.0.1:1", &[invented]), "198.51.100.1");
        assert_eq!(
            seen("10.0.0.1:1", &["192.0.2.7", "198.51.100.1"]),
            "198.51.100.1"
        );
        assert_eq!(seen("10.0.0.1:1", &["192.0.2.7, unknown"]), "10.0.0.1");
        assert_eq!(seen("10.0.0.1:1", &[]), "10.0.0.1");
    }

    #[test]
    fn an_ipv6_network_is_one_client() {
        let one = network("2001:db8:1:2:3:4:5:6".parse().unwrap());
        assert_eq!(one, network("2001:db8:1:2::1".parse().unwrap()));
        assert_ne!(one, network("2001:db8:1:3::1".parse().unwrap()));
    }
}
