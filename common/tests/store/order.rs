//! The order of deliveries at ordered destinations.

use std::time::Duration;

use common::event::{EventId, OrderKey};
use common::store::{
    DeliveryOrder, NewEvent, Ordered, OrderedDelivery, Rank, RankQuestion, Store, Stored,
};
use uuid::Uuid;

use crate::engine::Stores;
use crate::samples::{at, delivered, event, key, letter};

const LONG: Duration = Duration::from_secs(60);

/// An event that was received at this second, kept in order at `crm`.
fn ordered(text: &str, second: i64) -> NewEvent {
    NewEvent {
        received_at: at(second),
        ordered: Some(Ordered {
            key: OrderKey::named(text),
            destinations: vec!["crm".to_owned()],
        }),
        ..event()
    }
}

fn delivery(event: &NewEvent) -> OrderedDelivery {
    OrderedDelivery {
        event: event.id,
        generation: event.generation,
        key: event.ordered.as_ref().unwrap().key,
        received_at: event.received_at,
    }
}

async fn stored<const N: usize>(store: &dyn Store, events: [NewEvent; N]) -> [NewEvent; N] {
    let stored = store.store(events.to_vec().into()).await.unwrap();
    assert_eq!(stored, [Stored::New; N]);
    events
}

fn question(worker: Uuid, within: Duration, hold: Option<Duration>) -> RankQuestion {
    RankQuestion {
        destination: "crm".to_owned(),
        within,
        worker,
        hold,
    }
}

/// Ends a delivery, and gives the next one of its key.
async fn left(order: &dyn DeliveryOrder, ended: OrderedDelivery) -> Option<EventId> {
    let keys = order.leave_order("crm", &[ended]).await.unwrap();
    order.first_of("crm", &keys, &[ended]).await.unwrap()[0]
}

async fn looked(order: &dyn DeliveryOrder, asked: &[OrderedDelivery]) -> Vec<Rank> {
    let question = question(Uuid::now_v7(), Duration::ZERO, None);
    order.ranks(&question, asked).await.unwrap()
}

pub async fn only_the_first_of_a_key_is_made(Stores { store, other }: Stores) {
    let order = store.order();
    // Stored in another order than they were received.
    let [two, other_key] = stored(&*store, [ordered("a", 2), ordered("b", 9)]).await;
    let [one, three] = stored(&*store, [ordered("a", 1), ordered("a", 3)]).await;
    let all = [&two, &three, &one, &other_key].map(delivery);
    let ranks = looked(other.order(), &all).await;
    let expected = [Rank::Behind, Rank::Behind, Rank::First, Rank::First];
    assert_eq!(ranks, expected);
    // One that was due before the destination kept an order gets its place now.
    let [free] = stored(
        &*store,
        [NewEvent {
            ordered: None,
            ..ordered("a", 0)
        }],
    )
    .await;
    let free = OrderedDelivery {
        event: free.id,
        ..all[0]
    };
    assert_eq!(
        looked(order, &[free, all[2]]).await,
        [Rank::First, Rank::Behind]
    );
    assert_eq!(left(order, free).await, Some(one.id));
    // When the first has ended, the next one is the first.
    assert_eq!(left(order, delivery(&one)).await, Some(two.id));
    let due = store.watching().due_of(&[two.id, three.id]).await.unwrap();
    let told = |id| {
        due.iter()
            .find(|it| it.key.event == id)
            .map(|it| (it.is_behind, it.first_at.is_some()))
    };
    assert_eq!(
        (told(two.id), told(three.id)),
        (Some((false, true)), Some((true, false)))
    );
    let made = delivered(&key(one.id, "crm", 0), 1, 5);
    store.record_attempts(&[made]).await.unwrap();
    assert_eq!(
        looked(order, &all).await[..3],
        [Rank::First, Rank::Behind, Rank::Unordered]
    );
    // Told again, as after a crash, it says the same.
    assert_eq!(left(order, delivery(&one)).await, Some(two.id));
    let ended = [delivery(&one), delivery(&other_key), delivery(&one)];
    let keys = ended.map(|it| it.key);
    assert_eq!(order.leave_order("crm", &ended).await, Ok(keys.to_vec()));
    let first = order.first_of("crm", &keys, &ended).await;
    assert_eq!(first, Ok(vec![Some(two.id), None, Some(two.id)]));
    // An edited one may have another key by now.
    let edited = OrderedDelivery {
        key: OrderKey::named("c"),
        ..delivery(&two)
    };
    assert_eq!(left(order, edited).await, Some(three.id));
    assert_eq!(left(order, delivery(&three)).await, None);
}

