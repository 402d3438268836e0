//! Declaring the topology anew, and what would be lost with it.

use common::bootstrap::Failure;
use common::broker::{Broker, BrokerError, declare_anew};
use common::topology::{QueueKind, Topology};

/// Declares the topology. Where another list of trusted logins is declared, this one takes its place; the list that was
/// replaced is returned.
///
/// # Errors
/// The broker refuses it. Or workers run that go by the other list, unless `replace_in_use` says that this is known.
pub async fn apply(
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
    use super::*;
    use crate::testbed;

    #[tokio::test]
    async fn only_messages_that_wait_are_counted() {
        let topology = testbed::topology(&["crm"]);
        let broker = testbed::broker();
        assert_eq!(apply(&broker, &topology, false).await.unwrap(), None);
        assert_eq!(count_waiting(&broker, &topology).await.unwrap(), 0);
    }
}
