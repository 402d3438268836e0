//! The next steps for a letter, as commands for a shell.

use operate::dead::{Step, Story};
use serde::Serialize;

use crate::shell;

/// One possible step.
#[derive(Debug, Serialize)]
pub(super) struct Next {
    /// The effect of the step.
    pub(super) what: &'static str,
    /// The command to paste into a shell.
    pub(super) command: String,
}

/// The command of a step.
pub(super) fn next(step: &Step, story: &Story) -> Next {
    let id = story.id;
    let (what, arguments) = match step {
        Step::Replay => ("send it again", format!("dead replay {id}")),
        Step::Edit => ("mend its body", format!("dead edit {id}")),
        Step::Set(example) => (
            "mend its type, content type, time or routing key",
            format!("dead edit {id} --set {example}"),
        ),
        Step::Discard => ("give it up", format!("dead discard {id} --why TEXT")),
        Step::Compare => (
            "see what died alike",
            format!(
                "dead list --state open --queue {} --reason {}",
                shell::quoted(&story.queue),
                story.reason
            ),
        ),
        Step::Resume(replay) => (
            "go on with its replay, if that was killed",
            format!("dead replay --resume {replay}"),
        ),
        Step::Follow(event) => ("see where its event stands", format!("events show {event}")),
        Step::Restore => ("open it again", format!("dead restore {id}")),
    };
    let command = format!("{} {arguments}", shell::called());
    Next { what, command }
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;
    use common::reason::ReasonCode;
    use common::store::DeadState;
    use operate::testbed;
    use uuid::Uuid;

    use super::*;
    use crate::args::Cli;

    #[test]
    fn each_command_is_one_that_there_is() {
        for &reason in ReasonCode::ALL {
            for &state in DeadState::ALL {
                let mut story = testbed::story();
                (story.letter.reason, story.letter.state) = (reason, state);
                story.letter.replay = Some(Uuid::now_v7());
                let mut bare = story.clone();
                bare.letter.event = None;
                let stories = [story, bare].map(|story| Story::of(story, None));
                let told = stories.iter();
                let told = told.flat_map(|it| it.steps.iter().map(|step| next(step, it)));
                let told: Vec<Next> = told.collect();
                assert!(!told.is_empty());
                for Next { command, .. } in told {
                    let words = command.split(' ');
                    let parsed = Cli::try_parse_from(words);
                    assert!(parsed.is_ok(), "{command}: {:?}", parsed.err());
                }
            }
        }
    }
}
