//! Deliveries that are due, and the attempts at them.

use std::sync::Arc;

use common::event::EventId;
use common::store::{DeliveryKey, DeliveryRecord, DeliveryState, Standing};

use crate::engine::Stores;
use crate::samples::{at, delivered, event, failed, key, letter, state_of, states_of};

pub async fn states_come_in_the_order_asked(Stores { store, .. }: Stores) {
    let events = [event(), event(), event()];
    store.store(events.clone().into()).await.unwrap();
    let [first, second, third] = events.map(|event| key(event.id, "crm", 0));
    store
        .record_attempts(&[delivered(&second, 1, 10)])
        .await
        .unwrap();
    let unknown = key(EventId::born(), "crm", 0);
    let elsewhere = key(first.event, "mail", 0);
    let asked = [
        third,
        unknown,
        second.clone(),
        first,
        elsewhere,
        second.clone(),
    ];
    let due = Some(DeliveryState::Due);
    let done = Some(DeliveryState::Delivered);
    assert_eq!(
        states_of(&*store, &asked).await,
        [due, None, done, due, None, done]
    );
}

pub async fn what_was_delivered_stays_delivered(Stores { store, .. }: Stores) {
    let event = event();
    store.store([event.clone()].into()).await.unwrap();
    let key = key(event.id, "crm", 0);
    store.record_attempts(&[failed(&key, 1, 10)]).await.unwrap();
    assert_eq!(state_of(&*store, &key).await, Some(DeliveryState::Due));
    store
        .record_attempts(&[delivered(&key, 2, 20)])
        .await
        .unwrap();
    // Recorded late, and recorded again; and a letter that comes after all.
    store.record_attempts(&[failed(&key, 1, 10)]).await.unwrap();
    store.record_attempts(&[failed(&key, 3, 30)]).await.unwrap();
    store.keep_dead(&[letter(event.id, 0, 40)]).await.unwrap();
    assert_eq!(
        state_of(&*store, &key).await,
        Some(DeliveryState::Delivered)
    );
    let status = store.status(event.id).await.unwrap().unwrap();
    assert_eq!(status.status, Standing::Completed);
    assert_eq!(status.deliveries[0].attempts, 3);
    // Told as it was: delivered 250 ms after the second attempt began.
    let step = status.timeline.iter().find(|step| step.step == "delivered");
    assert_eq!(
        step.map(|step| step.at.0),
        Some(at(20) + time::Duration::milliseconds(250))
    );
}

pub async fn several_attempts_in_one_batch_count_as_several(Stores { store, .. }: Stores) {
    let event = event();
    store.store([event.clone()].into()).await.unwrap();
    let key = key(event.id, "crm", 0);
    let batch = [
        failed(&key, 2, 20),
        failed(&key, 1, 10),
        failed(&key, 2, 20),
        failed(&key, 3, 30),
    ];
    store.record_attempts(&batch).await.unwrap();
    store.record_attempts(&batch[..2]).await.unwrap();
    let status = store.status(event.id).await.unwrap().unwrap();
    let delivery = &status.deliveries[0];
    assert_eq!(delivery.status, DeliveryState::Due);
    assert_eq!(delivery.attempts, 3);
    assert_eq!(delivery.error.as_deref(), Some("answered 503 to attempt 3"));
    assert_eq!(
        delivery.last_attempt_at.map(|moment| moment.0),
        Some(at(30))
    );
}

pub async fn a_record_tells_of_the_last_attempt(Stores { store, .. }: Stores) {
    let event = event();
    store.store([event.clone()].into()).await.unwrap();
    let key = key(event.id, "crm", 0);
    let record = async || store.deliveries(std::slice::from_ref(&key)).await.unwrap()[0].clone();
    let mut expected = DeliveryRecord {
        state: DeliveryState::Due,
        attempts: 0,
        last_status_code: None,
        last_error: None,
    };
    assert_eq!(record().await.as_ref(), Some(&expected));
    let batch = [failed(&key, 1, 10), failed(&key, 2, 20)];
    store.record_attempts(&batch).await.unwrap();
    expected.attempts = 2;
    expected.last_status_code = Some(503);
    expected.last_error = Some("answered 503 to attempt 2".to_owned());
    assert_eq!(record().await, Some(expected));
}

pub async fn only_what_is_due_is_discarded(Stores { store, .. }: Stores) {
    let events = [event(), event()];
    store.store(events.clone().into()).await.unwrap();
    let [due, made] = events.map(|event| key(event.id, "crm", 0));
    let other = key(due.event, "mail", 0);
    let unknown = key(EventId::born(), "crm", 0);
    store
        .record_attempts(&[delivered(&made, 1, 10), failed(&other, 1, 10)])
        .await
        .unwrap();
    let asked = [due.clone(), made.clone(), unknown.clone()];
    store.discard_due(&asked).await.unwrap();
    store.discard_due(&[]).await.unwrap();
    assert_eq!(
        states_of(&*store, &[due, made, unknown, other]).await,
        [
            Some(DeliveryState::Discarded),
            Some(DeliveryState::Delivered),
            None,
            Some(DeliveryState::Due)
        ]
    );
}

pub async fn an_attempt_at_an_unknown_delivery_is_written_down(Stores { store, .. }: Stores) {
    // Somebody else published the event to `stored`.
    let [first, second] = [EventId::born(), EventId::born()].map(|id| key(id, "crm", 0));
    store
        .record_attempts(&[failed(&first, 1, 10), delivered(&second, 1, 10)])
        .await
        .unwrap();
    assert_eq!(
        states_of(&*store, &[first, second]).await,
        [Some(DeliveryState::Due), Some(DeliveryState::Delivered)]
    );
}

pub async fn text_that_a_column_cannot_hold_is_kept_all_the_same(Stores { store, .. }: Stores) {
    let key = key(EventId::born(), "crm", 0);
    let mut attempt = failed(&key, 1, 10);
    attempt.error = Some("a\0b".to_owned());
    attempt.response_excerpt = Some("\0".to_owned());
    store.record_attempts(&[attempt]).await.unwrap();
    let status = store.status(key.event).await.unwrap().unwrap();
    assert_eq!(status.deliveries[0].error.as_deref(), Some("a\u{fffd}b"));
}

/// Many records at once that touch the same deliveries in opposite orders.
pub async fn overlapping_records_at_once_all_succeed(stores: Stores) {
    let keys: Arc<Vec<DeliveryKey>> =
        Arc::new((0..100).map(|_| key(EventId::born(), "crm", 0)).collect());
    let tasks: Vec<_> = (1..=8_u32)
        .map(|task| {
            let stores = stores.clone();
            let keys = Arc::clone(&keys);
            tokio::spawn(async move {
                let store = if task.is_multiple_of(2) {
                    stores.store
                } else {
                    stores.other
                };
                let mut batch: Vec<_> = keys
                    .iter()
                    .map(|key| failed(key, task, task.into()))
                    .collect();
                if task.is_multiple_of(3) {
                    batch.reverse();
                }
                store.record_attempts(&batch).await
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap().expect("no record fails");
    }
    for key in keys.iter() {
        let status = stores.store.status(key.event).await.unwrap().unwrap();
        assert_eq!(status.deliveries[0].attempts, 8);
        assert_eq!(
            status.deliveries[0].error.as_deref(),
            Some("answered 503 to attempt 8")
        );
    }
}
