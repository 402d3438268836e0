//! The text that a provider signs, as a template: `{timestamp}.{body}`.

use serde::Deserialize;

/// What is signed, in parts.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct SignedText(Vec<Part>);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    Text(String),
    Id,
    Timestamp,
    Body,
}

/// The values of the parts of one request.
#[derive(Debug, Clone, Copy)]
pub(super) struct Parts<'r> {
    pub id: &'r str,
    pub timestamp: &'r str,
    pub body: &'r [u8],
}

impl SignedText {
    /// Whether the id is signed.
    pub(super) fn has_id(&self) -> bool {
        self.0.contains(&Part::Id)
    }

    /// Whether the time is signed.
    pub(super) fn has_timestamp(&self) -> bool {
        self.0.contains(&Part::Timestamp)
    }

    /// The signed bytes of one request, one part behind the other.
    pub(super) fn fill<'r>(&'r self, parts: Parts<'r>) -> Vec<&'r [u8]> {
        let each = self.0.iter().map(|part| match part {
            Part::Text(text) => text.as_bytes(),
            Part::Id => parts.id.as_bytes(),
            Part::Timestamp => parts.timestamp.as_bytes(),
            Part::Body => parts.body,
        });
        each.collect()
    }
}

impl TryFrom<String> for SignedText {
    type Error = String;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        let mut parts = Vec::new();
        let mut rest = text.as_str();
        while let Some((before, behind)) = rest.split_once('{') {
            let (name, behind) = behind.split_once('}').ok_or_else(wrong)?;
            if !before.is_empty() {
                parts.push(Part::Text(before.to_owned()));
            }
            parts.push(match name {
                "id" => Part::Id,
                "timestamp" => Part::Timestamp,
                "body" => Part::Body,
                _ => return Err(wrong()),
            });
            rest = behind;
        }
        if !rest.is_empty() {
            parts.push(Part::Text(rest.to_owned()));
        }
        // A signature that leaves the body out proves nothing about it.
        let bodies = parts.iter().filter(|part| **part == Part::Body);
        match bodies.count() {
            1 => Ok(Self(parts)),
            _ => Err(wrong()),
        }
    }
}

fn wrong() -> String {
    "expected the signed text with {body} once, and perhaps {timestamp} and {id}, such as \"{timestamp}.{body}\", found \
     another text"
        .to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filled(template: &str) -> Result<String, String> {
        let signed = SignedText::try_from(template.to_owned())?;
        let parts = Parts {
            id: "msg_1",
            timestamp: "7",
            body: b"{}",
        };
        Ok(String::from_utf8_lossy(&signed.fill(parts).concat()).into_owned())
    }

    #[test]
    fn the_parts_are_put_where_the_template_has_them() {
        for (template, expected) in [
            ("{body}", "{}"),
            ("{id}.{timestamp}.{body}", "msg_1.7.{}"),
            ("v0:{timestamp}:{body}", "v0:7:{}"),
            ("{id}{timestamp}{body}!", "msg_17{}!"),
            (
                "https://me.example/v1/sources/a{body}",
                "https://me.example/v1/sources/a{}",
            ),
        ] {
            assert_eq!(filled(template).as_deref(), Ok(expected));
        }
    }

    #[test]
    fn a_text_without_the_body_is_refused() {
        for bad in [
            "",
            "{timestamp}",
            "{body}{body}",
            "{body",
            "{bodies}",
            "{}{body}",
            "body",
        ] {
            assert!(filled(bad).is_err(), "{bad:?}");
        }
    }
}
