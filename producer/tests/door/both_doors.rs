//! The same event at both doors: HTTP and AMQP give it the same verdict, and take it as the same event.

use std::collections::BTreeMap;

use axum::body::Body;
use axum::http::Request;
use common::event::{Decoded, Logins, Refused, Types, Undecodable, decode, now};
use common::message::{HeaderValue, Headers, Message};
use common::outcome::FieldError;
use common::reason::ReasonCode;
use proptest::prelude::*;
use proptest::test_runner::TestRunner;
use serde_json::value::RawValue;
use serde_json::{Value, json};

use crate::fakes::{Setup, Testbed};
use crate::request::Answer;

/// An event on its way to either door.
#[derive(Debug, Clone)]
enum Sent {
    Structured {
        content_type: String,
        body: Vec<u8>,
        in_batch: bool,
    },
    Binary {
        attributes: Vec<(String, String)>,
        prefix: &'static str,
        content_type: Option<String>,
        body: Vec<u8>,
    },
    Plain {
        body: Vec<u8>,
    },
}

const PLAIN_TYPE: &str = "processing.requested";

impl Sent {
    fn request(&self) -> Request<Body> {
        match self {
            Self::Structured {
                content_type,
                body,
                in_batch,
            } => {
                let (content_type, body) = if *in_batch {
                    let body = [b"[", &body[..], b"]"].concat();
                    ("application/cloudevents-batch+json", body)
                } else {
                    (content_type.as_str(), body.clone())
                };
                let request = Request::post("/v1/events").header("content-type", content_type);
                request.body(Body::from(body)).unwrap()
            }
            Self::Binary {
                attributes,
                content_type,
                body,
                ..
            } => {
                let mut request = Request::post("/v1/events");
                for (name, text) in attributes {
                    let value: String = text.bytes().map(|byte| format!("%{byte:02X}")).collect();
                    request = request.header(format!("ce-{name}"), value);
                }
                if let Some(content_type) = content_type {
                    request = request.header("content-type", content_type);
                }
                request.body(Body::from(body.clone())).unwrap()
            }
            Self::Plain { body } => Request::post("/v1/processing")
                .header("content-type", "application/json")
                .body(Body::from(body.clone()))
                .unwrap(),
        }
    }

    fn message(&self) -> Message {
        match self {
            Self::Structured {
                content_type, body, ..
            } => Message {
                body: body.clone().into(),
                content_type: Some(content_type.clone()),
                ..Message::default()
            },
            Self::Binary {
                attributes,
                prefix,
                content_type,
                body,
            } => {
                let headers = attributes.iter().map(|(name, text)| {
                    (format!("{prefix}{name}"), HeaderValue::from(text.as_str()))
                });
                Message {
                    body: body.clone().into(),
                    content_type: content_type.clone(),
                    headers: headers.collect::<Headers>(),
                    ..Message::default()
                }
            }
            Self::Plain { body } => Message {
                body: body.clone().into(),
                content_type: Some("application/json".to_owned()),
                ..Message::default()
            },
        }
    }
}

fn setup() -> Setup {
    let mut setup = Setup::default();
    let types = json!([
        {"name": "note.added", "schema": true},
        {"name": "text.added", "schema": {"type": ["string", "null"], "maxLength": 20}},
    ]);
    setup.config.types = serde_json::from_value(types).unwrap();
    setup.config.limits.event_bytes = 4096;
    setup
}

/// The validate worker's verdict on a message.
fn amqp(sent: &Sent) -> Result<(Decoded, Result<(), Refused>), Undecodable> {
    let config = setup().config;
    let limits = config.limits.events();
    let decoded = decode(
        &sent.message(),
        PLAIN_TYPE,
        &Logins::default(),
        limits,
        now(),
    )?;
    let types = Types::with(&config.types).unwrap();
    let verdict = types.check(&decoded.event.kind, &decoded.data);
    Ok((decoded, verdict))
}

/// The members of an event as they are written, without the door's additions. Data may be nested as deep as a reader of
/// values goes, and the event is a level more.
fn content(body: &[u8]) -> BTreeMap<String, String> {
    let members: BTreeMap<String, Box<RawValue>> = serde_json::from_slice(body).unwrap();
    let members = members.into_iter().filter(|(name, _)| name != "time");
    members
        .map(|(name, value)| (name, value.get().to_owned()))
        .collect()
}

