//! The figures as a table.

use bench::{Figure, Unit};
use longshore::output::table;

pub(super) fn text(figures: &[Figure]) -> String {
    table(
        &["figure", "value", "unit", "goal", ""],
        figures.iter().map(row).collect(),
    )
}

fn row(figure: &Figure) -> Vec<String> {
    let (digits, unit) = match figure.unit {
        Unit::EventsPerSecond => (0, "events/s"),
        Unit::RequestsPerSecond => (0, "requests/s"),
        Unit::Milliseconds => (1, "ms"),
        Unit::Microseconds => (0, "us"),
        Unit::Ratio => (2, ""),
        Unit::Megabytes => (1, "MB"),
        Unit::PercentOfCore => (2, "% of a core"),
    };
    let verdict = match figure.met() {
        Some(true) => "met",
        Some(false) => "missed",
        None => "",
    };
    vec![
        figure.name.clone(),
        format!("{:.digits$}", figure.value),
        unit.to_owned(),
        figure.goal.map(|goal| goal.to_string()).unwrap_or_default(),
        verdict.to_owned(),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missed_goal_is_seen() {
        let mut report = bench::Report::default();
        report.aim("ratio", 0.5, Unit::Ratio, 0.8);
        report.aim("memory", 20.0, Unit::Megabytes, 25.0);
        let text = text(&report.items);
        assert!(
            text.contains("0.50") && text.contains("missed") && text.contains("met"),
            "{text}"
        );
    }
}
