//! Files and folders that only their owner may read. Events are personal data, and by default SQLite makes files that
//! every user of the machine may read.

use std::fs::{self, DirBuilder, OpenOptions, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

/// The mode of files.
pub(crate) const FILE: u32 = 0o600;
/// The mode of folders.
const FOLDER: u32 = 0o700;
/// The rights that others must not have.
const OTHERS: u32 = 0o077;

/// The files that SQLite and we keep beside a database.
const BESIDE: [&str; 3] = ["-wal", "-shm", "-turn"];

/// Makes a folder, and missing ones above it, for this user alone. An existing folder stays as it is: it may serve
/// other purposes as well.
///
/// # Errors
/// The folder cannot be made.
pub fn make_private_folder(folder: &Path) -> io::Result<()> {
    DirBuilder::new()
        .recursive(true)
        .mode(FOLDER)
        .create(folder)
}

/// Takes a file or folder from everybody but its owner. If we have no right to do that, it stays as it is.
pub fn make_private(path: &Path) {
    if let Ok(found) = fs::metadata(path)
        && found.permissions().mode() & OTHERS != 0
    {
        let mode = found.permissions().mode() & !OTHERS;
        if let Err(error) = fs::set_permissions(path, Permissions::from_mode(mode)) {
            tracing::debug!(file.path = %path.display(), %error, "others may read a file of ours");
        }
    }
}

/// Makes a missing database file, and leaves it and the files beside it to their owner alone. Files that SQLite adds
/// later have the mode of the database.
pub(super) fn make_private_database(database: &Path) {
    // An error here is an error for SQLite too, which says it better.
    let _ = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(FILE)
        .open(database);
    make_private(database);
    for end in BESIDE {
        let mut beside = database.as_os_str().to_owned();
        beside.push(end);
        make_private(&PathBuf::from(beside));
    }
}
