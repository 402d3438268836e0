//! Each scheme against good requests, and against each way in which a request may be wrong.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit as _, Mac as _};
use proptest::prelude::*;
use serde_json::{Value, json};
use sha2::Sha256;
use time::OffsetDateTime;

use super::*;

/// When the requests of these tests are signed.
const NOW: i64 = 1_700_000_000;

const SCHEMES: [&str; 5] = ["standard", "stripe", "github", "shopify", "slack"];

/// A secret that every scheme takes.
const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
const OTHER: &str = "whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYX";

/// A request on its way, to be changed before it is verified.
#[derive(Debug, Clone)]
struct Sent {
    headers: Vec<(String, Vec<u8>)>,
    body: Vec<u8>,
}

impl Sent {
    fn new(headers: &[(&str, &str)], body: &[u8]) -> Self {
        let headers = headers.iter();
        Self {
            headers: headers
                .map(|(name, value)| ((*name).to_owned(), value.as_bytes().to_vec()))
                .collect(),
            body: body.to_vec(),
        }
    }

    fn header(&mut self, name: &str) -> &mut Vec<u8> {
        let found = self.headers.iter_mut().find(|(given, _)| given == name);
        &mut found.unwrap_or_else(|| panic!("no header {name}")).1
    }

    fn with(mut self, name: &str, value: impl AsRef<[u8]>) -> Self {
        *self.header(name) = value.as_ref().to_vec();
        self
    }

    fn verify(&self, verifier: &Verifier, now: i64) -> Result<(), Unverified> {
        self.read(verifier, now, |_| ())
    }

    fn read<T>(
        &self,
        verifier: &Verifier,
        now: i64,
        read: impl FnOnce(Verified<'_>) -> T,
    ) -> Result<T, Unverified> {
        let headers = self.headers.iter();
        let headers: Vec<_> = headers
            .map(|(name, value)| (name.as_str(), value.as_slice()))
            .collect();
        let request = WebhookRequest {
            headers: &headers,
            body: &self.body,
        };
        let now =
            OffsetDateTime::from_unix_timestamp(now).unwrap_or_else(|error| panic!("{error}"));
        verifier.verify(request, now).map(read)
    }
}

fn verifier(scheme: &str, secrets: &[&str]) -> Verifier {
    let scheme = Scheme::named(scheme).unwrap_or_else(|error| panic!("{error}"));
    let verifier = Verifier::new(scheme, secrets.iter().copied(), None);
    verifier.unwrap_or_else(|error| panic!("{error}"))
}

fn mac(key: &[u8], text: &[u8]) -> Vec<u8> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).unwrap_or_else(|error| panic!("{error}"));
    mac.update(text);
    mac.finalize().into_bytes().to_vec()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The signature header of a request as its provider writes it, beside the code under test.
fn signature(scheme: &str, secret: &str, at: i64, body: &[u8]) -> String {
    let key = secret.as_bytes();
    let over = |prefix: String| [prefix.as_bytes(), body].concat();
    match scheme {
        "standard" => {
            let bare = secret.trim_start_matches("whsec_");
            let key = STANDARD
                .decode(bare)
                .unwrap_or_else(|error| panic!("{error}"));
            format!(
                "v1,{}",
                STANDARD.encode(mac(&key, &over(format!("msg_1.{at}."))))
            )
        }
        "stripe" => format!("t={at},v1={}", hex(&mac(key, &over(format!("{at}."))))),
        "github" => format!("sha256={}", hex(&mac(key, body))),
        "shopify" => STANDARD.encode(mac(key, body)),
        "slack" => format!("v0={}", hex(&mac(key, &over(format!("v0:{at}:"))))),
        other => panic!("no signer for {other}"),
    }
}

/// The header that has the signature.
fn header_of(scheme: &str) -> String {
    verifier(scheme, &[]).header().to_owned()
}

