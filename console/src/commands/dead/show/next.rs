//! What can be done about a letter, as commands to be pasted into a shell.

use common::reason::{Action, ReasonCode};
use common::store::{DeadLetter, DeadState};
use serde::Serialize;

use crate::shell;

/// One thing that can be done.
#[derive(Debug, Serialize)]
pub(super) struct Next {
    /// What it does.
    pub(super) what: &'static str,
    /// How.
    pub(super) command: String,
}

/// What can be done in the letter's state, the likeliest first.
pub(super) fn next(letter: &DeadLetter) -> Vec<Next> {
    let called = shell::called();
    let next = |what, arguments: String| Next {
        what,
        command: format!("{called} {arguments}"),
    };
    let id = letter.id;
    match letter.state {
        DeadState::Open => {
            let replay = next("send it again", format!("dead replay {id}"));
            let edit = next("mend its body", format!("dead edit {id}"));
            // What is no event yet can lack more than a good body.
            let set = letter.event.is_none().then(|| {
                let example = match letter.reason {
                    ReasonCode::UnknownType => "type=TYPE",
                    _ => "content_type=application/json",
                };
                next(
                    "mend its type, content type, time or routing key",
                    format!("dead edit {id} --set {example}"),
                )
            });
            let discard = next("give it up", format!("dead discard {id} --why TEXT"));
            let alike = next(
                "see what died alike",
                format!(
                    "dead list --state open --queue {} --reason {}",
                    shell::quoted(&letter.queue),
                    letter.reason
                ),
            );
            let edit = std::iter::once(edit).chain(set);
            match letter.reason.action() {
                Action::MendThenReplay => edit.chain([replay, alike, discard]).collect(),
                Action::ReplayWhenFixed => [replay, alike]
                    .into_iter()
                    .chain(edit)
                    .chain([discard])
                    .collect(),
                Action::Look | Action::TellPublisher => [alike, replay]
                    .into_iter()
                    .chain(edit)
                    .chain([discard])
                    .collect(),
                Action::Discard => [discard, alike, replay].into_iter().chain(edit).collect(),
            }
        }
        DeadState::Replaying => {
            let resume = letter.replay.map(|replay| {
                next(
                    "go on with its replay, if that was killed",
                    format!("dead replay --resume {replay}"),
                )
            });
            resume.into_iter().collect()
        }
        DeadState::Replayed | DeadState::Superseded => {
            let event = letter.event;
            let event = event
                .map(|event| next("see where its event stands", format!("events show {event}")));
            event.into_iter().collect()
        }
        DeadState::Discarded => vec![next("open it again", format!("dead restore {id}"))],
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;
    use uuid::Uuid;

    use super::*;
    use crate::args::Cli;
    use operate::testbed;

    #[test]
    fn each_command_is_one_that_there_is() {
        for &reason in ReasonCode::ALL {
            for &state in DeadState::ALL {
                let mut letter = testbed::letter("longshore.integrate.crm");
                (letter.reason, letter.state) = (reason, state);
                letter.replay = Some(Uuid::now_v7());
                let mut told = next(&letter);
                letter.event = None;
                told.extend(next(&letter));
                assert!(!told.is_empty());
                for Next { command, .. } in told {
                    let words = command.split(' ');
                    let parsed = Cli::try_parse_from(words);
                    assert!(parsed.is_ok(), "{command}: {:?}", parsed.err());
                }
            }
        }
    }

    #[test]
    fn what_to_do_first_comes_first() {
        let first = |reason| {
            let mut letter = testbed::letter("longshore.store");
            letter.reason = reason;
            next(&letter).remove(0).what
        };
        assert_eq!(first(ReasonCode::ReceiverFailing), "send it again");
        assert_eq!(first(ReasonCode::ReceiverRefused), "mend its body");
        assert_eq!(first(ReasonCode::ReceiverGone), "give it up");
        assert_eq!(first(ReasonCode::Crashed), "see what died alike");
    }
}
