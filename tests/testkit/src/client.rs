//! Calls to the producer, as any of its callers makes them.

use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use bytes::Bytes;
use reqwest::{Method, header::HeaderMap};
use serde::Deserialize;
use serde_json::Value;
use uuid::Uuid;

use crate::wait::eventually;

/// A client of one producer.
#[derive(Clone, Debug)]
pub struct Client {
    http: reqwest::Client,
    base: String,
}

/// The producer's answer.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The HTTP status.
    pub status: u16,
    /// The headers.
    pub headers: HeaderMap,
    /// The body.
    pub body: Bytes,
}

impl Answer {
    /// A header as text; empty if there is none.
    #[must_use]
    pub fn header(&self, name: &str) -> &str {
        self.headers
            .get(name)
            .and_then(|value| value.to_str().ok())
            .unwrap_or_default()
    }

    /// The body as text.
    #[must_use]
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The body as JSON.
    ///
    /// # Errors
    /// If it is not JSON.
    pub fn json(&self) -> Result<Value> {
        serde_json::from_slice(&self.body).with_context(|| {
            format!(
                "{} answered with what is no JSON: {}",
                self.status,
                self.text()
            )
        })
    }

    /// The id of the accepted event.
    ///
    /// # Errors
    /// If it was not a 202 as the contract has it.
    pub fn accepted(&self) -> Result<Uuid> {
        let body = self.accepted_body()?;
        let id: Uuid = serde_json::from_value(body["id"].clone())
            .with_context(|| format!("the 202 has no id: {body}"))?;
        ensure!(body["type"].is_string(), "the 202 has no type: {body}");
        ensure!(
            body["status_url"].is_string(),
            "the 202 has no status_url: {body}"
        );
        Ok(id)
    }

    /// The ids of an accepted batch.
    ///
    /// # Errors
    /// If it was not a 202 as the contract has it.
    pub fn accepted_batch(&self) -> Result<Vec<Uuid>> {
        let body = self.accepted_body()?;
        let accepted = body["accepted"]
            .as_array()
            .context("the 202 has no list `accepted`")?;
        accepted
            .iter()
            .map(|one| {
                serde_json::from_value(one["id"].clone()).context("an accepted one has no id")
            })
            .collect()
    }

    fn accepted_body(&self) -> Result<Value> {
        ensure!(
            self.status == 202,
            "expected 202, got {}: {}",
            self.status,
            self.text()
        );
        self.json()
    }

    /// The problem document of an error, checked against the contract's promises for every problem.
    ///
    /// # Errors
    /// If it is not `application/problem+json` with a `code` and the same status.
    pub fn problem(&self, status: u16) -> Result<Value> {
        ensure!(
            self.status == status,
            "expected {status}, got {}: {}",
            self.status,
            self.text()
        );
        let media = self.header("content-type");
        ensure!(
            media.starts_with("application/problem+json"),
            "an error came as {media:?}"
        );
        let problem = self.json()?;
        let code = problem["code"].as_str().unwrap_or_default();
        ensure!(!code.is_empty(), "a problem without a code: {problem}");
        if let Some(said) = problem["status"].as_u64() {
            ensure!(
                said == u64::from(status),
                "the problem says {said} in a {status}"
            );
        }
        if status == 503 || status == 429 {
            let wait: u64 = self.header("retry-after").parse().with_context(|| {
                format!(
                    "a {status} without Retry-After in seconds: {:?}",
                    self.headers
                )
            })?;
            ensure!(wait > 0, "Retry-After of 0 seconds asks for a storm");
        }
        Ok(problem)
    }
}

/// The status document of an event.
#[derive(Clone, Debug, Deserialize)]
pub struct Status {
    /// The event's id.
    pub id: Uuid,
    /// The event's type.
    #[serde(rename = "type")]
    pub kind: String,
    /// `scheduled`, `stored`, `delivering`, `completed`, `rejected`, `dead` or `cancelled`.
    pub status: String,
    /// The steps, oldest first.
    pub timeline: Vec<Value>,
    /// One entry a destination.
    pub deliveries: Vec<Value>,
    /// The destinations whose filter passed over it.
    #[serde(default)]
    pub filtered: Vec<Value>,
    /// Why it was rejected or is dead.
    #[serde(default)]
    pub reason: Value,
}

impl Status {
    /// Whether nothing more happens to it by itself.
    #[must_use]
    pub fn is_at_rest(&self) -> bool {
        matches!(
            self.status.as_str(),
            "completed" | "rejected" | "dead" | "cancelled"
        )
    }

    /// The reason code, be it given alone or with details.
    #[must_use]
    pub fn reason_code(&self) -> &str {
        self.reason
            .as_str()
            .or_else(|| self.reason["code"].as_str())
            .unwrap_or_default()
    }
}

impl Client {
    /// A client of the producer at `base` (`http://host:port`).
    ///
    /// # Errors
    /// If the HTTP client cannot be built.
    pub fn new(base: impl Into<String>) -> Result<Self> {
        Self::build(base.into(), reqwest::Client::builder())
    }