/// A request that a provider would send.
fn signed(scheme: &str, secret: &str, at: i64, body: &[u8]) -> Sent {
    let (time, header) = (at.to_string(), header_of(scheme));
    let signature = signature(scheme, secret, at, body);
    let mut headers = vec![(header.as_str(), signature.as_str())];
    match scheme {
        "standard" => headers.extend([("webhook-id", "msg_1"), ("webhook-timestamp", &time)]),
        "github" => headers.extend([("x-github-delivery", "d-1"), ("x-github-event", "push")]),
        "shopify" => headers.extend([
            ("x-shopify-webhook-id", "w-1"),
            ("x-shopify-topic", "orders/create"),
            ("x-shopify-triggered-at", "2023-11-14T22:13:19.5Z"),
        ]),
        "slack" => headers.push(("x-slack-request-timestamp", &time)),
        _ => {}
    }
    Sent::new(&headers, body)
}

const BODY: &[u8] = br#"{"id":"evt_1","type":"invoice.paid","created":1699999990}"#;

#[test]
fn a_signed_request_is_believed_and_no_bit_of_it_may_change() {
    for scheme in SCHEMES {
        let verifier = verifier(scheme, &[SECRET]);
        let sent = signed(scheme, SECRET, NOW, BODY);
        assert_eq!(sent.verify(&verifier, NOW), Ok(()), "{scheme}");
        for at in 0..BODY.len() {
            let mut other = sent.clone();
            other.body[at] ^= 1;
            assert_eq!(
                other.verify(&verifier, NOW),
                Err(Unverified::Signature),
                "{scheme}"
            );
        }
        let mut longer = sent.clone();
        longer.body.push(b' ');
        assert_eq!(
            longer.verify(&verifier, NOW),
            Err(Unverified::Signature),
            "{scheme}"
        );
        let header = header_of(scheme);
        for at in 0..sent.clone().header(&header).len() {
            let mut other = sent.clone();
            other.header(&header)[at] ^= 1;
            assert_eq!(
                other.verify(&verifier, NOW),
                Err(Unverified::Signature),
                "{scheme} {at}"
            );
        }
    }
}

#[test]
fn another_secret_signs_for_nobody_and_each_of_several_does() {
    for scheme in SCHEMES {
        let sent = signed(scheme, SECRET, NOW, BODY);
        for (secrets, expected) in [
            (&[OTHER, SECRET][..], Ok(())),
            (&[SECRET, OTHER], Ok(())),
            (&[OTHER], Err(Unverified::Signature)),
            (&[], Err(Unverified::Signature)),
        ] {
            assert_eq!(
                sent.verify(&verifier(scheme, secrets), NOW),
                expected,
                "{scheme}"
            );
        }
    }
}

#[test]
fn a_signed_time_counts_for_five_minutes_both_ways() {
    for scheme in ["standard", "stripe", "slack"] {
        let verifier = verifier(scheme, &[SECRET]);
        let sent = signed(scheme, SECRET, NOW, BODY);
        for (now, expected) in [
            (NOW - 300, Ok(())),
            (NOW + 300, Ok(())),
            (NOW + 301, Err(Unverified::Time)),
            (NOW - 301, Err(Unverified::Time)),
        ] {
            assert_eq!(sent.verify(&verifier, now), expected, "{scheme} at {now}");
        }
        // An old request with a wrong signature is not told that it is old.
        let forged = signed(scheme, OTHER, NOW - 9000, BODY);
        assert_eq!(
            forged.verify(&verifier, NOW),
            Err(Unverified::Signature),
            "{scheme}"
        );
        // A signature over a text that is not a time.
        let odd = signed(scheme, SECRET, -1, BODY);
        assert_eq!(
            odd.verify(&verifier, NOW),
            Err(Unverified::Time),
            "{scheme}"
        );
    }
}

