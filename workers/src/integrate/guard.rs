//! Where deliveries may go: to public addresses, and to those that the operator names.
//!
//! The guard sits in the resolver, so the very addresses that are checked are the ones connected to:
//! a name cannot point elsewhere in between. Addresses written in a webhook's URL never meet a resolver and
//! are checked by hand.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::vec;

use futures_util::future::BoxFuture;
use hyper_util::client::legacy::connect::dns::Name;
use ipnet::IpNet;
use tower::{BoxError, Service};
use url::{Host, Url};

/// Which addresses may be connected to.
#[derive(Debug, Clone)]
pub(super) struct Guard {
    allow: Arc<[IpNet]>,
    expected: Expected,
}

/// The addresses that may be connected to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Expected {
    /// Public ones, and those that the operator names.
    Public,
    /// `http`: only those that the operator names.
    NamedForHttp,
    /// Mail without TLS: only those that the operator names.
    NamedForMail,
}

impl Expected {
    fn words(self) -> &'static str {
        match self {
            Self::Public => "a public address",
            Self::NamedForHttp => "https, or http to an address that is named",
            Self::NamedForMail => "TLS, or `tls = \"none\"` to an address that is named",
        }
    }
}

/// An address that deliveries may not go to.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "expected {expected}, found {found}; name the address in [outbound] allow if it is meant to be \
     reached"
)]
pub(super) struct Forbidden {
    expected: &'static str,
    found: String,
}

impl Guard {
    /// The guard of a webhook at `url`.
    pub(super) fn new(url: &Url, allow: Vec<IpNet>) -> Self {
        Self {
            allow: allow.into(),
            expected: match url.scheme() {
                "https" => Expected::Public,
                _ => Expected::NamedForHttp,
            },
        }
    }

    /// The guard of a mail server.
    pub(super) fn of_mail(is_encrypted: bool, allow: Vec<IpNet>) -> Self {
        Self {
            allow: allow.into(),
            expected: match is_encrypted {
                true => Expected::Public,
                false => Expected::NamedForMail,
            },
        }
    }

    /// The addresses of a host that may be connected to.
    ///
    /// # Errors
    /// The host has no address, or [`Forbidden`]: none of its addresses may be connected to.
    pub(super) async fn resolve(&self, host: &str, port: u16) -> Result<Vec<SocketAddr>, BoxError> {
        let found = tokio::net::lookup_host((host, port)).await?;
        let mut last = None;
        let allowed: Vec<SocketAddr> = found
            .filter(|address| match self.check(address.ip()) {
                Ok(()) => true,
                Err(forbidden) => {
                    last = Some(forbidden);
                    false
                }
            })
            .collect();
        match (allowed.is_empty(), last) {
            (true, Some(forbidden)) => Err(forbidden.into()),
            _ => Ok(allowed),
        }
    }

    /// Checks an address that is written in the URL itself.
    pub(super) fn check_url(&self, url: &Url) -> Result<(), Forbidden> {
        match url.host() {
            Some(Host::Ipv4(address)) => self.check(address.into()),
            Some(Host::Ipv6(address)) => self.check(address.into()),
            Some(Host::Domain(_)) | None => Ok(()),
        }
    }

    fn check(&self, address: IpAddr) -> Result<(), Forbidden> {
        let address = address.to_canonical();
        if self.allow.iter().any(|net| net.contains(&address)) {
            return Ok(());
        }
        if self.expected == Expected::Public && is_public(address) {
            return Ok(());
        }
        Err(Forbidden {
            expected: self.expected.words(),
            found: address.to_string(),
        })
    }
}

/// The resolver of the HTTP client.
impl Service<Name> for Guard {
    type Response = vec::IntoIter<SocketAddr>;
    type Error = BoxError;
    type Future = BoxFuture<'static, Result<Self::Response, Self::Error>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, name: Name) -> Self::Future {
        let guard = self.clone();
        Box::pin(async move {
            let allowed = guard.resolve(name.as_str(), 0).await?;
            Ok(allowed.into_iter())
        })
    }
}

/// Whether an address is on the public internet (IANA's special-purpose registries, as of 2025).
fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => is_public_v4(address),
        IpAddr::V6(address) => is_public_v6(address),
    }
}

fn is_public_v4(address: Ipv4Addr) -> bool {
    let [a, b, c, _] = address.octets();
    !(address.is_private()
        || address.is_loopback()
        || address.is_link_local()
        || address.is_broadcast()
        || address.is_documentation()
        || address.is_multicast()
        || a == 0
        || a >= 240
        // Shared address space of carriers.
        || (a == 100 && (64..128).contains(&b))
        // IETF protocol assignments, and the relays of 6to4.
        || (a == 192 && b == 0 && c == 0)
        || (a == 192 && b == 88 && c == 99)
        // Benchmarks.
        || (a == 198 && (b == 18 || b == 19)))
}

