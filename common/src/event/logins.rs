//! Whom we believe: the broker logins of Longshore's own programs.

use std::collections::BTreeSet;
use std::fmt;

use url::form_urlencoded;

/// The broker logins whose `longshore-*` headers count on every message: at the doors, on inner
/// queues, on the dead queue, among suspects, in the history and in a replay.
///
/// The broker itself vouches for the login of a publisher (AMQP `user_id`). So this costs nothing per message, needs no
/// secret in any program, and survives delays and dead-lettering. A message under any other login, or under none, is a
/// foreign message.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Logins(BTreeSet<String>);

impl Logins {
    /// These logins.
    pub fn new<L: Into<String>>(logins: impl IntoIterator<Item = L>) -> Self {
        Self(logins.into_iter().map(Into::into).collect())
    }

    /// Whether the publisher that the broker vouches for is one of our programs.
    pub fn trusts(&self, user: Option<&str>) -> bool {
        user.is_some_and(|user| self.0.contains(user))
    }

    /// The logins in order.
    pub fn iter(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(String::as_str)
    }

    /// The whole list in one word that no other list has.
    pub fn to_word(&self) -> String {
        let each = self
            .iter()
            .map(|login| form_urlencoded::byte_serialize(login.as_bytes()).collect::<String>());
        each.collect::<Vec<_>>().join(",")
    }

    /// The list that a word of [`Logins::to_word`] stands for. A word that was cut off gives its beginning.
    pub fn from_word(word: &str) -> Self {
        let each = word.split(',').filter(|login| !login.is_empty());
        Self::new(each.filter_map(|login| {
            let mut pairs = form_urlencoded::parse(login.as_bytes());
            pairs.next().map(|(login, _)| login.into_owned())
        }))
    }
}

impl fmt::Display for Logins {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.iter().collect::<Vec<_>>().join(", "))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn only_a_login_of_the_list_is_trusted() {
        let logins = Logins::new(["longshore-store", "longshore-producer"]);
        assert!(logins.trusts(Some("longshore-store")));
        for other in [None, Some(""), Some("mallory"), Some("longshore")] {
            assert!(!logins.trusts(other), "{other:?}");
        }
        assert!(!Logins::default().trusts(None));
        assert_eq!(logins.to_word(), "longshore-producer,longshore-store");
        assert_eq!(logins.to_string(), "longshore-producer, longshore-store");
    }

    proptest! {
        #[test]
        fn a_word_is_one_list_and_a_list_is_one_word(
            one in prop::collection::btree_set(".{1,12}", 0..4),
            other in prop::collection::btree_set(".{1,12}", 0..4),
        ) {
            let (one, other) = (Logins(one), Logins(other));
            prop_assert_eq!(&Logins::from_word(&one.to_word()), &one);
            prop_assert_eq!(one.to_word() == other.to_word(), one == other);
        }
    }
}
