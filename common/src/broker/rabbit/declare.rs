//! The topology on the broker: declared, compared, deleted.

mod desk;
mod trust;
mod words;

use std::sync::Arc;
use std::time::Duration;

use lapin::Channel;
use lapin::options::{ExchangeDeleteOptions, QueueDeclareOptions, QueueDeleteOptions};
use lapin::types::{FieldTable, ShortString};

use self::desk::Desk;
use self::words::{Bound, bind, exchange_declare, name, names, queue_declare, queues, unbind};
use super::connection::Link;
use super::convert::short;
use super::explain::{ACCESS_REFUSED, Fault, NOT_FOUND, PRECONDITION_FAILED, mismatch, within};
use crate::broker::{BrokerError, Depth, Difference, differences};
use crate::topology::{Binding, Topology};

/// The parts that this user may not declare, and that are taken as given.
pub(super) struct Given {
    /// What they are, for people.
    pub(super) words: String,
    /// This user may declare nothing at all.
    pub(super) declares_nothing: bool,
    /// This user may bind nothing at all.
    pub(super) binds_nothing: bool,
}

/// Declares everything. Two programs may do so at the same time. A part that this user may not declare exists already,
/// or it is an error. Returns the other parts that were taken as given.
pub(super) async fn apply(
    link: &Arc<Link>,
    topology: &Topology,
) -> Result<Option<Given>, BrokerError> {
    // First: a program that disagrees about whom to believe changes nothing.
    if let Some(mark) = &topology.trust {
        let mut desk = Desk::new(link);
        let trusted = trust::declare(&mut desk, mark).await;
        desk.close().await;
        trusted?;
    }
    match declare_all(link, topology).await {
        Err(BrokerError::Refused(refusal)) => {
            let mut given = take_as_given(link, topology).await?;
            given.words = format!("{} ({refusal})", given.words);
            Ok(Some(given))
        }
        declared => declared.map(|()| None),
    }
}

async fn declare_all(link: &Arc<Link>, topology: &Topology) -> Result<(), BrokerError> {
    let mut desk = Desk::new(link);
    let exchanges = names(topology.exchanges.iter())?;
    desk.all("declaring an exchange", &exchanges, |channel, name| {
        exchange_declare(channel, name, false)
    })
    .await?;
    let queues = queues(topology)?;
    desk.all("declaring a queue", &queues, |channel, queue| {
        queue_declare(channel, queue, false)
    })
    .await?;
    let bindings = topology
        .bindings
        .iter()
        .map(Bound::new)
        .collect::<Result<Vec<_>, _>>()?;
    desk.all("binding", &bindings, bind).await?;
    unbind_former(&mut desk, topology).await?;
    desk.close().await;
    Ok(())
}

/// Removes the bindings of an earlier configuration. A failure here does not count: a destination's worker checks the
/// types itself.
async fn unbind_former(desk: &mut Desk<'_>, topology: &Topology) -> Result<(), BrokerError> {
    let former = topology
        .former
        .iter()
        .map(Bound::new)
        .collect::<Result<Vec<_>, _>>()?;
    if let Err(error) = desk.all("unbinding", &former, unbind).await {
        tracing::debug!(%error, "bindings of an earlier configuration may remain");
    }
    Ok(())
}

/// Declares the parts that this user may declare and makes sure that the rest exists. AMQP lets every user ask that,
/// but neither for arguments nor for bindings.
async fn take_as_given(link: &Arc<Link>, topology: &Topology) -> Result<Given, BrokerError> {
    let mut desk = Desk::new(link);
    let mut given = 0;
    for name in names(topology.exchanges.iter())? {
        let declare = |passive| {
            let name = name.clone();
            move |channel| exchange_declare(channel, name, passive)
        };
        if desk.declare_or_find("exchange", &name, declare).await? {
            given += 1;
        }
    }
    for queue in queues(topology)? {
        let declare = |passive| {
            let queue = queue.clone();
            move |channel| queue_declare(channel, queue, passive)
        };
        if desk.declare_or_find("queue", &queue.0, declare).await? {
            given += 1;
        }
    }
    let mut unbound = 0;
    for binding in &topology.bindings {
        let binding = Bound::new(binding)?;
        let bound = desk
            .one("binding", |channel| bind(channel, binding))
            .await?;
        match bound.map_err(|fault| (fault.code(), fault)) {
            Ok(()) => {}
            Err((Some(ACCESS_REFUSED), _)) => unbound += 1,
            Err((_, fault)) => return Err(fault.into()),
        }
    }
    desk.close().await;
    let parts = topology.exchanges.len() + topology.queues.len();
    Ok(Given {
        words: format!(
            "the broker's user may not declare everything: {given} exchanges and queues are there and are taken to \
             have the right arguments, {unbound} bindings are taken to be there"
        ),
        declares_nothing: given == parts,
        binds_nothing: unbound == topology.bindings.len(),
    })
}

/// Makes sure that everything is there, for a user who may declare nothing: each attempt would cost a channel and a
/// line in the broker's log.
pub(super) async fn find(link: &Arc<Link>, topology: &Topology) -> Result<(), BrokerError> {
    let mut desk = Desk::new(link);
    if let Some(mark) = &topology.trust {
        trust::find(&mut desk, mark).await?;
    }
    for name in names(topology.exchanges.iter())? {
        let look = |channel| exchange_declare(channel, name.clone(), true);
        desk.find("exchange", &name, look).await?;
    }
    for queue in queues(topology)? {
        let look = |channel| queue_declare(channel, queue.clone(), true);
        desk.find("queue", &queue.0, look).await?;
    }
    desk.close().await;
    Ok(())
}

