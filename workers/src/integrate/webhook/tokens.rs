//! Tokens of an authorization server, by the grant of client credentials (RFC 6749, 4.4). One token serves all
//! deliveries to a destination until shortly before its end, or until the endpoint refuses it.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use common::config::{ClientCredentials, LinkTls};
use common::outcome::chain;
use common::reason::ReasonCode;
use http::{HeaderValue, Method, Request, StatusCode, Uri, header};
use http_body_util::{BodyExt as _, Full, LengthLimitError, Limited};
use ipnet::IpNet;
use serde::Deserialize;
use url::{Url, form_urlencoded};

use super::client::{Answer, Client};
use super::credentials::{basic, bearer};
use super::outline::USER_AGENT;
use super::problem::{Problem, problem_of};
use crate::integrate::guard::Guard;

/// Maximum of a token server's answer that is read, in bytes.
const MAX_ANSWER: usize = 64 * 1024;
/// How long before its end a token is renewed, but for those that live shortly.
const EARLY: Duration = Duration::from_secs(30);
/// The share of its life by which a token is renewed before its end, if it lives shortly.
const EARLY_SHARE: u32 = 5;
/// How long a token lives whose server does not say it, and how long any is kept at most.
const UNKNOWN_LIFE: Duration = Duration::from_secs(300);
const LONGEST_LIFE: Duration = Duration::from_secs(24 * 3600);
/// How soon after its renewal a token that is refused, too, is not renewed once more: the endpoint refuses any.
const RENEWAL_PAUSE: Duration = Duration::from_secs(10);

const FORM: HeaderValue = HeaderValue::from_static("application/x-www-form-urlencoded");
const JSON: HeaderValue = HeaderValue::from_static("application/json");

/// The errors that a token server may name (RFC 6749, 5.2). Any other text of its may repeat a secret.
const KNOWN_ERRORS: [&str; 6] = [
    "invalid_request",
    "invalid_client",
    "invalid_grant",
    "unauthorized_client",
    "unsupported_grant_type",
    "invalid_scope",
];

/// The tokens for one endpoint.
pub(super) struct Tokens {
    url: Url,
    uri: Uri,
    guard: Guard,
    client: Client,
    /// The client's own authentication.
    authorization: HeaderValue,
    form: Bytes,
    kept: Mutex<Option<Arc<Token>>>,
    /// Held while the server is asked. The last answer, for those who waited for it.
    asking: tokio::sync::Mutex<Option<Asked>>,
}

/// A token.
pub(super) struct Token {
    header: HeaderValue,
    had_at: Instant,
    /// Until when it is shown.
    until: Instant,
    /// It followed one that the endpoint refused.
    is_renewal: bool,
}

/// Why no token could be had. It repeats no secret.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the token for its webhook could not be had from {server}: {problem}")]
pub(super) struct TokenError {
    server: String,
    code: ReasonCode,
    problem: String,
}

/// The answer of a token server.
struct Asked {
    at: Instant,
    answer: Result<Arc<Token>, TokenError>,
}

/// A good answer (RFC 6749, 5.1).
#[derive(Deserialize)]
struct Grant {
    access_token: String,
    token_type: String,
    expires_in: Option<Seconds>,
}

/// Some servers write the number as a text.
#[derive(Deserialize)]
#[serde(untagged)]
enum Seconds {
    Number(f64),
    Text(String),
}

/// A bad answer (RFC 6749, 5.2).
#[derive(Deserialize)]
struct Refusal {
    error: String,
}

impl TokenError {
    /// As a problem of the delivery.
    pub(super) fn problem(self) -> Problem {
        (self.code, self.to_string())
    }
}

impl Token {
    pub(super) fn header(&self) -> HeaderValue {
        self.header.clone()
    }

    fn is_fresh(&self) -> bool {
        Instant::now() < self.until
    }
}

impl Tokens {
    /// Tokens for this client. `timeout` bounds a connection; who asks bounds the rest.
    ///
    /// # Errors
    /// The client cannot be used as configured.
    pub(super) fn new(
        credentials: &ClientCredentials,
        tls: &LinkTls,
        timeout: Duration,
        allow: Vec<IpNet>,
    ) -> Result<Self, String> {
        let ClientCredentials {
            token_url,
            client_id,
            client_secret,
            scopes,
            audience,
        } = credentials;
        let mut url = token_url.clone();
        url.set_fragment(None);
        let guard = Guard::new(&url, allow);
        // RFC 6749, 2.3.1: both are encoded as a form's fields are.
        let encoded =
            |text: &str| form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>();
        let (user, password) = (encoded(client_id), encoded(client_secret.expose()));
        let mut form = form_urlencoded::Serializer::new(String::new());
        form.append_pair("grant_type", "client_credentials");
        if !scopes.is_empty() {
            form.append_pair("scope", &scopes.join(" "));
        }
        if let Some(audience) = audience {
            form.append_pair("audience", audience);
        }
        Ok(Self {
            uri: url
                .as_str()
                .parse()
                .map_err(|error| format!("the URL of its tokens: {error}"))?,
            client: Client::new(guard.clone(), timeout, tls)
                .map_err(|error| format!("the TLS of its tokens: {error}"))?,
            authorization: basic(user.as_bytes(), password.as_bytes())
                .ok_or("expected a client that fits into a header")?,
            form: form.finish().into(),
            url,
            guard,
            kept: Mutex::new(None),
            asking: tokio::sync::Mutex::new(None),
        })
    }

