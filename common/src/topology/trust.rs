//! How the programs of a namespace make sure that all of them believe the same broker logins.
//!
//! Two programs that disagree would run past each other: each would take the other's events for a stranger's. So the
//! list is declared on the broker, as an argument of an exchange that carries nothing. RabbitMQ compares the arguments
//! of a repeated declaration, and refuses others. A program without the right to declare cannot have them compared, but
//! it can see whether an exchange exists. So a second one bears the digest of the list in its name. It is bound to the
//! first one and goes with it.

use serde::{Serialize, Serializer};

use crate::event::{Logins, name_based};

/// The list of believed logins as it is declared on a broker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TrustMark {
    exchange: String,
    logins: Logins,
}

impl TrustMark {
    /// The mark for `logins` on an exchange of this name.
    pub(super) fn new(exchange: String, logins: Logins) -> Self {
        Self { exchange, logins }
    }

    /// The exchange that bears the list.
    pub fn exchange(&self) -> &str {
        &self.exchange
    }

    /// Its argument `alternate-exchange`: the whole list. No exchange is called so, and none has to be.
    pub fn argument(&self) -> String {
        format!("{}:{}", self.exchange, self.logins.to_word())
    }

    /// The exchange whose name bears the digest of the list.
    pub fn witness(&self) -> String {
        let digest = name_based(&[b"trust", self.logins.to_word().as_bytes()]);
        format!("{}.{}", self.exchange, digest.simple())
    }

    /// The logins of this program's list.
    pub fn logins(&self) -> &Logins {
        &self.logins
    }

    /// The logins that another program's argument lists, as far as the broker tells.
    pub fn read(&self, argument: &str) -> Option<String> {
        let word = argument.strip_prefix(&self.exchange)?.strip_prefix(':')?;
        // RabbitMQ cuts off text beyond the limit of its answer.
        let (word, cut) = match word.strip_suffix("...") {
            Some(beginning) => (beginning, "…"),
            None => (word, ""),
        };
        Some(format!("{}{cut}", Logins::from_word(word)))
    }
}

impl Serialize for TrustMark {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.logins.iter())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mark(logins: &[&str]) -> TrustMark {
        TrustMark::new(
            "longshore.trust".to_owned(),
            Logins::new(logins.iter().copied()),
        )
    }

    #[test]
    fn another_list_is_another_mark_and_the_order_does_not_matter() {
        let (one, same, other) = (mark(&["a", "b"]), mark(&["b", "a"]), mark(&["a,b"]));
        assert_eq!(
            (one.argument(), one.witness()),
            (same.argument(), same.witness())
        );
        assert_ne!(one.argument(), other.argument());
        assert_ne!(one.witness(), other.witness());
        assert!(one.witness().len() < 255);
    }

    #[test]
    fn anothers_list_can_be_read() {
        let one = mark(&["a"]);
        let other = mark(&["b c", "longshore-store"]).argument();
        assert_eq!(one.read(&other).as_deref(), Some("b c, longshore-store"));
        let cut = format!("{}...", &other[..22]);
        assert_eq!(one.read(&cut).as_deref(), Some("b c, lo…"));
        assert_eq!(one.read("something"), None);
    }
}
