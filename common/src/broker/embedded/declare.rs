//! The topology in the file: declared, compared, deleted.

use std::collections::HashSet;

use sqlx::SqliteConnection;

use super::routes::{Routes, arguments};
use crate::broker::{Difference, bounds, differences};
use crate::sqlite::Error;
use crate::topology::{Binding, Queue, Target, Topology};

/// Declares the missing parts, unless an existing part differs. Returns the differences.
pub(super) async fn apply(
    connection: &mut SqliteConnection,
    topology: &Topology,
) -> Result<Vec<String>, Error> {
    const UNBIND: &str =
        "DELETE FROM bindings WHERE exchange = ? AND pattern = ? AND to_queue AND target = ?";
    let routes = Routes::load(connection).await?;
    let problems: Vec<String> = topology
        .queues
        .iter()
        .flat_map(|queue| otherwise(&routes, queue))
        .collect();
    if !problems.is_empty() {
        return Ok(problems);
    }
    let mut changed = false;
    for exchange in &topology.exchanges {
        if !routes.has_exchange(exchange) {
            sqlx::query("INSERT INTO exchanges (name) VALUES (?)")
                .bind(exchange.clone())
                .execute(&mut *connection)
                .await?;
            changed = true;
        }
    }
    for queue in &topology.queues {
        if routes.queue(&queue.name).is_none() {
            declare(connection, queue).await?;
            changed = true;
        }
    }
    for binding in &topology.bindings {
        if !routes.is_bound(&binding.exchange, &binding.pattern, &binding.to) {
            insert(connection, binding).await?;
            changed = true;
        }
    }
    // The bindings of an earlier configuration. The file is ours alone: every binding in it is ours.
    for (exchange, pattern, queue) in superfluous(&routes, topology) {
        sqlx::query(UNBIND)
            .bind(exchange.to_owned())
            .bind(pattern.to_owned())
            .bind(queue.to_owned())
            .execute(&mut *connection)
            .await?;
        changed = true;
    }
    if changed {
        changed_now(connection).await?;
    }
    Ok(Vec::new())
}

/// Makes the missing bindings.
pub(super) async fn bind(
    connection: &mut SqliteConnection,
    bindings: &[Binding],
) -> Result<(), Error> {
    let routes = Routes::load(connection).await?;
    for binding in bindings {
        if !routes.is_bound(&binding.exchange, &binding.pattern, &binding.to) {
            insert(connection, binding).await?;
        }
    }
    changed_now(connection).await
}

async fn insert(connection: &mut SqliteConnection, binding: &Binding) -> Result<(), Error> {
    const BIND: &str =
        "INSERT INTO bindings (exchange, pattern, target, to_queue) VALUES (?, ?, ?, ?)";
    let (target, to_queue) = target(&binding.to);
    sqlx::query(BIND)
        .bind(binding.exchange.clone())
        .bind(binding.pattern.clone())
        .bind(target)
        .bind(to_queue)
        .execute(connection)
        .await?;
    Ok(())
}

/// Exchange, pattern and queue of bindings that lead to the topology's queues without being in it.
fn superfluous<'r>(
    routes: &'r Routes,
    topology: &'r Topology,
) -> impl Iterator<Item = (&'r str, &'r str, &'r str)> {
    let ours: HashSet<_> = topology
        .bindings
        .iter()
        .map(|it| (it.exchange.as_str(), it.pattern.as_str(), &it.to))
        .collect();
    let queues: HashSet<&str> = topology.queues.iter().map(|it| it.name.as_str()).collect();
    routes
        .bindings()
        .filter_map(move |(exchange, pattern, to)| match to {
            Target::Queue(queue)
                if queues.contains(queue.as_str()) && !ours.contains(&(exchange, pattern, to)) =>
            {
                Some((exchange, pattern, queue.as_str()))
            }
            _ => None,
        })
}

async fn declare(connection: &mut SqliteConnection, queue: &Queue) -> Result<(), Error> {
    let arguments = arguments(queue);
    let limit = arguments
        .get("x-delivery-limit")
        .and_then(serde_json::Value::as_i64);
    let written = serde_json::to_string(&arguments);
    let written = written.map_err(|error| Error::Fault(error.to_string()))?;
    sqlx::query("INSERT INTO queues (name, arguments, delivery_limit) VALUES (?, ?, ?)")
        .bind(queue.name.clone())
        .bind(written)
        .bind(limit)
        .execute(connection)
        .await?;
    Ok(())
}

