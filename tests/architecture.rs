//! What the documents say of the code, held against the code.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use common::config;
use common::telemetry::metrics;

/// The folder of the whole project.
fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn read(path: &str) -> Result<String> {
    fs::read_to_string(root().join(path)).with_context(|| format!("reading {path}"))
}

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
        // Threads: one writes log lines, which are dropped and counted where it is gone; one notes the time, and where it
        // is gone the broker is asked more often; two end with their answer.
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
fn what_an_operator_starts_runs_in_a_worker() -> Result<()> {
    let here = [
        "console/src/commands/replay/here.rs",
        "console/src/system.rs",
    ];
    for (file, text) in code("console/src")? {
        ensure!(
            !text.contains("Replayer {") || here.contains(&file.as_str()),
            "{file} runs a replay: that belongs to workers/src/operations.rs"
        );
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

#[test]
fn every_worker_is_everywhere_it_must_be() -> Result<()> {
    let compose = read("docker-compose.yml")?;
    for worker in ["validate", "store", "integrate", "archive"] {
        for path in [
            format!("workers/src/{worker}.rs"),
            format!("workers/src/bin/longshore-{worker}.rs"),
        ] {
            ensure!(root().join(&path).exists(), "{path} is missing");
        }
        ensure!(
            compose.contains(&format!("longshore-{worker}")),
            "compose lacks {worker}"
        );
        let lines = read(&format!("workers/src/bin/longshore-{worker}.rs"))?
            .lines()
            .count();
        ensure!(
            lines <= 20,
            "the binary of {worker} has {lines} lines: it is to be thin"
        );
    }
    Ok(())
}

#[test]
fn the_metrics_page_is_the_code_s() -> Result<()> {
    let expected = format!(
        "# Metrics\n\nEvery program serves these on `/metrics` in the Prometheus text format: the producer \
         beside its API, a\nworker where `LONGSHORE_LISTEN` says. Histograms are in seconds where their \
         name says so.\n\n{}\n\
         This page is made from `common/src/telemetry/metrics.rs`; `UPDATE_DOCS=1 cargo test -p e2e --test \
         architecture`\nwrites it anew.\n",
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

/// What the loader says to a key that cannot be: it names all that can.
fn known_keys(section: &str) -> Result<BTreeSet<String>> {
    let variable = format!("LONGSHORE__{section}NO_SUCH_KEY");
    let error = config::load_from([(variable.clone(), "1".to_owned())]);
    let error = error
        .err()
        .with_context(|| format!("{variable} was taken"))?;
    let (_, names) = error
        .problem
        .split_once("expected")
        .context("it names no key")?;
    let names = names.lines().next().unwrap_or_default();
    let names: BTreeSet<String> = names
        .split('`')
        .skip(1)
        .step_by(2)
        .map(str::to_owned)
        .collect();
    ensure!(!names.is_empty(), "{error}");
    Ok(names)
}

#[test]
fn every_key_is_documented_and_every_documented_key_is_there() -> Result<()> {
    let page = read("docs/configuration.md")?;
    let documented: BTreeSet<&str> = page
        .lines()
        .filter_map(|line| {
            line.strip_prefix("| `")?
                .split_once('`')
                .map(|(key, _)| key)
        })
        .collect();
    let sections = [
        "broker", "database", "log", "limits", "producer", "worker", "history", "dead", "watch",
        "outbound",
    ];
    for section in sections {
        let keys = known_keys(&format!("{}__", section.to_uppercase()))?;
        for key in &keys {
            let full = format!("{section}.{key}");
            ensure!(
                documented.contains(full.as_str()),
                "docs/configuration.md lacks {full}"
            );
        }
        for key in documented
            .iter()
            .filter_map(|key| key.strip_prefix(section)?.strip_prefix('.'))
        {
            ensure!(keys.contains(key), "there is no key {section}.{key}");
        }
    }
    for key in known_keys("STORE__")? {
        ensure!(
            documented.contains(key.as_str()),
            "docs/configuration.md lacks {key} of a stage"
        );
    }
    for key in known_keys("STORE__RETRY__")? {
        ensure!(
            documented.contains(key.as_str()),
            "docs/configuration.md lacks {key} of retry"
        );
    }
    for section in known_keys("")? {
        ensure!(
            page.contains(&section),
            "docs/configuration.md lacks [{section}]"
        );
    }
    Ok(())
}

#[test]
fn documented_defaults_are_the_code_s() -> Result<()> {
    let page = read("docs/configuration.md")?;
    let default = format!("{:?}", config::load_from([])?);
    let mut checked = 0;
    for line in page.lines() {
        let cells: Vec<&str> = line
            .split('|')
            .map(|cell| cell.trim().trim_matches('`'))
            .collect();
        let (Some(key), Some(value)) = (cells.get(1), cells.get(2)) else {
            continue;
        };
        let Some((section, name)) = key.split_once('.') else {
            continue;
        };
        if section == "webhook" || value.is_empty() {
            continue;
        }
        let variable = format!("LONGSHORE__{section}__{name}").to_uppercase();
        let set = config::load_from([(variable, (*value).to_owned())])
            .with_context(|| format!("the documented default of {key}"))?;
        ensure!(
            format!("{set:?}") == default,
            "the default of {key} is not {value}"
        );
        checked += 1;
    }
    ensure!(
        checked >= 20,
        "only {checked} defaults were found in docs/configuration.md"
    );
    Ok(())
}

#[test]
fn the_sample_configuration_is_the_defaults() -> Result<()> {
    let path = root().join("config/longshore.toml").display().to_string();
    let sample = config::load_from([("LONGSHORE_CONFIG".to_owned(), path)])?;
    let default = config::load_from([])?;
    ensure!(sample.destinations.is_empty() && sample.types.is_empty());
    ensure!(
        sample.plan() == default.plan(),
        "{:?}\n{:?}",
        sample.plan(),
        default.plan()
    );
    Ok(())
}

#[test]
fn links_between_documents_lead_somewhere() -> Result<()> {
    let mut pages: Vec<PathBuf> = [
        "README.md",
        "ARCHITECTURE.md",
        "CONTRIBUTING.md",
        "SECURITY.md",
        "CHANGELOG.md",
    ]
    .map(|page| root().join(page))
    .to_vec();
    let mut rest = vec![root().join("docs")];
    while let Some(path) = rest.pop() {
        if path.is_dir() {
            for entry in fs::read_dir(&path)? {
                rest.push(entry?.path());
            }
        } else if path.extension().is_some_and(|extension| extension == "md") {
            pages.push(path);
        }
    }
    for page in pages {
        let text = fs::read_to_string(&page)?;
        for link in text
            .split("](")
            .skip(1)
            .filter_map(|rest| rest.split(')').next())
        {
            let target = link.split('#').next().unwrap_or_default();
            if target.is_empty() || target.contains("://") || target.starts_with("mailto:") {
                continue;
            }
            let folder = page.parent().context("a page is in a folder")?;
            ensure!(
                folder.join(target).exists(),
                "{} links to {link}",
                page.display()
            );
        }
    }
    Ok(())
}

/// `scripts/test` runs what is ignored wherever a browser is, so nothing may be ignored for another
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
