//! Pauses of destinations.

use common::store::{AuditAction, AuditFilter, NewPause};

use crate::audit::{entries, verify};
use crate::engine::Stores;
use crate::samples::act;

fn pause(destination: &str, why: &str) -> NewPause {
    NewPause {
        destination: destination.to_owned(),
        by: "cli:ada".to_owned(),
        why: why.to_owned(),
    }
}

pub async fn a_pause_is_known_everywhere_until_it_is_resumed(Stores { store, other }: Stores) {
    let destinations = store.destinations();
    assert_eq!(destinations.paused_destinations().await, Ok(vec![]));
    let act_of = |action| act(action, "destination:crm");
    let (pausing, resuming) = (
        act_of(AuditAction::DestinationPause),
        act_of(AuditAction::DestinationResume),
    );
    let begun = destinations
        .pause_destination(&pause("crm", "their deploy"), Some(&pausing))
        .await
        .unwrap();
    assert_eq!(
        (&*begun.name, &*begun.paused_by, &*begun.paused_why),
        ("crm", "cli:ada", "their deploy")
    );
    let seen = other.destinations().paused_destinations().await;
    assert_eq!(seen, Ok(vec![begun.clone()]));
    let resumed = other
        .destinations()
        .resume_destination("crm", &resuming)
        .await;
    assert_eq!(resumed, Ok(Some(begun)));
    assert_eq!(destinations.paused_destinations().await, Ok(vec![]));
    // It can be paused anew.
    let more = pause("crm", "once more");
    let again = destinations.pause_destination(&more, Some(&pausing)).await;
    assert_eq!(again.unwrap().paused_why, "once more");
    assert_eq!(verify(&*store).await, 3);
}

pub async fn a_pause_that_holds_stays_and_leaves_one_entry(Stores { store, .. }: Stores) {
    let destinations = store.destinations();
    let pausing = act(AuditAction::DestinationPause, "destination:crm");
    let resuming = act(AuditAction::DestinationResume, "destination:crm");
    let first = destinations
        .pause_destination(&pause("crm", "first"), Some(&pausing))
        .await
        .unwrap();
    let second = destinations
        .pause_destination(&pause("crm", "second"), Some(&pausing))
        .await;
    assert_eq!(second, Ok(first.clone()));
    // A receiver that is gone pauses its destination without an operator.
    let gone = destinations
        .pause_destination(&pause("billing", "gone"), None)
        .await
        .unwrap();
    assert_eq!(
        destinations.paused_destinations().await,
        Ok(vec![gone, first])
    );
    for (name, is_paused) in [("crm", true), ("crm", false), ("mail", false)] {
        let resumed = destinations.resume_destination(name, &resuming).await;
        assert_eq!(resumed.map(|it| it.is_some()), Ok(is_paused), "{name}");
    }
    let found = entries(&*store, &AuditFilter::default()).await;
    let told: Vec<_> = found
        .iter()
        .map(|entry| {
            let told = serde_json::to_value(entry).unwrap();
            (entry.action.clone(), told["after"]["paused"].clone())
        })
        .collect();
    assert_eq!(
        told,
        [
            ("destination.resume".to_owned(), false.into()),
            ("destination.pause".to_owned(), true.into())
        ]
    );
}
