//! `webhook` of a `[[destination]]`: an HTTP endpoint that takes events.

mod authentication;
mod header;

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde::de::Error as _;

use super::secret::one_or_more;
use super::{LinkTls, Secret, masked};
use crate::signature::SigningKeys;

pub use self::authentication::{Authentication, ClientCredentials, UserPassword};

/// An HTTP endpoint that takes events.
#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Webhook {
    /// Where: `https`, or `http` to an address that `[outbound] allow` names. It may hold a password or a
    /// token: for people it is [`masked`].
    #[serde(deserialize_with = "url")]
    pub url: url::Url,
    /// The signing secrets of deliveries (Standard Webhooks), one or a list: `whsec_` and the key in base64, or `whsk_`
    /// and a private key.
    #[serde(default, rename = "secret", deserialize_with = "one_or_more")]
    pub secrets: Vec<Secret>,
    /// The method of requests.
    #[serde(default)]
    pub method: WebhookMethod,
    /// Further headers.
    #[serde(default)]
    pub headers: BTreeMap<String, Secret>,
    /// The body of requests.
    #[serde(default)]
    pub body: WebhookBody,
    /// The media type of the body. Unset: by the body.
    pub content_type: Option<String>,
    /// Who we are to the endpoint.
    pub auth: Option<Authentication>,
    /// The authorities that are trusted, and the certificate that is shown.
    #[serde(default)]
    pub tls: LinkTls,
}

/// The method of a webhook's requests.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum WebhookMethod {
    /// `POST`
    #[default]
    Post,
    /// `PUT`
    Put,
    /// `PATCH`
    Patch,
}

/// The body of a webhook's requests.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum WebhookBody {
    /// The event, as it is.
    #[default]
    Event,
    /// Its data alone.
    Data,
    /// A text that is filled with the event.
    Template(TemplateFile),
}

/// A file with a template.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(from = "PathBuf")]
pub struct TemplateFile {
    /// The path, as it is configured.
    pub path: PathBuf,
    /// The text, once it is read.
    pub source: String,
}

impl From<PathBuf> for TemplateFile {
    fn from(path: PathBuf) -> Self {
        Self {
            path,
            source: String::new(),
        }
    }
}

impl TemplateFile {
    /// Reads the text. A relative path starts from `folder`.
    ///
    /// # Errors
    /// The path, and the reason.
    pub(super) fn read(&mut self, folder: &Path) -> Result<(), (PathBuf, String)> {
        let path = folder.join(&self.path);
        match std::fs::read_to_string(&path) {
            Ok(text) => {
                // Some editors begin a file with a byte order mark.
                self.source = text.trim_start_matches('\u{feff}').to_owned();
                Ok(())
            }
            Err(error) => Err((path, format!("expected a file that can be read: {error}"))),
        }
    }
}

impl WebhookMethod {
    /// Its name in a request.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Post => "POST",
            Self::Put => "PUT",
            Self::Patch => "PATCH",
        }
    }
}

impl Webhook {
    /// An error, if any: the key, and the expected value.
    pub(super) fn problem(&self) -> Option<(&'static str, String)> {
        if !matches!(self.url.scheme(), "http" | "https") {
            let found = super::url::scheme_of(&self.url);
            let problem = format!("expected http:// or https://, found {found}");
            return Some(("webhook.url", problem));
        }
        if let Err(error) = SigningKeys::parse(self.secrets.iter().map(Secret::expose)) {
            return Some(("webhook.secret", error.to_string()));
        }
        if let Some(problem) = header::problem(&self.headers) {
            return Some(("webhook.headers", problem));
        }
        if let Some(media_type) = &self.content_type
            && let Some(problem) = header::problem_of_media_type(media_type)
        {
            return Some(("webhook.content_type", problem));
        }
        self.problem_of_authentication()
            .or_else(|| self.tls.problem_at_webhook(&self.url))
    }

    fn problem_of_authentication(&self) -> Option<(&'static str, String)> {
        let auth = self.auth.as_ref()?;
        if !self.url.username().is_empty() || self.url.password().is_some() {
            let problem = "expected a user and a password in `webhook.url` or `webhook.auth`, found both: take them \
                           out of the URL";
            return Some(("webhook.auth", problem.to_owned()));
        }
        auth.problem()
    }
}

impl fmt::Debug for Webhook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Webhook")
            .field("url", &masked(&self.url))
            .field("secrets", &self.secrets)
            .field("method", &self.method)
            .field("headers", &self.headers)
            .field("body", &self.body)
            .field("content_type", &self.content_type)
            .field("auth", &self.auth)
            .field("tls", &self.tls)
            .finish()
    }
}

/// Reads a URL. The parser's own way to report an error would repeat the text.
pub(super) fn url<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<url::Url, D::Error> {
    let text = String::deserialize(deserializer)?;
    text.parse().map_err(|error| {
        D::Error::custom(format!(
            "expected a URL such as https://crm.example.com/hooks, found none: {error}"
        ))
    })
}

#[cfg(test)]
mod tests;