pub async fn an_earlier_one_may_come_for_a_while(Stores { store, .. }: Stores) {
    let order = store.order();
    let [two] = stored(&*store, [ordered("a", 2)]).await;
    let patient = question(Uuid::now_v7(), LONG, Some(LONG));
    let ranks = order.ranks(&patient, &[delivery(&two)]).await.unwrap();
    assert!(
        matches!(ranks[..], [Rank::Unsettled(wait)] if wait <= LONG && wait > LONG / 2),
        "{ranks:?}"
    );
    let [one] = stored(&*store, [ordered("a", 1)]).await;
    let ranks = looked(order, &[delivery(&two), delivery(&one)]).await;
    assert_eq!(ranks, [Rank::Behind, Rank::First]);
}

pub async fn one_worker_at_a_time_holds_the_first(Stores { store, other }: Stores) {
    let [one, two] = stored(&*store, [ordered("a", 1), ordered("a", 2)]).await;
    let both = [delivery(&one), delivery(&two)];
    let (here, there) = (store.order(), other.order());
    let hold = question(Uuid::now_v7(), Duration::ZERO, Some(LONG));
    let theirs = RankQuestion {
        worker: Uuid::now_v7(),
        ..hold.clone()
    };
    assert_eq!(
        here.ranks(&hold, &both).await,
        Ok(vec![Rank::First, Rank::Behind])
    );
    // Again for the same one.
    assert_eq!(here.ranks(&hold, &both[..1]).await, Ok(vec![Rank::First]));
    for asks in [
        theirs.clone(),
        RankQuestion {
            hold: None,
            ..theirs.clone()
        },
    ] {
        let ranks = there.ranks(&asks, &both).await.unwrap();
        assert!(
            matches!(ranks[..], [Rank::Held(wait), Rank::Behind] if wait <= LONG && wait > LONG / 2),
            "{ranks:?}"
        );
    }
    // Only who holds it lets it go.
    there.let_go("crm", theirs.worker, &[one.id]).await.unwrap();
    assert_ne!(
        there.ranks(&theirs, &both[..1]).await,
        Ok(vec![Rank::First])
    );
    here.let_go("crm", hold.worker, &[one.id]).await.unwrap();
    assert_eq!(
        there.ranks(&theirs, &both[..1]).await,
        Ok(vec![Rank::First])
    );
    // One that died: its time is over.
    let brief = RankQuestion {
        hold: Some(Duration::ZERO),
        ..theirs
    };
    assert_eq!(there.ranks(&brief, &both[..1]).await, Ok(vec![Rank::First]));
    assert_eq!(here.ranks(&hold, &both[..1]).await, Ok(vec![Rank::First]));
}

pub async fn a_replay_takes_its_place_again(Stores { store, .. }: Stores) {
    let order = store.order();
    let [one, two] = stored(&*store, [ordered("a", 1), ordered("a", 2)]).await;
    for ended in [&one, &two] {
        let made = delivered(&key(ended.id, "crm", 0), 1, 5);
        store.record_attempts(&[made]).await.unwrap();
        order.leave_order("crm", &[delivery(ended)]).await.unwrap();
    }
    let again = [&two, &one].map(|event| OrderedDelivery {
        generation: 1,
        ..delivery(event)
    });
    let ended = [&two, &one].map(delivery);
    assert_eq!(looked(order, &ended).await, [Rank::Unordered; 2]);
    // A history replay goes through the store stage.
    let replayed = NewEvent {
        generation: 1,
        ..two.clone()
    };
    assert_eq!(
        store.store([replayed].into()).await,
        Ok(vec![Stored::Before])
    );
    assert_eq!(looked(order, &again[..1]).await, [Rank::First]);
    // The first generation has ended long ago, and says so once more.
    assert_eq!(left(order, delivery(&two)).await, None);
    // One to the destination itself does not, and has not even a row.
    assert_eq!(looked(order, &again).await, [Rank::Behind, Rank::First]);
    assert_eq!(left(order, again[1]).await, Some(two.id));
    // What nobody has stored has no place.
    let unknown = OrderedDelivery {
        event: EventId::born(),
        ..again[0]
    };
    assert_eq!(looked(order, &[unknown]).await, [Rank::Unordered]);
}

