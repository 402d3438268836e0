//! Which generation an event of the history is sent with, so that dedupe lets it through on purpose, and lets
//! it through once.

use common::store::{DeliveryState, DeliveryStatus, Moment};

/// One above what is known of the deliveries that it is about. But what was tried since the replay began, or
/// is due as a repetition that nobody has tried, may be its own doing: sent once more, after a kill or because
/// the history holds the event twice, it has the same generation and is dropped. Nothing known is the first.
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
    if tried_since || untried {
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
        let delivery = |generation, status, attempts, at: Option<_>| DeliveryStatus {
            destination: "crm".to_owned(),
            generation,
            status,
            attempts,
            reason: None,
            error: None,
            last_attempt_at: at.map(Moment),
        };
        let next = |delivery: &DeliveryStatus| next([delivery], Moment(began));
        let delivered = DeliveryState::Delivered;
        assert_eq!(next(&delivery(0, delivered, 1, Some(before))), 1);
        assert_eq!(next(&delivery(2, delivered, 1, Some(before))), 3);
        assert_eq!(next(&delivery(1, delivered, 1, Some(began))), 1);
        assert_eq!(next(&delivery(1, DeliveryState::Due, 0, None)), 1);
        assert_eq!(next(&delivery(0, DeliveryState::Due, 0, None)), 1);
        assert_eq!(super::next([], Moment(began)), 0);
    }
}
