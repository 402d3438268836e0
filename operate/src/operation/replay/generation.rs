//! The generation that an event of the history is sent with. It makes dedupe let the event through on purpose, and
//! only once.

use common::store::{DeliveryState, DeliveryStatus, Moment};

/// The next generation after the newest delivery; the first generation where there is no delivery.
///
/// A delivery may be the replay's own if it was recorded or tried since the replay began. A repetition that is due
/// and untried may also be its own. Then its generation is used again, and the second copy is dropped. That
/// happens after a kill, and where the history holds an event twice. When a delivery was recorded is told by the
/// clock of the database alone, as the beginning of the replay is.
pub(super) fn next<'d>(
    deliveries: impl IntoIterator<Item = &'d DeliveryStatus>,
    began: Moment,
) -> u32 {
    let Some(newest) = deliveries.into_iter().max_by_key(|it| it.generation) else {
        return 0;
    };
    let tried_since = newest.last_attempt_at.is_some_and(|at| at >= began);
    let untried =
        newest.generation > 0 && newest.status == DeliveryState::Due && newest.attempts == 0;
    if newest.due_at >= began || tried_since || untried {
        newest.generation
    } else {
        newest.generation.saturating_add(1)
    }
}

#[cfg(test)]
mod tests {
    use common::event::now;

    use super::*;

    #[test]
    fn a_second_sending_by_the_same_replay_is_no_new_generation() {
        let (before, began) = (now() - time::Duration::HOUR, now());
        let written = |written_at, generation, status, attempts, at: Option<_>| DeliveryStatus {
            destination: "crm".to_owned(),
            generation,
            status,
            attempts,
            reason: None,
            due_at: Moment(written_at),
            error: None,
            last_attempt_at: at.map(Moment),
        };
        let delivery =
            |generation, status, attempts, at| written(before, generation, status, attempts, at);
        let next = |delivery: &DeliveryStatus| next([delivery], Moment(began));
        let delivered = DeliveryState::Delivered;
        assert_eq!(next(&delivery(0, delivered, 1, Some(before))), 1);
        assert_eq!(next(&delivery(2, delivered, 1, Some(before))), 3);
        assert_eq!(next(&delivery(1, delivered, 1, Some(began))), 1);
        assert_eq!(next(&delivery(1, DeliveryState::Due, 0, None)), 1);
        assert_eq!(next(&delivery(0, DeliveryState::Due, 0, None)), 1);
        // The worker's clock is behind the database's clock.
        assert_eq!(next(&written(began, 0, delivered, 1, Some(before))), 0);
        assert_eq!(next(&written(began, 2, delivered, 1, Some(before))), 2);
        assert_eq!(super::next([], Moment(began)), 0);
    }
}
