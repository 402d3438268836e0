//! The certificate of a server, which is read again when its files change.

use std::convert::Infallible;
use std::path::PathBuf;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use rustls::ServerConfig;
use rustls::crypto::ring::default_provider;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::version::{TLS12, TLS13};
use sha2::{Digest as _, Sha256};
use tokio_rustls::TlsAcceptor;

use crate::config::Identity;
use crate::tls::files::parse_identity;

/// How often the files are looked at.
const LOOK_EVERY: Duration = Duration::from_secs(2);

/// The protocol that is spoken over TLS (ALPN).
const HTTP_1_1: &[u8] = b"http/1.1";

/// The certificate that a server shows.
pub struct Certificate {
    config: Arc<ServerConfig>,
    shown: Arc<Shown>,
    files: Identity,
    /// The content that was looked at last.
    seen: Content,
}

/// The certificate of new connections.
#[derive(Debug)]
struct Shown(RwLock<Arc<CertifiedKey>>);

/// A digest of both files, or the reason why they cannot be read.
type Content = Result<[u8; 32], String>;

impl Certificate {
    /// Reads the certificate and its key.
    ///
    /// # Errors
    /// One of the files cannot be used. The text names the file, and the expected and the found content.
    pub async fn read(files: Identity) -> Result<Self, String> {
        let (seen, read) = look(&files).await;
        let shown = Arc::new(Shown(RwLock::new(Arc::new(read?))));
        let mut config = ServerConfig::builder_with_provider(Arc::new(default_provider()))
            .with_protocol_versions(&[&TLS13, &TLS12])
            .map_err(|error| error.to_string())?
            .with_no_client_auth()
            .with_cert_resolver(Arc::clone(&shown) as _);
        config.alpn_protocols = vec![HTTP_1_1.to_vec()];
        Ok(Self {
            config: Arc::new(config),
            shown,
            files,
            seen,
        })
    }

    pub(super) fn acceptor(&self) -> TlsAcceptor {
        TlsAcceptor::from(Arc::clone(&self.config))
    }

    /// Looks at the files again and again, for ever. New connections get a new certificate; where that cannot be used,
    /// they get the old one on, and the log says so once.
    pub(super) async fn keep(mut self) -> Infallible {
        loop {
            tokio::time::sleep(LOOK_EVERY).await;
            self.look_again().await;
        }
    }

    async fn look_again(&mut self) {
        let (seen, read) = look(&self.files).await;
        if seen == self.seen {
            return;
        }
        self.seen = seen;
        let certificate = self.files.certificate.display();
        match read {
            Ok(key) => {
                *self.shown.0.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(key);
                tracing::info!(tls.certificate = %certificate, "new connections get the new certificate");
            }
            Err(problem) => tracing::error!(
                tls.certificate = %certificate,
                error = problem,
                "the new certificate cannot be used: connections still get the old one"
            ),
        }
    }
}

impl ResolvesServerCert for Shown {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let shown = self.0.read().unwrap_or_else(PoisonError::into_inner);
        Some(Arc::clone(&shown))
    }
}

/// The content of the files, and the certificate in them.
async fn look(files: &Identity) -> (Content, Result<CertifiedKey, String>) {
    let read = async |path: &PathBuf| {
        tokio::fs::read(path).await.map_err(|error| {
            format!(
                "expected a file that can be read, found none in {}: {error}",
                path.display()
            )
        })
    };
    let (certificate, key) = match tokio::try_join!(read(&files.certificate), read(&files.key)) {
        Ok(both) => both,
        Err(problem) => return (Err(problem.clone()), Err(problem)),
    };
    let digest = Sha256::new()
        .chain_update(Sha256::digest(&certificate))
        .chain_update(Sha256::digest(&key))
        .finalize();
    (Ok(digest.into()), parse_identity(files, &certificate, &key))
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use testkit::pki::{Authority, Leaf};

    use super::*;

    fn write(folder: &Path, leaf: &Leaf) -> Identity {
        let files = Identity {
            certificate: folder.join("certificate.pem"),
            key: folder.join("key.pem"),
        };
        std::fs::write(&files.certificate, &leaf.certificate).unwrap();
        std::fs::write(&files.key, &leaf.key).unwrap();
        files
    }

    fn shown(certificate: &Certificate) -> Vec<u8> {
        let shown = certificate.shown.0.read().unwrap();
        shown.cert[0].to_vec()
    }

    #[tokio::test]
    async fn a_new_certificate_is_shown_and_a_bad_one_leaves_the_old() {
        let folder = tempfile::tempdir().unwrap();
        let authority = Authority::new("a").unwrap();
        let leaf = || authority.issue(&["localhost"]).unwrap();
        let files = write(folder.path(), &leaf());
        let mut certificate = Certificate::read(files.clone()).await.unwrap();
        let first = shown(&certificate);
        certificate.look_again().await;
        assert_eq!(shown(&certificate), first);

        // The certificate of another key: half of a renewal.
        let next = leaf();
        std::fs::write(&files.certificate, &next.certificate).unwrap();
        certificate.look_again().await;
        assert_eq!(shown(&certificate), first);
        std::fs::write(&files.key, &next.key).unwrap();
        certificate.look_again().await;
        let second = shown(&certificate);
        assert_ne!(second, first);

        std::fs::remove_file(&files.key).unwrap();
        certificate.look_again().await;
        assert!(certificate.seen.is_err());
        assert_eq!(shown(&certificate), second);
        write(folder.path(), &leaf());
        certificate.look_again().await;
        assert_ne!(shown(&certificate), second);
    }

    #[tokio::test]
    async fn a_certificate_that_cannot_be_used_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let authority = Authority::new("a").unwrap();
        let files = write(folder.path(), &authority.issue(&["localhost"]).unwrap());
        std::fs::write(&files.key, "hunter2").unwrap();
        let problem = Certificate::read(files).await.err().unwrap();
        assert!(problem.contains("key.pem"), "{problem}");
        assert!(problem.starts_with("expected a private key"), "{problem}");
        assert!(!problem.contains("hunter2"), "{problem}");
    }
}
