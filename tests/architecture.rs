//! The documents' statements about the code, held against the code.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

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
    let is_test = |path: &PathBuf| {
        // The packages of tests have their own code in such a folder.
        let mut folders = path.iter().skip_while(|folder| *folder != "src");
        path.ends_with("tests.rs") || folders.any(|folder| folder == "tests")
    };
    let each = files(below)?
        .into_iter()
        .filter(|path| !is_test(path))
        .map(|path| {
            let text = fs::read_to_string(&path)?;
            let text = text
                .split("#[cfg(test)]\nmod tests")
                .next()
                .unwrap_or_default();
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

/// Maximum of lines in one file, without comments and tests.
const MAX_LINES: usize = 400;

#[test]
fn no_file_holds_more_than_one_reading() -> Result<()> {
    for below in PROGRAMS
        .into_iter()
        .chain(["bench/src", "tests/testkit/src"])
    {
        for (file, text) in code(below)? {
            let lines = text.lines().count();
            ensure!(
                lines <= MAX_LINES,
                "{file} has {lines} lines, {MAX_LINES} at most: make a room of a part of it"
            );
        }
        // And no function more than a screen; clippy.toml says how many lines that is.
        let library = code(below)?
            .into_iter()
            .find(|(file, _)| file.ends_with("src/lib.rs"));
        let (file, text) = library.with_context(|| format!("{below} is no library"))?;
        ensure!(
            text.contains("#![cfg_attr(not(test), warn(clippy::too_many_lines))]"),
            "{file} does not bound the length of functions"
        );
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

/// What logs, labels and pages call an engine is asked of the engine: a system on SQLite never says "postgres".
#[test]
fn engines_are_named_in_one_place() -> Result<()> {
    let but = [
        "common/src/dependency.rs",
        // The scheme of its URL.
        "common/src/config.rs",
    ];
    for below in PROGRAMS {
        for (file, text) in code(below)? {
            let names = ["\"postgres\"", "\"rabbitmq\""];
            let is_named = names.iter().any(|name| text.contains(name));
            ensure!(
                !is_named || but.contains(&file.as_str()),
                "{file} names an engine: common::dependency::EngineKind has its name"
            );
        }
    }
    Ok(())
}

#[test]
fn the_testkit_knows_nothing_of_the_product() -> Result<()> {
    let product = ["common", "producer", "operate", "workers", "longshore"];
    nothing_names(
        "tests/testkit/src",
        &["producer", "operate", "workers"],
        &[],
    )?;
    let manifest = read("tests/testkit/Cargo.toml")?;
    for package in product {
        let depends = manifest
            .lines()
            .any(|line| line.split(['.', ' ', '=']).next() == Some(package));
        ensure!(!depends, "the testkit depends on {package}");
        let others = read(&format!("{}/Cargo.toml", folder_of(package)))?;
        let dependencies = others.split("[dev-dependencies]").next();
        let ships = dependencies.is_some_and(|it| it.contains("testkit"));
        ensure!(!ships, "{package} ships the testkit");
    }
    Ok(())
}

fn folder_of(package: &str) -> &str {
    match package {
        "longshore" => "console",
        other => other,
    }
}

#[test]
fn metrics_are_recorded_in_one_place() -> Result<()> {
    for below in PROGRAMS {
        for (file, text) in code(below)? {
            let records = ["counter!(", "gauge!(", "histogram!("]
                .iter()
                .any(|word| text.contains(word));
            ensure!(
                !records || file.starts_with("common/src/telemetry/metrics"),
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

/// The modules of `common` that do no I/O, as ARCHITECTURE.md lists them.
const PURE: [&str; 14] = [
    "dependency",
    "duration",
    "event",
    "filter",
    "fingerprint",
    "inbound",
    "message",
    "namespace",
    "outcome",
    "publication",
    "reason",
    "retry",
    "signature",
    "topology",
];

#[test]
fn pure_modules_do_no_io() -> Result<()> {
    let impure = [
        "tokio", "lapin", "sqlx", "reqwest", "axum", "fs", "env", "process", "thread",
    ];
    let clocks = ["now_utc(", "Instant::now(", "SystemTime::now("];
    for module in PURE {
        let file = format!("common/src/{module}.rs");
        let folder = format!("common/src/{module}");
        let with_folder = root().join(&folder).exists().then_some(folder);
        for below in std::iter::once(file).chain(with_folder) {
            nothing_names(&below, &impure, &[])?;
            for (file, text) in code(&below)? {
                for used in modules_used(&text) {
                    ensure!(
                        PURE.contains(&used),
                        "{file} is pure and uses `{used}`, which is not"
                    );
                }
                let tells_time = clocks.iter().any(|clock| text.contains(clock));
                ensure!(
                    !tells_time || file == "common/src/event/trail.rs",
                    "{file} reads a clock: `event::now` alone does"
                );
            }
        }
    }
    let page = read("ARCHITECTURE.md")?;
    let sentence = page.lines().skip_while(|line| !line.contains("are pure:"));
    ensure!(
        sentence.count() > 0,
        "ARCHITECTURE.md lists no pure modules"
    );
    for module in PURE {
        ensure!(
            page.contains(&format!("`{module}`")),
            "ARCHITECTURE.md does not list {module} among the pure modules"
        );
    }
    Ok(())
}

/// The modules of `common` that a file of it names.
fn modules_used(text: &str) -> BTreeSet<&str> {
    let named = text.split("crate::").skip(1);
    let first = named.filter_map(|path| {
        path.split(|it: char| !(it.is_alphanumeric() || it == '_'))
            .next()
    });
    first.filter(|name| !name.is_empty()).collect()
}

#[test]
fn telemetry_knows_neither_broker_nor_store() -> Result<()> {
    let both = ["crate::broker", "crate::store", "crate::runtime"];
    nothing_names("common/src/telemetry", &both, &[])
}

/// What the file above a room says with `pub use`: the home of each name, as `Claim` is at home in `claim`.
fn homes(above: &str) -> BTreeMap<String, String> {
    let mut homes = BTreeMap::new();
    for statement in above.split("pub use ").skip(1) {
        let statement = statement.split(';').next().unwrap_or_default();
        if let Some((home, names)) = statement.split_once("::") {
            let names = names.split(|it: char| !it.is_alphanumeric() && it != '_');
            homes.extend(names.map(|name| (name.to_owned(), home.to_owned())));
        }
    }
    homes
}

/// The paths that follow `root` (`super::`, `crate::`) in a text, those in braces one by one.
fn paths<'t>(text: &'t str, root: &str) -> Vec<&'t str> {
    let behind = text
        .split(root)
        .skip(1)
        .flat_map(|rest| match rest.strip_prefix('{') {
            Some(list) => list
                .split('}')
                .next()
                .unwrap_or_default()
                .split(',')
                .collect(),
            None => vec![rest],
        });
    let ends = |it: char| !(it.is_alphanumeric() || it == '_' || it == ':');
    let path = behind.map(|path| path.trim().split(ends).next().unwrap_or_default());
    path.map(|path| path.trim_end_matches(':')).collect()
}

/// Which file of a room uses which other, by what they import.
fn arrows(room: &str) -> Result<BTreeMap<String, BTreeSet<String>>> {
    let above = root().join(format!("{room}.rs"));
    let homes = homes(&fs::read_to_string(above).unwrap_or_default());
    let mut texts = BTreeMap::new();
    for (file, text) in code(room)? {
        let name = file.trim_start_matches(room).trim_matches('/');
        texts.insert(name.trim_end_matches(".rs").to_owned(), text);
    }
    let mut arrows = BTreeMap::new();
    for (name, text) in &texts {
        let folder = name.rsplit_once('/').map_or("", |(folder, _)| folder);
        let beside = paths(text, "super::")
            .into_iter()
            .map(|path| (folder, path));
        let all = beside.chain(paths(text, "crate::").into_iter().map(|path| ("", path)));
        let mut used = BTreeSet::new();
        for (folder, path) in all {
            let path = homes.get(path).map_or(path, String::as_str);
            let mut file = format!("{folder}/{}", path.replace("::", "/"));
            // `desk/Desk` is in the file `desk`.
            while !file.is_empty() && !texts.contains_key(file.trim_matches('/')) {
                file.truncate(file.rfind('/').unwrap_or_default());
            }
            used.insert(file.trim_matches('/').to_owned());
        }
        used.retain(|file| file != name && !file.is_empty());
        arrows.insert(name.clone(), used);
    }
    Ok(arrows)
}

/// Two files that need each other are a third one that is missing: what both share.
#[test]
fn no_files_of_a_room_need_each_other() -> Result<()> {
    for room in ["common/src/runtime", "producer/src", "workers/src"] {
        let mut left = arrows(room)?;
        let count: usize = left.values().map(BTreeSet::len).sum();
        ensure!(
            count >= left.len(),
            "{room}: only {count} arrows were found"
        );
        while !left.is_empty() {
            let names: BTreeSet<String> = left.keys().cloned().collect();
            left.retain(|_, used| !used.is_disjoint(&names));
            ensure!(
                left.len() < names.len(),
                "files of {room} need each other, directly or through others: {left:?}"
            );
        }
    }
    Ok(())
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
fn the_command_line_changes_nothing_by_itself() -> Result<()> {
    let changes = [
        ".discard_dead(",
        ".restore_dead(",
        ".purge_dead(",
        ".edit_dead(",
        ".begin_operation(",
        ".steer_operation(",
        ".set_operation_rate(",
        ".hand_over_operation(",
        ".reopen_operation(",
        ".migrate()",
        ".deny(",
        ".record(",
        ".make_operator(",
        ".revoke_operator(",
        ".publish(",
        ".publish_all(",
        ".publish_reaching(",
    ];
    for (file, text) in code("console/src/commands")? {
        for call in changes {
            ensure!(
                !text.contains(call),
                "{file} calls {call}…): what an operator changes belongs in operate"
            );
        }
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
            !text.contains("Executor {") || here.contains(&file.as_str()),
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

/// Maximum of methods of one role of the store.
const MAX_ROLE: usize = 12;

#[test]
fn each_role_of_the_store_is_small_and_every_engine_has_it() -> Result<()> {
    let store = code("common/src/store")?;
    let mut roles = 0;
    for (file, text) in &store {
        let Some((_, role)) = text.split_once("#[async_trait]\npub trait ") else {
            continue;
        };
        let name = role.split([':', ' ']).next().unwrap_or_default();
        let methods = role.matches(" fn ").count();
        ensure!(
            methods <= MAX_ROLE,
            "{file}: {name} has {methods} methods; split it by who calls it"
        );
        for engine in ["PostgresStore", "SqliteStore"] {
            let implements = format!("impl {name} for {engine}");
            let is_there = store.iter().any(|(_, text)| text.contains(&implements));
            ensure!(is_there, "no `{implements}`");
        }
        roles += 1;
    }
    ensure!(roles > 5, "{roles} roles found");
    Ok(())
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

/// Cargo reads the manifest of each package of the workspace, also where it builds others.
#[test]
fn every_package_is_in_the_context_of_the_image() -> Result<()> {
    let manifest = read("Cargo.toml")?;
    let members = manifest
        .split_once("members = [")
        .and_then(|(_, rest)| rest.split_once(']'))
        .context("Cargo.toml has no members")?;
    let context = read(".dockerignore")?;
    let kept: Vec<&str> = context
        .lines()
        .filter_map(|line| line.strip_prefix('!'))
        .collect();
    let mut packages = 0;
    for member in members.0.split('"').skip(1).step_by(2) {
        packages += 1;
        let is_kept = kept.iter().any(|kept| Path::new(member).starts_with(kept));
        ensure!(
            is_kept,
            ".dockerignore leaves out {member}: expected a line !{member}"
        );
    }
    ensure!(packages >= 6, "found {packages} packages in Cargo.toml");
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
        "tests/testkit",
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
