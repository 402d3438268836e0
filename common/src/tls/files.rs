//! Certificates and keys in files.

use std::path::Path;

use rustls::crypto::ring::default_provider;
use rustls::pki_types::pem::{self, PemObject as _};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use rustls::{InconsistentKeys, RootCertStore};

use crate::config::Identity;

/// Adds the certificates of a file to the trusted authorities.
pub(super) fn add_authorities(roots: &mut RootCertStore, path: &Path) -> Result<(), String> {
    for certificate in certificates(path, &read(path, CERTIFICATE)?)? {
        roots.add(certificate).map_err(|error| {
            wrong(
                path,
                CERTIFICATE,
                &format!("one that cannot be used: {error}"),
            )
        })?;
    }
    Ok(())
}

/// Reads a certificate and its private key.
pub(crate) fn read_identity(files: &Identity) -> Result<CertifiedKey, String> {
    let certificate = read(&files.certificate, CERTIFICATE)?;
    let key = read(&files.key, KEY)?;
    parse_identity(files, &certificate, &key)
}

/// The certificate and the private key of files with these contents.
pub(crate) fn parse_identity(
    files: &Identity,
    certificate: &[u8],
    key: &[u8],
) -> Result<CertifiedKey, String> {
    let chain = certificates(&files.certificate, certificate)?;
    let parsed = PrivateKeyDer::from_pem_slice(key)
        .map_err(|error| wrong(&files.key, KEY, found(&error)))?;
    CertifiedKey::from_der(chain, parsed, &default_provider()).map_err(|error| match error {
        rustls::Error::InconsistentKeys(InconsistentKeys::KeyMismatch) => format!(
            "expected the private key of the certificate in {}, found another one in {}",
            files.certificate.display(),
            files.key.display()
        ),
        error => wrong(
            &files.key,
            KEY,
            &format!("one that cannot be used: {error}"),
        ),
    })
}

const CERTIFICATE: &str = "a certificate in PEM (-----BEGIN CERTIFICATE-----)";
const KEY: &str = "a private key in PEM, without a password (-----BEGIN PRIVATE KEY-----)";

fn read(path: &Path, expected: &str) -> Result<Vec<u8>, String> {
    std::fs::read(path).map_err(|error| {
        wrong(
            path,
            expected,
            &format!("no file that can be read: {error}"),
        )
    })
}

fn certificates(path: &Path, text: &[u8]) -> Result<Vec<CertificateDer<'static>>, String> {
    let certificates = CertificateDer::pem_slice_iter(text).collect::<Result<Vec<_>, _>>();
    match certificates {
        Ok(certificates) if certificates.is_empty() => Err(wrong(path, CERTIFICATE, "none")),
        Ok(certificates) => Ok(certificates),
        Err(error) => Err(wrong(path, CERTIFICATE, found(&error))),
    }
}

/// The error of a PEM reader, without the text that it read: that may be a key.
fn found(error: &pem::Error) -> &'static str {
    match error {
        pem::Error::NoItemsFound => "none",
        _ => "a file that is not PEM",
    }
}

fn wrong(path: &Path, expected: &str, found: &str) -> String {
    format!("expected {expected} in {}, found {found}", path.display())
}