pub async fn what_has_ended_otherwise_is_found(Stores { store, .. }: Stores) {
    let order = store.order();
    let [one, two] = stored(&*store, [ordered("a", 1), ordered("a", 2)]).await;
    let [other_key] = stored(&*store, [ordered("b", 3)]).await;
    let ended = async |skips_dead| order.ended_first("crm", skips_dead, 9).await.unwrap();
    assert_eq!(ended(true).await, []);
    // The second has ended, and is not the first.
    store.discard_due(&[key(two.id, "crm", 0)]).await.unwrap();
    assert_eq!(ended(true).await, []);
    store.keep_dead(&[letter(one.id, 0, 9)]).await.unwrap();
    assert_eq!(ended(false).await, [], "it holds the others");
    assert_eq!(ended(true).await, [delivery(&one)]);
    store
        .discard_due(&[key(other_key.id, "crm", 0)])
        .await
        .unwrap();
    assert_eq!(ended(false).await, [delivery(&other_key)]);
    assert_eq!(ended(true).await, [delivery(&one), delivery(&other_key)]);
    assert_eq!(order.ended_first("mail", true, 9).await, Ok(vec![]));
    // One behind another needs no message.
    let due = store.watching().due_of(&[one.id, two.id]).await.unwrap();
    assert!(due.is_empty(), "{due:?}");
    let [first, second] = stored(&*store, [ordered("c", 1), ordered("c", 2)]).await;
    let due = store
        .watching()
        .due_of(&[first.id, second.id])
        .await
        .unwrap();
    let behind: Vec<_> = due
        .iter()
        .filter(|it| it.is_behind)
        .map(|it| it.key.event)
        .collect();
    assert_eq!((due.len(), behind), (2, vec![second.id]));
}

pub async fn a_destination_without_order_gives_its_places_up(Stores { store, .. }: Stores) {
    let order = store.order();
    let [two, one] = stored(&*store, [ordered("a", 2), ordered("a", 1)]).await;
    let both = [delivery(&one), delivery(&two)];
    let crm = ["crm".to_owned()];
    assert_eq!(order.unordered(&crm, Duration::ZERO).await, Ok(vec![]));
    assert_eq!(order.unordered(&[], LONG).await, Ok(vec![]), "too early");
    assert_eq!(order.unordered(&[], Duration::ZERO).await, Ok(crm.to_vec()));
    assert_eq!(order.places("mail", 9).await, Ok(vec![]));
    assert_eq!(order.places("crm", 1).await, Ok(both[..1].to_vec()));
    assert_eq!(order.places("crm", 9).await, Ok(both.to_vec()));
    order.leave_order("crm", &both).await.unwrap();
    assert_eq!(order.places("crm", 9).await, Ok(vec![]));
    let due = store.watching().due_of(&[one.id, two.id]).await.unwrap();
    assert!(
        due.len() == 2 && due.iter().all(|it| !it.is_behind),
        "{due:?}"
    );
}

/// A replay whose letter was opened again has left a place without a row.
pub async fn a_place_counts_by_the_newest_row(Stores { store, .. }: Stores) {
    let order = store.order();
    let [one] = stored(&*store, [ordered("a", 1)]).await;
    store.keep_dead(&[letter(one.id, 0, 9)]).await.unwrap();
    let newer = OrderedDelivery {
        generation: 1,
        ..delivery(&one)
    };
    // Held by the one who makes the attempt, it is left alone.
    let hold = question(Uuid::now_v7(), Duration::ZERO, Some(LONG));
    assert_eq!(order.ranks(&hold, &[newer]).await, Ok(vec![Rank::First]));
    store.discard_due(&[key(one.id, "crm", 1)]).await.unwrap();
    assert_eq!(order.ended_first("crm", true, 9).await, Ok(vec![]));
    order.let_go("crm", hold.worker, &[one.id]).await.unwrap();
    assert_eq!(order.ended_first("crm", false, 9).await, Ok(vec![newer]));
    assert_eq!(left(order, newer).await, None);
}
