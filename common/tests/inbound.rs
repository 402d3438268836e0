//! Requests that were signed with the providers' own public libraries (`common/tests/signatures`, made by
//! `scripts/signatures`).

#![expect(
    clippy::unwrap_used,
    reason = "tests may stop at the first surprise, in helpers too"
)]

use std::collections::BTreeMap;
use std::path::Path;

use common::inbound::{Scheme, Unverified, Verified, Verifier, WebhookRequest};
use serde::Deserialize;
use serde_json::Value;
use time::OffsetDateTime;

const SCHEMES: [&str; 5] = ["stripe", "github", "standard", "shopify", "slack"];

#[derive(Deserialize)]
struct Fixture {
    scheme: String,
    library: String,
    requests: Vec<Signed>,
}

#[derive(Deserialize)]
struct Signed {
    name: String,
    secret: String,
    now: i64,
    headers: BTreeMap<String, String>,
    body: String,
    id: Option<String>,
    r#type: Option<String>,
    time: Option<i64>,
    challenge: Option<String>,
}

impl Signed {
    fn verify<T>(
        &self,
        verifier: &Verifier,
        body: &[u8],
        now: i64,
        read: impl FnOnce(Verified<'_>) -> T,
    ) -> Result<T, Unverified> {
        let headers = self.headers.iter();
        let headers: Vec<_> = headers
            .map(|(name, value)| (name.as_str(), value.as_bytes()))
            .collect();
        let request = WebhookRequest {
            headers: &headers,
            body,
        };
        let now = OffsetDateTime::from_unix_timestamp(now).unwrap();
        verifier.verify(request, now).map(read)
    }
}

fn fixtures() -> Vec<Fixture> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/signatures");
    let fixture = |scheme: &str| {
        let text = std::fs::read_to_string(folder.join(format!("{scheme}.json"))).unwrap();
        serde_json::from_str::<Fixture>(&text).unwrap()
    };
    SCHEMES.map(fixture).into()
}

fn verifier(scheme: &str, secret: &str) -> Verifier {
    Verifier::new(Scheme::named(scheme).unwrap(), [secret], None).unwrap()
}

#[test]
fn what_a_provider_s_library_signs_is_believed_and_read() {
    for Fixture {
        scheme,
        library,
        requests,
    } in fixtures()
    {
        assert!(!requests.is_empty(), "{scheme}");
        for signed in requests {
            let of = format!("{scheme}, {library}: {}", signed.name);
            let data: Value = serde_json::from_str(&signed.body).unwrap();
            let verifier = verifier(&scheme, &signed.secret);
            let read = signed.verify(&verifier, signed.body.as_bytes(), signed.now, |verified| {
                (verified.handshake(&data), verified.notice(&data).ok())
            });
            let (answer, notice) = read.unwrap_or_else(|error| panic!("{of}: {error}"));
            assert_eq!(answer, signed.challenge, "{of}");
            if let Some(id) = &signed.id {
                let notice = notice.unwrap();
                assert_eq!(&notice.id, id, "{of}");
                assert_eq!(Some(notice.kind), signed.r#type, "{of}");
                assert_eq!(
                    notice.time.map(OffsetDateTime::unix_timestamp),
                    signed.time,
                    "{of}"
                );
            }
        }
    }
}

#[test]
fn what_a_provider_s_library_signs_is_believed_unchanged_by_its_secret_and_in_time_alone() {
    for Fixture {
        scheme, requests, ..
    } in fixtures()
    {
        let has_time = Scheme::named(&scheme).unwrap().timestamp.is_some();
        for signed in requests {
            let (body, own) = (signed.body.as_bytes(), verifier(&scheme, &signed.secret));
            let other = verifier(&scheme, "whsec_b3RoZXJvdGhlcm90aGVyb3RoZXJvdGhlcg==");
            let refused = signed.verify(&other, body, signed.now, |_| ());
            assert_eq!(refused, Err(Unverified::Signature), "{scheme}");
            let mut altered = body.to_vec();
            altered[1] ^= 1;
            let refused = signed.verify(&own, &altered, signed.now, |_| ());
            assert_eq!(refused, Err(Unverified::Signature), "{scheme}");
            let expected = if has_time {
                Err(Unverified::Time)
            } else {
                Ok(())
            };
            for late in [-301, 301] {
                let judged = signed.verify(&own, body, signed.now + late, |_| ());
                assert_eq!(judged, expected, "{scheme}");
            }
        }
    }
}
