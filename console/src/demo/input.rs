//! The requests of the demo: the committed example, and generated signups to top it up.

use anyhow::Context as _;
use serde::Deserialize;
use serde_json::{Value, json};

/// The committed example: a few hundred requests, good and bad, with the expected result of each.
const EXAMPLE: &str = include_str!("../../../examples/demo.ndjson");

/// One request, and its expected result.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct Line {
    /// The path that the request is posted to.
    pub(super) post: String,
    /// The body.
    pub(super) body: Value,
    /// `Idempotency-Key`.
    pub(super) key: Option<String>,
    /// The expected result.
    pub(super) expect: Expect,
    /// The expected reason code.
    pub(super) code: Option<String>,
}

/// The expected result of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Expect {
    /// Stored and delivered everywhere.
    Completed,
    /// Refused at the door.
    Refused,
    /// Accepted, and then refused by a rule that only the pipeline can check.
    Rejected,
    /// Dead because of a receiver that has to be mended first.
    Dead,
}

/// At least `least` requests, the example first.
pub(super) fn lines(least: usize) -> anyhow::Result<Vec<Line>> {
    let mut lines = Vec::new();
    for (number, text) in EXAMPLE.lines().enumerate() {
        let line: Line = serde_json::from_str(text)
            .with_context(|| format!("line {} of the example", number + 1))?;
        lines.push(line);
    }
    for number in lines.len()..least {
        lines.push(generated(number));
    }
    Ok(lines)
}

fn generated(number: usize) -> Line {
    let plans = ["free", "pro", "team"];
    let body = json!({
        "email": format!("crew.{number}@fleet.example"),
        "name": format!("Crew Member {number}"),
        "plan": plans[number % plans.len()],
    });
    Line {
        post: "/v1/signups".to_owned(),
        body,
        key: None,
        expect: Expect::Completed,
        code: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_example_can_be_read_and_holds_every_kind_of_line() {
        let lines = lines(0).unwrap();
        for kind in [
            Expect::Completed,
            Expect::Refused,
            Expect::Rejected,
            Expect::Dead,
        ] {
            let found = lines.iter().filter(|line| line.expect == kind);
            assert!(found.count() > 0, "{kind:?}");
        }
        let codeless = |line: &&Line| (line.expect == Expect::Completed) != line.code.is_none();
        assert_eq!(lines.iter().filter(codeless).count(), 0);
    }

    #[test]
    fn it_is_topped_up_to_what_was_asked_for() {
        assert_eq!(lines(1000).unwrap().len(), 1000);
    }
}
