//! The content of an event, which decides whether two events are equal: type, subject, data, and the moment of a scheduled event. It
//! is decided only here; every stage that stores, replays or plans by content calls this module.
//!
//! Time, other extension attributes and `password_hash` do not count. The time is ours where the publisher gave none. Tracing
//! changes extension attributes at each try. The hash has a new salt at each try.
//!
//! Data is compared exactly. A number is the text it was written as: `1.0` is not `1`, and `90071992547409.93` is not
//! `90071992547409.94`. A string is its characters, an object is its members in any order. White space between them
//! does not count.

use std::borrow::Cow;

use serde::{Deserialize, Deserializer};
use serde_json::Value;
use serde_json::value::RawValue;
use sha2::{Digest as _, Sha256};

use super::cloud::{CloudEvent, NOT_BEFORE, is_json};
use super::trail::from_rfc3339;

/// Maximum depth of data: the depth that [`serde_json`] reads into values.
const MAX_DEPTH: usize = 128;

/// The member of an event's data that is salted.
const SALTED: &str = "password_hash";

/// Data that cannot be compared: it is nested too deeply, or is not JSON.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("expected JSON of at most {MAX_DEPTH} levels")]
pub struct Incomparable;

/// The content of an event. Borrows from its text.
#[derive(Debug, Deserialize)]
pub struct Content<'e> {
    #[serde(borrow, rename = "type")]
    kind: Cow<'e, str>,
    #[serde(borrow, default)]
    subject: Option<Cow<'e, str>>,
    #[serde(borrow, default)]
    datacontenttype: Option<Cow<'e, str>>,
    /// `null` is data, too.
    #[serde(borrow, default, deserialize_with = "present")]
    data: Option<&'e RawValue>,
    #[serde(borrow, default)]
    data_base64: Option<Cow<'e, str>>,
    /// The moment before which nobody gets it.
    #[serde(default)]
    notbefore: Option<Value>,
}

impl<'e> Content<'e> {
    /// The content of a canonical event, by its text.
    ///
    /// # Errors
    /// It is not a canonical event.
    pub fn read(event: &'e [u8]) -> Result<Self, Incomparable> {
        serde_json::from_slice(event).map_err(|_| Incomparable)
    }

    /// SHA-256 of all of it: two events say the same if they have the same.
    ///
    /// # Errors
    /// Its data cannot be compared.
    pub fn fingerprint(&self) -> Result<[u8; 32], Incomparable> {
        let mut hash = Sha256::new();
        hash_text(&mut hash, &self.kind);
        hash_text(&mut hash, self.subject.as_deref().unwrap_or_default());
        hash.update(canonical(self.data.map_or("null", RawValue::get))?);
        if self.data.as_ref().is_some_and(|data| data.get() == "null") {
            // Data that is `null` and no data are two things.
            hash.update([1]);
        }
        // JSON is the rule, and needs no mark: so its fingerprints stay unchanged over versions.
        let media = self.datacontenttype.as_deref().filter(|it| !is_json(it));
        if media.is_some() || self.data_base64.is_some() {
            hash.update([0]);
            hash_text(&mut hash, media.unwrap_or_default());
            hash_text(&mut hash, self.data_base64.as_deref().unwrap_or_default());
        }
        if let Some(Value::String(moment)) = &self.notbefore {
            hash.update([2]);
            // One moment may be written in several ways.
            match from_rfc3339(moment) {
                Some(moment) => hash.update(moment.unix_timestamp_nanos().to_be_bytes()),
                None => hash_text(&mut hash, moment),
            }
        }
        Ok(hash.finalize().into())
    }
}

/// Reads a field that is there, even if it is `null`.
fn present<'de: 'e, 'e, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<&'e RawValue>, D::Error> {
    <&RawValue>::deserialize(deserializer).map(Some)
}

impl<'e> From<&'e CloudEvent> for Content<'e> {
    fn from(event: &'e CloudEvent) -> Self {
        Self {
            kind: event.kind.as_str().into(),
            subject: event.subject.as_deref().map(Cow::from),
            datacontenttype: event.datacontenttype.as_deref().map(Cow::from),
            data: event.data.as_deref(),
            data_base64: event.data_base64.as_deref().map(Cow::from),
            notbefore: event.extensions.get(NOT_BEFORE).cloned(),
        }
    }
}

