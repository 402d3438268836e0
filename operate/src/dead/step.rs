//! What can be done about a dead letter, the likeliest first.

use common::event::EventId;
use common::reason::{Action, ReasonCode};
use common::store::{DeadLetter, DeadState};
use uuid::Uuid;

/// One thing that can be done about a letter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// Send it again.
    Replay,
    /// Mend its body.
    Edit,
    /// Mend what it lacks to be an event, such as this setting.
    Set(&'static str),
    /// Give it up.
    Discard,
    /// See the letters that died of the same.
    Compare,
    /// Go on with the replay that has claimed it.
    Resume(Uuid),
    /// See where its event stands.
    Follow(EventId),
    /// Open it again.
    Restore,
}

/// What can be done in the letter's state, the likeliest first.
pub fn steps(letter: &DeadLetter) -> Vec<Step> {
    match letter.state {
        DeadState::Open => open(letter),
        DeadState::Replaying => letter.replay.map(Step::Resume).into_iter().collect(),
        DeadState::Replayed | DeadState::Superseded => {
            letter.event.map(Step::Follow).into_iter().collect()
        }
        DeadState::Discarded => vec![Step::Restore],
    }
}

fn open(letter: &DeadLetter) -> Vec<Step> {
    // A message that is not an event yet can lack more than a good body.
    let set = letter.event.is_none().then_some(match letter.reason {
        ReasonCode::UnknownType => Step::Set("type=TYPE"),
        _ => Step::Set("content_type=application/json"),
    });
    let mend = std::iter::once(Step::Edit).chain(set);
    let (first, last): (Vec<Step>, Vec<Step>) = match letter.reason.action() {
        Action::MendThenReplay => (Vec::new(), vec![Step::Replay, Step::Compare, Step::Discard]),
        Action::ReplayWhenFixed => (vec![Step::Replay, Step::Compare], vec![Step::Discard]),
        Action::Look | Action::TellPublisher => {
            (vec![Step::Compare, Step::Replay], vec![Step::Discard])
        }
        Action::Discard => (vec![Step::Discard, Step::Compare, Step::Replay], Vec::new()),
    };
    first.into_iter().chain(mend).chain(last).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testbed;

    #[test]
    fn what_to_do_first_comes_first() {
        let first = |reason| {
            let mut letter = testbed::letter("longshore.store");
            letter.reason = reason;
            steps(&letter).remove(0)
        };
        assert_eq!(first(ReasonCode::ReceiverFailing), Step::Replay);
        assert_eq!(first(ReasonCode::ReceiverRefused), Step::Edit);
        assert_eq!(first(ReasonCode::ReceiverGone), Step::Discard);
        assert_eq!(first(ReasonCode::Crashed), Step::Compare);
    }

    #[test]
    fn what_is_no_event_may_lack_more_than_a_body() {
        let mut letter = testbed::letter("longshore.validate");
        assert!(
            !steps(&letter)
                .iter()
                .any(|step| matches!(step, Step::Set(_)))
        );
        letter.event = None;
        letter.reason = ReasonCode::UnknownType;
        assert!(steps(&letter).contains(&Step::Set("type=TYPE")));
    }
}
