//! The meaning of the database's errors: decided here and nowhere else.

use sqlx::error::DatabaseError;
use sqlx::migrate::MigrateError;
use sqlx::postgres::PgDatabaseError;

use crate::store::StoreError;
use crate::tls::{Peer, explain};

/// The kind of an error, by its remedy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// The connection is broken; another one may work.
    Broken,
    /// Another transaction was in the way: the same again may succeed at once.
    Clash,
    /// The database cannot now.
    Unavailable,
    /// The schema is not the one this program knows.
    Schema,
    /// The data is at fault.
    Data,
    /// Our program is at fault.
    Fault,
}

/// The kind of an error.
pub(super) fn kind(error: &sqlx::Error) -> Kind {
    if is_of_statement_pooling(error) {
        return Kind::Schema;
    }
    match error {
        sqlx::Error::Database(error) => of_database(error.as_ref()),
        // Another connection would fail as well.
        sqlx::Error::Io(error) if explain(error, Peer::Database).is_some() => Kind::Unavailable,
        sqlx::Error::Io(_) | sqlx::Error::Protocol(_) => Kind::Broken,
        sqlx::Error::Tls(_)
        | sqlx::Error::PoolTimedOut
        | sqlx::Error::PoolClosed
        | sqlx::Error::WorkerCrashed => Kind::Unavailable,
        sqlx::Error::Encode(_) => Kind::Data,
        // A row that was there a moment ago is gone.
        sqlx::Error::RowNotFound => Kind::Clash,
        _ => Kind::Fault,
    }
}

fn of_database(error: &dyn DatabaseError) -> Kind {
    match error.code().as_deref() {
        Some(LIMIT_EXCEEDED) if is_of_a_row(error) => Kind::Data,
        code => code.map_or(Kind::Fault, of_code),
    }
}

/// Beyond a limit of the program: mostly the database's own (it protects itself against wraparound), but a
/// row or an index entry that is too large has the same code.
const LIMIT_EXCEEDED: &str = "54000";

/// Whether a row exceeded a limit. The functions of the server that say so, in any language.
fn is_of_a_row(error: &dyn DatabaseError) -> bool {
    const BY_A_ROW: [&str; 7] = [
        "RelationGetBufferForTuple",
        "_bt_check_third_page",
        "index_form_tuple_context",
        "index_form_tuple",
        "GinFormTuple",
        "ginHeapTupleFastInsert",
        "convertJsonbObject",
    ];
    let routine = error
        .try_downcast_ref::<PgDatabaseError>()
        .and_then(PgDatabaseError::routine);
    error.constraint().is_some() || routine.is_some_and(|routine| BY_A_ROW.contains(&routine))
}

/// The kind of an SQLSTATE. Only errors that the data itself causes are `Data`: everything that an operator can
/// mend is waited for.
fn of_code(code: &str) -> Kind {
    match code {
        // Ended for standing idle in a transaction; the transaction failed before; a plan or a statement
        // from before a migration; a commit that nobody knows the end of.
        "25P02" | "25P03" | "0A000" | "26000" | "40003" => Kind::Broken,
        // Ended by an operator, by a crash, or for standing idle.
        "57P01" | "57P02" | "57P05" => Kind::Broken,
        // A constraint at the end of the transaction.
        "40002" => Kind::Data,
        // Unknown table, schema or column; no such key to conflict on.
        "42P01" | "3F000" | "42703" | "42P10" => Kind::Schema,
        // The role may not.
        "42501" => Kind::Unavailable,
        // Damaged data, a damaged index.
        "XX001" | "XX002" => Kind::Unavailable,
        // A statement that is too complex for the stack: a value is nested too deeply.
        "54001" => Kind::Data,
        // Too many columns or arguments.
        "54011" | "54023" => Kind::Fault,
        _ => match code.get(..2) {
            Some("08") => Kind::Broken,
            // Serialization failure, deadlock, rolled back.
            Some("40") => Kind::Clash,
            // Read only or in a state that is not for writing; out of a limit of the database's own; out of
            // disk, memory or connections; not in the state for it, or a lock that is not to be had; an
            // operator steps in: shutdown, starting up, timeout; system errors; a broken configuration.
            Some("25" | "54" | "53" | "55" | "57" | "58" | "F0") => Kind::Unavailable,
            // May not log in; no such database; a snapshot that is too old.
            Some("28" | "3D" | "72") => Kind::Unavailable,
            // Data exceptions; constraints; a check of a view.
            Some("22" | "23" | "44") => Kind::Data,
            _ => Kind::Fault,
        },
    }
}

/// The error for the rest of the program. It never repeats the content of a row.
pub(super) fn classify(error: &sqlx::Error) -> StoreError {
    if is_of_statement_pooling(error) {
        return StoreError::Schema(
            "the pooler in front of the database gives every statement to another session, and transactions are \
             needed: set pool_mode = transaction (or session) in it, or give the address of the database itself"
                .to_owned(),
        );
    }
    match kind(error) {
        Kind::Data => StoreError::Data(match error {
            sqlx::Error::Database(error) => about_data(error.as_ref()),
            _ => "a value cannot be written down for it".to_owned(),
        }),
        Kind::Schema => StoreError::Schema(format!(
            "the schema is not the one this program needs ({}): run `longshore migrate`",
            in_words(error)
        )),
        Kind::Broken | Kind::Clash | Kind::Unavailable => StoreError::Unavailable(in_words(error)),
        Kind::Fault => StoreError::Fault(in_words(error)),
    }
}

