//! The columns of the tables: others read them.

use common::event::EventId;
use common::store::postgres::PostgresStore;
use common::store::{Deliveries as _, Details, Events as _};
use sqlx::PgConnection;

use super::{config, connection, with_schema};
use crate::samples::{at, confirmation, delivered, event, failed, key, signup};

#[tokio::test]
async fn an_attempt_recorded_again_is_one_row_and_another_request_is_another() {
    with_schema(async |namespace| {
        let store = PostgresStore::new(&config(), &namespace).unwrap();
        let key = key(EventId::born(), "crm", 0);
        let batch = [failed(&key, 1, 10), failed(&key, 2, 20)];
        store.record_attempts(&batch).await.unwrap();
        store.record_attempts(&batch).await.unwrap();
        // The same number, another request: the event was handed out again.
        store
            .record_attempts(&[delivered(&key, 2, 25)])
            .await
            .unwrap();
        let mut connection = connection(&namespace).await;
        let rows: Vec<(i64, Option<i32>, Option<String>)> = sqlx::query_as(
            "SELECT attempt, status_code, error FROM delivery_attempts ORDER BY started_at",
        )
        .fetch_all(&mut connection)
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
    })
    .await;
}

#[tokio::test]
async fn the_body_is_kept_byte_for_byte() {
    with_schema(async |namespace| {
        let store = PostgresStore::new(&config(), &namespace).unwrap();
        let mut event = event();
        event.body = "{ \"b\":1.10,\n \"a\":\"\\u0000\",\"a\":1e400 }".to_owned();
        store.store([event.clone()].into()).await.unwrap();
        let mut connection = connection(&namespace).await;
        let body: String = sqlx::query_scalar("SELECT body::text FROM events")
            .fetch_one(&mut connection)
            .await
            .unwrap();
        assert_eq!(body, event.body);
    })
    .await;
}

#[tokio::test]
async fn each_type_has_its_row() {
    with_schema(async |namespace| {
        let store = PostgresStore::new(&config(), &namespace).unwrap();
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
        let mut connection = connection(&namespace).await;
        let signups: Vec<(uuid::Uuid, String, String, Option<String>, String)> = sqlx::query_as(
            "SELECT event_id, email, email_normalised, plan, attributes::text FROM signups",
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
        let tasks: Vec<(uuid::Uuid, String)> =
            sqlx::query_as("SELECT event_id, task FROM processing")
                .fetch_all(&mut connection)
                .await
                .unwrap();
        assert_eq!(tasks, [(processing.id.uuid(), "resize".to_owned())]);
        let confirmed: Vec<(uuid::Uuid, String, time::OffsetDateTime, uuid::Uuid)> =
            sqlx::query_as("SELECT signup_id, email, confirmed_at, event_id FROM confirmations")
                .fetch_all(&mut connection)
                .await
                .unwrap();
        let (signup, event) = (signup.id.uuid(), first.id.uuid());
        let row = (signup, "ada@example.com".to_owned(), at(5), event);
        assert_eq!(confirmed, [row]);
        assert_eq!(count(&mut connection).await, 5);
    })
    .await;
}

async fn count(connection: &mut PgConnection) -> i64 {
    sqlx::query_scalar("SELECT count(*) FROM events")
        .fetch_one(connection)
        .await
        .unwrap()
}

#[tokio::test]
async fn every_table_and_column_says_what_it_is() {
    with_schema(async |namespace| {
        let mut connection = connection(&namespace).await;
        let silent: Vec<(String, String)> = sqlx::query_as(
            "SELECT relname::text, attname::text
            FROM pg_class
            JOIN pg_attribute ON attrelid = pg_class.oid AND attnum >= 0 AND NOT attisdropped
            WHERE relnamespace = current_schema()::regnamespace AND relkind = 'r'
                  AND relname <> '_sqlx_migrations'
                  AND col_description(pg_class.oid, attnum) IS NULL",
        )
        .fetch_all(&mut connection)
        .await
        .unwrap();
        assert_eq!(silent, []);
        let tables: Vec<String> = sqlx::query_scalar(
            "SELECT relname::text FROM pg_class
            WHERE relnamespace = current_schema()::regnamespace AND relkind = 'r'
                  AND obj_description(oid, 'pg_class') IS NOT NULL
            ORDER BY 1",
        )
        .fetch_all(&mut connection)
        .await
        .unwrap();
        assert_eq!(
            tables,
            [
                "audit",
                "audit_head",
                "confirmations",
                "dead_letter_classes",
                "dead_letter_counts",
                "dead_letter_edits",
                "dead_letter_errors",
                "dead_letters",
                "deliveries",
                "delivery_attempts",
                "destinations",
                "events",
                "key_revision",
                "keys",
                "leases",
                "operators",
                "ordered_deliveries",
                "processing",
                "rejections",
                "replays",
                "scheduled_events",
                "signups",
                "watch_findings",
                "watch_repairs",
                "workers"
            ]
        );
    })
    .await;
}
