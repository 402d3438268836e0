//! The counts of dead letters: kept by the database itself, for every writer.

use common::event::EventId;
use common::reason::ReasonCode;
use common::store::postgres::PostgresStore;
use common::store::{
    DeadFilter, DeadLetters as _, DeadPage, DeadState, Mending as _, Moment, Schema as _,
};
use sqlx::migrate::Migrator;
use sqlx::{Executor as _, PgConnection};

use super::{config, connection, namespace, with_schema};
use crate::finding::{every, stats_equal_a_recount};
use crate::samples::{at, by_ada, letter, purging};

static MIGRATIONS: Migrator = sqlx_macros::migrate!("../migrations/postgres");

/// The last migration before letters were counted.
const BEFORE_COUNTS: i64 = 20_261_122_000_003;

/// Writes letters as the version before does.
async fn write_as_before(connection: &mut PgConnection) {
    sqlx::query(
        "INSERT INTO dead_letters (dead_letter_id, event_id, queue, stage, destination, generation,
                                   reason, error, attempts, first_failed_at, last_failed_at,
                                   routing_key, properties, headers, body)
        SELECT gen_random_uuid(), gen_random_uuid(), 'q', 'integrate', 'crm', 0, 'receiver_gone',
               'answered 410', 1, $1, $1, 'x', '{}', '{}', ''
        FROM generate_series(1, 10)",
    )
    .bind(at(0))
    .execute(connection)
    .await
    .unwrap();
}

#[tokio::test]
async fn letters_from_before_the_migration_are_counted() {
    let namespace = namespace();
    let store = PostgresStore::new(&config(), &namespace).unwrap();
    let mut connection = connection(&namespace).await;
    let schema = format!("CREATE SCHEMA \"{namespace}\"");
    connection
        .execute(sqlx::AssertSqlSafe(schema))
        .await
        .unwrap();
    let before = MIGRATIONS
        .iter()
        .filter(|one| one.version <= BEFORE_COUNTS)
        .cloned()
        .collect::<Vec<_>>();
    let before = Migrator {
        migrations: before.into(),
        locking: false,
        ..Migrator::DEFAULT
    };
    before
        .run_direct(None, &mut connection, false)
        .await
        .unwrap();
    write_as_before(&mut connection).await;
    store.migrate().await.unwrap();
    let errors: Vec<(String, i64)> =
        sqlx::query_as("SELECT error, letters FROM dead_letter_errors")
            .fetch_all(&mut connection)
            .await
            .unwrap();
    let text = DeadFilter {
        text: Some("410".to_owned()),
        ..DeadFilter::default()
    };
    let with_text = store.dead_count(&text).await.unwrap();
    let groups = store.dead_stats(&DeadFilter::default(), 10).await.unwrap();
    let count = store.dead_count(&DeadFilter::default()).await.unwrap();
    let listed = every(&store, &DeadFilter::default()).await.len();
    store.remove_schema().await.unwrap();
    assert_eq!((count, listed, with_text), (10, 10, 10));
    assert_eq!(errors, [("answered 410".to_owned(), 10)]);
    assert_eq!(groups.len(), 1);
    assert_eq!((groups[0].letters, groups[0].open), (10, 10));
    assert_eq!(groups[0].fingerprint, "answered #");
    assert_eq!(groups[0].reason, ReasonCode::ReceiverGone);
}

#[tokio::test]
async fn what_others_change_is_counted_as_well() {
    with_schema(async |namespace| {
        let store = PostgresStore::new(&config(), &namespace).unwrap();
        let mut connection = connection(&namespace).await;
        write_as_before(&mut connection).await;
        store
            .keep_dead(&[letter(EventId::born(), 0, 5)])
            .await
            .unwrap();
        // An operator with a database client and another search path.
        for change in [
            "UPDATE {}.dead_letters SET state = 'discarded', discarded_at = now(),
                    discarded_by = 'ada', discarded_why = 'x'
             WHERE dead_letter_id IN (SELECT dead_letter_id FROM {}.dead_letters
                                      WHERE queue = 'q' LIMIT 4)",
            "DELETE FROM {}.dead_letters WHERE state = 'discarded'
             AND dead_letter_id IN (SELECT dead_letter_id FROM {}.dead_letters LIMIT 7)",
        ] {
            let change = change.replace("{}", &format!("\"{namespace}\""));
            connection
                .execute("SET search_path = public")
                .await
                .unwrap();
            connection
                .execute(sqlx::AssertSqlSafe(change))
                .await
                .unwrap();
            let listed = every(&store, &DeadFilter::default()).await;
            for &state in DeadState::ALL {
                let filter = DeadFilter {
                    state: Some(state),
                    ..DeadFilter::default()
                };
                let expected = listed.iter().filter(|one| one.state == state).count();
                let count = store.dead_count(&filter).await.unwrap();
                assert_eq!(count, expected as u64, "{state}");
            }
        }
    })
    .await;
}

#[tokio::test]
async fn a_text_in_very_many_errors_is_found_as_well() {
    with_schema(async |namespace| {
        let store = PostgresStore::new(&config(), &namespace).unwrap();
        let letters: Vec<_> = (0..1200)
            .map(|number| {
                let mut letter = letter(EventId::born(), 0, number);
                letter.error = format!(
                    "order {number} is {}",
                    ["late", "lost"][(number % 2) as usize]
                );
                letter
            })
            .collect();
        store.keep_dead(&letters).await.unwrap();
        let late = DeadFilter {
            text: Some("IS LATE".to_owned()),
            ..DeadFilter::default()
        };
        assert_eq!(store.dead_count(&late).await.unwrap(), 600);
        let found = every(&store, &late).await;
        assert_eq!(found.len(), 600);
        assert!(found.iter().all(|one| one.error.ends_with("late")));
        assert!(found.is_sorted_by_key(|one| std::cmp::Reverse(one.last_failed_at)));
        let groups = stats_equal_a_recount(&store, &late).await;
        assert_eq!(groups[0].fingerprint, "order # is late");
    })
    .await;
}

