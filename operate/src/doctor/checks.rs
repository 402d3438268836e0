//! The checks of broker, database, schema and standing watch.

use std::time::Duration;

use crate::finding;
use common::broker::{Broker, BrokerError, Difference};
use common::outcome::chain;
use common::store::{DeadFilter, DeadLetters, DeadState, Store, StoreError};
use common::topology::Topology;

use super::{Finding, Verdict};
use crate::queues::{self, Line, PausedQueues};
use crate::words::count;

/// From this many messages on, a queue is reported as growing: a few are always under way.
const FEW: u64 = 100;

/// The broker, its declarations, and its queues, watched for a while.
pub async fn broker(
    broker: &dyn Broker,
    topology: &Topology,
    paused: &PausedQueues,
    watch: Duration,
) -> Vec<Finding> {
    if let Err(error) = broker.ready().await {
        let advice = match error {
            BrokerError::Blocked(_) => {
                "free memory or disk on the broker; it takes messages again by itself"
            }
            BrokerError::Refused(_) => {
                "check user, password, virtual host and permissions in broker.url"
            }
            _ => {
                "start it (`scripts/services up` on a bare machine), mend the named problem, or mend broker.url"
            }
        };
        return vec![Finding::bad(
            Verdict::Unreachable,
            "broker",
            chain(&error),
            advice,
        )];
    }
    let product = broker.product().await.ok().flatten();
    let reached = told(product, "reached, and it takes messages");
    let mut findings = vec![Finding::ok("broker", reached)];
    match broker.verify(topology).await {
        Ok(differences) if differences.is_empty() => {
            findings.push(Finding::ok("topology", "as the configuration asks for"));
        }
        Ok(differences) => findings.push(topology_finding(&differences)),
        Err(error) => findings.push(unseen("topology", &error)),
    }
    match look_twice(broker, topology, watch).await {
        Ok((before, mut after)) => {
            paused.mark(&mut after);
            findings.extend(queue_findings(&before, &after));
        }
        Err(error) => findings.push(unseen("queues", &error)),
    }
    match broker.clock_ahead().await {
        Ok(ahead) => findings.extend(ahead.map(super::clock::file_is_ahead)),
        Err(error) => findings.push(unseen("broker clock", &error)),
    }
    findings
}

/// Maximum of differences that are reported in full; an undeclared namespace has dozens.
const MOST_TOLD: usize = 3;

fn topology_finding(differences: &[Difference]) -> Finding {
    let told = differences.iter().take(MOST_TOLD);
    let told: Vec<String> = told
        .map(|it| format!("{}: {}", it.name, it.problem))
        .collect();
    let rest = match differences.len().saturating_sub(MOST_TOLD) {
        0 => String::new(),
        more => format!("; and {more} more"),
    };
    let advice = "`longshore topology verify` lists them all, `longshore topology apply` declares \
                  missing ones; drain and delete those with other arguments first";
    Finding::bad(
        Verdict::Problem,
        "topology",
        told.join("; ") + &rest,
        advice,
    )
}

fn unseen(check: &str, error: &BrokerError) -> Finding {
    Finding::bad(
        Verdict::Problem,
        check,
        chain(error),
        "look again; if it stays, see the broker's log",
    )
}

async fn look_twice(
    broker: &dyn Broker,
    topology: &Topology,
    watch: Duration,
) -> Result<(Vec<Line>, Vec<Line>), BrokerError> {
    let before = queues::look(broker, topology).await?;
    tokio::time::sleep(watch).await;
    Ok((before, queues::look(broker, topology).await?))
}

fn queue_findings(before: &[Line], after: &[Line]) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (before, after) in before.iter().zip(after) {
        if after.messages.is_none() {
            // Told already, as a difference of the topology.
            continue;
        }
        let (was, is) = (before.messages.unwrap_or(0), after.messages.unwrap_or(0));
        if let Some(attention) = &after.attention {
            let (detail, advice) = attention
                .rsplit_once(": ")
                .unwrap_or((attention, "look at it"));
            let detail = format!("{detail} ({})", count(is, "message"));
            let verdict = if after.paused {
                Verdict::Look
            } else {
                Verdict::Problem
            };
            findings.push(Finding::bad(verdict, &after.queue, detail, advice));
        } else if after.kind == "work" && is > was && is > FEW {
            let detail = format!("grows: {was} messages, then {is}");
            let advice =
                "start more workers of this stage, or find the cause of the delay in their logs";
            findings.push(Finding::bad(Verdict::Look, &after.queue, detail, advice));
        }
    }
    if findings.is_empty() {
        findings.push(Finding::ok("queues", "all are consumed and none grows"));
    }
    findings
}

