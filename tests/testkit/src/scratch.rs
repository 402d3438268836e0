//! A folder that goes away with the test, even when the test was killed.

use std::{
    fs,
    path::{Path, PathBuf},
    process,
};

use anyhow::{Context, Result};
use uuid::Uuid;

/// A folder of one test. Removed when dropped; one whose test was killed is removed by a later run.
#[derive(Debug)]
pub struct Scratch {
    path: PathBuf,
}

impl Scratch {
    /// Makes a new folder.
    ///
    /// # Errors
    /// If the temporary directory cannot be written.
    pub fn new() -> Result<Self> {
        let path = base().join(format!("{}-{}", process::id(), Uuid::new_v4().simple()));
        fs::create_dir_all(&path).with_context(|| format!("making {}", path.display()))?;
        Ok(Self { path })
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The folders that processes which no longer run left behind, claimed for the caller: nobody
    /// else is given them, and they are removed when dropped.
    pub(crate) fn abandoned() -> Vec<Self> {
        let Ok(entries) = fs::read_dir(base()) else {
            return Vec::new();
        };
        entries
            .flatten()
            .filter(|entry| owner(&entry.file_name().to_string_lossy()).is_some_and(is_dead))
            .filter_map(|entry| {
                let claimed = base().join(format!("{}-{}", process::id(), Uuid::new_v4().simple()));
                // Renaming is the claim: only one of two sweepers can win it.
                fs::rename(entry.path(), &claimed).ok()?;
                Some(Self { path: claimed })
            })
            .collect()
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // Nothing useful can be done about a failure here; a later run tries again.
        let _ = fs::remove_dir_all(&self.path);
    }
}

/// One folder per user, so that a run as root does not lock out a later run as somebody else.
fn base() -> PathBuf {
    std::env::temp_dir().join(format!(
        "longshore-e2e-{}",
        rustix::process::getuid().as_raw()
    ))
}

fn owner(folder: &str) -> Option<u32> {
    folder.split_once('-')?.0.parse().ok()
}

fn is_dead(pid: u32) -> bool {
    !Path::new(&format!("/proc/{pid}")).exists() && Path::new("/proc/self").exists()
}
