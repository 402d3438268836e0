//! How the link to the database is encrypted.

use std::net::IpAddr;

use sqlx::postgres::{PgConnectOptions, PgSslMode};

use crate::config::LinkTls;

/// The options of a database's URL with the configured certificates. sqlx reads the files at each connection, so a
/// renewed certificate counts from the next one on.
pub(super) fn encrypted(options: PgConnectOptions, tls: &LinkTls) -> PgConnectOptions {
    if tls.is_set() {
        with_certificates(options, tls)
    } else {
        without_needless_tls(options)
    }
}

/// With certificates the server must show one, too: for the host in the URL, unless the URL itself asks for less.
fn with_certificates(mut options: PgConnectOptions, tls: &LinkTls) -> PgConnectOptions {
    if !matches!(options.get_ssl_mode(), PgSslMode::VerifyCa) {
        options = options.ssl_mode(PgSslMode::VerifyFull);
    }
    if let Some(ca) = &tls.ca {
        options = options.ssl_root_cert(ca);
    }
    match tls.identity() {
        Some(shown) => options
            .ssl_client_cert(shown.certificate)
            .ssl_client_key(shown.key),
        None => options,
    }
}

/// Leaves TLS out if it is only preferred and nothing leaves the machine. It would cost more than its ciphers:
/// sqlx 0.9.0 does not set `TCP_NODELAY` (issue 4335, mended in the release after it). So each batch that needs
/// two TLS records would wait 40 ms for a delayed acknowledgement in between.
fn without_needless_tls(options: PgConnectOptions) -> PgConnectOptions {
    let host = options.get_host();
    let stays_here = host == "localhost"
        || host
            .parse::<IpAddr>()
            .is_ok_and(|address| address.is_loopback());
    match options.get_ssl_mode() {
        PgSslMode::Allow | PgSslMode::Prefer if stays_here => options.ssl_mode(PgSslMode::Disable),
        _ => options,
    }
}

#[cfg(test)]
mod tests {
    use std::str::FromStr as _;

    use super::*;

    #[test]
    fn with_certificates_the_server_must_show_one_too() {
        let mode = |url: &str, tls: &LinkTls| {
            let options = PgConnectOptions::from_str(url).unwrap();
            encrypted(options, tls).get_ssl_mode()
        };
        let tls = LinkTls {
            ca: Some("ca.pem".into()),
            ..LinkTls::default()
        };
        for (url, tls, expected) in [
            ("postgres://127.0.0.1/d", &tls, PgSslMode::VerifyFull),
            ("postgres://h/d", &tls, PgSslMode::VerifyFull),
            (
                "postgres://h/d?sslmode=verify-ca",
                &tls,
                PgSslMode::VerifyCa,
            ),
            ("postgres://h/d", &LinkTls::default(), PgSslMode::Prefer),
            (
                "postgres://127.0.0.1/d",
                &LinkTls::default(),
                PgSslMode::Disable,
            ),
        ] {
            let found = mode(url, tls);
            assert_eq!(format!("{found:?}"), format!("{expected:?}"), "{url}");
        }
    }
}
