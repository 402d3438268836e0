//! A door that asks for keys.

use std::num::NonZeroU32;
use std::sync::Arc;

use axum::body::Body;
use axum::http::{Request, StatusCode};
use common::config::{Config, DoorMode, FormMode};
use common::event::{EventId, Publisher};
use common::key::{Key, KnownKey, Scopes};
use common::server::Peer;
use common::store::{Act, Actor, AuditAction, Keys as _, NewKey, Schema as _};
use futures_util::StreamExt as _;
use serde_json::json;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt as _;

use crate::changes::Change;
use crate::fakes::{Setup, TestStore, Testbed};
use crate::request::{Answer, BATCH, JSON};

const SIGNUP: &str = r#"{"email":"ada@example.com","name":"Ada"}"#;

pub fn known(name: &str, key: &Key, scopes: &[&str]) -> KnownKey {
    let scopes = scopes.iter().map(|scope| scope.parse().unwrap());
    KnownKey {
        name: name.parse().unwrap(),
        hash: key.hash(),
        scopes: Scopes(scopes.collect()),
        rate: None,
        burst: None,
        networks: Vec::new(),
        expires_at: None,
    }
}

/// A door that knows these keys by its configuration, with the database down.
fn door(keys: Vec<KnownKey>) -> Testbed {
    door_with(|config| config.keys = keys)
}

fn door_with(change: impl FnOnce(&mut Config)) -> Testbed {
    let mut setup = Setup {
        mode: DoorMode::Keys,
        ..Setup::default()
    };
    change(&mut setup.config);
    setup.build()
}

pub fn bearer(key: &Key) -> String {
    format!("Bearer {}", key.expose())
}

impl Testbed {
    /// Sends a signup with these headers from this address.
    async fn signup_from(&self, address: &str, headers: &[(&str, &str)]) -> Answer {
        let mut request = Request::post("/v1/signups").header(JSON.0, JSON.1);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let peer = Peer(format!("{address}:1").parse().unwrap());
        let request = request.extension(peer).body(Body::from(SIGNUP)).unwrap();
        self.send(request).await
    }

    async fn signup(&self, key: Option<&Key>) -> Answer {
        let shown = key.map(bearer);
        let headers: Vec<_> = shown.iter().map(|it| ("authorization", &**it)).collect();
        self.signup_from("203.0.113.9", &headers).await
    }
}

#[tokio::test]
async fn without_a_key_nothing_is_taken_and_nothing_is_told() {
    let door = door(Vec::new());
    for (method, path) in [
        ("POST", "/v1/signups"),
        ("POST", "/v1/processing"),
        ("POST", "/v1/events"),
        ("GET", "/v1/events/0193b5d0-0000-7000-8000-000000000000"),
        (
            "GET",
            "/v1/events/0193b5d0-0000-7000-8000-000000000000/live",
        ),
        ("GET", "/metrics"),
    ] {
        let request = Request::builder().method(method).uri(path);
        let answer = door.send(request.body(Body::empty()).unwrap()).await;
        assert_eq!(answer.status, StatusCode::UNAUTHORIZED, "{path}");
        assert_eq!(answer.code(), "unauthenticated");
        assert_eq!(
            answer.header("www-authenticate"),
            "Bearer realm=\"longshore\""
        );
    }
    for path in ["/livez", "/readyz"] {
        let answer = door
            .send(Request::get(path).body(Body::empty()).unwrap())
            .await;
        assert_ne!(answer.status, StatusCode::UNAUTHORIZED, "{path}");
    }
    let page = door
        .send(Request::get("/").body(Body::empty()).unwrap())
        .await;
    assert_eq!(page.status, StatusCode::NOT_FOUND);
    assert_eq!(door.broker.begun(), 0);
}

#[tokio::test]
async fn a_wrong_key_is_refused_before_the_database_is_asked() {
    let right = Key::generate().unwrap();
    let door = door(vec![known("shop", &right, &["events:write"])]);
    let text = right.expose();
    let mistyped = format!(
        "Bearer {}{}",
        &text[..47],
        if text.ends_with('0') { '1' } else { '0' }
    );
    for value in [mistyped.as_str(), "Bearer nothing", "Basic YTpi"] {
        let answer = door
            .signup_from("203.0.113.9", &[("authorization", value)])
            .await;
        assert_eq!(answer.status, StatusCode::UNAUTHORIZED, "{value}");
        assert!(answer.header("www-authenticate").contains("invalid_token"));
    }
    assert_eq!(door.signup(Some(&right)).await.status, StatusCode::ACCEPTED);
}

