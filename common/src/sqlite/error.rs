//! The meaning of SQLite's errors: decided here and nowhere else.

use std::time::Duration;

use sqlx::error::DatabaseError;

use super::Location;

/// Maximum wait for other processes.
pub(super) const PATIENCE: Duration = Duration::from_secs(10);

/// The reason that the database did not do something. The texts give the remedy and repeat nothing
/// of a row.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Error {
    /// The database cannot do it now: it cannot be opened or written, is full, or another process has it for too
    /// long. Once that is mended the same work will succeed, and nothing is half done.
    #[error("{0}")]
    Unavailable(String),
    /// The file is not a database, or a broken one. A person has to act.
    #[error("{0}")]
    Damaged(String),
    /// A table or column is not there.
    #[error("{0}")]
    Missing(String),
    /// The database refuses a value in the data.
    #[error("{0}")]
    Data(String),
    /// Anything else: a fault of ours.
    #[error("{0}")]
    Fault(String),
}

impl Error {
    /// Whether nothing else in the same transaction can be helped either.
    pub(super) fn is_of_the_database(&self) -> bool {
        matches!(self, Self::Unavailable(_) | Self::Damaged(_))
    }

    /// The error with its place: a person who mends a file needs its name.
    pub(super) fn at(self, location: &Location) -> Self {
        match self {
            Self::Unavailable(text) => Self::Unavailable(format!("{location}: {text}")),
            Self::Damaged(text) => Self::Damaged(format!("{location}: {text}")),
            other => other,
        }
    }
}

impl From<sqlx::Error> for Error {
    fn from(error: sqlx::Error) -> Self {
        match error {
            sqlx::Error::Database(error) => of_code(primary_code(error.as_ref()), error.as_ref()),
            sqlx::Error::Io(error) => Self::Unavailable(error.to_string()),
            sqlx::Error::WorkerCrashed => {
                Self::Unavailable("the thread of the connection has ended".to_owned())
            }
            sqlx::Error::Encode(_) => {
                Self::Data("a value cannot be written down for it".to_owned())
            }
            other => Self::Fault(other.to_string()),
        }
    }
}

/// Whether another connection was in the way, so that the same again may succeed.
pub(super) fn is_busy(error: &sqlx::Error) -> bool {
    matches!(error, sqlx::Error::Database(error) if matches!(primary_code(error.as_ref()), BUSY | LOCKED))
}

/// Whether the file could not be opened at all.
pub(super) fn is_closed_to_us(error: &sqlx::Error) -> bool {
    matches!(error, sqlx::Error::Database(error) if primary_code(error.as_ref()) == CANNOT_OPEN)
}

const ERROR: u32 = 1;
const PERMISSION: u32 = 3;
const BUSY: u32 = 5;
const LOCKED: u32 = 6;
const NO_MEMORY: u32 = 7;
const READ_ONLY: u32 = 8;
const IO: u32 = 10;
const CORRUPT: u32 = 11;
const FULL: u32 = 13;
const CANNOT_OPEN: u32 = 14;
const PROTOCOL: u32 = 15;
const TOO_BIG: u32 = 18;
const CONSTRAINT: u32 = 19;
const MISMATCH: u32 = 20;
const NOT_A_DATABASE: u32 = 26;

/// The result code without SQLite's additions.
fn primary_code(error: &dyn DatabaseError) -> u32 {
    let code: u32 = error
        .code()
        .and_then(|code| code.parse().ok())
        .unwrap_or(ERROR);
    code & 0xff
}

/// The meaning of a result code.
fn of_code(code: u32, error: &dyn DatabaseError) -> Error {
    let message = error.message();
    match code {
        BUSY | LOCKED | PROTOCOL => Error::Unavailable(format!(
            "another process has held it for longer than {PATIENCE:?}"
        )),
        FULL => Error::Unavailable(
            "the disk is full: make room, and the work goes on by itself".to_owned(),
        ),
        READ_ONLY | PERMISSION => Error::Unavailable(format!(
            "it cannot be written ({message}): this user must be able to write the file and its folder"
        )),
        CANNOT_OPEN => Error::Unavailable(format!(
            "it cannot be opened ({message}): this user must be able to write the file and its folder"
        )),
        IO => Error::Unavailable(format!(
            "reading or writing failed ({message}): look after the disk"
        )),
        NO_MEMORY => Error::Unavailable(message.to_owned()),
        CORRUPT | NOT_A_DATABASE => Error::Damaged(format!(
            "this is not a whole database ({message}): restore it from a backup, or move it away to begin with an empty one"
        )),
        // The message names the constraint, not the row.
        CONSTRAINT => Error::Data(format!("a constraint is broken ({message})")),
        TOO_BIG => Error::Data("a value is larger than it can take".to_owned()),
        MISMATCH => Error::Data("a value is not of the type of its column".to_owned()),
        ERROR if is_about_the_schema(message) => Error::Missing(message.to_owned()),
        _ => Error::Fault(format!("{message} (result code {code})")),
    }
}

/// SQLite has one code for all that is wrong with a statement.
fn is_about_the_schema(message: &str) -> bool {
    message.starts_with("no such table")
        || message.starts_with("no such column")
        || message.contains("has no column named")
}
