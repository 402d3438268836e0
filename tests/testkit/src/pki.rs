//! Authorities and certificates, made on the spot.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::Arc,
};

use anyhow::{Context, Result};
use rcgen::{
    BasicConstraints, Certificate, CertificateParams, DnType, IsCa, Issuer, KeyPair,
    KeyUsagePurpose,
};
use rustls::{
    RootCertStore, ServerConfig,
    crypto::ring::default_provider,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _},
    server::WebPkiClientVerifier,
};
use time::{Duration, OffsetDateTime};

/// An authority that issues certificates.
#[derive(Debug)]
pub struct Authority {
    certificate: Certificate,
    issuer: Issuer<'static, KeyPair>,
}

/// A certificate and its private key, in PEM.
#[derive(Debug)]
pub struct Leaf {
    /// The certificate.
    pub certificate: String,
    /// Its private key.
    pub key: String,
}

/// The files of a [`Leaf`] and of its authority.
#[derive(Clone, Debug)]
pub struct LeafFiles {
    /// The authority's certificate.
    pub ca: PathBuf,
    /// The certificate.
    pub certificate: PathBuf,
    /// Its private key.
    pub key: PathBuf,
}

impl Leaf {
    /// The settings of a server that shows this certificate. With `clients`, callers have to show one of that authority.
    ///
    /// # Errors
    /// If the certificate cannot be used.
    pub fn server(&self, clients: Option<&Authority>) -> Result<ServerConfig> {
        let provider = Arc::new(default_provider());
        let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()?;
        let builder = match clients {
            Some(authority) => {
                let mut roots = RootCertStore::empty();
                roots.add(CertificateDer::from_pem_slice(authority.pem().as_bytes())?)?;
                let verifier =
                    WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
                builder.with_client_cert_verifier(verifier.build()?)
            }
            None => builder.with_no_client_auth(),
        };
        let chain = vec![CertificateDer::from_pem_slice(self.certificate.as_bytes())?];
        let key = PrivateKeyDer::from_pem_slice(self.key.as_bytes())?;
        Ok(builder.with_single_cert(chain, key)?)
    }
}

impl Authority {
    /// A new authority of this name.
    ///
    /// # Errors
    /// If no key can be made.
    pub fn new(name: &str) -> Result<Self> {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        params.distinguished_name.push(DnType::CommonName, name);
        let key = KeyPair::generate().context("making the authority's key")?;
        let certificate = params.self_signed(&key).context("signing the authority")?;
        let issuer = Issuer::new(params, key);
        Ok(Self {
            certificate,
            issuer,
        })
    }

    /// The authority's certificate in PEM.
    #[must_use]
    pub fn pem(&self) -> String {
        self.certificate.pem()
    }

    /// A certificate for these hosts (names or addresses), valid for a day.
    ///
    /// # Errors
    /// If a host cannot be in a certificate.
    pub fn issue(&self, hosts: &[&str]) -> Result<Leaf> {
        let now = OffsetDateTime::now_utc();
        self.issue_between(hosts, now - Duration::HOUR, now + Duration::DAY)
    }

    /// A certificate for these hosts that has expired an hour ago.
    ///
    /// # Errors
    /// As [`issue`](Self::issue).
    pub fn issue_expired(&self, hosts: &[&str]) -> Result<Leaf> {
        let now = OffsetDateTime::now_utc();
        self.issue_between(hosts, now - Duration::DAY, now - Duration::HOUR)
    }

    fn issue_between(
        &self,
        hosts: &[&str],
        from: OffsetDateTime,
        to: OffsetDateTime,
    ) -> Result<Leaf> {
        let hosts: Vec<String> = hosts.iter().map(|&host| host.to_owned()).collect();
        let name = hosts.first().cloned().unwrap_or_default();
        let mut params = CertificateParams::new(hosts).context("naming the hosts")?;
        (params.not_before, params.not_after) = (from, to);
        params.distinguished_name.push(DnType::CommonName, name);
        let key = KeyPair::generate().context("making a key")?;
        let certificate = params
            .signed_by(&key, &self.issuer)
            .context("signing a certificate")?;
        Ok(Leaf {
            certificate: certificate.pem(),
            key: key.serialize_pem(),
        })
    }

    /// Writes a certificate of this authority, its key and the authority itself into `folder`, in files that begin
    /// with `name`.
    ///
    /// # Errors
    /// If they cannot be written.
    pub fn write(&self, leaf: &Leaf, folder: &Path, name: &str) -> Result<LeafFiles> {
        let write = |part: &str, text: &str| {
            let path = folder.join(format!("{name}.{part}.pem"));
            fs::write(&path, text).with_context(|| format!("writing {}", path.display()))?;
            Ok::<_, anyhow::Error>(path)
        };
        Ok(LeafFiles {
            ca: write("ca", &self.pem())?,
            certificate: write("certificate", &leaf.certificate)?,
            key: write("key", &leaf.key)?,
        })
    }
}
