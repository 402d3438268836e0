//! `webhook.auth`: who we are to an endpoint.

use std::fmt;

use serde::Deserialize;

use super::{header, url};
use crate::config::{Secret, masked};

/// Who we are to an endpoint.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Authentication {
    /// A user and a password (HTTP Basic, RFC 7617).
    Basic(UserPassword),
    /// A token that does not change (RFC 6750).
    Bearer(Secret),
    /// Tokens of an authorization server, by the grant of client credentials (RFC 6749, 4.4).
    #[serde(rename = "oauth2")]
    OAuth2(ClientCredentials),
}

/// A user and a password.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UserPassword {
    /// The user.
    pub user: String,
    /// The password.
    pub password: Secret,
}

/// A client of an authorization server.
#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ClientCredentials {
    /// Where tokens are had.
    #[serde(deserialize_with = "url")]
    pub token_url: url::Url,
    /// The client.
    pub client_id: String,
    /// Its secret.
    pub client_secret: Secret,
    /// The scopes to ask for.
    #[serde(default)]
    pub scopes: Vec<String>,
    /// The audience to ask for, where the server wants one.
    pub audience: Option<String>,
}

impl fmt::Debug for ClientCredentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientCredentials")
            .field("token_url", &masked(&self.token_url))
            .field("client_id", &self.client_id)
            .field("client_secret", &self.client_secret)
            .field("scopes", &self.scopes)
            .field("audience", &self.audience)
            .finish()
    }
}

impl Authentication {
    /// An error, if any: the key, and the expected value.
    pub(super) fn problem(&self) -> Option<(&'static str, String)> {
        match self {
            Self::Basic(login) => {
                let problem =
                    "expected a name without a colon and without control characters, found another";
                let is_wrong = |c: char| c == ':' || c.is_control();
                (login.user.is_empty() || login.user.contains(is_wrong))
                    .then(|| ("webhook.auth.basic.user", problem.to_owned()))
            }
            Self::Bearer(token) => {
                let problem = "expected a token of visible ASCII characters, found another text";
                let is_right = header::is_bearer_token(token.expose());
                (!is_right).then(|| ("webhook.auth.bearer", problem.to_owned()))
            }
            Self::OAuth2(client) => client.problem(),
        }
    }
}

impl ClientCredentials {
    fn problem(&self) -> Option<(&'static str, String)> {
        if !matches!(self.token_url.scheme(), "http" | "https") {
            let found = crate::config::url::scheme_of(&self.token_url);
            let problem = format!("expected http:// or https://, found {found}");
            return Some(("webhook.auth.oauth2.token_url", problem));
        }
        if !self.token_url.username().is_empty() || self.token_url.password().is_some() {
            let problem = "expected the client in `client_id` and `client_secret`, found a user or a password in \
                           the URL";
            return Some(("webhook.auth.oauth2.token_url", problem.to_owned()));
        }
        if self.client_id.is_empty() {
            let problem = "expected the name of a client, found an empty text";
            return Some(("webhook.auth.oauth2.client_id", problem.to_owned()));
        }
        // RFC 6749, 3.3: visible ASCII without quotation mark and backslash.
        let is_scope = |scope: &String| {
            let is_right = |byte: u8| byte.is_ascii_graphic() && byte != b'"' && byte != b'\\';
            !scope.is_empty() && scope.bytes().all(is_right)
        };
        if !self.scopes.iter().all(is_scope) {
            let problem = "expected scopes of visible ASCII characters, one in each text of the list, found another";
            return Some(("webhook.auth.oauth2.scopes", problem.to_owned()));
        }
        None
    }
}
