//! Sending requests straight into the router.

use axum::body::{Body, Bytes, to_bytes};
use axum::http::{HeaderMap, Request, StatusCode};
use serde_json::Value;
use tower::ServiceExt as _;

use crate::contract::Contract;
use crate::fakes::Testbed;

pub const JSON: (&str, &str) = ("content-type", "application/json");
pub const EVENT: (&str, &str) = ("content-type", "application/cloudevents+json");
pub const BATCH: (&str, &str) = ("content-type", "application/cloudevents-batch+json");

/// An answer, whole.
#[derive(Debug)]
pub struct Answer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Bytes,
}

impl Answer {
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    pub fn header(&self, name: &str) -> &str {
        self.headers
            .get(name)
            .map_or("", |value| value.to_str().unwrap())
    }

    /// Expects a problem and gives its code.
    pub fn code(&self) -> String {
        let page = self.json();
        assert_eq!(self.header("content-type"), "application/problem+json");
        assert_eq!(page["status"], self.status.as_u16());
        assert_eq!(page["type"], "about:blank");
        assert!(page["title"].is_string() && page["detail"].is_string());
        page["code"].as_str().unwrap_or_default().to_owned()
    }

    /// Expects a problem and gives the pointers of its errors, sorted.
    pub fn pointers(&self) -> Vec<String> {
        self.code();
        let page = self.json();
        let errors = page["errors"].as_array().cloned().unwrap_or_default();
        let mut pointers: Vec<_> = errors
            .iter()
            .map(|error| {
                assert!(
                    error["detail"]
                        .as_str()
                        .is_some_and(|text| !text.is_empty())
                );
                error["pointer"].as_str().unwrap().to_owned()
            })
            .collect();
        pointers.sort();
        pointers
    }
}

impl Testbed {
    /// Sends a request. The answer has to be one that the door's document has.
    pub async fn send(&self, request: Request<Body>) -> Answer {
        let (method, path) = (request.method().clone(), request.uri().path().to_owned());
        let response = self.router.clone().oneshot(request).await.unwrap();
        let (parts, body) = response.into_parts();
        let answer = Answer {
            status: parts.status,
            headers: parts.headers,
            body: to_bytes(body, usize::MAX).await.unwrap(),
        };
        let contract = self
            .contract
            .get_or_init(|| Contract::of(&self.router))
            .await;
        contract.hold(&method, &path, &answer);
        answer
    }

    pub async fn post(
        &self,
        path: &str,
        headers: &[(&str, &str)],
        body: impl Into<Body>,
    ) -> Answer {
        let mut request = Request::post(path);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        self.send(request.body(body.into()).unwrap()).await
    }

    pub async fn get(&self, path: &str) -> Answer {
        self.send(Request::get(path).body(Body::empty()).unwrap())
            .await
    }
}

/// A structured event with valid signup data.
pub fn event(id: &str) -> Value {
    serde_json::json!({
        "specversion": "1.0", "id": id, "source": "/shop", "type": "signup.requested",
        "time": "2026-01-02T03:04:05Z",
        "data": {"email": "ada@example.com", "name": "Ada"}
    })
}