#[tokio::test]
async fn of_a_thousand_malformed_tokens_each_is_refused() {
    let right = Key::generate().unwrap();
    let door = door(vec![known("shop", &right, &["events:write"])]);
    let text = right.expose();
    for number in 0..1_000_u32 {
        let at = number as usize % text.len();
        let cut = &text[..at];
        let token = match number % 5 {
            0 => cut.to_owned(),
            1 => format!("{cut}.{}", &text[at..]),
            2 => format!("{text}{number}"),
            3 => format!("eyJhbGciOiJub25lIn0.e30.{cut}"),
            _ => format!("{cut}\u{e9}{number}")
                .chars()
                .filter(char::is_ascii)
                .collect(),
        };
        // Each from an address of its own, so that none is refused for coming too fast.
        let address = format!("198.51.{}.{}", number / 250, number % 250);
        let shown = format!("Bearer {token}");
        let answer = door
            .signup_from(&address, &[("authorization", &shown)])
            .await;
        assert_eq!(answer.status, StatusCode::UNAUTHORIZED, "{number}: {token}");
    }
    assert_eq!(door.broker.begun(), 0);
}

#[tokio::test]
async fn a_key_that_the_door_cannot_know_yet_is_told_to_come_back() {
    let door = door(Vec::new());
    let answer = door.signup(Some(&Key::generate().unwrap())).await;
    assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(answer.code(), "keys_unavailable");
    assert_eq!(answer.header("retry-after"), "2");
    assert_eq!(door.broker.begun(), 0);
}

#[tokio::test]
async fn a_key_publishes_the_types_of_its_scopes_and_its_name_is_the_publisher() {
    let key = Key::generate().unwrap();
    let door = door(vec![known("shop", &key, &["events:write:signup.*"])]);
    assert_eq!(door.signup(Some(&key)).await.status, StatusCode::ACCEPTED);
    let (_, decoded) = door.broker.only();
    assert_eq!(
        decoded.trail.publisher,
        Some(Publisher::ourselves_for("shop"))
    );
    assert_eq!(decoded.id.to_string(), decoded.event.id);

    let shown = bearer(&key);
    let headers = [JSON, ("authorization", &*shown)];
    let body = json!({"task": "resize", "payload": {}}).to_string();
    let answer = door.post("/v1/processing", &headers, body).await;
    assert_eq!(answer.status, StatusCode::FORBIDDEN);
    assert_eq!(answer.code(), "forbidden");
    let detail = answer.json()["errors"][0]["detail"].to_string();
    assert!(
        detail.contains("events:write:processing.requested"),
        "{detail}"
    );
    assert_eq!(door.broker.begun(), 1);
}

#[tokio::test]
async fn keys_of_one_name_make_the_same_ids() {
    let (old, new, other) = (
        Key::generate().unwrap(),
        Key::generate().unwrap(),
        Key::generate().unwrap(),
    );
    let door = door(vec![
        known("shop", &old, &["events:write"]),
        known("shop", &new, &["events:write"]),
        known("crm", &other, &["events:write"]),
    ]);
    let mut ids = Vec::new();
    for key in [&old, &new, &other] {
        let shown = bearer(key);
        let headers = [("authorization", &*shown), ("idempotency-key", "order-1")];
        let answer = door.signup_from("203.0.113.9", &headers).await;
        ids.push(answer.json()["id"].as_str().unwrap().to_owned());
    }
    assert_eq!(ids[0], ids[1]);
    assert_ne!(ids[0], ids[2]);
}

#[tokio::test]
async fn a_batch_with_one_forbidden_type_is_not_taken_at_all() {
    let key = Key::generate().unwrap();
    let door = door(vec![known("shop", &key, &["events:write:signup.*"])]);
    let event = |id: &str, kind: &str, data: serde_json::Value| json!({"specversion": "1.0", "id": id, "source": "/shop", "type": kind, "data": data});
    let batch = json!([
        event(
            "1",
            "signup.requested",
            json!({"email": "ada@example.com", "name": "Ada"})
        ),
        event(
            "2",
            "processing.requested",
            json!({"task": "resize", "payload": {}})
        ),
    ]);
    let shown = bearer(&key);
    let headers = [BATCH, ("authorization", &*shown)];
    let answer = door.post("/v1/events", &headers, batch.to_string()).await;
    assert_eq!(answer.status, StatusCode::FORBIDDEN);
    assert_eq!(answer.pointers(), ["/1/type"]);
    assert_eq!(door.broker.begun(), 0);
}