/// Expects the list of believed logins to be that of the topology, where one is declared.
pub(super) async fn expect_same_logins(
    link: &Arc<Link>,
    topology: &Topology,
) -> Result<(), BrokerError> {
    let Some(mark) = &topology.trust else {
        return Ok(());
    };
    let mut desk = Desk::new(link);
    let agreed = trust::agree(&mut desk, mark).await;
    desk.close().await;
    agreed.map(|_| ())
}

/// Compares exchanges and queues and their arguments. AMQP cannot list bindings, so those are not
/// compared; `apply` restores them.
pub(super) async fn verify(
    link: &Arc<Link>,
    topology: &Topology,
) -> Result<Vec<Difference>, BrokerError> {
    let mut desk = Desk::new(link);
    let mut differences = Vec::new();
    for name in names(topology.exchanges.iter())? {
        // Declaring an existing part changes nothing, and shows whether it is the right one.
        for passive in [true, false] {
            let found = desk
                .one("looking at an exchange", |channel| {
                    exchange_declare(channel, name.clone(), passive)
                })
                .await?;
            if let Err(problem) = found.map_err(|fault| problem("exchange", &fault)) {
                differences.extend(problem?.map(|problem| difference(&name, problem)));
                break;
            }
        }
    }
    for queue in queues(topology)? {
        for passive in [true, false] {
            let found = desk
                .one("looking at a queue", |channel| {
                    queue_declare(channel, queue.clone(), passive)
                })
                .await?;
            if let Err(problem) = found.map_err(|fault| problem("queue", &fault)) {
                differences.extend(problem?.map(|problem| difference(&queue.0, problem)));
                break;
            }
        }
    }
    if let Some(mark) = &topology.trust {
        differences.extend(trust::compare(&mut desk, mark).await?);
    }
    desk.close().await;
    Ok(differences)
}

/// Deletes every queue and exchange; missing ones are skipped.
pub(super) async fn delete(link: &Arc<Link>, topology: &Topology) -> Result<(), BrokerError> {
    let mut desk = Desk::new(link);
    let queues = names(topology.queues.iter().map(|queue| &queue.name))?;
    desk.all("deleting a queue", &queues, |channel, name| async move {
        let options = QueueDeleteOptions::default();
        channel.queue_delete(name, options).await.map(|_| ())
    })
    .await?;
    let mark = topology.trust.as_ref();
    let marks = mark.map(|mark| [mark.exchange().to_owned(), mark.witness()]);
    let exchanges = topology.exchanges.iter().cloned();
    let exchanges = exchanges.chain(marks.into_iter().flatten());
    let exchanges: Vec<ShortString> = exchanges.map(|it| name(&it)).collect::<Result<_, _>>()?;
    desk.all(
        "deleting an exchange",
        &exchanges,
        |channel, name| async move {
            let options = ExchangeDeleteOptions::default();
            channel.exchange_delete(name, options).await
        },
    )
    .await?;
    desk.close().await;
    Ok(())
}

/// The depth of a queue; `None` if it does not exist.
pub(super) async fn depth(link: &Arc<Link>, queue: &str) -> Result<Option<Depth>, BrokerError> {
    let Ok(name) = short("queue name", queue) else {
        // No queue can be called so.
        return Ok(None);
    };
    let mut desk = Desk::new(link);
    let answer = desk
        .one("looking at a queue", |channel| async move {
            let options = QueueDeclareOptions::durable().passive();
            let arguments = FieldTable::default();
            channel.queue_declare(name, options, arguments).await
        })
        .await?;
    desk.close().await;
    match answer {
        Ok(queue) => Ok(Some(Depth {
            messages: queue.message_count().into(),
            consumers: queue.consumer_count().into(),
        })),
        Err(fault) if fault.code() == Some(NOT_FOUND) => Ok(None),
        Err(fault) => Err(fault.into()),
    }
}

/// Whether there is a queue. A look that finds none costs the channel.
pub(super) async fn look(
    channel: &Channel,
    queue: &str,
    patience: Duration,
) -> Result<bool, BrokerError> {
    let Ok(name) = short("queue name", queue) else {
        // No queue can be called so.
        return Ok(false);
    };
    let options = QueueDeclareOptions::durable().passive();
    let look = channel.queue_declare(name, options, FieldTable::default());
    match within(patience, "looking for a queue", look).await {
        Ok(_) => Ok(true),
        Err(fault) if fault.code() == Some(NOT_FOUND) => Ok(false),
        Err(fault) => Err(fault.into()),
    }
}

/// Binds again; `false` where an end is missing, which costs the channel.
pub(super) async fn bind_all(
    channel: &Channel,
    bindings: &[Binding],
    patience: Duration,
) -> Result<bool, BrokerError> {
    for binding in bindings {
        let binding = bind(channel.clone(), Bound::new(binding)?);
        match within(patience, "binding", binding).await {
            Ok(()) => {}
            Err(fault) if fault.code() == Some(NOT_FOUND) => return Ok(false),
            Err(fault) => return Err(fault.into()),
        }
    }
    Ok(true)
}

/// What a refused look says about the thing, or that it cannot be said. `None` where this user may only see that
/// it is there.
fn problem(thing: &str, fault: &Fault) -> Result<Option<String>, BrokerError> {
    match fault.code() {
        Some(NOT_FOUND) => Ok(Some(differences::missing(thing))),
        Some(PRECONDITION_FAILED) => Ok(Some(mismatch(&fault.words()))),
        Some(ACCESS_REFUSED) => Ok(None),
        _ => Err(fault.clone().into()),
    }
}

fn difference(name: &ShortString, problem: String) -> Difference {
    Difference {
        name: name.to_string(),
        problem,
    }
}
