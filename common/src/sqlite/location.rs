//! The location of a database.

use std::fmt;
use std::path::{Path, PathBuf};

use uuid::Uuid;

/// The beginning of a file's URL.
const SCHEME: &str = "sqlite:";

/// The path in the URL of a database that is not a file.
const MEMORY: &str = ":memory:";

/// The location of a database.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Location {
    /// In a file, beside which SQLite keeps two more (`-wal`, `-shm`) while it is open.
    File(PathBuf),
    /// In the memory of this process, until nobody there uses it any more.
    Memory {
        /// Its name.
        name: String,
    },
}

impl Location {
    /// In a file; neither the file nor its folder needs to exist yet.
    pub fn file(path: impl Into<PathBuf>) -> Self {
        Self::File(path.into())
    }

    /// In memory: another one with each call.
    pub fn memory() -> Self {
        Self::Memory {
            name: Uuid::now_v7().to_string(),
        }
    }

    /// Reads `sqlite:PATH`; `sqlite:///PATH` is taken as well, and `sqlite::memory:NAME` is a database
    /// in memory. A path is taken as it stands: relative to where the program runs, nothing escaped.
    ///
    /// # Errors
    /// The URL is not of this form; with the expected and the found value.
    pub fn from_url(url: &str) -> Result<Self, String> {
        let Some(rest) = url.strip_prefix(SCHEME) else {
            let scheme = url.split(':').next().unwrap_or_default();
            return Err(format!("expected {SCHEME}PATH, found {scheme}:"));
        };
        if let Some(name) = rest.strip_prefix(MEMORY) {
            let name = name.to_owned();
            return Ok(Self::Memory { name });
        }
        let path = rest.strip_prefix("//").unwrap_or(rest);
        if path.is_empty() || path.contains('\0') {
            return Err(format!("expected the path of a file after {SCHEME}"));
        }
        Ok(Self::file(path))
    }

    /// The one form of all the ways to write a file's path, as far as its folder exists.
    pub(super) fn canonical(&self) -> Self {
        let Self::File(path) = self else {
            return self.clone();
        };
        // A link counts as another file than its target until it is followed.
        let known = path.canonicalize().or_else(|_| {
            let absolute = std::path::absolute(path)?;
            match (
                absolute.parent().map(Path::canonicalize),
                absolute.file_name(),
            ) {
                (Some(Ok(folder)), Some(name)) => Ok(folder.join(name)),
                _ => Ok::<_, std::io::Error>(absolute),
            }
        });
        Self::File(known.unwrap_or_else(|_| path.clone()))
    }
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => path.display().fmt(f),
            Self::Memory { .. } => f.write_str("the database in memory"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_names_a_file() {
        for (url, path) in [
            ("sqlite:longshore.db", "longshore.db"),
            ("sqlite:data/a b.db", "data/a b.db"),
            ("sqlite:/var/lib/x.db", "/var/lib/x.db"),
            ("sqlite:///var/lib/x.db", "/var/lib/x.db"),
            ("sqlite:a?b%20c", "a?b%20c"),
        ] {
            assert_eq!(Location::from_url(url), Ok(Location::file(path)), "{url}");
        }
        let memory = Location::from_url("sqlite::memory:x");
        assert_eq!(memory, Ok(Location::Memory { name: "x".into() }));
    }

    #[test]
    fn what_names_no_file_is_refused_without_a_password() {
        for url in [
            "sqlite:",
            "sqlite://",
            "postgres://u:hunter2@h/d",
            "sqlite:a\0b",
        ] {
            let refused = Location::from_url(url).unwrap_err();
            assert!(refused.starts_with("expected"), "{refused}");
            assert!(!refused.contains("hunter2"), "{refused}");
        }
    }

    #[test]
    fn one_file_has_one_form() {
        let folder = tempfile::tempdir().unwrap();
        let plain = Location::file(folder.path().join("x.db"));
        std::fs::create_dir(folder.path().join("sub")).unwrap();
        let around = Location::file(folder.path().join("sub/../x.db"));
        assert_eq!(around.canonical(), plain.canonical());
        assert_ne!(Location::memory(), Location::memory());
    }
}