#[test]
fn a_time_that_is_altered_is_not_signed() {
    let later = (NOW + 60).to_string();
    for (scheme, header) in [
        ("standard", "webhook-timestamp"),
        ("slack", "x-slack-request-timestamp"),
    ] {
        let sent = signed(scheme, SECRET, NOW, BODY).with(header, &later);
        assert_eq!(
            sent.verify(&verifier(scheme, &[SECRET]), NOW),
            Err(Unverified::Signature)
        );
    }
    let stripe = verifier("stripe", &[SECRET]);
    let good = signature("stripe", SECRET, NOW, BODY);
    let (_, v1) = good.split_once(',').unwrap_or_default();
    for (header, expected) in [
        (format!("t={NOW},{v1}"), Ok(())),
        (format!("{v1}, t={NOW}"), Ok(())),
        (format!("t={later},{v1}"), Err(Unverified::Signature)),
        (
            format!("t={later},t={NOW},{v1}"),
            Err(Unverified::Signature),
        ),
        (format!("t=,{v1}"), Err(Unverified::Signature)),
        (v1.to_owned(), Err(Unverified::Signature)),
        (format!("t={NOW}"), Err(Unverified::Signature)),
    ] {
        let sent = Sent::new(&[("stripe-signature", &header)], BODY);
        assert_eq!(sent.verify(&stripe, NOW), expected, "{header}");
    }
    let other_id = signed("standard", SECRET, NOW, BODY).with("webhook-id", "msg_2");
    assert_eq!(
        other_id.verify(&verifier("standard", &[SECRET]), NOW),
        Err(Unverified::Signature)
    );
}

#[test]
fn another_version_of_a_signature_never_counts() {
    for (scheme, wanted, others) in [
        ("stripe", "v1=", &["v0=", "v2=", "V1=", ""][..]),
        ("standard", "v1,", &["v0,", "v1a,", "v2,", ""]),
        ("slack", "v0=", &["v1=", ""]),
        ("github", "sha256=", &["sha1=", "SHA256=", ""]),
    ] {
        let verifier = verifier(scheme, &[SECRET]);
        let good = signature(scheme, SECRET, NOW, BODY);
        for other in others {
            let header = good.replace(wanted, other);
            let sent = signed(scheme, SECRET, NOW, BODY).with(&header_of(scheme), &header);
            assert_eq!(
                sent.verify(&verifier, NOW),
                Err(Unverified::Signature),
                "{header}"
            );
        }
    }
}

#[test]
fn one_right_signature_among_others_is_enough() {
    for (scheme, time, separator, prefix) in [
        ("stripe", format!("t={NOW},"), ",", "v1="),
        ("standard", String::new(), " ", "v1,"),
    ] {
        let verifier = verifier(scheme, &[SECRET]);
        let entry = |secret| {
            let header = signature(scheme, secret, NOW, BODY);
            format!(
                "{prefix}{}",
                header.rsplit(prefix).next().unwrap_or_default()
            )
        };
        let (good, bad) = (entry(SECRET), entry(OTHER));
        let (short, long) = (
            format!("{prefix}00"),
            format!("{prefix}{}", "A".repeat(5000)),
        );
        let others = |count| vec![bad.clone(); count];
        for (entries, expected) in [
            (vec![bad.clone(), good.clone()], Ok(())),
            (vec![good.clone(), short, long], Ok(())),
            (vec![good.clone(), String::new()], Ok(())),
            ([others(31), vec![good.clone()]].concat(), Ok(())),
            // Beyond the number of signatures that are compared.
            (
                [others(32), vec![good.clone()]].concat(),
                Err(Unverified::Signature),
            ),
        ] {
            let header = format!("{time}{}", entries.join(separator));
            let sent = signed(scheme, SECRET, NOW, BODY).with(&header_of(scheme), &header);
            assert_eq!(sent.verify(&verifier, NOW), expected, "{scheme}: {header}");
        }
    }
}

