//! A store without its tables.

use common::event::EventId;
use common::reason::ReasonCode;
use common::store::{DeadFilter, Store, StoreError};

use crate::samples::{delivered, event, key, letter, rejection, replay};

/// Every call on a store that was never migrated says that it has to be.
pub async fn every_call_says_what_to_do(store: &dyn Store) {
    let id = EventId::born();
    let answers = [
        store.ready().await.err(),
        store.store([event()].into()).await.err(),
        store.deliveries(&[key(id, "crm", 0)]).await.err(),
        store
            .record_attempts(&[delivered(&key(id, "crm", 0), 1, 1)])
            .await
            .err(),
        store.keep_dead(&[letter(id, 0, 1)]).await.err(),
        store
            .keep_rejections(&[rejection(id, ReasonCode::Invalid, 1)])
            .await
            .err(),
        store.status(id).await.err(),
        store.event(id).await.err(),
        store.dead_count(&DeadFilter::default()).await.err(),
        store
            .operations()
            .begin_operation(&replay(DeadFilter::default()))
            .await
            .err(),
    ];
    for answer in answers {
        let answer = answer.expect("an error");
        assert!(matches!(answer, StoreError::Schema(_)), "{answer:?}");
        let text = answer.to_string();
        assert!(text.contains("longshore migrate"), "{text}");
    }
}
