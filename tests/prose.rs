//! The house rules for words that a test can hold: CONTRIBUTING.md, "Words".
//!
//! The test searches only shapes without a good use, so a finding is never a false alarm. The other rules are for
//! readers.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use repository::{read, root};

mod repository;

/// The pages, the comments of settings, and the packages whose comments are read.
const PLACES: [&str; 16] = [
    "README.md",
    "ARCHITECTURE.md",
    "CHANGELOG.md",
    "SECURITY.md",
    "docs",
    "examples",
    "config",
    "deploy",
    "docker-compose.yml",
    "bench",
    "common",
    "console",
    "operate",
    "producer",
    "tests",
    "workers",
];

/// This file quotes the shapes.
const QUOTES: &str = "tests/prose.rs";

/// The files below a place that have prose.
fn files(place: &Path) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    let mut rest = vec![place.to_owned()];
    while let Some(path) = rest.pop() {
        let kind = path.extension().unwrap_or_default();
        if path.is_dir() {
            let entries = fs::read_dir(&path).with_context(|| path.display().to_string())?;
            for entry in entries {
                rest.push(entry?.path());
            }
        } else if ["md", "rs", "toml", "yml", "conf"]
            .iter()
            .any(|it| kind == *it)
        {
            files.push(path);
        }
    }
    Ok(files)
}

/// The paragraphs of a page, or of the comments of a file: the line each begins on, and its words.
fn paragraphs(path: &Path, text: &str) -> Vec<(usize, String)> {
    let marks: &[&str] = match path.extension().and_then(|it| it.to_str()) {
        Some("md") => &[""],
        Some("rs") => &["///", "//!", "//"],
        _ => &["#"],
    };
    let mut paragraphs: Vec<(usize, String)> = Vec::new();
    let mut is_open = false;
    let mut is_code = false;
    for (at, line) in text.lines().enumerate() {
        let line = line.trim_start();
        let prose = marks.iter().find_map(|mark| line.strip_prefix(mark));
        let prose = prose.unwrap_or_default().trim();
        is_code ^= prose.starts_with("```");
        let is_prose = !prose.is_empty() && !is_code && !prose.starts_with("```");
        match paragraphs.last_mut() {
            Some((_, words)) if is_open && is_prose => {
                words.push(' ');
                words.push_str(prose);
            }
            _ if is_prose => paragraphs.push((at + 1, prose.to_owned())),
            _ => {}
        }
        is_open = is_prose;
    }
    paragraphs
}

/// The first word or shape against the rules.
fn wrong(paragraph: &str) -> Option<String> {
    let limits = ["So many ", "So much ", "So long ", "So often "];
    if let Some(limit) = limits.iter().find(|it| paragraph.starts_with(*it)) {
        return Some(format!("{limit:?}: say Maximum, Capacity or How many"));
    }
    let bare = |word: &str| {
        word.trim_matches(|it: char| !it.is_alphanumeric())
            .to_lowercase()
    };
    let words: Vec<String> = paragraph.split_whitespace().map(bare).collect();
    for (at, word) in words.iter().enumerate() {
        let before = at.checked_sub(1).and_then(|at| words.get(at));
        let next = words.get(at + 1).map_or("", String::as_str);
        let after = words.get(at + 2).map_or("", String::as_str);
        let is = matches!(word.as_str(), "is" | "are" | "was" | "were");
        let of_something = before.is_some_and(|it| it == "there" || it == "where" || it == "here");
        let of_degree = [
            "longer", "more", "less", "later", "older", "fewer", "other", "better", "worse",
        ];
        if word == "shall" {
            return Some("shall: say must, may or will".to_owned());
        }
        if is && next == "no" && !of_something && !of_degree.contains(&after) {
            return Some(format!("{word} no {after}: say {word} not"));
        }
        if word == "were"
            && ["it", "he", "they"].contains(&next)
            && before.is_none_or(|it| it != "as")
        {
            return Some(format!("were {next}: say if"));
        }
    }
    None
}

#[test]
fn no_word_is_against_the_house_rules() -> Result<()> {
    let root = root();
    let mut findings = Vec::new();
    let mut number = 0;
    for place in PLACES {
        for path in files(&root.join(place))? {
            let name = path.strip_prefix(&root)?.display().to_string();
            if name == QUOTES {
                continue;
            }
            let text = read(&name)?;
            for (line, paragraph) in paragraphs(&path, &text) {
                number += 1;
                if let Some(wrong) = wrong(&paragraph) {
                    findings.push(format!("{name}:{line}: {wrong}"));
                }
            }
        }
    }
    ensure!(number > 3_000, "only {number} paragraphs were read");
    ensure!(findings.is_empty(), "\n{}", findings.join("\n"));
    Ok(())
}

#[test]
fn each_shape_is_found_and_its_good_neighbour_is_not() {
    for paragraph in [
        "So many may wait at once.",
        "A message that shall wait.",
        "The body is no JSON.",
        "What was kept is no more than a list: these are no events.",
        "A probe holds for ever, were it believed.",
    ] {
        assert!(wrong(paragraph).is_some(), "{paragraph}");
    }
    for paragraph in [
        "How many may wait at once, and so many more.",
        "There is no queue, and it is no longer declared.",
        "None is open, and where there are no letters, nothing is said.",
        "Marshall",
    ] {
        assert_eq!(wrong(paragraph), None, "{paragraph}");
    }
}
