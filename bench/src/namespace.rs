use anyhow::{Result, ensure};

/// The prefix of every exchange, queue and table of one system, so that many share one broker and one database.
///
/// Lower-case letters, digits and `_`, starting with a letter, at most 40 characters: legal as a schema name and in an
/// AMQP name without quoting.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Namespace(String);

impl Namespace {
    /// Takes `name` as a namespace.
    ///
    /// # Errors
    /// When `name` has other characters, is empty, too long, or does not start with a letter.
    pub fn new(name: impl Into<String>) -> Result<Self> {
        let name = name.into();
        let legal = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
        ensure!(
            name.starts_with(|c: char| c.is_ascii_lowercase())
                && name.len() <= 40
                && name.chars().all(legal),
            "namespace {name:?} is not usable: expected 1 to 40 of a-z, 0-9 and _, starting with a letter"
        );
        Ok(Self(name))
    }

    /// A namespace nobody else has: `stem` and a random number.
    ///
    /// # Errors
    /// When `stem` is not a namespace itself or is longer than 30 characters.
    pub fn fresh(stem: &str) -> Result<Self> {
        Self::new(format!("{stem}_{:08x}", rand::random::<u32>()))
    }

    /// The name of an exchange or queue: `longshore` and `stored` make `longshore.stored`.
    #[must_use]
    pub fn name(&self, stem: &str) -> String {
        format!("{}.{stem}", self.0)
    }

    /// The namespace itself, which is also the name of its database schema.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Display for Namespace {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::Namespace;

    #[test]
    fn names_that_would_need_quoting_are_refused() {
        for bad in ["", "1a", "A", "a-b", "a\"b", "a.b", "ä", &"a".repeat(41)] {
            assert!(Namespace::new(bad).is_err(), "{bad:?} was taken");
        }
    }

    #[test]
    fn a_fresh_namespace_keeps_its_stem_and_differs_each_time() {
        let (a, b) = (
            Namespace::fresh("twin").unwrap(),
            Namespace::fresh("twin").unwrap(),
        );
        assert!(a.as_str().starts_with("twin_"));
        assert_ne!(a, b);
    }
}
