//! The rules on claims (RFC 7519): for whom a token is, when, and what it opens.

use common::config::TokenIssuer;
use common::key::{Scope, Scopes};
use serde_json::Value;
use time::OffsetDateTime;

use super::read::Claims;
use super::refused::Refused;

/// How far the issuer's clock may be from ours, in seconds.
const SKEW: f64 = 60.0;

/// Maximum length of a caller's name at its issuer.
const MAX_CALLER: usize = 200;

/// Checks that a token is for this door, and valid now; returns the Unix time from which it does not count.
///
/// # Errors
/// The token is for others, or not valid now.
pub(super) fn expect_valid(
    issuer: &TokenIssuer,
    claims: &Claims,
    now: OffsetDateTime,
) -> Result<i64, Refused> {
    let audience = claims.get("aud");
    let is_ours = |name: &String| audience.is_some_and(|audience| holds(audience, name));
    if !issuer.audience.iter().any(is_ours) {
        return Err(Refused::Audience);
    }
    let now = now.unix_timestamp() as f64;
    let expires = time_of(claims, "exp")?.ok_or(Refused::Time)? + SKEW;
    if now >= expires {
        return Err(Refused::Expired);
    }
    for name in ["nbf", "iat"] {
        if time_of(claims, name)?.is_some_and(|begins| now + SKEW < begins) {
            return Err(Refused::NotYet);
        }
    }
    // A time out of range is the nearest in range.
    Ok(expires.ceil() as i64)
}

/// The name of the caller: that of the issuer, `/`, and the caller's at the issuer. No name of a key has a `/`, and no
/// name of an issuer, so nobody else can be called so.
///
/// # Errors
/// The token names no caller.
pub(super) fn caller(issuer: &TokenIssuer, claims: &Claims) -> Result<String, Refused> {
    let name = issuer.caller.find(claims).and_then(Value::as_str);
    let fits = |name: &&str| {
        (1..=MAX_CALLER).contains(&name.len()) && name.bytes().all(|byte| byte.is_ascii_graphic())
    };
    let name = name.filter(fits).ok_or(Refused::Caller)?;
    Ok(format!("{}/{name}", issuer.name))
}

/// What a token opens. Words that are not scopes of ours are for others.
pub(super) fn scopes(issuer: &TokenIssuer, claims: &Claims) -> Scopes {
    let words = issuer
        .scope_claim
        .as_ref()
        .and_then(|path| path.find(claims));
    let own: Vec<Scope> = texts(words)
        .flat_map(str::split_ascii_whitespace)
        .filter_map(|word| word.parse().ok())
        .collect();
    let granted = issuer.grants.iter().filter(|grant| {
        let value = grant.claim.find(claims);
        value.is_some_and(|value| holds(value, &grant.value))
    });
    let granted = granted.flat_map(|grant| grant.scopes.0.iter().cloned());
    Scopes(own.into_iter().chain(granted).collect())
}

/// Whether a claim is this text, or a list with it.
fn holds(claim: &Value, text: &str) -> bool {
    texts(Some(claim)).any(|it| it == text)
}

/// The text, or those of the list.
fn texts(claim: Option<&Value>) -> impl Iterator<Item = &str> {
    let one = claim.and_then(Value::as_str);
    let list = claim.and_then(Value::as_array).into_iter().flatten();
    one.into_iter().chain(list.filter_map(Value::as_str))
}

/// A moment, in seconds since 1970, which may have a fraction.
fn time_of(claims: &Claims, name: &str) -> Result<Option<f64>, Refused> {
    match claims.get(name) {
        None => Ok(None),
        Some(value) => value.as_f64().map(Some).ok_or(Refused::Time),
    }
}

#[cfg(test)]
mod tests;
