//! The event type that is made of a provider's own type.

use serde::Deserialize;

/// A template: `stripe.{type}`, or a type without a placeholder for all events.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct TypeTemplate {
    before: String,
    /// The text behind `{type}`, if the template has this placeholder.
    behind: Option<String>,
}

const PLACEHOLDER: &str = "{type}";

impl TypeTemplate {
    /// The type of an event whose provider calls its type `given`. `/` and `:` part words as a dot does
    /// (`orders/create`); any other character that a type cannot have becomes `_`.
    pub fn fill(&self, given: &str) -> String {
        let Some(behind) = &self.behind else {
            return self.before.clone();
        };
        let letter = |letter: char| match letter {
            '/' | ':' => '.',
            '.' | '_' | '-' => letter,
            _ if letter.is_ascii_alphanumeric() => letter,
            _ => '_',
        };
        let given: String = given.chars().map(letter).collect();
        format!("{}{given}{behind}", self.before)
    }

    /// Whether the template can make this type.
    pub fn can_make(&self, kind: &str) -> bool {
        match &self.behind {
            None => kind == self.before,
            Some(behind) => {
                let rest = kind.strip_prefix(self.before.as_str());
                rest.and_then(|rest| rest.strip_suffix(behind.as_str()))
                    .is_some_and(|given| !given.is_empty())
            }
        }
    }
}

impl TryFrom<String> for TypeTemplate {
    type Error = String;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        let (before, behind) = match text.split_once(PLACEHOLDER) {
            Some((before, behind)) => (before, Some(behind)),
            None => (text.as_str(), None),
        };
        let of_type =
            |letter: char| letter.is_ascii_alphanumeric() || matches!(letter, '.' | '_' | '-');
        let is_plain = |text: &str| text.chars().all(of_type);
        let is_empty = before.is_empty() && behind.is_none();
        if is_empty || !is_plain(before) || !behind.is_none_or(is_plain) {
            return Err(
                "expected an event type, such as \"invoice.paid\", or a template with {type} once, such as \
                 \"stripe.{type}\", found another text"
                    .to_owned(),
            );
        }
        Ok(Self {
            before: before.to_owned(),
            behind: behind.map(str::to_owned),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn template(text: &str) -> TypeTemplate {
        TypeTemplate::try_from(text.to_owned()).unwrap_or_else(|error| panic!("{error}"))
    }

    #[test]
    fn a_provider_s_type_becomes_words_of_ours() {
        for (given, expected) in [
            ("invoice.paid", "stripe.invoice.paid"),
            ("orders/create", "stripe.orders.create"),
            ("payment:failed", "stripe.payment.failed"),
            ("Ünsafe type#", "stripe._nsafe_type_"),
            ("pull_request", "stripe.pull_request"),
        ] {
            let made = template("stripe.{type}").fill(given);
            assert_eq!(made, expected);
            assert!(template("stripe.{type}").can_make(&made));
        }
        assert_eq!(template("{type}.v1").fill("a"), "a.v1");
        assert_eq!(template("lead.created").fill("anything"), "lead.created");
    }

    #[test]
    fn only_types_of_its_form_can_be_made() {
        let stripe = template("stripe.{type}");
        assert!(!stripe.can_make("stripe.") && !stripe.can_make("github.push"));
        assert!(template("lead.created").can_make("lead.created"));
        assert!(!template("lead.created").can_make("lead.created.again"));
    }

    #[test]
    fn what_is_no_template_is_refused() {
        for bad in [
            "",
            "stripe.{types}",
            "{type}{type}",
            "a b",
            "a.{type}.#",
            "{type",
        ] {
            assert!(TypeTemplate::try_from(bad.to_owned()).is_err(), "{bad:?}");
        }
    }
}
