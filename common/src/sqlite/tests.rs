use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::Duration;

use futures_util::future::join_all;
use sqlx::Row as _;
use tempfile::TempDir;

use super::*;

fn place() -> (TempDir, Location) {
    let folder = tempfile::tempdir().unwrap();
    let location = Location::file(folder.path().join("data").join("longshore.db"));
    (folder, location)
}

fn path(location: &Location) -> PathBuf {
    match location {
        Location::File(path) => path.clone(),
        Location::Memory { .. } => panic!("no file"),
    }
}

async fn with_table(database: &Database) {
    database
        .write(|connection| {
            Box::pin(async move {
                sqlx::query("CREATE TABLE IF NOT EXISTS numbers (number INTEGER PRIMARY KEY)")
                    .execute(connection)
                    .await?;
                Ok(())
            })
        })
        .await
        .unwrap();
}

async fn insert(database: &Database, number: i64) -> Result<(), Error> {
    database
        .write(move |connection| {
            Box::pin(async move {
                sqlx::query("INSERT INTO numbers VALUES ($1)")
                    .bind(number)
                    .execute(connection)
                    .await?;
                Ok(())
            })
        })
        .await
}

async fn numbers(database: &Database) -> BTreeSet<i64> {
    database
        .read(|connection| {
            Box::pin(async move {
                Ok(sqlx::query_scalar("SELECT number FROM numbers")
                    .fetch_all(connection)
                    .await?
                    .into_iter()
                    .collect())
            })
        })
        .await
        .unwrap()
}

#[tokio::test]
async fn what_is_written_is_read_in_a_file_and_in_memory() {
    let (_folder, file) = place();
    for location in [file, Location::memory()] {
        let database = Database::shared(&location);
        with_table(&database).await;
        insert(&database, 1).await.unwrap();
        assert_eq!(numbers(&database).await, BTreeSet::from([1]));
        let same = Database::shared(&location);
        assert_eq!(numbers(&same).await, BTreeSet::from([1]));
        // One of two that share the database closes it: the other one notices nothing.
        same.close().await;
        insert(&database, 2).await.unwrap();
        database.close().await;
    }
}

#[tokio::test]
async fn a_commit_is_on_the_disk_and_in_the_log() {
    let (_folder, location) = place();
    let database = Database::shared(&location);
    let settings: Vec<String> =
        database
            .write(|connection| {
                Box::pin(async move {
                    let mut found = Vec::new();
                    for pragma in [
                        "PRAGMA journal_mode",
                        "PRAGMA synchronous",
                        "PRAGMA foreign_keys",
                    ] {
                        let row = sqlx::query(pragma).fetch_one(&mut *connection).await?;
                        found.push(row.try_get::<String, _>(0).or_else(|_| {
                            row.try_get::<i64, _>(0).map(|number| number.to_string())
                        })?);
                    }
                    Ok(found)
                })
            })
            .await
            .unwrap();
    assert_eq!(settings, ["wal", "2", "1"]);
}

#[tokio::test]
async fn what_fails_fails_alone() {
    let database = Database::shared(&Location::memory());
    with_table(&database).await;
    insert(&database, 7).await.unwrap();
    // All are queued before the first is begun, so they are in one transaction.
    let outcomes = join_all((0..20).map(|number| insert(&database, number))).await;
    for (number, outcome) in outcomes.into_iter().enumerate() {
        match outcome {
            Ok(()) => assert_ne!(number, 7),
            Err(error) => {
                assert_eq!(number, 7);
                assert!(matches!(error, Error::Data(_)), "{error:?}");
            }
        }
    }
    assert_eq!(numbers(&database).await.len(), 20);
}

#[tokio::test]
async fn half_of_a_failed_piece_of_work_is_rolled_back() {
    let database = Database::shared(&Location::memory());
    with_table(&database).await;
    let half = || {
        database.write::<(), _>(|connection| {
            Box::pin(async move {
                sqlx::query("INSERT INTO numbers VALUES (100)")
                    .execute(&mut *connection)
                    .await?;
                Err(Error::Fault("on purpose".to_owned()))
            })
        })
    };
    half().await.unwrap_err();
    assert_eq!(numbers(&database).await, BTreeSet::new());
    let (failed, inserted) = futures_util::future::join(half(), insert(&database, 1)).await;
    assert_eq!(failed, Err(Error::Fault("on purpose".to_owned())));
    inserted.unwrap();
    assert_eq!(numbers(&database).await, BTreeSet::from([1]));
}