/// Whether a pooler refuses transactions, as pgbouncer does with `pool_mode = statement`.
fn is_of_statement_pooling(error: &sqlx::Error) -> bool {
    matches!(error, sqlx::Error::Database(error) if error.message().contains("statement pooling"))
}

/// The error of a migration.
pub(super) fn classify_migration(error: MigrateError) -> StoreError {
    match error {
        MigrateError::Execute(error) | MigrateError::ExecuteMigration(error, _) => classify(&error),
        MigrateError::VersionMismatch(version) => StoreError::Schema(format!(
            "migration {version} was applied with another content than this program has: one of the two is no release"
        )),
        MigrateError::Dirty(version) => StoreError::Schema(format!(
            "migration {version} was begun and not ended: mend the schema by hand, then run `longshore migrate`"
        )),
        other => StoreError::Fault(other.to_string()),
    }
}

fn in_words(error: &sqlx::Error) -> String {
    match error {
        // The message alone: the detail may hold the content of a row.
        sqlx::Error::Database(error) => match error.code() {
            Some(code) => format!("{} (SQLSTATE {code}){}", error.message(), advice(error.as_ref())),
            None => error.message().to_owned(),
        },
        sqlx::Error::Io(error) => {
            explain(error, Peer::Database).unwrap_or_else(|| error.to_string())
        }
        sqlx::Error::Tls(error) if error.to_string() == WITHOUT_TLS => {
            "expected a database with TLS, found one without: switch it on there (`ssl = on`); [database.tls] and \
             sslmode in database.url ask for it"
                .to_owned()
        }
        sqlx::Error::PoolTimedOut => "no connection could be had in time".to_owned(),
        other => other.to_string(),
    }
}

/// sqlx's words for a server that refuses TLS.
const WITHOUT_TLS: &str = "server does not support TLS";

/// What to do about a refusal that its message alone does not tell.
fn advice(error: &dyn DatabaseError) -> &'static str {
    match error.code().as_deref() {
        Some("28000") if error.message().contains("client certificate") => {
            ": set database.tls.certificate and database.tls.key"
        }
        _ => "",
    }
}

/// The fault of the data, without the data: even the message may hold that.
fn about_data(error: &dyn DatabaseError) -> String {
    let code = error.code().unwrap_or_default();
    let what = match code.as_ref() {
        "22021" | "22P05" => "a text holds a character that it cannot keep, such as NUL",
        "22P02" => "a text is not in the form of its type",
        "22030" | "22032" => "a text is not valid JSON",
        "22007" | "22008" => "a moment is out of its range",
        "22001" | "22003" => "a value is out of its range",
        code if code.starts_with("54") => "a value is larger than it can take",
        code if code.starts_with("23") => "a constraint is broken",
        _ => "a value is not acceptable",
    };
    let mut text = format!("{what} (SQLSTATE {code}");
    if let Some(table) = error.table() {
        text.push_str(", table ");
        text.push_str(table);
    }
    if let Some(constraint) = error.constraint() {
        text.push_str(", constraint ");
        text.push_str(constraint);
    }
    text.push(')');
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_class_of_errors_has_its_consequence() {
        for (kind, codes) in [
            (Kind::Clash, &["40001", "40P01"][..]),
            (
                Kind::Broken,
                &[
                    "57P01", "57P02", "08006", "08003", "0A000", "40003", "25P02",
                ],
            ),
            (
                Kind::Unavailable,
                &[
                    "57P03", "57014", "53300", "53100", "53200", "25006", "55P03", "55000",
                    "28P01", "3D000", "42501", "58030", "58P01", "54000", "25P04", "57P04",
                    "XX001", "F0000",
                ],
            ),
            (Kind::Schema, &["42P01", "3F000", "42703"]),
            (
                Kind::Data,
                &[
                    "22021", "22P02", "23505", "23514", "54001", "40002", "44000",
                ],
            ),
            (Kind::Fault, &["42601", "XX000", "P0001", "99", ""]),
        ] {
            for code in codes {
                assert_eq!(of_code(code), kind, "{code}");
            }
        }
    }

    #[test]
    fn what_never_was_a_statement_is_told_apart_as_well() {
        let io = sqlx::Error::Io(std::io::ErrorKind::ConnectionReset.into());
        assert_eq!(kind(&io), Kind::Broken);
        assert!(matches!(
            classify(&sqlx::Error::PoolTimedOut),
            StoreError::Unavailable(_)
        ));
        assert!(matches!(
            classify(&sqlx::Error::Encode("too long".into())),
            StoreError::Data(_)
        ));
        assert!(matches!(
            classify(&sqlx::Error::ColumnNotFound("x".to_owned())),
            StoreError::Fault(_)
        ));
    }

    #[test]
    fn a_migration_that_cannot_be_applied_says_what_to_do() {
        let error = classify_migration(MigrateError::Dirty(3)).to_string();
        assert!(error.contains("migration 3"), "{error}");
        assert!(error.contains("longshore migrate"), "{error}");
    }
}
