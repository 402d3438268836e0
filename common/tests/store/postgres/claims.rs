//! Claims of a replay that looks for a text.

use common::event::EventId;
use common::store::postgres::PostgresStore;
use common::store::{DeadFilter, Store as _};

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
        store.begin_replay(&one).await.unwrap();
        let mut claimed = store.claim_dead(one.id, 1).await.unwrap();
        // This one was on its way when the replay began, and is there only now.
        store.keep_dead(&late).await.unwrap();
        sqlx::query(
            "UPDATE dead_letters SET archived_at = archived_at - interval '1 hour'
            WHERE dead_letter_id = $1",
        )
        .bind(late[0].id)
        .execute(&mut connection(&namespace).await)
        .await
        .unwrap();
        loop {
            let more = store.claim_dead(one.id, 1).await.unwrap();
            if more.is_empty() {
                break;
            }
            claimed.extend(more);
        }
        let claimed: Vec<_> = claimed.iter().map(|letter| letter.id).collect();
        assert_eq!(claimed, [letters[0].id, letters[1].id, late[0].id]);
    })
    .await;
}
