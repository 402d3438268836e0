//! Whether all programs that run have the same configuration.

use std::collections::BTreeSet;

use common::config::ConfigHash;
use common::outcome::chain;
use common::store::{ConfiguredWorker, Store};

use super::{Finding, Verdict};
use crate::words::{count, moment};

/// The name of the check.
const CHECK: &str = "configuration";

/// What to do about a process with another configuration.
const ADVICE: &str = "deploy the same file and variables everywhere; a program reads a changed file within seconds, and at SIGHUP. \
                      Its log says why it refuses one, and which keys need a restart";

/// Compares the configurations of the processes that run with `own`, that of this command.
pub async fn look(store: &dyn Store, own: &ConfigHash) -> Vec<Finding> {
    match store.workers().configured_workers().await {
        Ok(workers) => compare(&workers, own.as_str()),
        Err(error) => {
            let advice = "look again; if it stays, see the database's log";
            vec![Finding::bad(Verdict::Problem, CHECK, chain(&error), advice)]
        }
    }
}

fn compare(workers: &[ConfiguredWorker], own: &str) -> Vec<Finding> {
    if workers.is_empty() {
        let detail = format!("{own} here; no program has told its own in the last minutes");
        return vec![Finding::ok(CHECK, detail)];
    }
    let differing = workers.iter().filter(|worker| worker.configuration != own);
    let mut findings: Vec<Finding> = differing.map(|worker| differs(worker, own)).collect();
    findings.extend(disunited(workers));
    if findings.is_empty() {
        let copies = count(workers.len() as u64, "running program");
        findings.push(Finding::ok(CHECK, format!("{own} here and in {copies}")));
    }
    findings
}

fn differs(worker: &ConfiguredWorker, own: &str) -> Finding {
    let ConfiguredWorker {
        program,
        host,
        version,
        configuration,
        ..
    } = worker;
    let since = moment(worker.since.0);
    let detail = format!(
        "{program} {version} on {host} runs with {configuration} since {since}, and this command with {own}"
    );
    Finding::bad(
        Verdict::Look,
        format!("{CHECK} of {program}"),
        detail,
        ADVICE,
    )
}

/// A finding for each program whose copies differ among each other.
fn disunited(workers: &[ConfiguredWorker]) -> Vec<Finding> {
    let programs: BTreeSet<&str> = workers.iter().map(|it| it.program.as_str()).collect();
    let disunited = programs.into_iter().filter_map(|program| {
        let copies = workers.iter().filter(|it| it.program == program);
        let hashes: BTreeSet<&str> = copies.map(|it| it.configuration.as_str()).collect();
        let told: Vec<&str> = hashes.iter().copied().collect();
        let detail = format!("its copies differ among each other: {}", told.join(", "));
        let check = format!("{CHECK} of {program}");
        (hashes.len() > 1).then(|| Finding::bad(Verdict::Look, check, detail, ADVICE))
    });
    disunited.collect()
}

#[cfg(test)]
mod tests {
    use common::config::Config;
    use common::store::WorkerCard;
    use uuid::Uuid;

    use super::*;
    use crate::testbed;

    async fn told(store: &dyn Store, program: &str, host: &str, configuration: &str) {
        let card = WorkerCard {
            id: Uuid::now_v7(),
            program: program.to_owned(),
            host: host.to_owned(),
            version: "0.1.0".to_owned(),
            destinations: Vec::new(),
        };
        store.workers().tell(&card, configuration).await.unwrap();
    }

    #[tokio::test]
    async fn a_copy_that_differs_is_named_with_what_to_do() {
        let (store, own) = (testbed::store().await, Config::default().hash());
        let found = look(&store, &own).await;
        assert_eq!(
            (found.len(), found[0].verdict),
            (1, Verdict::Ok),
            "{found:?}"
        );
        told(&store, "longshore-store", "east", own.as_str()).await;
        told(&store, "longshore-producer", "east", own.as_str()).await;
        let found = look(&store, &own).await;
        assert_eq!(
            (found.len(), found[0].verdict),
            (1, Verdict::Ok),
            "{found:?}"
        );
        assert!(
            found[0].detail.ends_with("here and in 2 running programs"),
            "{found:?}"
        );

        told(&store, "longshore-store", "west", "0123456789ab").await;
        let found = look(&store, &own).await;
        assert_eq!(found.len(), 2, "{found:?}");
        assert!(found.iter().all(
            |it| it.verdict == Verdict::Look && it.check == "configuration of longshore-store"
        ));
        let (differs, among) = (&found[0].detail, &found[1].detail);
        assert!(
            differs.starts_with("longshore-store 0.1.0 on west runs with 0123456789ab since 2"),
            "{differs}"
        );
        assert!(among.contains("differ among each other"), "{among}");
        assert!(found[0].advice.as_ref().unwrap().contains("SIGHUP"));
    }
}