fn errors(answer: &Answer) -> Vec<FieldError> {
    let errors = answer.json()["errors"].clone();
    serde_json::from_value(errors).unwrap_or_default()
}

fn agree(bed: &Testbed, sent: &Sent, answer: &Answer, begun: usize) -> Result<(), TestCaseError> {
    let taken = bed.broker.begun() > begun;
    prop_assert_eq!(taken, answer.status == 202, "{:?}", answer);
    let below = if matches!(sent, Sent::Structured { in_batch: true, .. }) {
        "/0"
    } else {
        ""
    };
    match amqp(sent) {
        Ok((decoded, Ok(()))) => {
            prop_assert!(taken, "AMQP takes {:?}, HTTP says {:?}", sent, answer);
            let published = bed.broker.last();
            let (ours, theirs) = (&published.0.message.body, &decoded.body);
            if let Sent::Plain { .. } = sent {
                let (ours, theirs) = (content(ours), content(theirs));
                prop_assert_eq!(ours.get("data"), theirs.get("data"));
            } else if content(ours) == content(theirs) && ours.len() == theirs.len() {
                // Byte for byte where the event has a time of its own.
                let written = decoded.event.time == published.1.event.time;
                prop_assert!(!written || ours == theirs);
            } else {
                prop_assert_eq!(content(ours), content(theirs));
            }
            prop_assert_eq!(
                decoded.event.data.is_some(),
                published.1.event.data.is_some()
            );
        }
        Ok((decoded, Err(Refused::Unknown))) => {
            prop_assert!(!taken, "{:?} {:?}", decoded, answer);
            prop_assert_eq!(answer.code(), "unknown_type");
        }
        Ok((decoded, Err(Refused::Rejected(rejection)))) => {
            prop_assert!(!taken, "HTTP takes {:?}, AMQP says {:?}", sent, rejection);
            prop_assert_eq!(answer.code(), rejection.code.as_str());
            let at = match sent {
                Sent::Plain { .. } => "",
                _ => decoded.event.data_pointer(),
            };
            let mut expected = rejection.errors;
            for error in &mut expected {
                error.pointer.insert_str(0, &format!("{below}{at}"));
            }
            prop_assert_eq!(errors(answer), expected);
        }
        Err(undecodable) => {
            prop_assert!(!taken, "HTTP takes {:?}, AMQP says {}", sent, undecodable);
            let code = answer.code();
            if undecodable.code == ReasonCode::TooLarge {
                // Where more is wrong with it, HTTP may name something else first.
                return Ok(());
            }
            let codes = ["malformed_json", "invalid", "unsupported_media_type"];
            prop_assert!(codes.contains(&code.as_str()), "{} {}", code, undecodable);
            for error in errors(answer) {
                let pointer = error.pointer.strip_prefix(below).unwrap_or_default();
                prop_assert!(
                    undecodable.detail.contains(pointer),
                    "{} {:?}",
                    undecodable,
                    error
                );
            }
        }
    }
    Ok(())
}

fn choice(texts: &'static [&'static str]) -> impl Strategy<Value = String> + Clone {
    prop::sample::select(texts).prop_map(str::to_owned)
}

const TYPES: &[&str] = &[
    "signup.requested",
    "processing.requested",
    "note.added",
    "note.added",
    "note.added",
    "text.added",
    "nobody.knows",
    "",
];

