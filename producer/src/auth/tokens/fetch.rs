//! Gets the keys of an issuer from where the configuration says. The place may be in a private network: the operator
//! has named it.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use common::config::{KeySetLocation, LinkTls, TokenIssuer};
use common::outcome::chain;
use common::tls;
use reqwest::header::ACCEPT;
use reqwest::redirect::Policy;
use reqwest::{Client, StatusCode, Url};
use tokio::fs::File;
use tokio::io::AsyncReadExt as _;

use super::key_set::{KeySet, WrongKeySet};

/// Maximum size of a key set, in bytes.
const MAX_BYTES: usize = 1024 * 1024;

/// Maximum duration of one attempt, connection and answer included.
pub(super) const DEADLINE: Duration = Duration::from_secs(5);

/// Why no keys were got.
#[derive(Debug, thiserror::Error)]
pub(super) enum FetchError {
    #[error("expected a file that can be read: {0}")]
    File(std::io::Error),
    /// The files of certificates, or the TLS that is made of them.
    #[error("{0}")]
    Tls(String),
    #[error("expected an answer: {0}")]
    Unanswered(String),
    #[error("expected status 200, found {0}; redirects are not followed")]
    Status(StatusCode),
    #[error("expected at most {MAX_BYTES} bytes, found more")]
    TooLarge,
    #[error("expected a whole answer within {DEADLINE:?}, found none")]
    TooSlow,
    #[error(transparent)]
    Wrong(#[from] WrongKeySet),
}

/// Gets the keys of an issuer, once.
///
/// # Errors
/// They cannot be had.
pub(super) async fn fetch(issuer: &TokenIssuer) -> Result<KeySet, FetchError> {
    let read = async {
        match &issuer.jwks {
            KeySetLocation::File(path) => from_file(path).await,
            KeySetLocation::Url(url) => from_url(url, issuer).await,
        }
    };
    let text = tokio::time::timeout(DEADLINE, read).await;
    let text = text.unwrap_or(Err(FetchError::TooSlow))?;
    Ok(KeySet::read(&text)?)
}

async fn from_file(path: &Path) -> Result<Vec<u8>, FetchError> {
    let file = File::open(path).await.map_err(FetchError::File)?;
    let mut text = Vec::new();
    let mut bounded = file.take(MAX_BYTES as u64 + 1);
    let length = bounded.read_to_end(&mut text).await;
    if length.map_err(FetchError::File)? > MAX_BYTES {
        return Err(FetchError::TooLarge);
    }
    Ok(text)
}

async fn from_url(url: &Url, issuer: &TokenIssuer) -> Result<Vec<u8>, FetchError> {
    let client = client(issuer)?;
    let request = client.get(url.clone()).header(ACCEPT, "application/json");
    let mut answer = request.send().await.map_err(unanswered)?;
    if answer.status() != StatusCode::OK {
        return Err(FetchError::Status(answer.status()));
    }
    let mut text = Vec::new();
    while let Some(part) = answer.chunk().await.map_err(unanswered)? {
        if text.len() + part.len() > MAX_BYTES {
            return Err(FetchError::TooLarge);
        }
        text.extend_from_slice(&part);
    }
    Ok(text)
}

/// A client for one attempt: the next one may find other certificates in the files. It goes nowhere but to the address of
/// the configuration.
fn client(issuer: &TokenIssuer) -> Result<Client, FetchError> {
    let trusted = LinkTls {
        ca: issuer.ca.clone(),
        ..LinkTls::default()
    };
    let tls = tls::client(&trusted).map_err(FetchError::Tls)?;
    Client::builder()
        .tls_backend_preconfigured(Arc::unwrap_or_clone(tls))
        .redirect(Policy::none())
        .no_proxy()
        .https_only(issuer.jwks.is_https())
        .user_agent(concat!("longshore/", env!("CARGO_PKG_VERSION")))
        .build()
        .map_err(|error| FetchError::Tls(chain(&error)))
}

/// Without the address, which may hold a token.
fn unanswered(error: reqwest::Error) -> FetchError {
    FetchError::Unanswered(chain(&error.without_url()))
}
