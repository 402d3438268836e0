//! A sender: an address, and a name before it.

use serde::Deserialize;

use crate::event::delivery_address;

/// An address, with or without a name: `Shop <hello@example.com>`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct Mailbox {
    /// The name that people see.
    pub name: Option<String>,
    /// The address, its domain in ASCII.
    pub address: String,
}

impl TryFrom<String> for Mailbox {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        const EXPECTED: &str = "expected an address such as \"Shop <hello@example.com>\", found";
        let text = text.trim();
        let (name, address) = match text.strip_suffix('>') {
            Some(rest) => rest
                .rsplit_once('<')
                .ok_or_else(|| format!("{EXPECTED} a '>' without a '<'"))?,
            None => ("", text),
        };
        let name = unquoted(name.trim());
        if name.chars().any(char::is_control) {
            return Err(format!("{EXPECTED} a name with a control character"));
        }
        let address = delivery_address(address).map_err(|_| format!("{EXPECTED} another text"))?;
        Ok(Self {
            name: Some(name).filter(|name| !name.is_empty()),
            address,
        })
    }
}

impl Mailbox {
    /// The domain of the address.
    pub fn domain(&self) -> &str {
        self.address.rsplit('@').next().unwrap_or_default()
    }
}

/// A name without the quotes around it.
fn unquoted(name: &str) -> String {
    let inner = name
        .strip_prefix('"')
        .and_then(|name| name.strip_suffix('"'));
    inner.map_or_else(
        || name.to_owned(),
        |inner| inner.replace("\\\"", "\"").replace("\\\\", "\\"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Mailbox, String> {
        text.to_owned().try_into()
    }

    #[test]
    fn a_name_may_stand_before_the_address() {
        for (text, name, address) in [
            ("hello@example.com", None, "hello@example.com"),
            ("<hello@example.com>", None, "hello@example.com"),
            (
                "Shop <Hello@example.com>",
                Some("Shop"),
                "Hello@example.com",
            ),
            (
                "\"Shop, \\\"the\\\" Inc.\" <hello@Bücher.example>",
                Some("Shop, \"the\" Inc."),
                "hello@xn--bcher-kva.example",
            ),
        ] {
            let mailbox = read(text).unwrap();
            assert_eq!(mailbox.name.as_deref(), name, "{text}");
            assert_eq!(mailbox.address, address, "{text}");
        }
        assert_eq!(read("a@b.example").unwrap().domain(), "b.example");
    }

    #[test]
    fn what_is_not_an_address_is_an_error() {
        for text in [
            "",
            "hello",
            "Shop hello@example.com>",
            "Shop <hello@example.com",
            "Shop\r\nBcc: x <hello@example.com>",
            "<a@example.com, b@example.com>",
            "a@example.com\r\nBcc: b@example.com",
        ] {
            assert!(read(text).is_err(), "{text:?}");
        }
    }
}