/// Raw JSON of data that is good, odd or none at all.
fn data() -> impl Strategy<Value = String> {
    prop_oneof![
        choice(&[
            r#"{"email":"a@b.example","name":"A"}"#,
            r#"{"email":"a@b.example","email":"c@d.example","name":"A"}"#,
            r#"{"email":"a@b.example","name":"A","password":"hunter2"}"#,
            r#"{"email":"a@b.example","name":"A","attributes":{"x":[{"api_key":"hunter2"}]}}"#,
            r#"{"email":"a@b.example","name":"\u0000"}"#,
            r#"{"email":"nobody","locale":"?"}"#,
            r#"{"task":"t","payload":{}}"#,
            r#"{"task":"t","payload":{"token":"hunter2"}}"#,
            r#"{"task":"t","payload":{"a":{"b":1,"\u0062":2}}}"#,
            r#"{"task":"t","payload":{"n":1.10,"m":-0,"l":123456789012345678901234567890}}"#,
            r#"{"task":"t","payload":{"n":1e400}}"#,
            r#"{"task":"t","payload":{"n":"\ud800"}}"#,
            r#"{"task":"t","payload":{"\ud83d\ude00":"\u0000"}}"#,
            " {\"task\" :\n\"t\",\t\"payload\":{ } } ",
            "null",
            "true",
            "0",
            "-1.5e3",
            "01",
            "NaN",
            "\"text\"",
            "\"\\u0000\"",
            "\"\\x\"",
            "[]",
            "[1,]",
            "{,}",
            "'a'",
            "",
            " ",
            "\"a long text that is over the limit\"",
        ]),
        (0_usize..140, any::<bool>()).prop_map(|(depth, list)| {
            let (open, close) = if list { ("[", "]") } else { ("{\"a\":", "}") };
            format!("{}1{}", open.repeat(depth), close.repeat(depth))
        }),
        (0_usize..6000).prop_map(|length| format!("\"{}\"", "x".repeat(length))),
        "[ -~äß\u{1f600}]{0,20}".prop_map(|text| Value::from(text).to_string()),
        "[\\[\\]{}:,\"0-9a-c\\\\]{0,12}",
    ]
}

/// Raw JSON of an attribute.
fn attribute() -> impl Strategy<Value = String> {
    prop_oneof![
        choice(&[
            "\"a\"",
            "\"\"",
            "null",
            "7",
            "-7",
            "1.5",
            "1.0",
            "1e2",
            "1e400",
            "18446744073709551616",
            "true",
            "{}",
            "[]",
            "\"\\u0000\"",
            "\"\\n\"",
            "\"\\ud800\"",
            "\"\\u00e4\"",
            "\"2026-01-02T03:04:05Z\"",
            "\"2026-13-02T03:04:05Z\"",
            "\"application/json\"",
            "\"text/plain\"",
            "\"image/png\"",
            "\"odd\"",
            "\"application/x+json; charset=latin1\"",
            "\"AAEC\"",
            "\"A\"",
        ]),
        (1990_usize..2060).prop_map(|length| format!("\"{}\"", "s".repeat(length))),
        (190_usize..210).prop_map(|length| format!("\"{}\"", "s".repeat(length))),
    ]
}

fn structured() -> impl Strategy<Value = Sent> {
    let more = choice(&[
        "id",
        "source",
        "type",
        "specversion",
        "time",
        "subject",
        "datacontenttype",
        "datacontenttype",
        "dataschema",
        "data_base64",
        "data",
        "ext",
        "ext2",
        "Tenant",
        "a-b",
        "",
        "\\u0065xt",
        "t\\u0000",
        "traceparent",
    ]);
    let encode = prop_oneof![
        20 => Just(0_u8),
        1 => 1_u8..5,
    ];
    (
        prop::sample::select(TYPES),
        prop::option::weighted(0.9, data()),
        prop::collection::vec((more, attribute()), 0..4),
        prop::collection::vec(0_usize..8, 0..2),
        encode,
        prop_oneof![
            9 => Just("application/cloudevents+json".to_owned()),
            1 => choice(&["Application/CloudEvents+JSON ; charset=\"UTF-8\"", "application/cloudevents+json;charset=utf-16",
                "application/cloudevents+xml", "application/cloudevents+json;"]),
        ],
        prop::bool::weighted(0.3),
    )
        .prop_map(|(kind, data, more, drop, encode, content_type, in_batch)| {
            let mut fields: Vec<(String, String)> = [("specversion", "1.0"), ("id", "7"), ("source", "/s"), ("type", kind)]
                .map(|(name, text)| (name.to_owned(), format!("\"{text}\"")))
                .into();
            fields.extend(data.map(|data| ("data".to_owned(), data)));
            fields.extend(more);
            for at in drop.into_iter().filter(|at| *at < 5) {
                if at < fields.len() {
                    fields.remove(at);
                }
            }
            let fields: Vec<_> = fields.iter().map(|(name, raw)| format!("\"{name}\": {raw}")).collect();
            let text = format!("{{{}}}", fields.join(","));
            let body = match encode {
                1 => [b"\xef\xbb\xbf", text.as_bytes()].concat(),
                2 => text.encode_utf16().flat_map(u16::to_le_bytes).collect(),
                3 => text.bytes().map(|byte| if byte == b's' { 0xe4 } else { byte }).collect(),
                4 => text.as_bytes()[..text.len() / 2].to_vec(),
                _ => text.into_bytes(),
            };
            // A batch is of one media type, and joined with nothing that could end it.
            let whole = encode == 0 && content_type == "application/cloudevents+json";
            let in_batch = in_batch && whole && serde_json::from_slice::<serde::de::IgnoredAny>(&body).is_ok();
            Sent::Structured { content_type, body, in_batch }
        })
}

