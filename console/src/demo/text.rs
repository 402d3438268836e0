//! The ledger as text.

use std::collections::BTreeMap;

use super::ledger::Ledger;
use super::receiver::Seen;
use crate::output::table;
use crate::percentiles::Percentiles;

/// The ledger for people.
pub(super) fn text(ledger: &Ledger) -> String {
    format!(
        "{}\n\n{}\n\n{}\n\n{}",
        numbers(ledger),
        receivers(ledger),
        times(ledger),
        verdict(ledger)
    )
}

/// The requests, and the fate of them.
fn numbers(ledger: &Ledger) -> String {
    let nothing = String::new;
    let died = format!("{} of them died first and were replayed", ledger.died);
    let died = if ledger.died > 0 { died } else { nothing() };
    let refused = (ledger.refused.values().sum(), codes(&ledger.refused));
    let rejected = (ledger.rejected.values().sum(), codes(&ledger.rejected));
    let twice = "the same again, counted once".to_owned();
    let attempts = format!("in {} attempts", ledger.attempts);
    let lines = [
        (ledger.sent, "sent", nothing()),
        (refused.0, "= refused at the door", refused.1),
        (ledger.accepted, "+ accepted", nothing()),
        (ledger.accepted, "accepted", nothing()),
        (ledger.completed, "= completed", died),
        (ledger.repeats, "+ sent twice", twice),
        (rejected.0, "+ rejected", rejected.1),
        (ledger.dead, "+ dead", nothing()),
        (ledger.deliveries, "deliveries", attempts),
    ];
    let lines = lines.map(|(number, what, note)| {
        let line = format!("{number:>7}  {what:<22} {note}");
        line.trim_end().to_owned()
    });
    lines.join("\n")
}

fn receivers(ledger: &Ledger) -> String {
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
    table(&header, ledger.receivers.iter().map(row).collect())
}

fn times(ledger: &Ledger) -> String {
    let times = [
        ("to the database", ledger.to_stored),
        ("to a receiver", ledger.to_delivered),
    ];
    let times = times
        .into_iter()
        .filter_map(|(what, times)| Some(time_row(what, times?)));
    let header = ["from the door", "p50", "p95", "p99", "longest"];
    table(&header, times.collect())
}

fn verdict(ledger: &Ledger) -> String {
    let engines = &ledger.engines;
    if ledger.balances {
        return format!("It balances on {engines}: nothing is missing, nothing came twice.");
    }
    let told: Vec<String> = ledger.problems.iter().map(|it| format!("  {it}")).collect();
    format!("It does not balance on {engines}:\n{}", told.join("\n"))
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