/// The database, its schema, and the letters that wait there for a person.
pub async fn database(store: &dyn Store) -> Vec<Finding> {
    if let Err(error) = store.ready().await {
        let (verdict, advice) = match error {
            StoreError::Unavailable(_) => (
                Verdict::Unreachable,
                "start it (`scripts/services up` on a bare machine), mend the named problem, or mend database.url",
            ),
            StoreError::Schema(ref why) if why.contains("longshore migrate") => {
                (Verdict::Problem, "`longshore migrate`")
            }
            StoreError::Schema(_) => (Verdict::Problem, "mend the named problem"),
            _ => (
                Verdict::Problem,
                "check user, password and permissions in database.url",
            ),
        };
        return vec![Finding::bad(verdict, "database", chain(&error), advice)];
    }
    let product = store.product().await.ok();
    let reached = told(product, "reached, and its schema is up to date");
    let mut findings = vec![Finding::ok("database", reached), dead_letters(store).await];
    findings.extend(watch(store).await);
    findings
}

/// The findings of the standing watch, and whether any process keeps it.
async fn watch(store: &dyn Store) -> Vec<Finding> {
    let asked = async {
        let lease = store.watching().lease(crate::finding::WATCH_LEASE).await?;
        Ok::<_, StoreError>((lease, store.watching().findings().await?))
    };
    let (lease, found) = match asked.await {
        Ok(answer) => answer,
        Err(error) => {
            let advice = "look again; if it stays, see the database's log";
            return vec![Finding::bad(
                Verdict::Problem,
                "watch",
                chain(&error),
                advice,
            )];
        }
    };
    let mut findings = vec![match lease {
        Some(lease)
            if lease.is_held && found.iter().any(|(it, _)| it.finding == finding::BLIND) =>
        {
            Finding::ok("watch", "kept, but it does not see everything")
        }
        Some(lease) if lease.is_held => {
            Finding::ok("watch", "kept; lost events and deliveries are sent again")
        }
        lease => {
            let detail = match lease {
                Some(lease) => format!(
                    "nobody keeps it since {}",
                    crate::words::moment(lease.renewed_at.0)
                ),
                None => "nobody has kept it yet".to_owned(),
            };
            let advice = "start `longshore-archive`, with `watch.enabled`: it finds lost events and sends them again";
            Finding::bad(Verdict::Look, "watch", detail, advice)
        }
    }];
    findings.extend(found.into_iter().map(|(it, since)| {
        let (verdict, advice) = advice(&it.finding);
        let check = format!("watch: {} {}", it.finding, it.subject);
        let detail = format!(
            "{} ({}, since {})",
            it.detail,
            it.number,
            crate::words::moment(since.0)
        );
        Finding::bad(verdict, check, detail, advice)
    }));
    findings
}

/// How bad a finding of the watch is, and what to do about it.
fn advice(of: &str) -> (Verdict, &'static str) {
    match of {
        finding::MISSING_QUEUE => (
            Verdict::Problem,
            "the programs declare it again by themselves; `longshore topology apply` does at once",
        ),
        finding::UNCONSUMED_QUEUE => (Verdict::Problem, "start the worker"),
        finding::SUSPECTS => (
            Verdict::Look,
            "see the workers' logs: workers died over these, or lost their links",
        ),
        finding::PARKED => (
            Verdict::Problem,
            "see the archive's log for why it cannot take them",
        ),
        finding::LOST_EVENT | finding::OVERDUE_DELIVERY => (
            Verdict::Problem,
            "`longshore events stuck` names them; see the log of the worker that should have taken them",
        ),
        finding::BLIND => (
            Verdict::Problem,
            "give the archive's broker login the rights it needs (docs/operations.md, Rights), and start the archive \
             again; else see its log",
        ),
        finding::CLOCK_JUMP => (
            Verdict::Problem,
            "let a time service keep the clock, in small steps",
        ),
        finding::REPAIRED => (
            Verdict::Look,
            "nothing is lost any more; find out who deleted or emptied a queue: the table watch_repairs has each",
        ),
        _ => (
            Verdict::Look,
            "this program is older than the watch: update it",
        ),
    }
}

/// A finding about a dependency, with its name and version if known. An unknown version is not a finding: the
/// dependency works.
fn told(product: Option<String>, found: &str) -> String {
    match product {
        Some(product) => format!("{product}: {found}"),
        None => found.to_owned(),
    }
}

async fn dead_letters(store: &dyn DeadLetters) -> Finding {
    let open = DeadFilter {
        state: Some(DeadState::Open),
        ..DeadFilter::default()
    };
    match store.dead_count(&open).await {
        Ok(0) => Finding::ok("dead letters", "none is open"),
        Ok(found) => Finding::bad(
            Verdict::Look,
            "dead letters",
            format!("{} open", count(found, "dead letter")),
            "`longshore dead list --state open`, then mend and replay",
        ),
        Err(error) => {
            let advice = "look again; if it stays, see the database's log";
            Finding::bad(Verdict::Problem, "dead letters", chain(&error), advice)
        }
    }
}

