//! Errors of TLS: the expected and the found, and what to do.

use std::io;

use rustls::pki_types::UnixTime;
use rustls::{AlertDescription, CertificateError, Error};
use time::OffsetDateTime;

/// The other side of a link.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Peer {
    /// The broker.
    Broker,
    /// The database.
    Database,
    /// The mail server of a destination.
    MailServer,
}

impl Peer {
    /// Its section in the configuration.
    fn section(self) -> &'static str {
        match self {
            Self::Broker => "broker",
            Self::Database => "database",
            Self::MailServer => "smtp",
        }
    }

    /// Its name for people.
    fn name(self) -> &'static str {
        match self {
            Self::Broker => "broker",
            Self::Database => "database",
            Self::MailServer => "mail server",
        }
    }
}

/// An error of TLS in words; `None` for any other error.
pub fn explain(error: &io::Error, peer: Peer) -> Option<String> {
    let inner = error.get_ref()?;
    if let Some(error) = inner.downcast_ref::<Error>() {
        return Some(words(error, peer));
    }
    explain(inner.downcast_ref::<io::Error>()?, peer)
}

fn words(error: &Error, peer: Peer) -> String {
    let (section, name) = (peer.section(), peer.name());
    match error {
        Error::InvalidCertificate(error) => about_its_certificate(error, section),
        Error::AlertReceived(alert) => about_our_certificate(*alert, peer),
        Error::PeerIncompatible(_) => {
            format!(
                "expected TLS 1.2 or 1.3, found a {name} without a version or a cipher of these: update it ({error})"
            )
        }
        Error::InvalidMessage(_) | Error::InappropriateMessage { .. } => {
            format!(
                "expected TLS, found a server that speaks something else: check host and port in {section}.url"
            )
        }
        _ => format!("TLS failed: {error}"),
    }
}

fn about_its_certificate(error: &CertificateError, section: &str) -> String {
    match error {
        CertificateError::UnknownIssuer => format!(
            "expected a certificate of an authority that is trusted here, found one of another authority: set \
             {section}.tls.ca to a file with that authority's certificate, or add it to those of this machine"
        ),
        CertificateError::NotValidForNameContext {
            expected,
            presented,
        } => format!(
            "expected a certificate for {:?}, found one for {}: use a name in {section}.url that the certificate \
             has, or renew the certificate with this name",
            expected.to_str(),
            match presented.is_empty() {
                true => "no name at all".to_owned(),
                false => presented.join(", "),
            }
        ),
        CertificateError::ExpiredContext { not_after, .. } => format!(
            "expected a certificate that is valid now, found one that expired at {}: renew it; if it is newer, mend \
             the clock of this machine",
            moment(*not_after)
        ),
        CertificateError::NotValidYetContext { not_before, .. } => format!(
            "expected a certificate that is valid now, found one that is valid from {} on: mend the clock of this \
             machine, or wait",
            moment(*not_before)
        ),
        error => format!(
            "expected a certificate that can be used, found another one ({error}): replace it"
        ),
    }
}

/// The other side has ended the handshake, mostly over the certificate that we showed or did not show.
fn about_our_certificate(alert: AlertDescription, peer: Peer) -> String {
    let (section, name) = (peer.section(), peer.name());
    let ours = format!("{section}.tls.certificate and {section}.tls.key");
    match alert {
        AlertDescription::CertificateRequired => {
            format!("the {name} expects a client certificate, found none: set {ours}")
        }
        AlertDescription::HandshakeFailure => format!(
            "the {name} refuses the handshake: if it expects a client certificate, set {ours}; else it accepts no \
             cipher of TLS 1.2 or 1.3"
        ),
        AlertDescription::UnknownCA
        | AlertDescription::BadCertificate
        | AlertDescription::UnsupportedCertificate
        | AlertDescription::CertificateRevoked
        | AlertDescription::CertificateExpired
        | AlertDescription::CertificateUnknown
        | AlertDescription::AccessDenied => format!(
            "the {name} refuses the client certificate ({alert:?}): expected one that is valid and of an authority \
             that the {name} trusts in {ours}"
        ),
        AlertDescription::ProtocolVersion => {
            format!("expected TLS 1.2 or 1.3, found a {name} that takes neither: update it")
        }
        AlertDescription::UnrecognisedName => format!(
            "the {name} knows no certificate for the host in {section}.url: use a name that it has"
        ),
        alert => format!("the {name} ends the handshake ({alert:?}): see its log"),
    }
}

fn moment(time: UnixTime) -> String {
    let seconds = i64::try_from(time.as_secs()).unwrap_or(i64::MAX);
    let moment = OffsetDateTime::from_unix_timestamp(seconds).ok();
    let told = moment.and_then(|it| {
        it.format(&time::format_description::well_known::Rfc3339)
            .ok()
    });
    told.unwrap_or_else(|| "an unknown time".to_owned())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use rustls::pki_types::ServerName;

    use super::*;

    fn told(error: Error) -> String {
        let outer = io::Error::other(io::Error::new(io::ErrorKind::InvalidData, error));
        explain(&outer, Peer::Broker).unwrap()
    }

    #[test]
    fn each_error_says_what_is_expected_and_what_to_do() {
        let at = |seconds| UnixTime::since_unix_epoch(Duration::from_secs(seconds));
        let wrong_name = CertificateError::NotValidForNameContext {
            expected: ServerName::try_from("a.example").unwrap(),
            presented: vec!["DnsName(\"b.example\")".to_owned()],
        };
        let expired = CertificateError::ExpiredContext {
            time: at(2),
            not_after: at(1),
        };
        let early = CertificateError::NotValidYetContext {
            time: at(1),
            not_before: at(2),
        };
        for (error, words) in [
            (
                Error::InvalidCertificate(CertificateError::UnknownIssuer),
                &["broker.tls.ca"][..],
            ),
            (
                Error::InvalidCertificate(wrong_name),
                &["\"a.example\"", "b.example", "broker.url"],
            ),
            (
                Error::InvalidCertificate(expired),
                &["expired at 1970-01-01T00:00:01Z", "renew"],
            ),
            (
                Error::InvalidCertificate(early),
                &["from 1970-01-01T00:00:02Z on", "clock"],
            ),
            (
                Error::InvalidCertificate(CertificateError::BadSignature),
                &["replace it"],
            ),
            (
                Error::AlertReceived(AlertDescription::CertificateRequired),
                &["client certificate", "broker.tls.certificate"],
            ),
            (
                Error::AlertReceived(AlertDescription::UnknownCA),
                &["refuses the client certificate", "broker.tls.key"],
            ),
            (
                Error::AlertReceived(AlertDescription::ProtocolVersion),
                &["TLS 1.2 or 1.3"],
            ),
            (
                Error::InvalidMessage(rustls::InvalidMessage::InvalidContentType),
                &["something else", "broker.url"],
            ),
        ] {
            let told = told(error);
            for word in words {
                assert!(told.contains(word), "{word}: {told}");
            }
            assert!(told.contains("expect") || told.contains("refuse"), "{told}");
        }
    }

    #[test]
    fn any_other_error_is_somebody_else_s() {
        for error in [
            io::Error::from(io::ErrorKind::ConnectionRefused),
            io::Error::other("hello"),
        ] {
            assert_eq!(explain(&error, Peer::Database), None);
        }
    }
}
