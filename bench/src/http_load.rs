//! Load for the producer over HTTP: batches of events, or one signup a request.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use bytes::Bytes;
use http::{HeaderValue, StatusCode, header};
use tokio::task::JoinSet;

use crate::{
    Events, Percentiles, Samples, Stamps,
    client::{Client, Target},
    pace::Pace,
};

/// The load to send.
#[derive(Clone, Debug)]
pub struct HttpLoad {
    /// The producer, `http://HOST:PORT`, without a path.
    pub base_url: String,
    /// A key for `Authorization: Bearer`, where the producer asks for one.
    pub key: Option<String>,
    /// Where the events come from; sequence numbers count from 0.
    pub events: Events,
    /// How many events in all.
    pub count: u64,
    /// Keep-alive connections, each with one request at a time.
    pub connections: usize,
    /// Events a second over all connections; `None` is as fast as it goes.
    pub rate: Option<u32>,
    /// Marked with each event's number as its 202 arrives.
    pub accepted: Option<Arc<Stamps>>,
}

/// The figures of a load.
#[derive(Clone, Debug)]
pub struct HttpStats {
    /// Events that were answered with 202.
    pub accepted: u64,
    /// Requests by status code.
    pub statuses: BTreeMap<u16, u64>,
    /// From the first request to the last answer.
    pub elapsed: Duration,
    /// From sending a request to the end of its answer; `None` when nothing was sent.
    pub latency: Option<Percentiles>,
}

impl HttpStats {
    /// Accepted events a second.
    #[must_use]
    pub fn rate(&self) -> f64 {
        self.accepted as f64 / self.elapsed.as_secs_f64().max(f64::EPSILON)
    }
}

/// Sends the events as `POST /v1/events` with `per_request` of them in each `application/cloudevents-batch+json` body.
///
/// # Errors
/// When a connection cannot be made or breaks. An answer other than 202 is not an error; it is
/// counted.
pub async fn batches(load: &HttpLoad, per_request: u64) -> Result<HttpStats> {
    ensure!(
        per_request > 0,
        "batches of 0 events send nothing: expected 1 or more"
    );
    let body = |events: &Events, from, to| events.batch(from, to);
    send(
        load,
        "/v1/events",
        "application/cloudevents-batch+json",
        per_request,
        body,
    )
    .await
}

/// Sends each event as a `POST /v1/signups` of its own.
///
/// # Errors
/// As [`batches`].
pub async fn singles(load: &HttpLoad) -> Result<HttpStats> {
    let body = |events: &Events, from, _to| events.signup(from);
    send(load, "/v1/signups", "application/json", 1, body).await
}

async fn send(
    load: &HttpLoad,
    path: &str,
    content_type: &'static str,
    per_request: u64,
    body: impl Fn(&Events, u64, u64) -> Vec<u8> + Copy + Send + 'static,
) -> Result<HttpStats> {
    ensure!(
        load.connections > 0,
        "no connections send nothing: expected 1 or more"
    );
    let target = Target::new(&format!("{}{path}", load.base_url.trim_end_matches('/')))?;
    let bearer = load.key.as_deref().map(bearer).transpose()?;
    let next = Arc::new(AtomicU64::new(0));
    let pace = Pace::new(load.rate)?;
    let mut clients = Vec::with_capacity(load.connections);
    for _ in 0..load.connections {
        clients.push(Client::connect(&target).await?);
    }

    let started = Instant::now();
    let mut callers = JoinSet::new();
    for client in clients {
        let mut caller = Caller {
            client,
            target: target.clone(),
            bearer: bearer.clone(),
            content_type: HeaderValue::from_static(content_type),
            stamps: load.accepted.clone(),
            tally: Tally::default(),
        };
        let (next, events, count) = (Arc::clone(&next), load.events.clone(), load.count);
        callers.spawn(async move {
            loop {
                let from = next.fetch_add(per_request, Ordering::Relaxed);
                if from >= count {
                    return anyhow::Ok(caller.tally);
                }
                let to = (from + per_request).min(count);
                pace.wait(from).await;
                caller.call(from, to, body(&events, from, to)).await?;
            }
        });
    }

    let mut all = Tally::default();
    while let Some(tally) = callers.join_next().await {
        all.merge(tally.context("a caller was stopped")??);
    }
    Ok(HttpStats {
        accepted: all.accepted,
        statuses: all.statuses,
        elapsed: started.elapsed(),
        latency: all.latency.percentiles(),
    })
}

/// One connection and its counts.
struct Caller {
    client: Client,
    target: Target,
    bearer: Option<HeaderValue>,
    content_type: HeaderValue,
    stamps: Option<Arc<Stamps>>,
    tally: Tally,
}

impl Caller {
    async fn call(&mut self, from: u64, to: u64, body: Vec<u8>) -> Result<()> {
        let mut request = self
            .target
            .post(self.content_type.clone(), Bytes::from(body));
        if let Some(bearer) = &self.bearer {
            request
                .headers_mut()
                .insert(header::AUTHORIZATION, bearer.clone());
        }
        let sent = Instant::now();
        let (status, _answer) = self.client.send(request).await?;
        self.tally.latency.push(sent.elapsed());
        *self.tally.statuses.entry(status.as_u16()).or_default() += 1;
        if status == StatusCode::ACCEPTED {
            self.tally.accepted += to - from;
            if let Some(stamps) = &self.stamps {
                (from..to).for_each(|seq| stamps.mark(seq));
            }
        }
        Ok(())
    }
}

#[derive(Default)]
struct Tally {
    accepted: u64,
    statuses: BTreeMap<u16, u64>,
    latency: Samples,
}

impl Tally {
    fn merge(&mut self, other: Tally) {
        self.accepted += other.accepted;
        for (status, requests) in other.statuses {
            *self.statuses.entry(status).or_default() += requests;
        }
        self.latency.merge(other.latency);
    }
}

fn bearer(key: &str) -> Result<HeaderValue> {
    let mut value = HeaderValue::from_str(&format!("Bearer {key}"))
        .context("the key has characters that no header can carry")?;
    value.set_sensitive(true);
    Ok(value)
}

#[cfg(test)]
mod tests {
    use super::{HttpLoad, batches, singles};
    use crate::{Events, Receiver};

    /// Ten events over two connections to a server that answers 204 to everything.
    async fn to_a_receiver() -> (Receiver, HttpLoad) {
        let receiver = Receiver::start(None).await.unwrap();
        let load = HttpLoad {
            base_url: receiver.url(),
            key: Some("k".into()),
            events: Events::new(500),
            count: 10,
            connections: 2,
            rate: Some(1000),
            accepted: None,
        };
        (receiver, load)
    }

    #[tokio::test]
    async fn an_answer_other_than_202_is_counted_and_accepts_nothing() {
        let (receiver, load) = to_a_receiver().await;
        let stats = batches(&load, 4).await.unwrap();
        assert_eq!((stats.accepted, receiver.posts()), (0, 3));
        assert_eq!(stats.statuses.get(&204), Some(&3));
        let stats = singles(&load).await.unwrap();
        assert_eq!(stats.statuses.get(&204), Some(&10));
        assert!(stats.latency.is_some());
    }

    #[tokio::test]
    async fn a_server_that_is_not_there_is_an_error_that_names_it() {
        let (receiver, load) = to_a_receiver().await;
        let address = receiver.url();
        let address = address
            .trim_start_matches("http://")
            .trim_end_matches("/hook");
        receiver.stop().await;
        let error = singles(&load).await.unwrap_err();
        assert!(error.to_string().contains(address), "{error}");
    }
}
