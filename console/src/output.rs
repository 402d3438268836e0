//! The output for results: tables and lines for people, one JSON document for programs.

use std::io::{ErrorKind, Write as _};

use comfy_table::{ColumnConstraint, ContentArrangement, Table, Width, presets};
use common::bootstrap::Failure;
use indicatif::{ProgressBar, ProgressStyle};
pub use operate::page::List;
use serde::Serialize;

/// The output for results. Questions, progress and complaints go to standard error instead.
#[derive(Debug, Clone, Copy)]
pub struct Output {
    json: bool,
}

impl Output {
    /// Results as tables, or as JSON.
    pub fn new(json: bool) -> Self {
        Self { json }
    }

    /// Prints a result: as JSON, or as the text that `text` makes.
    ///
    /// # Errors
    /// Standard output cannot be written to.
    pub fn show<T: Serialize>(
        &self,
        document: &T,
        text: impl FnOnce(&T) -> String,
    ) -> Result<(), Failure> {
        if self.json {
            let json = serde_json::to_string_pretty(document).map_err(anyhow::Error::from)?;
            print(&json)
        } else {
            print(text(document).trim_end())
        }
    }

    /// Prints one result of many as a line of JSON.
    ///
    /// # Errors
    /// Standard output cannot be written to.
    pub(crate) fn line<T: Serialize>(&self, document: &T) -> Result<(), Failure> {
        print(&serde_json::to_string(document).map_err(anyhow::Error::from)?)
    }
}

/// Writes a text to standard output. A reader that has seen enough (`| head`) is not a failure.
fn print(text: &str) -> Result<(), Failure> {
    let mut out = std::io::stdout().lock();
    match writeln!(out, "{text}").and_then(|()| out.flush()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => Err(anyhow::Error::from(error)
            .context("cannot write to standard output")
            .into()),
        _ => Ok(()),
    }
}

/// Minimum width of a table's last column, in characters.
const NARROWEST: u16 = 24;

/// A table with plain columns. On a terminal, the last column is broken to fit. The other columns never are, so
/// that a value copied from them is whole.
pub fn table(header: &[&str], rows: Vec<Vec<String>>) -> String {
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    if let Some(width) = terminal_width() {
        table.set_content_arrangement(ContentArrangement::Dynamic);
        table.set_width(width);
    }
    table.set_header(header.iter().map(|&name| name.to_uppercase()));
    for row in rows {
        table.add_row(row.iter().map(|cell| clean(cell)));
    }
    for column in table.column_iter_mut() {
        column.set_constraint(ColumnConstraint::ContentWidth);
    }
    if let Some(last) = table.column_iter_mut().last() {
        last.set_constraint(ColumnConstraint::LowerBoundary(Width::Fixed(NARROWEST)));
    }
    table.trim_fmt()
}

/// How many columns standard output has; `None` unless it is a terminal.
fn terminal_width() -> Option<u16> {
    let size = rustix::termios::tcgetwinsize(std::io::stdout()).ok()?;
    Some(size.ws_col).filter(|columns| *columns > 0)
}

/// Name and value pairs, one a line.
pub(crate) fn pairs<'a>(pairs: impl IntoIterator<Item = (&'a str, String)>) -> String {
    let pairs: Vec<_> = pairs
        .into_iter()
        .filter(|(_, value)| !value.is_empty())
        .collect();
    let width = pairs.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
    pairs
        .iter()
        .map(|(name, value)| format!("{name:width$}  {}\n", clean(value)))
        .collect()
}

/// A text that others wrote, made safe for a terminal: no control characters but line ends.
pub(crate) fn clean(text: &str) -> String {
    text.chars()
        .map(|c| {
            if c.is_control() && c != '\n' {
                '\u{fffd}'
            } else {
                c
            }
        })
        .collect()
}

/// A progress bar on standard error; nothing where that is not a terminal.
pub(crate) fn bar(length: u64, what: &str) -> ProgressBar {
    let bar = ProgressBar::new(length);
    let style = "{msg:12} {bar:40} {pos:>7}/{len:7} {per_sec:>14} {eta:>4}";
    // The template is a constant. If it is wrong, the bar only looks plain.
    bar.set_style(
        ProgressStyle::with_template(style).unwrap_or_else(|_| ProgressStyle::default_bar()),
    );
    bar.set_message(what.to_owned());
    bar
}

/// A count on standard error of work without a known end; nothing where that is not a terminal.
pub(crate) fn spinner(what: &str) -> ProgressBar {
    let spinner = ProgressBar::new_spinner();
    // The template is a constant. If it is wrong, the spinner only looks plain.
    spinner.set_style(
        ProgressStyle::with_template("{msg:12} {spinner} {pos:>7} {per_sec:>14}")
            .unwrap_or_else(|_| ProgressStyle::default_spinner()),
    );
    spinner.set_message(what.to_owned());
    spinner
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_others_wrote_cannot_steer_the_terminal() {
        assert_eq!(clean("a\u{1b}[2Jb\u{9b}\nc"), "a\u{fffd}[2Jb\u{fffd}\nc");
    }

    #[test]
    fn a_table_has_its_columns_under_their_names() {
        let text = table(&["queue", "depth"], vec![vec!["a".into(), "1".into()]]);
        let lines: Vec<&str> = text.lines().map(str::trim_end).collect();
        assert_eq!(lines, [" QUEUE  DEPTH", " a      1"]);
    }
}
