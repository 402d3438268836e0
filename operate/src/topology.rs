//! Declaring the topology anew, and what would be lost with it.

use common::bootstrap::Failure;
use common::broker::{Broker, BrokerError, declare_anew};
use common::store::{Act, AuditAction, Store};
use common::topology::{QueueKind, Topology};
use serde_json::json;

use crate::audit::record_made;
use crate::roles::{Requester, permit};

/// A change of the topology that was made.
#[derive(Debug, PartialEq, Eq)]
pub struct TopologyMade {
    /// The list of trusted logins that was replaced.
    pub replaced: Option<String>,
    /// Why the change is not in the audit record, if it is not.
    pub unrecorded: Option<String>,
}

/// Who changes a topology, and the store that holds the record where there is one.
#[derive(Clone, Copy)]
pub struct TopologyChange<'a> {
    /// The operator.
    pub by: &'a Requester,
    /// The store.
    pub store: Option<&'a dyn Store>,
}

impl TopologyChange<'_> {
    /// The act, if the role allows it.
    async fn permitted(&self, action: AuditAction, topology: &Topology) -> Result<Act, Failure> {
        let (exchanges, queues) = (topology.exchanges.len(), topology.queues.len());
        let facts = json!({ "exchanges": exchanges, "queues": queues });
        let act = self.by.act(action, "topology").changing(None, Some(facts));
        permit(self.store, &act).await?;
        Ok(act)
    }
}

/// Declares the topology, and records that. Where another list of trusted logins is declared, this one takes its place; the list that was
/// replaced is returned.
///
/// # Errors
/// The role does not allow it, or the broker refuses it. Or workers run that go by the other list, unless `replace_in_use` says that this is known.
pub async fn apply(
    broker: &dyn Broker,
    topology: &Topology,
    replace_in_use: bool,
    change: TopologyChange<'_>,
) -> Result<TopologyMade, Failure> {
    let act = change
        .permitted(AuditAction::TopologyApply, topology)
        .await?;
    let replaced = declare(broker, topology, replace_in_use).await?;
    Ok(TopologyMade {
        replaced,
        unrecorded: record_made(change.store, &act).await,
    })
}

/// Deletes every exchange and queue of the topology, with all messages in them, and records that.
///
/// # Errors
/// The role does not allow it, or the broker refuses it.
pub async fn delete(
    broker: &dyn Broker,
    topology: &Topology,
    change: TopologyChange<'_>,
) -> Result<TopologyMade, Failure> {
    let act = change
        .permitted(AuditAction::TopologyDelete, topology)
        .await?;
    broker.delete(topology).await?;
    Ok(TopologyMade {
        replaced: None,
        unrecorded: record_made(change.store, &act).await,
    })
}

async fn declare(
    broker: &dyn Broker,
    topology: &Topology,
    replace_in_use: bool,
) -> Result<Option<String>, Failure> {
    let before = match declare_anew(broker, topology).await {
        Ok(()) => return Ok(None),
        Err(BrokerError::Distrust { theirs, .. }) => theirs,
        Err(error) => return Err(error.into()),
    };
    for queue in topology.work_queues().filter(|_| !replace_in_use) {
        let depth = broker.depth(&queue.name).await?;
        if depth.is_some_and(|depth| depth.consumers > 0) {
            return Err(Failure::Failed(anyhow::anyhow!(
                "workers run that trust the broker logins {before}, and {} is consumed by one: stop them before \
                 their list is replaced by {}, or say --yes",
                queue.name,
                topology.trusted_logins()
            )));
        }
    }
    broker.delete(&topology.trust_alone()).await?;
    declare_anew(broker, topology).await?;
    Ok(Some(before))
}

/// How many messages wait in the queues of the topology. What a stream keeps was read before, and waits for nobody.
///
/// # Errors
/// The broker cannot say.
pub async fn count_waiting(broker: &dyn Broker, topology: &Topology) -> Result<u64, BrokerError> {
    let is_stream = |kind: &QueueKind| matches!(kind, QueueKind::Stream { .. });
    let mut messages = 0;
    for queue in topology.queues.iter().filter(|it| !is_stream(&it.kind)) {
        let depth = broker.depth(&queue.name).await?;
        messages += depth.map_or(0, |depth| depth.messages);
    }
    Ok(messages)
}

#[cfg(test)]
mod tests {
    use common::store::{AuditFilter, Role};

    use super::*;
    use crate::testbed;

    #[tokio::test]
    async fn only_messages_that_wait_are_counted() {
        let topology = testbed::topology(&["crm"]);
        let broker = testbed::broker();
        let (store, by) = (testbed::store().await, testbed::requester());
        let change = TopologyChange {
            by: &by,
            store: Some(&store),
        };
        let made = apply(&broker, &topology, false, change).await.unwrap();
        assert_eq!((made.replaced, made.unrecorded), (None, None));
        assert_eq!(count_waiting(&broker, &topology).await.unwrap(), 0);
    }

    #[tokio::test]
    async fn each_change_is_recorded_and_one_by_an_operator_is_denied() {
        let topology = testbed::topology(&["crm"]);
        let (broker, store) = (testbed::broker(), testbed::store().await);
        let (admin, mut operator) = (testbed::requester(), testbed::requester());
        operator.actor.role = Some(Role::Operator);
        let change = |by| TopologyChange {
            by,
            store: Some(&store),
        };
        apply(&broker, &topology, false, change(&admin))
            .await
            .unwrap();
        let denied = delete(&broker, &topology, change(&operator)).await;
        assert!(denied.is_err_and(|it| it.to_string().contains("needs the role admin")));
        delete(&broker, &topology, change(&admin)).await.unwrap();
        let unrecorded = TopologyChange {
            by: &admin,
            store: None,
        };
        let made = apply(&broker, &topology, false, unrecorded).await.unwrap();
        assert!(made.unrecorded.is_some());
        let found = crate::audit::page(&store, &AuditFilter::default(), None, 10).await;
        let found = found.unwrap().items;
        let told: Vec<_> = found
            .iter()
            .map(|entry| (entry.action.as_str(), entry.outcome.as_str()))
            .collect();
        let expected = [
            ("topology.delete", "allowed"),
            ("topology.delete", "denied"),
            ("topology.apply", "allowed"),
        ];
        assert_eq!(told, expected);
    }
}
