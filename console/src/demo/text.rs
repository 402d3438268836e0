//! The ledger as text.

use std::collections::BTreeMap;

use super::ledger::Ledger;
use super::receiver::Seen;
use crate::output::table;
use crate::percentiles::Percentiles;

/// The ledger for people.
pub(super) fn text(ledger: &Ledger) -> String {
    let mut lines = Vec::new();
    let mut line = |number: u64, what: &str, note: String| {
        lines.push(
            format!("{number:>7}  {what:<22} {note}")
                .trim_end()
                .to_owned(),
        );
    };
    let nothing = String::new;
    line(ledger.sent, "sent", nothing());
    line(
        ledger.refused.values().sum(),
        "= refused at the door",
        codes(&ledger.refused),
    );
    line(ledger.accepted, "+ accepted", nothing());
    line(ledger.accepted, "accepted", nothing());
    let died = format!("{} of them died first and were replayed", ledger.died);
    line(
        ledger.completed,
        "= completed",
        if ledger.died > 0 { died } else { nothing() },
    );
    line(
        ledger.repeats,
        "+ sent twice",
        "the same again, counted once".to_owned(),
    );
    line(
        ledger.rejected.values().sum(),
        "+ rejected",
        codes(&ledger.rejected),
    );
    line(ledger.dead, "+ dead", nothing());
    line(
        ledger.deliveries,
        "deliveries",
        format!("in {} attempts", ledger.attempts),
    );
    let row = |(name, seen): (&&str, &Seen)| {
        let mut row = vec![(*name).to_owned()];
        let numbers = [
            seen.posts,
            seen.taken,
            seen.failed,
            seen.stalled,
            seen.duplicates,
        ];
        row.extend(numbers.map(|number| number.to_string()));
        row
    };
    let header = ["receiver", "posts", "taken", "failed", "stalled", "twice"];
    let receivers = table(&header, ledger.receivers.iter().map(row).collect());
    let times = [
        ("to the database", ledger.to_stored),
        ("to a receiver", ledger.to_delivered),
    ];
    let times = times
        .into_iter()
        .filter_map(|(what, times)| Some(time_row(what, times?)));
    let times = table(
        &["from the door", "p50", "p95", "p99", "longest"],
        times.collect(),
    );
    let verdict = if ledger.balances {
        format!(
            "It balances on {}: nothing is missing, nothing came twice.",
            ledger.engines
        )
    } else {
        let told: Vec<String> = ledger.problems.iter().map(|it| format!("  {it}")).collect();
        format!(
            "It does not balance on {}:\n{}",
            ledger.engines,
            told.join("\n")
        )
    };
    format!(
        "{}\n\n{receivers}\n\n{times}\n\n{verdict}",
        lines.join("\n")
    )
}

fn codes(codes: &BTreeMap<String, u64>) -> String {
    let codes: Vec<String> = codes
        .iter()
        .map(|(code, number)| format!("{number} {code}"))
        .collect();
    codes.join(", ")
}

fn time_row(what: &str, times: Percentiles) -> Vec<String> {
    let mut row = vec![what.to_owned()];
    let all = [times.p50_ms, times.p95_ms, times.p99_ms, times.max_ms];
    row.extend(all.map(|ms| format!("{ms:.0} ms")));
    row
}