#[cfg(test)]
mod tests {
    use common::namespace::Namespace;
    use common::sqlite::Location;
    use common::store::sqlite::SqliteStore;
    use common::store::{Leases as _, WatchRecords as _};

    use super::*;
    use crate::testbed;

    fn verdicts(findings: &[Finding]) -> Vec<(&str, Verdict)> {
        let verdicts = findings.iter().map(|it| (it.check.as_str(), it.verdict));
        verdicts.collect()
    }

    fn line(queue: &str, messages: u64, attention: Option<&str>) -> Line {
        Line {
            queue: queue.to_owned(),
            kind: "work",
            messages: Some(messages),
            consumers: Some(1),
            attention: attention.map(str::to_owned),
            paused: false,
        }
    }

    #[test]
    fn a_queue_that_needs_somebody_is_a_problem_and_one_that_grows_is_worth_a_look() {
        let before = [
            line("a", 0, None),
            line("b", 150, None),
            line("c", 10, None),
        ];
        let after = [
            line("a", 3, Some("nobody consumes it: start the worker")),
            line("b", 300, None),
            line("c", 11, None),
        ];
        let findings = queue_findings(&before, &after);
        let expected = [("a", Verdict::Problem), ("b", Verdict::Look)];
        assert_eq!(verdicts(&findings), expected);
        assert_eq!(findings[0].advice.as_deref(), Some("start the worker"));
    }

    #[test]
    fn a_dependency_is_named_with_its_version_where_it_tells_it() {
        let product = Some("RabbitMQ 3.13.7".to_owned());
        assert_eq!(told(product, "reached"), "RabbitMQ 3.13.7: reached");
        assert_eq!(told(None, "reached"), "reached");
    }

    #[tokio::test]
    async fn a_database_without_our_schema_says_what_to_do() {
        let store = SqliteStore::at(&Location::memory(), &Namespace::default());
        let findings = database(&store).await;
        assert_eq!(verdicts(&findings), [("database", Verdict::Problem)]);
        assert_eq!(findings[0].advice.as_deref(), Some("`longshore migrate`"));
    }

    #[tokio::test]
    async fn a_database_that_cannot_be_opened_is_unreachable() {
        let nowhere = Location::file("/dev/null/longshore.db");
        let findings = database(&SqliteStore::at(&nowhere, &Namespace::default())).await;
        assert_eq!(verdicts(&findings), [("database", Verdict::Unreachable)]);
    }

    #[tokio::test]
    async fn open_dead_letters_are_worth_a_look() {
        let store = testbed::store().await;
        let mut expected = [
            ("database", Verdict::Ok),
            ("dead letters", Verdict::Ok),
            ("watch", Verdict::Look),
        ];
        assert_eq!(verdicts(&database(&store).await), expected);
        let letter = testbed::letter("longshore.store");
        store.keep_dead(&[letter]).await.unwrap();
        expected[1].1 = Verdict::Look;
        assert_eq!(verdicts(&database(&store).await), expected);
    }

    #[tokio::test]
    async fn what_the_watch_has_found_is_told() {
        let store = testbed::store().await;
        let parked = common::store::WatchFinding {
            finding: finding::PARKED.to_owned(),
            subject: "longshore.dead.parked".to_owned(),
            number: 3,
            detail: "not even the archive".to_owned(),
        };
        store.keep_findings(&[parked]).await.unwrap();
        let keep = Duration::from_secs(30);
        let holder = uuid::Uuid::now_v7();
        store
            .hold_lease(crate::finding::WATCH_LEASE, holder, keep, None)
            .await
            .unwrap();
        let findings = watch(&store).await;
        let expected = [
            ("watch", Verdict::Ok),
            ("watch: parked longshore.dead.parked", Verdict::Problem),
        ];
        assert_eq!(verdicts(&findings), expected);
        assert!(findings[1].detail.contains("(3, since"), "{findings:?}");
        for known in finding::WRONG {
            assert_ne!(advice(known).1, advice("unheard of").1, "{known}");
        }
    }

    #[tokio::test]
    async fn a_broker_without_our_topology_says_what_to_do() {
        let (real, topology) = (testbed::broker(), testbed::topology(&["crm"]));
        let findings = broker(&real, &topology, &PausedQueues::default(), Duration::ZERO).await;
        let expected = [("broker", Verdict::Ok), ("topology", Verdict::Problem)];
        assert_eq!(verdicts(&findings)[..2], expected);
        let advice = findings[1].advice.as_deref().unwrap_or_default();
        assert!(advice.contains("topology apply"), "{advice}");

        real.apply(&topology).await.unwrap();
        let findings = broker(&real, &topology, &PausedQueues::default(), Duration::ZERO).await;
        assert_eq!(findings[1].verdict, Verdict::Ok);
    }
}