#[tokio::test]
async fn a_rate_lets_a_burst_through_and_then_says_when_to_come_back() {
    let key = Key::generate().unwrap();
    let mut limited = known("shop", &key, &["events:write"]);
    limited.rate = Some("2/h".parse().unwrap());
    limited.burst = NonZeroU32::new(3);
    let door = door(vec![limited]);
    for left in ["2", "1", "0"] {
        let answer = door.signup(Some(&key)).await;
        assert_eq!(answer.status, StatusCode::ACCEPTED);
        assert_eq!(answer.header("ratelimit-policy"), "\"key\";q=2;w=3600");
        assert_eq!(answer.header("ratelimit"), format!("\"key\";r={left}"));
    }
    let answer = door.signup(Some(&key)).await;
    assert_eq!(answer.status, StatusCode::TOO_MANY_REQUESTS);
    assert_eq!(answer.code(), "rate_limited");
    let wait: u32 = answer.header("retry-after").parse().unwrap();
    assert!((1..=1800).contains(&wait), "{wait}");
    assert_eq!(door.broker.begun(), 3);
}

#[tokio::test]
async fn a_batch_counts_as_its_events() {
    let key = Key::generate().unwrap();
    let mut limited = known("shop", &key, &["events:write"]);
    limited.rate = Some("4/h".parse().unwrap());
    let door = door(vec![limited]);
    let batch = |first: usize, count: usize| {
        let event = |id| {
            let data = json!({"email": format!("{id}@example.com"), "name": "Ada"});
            json!({"specversion": "1.0", "id": format!("{id}"), "source": "/shop",
                   "type": "signup.requested", "data": data})
        };
        serde_json::Value::Array((first..first + count).map(event).collect()).to_string()
    };
    let shown = bearer(&key);
    let headers = [BATCH, ("authorization", &*shown)];
    let whole = door.post("/v1/events", &headers, batch(0, 9)).await;
    assert_eq!(whole.status, StatusCode::PAYLOAD_TOO_LARGE, "it never fits");
    let fits = door.post("/v1/events", &headers, batch(0, 3)).await;
    assert_eq!(fits.status, StatusCode::ACCEPTED);
    assert_eq!(
        door.signup(Some(&key)).await.status,
        StatusCode::TOO_MANY_REQUESTS
    );
}

#[tokio::test]
async fn a_key_is_used_from_its_networks_alone() {
    let key = Key::generate().unwrap();
    let mut bound = known("shop", &key, &["events:write"]);
    bound.networks = vec!["203.0.113.0/24".parse().unwrap()];
    let door = door_with(|config| {
        config.keys = vec![bound];
        config.auth.proxies = vec!["10.0.0.0/8".parse().unwrap()];
    });
    let shown = bearer(&key);
    let shown = ("authorization", &*shown);
    let from =
        async |address, headers: &[(&str, &str)]| door.signup_from(address, headers).await.status;
    assert_eq!(from("203.0.113.9", &[shown]).await, StatusCode::ACCEPTED);
    assert_eq!(from("198.51.100.1", &[shown]).await, StatusCode::FORBIDDEN);
    let forwarded = ("x-forwarded-for", "203.0.113.9");
    assert_eq!(
        from("10.0.0.1", &[shown, forwarded]).await,
        StatusCode::ACCEPTED
    );
    assert_eq!(
        from("198.51.100.1", &[shown, forwarded]).await,
        StatusCode::FORBIDDEN
    );
}

#[tokio::test]
async fn wrong_keys_from_one_address_are_slowed_down_and_nobody_else_is() {
    let key = Key::generate().unwrap();
    let door = door(vec![known("shop", &key, &["events:write"])]);
    let mut refused = 0;
    for _ in 0..10_000 {
        let answer = door
            .signup_from("198.51.100.1", &[("authorization", "Bearer x")])
            .await;
        refused += usize::from(answer.status == StatusCode::TOO_MANY_REQUESTS);
    }
    // All but the burst, and the few that come in again with time.
    assert!(refused > 9_500, "{refused}");
    let other = door.signup_from("198.51.100.2", &[]).await;
    assert_eq!(other.status, StatusCode::UNAUTHORIZED);
    // A right key from the same address, such as of a neighbour behind one router.
    let shown = bearer(&key);
    let right = door
        .signup_from("198.51.100.1", &[("authorization", &shown)])
        .await;
    assert_eq!(right.status, StatusCode::ACCEPTED);
}

#[tokio::test]
async fn the_public_form_takes_signups_and_nothing_else() {
    let door = door_with(|config| {
        config.auth.form = FormMode::Public;
        config.auth.form_rate = "3/h".parse().unwrap();
    });
    let page = door
        .send(Request::get("/").body(Body::empty()).unwrap())
        .await;
    assert_eq!(page.status, StatusCode::OK);
    for expected in [StatusCode::ACCEPTED; 3] {
        assert_eq!(door.signup(None).await.status, expected);
    }
    assert_eq!(
        door.signup(None).await.status,
        StatusCode::TOO_MANY_REQUESTS
    );
    let other = door.signup_from("198.51.100.1", &[]).await;
    assert_eq!(other.status, StatusCode::ACCEPTED);
    let body = json!({"task": "resize", "payload": {}}).to_string();
    let answer = door.post("/v1/processing", &[JSON], body).await;
    assert_eq!(answer.status, StatusCode::UNAUTHORIZED);
}