#[tokio::test]
async fn a_panic_is_the_fault_of_one() {
    let database = Database::shared(&Location::memory());
    with_table(&database).await;
    let panics = database.write::<(), _>(|_| Box::pin(async { panic!("on purpose") }));
    let (panicked, inserted) = futures_util::future::join(panics, insert(&database, 1)).await;
    assert!(matches!(panicked, Err(Error::Fault(_))), "{panicked:?}");
    inserted.unwrap();
    insert(&database, 2).await.unwrap();
}

#[tokio::test]
async fn what_is_begun_ends_without_its_caller() {
    let (_folder, location) = place();
    let database = Database::shared(&location);
    with_table(&database).await;
    for number in 0..50 {
        let patience = Duration::from_micros(number * 100);
        let number = i64::try_from(number).unwrap();
        let _ = tokio::time::timeout(patience, insert(&database, number)).await;
    }
    insert(&database, 1000).await.unwrap();
    assert_eq!(numbers(&database).await.len(), 51);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_who_write_without_a_pause_take_turns() {
    let (_folder, location) = place();
    let databases = [(); 2].map(|()| Arc::new(Database::separate(&location)));
    with_table(&databases[0]).await;
    let tasks = (0..8_i64).map(|task| {
        let database = Arc::clone(&databases[usize::try_from(task % 2).unwrap()]);
        tokio::spawn(async move {
            for number in 0..50 {
                insert(&database, task * 1000 + number)
                    .await
                    .expect("its turn comes");
            }
        })
    });
    for ended in join_all(tasks).await {
        ended.unwrap();
    }
    for database in &databases {
        assert_eq!(numbers(database).await.len(), 400);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_can_open_a_new_file_at_once() {
    let (_folder, location) = place();
    let opened = (0..8).map(|_| {
        let database = Database::separate(&location);
        async move { with_table(&database).await }
    });
    join_all(opened).await;
}

#[tokio::test]
async fn a_full_disk_leaves_nothing_half_done_and_is_got_over() {
    let (_folder, location) = place();
    let database = Database::shared(&location);
    database
        .write(|connection| {
            Box::pin(async move {
                sqlx::raw_sql("CREATE TABLE texts (text TEXT); PRAGMA max_page_count = 40")
                    .execute(connection)
                    .await?;
                Ok(())
            })
        })
        .await
        .unwrap();
    let fill = |times: i64| {
        database.write(move |connection| {
            Box::pin(async move {
                for _ in 0..times {
                    sqlx::query("INSERT INTO texts VALUES (hex(zeroblob(4000)))")
                        .execute(&mut *connection)
                        .await?;
                }
                Ok(())
            })
        })
    };
    fill(5).await.unwrap();
    let full = fill(100).await.unwrap_err();
    assert!(
        matches!(&full, Error::Unavailable(text) if text.contains("disk is full")),
        "{full:?}"
    );
    assert!(full.to_string().contains("longshore.db"), "{full}");
    let count = || {
        database.read(|connection| {
            Box::pin(async move {
                Ok(sqlx::query_scalar::<_, i64>("SELECT count(*) FROM texts")
                    .fetch_one(connection)
                    .await?)
            })
        })
    };
    assert_eq!(count().await, Ok(5));
    fill(5).await.expect("there is room for this much");
    assert_eq!(count().await, Ok(10));
}

#[tokio::test]
async fn what_cannot_be_opened_says_why_and_can_be_mended() {
    let folder = tempfile::tempdir().unwrap();
    let blocked = folder.path().join("no-folder");
    std::fs::write(&blocked, "").unwrap();
    let location = Location::file(blocked.join("longshore.db"));
    let database = Database::shared(&location);
    for answer in [
        insert(&database, 1).await,
        database.read(|_| Box::pin(async { Ok(()) })).await,
        database.probe(|_| Box::pin(async { Ok(()) })).await,
    ] {
        let error = answer.unwrap_err();
        assert!(matches!(error, Error::Unavailable(_)), "{error:?}");
        assert!(error.to_string().contains("no-folder"), "{error}");
    }
    std::fs::remove_file(&blocked).unwrap();
    with_table(&database).await;
    insert(&database, 1).await.unwrap();

    let database = Database::shared(&Location::file(folder.path()));
    let error = insert(&database, 1).await.unwrap_err();
    assert!(
        matches!(&error, Error::Unavailable(text) if text.contains("directory")),
        "{error:?}"
    );
}

#[tokio::test]
async fn a_file_that_is_no_database_is_left_alone() {
    let (_folder, location) = place();
    let file = path(&location);
    std::fs::create_dir_all(file.parent().unwrap()).unwrap();
    let letter = "Dear Ada,\n".repeat(1000);
    std::fs::write(&file, &letter).unwrap();
    let database = Database::shared(&location);
    for answer in [
        insert(&database, 1).await,
        database.probe(|_| Box::pin(async { Ok(()) })).await,
    ] {
        let error = answer.unwrap_err();
        assert!(
            matches!(&error, Error::Damaged(text) if text.contains("backup")),
            "{error:?}"
        );
    }
    assert_eq!(std::fs::read_to_string(&file).unwrap(), letter);
}

#[tokio::test]
async fn a_corrupt_page_is_told_from_a_fault_of_ours() {
    let (_folder, location) = place();
    let database = Database::shared(&location);
    with_table(&database).await;
    insert(&database, 1).await.unwrap();
    database.close().await;
    let file = path(&location);
    let mut bytes = std::fs::read(&file).unwrap();
    let second_page = 4096;
    assert!(
        bytes.len() > second_page,
        "closing copies the log into the file"
    );
    bytes[second_page..].fill(0xa5);
    std::fs::write(&file, bytes).unwrap();
    let error = insert(&Database::shared(&location), 2).await.unwrap_err();
    assert!(matches!(error, Error::Damaged(_)), "{error:?}");
}

#[tokio::test]
async fn a_missing_table_is_told_apart() {
    let database = Database::shared(&Location::memory());
    let error = insert(&database, 1).await.unwrap_err();
    assert!(
        matches!(&error, Error::Missing(text) if text.contains("numbers")),
        "{error:?}"
    );
}

#[tokio::test]
async fn nobody_else_may_read_the_files() {
    use std::os::unix::fs::PermissionsExt as _;
    let modes = |location: &Location| {
        let Location::File(path) = location else {
            panic!("no file")
        };
        let files = std::fs::read_dir(path.parent().unwrap()).unwrap();
        let mode = |file: std::io::Result<std::fs::DirEntry>| {
            let file = file.unwrap();
            let mode = file.metadata().unwrap().permissions().mode() & 0o777;
            (file.file_name().into_string().unwrap(), mode)
        };
        files
            .map(mode)
            .collect::<std::collections::BTreeMap<_, _>>()
    };
    let (folder, location) = place();
    let write = async || {
        let database = Database::separate(&location);
        let table = "CREATE TABLE IF NOT EXISTS t (x)";
        let written = database.write(move |connection| {
            Box::pin(async move {
                sqlx::query(table).execute(connection).await?;
                Ok(())
            })
        });
        written.await.unwrap();
        database
    };
    let open = write().await;
    let found = modes(&location);
    assert!(
        found.len() >= 4 && found.values().all(|mode| *mode == 0o600),
        "{found:?}"
    );
    let data = std::fs::metadata(folder.path().join("data")).unwrap();
    assert_eq!(data.permissions().mode() & 0o777, 0o700);

    // Files of an earlier version too.
    for name in found.keys() {
        let path = folder.path().join("data").join(name);
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o644)).unwrap();
    }
    write().await.close().await;
    let found = modes(&location);
    assert!(found.values().all(|mode| *mode == 0o600), "{found:?}");
    open.close().await;
}