/// Lists, counts and groups tell the same of a text, with other conditions and without.
async fn all_tell_the_same(store: &PostgresStore, text: &str) -> usize {
    let text = DeadFilter {
        text: Some(text.to_owned()),
        ..DeadFilter::default()
    };
    let filters = [
        DeadFilter {
            state: Some(DeadState::Open),
            destination: Some("crm".to_owned()),
            ..text.clone()
        },
        DeadFilter {
            since: Some(Moment(at(500))),
            until: Some(Moment(at(9000))),
            ..text.clone()
        },
        text,
    ];
    let mut found = 0;
    for filter in &filters {
        found = every(store, filter).await.len();
        let counted = store.dead_count(filter).await.unwrap();
        assert_eq!(counted, found as u64, "{filter:?}");
        stats_equal_a_recount(store, filter).await;
    }
    found
}

#[tokio::test]
async fn errors_are_looked_up_where_they_are_few_and_read_where_they_are_many() {
    with_schema(async |namespace| {
        let store = PostgresStore::new(&config(), &namespace).unwrap();
        let letters: Vec<_> = (0..1500)
            .map(|number| {
                let mut letter = letter(EventId::born(), 0, number);
                letter.error = if number < 1200 {
                    format!("order {number} is lost")
                } else {
                    // Three errors of very many letters.
                    format!("answer {} is late", number % 3)
                };
                letter
            })
            .collect();
        store.keep_dead(&letters).await.unwrap();
        for (text, expected) in [
            ("ORDER 1", 311),
            ("order 7", 111),
            ("answer 1", 100),
            ("r 1", 411),
            ("order 1 ", 1),
            ("answer 3", 0),
        ] {
            assert_eq!(all_tell_the_same(&store, text).await, expected, "{text}");
        }
    })
    .await;
}

#[tokio::test]
async fn a_text_in_more_errors_than_are_kept_in_hand_is_found_as_well() {
    with_schema(async |namespace| {
        let store = PostgresStore::new(&config(), &namespace).unwrap();
        let mut connection = connection(&namespace).await;
        sqlx::query(
            "INSERT INTO dead_letters (dead_letter_id, event_id, queue, stage, destination, generation,
                                       reason, error, fingerprint, attempts, first_failed_at,
                                       last_failed_at, routing_key, properties, headers, body)
            SELECT gen_random_uuid(), gen_random_uuid(), 'q', 'integrate', 'crm', 0, 'receiver_gone',
                   'order ' || n || ' is lost', 'order # is lost', 1, died, died, 'x', '{}', '{}', ''
            FROM generate_series(100000, 160000) AS n
            CROSS JOIN LATERAL (VALUES ($1 + n % 10000 * interval '1 second')) AS of_letter (died)",
        )
        .bind(at(0))
        .execute(&mut connection)
        .await
        .unwrap();
        let filter = DeadFilter {
            text: Some("order 1".to_owned()),
            ..DeadFilter::default()
        };
        let others = DeadFilter {
            text: Some("order 16".to_owned()),
            ..DeadFilter::default()
        };
        assert_eq!(store.dead_count(&filter).await.unwrap(), 60_001);
        assert_eq!(store.dead_count(&others).await.unwrap(), 1);
        let first = DeadPage { after: None, limit: 10 };
        assert_eq!(store.dead_page(&filter, first).await.unwrap().len(), 10);
        // A letter without the text, so that they do not match as a whole.
        let mut one = letter(EventId::born(), 0, 1);
        one.error = "order 2 is lost".to_owned();
        store.keep_dead(&[one]).await.unwrap();
        assert_eq!(store.dead_count(&filter).await.unwrap(), 60_001);
        let groups = store.dead_stats(&filter, 10).await.unwrap();
        let letters: Vec<u64> = groups.iter().map(|group| group.letters).collect();
        assert_eq!(letters, [60_001]);
    })
    .await;
}

#[tokio::test]
async fn an_error_that_no_letter_has_any_more_is_forgotten() {
    with_schema(async |namespace| {
        let store = PostgresStore::new(&config(), &namespace).unwrap();
        let (mut one, mut two) = (letter(EventId::born(), 0, 1), letter(EventId::born(), 0, 2));
        one.error = "rare".to_owned();
        two.error = "common".to_owned();
        let mut three = letter(EventId::born(), 0, 3);
        three.error.clone_from(&two.error);
        store
            .keep_dead(&[one.clone(), two.clone(), three])
            .await
            .unwrap();
        let settled = DeadFilter {
            ids: Some(vec![one.id, two.id]),
            ..DeadFilter::default()
        };
        store.discard_dead(&by_ada(settled), 10).await.unwrap();
        let later = time::OffsetDateTime::now_utc() + time::Duration::hours(1);
        assert_eq!(store.purge_dead(later, &purging(), 10).await.unwrap(), 2);
        let errors: Vec<(String, i64)> =
            sqlx::query_as("SELECT error, letters FROM dead_letter_errors")
                .fetch_all(&mut connection(&namespace).await)
                .await
                .unwrap();
        assert_eq!(errors, [("common".to_owned(), 1)]);
        let empty: i64 =
            sqlx::query_scalar("SELECT count(*) FROM dead_letter_counts WHERE letters <= 0")
                .fetch_one(&mut connection(&namespace).await)
                .await
                .unwrap();
        assert_eq!(empty, 0, "nothing is left of hours without letters");
    })
    .await;
}
