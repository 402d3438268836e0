//! The claims of a replay in the end, and the marks of its sent letters.

use std::time::Duration;

use common::event::EventId;
use common::store::postgres::PostgresStore;
use common::store::{
    DeadFilter, DeadLetter, DeadLetters as _, OperationState, Schema as _, Store as _,
};
use sqlx::PgConnection;
use uuid::Uuid;

use super::{config, connection, with_schema};
use crate::samples::{letter, replay};

#[tokio::test]
async fn a_replay_of_a_text_sends_what_was_kept_as_it_began_with_whatever_error() {
    with_schema(async |namespace| {
        let store = PostgresStore::new(&config(), &namespace).unwrap();
        let mut letters: Vec<_> = (0..4)
            .map(|number| {
                let mut letter = letter(EventId::born(), 0, number);
                letter.error = format!("order {} is lost", [11, 12, 25, 13][number as usize]);
                letter
            })
            .collect();
        let late = letters.split_off(3);
        store.keep_dead(&letters).await.unwrap();
        let one = replay(DeadFilter {
            text: Some("order 1".to_owned()),
            ..DeadFilter::default()
        });
        store.operations().begin_operation(&one).await.unwrap();
        let mut claimed = store.operations().claim_dead(one.id, 1).await.unwrap();
        // This letter was on its way when the replay began, and is there only now.
        store.keep_dead(&late).await.unwrap();
        sqlx::query(
            "UPDATE dead_letters SET archived_at = archived_at - interval '1 hour'
            WHERE dead_letter_id = $1",
        )
        .bind(late[0].id)
        .execute(&mut connection(&namespace).await)
        .await
        .unwrap();
        claimed.extend(the_rest(&store, one.id).await);
        let claimed: Vec<_> = claimed.iter().map(|letter| letter.id).collect();
        assert_eq!(claimed, [letters[0].id, letters[1].id, late[0].id]);
    })
    .await;
}

#[tokio::test]
async fn an_older_letter_that_is_given_back_meanwhile_is_claimed_as_well() {
    with_schema(async |namespace| {
        let store = PostgresStore::new(&config(), &namespace).unwrap();
        let other = PostgresStore::new(&config(), &namespace).unwrap();
        let letters: Vec<_> = (0..3)
            .map(|number| letter(EventId::born(), 0, number))
            .collect();
        store.keep_dead(&letters).await.unwrap();
        let (ours, theirs) = (replay(DeadFilter::default()), replay(DeadFilter::default()));
        store.operations().begin_operation(&ours).await.unwrap();
        other.operations().begin_operation(&theirs).await.unwrap();
        let mut claimed = Vec::new();
        assert_eq!(
            other
                .operations()
                .claim_dead(theirs.id, 1)
                .await
                .unwrap()
                .len(),
            1
        );
        claimed.extend(store.operations().claim_dead(ours.id, 1).await.unwrap());
        other
            .operations()
            .end_operation(theirs.id, OperationState::Stopped)
            .await
            .unwrap();
        claimed.extend(the_rest(&store, ours.id).await);
        let claimed: Vec<_> = claimed.iter().map(|letter| letter.id).collect();
        assert_eq!(claimed, [letters[1].id, letters[2].id, letters[0].id]);
    })
    .await;
}

#[tokio::test]
async fn what_was_sent_is_marked_without_a_look_at_all_that_the_replay_has_sent_before() {
    const LETTERS: usize = 1000;
    with_schema(async |namespace| {
        let store = PostgresStore::new(&config(), &namespace).unwrap();
        let letters: Vec<_> = (0..LETTERS as i64)
            .map(|number| letter(EventId::born(), 0, number))
            .collect();
        store.keep_dead(&letters).await.unwrap();
        // By these figures no letter is of any replay, and to look for those of one seems to cost nothing.
        let mut connection = connection(&namespace).await;
        sqlx::query("ANALYZE dead_letters")
            .execute(&mut connection)
            .await
            .unwrap();
        let all = replay(DeadFilter::default());
        store.operations().begin_operation(&all).await.unwrap();
        let claimed = store
            .operations()
            .claim_dead(all.id, LETTERS as u32)
            .await
            .unwrap();
        let claimed: Vec<_> = claimed.iter().map(|letter| letter.id).collect();
        assert_eq!(claimed.len(), LETTERS);
        for batch in claimed.chunks(50) {
            store
                .operations()
                .mark_replayed(all.id, batch)
                .await
                .unwrap();
        }
        let marked = store
            .operations()
            .operation(all.id)
            .await
            .unwrap()
            .unwrap()
            .replayed;
        assert_eq!(marked, LETTERS as u64);
        // A session reports its reads at its end, if not before.
        store.close().await;
        while read_by(&mut connection, "dead_letters_pkey").await < LETTERS as i64 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        assert_eq!(read_by(&mut connection, "dead_letters_replay_idx").await, 0);
    })
    .await;
}

/// Claims one letter after another until none is left.
async fn the_rest(store: &PostgresStore, replay: Uuid) -> Vec<DeadLetter> {
    let mut claimed = Vec::new();
    loop {
        let more = store.operations().claim_dead(replay, 1).await.unwrap();
        if more.is_empty() {
            return claimed;
        }
        claimed.extend(more);
    }
}

/// How many entries of an index were read so far.
async fn read_by(connection: &mut PgConnection, index: &str) -> i64 {
    sqlx::query_scalar(
        "SELECT idx_tup_read FROM pg_stat_user_indexes
        WHERE schemaname = current_schema() AND indexrelname = $1",
    )
    .bind(index)
    .fetch_one(connection)
    .await
    .unwrap()
}
