//! The settings of our side of a link.

use std::sync::Arc;

use rustls::crypto::ring::default_provider;
use rustls::sign::SingleCertAndKey;
use rustls::version::{TLS12, TLS13};
use rustls::{ClientConfig, RootCertStore};

use super::files;
use crate::config::LinkTls;

/// Whether the files can be used.
///
/// # Errors
/// One of them cannot. The text names the file, and the expected and the found content.
pub(crate) fn check(tls: &LinkTls) -> Result<(), String> {
    if let Some(ca) = &tls.ca {
        files::add_authorities(&mut RootCertStore::empty(), ca)?;
    }
    if let Some(identity) = tls.identity() {
        files::read_identity(&identity)?;
    }
    Ok(())
}

/// The settings of a connection. The files are read each time, so that a renewed certificate counts from the next
/// connection on.
///
/// # Errors
/// A file cannot be used. The text names it, and the expected and the found content.
pub fn client(tls: &LinkTls) -> Result<Arc<ClientConfig>, String> {
    let mut roots = RootCertStore::empty();
    // A broken certificate of the machine is not the operator's concern here; a missing one shows in the handshake.
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if let Some(ca) = &tls.ca {
        files::add_authorities(&mut roots, ca)?;
    }
    let builder = ClientConfig::builder_with_provider(Arc::new(default_provider()))
        .with_protocol_versions(&[&TLS13, &TLS12])
        .map_err(|error| error.to_string())?
        .with_root_certificates(roots);
    Ok(Arc::new(match tls.identity() {
        Some(identity) => {
            let shown = files::read_identity(&identity)?;
            builder.with_client_cert_resolver(Arc::new(SingleCertAndKey::from(shown)))
        }
        None => builder.with_no_client_auth(),
    }))
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;
    use testkit::pki::Authority;

    struct Files {
        folder: tempfile::TempDir,
    }

    impl Files {
        fn new() -> Self {
            let folder = tempfile::tempdir().unwrap();
            Self { folder }
        }

        fn write(&self, name: &str, text: &str) -> PathBuf {
            let path = self.folder.path().join(name);
            std::fs::write(&path, text).unwrap();
            path
        }
    }

    #[test]
    fn a_file_that_cannot_be_used_is_named_with_the_expected_content() {
        let files = Files::new();
        let authority = Authority::new("a").unwrap();
        let leaf = authority.issue(&["localhost"]).unwrap();
        let other = authority.issue(&["localhost"]).unwrap();
        let certificate = files.write("certificate.pem", &leaf.certificate);
        let key = files.write("key.pem", &leaf.key);
        let strange = files.write("strange.pem", &other.key);
        let text = files.write("text.pem", "hunter2");
        let cut = files.write("cut.pem", &leaf.key[..60]);
        let missing = files.folder.path().join("missing.pem");
        let ca = |path: &PathBuf| LinkTls {
            ca: Some(path.clone()),
            ..LinkTls::default()
        };
        let shown = |certificate: &PathBuf, key: &PathBuf| LinkTls {
            certificate: Some(certificate.clone()),
            key: Some(key.clone()),
            ..LinkTls::default()
        };
        for (tls, words) in [
            (ca(&missing), "missing.pem, found no file that can be read"),
            (ca(&text), "text.pem, found none"),
            (ca(&key), "key.pem, found none"),
            (shown(&certificate, &missing), "private key in PEM"),
            (shown(&certificate, &text), "private key in PEM"),
            (
                shown(&certificate, &cut),
                "cut.pem, found a file that is not PEM",
            ),
            (shown(&certificate, &strange), "found another one in"),
            (shown(&text, &key), "a certificate in PEM"),
        ] {
            let error = check(&tls).expect_err(words);
            assert!(error.contains(words), "{words}: {error}");
            assert!(error.starts_with("expected"), "{error}");
            assert!(!error.contains("hunter2"), "{error}");
            assert_eq!(client(&tls).map(drop), Err(error));
        }
        let good = shown(&certificate, &key);
        assert_eq!(check(&good), Ok(()));
        assert!(client(&good).unwrap().client_auth_cert_resolver.has_certs());
        assert_eq!(check(&ca(&certificate)), Ok(()));
    }
}
