//! The columns of the tables: others read them.

use common::event::EventId;
use common::store::{Deliveries as _, Details, Events as _, Statuses as _, StoreError};
use sqlx::types::Uuid;
use time::macros::datetime;

use super::Place;
use crate::samples::{at, confirmation, delivered, event, failed, key, signup};

#[tokio::test]
async fn an_attempt_recorded_again_is_one_row_and_another_request_is_another() {
    let place = Place::new();
    let store = place.migrated().await;
    let key = key(EventId::born(), "crm", 0);
    let batch = [failed(&key, 1, 10), failed(&key, 2, 20)];
    store.record_attempts(&batch).await.unwrap();
    store.record_attempts(&batch).await.unwrap();
    // The same number, another request: the event was handed out again.
    store
        .record_attempts(&[delivered(&key, 2, 25)])
        .await
        .unwrap();
    let rows: Vec<(i64, Option<i64>, Option<String>)> = sqlx::query_as(
        r#"SELECT attempt, status_code, error FROM "store-test.delivery_attempts"
        ORDER BY started_at"#,
    )
    .fetch_all(&mut place.connection().await)
    .await
    .unwrap();
    let error = |attempt| Some(format!("answered 503 to attempt {attempt}"));
    assert_eq!(
        rows,
        [
            (1, Some(503), error(1)),
            (2, Some(503), error(2)),
            (2, Some(204), None)
        ]
    );
}

#[tokio::test]
async fn body_and_moments_are_kept_as_they_were() {
    let place = Place::new();
    let store = place.migrated().await;
    let mut event = event();
    event.body =
        "{ \"b\":1.10,\n \"a\":\"\\u0000\\/\\\\\\\"\",\"a\":1e400, \"ü\":\"😀\" }".to_owned();
    event.time = Some(datetime!(2026-11-22 12:00:00.123456789 +2));
    event.received_at = datetime!(2026-11-22 10:00:00 UTC);
    store.store([event.clone()].into()).await.unwrap();
    let (body, time, received): (String, String, String) =
        sqlx::query_as(r#"SELECT body, time, received_at FROM "store-test.events""#)
            .fetch_one(&mut place.connection().await)
            .await
            .unwrap();
    assert_eq!(body, event.body);
    assert_eq!(time, "2026-11-22T10:00:00.123456Z");
    assert_eq!(received, "2026-11-22T10:00:00.000000Z");
}

#[tokio::test]
async fn a_moment_that_cannot_be_written_is_refused_as_data() {
    let place = Place::new();
    let store = place.migrated().await;
    let good = event();
    let mut far = event();
    far.time = Some(datetime!(-0044-03-15 12:00 UTC));
    let refused = store.store([good.clone(), far].into()).await.unwrap_err();
    assert!(matches!(refused, StoreError::Data(_)), "{refused:?}");
    assert_eq!(store.status(good.id).await.unwrap(), None);
}

#[tokio::test]
async fn each_type_has_its_row() {
    let place = Place::new();
    let store = place.migrated().await;
    let signup = signup("Ada@example.com");
    let processing = event();
    let mut plain = event();
    plain.details = Details::None;
    let later = confirmation(signup.id, at(60));
    let first = confirmation(signup.id, at(5));
    store
        .store(
            [
                later,
                first.clone(),
                signup.clone(),
                processing.clone(),
                plain,
            ]
            .into(),
        )
        .await
        .unwrap();
    let mut connection = place.connection().await;
    let signups: Vec<(Uuid, String, String, Option<String>, String)> = sqlx::query_as(
        r#"SELECT event_id, email, email_normalised, plan, attributes FROM "store-test.signups""#,
    )
    .fetch_all(&mut connection)
    .await
    .unwrap();
    assert_eq!(
        signups,
        [(
            signup.id.uuid(),
            "Ada@example.com".to_owned(),
            "ada@example.com".to_owned(),
            None,
            r#"{"a":"b"}"#.to_owned()
        )]
    );
    let tasks: Vec<(Uuid, String)> =
        sqlx::query_as(r#"SELECT event_id, task FROM "store-test.processing""#)
            .fetch_all(&mut connection)
            .await
            .unwrap();
    assert_eq!(tasks, [(processing.id.uuid(), "resize".to_owned())]);
    let confirmed: Vec<(Uuid, String, String, Uuid)> = sqlx::query_as(
        r#"SELECT signup_id, email, confirmed_at, event_id FROM "store-test.confirmations""#,
    )
    .fetch_all(&mut connection)
    .await
    .unwrap();
    let (signup, event) = (signup.id.uuid(), first.id.uuid());
    let opened = "2026-11-22T10:00:05.000000Z".to_owned();
    assert_eq!(
        confirmed,
        [(signup, "ada@example.com".to_owned(), opened, event)]
    );
}

#[tokio::test]
async fn the_tables_and_columns_are_those_of_postgres() {
    let place = Place::new();
    place.migrated().await;
    let found: Vec<(String, String)> = sqlx::query_as(
        "SELECT substr(tables.name, length('store-test.') + 1), columns.name
        FROM sqlite_schema AS tables, pragma_table_info(tables.name) AS columns
        WHERE tables.type = 'table' AND tables.name LIKE 'store-test.%'
              AND tables.name NOT LIKE '%migrations'
        ORDER BY 1, 2",
    )
    .fetch_all(&mut place.connection().await)
    .await
    .unwrap();
    crate::postgres::with_schema(async |namespace| {
        let expected: Vec<(String, String)> = sqlx::query_as(
            "SELECT table_name::text, column_name::text FROM information_schema.columns
            WHERE table_schema = $1 AND table_name <> '_sqlx_migrations'
                  -- What makes a million of them fast to find; here they are counted each time.
                  AND table_name NOT IN ('dead_letter_classes', 'dead_letter_counts',
                                         'dead_letter_errors')
                  AND column_name NOT IN ('class_id', 'error_id', 'fingerprint_id')
            ORDER BY table_name COLLATE \"C\", column_name COLLATE \"C\"",
        )
        .bind(namespace.as_str())
        .fetch_all(&mut crate::postgres::connection(&namespace).await)
        .await
        .unwrap();
        assert_eq!(found, expected);
    })
    .await;
}
