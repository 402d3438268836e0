//! `longshore explain`

use clap::Args;
use common::bootstrap::Failure;
use common::reason::{Action, Cause, ReasonCode};
use serde::Serialize;

use crate::output::{List, Output, pairs, table};

/// Which code.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  longshore explain                    every code, whose doing it is and what to do first
  longshore explain receiver_failing   what it means, how to look, what to do")]
pub struct ExplainArgs {
    /// The reason code, such as `receiver_failing`; all of them unless given
    pub code: Option<String>,
}

#[derive(Serialize)]
struct Page {
    code: ReasonCode,
    cause: Cause,
    action: Action,
    summary: &'static str,
    page: &'static str,
}

#[derive(Serialize)]
struct Line {
    code: ReasonCode,
    cause: Cause,
    action: Action,
    summary: &'static str,
}

pub(crate) fn run(args: &ExplainArgs, output: &Output) -> Result<(), Failure> {
    let Some(code) = &args.code else {
        let codes = ReasonCode::ALL.iter();
        let lines = codes.map(|&code| Line {
            code,
            cause: code.cause(),
            action: code.action(),
            summary: code.summary(),
        });
        return output.show(&List::whole(lines.collect()), |list| {
            let row = |line: &Line| {
                vec![
                    line.code.to_string(),
                    line.cause.as_str().to_owned(),
                    line.action.as_str().to_owned(),
                    line.summary.to_owned(),
                ]
            };
            table(
                &["code", "cause", "first", "what happened"],
                list.items.iter().map(row).collect(),
            )
        });
    };
    let code: ReasonCode = code
        .parse()
        .map_err(|error: common::reason::UnknownReason| Failure::Usage(error.to_string()))?;
    let page = Page {
        code,
        cause: code.cause(),
        action: code.action(),
        summary: code.summary(),
        page: code.page(),
    };
    output.show(&page, |page| {
        format!(
            "{}\n{}",
            page.page,
            pairs([
                ("Whose doing", page.cause.as_str().to_owned()),
                ("First", page.action.sentence().to_owned()),
            ])
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_code_is_wrong_usage() {
        let args = ExplainArgs {
            code: Some("nope".to_owned()),
        };
        let failed = run(&args, &Output::new(true));
        assert!(failed.is_err_and(|failure| failure.code() == 2));
    }
}
