//! The files of an embedded engine, and the disk they are on.

use std::path::Path;

use common::config::ServiceUrl;
use common::sqlite::{self, Location};
use rustix::fs::{Access, access, statvfs};

use super::{Finding, Verdict};

/// Less free space than this is worth a look, in bytes.
const LITTLE: u64 = 1 << 30;

/// The file behind `url`, if it leads to one: whether it exists, can be written, has room and is whole. `check` is its
/// name, and `variable` is the setting of its path.
pub async fn look(check: &str, variable: &str, url: &ServiceUrl) -> Vec<Finding> {
    let Some(file) = file(check, variable, url) else {
        return Vec::new();
    };
    let usable = file.verdict < Verdict::Problem;
    let mut findings = vec![file];
    if let Some(path) = url.file().filter(|_| usable)
        && let Err(problem) = sqlite::check(&Location::file(path)).await
    {
        let advice = "stop everything that uses it, and restore it from a backup";
        findings.push(Finding::bad(Verdict::Problem, check, problem, advice));
    }
    findings
}

/// Whether the file is there, can be written and has room.
fn file(check: &str, variable: &str, url: &ServiceUrl) -> Option<Finding> {
    let path = url.file()?;
    let shown = path.display();
    let Ok(metadata) = std::fs::metadata(path) else {
        let advice = format!(
            "start `longshore dev` in this folder (`longshore migrate` and `longshore topology apply` \
             make it too), or set {variable} to where it is"
        );
        let detail = format!("there is no file {shown}");
        return Some(Finding::bad(Verdict::Unreachable, check, detail, advice));
    };
    let folder = match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    // Beside the file SQLite keeps two more while it is open.
    for path in [path, folder] {
        if let Err(error) = access(path, Access::WRITE_OK) {
            let detail = format!("{} cannot be written: {error}", path.display());
            let advice = "let this user write the file and its folder";
            return Some(Finding::bad(Verdict::Problem, check, detail, advice));
        }
    }
    let mut log = path.as_os_str().to_owned();
    log.push("-wal");
    // The last writes are beside the file until they are copied into it.
    let log = std::fs::metadata(log).map_or(0, |log| log.len());
    let size = bytes(metadata.len() + log);
    let free = statvfs(folder).map(|disk| disk.f_bavail.saturating_mul(disk.f_frsize));
    Some(match free {
        Ok(free) if free < LITTLE => Finding::bad(
            Verdict::Look,
            check,
            format!("{shown} has {size}, and only {} are free", bytes(free)),
            "make room: when the disk is full nothing more is taken",
        ),
        Ok(free) => Finding::ok(
            check,
            format!("{shown} has {size}, {} are free", bytes(free)),
        ),
        Err(error) => Finding::bad(
            Verdict::Look,
            check,
            format!("{shown} has {size}; free space is not known: {error}"),
            "see to it that the disk has room",
        ),
    })
}

/// A size for people.
fn bytes(bytes: u64) -> String {
    let units = ["B", "kB", "MB", "GB", "TB"];
    let mut value = bytes as f64;
    let mut unit = 0;
    while value >= 1000.0 && unit + 1 < units.len() {
        value /= 1000.0;
        unit += 1;
    }
    let digits = usize::from(unit > 0 && value < 10.0);
    format!(
        "{value:.digits$} {}",
        units.get(unit).copied().unwrap_or_default()
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url(path: &Path) -> ServiceUrl {
        ServiceUrl::parse(&format!("sqlite:{}", path.display())).unwrap()
    }

    #[test]
    fn a_file_is_looked_at_where_there_is_one() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a b.db");
        let look = || file("database file", "LONGSHORE_DATABASE_URL", &url(&path));
        let missing = look().unwrap();
        assert_eq!(missing.verdict, Verdict::Unreachable);
        let advice = missing.advice.unwrap_or_default();
        assert!(advice.contains("LONGSHORE_DATABASE_URL"), "{advice}");

        std::fs::write(&path, vec![0; 4096]).unwrap();
        let found = look().unwrap();
        assert!(found.verdict <= Verdict::Look, "{found:?}");
        assert!(found.detail.contains("4.1 kB"), "{found:?}");

        let service = ServiceUrl::parse("postgres://h/d").unwrap();
        assert_eq!(file("database file", "", &service), None);
    }

    #[tokio::test]
    async fn a_file_that_is_no_database_is_a_problem() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.db");
        std::fs::write(&path, "this is no database at all ".repeat(100)).unwrap();
        let found = look("database file", "LONGSHORE_DATABASE_URL", &url(&path)).await;
        let problem = found
            .last()
            .map(|it| (it.verdict, it.detail.contains("x.db")));
        assert_eq!(problem, Some((Verdict::Problem, true)), "{found:?}");
    }

    #[test]
    fn sizes_are_short() {
        let cases = [
            (0, "0 B"),
            (999, "999 B"),
            (4096, "4.1 kB"),
            (52_000_000, "52 MB"),
            (u64::MAX, "18446744 TB"),
        ];
        for (size, text) in cases {
            assert_eq!(bytes(size), text);
        }
    }
}
