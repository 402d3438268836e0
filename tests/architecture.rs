//! The documents' statements about the code, held against the code.

use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result, ensure};
use common::telemetry::metrics;
use repository::{read, root};

mod repository;

/// The Rust files below a file or folder.
fn files(below: &str) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    let mut rest = vec![root().join(below)];
    while let Some(path) = rest.pop() {
        if path.is_dir() {
            for entry in fs::read_dir(&path).with_context(|| path.display().to_string())? {
                rest.push(entry?.path());
            }
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
    ensure!(!files.is_empty(), "no Rust file below {below}");
    Ok(files)
}

/// The Rust files below a file or folder: their paths and their code without comments and tests.
fn code(below: &str) -> Result<Vec<(String, String)>> {
    let is_test = |path: &PathBuf| path.ends_with("tests.rs");
    let each = files(below)?
        .into_iter()
        .filter(|path| !is_test(path))
        .map(|path| {
            let text = fs::read_to_string(&path)?;
            let text = text.split("#[cfg(test)]").next().unwrap_or_default();
            let lines = text
                .lines()
                .filter(|line| !line.trim_start().starts_with("//"));
            let name = path.strip_prefix(root())?.display().to_string();
            Ok((name, lines.collect::<Vec<_>>().join("\n")))
        });
    each.collect()
}

/// Fails for each file below `below`, but not below `but`, that names one of `words`.
fn nothing_names(below: &str, words: &[&str], but: &[&str]) -> Result<()> {
    for (file, text) in code(below)? {
        if but.iter().any(|allowed| file.starts_with(allowed)) {
            continue;
        }
        for word in words {
            let uses =
                text.contains(&format!("{word}::")) || text.contains(&format!("use {word};"));
            ensure!(
                !uses,
                "{file} names {word}, which it must know nothing about"
            );
        }
    }
    Ok(())
}

const PROGRAMS: [&str; 5] = [
    "common/src",
    "producer/src",
    "operate/src",
    "workers/src",
    "console/src",
];

#[test]
fn each_outside_library_has_one_place() -> Result<()> {
    for below in PROGRAMS {
        nothing_names(below, &["lapin"], &["common/src/broker/rabbit"])?;
        nothing_names(
            below,
            &["sqlx"],
            &[
                "common/src/sqlite",
                "common/src/store/",
                "common/src/broker/embedded",
            ],
        )?;
        nothing_names(below, &["backoff"], &["common/src/retry.rs"])?;
    }
    Ok(())
}

#[test]
fn what_is_shipped_knows_nothing_of_the_benchmark() -> Result<()> {
    for package in ["common", "producer", "workers", "console"] {
        let manifest = read(&format!("{package}/Cargo.toml"))?;
        let depends = manifest
            .lines()
            .any(|line| line.split(['.', ' ', '=']).next() == Some("bench"));
        ensure!(!depends, "{package}/Cargo.toml depends on bench");
    }
    Ok(())
}

#[test]
fn metrics_are_recorded_in_one_place() -> Result<()> {
    for below in PROGRAMS {
        for (file, text) in code(below)? {
            let records = ["counter!(", "gauge!(", "histogram!("]
                .iter()
                .any(|word| text.contains(word));
            ensure!(
                !records || file == "common/src/telemetry/metrics.rs",
                "{file} records a metric of its own: declare it in telemetry::metrics"
            );
        }
    }
    Ok(())
}

#[test]
fn background_tasks_are_supervised() -> Result<()> {
    // A task whose panic somebody sees, or that serves one caller alone.
    let but = [
        // Awaits it.
        "common/src/store/postgres/link.rs",
        // One for each connection.
        "common/src/server.rs",
        // It is supervised a few lines above.
        "common/src/runtime/keeper.rs",
        // Threads. One writes log lines; without it they are dropped and counted. One notes the time; without it the
        // broker is asked more often. Two end with their answer.
        "common/src/broker/standstill.rs",
        "common/src/telemetry/stderr.rs",
        "common/src/sqlite/turn.rs",
        "common/src/scheduling.rs",
        "common/src/tasks.rs",
    ];
    for below in ["common/src", "operate/src", "workers/src"] {
        for (file, text) in code(below)? {
            if but.contains(&file.as_str()) {
                continue;
            }
            for (at, _) in text.match_indices("spawn(") {
                let (before, behind) = text.split_at(at);
                let arguments = behind.chars().filter(|it| !it.is_whitespace());
                let arguments: String = arguments.take(50).collect();
                let is_supervised = before.ends_with("tasks::")
                    || ["", "tasks::", "crate::tasks::"].iter().any(|path| {
                        let supervised = format!("spawn({path}supervised");
                        arguments.starts_with(&supervised)
                    });
                ensure!(
                    is_supervised,
                    "{file} spawns a task by itself: common::tasks::spawn ends the program when it panics"
                );
            }
        }
    }
    Ok(())
}

#[test]
fn pure_modules_do_no_io() -> Result<()> {
    let impure = [
        "tokio",
        "lapin",
        "sqlx",
        "reqwest",
        "axum",
        "crate::broker::rabbit",
        "crate::store",
    ];
    for module in [
        "event",
        "message.rs",
        "namespace.rs",
        "reason.rs",
        "signature.rs",
        "topology",
    ] {
        nothing_names(&format!("common/src/{module}"), &impure, &[])?;
    }
    nothing_names("common/src/retry.rs", &["tokio", "lapin", "sqlx"], &[])
}

#[test]
fn what_an_operator_can_do_needs_no_terminal() -> Result<()> {
    let terminal = [
        "clap",
        "indicatif",
        "comfy_table",
        "std::io::stdin",
        "console",
    ];
    nothing_names("operate/src", &terminal, &[])?;
    let manifest = read("operate/Cargo.toml")?;
    let dependencies = manifest.split("[dev-dependencies]").next();
    for package in ["workers", "producer", "longshore"] {
        let is_used = dependencies.is_some_and(|it| it.contains(&format!("{package}.workspace")));
        ensure!(!is_used, "operate depends on {package}");
    }
    Ok(())
}

#[test]
fn broker_and_store_know_nothing_of_each_other() -> Result<()> {
    nothing_names("common/src/broker", &["crate::store"], &[])?;
    nothing_names("common/src/store", &["crate::broker"], &[])?;
    let engines = ["crate::broker", "crate::store", "crate::topology"];
    nothing_names("common/src/sqlite", &engines, &[])?;
    nothing_names("common/src/sqlite.rs", &engines, &[])
}

#[test]
fn handlers_never_settle() -> Result<()> {
    for (file, text) in code("workers/src")? {
        for word in [
            "Settlement",
            "SubscriptionControl",
            "{Delivery,",
            " Delivery,",
            "Tag",
        ] {
            ensure!(
                !text.contains(word),
                "{file} names {word}: only the runtime settles"
            );
        }
    }
    Ok(())
}

/// The workers that the steps of CONTRIBUTING.md have added.
const WORKERS: [&str; 4] = ["archive", "integrate", "store", "validate"];

#[test]
fn every_worker_is_everywhere_it_must_be() -> Result<()> {
    for worker in WORKERS {
        for (path, part) in [
            ("workers/src/lib.rs", format!("pub mod {worker};")),
            (
                "common/src/config.rs",
                format!("pub {worker}: StageConfig,"),
            ),
            ("config/longshore.toml", format!("\n[{worker}]\n")),
            ("docs/configuration.md", format!("`[{worker}]`")),
            ("docker-compose.yml", format!("[longshore-{worker}]")),
            ("Dockerfile", format!("longshore-{worker}")),
            ("deploy/prometheus.yml", worker.to_owned()),
        ] {
            ensure!(read(path)?.contains(&part), "{path} lacks {part:?}");
        }
        let lines = read(&format!("workers/src/bin/longshore-{worker}.rs"))?
            .lines()
            .count();
        ensure!(
            lines <= 20,
            "the binary of {worker} has {lines} lines: a binary is thin"
        );
    }
    let binaries = files("workers/src/bin")?.len();
    ensure!(
        binaries == WORKERS.len(),
        "workers/src/bin has {binaries} programs: WORKERS lacks one"
    );
    Ok(())
}

#[test]
fn every_room_is_on_the_map() -> Result<()> {
    let page = read("ARCHITECTURE.md")?;
    let map = page
        .split_once("## Where things are")
        .and_then(|(_, rest)| rest.split("```").nth(1))
        .context("ARCHITECTURE.md has no map")?;
    for below in PROGRAMS {
        ensure!(map.contains(&format!("{below}/")), "the map lacks {below}");
        for entry in fs::read_dir(root().join(below))? {
            let entry = entry?;
            let room = format!("{}/", entry.file_name().display());
            // A testbed is compiled for tests alone.
            let is_room = entry.path().is_dir() && room != "testbed/";
            ensure!(
                !is_room || map.contains(&room),
                "the map lacks {below}/{room}"
            );
        }
    }
    Ok(())
}

#[test]
fn no_queue_is_named_outside_the_topology() -> Result<()> {
    for below in PROGRAMS {
        for (file, text) in code(below)? {
            if file.starts_with("common/src/topology") || file.contains("testbed") {
                continue;
            }
            for end in [
                ".suspect\"",
                ".parked\"",
                "}.received\"",
                "}.accepted\"",
                "}.rejected\"",
                "}.stored\"",
                "}.dead\"",
                "}.validate\"",
                "}.store\"",
            ] {
                ensure!(
                    !text.contains(end),
                    "{file} spells a name that ends with {end}: common::topology::Names has it"
                );
            }
        }
    }
    Ok(())
}

#[test]
fn the_metrics_page_is_the_code_s() -> Result<()> {
    let expected = format!(
        "# Metrics\n\nEvery program serves these on `/metrics` in the Prometheus text format: the producer \
         beside its API, a\nworker on `LONGSHORE_LISTEN`. Histograms are in seconds where their \
         name says so.\n\n{}\n\
         This page is made from `common/src/telemetry/metrics.rs`; `UPDATE_DOCS=1 cargo test -p e2e --test \
         architecture`\nrewrites it.\n",
        metrics::to_markdown()
    );
    let path = root().join("docs/metrics.md");
    if std::env::var_os("UPDATE_DOCS").is_some() {
        fs::write(&path, &expected)?;
    }
    let found = read("docs/metrics.md")?;
    ensure!(
        found == expected,
        "docs/metrics.md is not what the code says: UPDATE_DOCS=1 cargo test -p e2e --test architecture"
    );
    Ok(())
}

/// `scripts/test` runs ignored tests wherever a browser is, so no test may be ignored for another
/// reason.
#[test]
fn nothing_is_ignored_but_what_needs_a_browser() -> Result<()> {
    for below in [
        "common",
        "producer",
        "workers",
        "console",
        "bench",
        "tests/e2e",
        "tests/src",
    ] {
        for file in files(below)? {
            let text = fs::read_to_string(&file)?;
            let ignored = text
                .lines()
                .filter(|line| line.trim_start().starts_with("#[ignore"));
            for line in ignored {
                ensure!(
                    line.contains("needs Chromium"),
                    "{} has a test with {line}",
                    file.display()
                );
            }
        }
    }
    Ok(())
}
