//! `[[issuer]]`: an issuer of tokens (JWT) that open the door.

use std::collections::HashSet;
use std::num::NonZeroU32;
use std::path::PathBuf;

use serde::Deserialize;

use super::Rate;
use super::claim::ClaimPath;
use super::key_set_location::KeySetLocation;
use crate::key::Scopes;
use crate::topology::is_destination_name;

/// An issuer whose tokens open the door.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TokenIssuer {
    /// Our name for it: the first part of the names of its callers.
    pub name: String,
    /// Its own name: the claim `iss`, to the letter.
    pub issuer: String,
    /// Our names at the issuer: the claim `aud` has one of them.
    #[serde(deserialize_with = "super::claim::one_or_more_texts")]
    pub audience: Vec<String>,
    /// Where its keys are.
    pub jwks: KeySetLocation,
    /// A file with the authorities that are trusted for that address beside those of the machine.
    #[serde(default)]
    pub ca: Option<PathBuf>,
    /// The claim that names the caller.
    #[serde(default)]
    pub caller: ClaimPath,
    /// The claim that holds scopes of ours.
    #[serde(default)]
    pub scope_claim: Option<ClaimPath>,
    /// What values of other claims open.
    #[serde(default, rename = "grant")]
    pub grants: Vec<ClaimGrant>,
    /// The rate of events that each of its callers may send.
    #[serde(default)]
    pub rate: Option<Rate>,
    /// The events that each may send at once; as many as `rate` counts unless set.
    #[serde(default)]
    pub burst: Option<NonZeroU32>,
}

/// `[[issuer.grant]]`: what a value of a claim opens.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ClaimGrant {
    /// The claim: a text or a list of texts.
    pub claim: ClaimPath,
    /// The text, or one of the list.
    pub value: String,
    /// What it opens.
    pub scopes: Scopes,
}

impl TokenIssuer {
    /// An error, if any: the key, and the expected and the found value.
    fn problem(&self) -> Option<(&'static str, String)> {
        let wrong = |key, problem: &str| Some((key, problem.to_owned()));
        if !is_destination_name(&self.name) {
            return wrong(
                "name",
                "expected up to 40 lower-case letters, digits, '_' or '-', beginning with a letter, found another text",
            );
        }
        if self.issuer.is_empty() {
            return wrong(
                "issuer",
                "expected the claim `iss` of its tokens, such as \"https://id.example.com/\", found an empty text",
            );
        }
        if self.audience.is_empty() || self.audience.iter().any(String::is_empty) {
            return wrong(
                "audience",
                "expected our name at the issuer, or a list of them, as the claim `aud` has it, found none",
            );
        }
        if let Some(problem) = self.jwks.problem() {
            return Some(("jwks", problem));
        }
        if self.ca.is_some() && !self.jwks.is_https() {
            return wrong(
                "ca",
                "expected `jwks` to be an https:// address, found another",
            );
        }
        if self.scope_claim.is_none() && self.grants.is_empty() {
            return wrong(
                "scope_claim",
                "expected `scope_claim`, or an [[issuer.grant]], found neither: the tokens would open nothing",
            );
        }
        if let Some((key, problem)) = self.grants.iter().find_map(ClaimGrant::problem) {
            return wrong(key, problem);
        }
        if self.burst.is_some() && self.rate.is_none() {
            return wrong("burst", "expected a `rate` beside it, found none");
        }
        None
    }
}

impl ClaimGrant {
    fn problem(&self) -> Option<(&'static str, &'static str)> {
        if self.value.is_empty() {
            return Some((
                "grant.value",
                "expected a value of the claim, found an empty text",
            ));
        }
        self.scopes.0.is_empty().then_some((
            "grant.scopes",
            "expected at least one, such as \"events:write:signup.*\", found none",
        ))
    }
}

/// An error of the issuers, if any: the key, and the expected and the found value.
pub(super) fn problem(issuers: &[TokenIssuer]) -> Option<(String, String)> {
    let (mut names, mut claims) = (HashSet::new(), HashSet::new());
    for issuer in issuers {
        if let Some((key, problem)) = issuer.problem() {
            return Some((format!("issuer.{}.{key}", issuer.name), problem));
        }
        // Callers of two issuers of one name would be one caller.
        if !names.insert(&issuer.name) {
            let problem = format!("expected each once, found {:?} twice", issuer.name);
            return Some(("issuer.name".to_owned(), problem));
        }
        if !claims.insert(&issuer.issuer) {
            let problem = "expected each once, found that of another issuer again";
            return Some((format!("issuer.{}.issuer", issuer.name), problem.to_owned()));
        }
    }
    None
}

#[cfg(test)]
mod tests;