    /// A client of the producer at `base` (`https://host:port`) that trusts one authority alone, given in PEM.
    ///
    /// # Errors
    /// If the HTTP client cannot be built.
    pub fn trusting(base: impl Into<String>, authority: &str) -> Result<Self> {
        let authority = reqwest::Certificate::from_pem(authority.as_bytes())
            .context("reading the authority's certificate")?;
        let builder = reqwest::Client::builder().tls_certs_only([authority]);
        Self::build(base.into(), builder)
    }

    fn build(base: String, builder: reqwest::ClientBuilder) -> Result<Self> {
        // Fails if another client installed it first, which is as good.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let http = builder
            .no_proxy()
            .timeout(Duration::from_secs(30))
            .build()
            .context("building the HTTP client")?;
        Ok(Self { http, base })
    }

    /// `http://host:port`.
    #[must_use]
    pub fn base(&self) -> &str {
        &self.base
    }

    /// Any request at all.
    ///
    /// # Errors
    /// If there is no answer.
    pub async fn send(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: impl Into<Bytes>,
    ) -> Result<Answer> {
        let url = format!("{}{path}", self.base);
        let mut request = self.http.request(method, &url).body(body.into());
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let response = request
            .send()
            .await
            .with_context(|| format!("calling {url}"))?;
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        let body = response
            .bytes()
            .await
            .with_context(|| format!("reading the answer of {url}"))?;
        Ok(Answer {
            status,
            headers,
            body,
        })
    }

    /// GET.
    ///
    /// # Errors
    /// If there is no answer.
    pub async fn get(&self, path: &str) -> Result<Answer> {
        self.send(Method::GET, path, &[], Bytes::new()).await
    }

    /// POST of any body with a media type.
    ///
    /// # Errors
    /// If there is no answer.
    pub async fn post(&self, path: &str, media: &str, body: impl Into<Bytes>) -> Result<Answer> {
        self.send(Method::POST, path, &[("content-type", media)], body)
            .await
    }

    /// POST of JSON, with an `Idempotency-Key`.
    ///
    /// # Errors
    /// If there is no answer.
    pub async fn post_once(&self, path: &str, key: &str, body: &Value) -> Result<Answer> {
        let headers = [
            ("content-type", "application/json"),
            ("idempotency-key", key),
        ];
        self.send(Method::POST, path, &headers, body.to_string())
            .await
    }

    /// Publishes a signup that must be accepted.
    ///
    /// # Errors
    /// If it is not.
    pub async fn signup(&self, body: &Value) -> Result<Uuid> {
        self.post("/v1/signups", "application/json", body.to_string())
            .await?
            .accepted()
    }

    /// Publishes a processing event that must be accepted.
    ///
    /// # Errors
    /// If it is not.
    pub async fn processing(&self, body: &Value) -> Result<Uuid> {
        self.post("/v1/processing", "application/json", body.to_string())
            .await?
            .accepted()
    }

    /// Publishes a structured CloudEvent that must be accepted.
    ///
    /// # Errors
    /// If it is not.
    pub async fn event(&self, event: &Value) -> Result<Uuid> {
        self.post(
            "/v1/events",
            "application/cloudevents+json",
            event.to_string(),
        )
        .await?
        .accepted()
    }

    /// Publishes a batch of CloudEvents that must be accepted.
    ///
    /// # Errors
    /// If it is not.
    pub async fn batch(&self, events: &[Value]) -> Result<Vec<Uuid>> {
        let body = Value::from(events).to_string();
        let media = "application/cloudevents-batch+json";
        self.post("/v1/events", media, body).await?.accepted_batch()
    }

    /// The status of an event; `None` while nothing is known of it.
    ///
    /// # Errors
    /// If the answer is not as the contract has it.
    pub async fn status(&self, id: Uuid) -> Result<Option<Status>> {
        let answer = self.get(&format!("/v1/events/{id}")).await?;
        if answer.status == 404 {
            answer.problem(404)?;
            return Ok(None);
        }
        ensure!(
            answer.status == 200,
            "the status of {id} came as {}: {}",
            answer.status,
            answer.text()
        );
        let status: Status = serde_json::from_slice(&answer.body)
            .with_context(|| format!("reading the status {}", answer.text()))?;
        ensure!(
            status.id == id,
            "asked for {id}, got the status of {}",
            status.id
        );
        Ok(Some(status))
    }

    /// Waits until an event is at rest, and gives its status then.
    ///
    /// # Errors
    /// If it is not within the time.
    pub async fn await_rest(&self, id: Uuid, within: Duration) -> Result<Status> {
        eventually(within, format!("event {id} to be at rest"), || async {
            let status = self.status(id).await?.context("nothing is known of it")?;
            if status.is_at_rest() {
                Ok(status)
            } else {
                bail!("{status:?}")
            }
        })
        .await
    }

    /// Waits until an event has this status.
    ///
    /// # Errors
    /// If it has not within the time, or is at rest in another.
    pub async fn await_status(&self, id: Uuid, which: &str, within: Duration) -> Result<Status> {
        eventually(within, format!("event {id} to be {which}"), || async {
            let status = self.status(id).await?.context("nothing is known of it")?;
            if status.status == which {
                Ok(status)
            } else {
                bail!("{status:?}")
            }
        })
        .await
    }
}
