//! Asks before an action that is bulk or cannot be undone.

use std::io::{BufRead, IsTerminal as _, Write as _};

use common::bootstrap::Failure;

/// Returns once `what` ("delete 21 queues") is confirmed: by `--yes`, or by the user at the terminal.
///
/// # Errors
/// There is no terminal to ask on, or the user refused.
pub(crate) fn confirm(what: &str, yes: bool) -> Result<(), Failure> {
    let terminal = std::io::stdin().is_terminal() && std::io::stderr().is_terminal();
    if terminal && !yes {
        // Where the question cannot be shown, the answer is still waited for.
        let _ = write!(std::io::stderr(), "{what}? [y/N] ");
    }
    decide(what, yes, terminal, &mut std::io::stdin().lock())
}

fn decide(
    what: &str,
    yes: bool,
    terminal: bool,
    answers: &mut impl BufRead,
) -> Result<(), Failure> {
    if yes {
        return Ok(());
    }
    if !terminal {
        return Err(Failure::Usage(format!(
            "expected --yes, since there is no terminal to ask on: {what}"
        )));
    }
    let mut answer = String::new();
    answers
        .read_line(&mut answer)
        .map_err(anyhow::Error::from)?;
    match answer.trim().to_ascii_lowercase().as_str() {
        "y" | "yes" => Ok(()),
        _ => Err(Failure::Failed(anyhow::anyhow!("nothing was done"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_a_terminal_only_yes_will_do() {
        let refused = decide("delete it", false, false, &mut "y\n".as_bytes());
        assert!(refused.is_err_and(|failure| failure.code() == 2));
        assert!(decide("delete it", true, false, &mut "".as_bytes()).is_ok());
    }

    #[test]
    fn anything_but_a_yes_is_a_no() {
        for no in ["", "\n", "n\n", "nay\n", "yess\n"] {
            let answer = decide("delete it", false, true, &mut no.as_bytes());
            assert!(answer.is_err_and(|failure| failure.code() == 1), "{no:?}");
        }
        for yes in ["y\n", "Yes\n", " y "] {
            assert!(
                decide("delete it", false, true, &mut yes.as_bytes()).is_ok(),
                "{yes:?}"
            );
        }
    }
}
