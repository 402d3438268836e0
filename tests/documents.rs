//! The documents' statements about keys, files, tests and versions, held against the project.

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result, ensure};
use common::config;
use repository::{read, root};

mod repository;

/// All files of one kind in these places.
fn files(places: &[PathBuf], kind: &str) -> Result<Vec<PathBuf>> {
    let mut rest = places.to_vec();
    let mut files = Vec::new();
    while let Some(path) = rest.pop() {
        if path.is_dir() {
            for entry in fs::read_dir(&path)? {
                rest.push(entry?.path());
            }
        } else if path.extension().is_some_and(|extension| extension == kind) {
            files.push(path);
        }
    }
    Ok(files)
}

/// Every page: its path and its text.
fn documents() -> Result<Vec<(String, String)>> {
    let places = [
        "README.md",
        "ARCHITECTURE.md",
        "CONTRIBUTING.md",
        "SECURITY.md",
        "CHANGELOG.md",
        "docs",
        "examples",
        "deploy",
    ]
    .map(|page| root().join(page));
    let mut pages = Vec::new();
    for path in files(&places, "md")? {
        let name = path.strip_prefix(root())?.display().to_string();
        pages.push((name, fs::read_to_string(&path)?));
    }
    ensure!(pages.len() > 30, "only {} pages were found", pages.len());
    Ok(pages)
}

#[test]
fn links_between_documents_lead_somewhere() -> Result<()> {
    for (page, text) in documents()? {
        let path = root().join(&page);
        let folder = path.parent().context("a page is in a folder")?;
        for link in text
            .split("](")
            .skip(1)
            .filter_map(|rest| rest.split(')').next())
        {
            let target = link.split('#').next().unwrap_or_default();
            if target.is_empty() || target.contains("://") || target.starts_with("mailto:") {
                continue;
            }
            ensure!(folder.join(target).exists(), "{page} links to {link}");
        }
    }
    Ok(())
}

/// The keys that the loader names in its error about an impossible key: all that exist.
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
        "broker",
        "broker.tls",
        "database",
        "database.tls",
        "log",
        "limits",
        "producer",
        "producer.tls",
        "worker",
        "history",
        "dead",
        "watch",
        "outbound",
    ];
    for section in sections {
        let prefix = section.to_uppercase().replace('.', "__");
        let keys = known_keys(&format!("{prefix}__"))?;
        let is_section = |key: &str| sections.contains(&format!("{section}.{key}").as_str());
        for key in keys.iter().filter(|key| !is_section(key)) {
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
            let key = key.split('.').next().unwrap_or(key);
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
        if ["webhook", "smtp"].contains(&section) || value.is_empty() {
            continue;
        }
        if section == "breaker" {
            let set: config::Breaker = serde_json::from_str(&format!("{{ \"{name}\": {value} }}"))?;
            ensure!(
                set == config::Breaker::default(),
                "the default of {key} is not {value}"
            );
            checked += 1;
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
fn the_steps_for_a_worker_are_written_once() -> Result<()> {
    let pages = documents()?;
    let mut pages = pages
        .iter()
        .filter(|(_, text)| text.contains("**A worker**"));
    let page = pages.next().map(|(name, _)| name.as_str());
    ensure!(page == Some("CONTRIBUTING.md"), "found them in {page:?}");
    let second = pages.next().map(|(name, _)| name);
    ensure!(second.is_none(), "{second:?} has them as well");
    Ok(())
}

#[test]
fn documents_name_files_that_exist() -> Result<()> {
    let folders = [
        "bench/",
        "common/",
        "config/",
        "console/",
        "deploy/",
        "docs/",
        "examples/",
        "migrations/",
        "operate/",
        "producer/",
        "scripts/",
        "tests/",
        "workers/",
    ];
    for (page, text) in documents()? {
        for code in text.split('`').skip(1).step_by(2) {
            let path = code.split_whitespace().next().unwrap_or_default();
            let is_path = folders.iter().any(|folder| path.starts_with(folder));
            // NAME, CODE and NN are placeholders.
            let is_pattern = path.contains(['*', '{', '<', '…'])
                || ["NAME", "CODE"].iter().any(|word| path.contains(word));
            ensure!(
                !is_path || is_pattern || root().join(path).exists(),
                "{page} names {path}, which does not exist"
            );
        }
    }
    Ok(())
}

#[test]
fn every_invariant_names_tests_that_exist() -> Result<()> {
    let page = read("ARCHITECTURE.md")?;
    let (_, rest) = page
        .split_once("\n## Invariants\n")
        .context("ARCHITECTURE.md has no invariants")?;
    let invariants = rest.split("\n## ").next().unwrap_or_default();
    let mut named = 0;
    for code in invariants.split('`').skip(1).step_by(2) {
        if code.ends_with(".rs") && !code.contains('/') {
            let path = format!("tests/e2e/{code}");
            ensure!(root().join(&path).exists(), "{path} does not exist");
            named += 1;
        }
    }
    ensure!(named >= 20, "only {named} tests were found");
    Ok(())
}

#[test]
fn documents_agree_on_the_oldest_postgres() -> Result<()> {
    let session = read("common/src/store/postgres/session.rs")?;
    let version = session
        .split_once("const OLDEST_VERSION: u32 = ")
        .and_then(|(_, rest)| rest.split(';').next())
        .context("the oldest version of PostgreSQL is not found")?;
    let mut named = 0;
    for (page, text) in documents()? {
        for rest in text.split("PostgreSQL ").skip(1) {
            let mut words = rest.split_whitespace();
            let (number, or) = (words.next(), words.next());
            if or == Some("or") && number.is_some_and(|it| it.parse::<u32>().is_ok()) {
                ensure!(
                    number == Some(version),
                    "{page} wants PostgreSQL {number:?}, the program {version}"
                );
                named += 1;
            }
        }
    }
    ensure!(named > 0, "no page says which PostgreSQL is needed");
    let line = format!("oldest_postgresql={version}\n");
    ensure!(
        read("scripts/services")?.contains(&line),
        "scripts/services lacks {line}"
    );
    Ok(())
}

#[test]
fn every_claim_of_the_threat_model_has_its_test() -> Result<()> {
    let page = read("docs/threat-model.md")?;
    let cells = page.lines().filter(|line| line.starts_with("| "));
    let last = cells.filter_map(|line| line.split('|').nth(3));
    let names: BTreeSet<&str> = last
        .flat_map(|cell| cell.split('`').skip(1).step_by(2))
        .collect();
    ensure!(names.len() > 30, "only {} tests are named", names.len());
    let packages = [
        "common", "producer", "operate", "workers", "console", "tests",
    ];
    let sources: Result<String, _> = files(&packages.map(|package| root().join(package)), "rs")?
        .iter()
        .map(fs::read_to_string)
        .collect();
    let sources = sources?;
    for name in names {
        let is_there = [format!("fn {name}("), format!("fn {name}<")]
            .iter()
            .any(|it| sources.contains(it));
        ensure!(
            is_there,
            "docs/threat-model.md names the test {name}, which does not exist"
        );
    }
    Ok(())
}