fn act(action: AuditAction) -> Act {
    let actor = Actor {
        who: "test".to_owned(),
        role: None,
        origin: "test".to_owned(),
    };
    Act::new(actor, action, "key")
}

async fn create(store: &TestStore, key: &Key, scope: &str) {
    let new = NewKey {
        id: key.id(),
        key: known("shop", key, &[scope]),
    };
    let act = act(AuditAction::KeyCreate);
    store.real.create_key(&new, &act).await.unwrap();
}

async fn revoke(store: &TestStore, key: &Key) {
    let act = act(AuditAction::KeyRevoke);
    store.real.revoke_key(&key.id(), &act).await.unwrap();
}

#[tokio::test]
async fn a_stream_ends_when_its_key_is_revoked() {
    let store = TestStore::empty();
    store.migrate().await.unwrap();
    let door = Setup {
        mode: DoorMode::Keys,
        store: Arc::clone(&store),
        ..Setup::default()
    }
    .build();
    let key = Key::generate().unwrap();
    create(&store, &key, "events:read").await;
    let stop = CancellationToken::new();
    let following = door.door.follow_keys(&stop);
    let watching = async {
        let path = format!("/v1/events/{}/live", EventId::born());
        let watch = || {
            let request = Request::get(&*path).header("authorization", bearer(&key));
            door.router
                .clone()
                .oneshot(request.body(Body::empty()).unwrap())
        };
        let mut answer = watch().await.unwrap();
        while answer.status() != StatusCode::OK {
            tokio::task::yield_now().await;
            answer = watch().await.unwrap();
        }
        let mut stream = answer.into_body().into_data_stream();
        let first = stream.next().await.unwrap().unwrap();
        revoke(&store, &key).await;
        let mut told = first.to_vec();
        while let Some(more) = stream.next().await {
            told.extend(more.unwrap());
        }
        stop.cancel();
        String::from_utf8(told).unwrap()
    };
    let both = async { tokio::join!(following, watching).1 };
    let told = tokio::time::timeout(std::time::Duration::from_secs(30), both).await;
    let told = told.unwrap();
    assert!(told.contains("{\"for\":\"event\"}"), "{told}");
    let end = "event: end\ndata: {\"reason\":\"unauthenticated\"}\n\n";
    assert!(told.ends_with(end), "{told}");
}

#[tokio::test]
async fn the_keys_of_the_database_reach_the_door_and_revoked_ones_leave_it() {
    let store = TestStore::empty();
    store.migrate().await.unwrap();
    let setup = Setup {
        mode: DoorMode::Keys,
        store: Arc::clone(&store),
        ..Setup::default()
    };
    let door = setup.build();
    assert!(door.door.expect_keys().await.is_err(), "there is none");

    let (key, other) = (Key::generate().unwrap(), Key::generate().unwrap());
    for key in [&key, &other] {
        create(&store, key, "events:write").await;
    }
    assert!(door.door.expect_keys().await.is_ok());
    for key in [&key, &other] {
        assert_eq!(door.signup(Some(key)).await.status, StatusCode::ACCEPTED);
    }

    let stop = CancellationToken::new();
    let following = door.door.follow_keys(&stop);
    let revoking = async {
        revoke(&store, &key).await;
        while door.signup(Some(&key)).await.status != StatusCode::UNAUTHORIZED {
            tokio::task::yield_now().await;
        }
        stop.cancel();
    };
    let both = async { tokio::join!(following, revoking) };
    tokio::time::timeout(std::time::Duration::from_secs(30), both)
        .await
        .unwrap();
    let used = store.real.key(&other.id()).await.unwrap();
    let used = used.unwrap().last_used_at;
    assert!(used.is_some(), "a use is written down at the end");
}

#[tokio::test]
async fn a_caller_sees_the_events_it_has_published_and_no_others() {
    let (shop, crm, all) = (
        Key::generate().unwrap(),
        Key::generate().unwrap(),
        Key::generate().unwrap(),
    );
    let id = EventId::born();
    let mut setup = Setup {
        mode: DoorMode::Keys,
        store: TestStore::changing([Change::Stored]),
        ..Setup::default()
    };
    setup.config.keys = vec![
        known("shop", &shop, &["events:read"]),
        known("crm", &crm, &["events:read"]),
        known("audit", &all, &["events:read:all"]),
    ];
    let door = setup.build();
    for (key, expected) in [
        (&shop, StatusCode::OK),
        (&crm, StatusCode::NOT_FOUND),
        (&all, StatusCode::OK),
    ] {
        let request = Request::get(format!("/v1/events/{id}")).header("authorization", bearer(key));
        let answer = door.send(request.body(Body::empty()).unwrap()).await;
        assert_eq!(answer.status, expected);
    }
}
