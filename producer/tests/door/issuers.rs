//! Issuers of tokens on loopback, and doors that know them.

use std::time::Duration;

use axum::body::Body;
use axum::http::{Request, StatusCode};
use common::config::{Config, DoorMode, load_from};
use common::key::KnownKey;
use common::server::Peer;
use serde_json::Value;
use testkit::receiver::{Answer as Reply, Receiver};
use testkit::tokens::{SigningKey, claims, key_set};
use testkit::wait::eventually;
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::fakes::{Setup, TestStore, Testbed};
use crate::request::{Answer, JSON};

/// The `aud` of the door.
pub const AUDIENCE: &str = "longshore";

/// How long a door may take to get keys.
const SOON: Duration = Duration::from_secs(30);

const SIGNUP: &str = r#"{"email":"ada@example.com","name":"Ada"}"#;

/// An issuer: a key, and a server that gives the key set.
pub struct TestIssuer {
    pub key: SigningKey,
    pub server: Receiver,
    /// Our name for it.
    name: &'static str,
}

impl TestIssuer {
    pub async fn start(name: &'static str) -> Self {
        let issuer = Self {
            key: SigningKey::p256("first").unwrap(),
            server: Receiver::start().await.unwrap(),
            name,
        };
        issuer.serve(&[&issuer.key]);
        issuer
    }

    /// Gives this key set from now on.
    pub fn serve(&self, keys: &[&SigningKey]) {
        self.answer(key_set(keys).to_string());
    }

    /// Gives this text from now on.
    pub fn answer(&self, text: String) {
        self.server.always(Reply::status(200).body(text));
    }

    /// The claim `iss` of its tokens.
    pub fn iss(&self) -> String {
        format!("https://{}.example.com/", self.name)
    }

    /// Its section in the configuration, with further keys.
    pub fn section(&self, more: &str) -> String {
        self.section_at(&format!("{:?}", self.server.url()), more)
    }

    /// Its section with its keys at another place.
    pub fn section_at(&self, jwks: &str, more: &str) -> String {
        let (name, iss) = (self.name, self.iss());
        format!(
            r#"{{ name = "{name}", issuer = "{iss}", audience = "{AUDIENCE}", jwks = {jwks}, scope_claim = "scope", {more} }}"#
        )
    }

    /// The claims of a caller with these scopes.
    pub fn claims(&self, caller: &str, scope: &str) -> Value {
        claims(&self.iss(), AUDIENCE, caller, scope)
    }

    /// A token of a caller with these scopes.
    pub fn token(&self, caller: &str, scope: &str) -> String {
        self.key.token(&self.claims(caller, scope)).unwrap()
    }
}

/// A door that follows the keys of its issuers until it is dropped.
pub struct Guarded {
    pub bed: Testbed,
    _stop: DropGuard,
}

impl Guarded {
    /// A door with these sections of issuers, and these keys.
    pub fn open(sections: &[String], keys: Vec<KnownKey>) -> Self {
        Self::over(TestStore::down(), sections, keys)
    }

    /// A door over this database.
    pub fn over(
        store: std::sync::Arc<TestStore>,
        sections: &[String],
        keys: Vec<KnownKey>,
    ) -> Self {
        let setup = Setup {
            mode: DoorMode::Keys,
            config: Config {
                keys,
                ..with_issuers(&sections.join(", "))
            },
            store,
            ..Setup::default()
        };
        let bed = setup.build();
        let stop = CancellationToken::new();
        let (door, stopped) = (bed.door.clone(), stop.clone());
        tokio::spawn(async move { door.follow_keys(&stopped).await });
        Self {
            bed,
            _stop: stop.drop_guard(),
        }
    }

    /// A door that has the keys of this issuer.
    pub async fn of(issuer: &TestIssuer) -> Self {
        let door = Self::open(&[issuer.section("")], Vec::new());
        door.await_keys(issuer).await;
        door
    }

    /// Waits until the door has a key set of this issuer.
    pub async fn await_keys(&self, issuer: &TestIssuer) {
        let token = issuer.token("first", "events:write");
        let what = format!("the door to have the keys of {}", issuer.name);
        eventually(SOON, what, || async {
            let status = self.signup(&token).await.status;
            anyhow::ensure!(status != StatusCode::SERVICE_UNAVAILABLE);
            Ok(())
        })
        .await
        .unwrap();
    }

    /// Sends a signup with this token.
    pub async fn signup(&self, token: &str) -> Answer {
        self.signup_from("203.0.113.9", token, &[]).await
    }

    /// Sends a signup from this address, with further headers.
    pub async fn signup_from(
        &self,
        address: &str,
        token: &str,
        headers: &[(&str, &str)],
    ) -> Answer {
        let mut request = Request::post("/v1/signups")
            .header(JSON.0, JSON.1)
            .header("authorization", format!("Bearer {token}"));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let peer = Peer(format!("{address}:1").parse().unwrap());
        let request = request.extension(peer).body(Body::from(SIGNUP)).unwrap();
        self.bed.send(request).await
    }

    /// Asks for the status of an event.
    pub async fn status(&self, token: &str, id: &str) -> Answer {
        let request = Request::get(format!("/v1/events/{id}"))
            .header("authorization", format!("Bearer {token}"));
        self.bed.send(request.body(Body::empty()).unwrap()).await
    }
}

fn with_issuers(list: &str) -> Config {
    let config = load_from([("LONGSHORE__ISSUER".to_owned(), format!("[{list}]"))]);
    config.unwrap_or_else(|error| panic!("{error}"))
}

/// Lets this time pass for all waits.
pub async fn pass(time: Duration) {
    tokio::time::pause();
    tokio::time::advance(time).await;
    tokio::time::resume();
}