/// Compares exchanges, queues, their arguments, and bindings.
pub(super) fn compare(routes: &Routes, topology: &Topology) -> Vec<Difference> {
    let mut found = Vec::new();
    let mut differ = |name: &str, problem: String| {
        found.push(Difference {
            name: name.to_owned(),
            problem,
        });
    };
    for exchange in &topology.exchanges {
        if !routes.has_exchange(exchange) {
            differ(exchange, differences::missing("exchange"));
        }
    }
    for queue in &topology.queues {
        if routes.queue(&queue.name).is_none() {
            differ(&queue.name, differences::missing("queue"));
        }
        for problem in otherwise(routes, queue) {
            differ(&queue.name, problem);
        }
    }
    for binding in &topology.bindings {
        let is_there = |name: &str| routes.has_exchange(name) || routes.queue(name).is_some();
        let (target, _) = target(&binding.to);
        if is_there(&binding.exchange)
            && is_there(&target)
            && !routes.is_bound(&binding.exchange, &binding.pattern, &binding.to)
        {
            let thing = format!("binding of {:?} to {target:?}", binding.pattern);
            differ(&binding.exchange, differences::missing(&thing));
        }
    }
    found
}

/// The differences between a queue's declared arguments and the right ones.
fn otherwise(routes: &Routes, queue: &Queue) -> Vec<String> {
    let Some(found) = routes.queue(&queue.name) else {
        return Vec::new();
    };
    let expected = super::routes::Queue {
        id: found.id,
        arguments: arguments(queue),
    };
    let mut names: Vec<&String> = found.arguments.keys().collect();
    names.extend(expected.arguments.keys());
    names.sort_unstable();
    names.dedup();
    names
        .into_iter()
        .map(|name| (name, found.shown(name), expected.shown(name)))
        .filter(|(_, found, expected)| found != expected)
        .map(|(argument, found, expected)| {
            differences::argument("queue", &queue.name, argument, &found, &expected)
        })
        .collect()
}

/// Deletes queues and exchanges with their messages; missing ones are skipped.
pub(super) async fn delete(
    connection: &mut SqliteConnection,
    topology: &Topology,
) -> Result<(), Error> {
    const QUEUE: &str = "
        DELETE FROM messages WHERE id IN (
            SELECT message FROM waiting WHERE queue = ?1
            UNION ALL SELECT message FROM held WHERE queue = ?1);
        DELETE FROM waiting WHERE queue = ?1;
        DELETE FROM held WHERE queue = ?1;
        DELETE FROM history WHERE queue = ?1;
        DELETE FROM consumers WHERE queue = ?1;
        DELETE FROM bindings WHERE to_queue AND target = ?2;
        DELETE FROM queues WHERE id = ?1";
    const EXCHANGE: &str = "
        DELETE FROM bindings WHERE exchange = ?1 OR (NOT to_queue AND target = ?1);
        DELETE FROM exchanges WHERE name = ?1";
    let routes = Routes::load(connection).await?;
    for queue in &topology.queues {
        if let Some(found) = routes.queue(&queue.name) {
            sqlx::query(QUEUE)
                .bind(found.id)
                .bind(queue.name.clone())
                .execute(&mut *connection)
                .await?;
        }
    }
    for exchange in &topology.exchanges {
        sqlx::query(EXCHANGE)
            .bind(exchange.clone())
            .execute(&mut *connection)
            .await?;
    }
    changed_now(connection).await
}

/// Tells every program that has the file open to read the topology again.
async fn changed_now(connection: &mut SqliteConnection) -> Result<(), Error> {
    sqlx::query("UPDATE state SET topology = topology + 1, clock = clock + 1")
        .execute(connection)
        .await?;
    Ok(())
}

fn target(to: &Target) -> (String, bool) {
    match to {
        Target::Queue(name) => (name.clone(), true),
        Target::Exchange(name) => (name.clone(), false),
    }
}

/// Whether every name of a topology can be one, or which cannot.
pub(super) fn check(topology: &Topology) -> Result<(), String> {
    let exchanges = topology.exchanges.iter();
    let queues = topology.queues.iter().map(|queue| &queue.name);
    let patterns = topology.bindings.iter().map(|binding| &binding.pattern);
    exchanges
        .chain(queues)
        .chain(patterns)
        .try_for_each(|name| bounds::name("name", name))
}
