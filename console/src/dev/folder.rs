//! The folder that holds the data belongs to one `longshore dev` at a time.

use std::collections::BTreeSet;
use std::fs::{File, TryLockError};
use std::io::{Read as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use anyhow::anyhow;
use common::bootstrap::Failure;
use common::config::Config;
use common::sqlite::{make_private, make_private_folder};

/// The file that is locked; it holds the id of the process.
const LOCK: &str = "dev.lock";

/// Folders that are ours until this value is dropped, or until the process ends, however it ends.
#[derive(Debug)]
pub(super) struct Held {
    _locks: Vec<File>,
}

/// Creates the folders of the embedded engines' files and locks them. Another program may use the files all the
/// same (`longshore events show` does). Another `longshore dev` may not.
///
/// # Errors
/// A folder cannot be written, or another process holds it.
pub(super) fn hold(config: &Config) -> Result<Held, Failure> {
    let files = [config.broker.url.file(), config.database.url.file()];
    let folders: BTreeSet<PathBuf> = files.into_iter().flatten().map(folder_of).collect();
    let locks = folders.iter().map(|folder| lock(folder));
    Ok(Held {
        _locks: locks.collect::<Result<_, _>>()?,
    })
}

fn folder_of(file: &Path) -> PathBuf {
    match file.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder.to_owned(),
        _ => PathBuf::from("."),
    }
}

fn lock(folder: &Path) -> Result<File, Failure> {
    let unusable = |error: std::io::Error| {
        let folder = folder.display();
        Failure::Failed(anyhow!(
            "the data cannot be kept in {folder}: {error}; this user must be able to write there, or \
             give another folder with --data"
        ))
    };
    make_private_folder(folder).map_err(unusable)?;
    let path = folder.join(LOCK);
    if is_ours(folder, &path) {
        make_private(folder);
    }
    let mut options = File::options();
    // Not truncated: the file may be another process's.
    let mut file = options
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(&path)
        .map_err(unusable)?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::Error(error)) => return Err(unusable(error)),
        Err(TryLockError::WouldBlock) => return Err(taken(folder, &mut file)),
    }
    file.set_len(0).map_err(unusable)?;
    writeln!(file, "{}", std::process::id()).map_err(unusable)?;
    Ok(file)
}

/// Whether a folder is for our data alone: we have worked in it before, or it is empty. Any other folder keeps its
/// permissions, and only our files in it are closed to others.
fn is_ours(folder: &Path, lock: &Path) -> bool {
    lock.exists() || std::fs::read_dir(folder).is_ok_and(|mut files| files.next().is_none())
}

fn taken(folder: &Path, file: &mut File) -> Failure {
    let mut owner = String::new();
    // Only for a fuller message: the lock is held either way.
    let _ = file.read_to_string(&mut owner);
    let process = match owner.trim() {
        "" => "another process".to_owned(),
        id => format!("process {id}"),
    };
    Failure::Failed(anyhow!(
        "another `longshore dev` ({process}) works with the data in {}; stop it, or give another folder \
         with --data",
        folder.display()
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(folder: &Path) -> Config {
        let mut config = Config::default();
        assert!(crate::data::keep_in(&mut config, folder).unwrap());
        config
    }

    #[test]
    fn a_folder_is_held_once_at_a_time() {
        let folder = tempfile::tempdir().unwrap();
        let config = config(&folder.path().join("not there yet/ü"));
        let held = hold(&config).unwrap();
        let Err(refused) = hold(&config).map(|_| ()) else {
            panic!("held twice");
        };
        let id = std::process::id().to_string();
        assert!(refused.to_string().contains(&id), "{refused}");
        assert_eq!(refused.code(), 1);
        drop(held);
        assert!(hold(&config).is_ok());
    }

    #[test]
    fn nobody_else_may_look_into_the_folder() {
        use std::os::unix::fs::PermissionsExt as _;
        let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
        let open = |path: &Path| {
            std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)).unwrap();
        };
        let folder = tempfile::tempdir().unwrap();
        let new = folder.path().join("new");
        drop(hold(&config(&new)).unwrap());
        assert_eq!((mode(&new), mode(&new.join(LOCK))), (0o700, 0o600));
        open(&new);
        drop(hold(&config(&new)).unwrap());
        assert_eq!(mode(&new), 0o700, "one that was there before");
        // A folder with other files keeps its permissions.
        let theirs = folder.path().join("theirs");
        std::fs::create_dir(&theirs).unwrap();
        std::fs::write(theirs.join("notes"), "").unwrap();
        open(&theirs);
        drop(hold(&config(&theirs)).unwrap());
        assert_eq!((mode(&theirs), mode(&theirs.join(LOCK))), (0o755, 0o600));
    }

    #[test]
    fn a_folder_that_cannot_be_says_which_and_what_to_do() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("file");
        std::fs::write(&file, "").unwrap();
        let Err(refused) = hold(&config(&file)).map(|_| ()) else {
            panic!("a file was taken for a folder");
        };
        let text = refused.to_string();
        assert!(text.contains("file") && text.contains("--data"), "{text}");
    }

    #[test]
    fn without_files_there_is_nothing_to_hold() {
        let owned = |(name, value): (&str, &str)| (name.to_owned(), value.to_owned());
        let urls = [
            ("LONGSHORE_BROKER_URL", "amqp://h"),
            ("LONGSHORE_DATABASE_URL", "postgres://h/d"),
        ];
        let config = common::config::load_from(urls.map(owned)).unwrap();
        assert!(hold(&config).unwrap()._locks.is_empty());
    }
}
