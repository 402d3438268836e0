//! The links that confirm signups. A link holds all that is needed to take it, sealed: the signup, its address and how
//! long it is valid. So nothing of it is stored, and nobody who sees it learns the address.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use url::Url;

use crate::config::Config;
use crate::event::{Confirmation, EventId};
use crate::seal::{Purpose, Seal, Unsealable};

/// Makes links, and reads them. Cheap to clone.
#[derive(Debug, Clone)]
pub struct ConfirmationLinks {
    /// What stands before the token.
    base: String,
    valid: Duration,
    seal: Seal,
}

/// Why a link confirms nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadLink {
    /// It was not made here, or is damaged.
    #[error("expected a link as it was sent, found another, or only a part of one")]
    Unknown,
    /// Its time is over.
    #[error("expected a link that is still valid, found one that has expired")]
    Expired,
}

/// What is sealed in a link.
#[derive(Serialize, Deserialize)]
struct Content {
    /// The last second in which it can be opened, of the Unix epoch.
    until: i64,
    email: String,
}

impl ConfirmationLinks {
    /// The path of a link before its token.
    pub const PATH: &str = "/confirm/";

    /// The links of this configuration, if it has any.
    pub fn of(config: &Config) -> Option<Self> {
        let settings = &config.confirmation;
        let url: &Url = settings.url.as_ref()?;
        let secrets = settings.secret.iter();
        Some(Self {
            base: format!("{}{}", url.as_str().trim_end_matches('/'), Self::PATH),
            valid: settings.valid,
            seal: Seal::of_purpose(
                Purpose::Link,
                secrets.map(|secret| secret.expose().as_bytes()),
            ),
        })
    }

    /// A link that confirms `email` for a signup from `now` on, for as long as links are valid.
    ///
    /// # Errors
    /// The system gives no randomness.
    pub fn link(
        &self,
        signup: EventId,
        email: &str,
        now: OffsetDateTime,
    ) -> Result<String, Unsealable> {
        let content = Content {
            until: (now + self.valid).unix_timestamp(),
            email: email.to_owned(),
        };
        let content = serde_json::to_string(&content).map_err(|_| Unsealable)?;
        let sealed = self.seal.seal(signup, &content)?;
        // The id stands last: programs that find links in texts leave out a last `-` or `_`, which a sealed text may have.
        let id = signup.uuid().simple();
        Ok(format!("{}{sealed}.{id}", self.base))
    }