    /// The token to show: the kept one, or another shortly before its end.
    ///
    /// # Errors
    /// None could be had.
    pub(super) async fn current(&self) -> Result<Arc<Token>, TokenError> {
        match self.fresh() {
            Some(token) => Ok(token),
            None => self.ask(None).await,
        }
    }

    /// Another token than the refused one; `None` if that has followed a refused one just now.
    ///
    /// # Errors
    /// None could be had.
    pub(super) async fn instead_of(
        &self,
        refused: &Arc<Token>,
    ) -> Result<Option<Arc<Token>>, TokenError> {
        if refused.is_renewal && refused.had_at.elapsed() < RENEWAL_PAUSE {
            return Ok(None);
        }
        self.ask(Some(refused)).await.map(Some)
    }

    /// Asks for a token, once for all who wait for one.
    async fn ask(&self, refused: Option<&Arc<Token>>) -> Result<Arc<Token>, TokenError> {
        let came = Instant::now();
        let mut last = self.asking.lock().await;
        if let Some(asked) = last.as_ref().filter(|asked| asked.at >= came) {
            return asked.answer.clone();
        }
        let is_other = |token: &Arc<Token>| refused.is_none_or(|it| !Arc::ptr_eq(token, it));
        if let Some(token) = self.fresh().filter(is_other) {
            return Ok(token);
        }
        let answer = self.request(refused.is_some()).await;
        let answer = answer.map(Arc::new).map_err(|(code, problem)| TokenError {
            server: self.url.host_str().unwrap_or_default().to_owned(),
            code,
            problem,
        });
        *self.kept() = answer.as_ref().ok().cloned();
        *last = Some(Asked {
            at: Instant::now(),
            answer: answer.clone(),
        });
        answer
    }

    async fn request(&self, is_renewal: bool) -> Result<Token, Problem> {
        let failing = |problem: String| (ReasonCode::ReceiverFailing, problem);
        self.guard
            .check_url(&self.url)
            .map_err(|forbidden| (ReasonCode::DestinationForbidden, forbidden.to_string()))?;
        let request = || {
            let mut request = Request::new(Full::new(self.form.clone()));
            *request.method_mut() = Method::POST;
            *request.uri_mut() = self.uri.clone();
            let headers = request.headers_mut();
            headers.insert(header::USER_AGENT, USER_AGENT);
            headers.insert(header::ACCEPT, JSON);
            headers.insert(header::CONTENT_TYPE, FORM);
            headers.insert(header::AUTHORIZATION, self.authorization.clone());
            request
        };
        let answered = self.client.send(request).await;
        let response = match answered.map_err(|error| problem_of(&error))?.answer {
            Answer::Whole(response) => response,
            Answer::StatusOnly(status) => {
                return Err(failing(format!(
                    "expected a token, found status {status} without a head that can be read"
                )));
            }
        };
        let status = response.status();
        let body = Limited::new(response.into_body(), MAX_ANSWER)
            .collect()
            .await;
        let body = body.map_err(|error| {
            let found = match error.downcast_ref::<LengthLimitError>() {
                Some(_) => "a longer one".to_owned(),
                None => format!("one that broke off: {}", chain(&*error)),
            };
            failing(format!(
                "expected an answer of up to {MAX_ANSWER} bytes, found {found}"
            ))
        })?;
        let body = body.to_bytes();
        if status != StatusCode::OK {
            return Err(failing(refusal(status, &body)));
        }
        grant(&body, is_renewal).map_err(|problem| failing(problem.to_owned()))
    }

    /// The kept token, before its end.
    fn fresh(&self) -> Option<Arc<Token>> {
        self.kept().clone().filter(|token| token.is_fresh())
    }

    fn kept(&self) -> MutexGuard<'_, Option<Arc<Token>>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The meaning of a status other than 200.
fn refusal(status: StatusCode, body: &[u8]) -> String {
    let named = serde_json::from_slice(body).ok();
    let named =
        named.and_then(|Refusal { error }| KNOWN_ERRORS.into_iter().find(|it| *it == error));
    match named {
        Some(error) => format!("expected status 200, found {status} ({error})"),
        None => format!("expected status 200, found {status}"),
    }
}

/// The token in an answer.
fn grant(body: &[u8], is_renewal: bool) -> Result<Token, &'static str> {
    // The reader's own error may repeat a part of the answer.
    let grant: Grant = serde_json::from_slice(body)
        .map_err(|_| "expected JSON with access_token and token_type, found another answer")?;
    if !grant.token_type.eq_ignore_ascii_case("bearer") {
        return Err("expected a token of the type Bearer, found one of another type");
    }
    let text = grant.access_token;
    let is_visible = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_graphic());
    let header = bearer(&text)
        .filter(|_| is_visible)
        .ok_or("expected a token of visible ASCII characters, found another text")?;
    let had_at = Instant::now();
    Ok(Token {
        header,
        had_at,
        until: had_at + life(grant.expires_in),
        is_renewal,
    })
}

/// How long a token is shown that ends in so many seconds.
fn life(expires_in: Option<Seconds>) -> Duration {
    let seconds = match expires_in {
        None => return UNKNOWN_LIFE,
        Some(Seconds::Number(seconds)) => seconds,
        Some(Seconds::Text(text)) => text.trim().parse().unwrap_or(0.0),
    };
    let whole = Duration::try_from_secs_f64(seconds.clamp(0.0, LONGEST_LIFE.as_secs_f64()));
    let whole = whole.unwrap_or_default();
    whole - EARLY.min(whole / EARLY_SHARE)
}

#[cfg(test)]
mod tests;
