//! The check that a file is whole.

use sqlx::Row as _;

use super::{Database, Location};

/// Reads the whole file of an embedded engine and checks that it is sound, changing nothing. Takes as
/// long as reading it does.
///
/// # Errors
/// The fault of the file, and the remedy.
pub async fn check(location: &Location) -> Result<(), String> {
    let database = Database::separate(location);
    let found = database.read(|connection| {
        Box::pin(async move {
            let row = sqlx::query("pragma quick_check(1)")
                .fetch_one(connection)
                .await?;
            Ok(row.try_get::<String, _>(0)?)
        })
    });
    let found = found.await.map_err(|error| error.to_string());
    database.close().await;
    match found?.as_str() {
        "ok" => Ok(()),
        problem => Err(format!("{location}: it is damaged: {problem}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_file_that_was_written_over_is_found() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.db");
        let location = Location::file(&path);
        let database = Database::separate(&location);
        let made = database.write(|connection| {
            Box::pin(async move {
                for statement in [
                    "create table t (a)",
                    "insert into t select hex(randomblob(500)) from json_each('[1,2,3,4,5,6,7,8,9]')",
                ] {
                    sqlx::query(statement).execute(&mut *connection).await?;
                }
                Ok(())
            })
        });
        made.await.unwrap();
        assert_eq!(check(&location).await, Ok(()));
        database.close().await;

        // The pages of the table, not the first one, which holds the file's own header.
        let mut bytes = std::fs::read(&path).unwrap();
        for byte in bytes.iter_mut().skip(4096) {
            *byte = 0xa5;
        }
        std::fs::write(&path, bytes).unwrap();
        let problem = check(&location).await.unwrap_err();
        assert!(problem.contains("x.db"), "{problem}");
    }
}
