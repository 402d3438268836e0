//! Who we are to an endpoint: the value of `authorization`.

use std::sync::Arc;
use std::time::Duration;

use common::config::{self, Authentication};
use http::HeaderValue;
use ipnet::IpNet;
use percent_encoding::percent_decode_str;
use url::Url;

use super::credentials::{basic, bearer, sensitive};
use super::tokens::{Token, TokenError, Tokens};

/// What every request shows.
pub(super) enum Authorization {
    /// Nothing.
    None,
    /// The same each time.
    Fixed(HeaderValue),
    /// A token that ends.
    Tokens(Box<Tokens>),
}

/// What one request shows.
pub(super) enum Shown {
    /// Nothing, or the same each time.
    Fixed(Option<HeaderValue>),
    /// A token that another one can follow.
    Token(Arc<Token>),
}

impl Authorization {
    /// As configured, in keys or in the URL.
    ///
    /// # Errors
    /// It cannot be used.
    pub(super) fn new(
        webhook: &config::Webhook,
        timeout: Duration,
        allow: Vec<IpNet>,
    ) -> Result<Self, String> {
        let wrong = || "expected a value of webhook.auth that fits into a header".to_owned();
        Ok(match &webhook.auth {
            None => of_url(&webhook.url).map_or(Self::None, Self::Fixed),
            Some(Authentication::Basic(login)) => {
                let password = login.password.expose().as_bytes();
                Self::Fixed(basic(login.user.as_bytes(), password).ok_or_else(wrong)?)
            }
            Some(Authentication::Bearer(token)) => {
                Self::Fixed(bearer(token.expose()).ok_or_else(wrong)?)
            }
            Some(Authentication::OAuth2(client)) => {
                let tokens = Tokens::new(client, &webhook.tls, timeout, allow)?;
                Self::Tokens(Box::new(tokens))
            }
        })
    }

    /// A value in the place of the secret one, where anything is shown.
    pub(super) fn mask(&self) -> Option<HeaderValue> {
        match self {
            Self::None => None,
            Self::Fixed(_) | Self::Tokens(_) => sensitive("***"),
        }
    }

    /// What to show now.
    ///
    /// # Errors
    /// No token could be had.
    pub(super) async fn shown(&self) -> Result<Shown, TokenError> {
        Ok(match self {
            Self::None => Shown::Fixed(None),
            Self::Fixed(value) => Shown::Fixed(Some(value.clone())),
            Self::Tokens(tokens) => Shown::Token(tokens.current().await?),
        })
    }

    /// What to show instead, as the endpoint answered with 401; `None` where there is nothing else to show.
    ///
    /// # Errors
    /// No other token could be had.
    pub(super) async fn instead_of(&self, shown: &Shown) -> Result<Option<Shown>, TokenError> {
        let (Self::Tokens(tokens), Shown::Token(refused)) = (self, shown) else {
            return Ok(None);
        };
        Ok(tokens.instead_of(refused).await?.map(Shown::Token))
    }
}

impl Shown {
    /// The value of the header.
    pub(super) fn header(&self) -> Option<HeaderValue> {
        match self {
            Self::Fixed(value) => value.clone(),
            Self::Token(token) => Some(token.header()),
        }
    }
}

/// Basic authentication (RFC 7617) for the user name and password of a URL.
fn of_url(url: &Url) -> Option<HeaderValue> {
    if url.username().is_empty() && url.password().is_none() {
        return None;
    }
    let user: Vec<u8> = percent_decode_str(url.username()).collect();
    let password: Vec<u8> = percent_decode_str(url.password().unwrap_or_default()).collect();
    basic(&user, &password)
}