fn is_public_v6(address: Ipv6Addr) -> bool {
    let segments = address.segments();
    // Global unicast is 2000::/3; all other ranges have a special purpose.
    let global = segments[0] & 0xe000 == 0x2000;
    let special = match segments[0] {
        // Protocol assignments such as Teredo, and documentation.
        0x2001 => segments[1] < 0x200 || segments[1] == 0xdb8,
        // 6to4 can hide any IPv4 address.
        0x2002 => true,
        // Documentation.
        0x3fff => segments[1] < 0x1000,
        _ => false,
    };
    global && !special
}

#[cfg(test)]
mod tests {
    use super::*;

    fn guard(url: &str, allow: &[&str]) -> (Guard, Url) {
        let url: Url = url.parse().unwrap();
        (
            Guard::new(&url, allow.iter().map(|net| net.parse().unwrap()).collect()),
            url,
        )
    }

    #[test]
    fn only_the_public_internet_is_public() {
        for public in [
            "1.1.1.1",
            "93.184.216.34",
            "2606:4700::1111",
            "2001:4860::8888",
        ] {
            assert!(is_public(public.parse().unwrap()), "{public}");
        }
        for private in [
            "0.0.0.0",
            "10.0.0.1",
            "100.64.0.1",
            "127.0.0.1",
            "169.254.169.254",
            "172.16.0.1",
            "192.0.0.1",
            "192.0.2.1",
            "192.168.1.1",
            "198.18.0.1",
            "224.0.0.1",
            "240.0.0.1",
            "255.255.255.255",
            "::",
            "::1",
            "fe80::1",
            "fc00::1",
            "ff02::1",
            "2001:db8::1",
            "2002:7f00:1::",
            "64:ff9b::7f00:1",
            "100::1",
        ] {
            assert!(!is_public(private.parse().unwrap()), "{private}");
        }
    }

    #[test]
    fn addresses_in_the_url_are_checked_in_any_spelling() {
        for hidden in [
            "https://127.0.0.1/",
            "https://2130706433/",
            "https://0x7f.1/",
            "https://[::1]/",
            "https://[::ffff:127.0.0.1]/",
            "https://169.254.169.254/latest/meta-data",
        ] {
            let (guard, url) = guard(hidden, &[]);
            assert!(guard.check_url(&url).is_err(), "{hidden}");
        }
        let (guard, url) = guard("https://1.1.1.1/", &[]);
        assert_eq!(guard.check_url(&url), Ok(()));
    }

    #[test]
    fn what_the_operator_names_may_be_reached_and_plainly() {
        let (named, url) = guard("http://127.0.0.1:9000/hook", &["127.0.0.0/8"]);
        assert_eq!(named.check_url(&url), Ok(()));
        let (plain, url) = guard("http://1.1.1.1/hook", &["127.0.0.0/8"]);
        assert!(
            plain.check_url(&url).is_err(),
            "plain http to a public address"
        );
    }

    #[tokio::test]
    async fn a_name_that_points_inside_is_refused() {
        let (mut refusing, _) = guard("https://localhost/", &[]);
        let name: Name = "localhost".parse().unwrap();
        assert!(refusing.call(name.clone()).await.is_err());
        let (mut allowing, _) = guard("https://localhost/", &["127.0.0.0/8", "::1/128"]);
        let found = allowing.call(name).await.map(Iterator::count);
        assert!(found.is_ok_and(|count| count > 0));
    }

    #[tokio::test]
    async fn mail_without_tls_goes_only_where_the_operator_says() {
        let allow = |net: &str| vec![net.parse().unwrap()];
        let plain = Guard::of_mail(false, allow("127.0.0.0/8"));
        assert!(plain.resolve("127.0.0.1", 25).await.is_ok());
        let error = plain.resolve("1.1.1.1", 25).await.unwrap_err().to_string();
        assert!(error.contains("TLS, or"), "{error}");
        let encrypted = Guard::of_mail(true, Vec::new());
        assert!(encrypted.resolve("1.1.1.1", 465).await.is_ok());
        for inside in ["127.0.0.1", "2130706433", "::1", "localhost"] {
            let refused = encrypted.resolve(inside, 465).await.unwrap_err();
            assert!(refused.is::<Forbidden>(), "{inside}: {refused}");
        }
    }
}
