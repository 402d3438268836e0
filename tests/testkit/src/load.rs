//! Many publishers at once, while something happens to the system.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use anyhow::{Context, Result, bail, ensure};
use serde_json::{Value, json};
use tokio::{
    task::JoinSet,
    time::{sleep, timeout},
};
use uuid::Uuid;

use crate::{client::Client, wait::eventually};

/// Publishers that each send one event after another until all are accepted. An event that got 503
/// or no answer is sent again under its `Idempotency-Key`, as the contract asks.
#[derive(Debug)]
pub struct Load {
    publishers: JoinSet<Result<Vec<Uuid>>>,
    accepted: Arc<AtomicUsize>,
    refused: Arc<AtomicUsize>,
    total: usize,
}

impl Load {
    /// Starts publishing `total` signups from `publishers` parallel callers.
    #[must_use]
    pub fn signups(client: &Client, total: usize, publishers: usize) -> Self {
        Self::start(client, total, publishers, "/v1/signups", |number| {
            signup(&number.to_string())
        })
    }

    /// Starts publishing `total` bodies to `path` from `publishers` parallel callers.
    #[must_use]
    pub fn start(
        client: &Client,
        total: usize,
        publishers: usize,
        path: &'static str,
        body: impl Fn(usize) -> Value + Copy + Send + 'static,
    ) -> Self {
        let (accepted, refused) = (Arc::<AtomicUsize>::default(), Arc::<AtomicUsize>::default());
        let mut set = JoinSet::new();
        for publisher in 0..publishers {
            let (client, accepted, refused) = (client.clone(), accepted.clone(), refused.clone());
            set.spawn(async move {
                let mut ids = Vec::new();
                for number in (publisher..total).step_by(publishers) {
                    ids.push(until_accepted(&client, path, &body(number), &refused).await?);
                    accepted.fetch_add(1, Ordering::SeqCst);
                }
                Ok(ids)
            });
        }
        Self {
            publishers: set,
            accepted,
            refused,
            total,
        }
    }

    /// How many events were accepted so far.
    #[must_use]
    pub fn accepted(&self) -> usize {
        self.accepted.load(Ordering::SeqCst)
    }

    /// How many times an event was refused, or not answered, and sent again.
    #[must_use]
    pub fn refused(&self) -> usize {
        self.refused.load(Ordering::SeqCst)
    }

    /// Waits until at least `count` events were accepted.
    ///
    /// # Errors
    /// If fewer are within the time.
    pub async fn await_accepted(&self, count: usize, within: Duration) -> Result<()> {
        eventually(within, format!("{count} accepted events"), || async {
            let accepted = self.accepted();
            if accepted >= count {
                Ok(())
            } else {
                bail!("{accepted}, refused {}", self.refused())
            }
        })
        .await
    }

    /// Waits until all are accepted and gives their ids.
    ///
    /// # Errors
    /// If that takes longer, or the producer answered with anything but 202 and 503.
    pub async fn finish(mut self, within: Duration) -> Result<Vec<Uuid>> {
        let all = async {
            let mut ids = Vec::with_capacity(self.total);
            while let Some(publisher) = self.publishers.join_next().await {
                ids.extend(publisher.context("a publisher panicked")??);
            }
            anyhow::Ok(ids)
        };
        let ids = match timeout(within, all).await {
            Ok(ids) => ids?,
            Err(_) => bail!(
                "only {} of {} were accepted within {within:?}",
                self.accepted(),
                self.total
            ),
        };
        ensure!(
            ids.len() == self.total,
            "{} ids for {} events",
            ids.len(),
            self.total
        );
        Ok(ids)
    }
}

/// A valid signup that differs from all others, but for the given part of its address.
#[must_use]
pub fn signup(part: &str) -> Value {
    let unique = Uuid::new_v4().simple();
    json!({
        "email": format!("user.{part}.{unique}@example.com"),
        "name": format!("User {part}"),
        "plan": "free",
        "locale": "en",
    })
}

/// A valid structured CloudEvent of type `signup.requested` with this id.
#[must_use]
pub fn signup_event(id: &str) -> Value {
    json!({
        "specversion": "1.0",
        "id": id,
        "type": "signup.requested",
        "source": "/e2e",
        "time": "2024-05-01T12:00:00Z",
        "datacontenttype": "application/json",
        "data": signup("event"),
    })
}

async fn until_accepted(
    client: &Client,
    path: &str,
    body: &Value,
    refused: &AtomicUsize,
) -> Result<Uuid> {
    let key = Uuid::new_v4().to_string();
    loop {
        match client.post_once(path, &key, body).await {
            Ok(answer) if answer.status == 503 => {
                answer.problem(503)?;
            }
            Ok(answer) => return answer.accepted(),
            // Killed, cut or not up yet: whether it was accepted is not known, so ask again.
            Err(_) => {}
        }
        refused.fetch_add(1, Ordering::SeqCst);
        // A tenth of Retry-After: tests are in more of a hurry than callers.
        sleep(Duration::from_millis(100)).await;
    }
}