#[test]
fn a_missing_doubled_or_unreadable_header_is_no_signature() {
    for scheme in SCHEMES {
        let verifier = verifier(scheme, &[SECRET]);
        let sent = signed(scheme, SECRET, NOW, BODY);
        let header = header_of(scheme);
        let refused = |sent: &Sent| {
            assert_eq!(
                sent.verify(&verifier, NOW),
                Err(Unverified::Signature),
                "{scheme}: {sent:?}"
            );
        };
        let mut missing = sent.clone();
        missing.headers.retain(|(name, _)| *name != header);
        refused(&missing);
        let mut doubled = sent.clone();
        doubled.headers.push(sent.headers[0].clone());
        refused(&doubled);
        refused(&sent.clone().with(&header, ""));
        refused(&sent.clone().with(&header, b"\xff\xfe"));
        refused(&sent.clone().with(&header, "=".repeat(16_000)));
        refused(&sent.clone().with(&header, ",v1=".repeat(4_000)));
    }
    // The other headers that are signed.
    for (scheme, name) in [
        ("standard", "webhook-id"),
        ("standard", "webhook-timestamp"),
        ("slack", "x-slack-request-timestamp"),
    ] {
        let verifier = verifier(scheme, &[SECRET]);
        let mut doubled = signed(scheme, SECRET, NOW, BODY);
        let value = doubled.header(name).clone();
        doubled.headers.push((name.to_owned(), value));
        assert_eq!(
            doubled.verify(&verifier, NOW),
            Err(Unverified::Signature),
            "{name}"
        );
        let mut missing = signed(scheme, SECRET, NOW, BODY);
        missing.headers.retain(|(given, _)| given != name);
        assert_eq!(
            missing.verify(&verifier, NOW),
            Err(Unverified::Signature),
            "{name}"
        );
    }
}

fn notice(scheme: &str, body: &Value) -> Result<Notice, Vec<String>> {
    let text = body.to_string();
    let sent = signed(scheme, SECRET, NOW, text.as_bytes());
    let read = sent.read(&verifier(scheme, &[SECRET]), NOW, |verified| {
        verified.notice(body)
    });
    let pointers = |errors: Vec<crate::outcome::FieldError>| {
        errors.into_iter().map(|error| error.pointer).collect()
    };
    read.unwrap_or_else(|error| panic!("{scheme}: {error}"))
        .map_err(pointers)
}

#[test]
fn id_type_and_time_are_the_provider_s() {
    for (scheme, body, expected) in [
        (
            "stripe",
            json!({"id": "evt_1", "type": "invoice.paid", "created": NOW}),
            ("evt_1", "invoice.paid", Some(NOW)),
        ),
        (
            "standard",
            json!({"type": "user.created", "timestamp": "2023-11-14T22:13:20Z", "data": {}}),
            ("msg_1", "user.created", Some(NOW)),
        ),
        ("github", json!({"action": "opened"}), ("d-1", "push", None)),
        (
            "shopify",
            json!({"id": 7}),
            ("w-1", "orders/create", Some(NOW - 1)),
        ),
        (
            "slack",
            json!({"type": "event_callback", "event_id": "Ev1", "event_time": NOW, "event": {"type": "app_mention"}}),
            ("Ev1", "app_mention", Some(NOW)),
        ),
        (
            "stripe",
            json!({"id": 7, "type": "a", "created": "soon"}),
            ("7", "a", None),
        ),
    ] {
        let notice = notice(scheme, &body).unwrap_or_else(|errors| panic!("{errors:?}"));
        let found = (
            notice.id.as_str(),
            notice.kind.as_str(),
            notice.time.map(OffsetDateTime::unix_timestamp),
        );
        assert_eq!(found, expected, "{scheme}");
    }
    let limited = json!({"type": "app_rate_limited", "minute_rate_limited": 1_518_467_820});
    let notice = notice("slack", &limited).unwrap_or_else(|errors| panic!("{errors:?}"));
    assert_eq!(notice.kind, "app_rate_limited");
    assert!(
        notice.id.starts_with("sha256:") && notice.id.len() == 71,
        "{}",
        notice.id
    );
}

#[test]
fn a_missing_id_or_type_is_named() {
    assert_eq!(
        notice("stripe", &json!({})),
        Err(vec!["/id".to_owned(), "/type".to_owned()])
    );
    assert_eq!(
        notice("stripe", &json!({"id": "", "type": "a"})),
        Err(vec!["/id".to_owned()])
    );
    assert_eq!(
        notice("standard", &json!({"type": {}})),
        Err(vec!["/type".to_owned()])
    );
    assert_eq!(notice("slack", &json!([])), Err(vec!["/type".to_owned()]));
}