fn binary() -> impl Strategy<Value = Sent> {
    let text = prop_oneof![
        choice(&[
            "a",
            "",
            "7",
            "1.5",
            "true",
            "\0",
            "\n",
            "ä",
            "2026-01-02T03:04:05Z",
            "noon",
            "application/json",
            "text/plain"
        ]),
        (190_usize..210).prop_map(|length| "s".repeat(length)),
    ];
    let name = choice(&[
        "time",
        "subject",
        "dataschema",
        "datacontenttype",
        "ext",
        "ext2",
        "a-b",
        "data",
        "data_base64",
        "traceparent",
    ]);
    let body = prop_oneof![
        data().prop_map(String::into_bytes),
        prop::collection::vec(any::<u8>(), 0..30),
        Just(b"\xef\xbb\xbf{}".to_vec()),
        Just(Vec::new()),
    ];
    (
        prop::sample::select(TYPES),
        prop::collection::btree_map(name, text, 0..3),
        prop::option::weighted(0.1, 0_usize..4),
        prop::sample::select(vec!["ce-", "ce_", "cloudEvents:", "cloudEvents_", "Ce-"]),
        prop_oneof![
            6 => Just(Some("application/json".to_owned())),
            1 => Just(None),
            5 => choice(&[
                "text/plain", "text/plain; charset=utf-8", "text/plain;charset=latin1", "application/octet-stream",
                "application/vnd.a+json", "application/json; charset=latin1", "application/xml", "odd", "a/b/c", "/",
                "application/cloudevents", "TEXT/JSON", "multipart/form-data; boundary=x",
            ]).prop_map(Some),
        ],
        body,
    )
        .prop_map(|(kind, more, drop, prefix, content_type, body)| {
            let mut attributes: Vec<_> = [("specversion", "1.0"), ("id", "7"), ("source", "/s"), ("type", kind)]
                .map(|(name, text)| (name.to_owned(), text.to_owned()))
                .into();
            attributes.extend(more);
            if let Some(at) = drop {
                attributes.remove(at);
            }
            Sent::Binary { attributes, prefix, content_type, body }
        })
}

fn plain() -> impl Strategy<Value = Sent> {
    prop_oneof![
        data().prop_map(String::into_bytes),
        prop::collection::vec(any::<u8>(), 0..30),
    ]
    .prop_map(|body| Sent::Plain { body })
}

#[test]
fn both_doors_give_the_same_verdict() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let bed = {
        let _inside = runtime.enter();
        setup().build()
    };
    let cases = ProptestConfig::default().cases.max(3000);
    let mut runner = TestRunner::new(ProptestConfig {
        cases,
        failure_persistence: None,
        ..ProptestConfig::default()
    });
    let sent = prop_oneof![4 => structured(), 4 => binary(), 1 => plain()];
    let run = runner.run(&sent, |sent| {
        let begun = bed.broker.begun();
        let answer = runtime.block_on(bed.send(sent.request()));
        agree(&bed, &sent, &answer, begun)
    });
    run.unwrap_or_else(|failure| panic!("{failure}"));
    let taken = bed.broker.begun();
    assert!(taken > 200, "only {taken} of {cases} events were good");
}