    /// What a link confirms; `token` is its last part.
    ///
    /// # Errors
    /// It confirms nothing.
    pub fn read(&self, token: &str, now: OffsetDateTime) -> Result<Confirmation, BadLink> {
        let (sealed, id) = token.rsplit_once('.').ok_or(BadLink::Unknown)?;
        let signup: EventId = id.parse().map_err(|_| BadLink::Unknown)?;
        let opened = self.seal.open(signup, sealed);
        let opened = opened.map_err(|_| BadLink::Unknown)?;
        let content: Result<Content, _> = serde_json::from_str(opened.expose());
        let Content { until, email } = content.map_err(|_| BadLink::Unknown)?;
        if now.unix_timestamp() > until {
            return Err(BadLink::Expired);
        }
        Ok(Confirmation { signup, email })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::config::load_from;

    const SECRET: &str = "0123456789abcdef";

    fn links(more: &[(&str, &str)]) -> ConfirmationLinks {
        let own = [
            ("LONGSHORE__CONFIRMATION__URL", "https://shop.example.com/"),
            ("LONGSHORE__CONFIRMATION__SECRET", SECRET),
        ];
        let variables = own.iter().chain(more);
        let variables = variables.map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        ConfirmationLinks::of(&load_from(variables).unwrap()).unwrap()
    }

    fn token(
        links: &ConfirmationLinks,
        signup: EventId,
        email: &str,
        now: OffsetDateTime,
    ) -> String {
        let link = links.link(signup, email, now).unwrap();
        let token = link.strip_prefix("https://shop.example.com/confirm/");
        token.unwrap_or_else(|| panic!("{link}")).to_owned()
    }

    #[test]
    fn without_an_address_there_are_no_links() {
        assert!(ConfirmationLinks::of(&Config::default()).is_none());
    }

    #[test]
    fn a_link_can_be_opened_until_it_expires() {
        let links = links(&[("LONGSHORE__CONFIRMATION__VALID", "1h")]);
        let (signup, now) = (EventId::born(), OffsetDateTime::UNIX_EPOCH);
        let token = token(&links, signup, "ada@example.com", now);
        let confirmed = Confirmation {
            signup,
            email: "ada@example.com".to_owned(),
        };
        let after = |seconds| links.read(&token, now + Duration::from_secs(seconds));
        assert_eq!(after(0), Ok(confirmed.clone()));
        assert_eq!(after(3600), Ok(confirmed));
        assert_eq!(after(3601), Err(BadLink::Expired));
    }

    #[test]
    fn a_link_of_a_secret_that_was_replaced_is_taken_while_it_is_listed() {
        let (signup, now) = (EventId::born(), OffsetDateTime::UNIX_EPOCH);
        let old = token(&links(&[]), signup, "a@example.com", now);
        let both = format!(r#"["a new secret of many bytes", "{SECRET}"]"#);
        let rotated = links(&[("LONGSHORE__CONFIRMATION__SECRET", &both)]);
        assert!(rotated.read(&old, now).is_ok());
        let new = token(&rotated, signup, "a@example.com", now);
        assert_eq!(links(&[]).read(&new, now), Err(BadLink::Unknown));
    }

    #[test]
    fn a_sealed_password_hash_is_no_link() {
        let signup = EventId::born();
        let content = r#"{"until":9999999999,"email":"a@example.com"}"#;
        let sealed = Seal::new([SECRET]).seal(signup, content).unwrap();
        let forged = format!("{sealed}.{}", signup.uuid().simple());
        let now = OffsetDateTime::UNIX_EPOCH;
        assert_eq!(links(&[]).read(&forged, now), Err(BadLink::Unknown));
    }

    proptest! {
        #[test]
        fn every_address_comes_back_and_does_not_show(email in "[^\\x00]{8,80}") {
            let (links, signup) = (links(&[]), EventId::born());
            let token = token(&links, signup, &email, OffsetDateTime::UNIX_EPOCH);
            let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
            prop_assert!(token.bytes().all(is_plain));
            prop_assert!(token.ends_with(|last: char| last.is_ascii_hexdigit()));
            prop_assert!(!token.contains(&email));
            let read = links.read(&token, OffsetDateTime::UNIX_EPOCH).unwrap();
            prop_assert_eq!((read.signup, read.email), (signup, email));
        }

        #[test]
        fn a_changed_link_confirms_nothing(at in any::<prop::sample::Index>(), other in "[A-Za-z0-9._-]") {
            let links = links(&[]);
            let token = token(&links, EventId::born(), "ada@example.com", OffsetDateTime::UNIX_EPOCH);
            let at = at.index(token.len());
            prop_assume!(token[at..=at] != other);
            let changed = format!("{}{other}{}", &token[..at], &token[at + 1..]);
            let read = links.read(&changed, OffsetDateTime::UNIX_EPOCH);
            // A capital letter in the id is the same id.
            let is_same = changed.eq_ignore_ascii_case(&token) && at > token.rfind('.').unwrap();
            prop_assert_eq!(read.is_ok(), is_same);
        }

        #[test]
        fn no_text_makes_it_panic(text in "\\PC{0,200}") {
            let read = links(&[]).read(&text, OffsetDateTime::UNIX_EPOCH);
            prop_assert_eq!(read, Err(BadLink::Unknown));
        }
    }
}