#[test]
fn handshakes_are_answered_and_are_not_events() {
    let answer = |scheme: &str, event: &str, body: Value| {
        let mut sent = signed(scheme, SECRET, NOW, body.to_string().as_bytes());
        if scheme == "github" {
            sent = sent.with("x-github-event", event);
        }
        let read = sent.read(&verifier(scheme, &[SECRET]), NOW, |it| it.handshake(&body));
        read.unwrap_or_else(|error| panic!("{error}"))
    };
    let challenge =
        |text: &str| json!({"type": "url_verification", "challenge": text, "token": "t"});
    assert_eq!(
        answer("slack", "", challenge("3eZbrw1a")).as_deref(),
        Some("3eZbrw1a")
    );
    assert_eq!(answer("slack", "", challenge(&"x".repeat(2000))), None);
    assert_eq!(answer("slack", "", challenge("a\nb")), None);
    assert_eq!(
        answer("slack", "", json!({"type": "url_verification"})),
        None
    );
    assert_eq!(
        answer(
            "slack",
            "",
            json!({"type": "event_callback", "challenge": "x"})
        ),
        None
    );
    assert_eq!(
        answer("github", "ping", json!({"zen": "x"})).as_deref(),
        Some("ok")
    );
    assert_eq!(answer("github", "push", json!({})), None);
    assert_eq!(answer("stripe", "", challenge("x")), None);
}

#[test]
fn a_tolerance_is_for_schemes_that_sign_a_time() {
    let with = |scheme: &str, seconds| {
        let scheme = Scheme::named(scheme).unwrap_or_else(|error| panic!("{error}"));
        Verifier::new(scheme, [SECRET], Some(Duration::from_secs(seconds)))
    };
    let short = with("stripe", 10).unwrap_or_else(|error| panic!("{error}"));
    let sent = signed("stripe", SECRET, NOW, BODY);
    assert_eq!(sent.verify(&short, NOW + 10), Ok(()));
    assert_eq!(sent.verify(&short, NOW + 11), Err(Unverified::Time));
    for (scheme, seconds) in [("github", 300), ("stripe", 0), ("stripe", 100_000)] {
        let key = with(scheme, seconds).map(|_| ()).map_err(|error| error.key);
        assert_eq!(key, Err("tolerance"), "{scheme}");
    }
}

proptest! {
    #[test]
    fn every_request_that_is_signed_is_believed(
        index in 0..SCHEMES.len(),
        secret in prop::collection::vec(any::<u8>(), 24..64),
        at in 0..4_000_000_000_i64,
        off in -300..=300_i64,
        body in prop::collection::vec(any::<u8>(), 0..300),
    ) {
        let scheme = SCHEMES[index];
        let secret = format!("whsec_{}", STANDARD.encode(secret));
        let sent = signed(scheme, &secret, at, &body);
        prop_assert_eq!(sent.verify(&verifier(scheme, &[OTHER, &secret]), at + off), Ok(()));
        prop_assert_eq!(sent.verify(&verifier(scheme, &[OTHER]), at), Err(Unverified::Signature));
    }

    #[test]
    fn nothing_that_is_not_signed_is_believed(
        index in 0..SCHEMES.len(),
        header in prop::collection::vec(any::<u8>(), 0..200),
        time in ".{0,20}",
        body in prop::collection::vec(any::<u8>(), 0..100),
    ) {
        let scheme = SCHEMES[index];
        let mut sent = signed(scheme, OTHER, NOW, &body).with(&header_of(scheme), &header);
        if scheme == "slack" {
            sent = sent.with("x-slack-request-timestamp", &time);
        }
        prop_assert_eq!(sent.verify(&verifier(scheme, &[SECRET]), NOW), Err(Unverified::Signature));
    }
}
