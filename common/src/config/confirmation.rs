//! `[confirmation]`: the links that confirm signups.

use std::time::Duration;

use serde::{Deserialize, Deserializer};
use url::Url;

use super::secret::{one_or_more, too_short};
use super::{Secret, duration};

/// Maximum of `valid`.
const LONGEST: Duration = Duration::from_secs(366 * 24 * 3600);
/// Maximum length of a URL, in bytes: with the token it has to fit into a line of a mail.
const MAX_URL: usize = 400;

/// `[confirmation]`
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Confirmation {
    /// The door as recipients reach it, such as `https://shop.example.com`. Unset: no links are made, and none is taken.
    #[serde(deserialize_with = "some_url")]
    pub url: Option<Url>,
    /// The secret that makes links unforgeable: one or a list. The first one makes them, all of them are taken.
    #[serde(deserialize_with = "one_or_more")]
    pub secret: Vec<Secret>,
    /// How long a link can be opened.
    #[serde(with = "duration")]
    pub valid: Duration,
    /// Whether an opened link shows a button first, and confirms by that alone.
    pub ask: bool,
    /// Where a browser goes after the confirmation. Unset: a page of the door.
    #[serde(deserialize_with = "some_url")]
    pub page: Option<Url>,
}

impl Default for Confirmation {
    fn default() -> Self {
        Self {
            url: None,
            secret: Vec::new(),
            valid: Duration::from_secs(3 * 24 * 3600),
            ask: false,
            page: None,
        }
    }
}

impl Confirmation {
    /// An error, if any: the key, and the expected and the found value.
    pub(super) fn problem(&self) -> Option<(&'static str, String)> {
        if let Some(url) = &self.url {
            let is_plain = url.query().is_none()
                && url.fragment().is_none()
                && url.username().is_empty()
                && url.password().is_none();
            if !is_web(url) || !is_plain {
                let expected = "expected the address of the door, such as https://shop.example.com, found another URL";
                return Some(("url", expected.to_owned()));
            }
            if self.secret.is_empty() {
                let expected = "expected a secret beside `confirmation.url`, found none: `openssl rand -base64 32` makes one";
                return Some(("secret", expected.to_owned()));
            }
        } else if !self.secret.is_empty() {
            let expected = "expected the address of the door beside `confirmation.secret`, such as \
                            https://shop.example.com, found none";
            return Some(("url", expected.to_owned()));
        }
        if let Some(problem) = too_short(&self.secret) {
            return Some(("secret", problem));
        }
        if self.valid.is_zero() || self.valid > LONGEST {
            return Some(("valid", "expected a time above 0s, up to 366d".to_owned()));
        }
        let page = self.page.as_ref()?;
        (!is_web(page)).then(|| {
            let expected = "expected an http: or https: URL of up to 400 bytes, found another";
            ("page", expected.to_owned())
        })
    }
}

fn some_url<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Url>, D::Error> {
    super::webhook::url(deserializer).map(Some)
}

fn is_web(url: &Url) -> bool {
    matches!(url.scheme(), "http" | "https") && url.has_host() && url.as_str().len() <= MAX_URL
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problem(text: &str) -> Option<&'static str> {
        let confirmation: Confirmation = toml::from_str(text).unwrap();
        let (key, problem) = confirmation.problem()?;
        assert!(!problem.contains("hunter2"), "{problem}");
        Some(key)
    }

    #[test]
    fn links_need_an_address_and_a_secret() {
        let secret = "secret = [\"hunter2-hunter2-hunter2\", \"hunter2-hunter2-older\"]";
        let url = "url = \"https://shop.example.com/door\"";
        let page = |page: &str| format!("{url}\n{secret}\npage = \"{page}\"");
        for (text, key) in [
            (String::new(), None),
            (format!("{url}\n{secret}\nvalid = \"2h\"\nask = true"), None),
            (page("https://shop.example.com/welcome?a=b#c"), None),
            (url.to_owned(), Some("secret")),
            (secret.to_owned(), Some("url")),
            (format!("{url}\nsecret = \"hunter2\""), Some("secret")),
            (
                format!("{}\n{secret}", url.replace("https", "ftp")),
                Some("url"),
            ),
            (
                format!("{}\n{secret}", url.replace("door", "?a=b")),
                Some("url"),
            ),
            (
                format!("{}\n{secret}", url.replace("shop", "hunter2@shop")),
                Some("url"),
            ),
            (format!("{url}\n{secret}\nvalid = \"0s\""), Some("valid")),
            (format!("{url}\n{secret}\nvalid = \"400d\""), Some("valid")),
            (page("mailto:a@example.com"), Some("page")),
        ] {
            assert_eq!(problem(&text), key, "{text}");
        }
    }
}