/// Whether two canonical events have the same content, by their texts. An unreadable text has the content of an empty
/// one.
pub fn is_same(one: &[u8], other: &[u8]) -> bool {
    let fingerprint = |event| Content::read(event).and_then(|content| content.fingerprint());
    matches!((fingerprint(one), fingerprint(other)), (Ok(one), Ok(other)) if one == other)
}

/// Data in the form for comparing: members in order of their names, no white space, strings escaped in one way, numbers
/// as written; without salted members.
///
/// # Errors
/// It is nested too deeply, or is not JSON.
pub fn canonical(data: &str) -> Result<Vec<u8>, Incomparable> {
    let mut writer = Writer {
        text: data,
        at: 0,
        out: Vec::with_capacity(data.len()),
    };
    writer.value(0)?;
    Ok(writer.out)
}

fn hash_text(hash: &mut Sha256, text: &str) {
    hash.update(u64::try_from(text.len()).unwrap_or(u64::MAX).to_be_bytes());
    hash.update(text);
}

/// Reads JSON once from front to back and writes it in the form for comparing.
struct Writer<'t> {
    text: &'t str,
    at: usize,
    out: Vec<u8>,
}

/// A member as it was written: where its name, and where all of it ends.
struct Member {
    begin: usize,
    name_end: usize,
    end: usize,
}

impl Writer<'_> {
    fn value(&mut self, depth: usize) -> Result<(), Incomparable> {
        if depth >= MAX_DEPTH {
            return Err(Incomparable);
        }
        match self.peek()? {
            b'{' => self.object(depth),
            b'[' => self.array(depth),
            b'"' => self.string(),
            _ => self.word(),
        }
    }

    fn array(&mut self, depth: usize) -> Result<(), Incomparable> {
        self.take(b'[')?;
        if self.peek()? == b']' {
            return self.take(b']');
        }
        loop {
            self.value(depth + 1)?;
            if self.peek()? == b']' {
                return self.take(b']');
            }
            self.take(b',')?;
        }
    }

    fn object(&mut self, depth: usize) -> Result<(), Incomparable> {
        self.take(b'{')?;
        let first = self.out.len();
        let mut members: Vec<Member> = Vec::new();
        while self.peek()? != b'}' {
            if !members.is_empty() {
                self.skip(b',')?;
            }
            let begin = self.out.len();
            self.string()?;
            let name_end = self.out.len();
            self.take(b':')?;
            self.value(depth + 1)?;
            let is_salted = depth == 0 && self.out[begin + 1..name_end - 1] == *SALTED.as_bytes();
            if is_salted {
                self.out.truncate(begin);
                // The comma before the next member is not to be missed.
                if members.is_empty() && self.peek()? == b',' {
                    self.skip(b',')?;
                }
                continue;
            }
            members.push(Member {
                begin,
                name_end,
                end: self.out.len(),
            });
        }
        self.put_in_order(first, &mut members);
        self.take(b'}')
    }

    /// Puts the members written from `first` on in order, with commas in between.
    fn put_in_order(&mut self, first: usize, members: &mut [Member]) {
        let out = &self.out;
        let name = |member: &Member| &out[member.begin..member.name_end];
        // Stable: where a name comes twice, the order tells two events apart.
        members.sort_by(|one, other| name(one).cmp(name(other)));
        let mut ordered = Vec::with_capacity(out.len() - first + members.len());
        for (nth, member) in members.iter().enumerate() {
            if nth > 0 {
                ordered.push(b',');
            }
            ordered.extend_from_slice(&out[member.begin..member.end]);
        }
        self.out.truncate(first);
        self.out.extend_from_slice(&ordered);
    }

    fn string(&mut self) -> Result<(), Incomparable> {
        if self.peek()? != b'"' {
            return Err(Incomparable);
        }
        let rest = &self.text.as_bytes()[self.at..];
        let (mut end, mut is_plain) = (1, true);
        loop {
            match rest.get(end).ok_or(Incomparable)? {
                b'"' => break,
                b'\\' => {
                    is_plain = false;
                    end += 2;
                }
                _ => end += 1,
            }
        }
        let raw = rest.get(..=end).ok_or(Incomparable)?;
        self.at += raw.len();
        if is_plain {
            self.out.extend_from_slice(raw);
            return Ok(());
        }
        let text: String = serde_json::from_slice(raw).map_err(|_| Incomparable)?;
        serde_json::to_writer(&mut self.out, &text).map_err(|_| Incomparable)
    }

    /// A number, `true`, `false` or `null`, as it is.
    fn word(&mut self) -> Result<(), Incomparable> {
        let rest = &self.text.as_bytes()[self.at..];
        let ends = |byte: &u8| matches!(byte, b',' | b']' | b'}' | b':' | b'"' | b'[' | b'{');
        let end = rest.iter().position(|byte| ends(byte) || is_space(*byte));
        let word = &rest[..end.unwrap_or(rest.len())];
        if word.is_empty() {
            return Err(Incomparable);
        }
        self.out.extend_from_slice(word);
        self.at += word.len();
        Ok(())
    }

    /// The next byte that is not white space.
    fn peek(&mut self) -> Result<u8, Incomparable> {
        let rest = &self.text.as_bytes()[self.at..];
        let space = rest.iter().position(|byte| !is_space(*byte));
        self.at += space.ok_or(Incomparable)?;
        Ok(self.text.as_bytes()[self.at])
    }

    /// Expects `byte` and writes it.
    fn take(&mut self, byte: u8) -> Result<(), Incomparable> {
        self.skip(byte)?;
        self.out.push(byte);
        Ok(())
    }

    /// Expects `byte`.
    fn skip(&mut self, byte: u8) -> Result<(), Incomparable> {
        if self.peek()? != byte {
            return Err(Incomparable);
        }
        self.at += 1;
        Ok(())
    }
}

fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\n' | b'\r')
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn form(data: &str) -> String {
        String::from_utf8(canonical(data).expect(data)).unwrap()
    }

    fn fingerprint(event: &str) -> [u8; 32] {
        Content::read(event.as_bytes())
            .and_then(|content| content.fingerprint())
            .expect(event)
    }

    #[test]
    fn another_moment_is_another_content_however_it_is_written() {
        let event = |moment: &str| format!(r#"{{"type":"a","data":{{}}{moment}}}"#);
        let [utc, local, later, none] = [
            r#","notbefore":"2030-01-28T08:00:00Z""#,
            r#","notbefore":"2030-01-28T09:00:00.000+01:00""#,
            r#","notbefore":"2030-01-28T08:00:00.000001Z""#,
            "",
        ]
        .map(|moment| fingerprint(&event(moment)));
        assert_eq!(utc, local);
        assert!(utc != later && utc != none && later != none);
    }

    #[test]
    fn order_and_white_space_are_nothing_and_everything_else_is_something() {
        for (one, other) in [
            (
                r#"{"a":1,"b":[1,2]}"#,
                " { \"b\" :\n[ 1 , 2 ],\t\"a\": 1 } ",
            ),
            (r#"{"a":"\u0041\/"}"#, r#"{"a":"A/"}"#),
            (r#"{"a":{}}"#, r#"{"a": { } }"#),
            (
                r#"{"password_hash":"1","a":1}"#,
                r#"{"a":1,"password_hash":"2"}"#,
            ),
            (r#"{"password_hash":"1"}"#, "{}"),
            (
                r#"{"a":1,"password_hash":{"x":[1]},"b":2}"#,
                r#"{"b":2,"a":1}"#,
            ),
        ] {
            assert_eq!(form(one), form(other));
        }
        for (one, other) in [
            ("90071992547409.93", "90071992547409.94"),
            ("9007199254740993", "9007199254740992"),
            ("1.0", "1"),
            ("1e2", "100"),
            ("-0", "0"),
            ("1e400", "1e401"),
            ("[1,2]", "[2,1]"),
            ("\"1\"", "1"),
            ("null", "\"null\""),
            (r#"{"a":1,"a":2}"#, r#"{"a":2}"#),
            (r#"{"a":1,"a":2}"#, r#"{"a":2,"a":1}"#),
            (
                r#"{"deep":{"password_hash":"1"}}"#,
                r#"{"deep":{"password_hash":"2"}}"#,
            ),
            ("\"\u{e9}\"", "\"e\u{301}\""),
        ] {
            assert_ne!(form(one), form(other));
        }
    }

    #[test]
    fn what_is_too_deep_or_is_not_json_is_an_error_and_no_panic() {
        let deep = "[".repeat(200_000);
        for data in [
            "",
            " ",
            "{",
            "{\"a\"",
            "{\"a\":}",
            "[1",
            "[,",
            "\"",
            "\"\\",
            "\"\\\"",
            "{,}",
            "}",
            ":",
            "{\"a\":1 \"b\"}",
            &deep,
        ] {
            assert_eq!(
                canonical(data),
                Err(Incomparable),
                "{:?}",
                super::super::cloud::clip(data)
            );
        }
        let fits = format!("{}{}", "[".repeat(127), "]".repeat(127));
        assert_eq!(form(&fits), fits);
    }

    #[test]
    fn type_subject_and_media_type_are_content() {
        let event = |members: &str| {
            fingerprint(&format!(
                r#"{{"specversion":"1.0","id":"1","source":"/","time":"2026-11-22T10:00:00Z",{members}}}"#
            ))
        };
        let one = event(r#""type":"a","data":{"n":1}"#);
        assert_eq!(
            one,
            event(r#""data":{"n":1},"type":"a","traceparent":"00-1-2-01""#)
        );
        assert_eq!(
            one,
            event(r#""type":"a","datacontenttype":"application/json","data":{"n":1}"#)
        );
        for other in [
            r#""type":"b","data":{"n":1}"#,
            r#""type":"a","subject":"s","data":{"n":1}"#,
            r#""type":"a","data":{"n":2}"#,
            r#""type":"a""#,
            r#""type":"a","datacontenttype":"text/plain","data":{"n":1}"#,
            r#""type":"a","data_base64":"AQ==""#,
        ] {
            assert_ne!(one, event(other), "{other}");
        }
        // No data, `null`, and an empty text.
        let without = [
            r#""type":"a""#,
            r#""type":"a","data":null"#,
            r#""type":"a","data":"""#,
        ]
        .map(event);
        assert_ne!(without[0], without[1]);
        assert_ne!(without[1], without[2]);
        assert_eq!(without[1], event(r#""type":"a","data": null "#));
        assert_ne!(
            event(r#""type":"a","subject":"b""#),
            event(r#""type":"ab","subject":"""#),
        );
    }

    /// Rows of earlier versions hold the fingerprint of serde's form of the data.
    #[test]
    fn ordinary_data_has_the_fingerprint_it_always_had() {
        let data =
            json!({"name": "Ada \"L\"\n", "n": [1, -2, 2.5, true, null], "é": {"z": "", "a": 0}});
        assert_eq!(form(&data.to_string()), data.to_string());
        let mut hash = Sha256::new();
        for part in ["signup.requested", ""] {
            hash.update((part.len() as u64).to_be_bytes());
            hash.update(part);
        }
        hash.update(data.to_string());
        let event = format!(r#"{{"type":"signup.requested","data":{data}}}"#);
        assert_eq!(fingerprint(&event), <[u8; 32]>::from(hash.finalize()));
    }

    fn any_json() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            any::<f64>().prop_map(Value::from),
            ".{0,6}".prop_map(Value::from),
        ];
        leaf.prop_recursive(4, 32, 5, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
                prop::collection::btree_map(".{0,4}", inner, 0..5)
                    .prop_map(|members| Value::Object(members.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn two_texts_of_one_value_are_equal_and_those_of_two_are_not(
            one in any_json(), other in any_json(),
        ) {
            let pretty = serde_json::to_string_pretty(&one).unwrap();
            prop_assert_eq!(form(&pretty), form(&one.to_string()));
            prop_assert_eq!(form(&form(&pretty)), form(&pretty));
            prop_assert_eq!(one == other, form(&one.to_string()) == form(&other.to_string()));
        }

        #[test]
        fn any_text_is_read_to_its_end(text in "[\\[\\]{}:,\"\\\\ a1]{0,24}") {
            let _ = canonical(&text);
        }
    }
}
