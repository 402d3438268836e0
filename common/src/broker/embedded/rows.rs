//! Many rows with few statements.

use std::sync::LazyLock;

use sqlx::query::Query;
use sqlx::sqlite::SqliteArguments;
use sqlx::{Sqlite, SqliteConnection};

use crate::sqlite::Error;

/// How many rows one statement inserts: few sizes, so that each stays prepared.
const SIZES: [usize; 4] = [64, 16, 4, 1];

/// The statements that insert into one table.
pub(super) struct Inserts([String; SIZES.len()]);

/// A statement that values are bound to.
pub(super) type Statement = Query<'static, Sqlite, SqliteArguments>;

pub(super) static MESSAGES: LazyLock<Inserts> =
    LazyLock::new(|| Inserts::new("messages (id, routing_key, properties, body)", 4));
pub(super) static HISTORY: LazyLock<Inserts> =
    LazyLock::new(|| Inserts::new("history (id, queue, routing_key, properties, body, at)", 6));
pub(super) static WAITING: LazyLock<Inserts> =
    LazyLock::new(|| Inserts::new("waiting (queue, place, message, returns, due, delay)", 6));

impl Inserts {
    fn new(into: &str, columns: usize) -> Self {
        let row = format!("({})", vec!["?"; columns].join(", "));
        Self(
            SIZES.map(|size| format!("INSERT INTO {into} VALUES {}", vec![&*row; size].join(", "))),
        )
    }

    /// Inserts `rows`; `bind` binds the values of one, in the order of the columns.
    pub(super) async fn insert<T>(
        &'static self,
        connection: &mut SqliteConnection,
        rows: &[T],
        bind: impl Fn(Statement, &T) -> Statement,
    ) -> Result<(), Error> {
        let mut rest = rows;
        for (statement, size) in self.0.iter().zip(SIZES) {
            while let Some((some, others)) = rest.split_at_checked(size) {
                let statement = sqlx::query(statement.as_str());
                let filled = some.iter().fold(statement, &bind);
                filled.execute(&mut *connection).await?;
                rest = others;
            }
        }
        Ok(())
    }
}

/// A list of numbers for `json_each`: one value to bind, for any length.
pub(super) fn list(numbers: &[i64]) -> String {
    use std::fmt::Write as _;
    let mut text = String::with_capacity(2 + 17 * numbers.len());
    text.push('[');
    for (index, number) in numbers.iter().enumerate() {
        let comma = if index == 0 { "" } else { "," };
        // Writing into a string cannot fail.
        let _ = write!(text, "{comma}{number}");
    }
    text.push(']');
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_is_json() {
        assert_eq!(list(&[]), "[]");
        assert_eq!(list(&[7]), "[7]");
        assert_eq!(list(&[1, -2, i64::MAX]), "[1,-2,9223372036854775807]");
    }

    #[test]
    fn a_statement_has_a_row_for_each_of_its_size() {
        let statements = Inserts::new("t (a, b)", 2).0;
        assert_eq!(statements[3], "INSERT INTO t (a, b) VALUES (?, ?)");
        assert_eq!(statements[2].matches("(?, ?)").count(), 4);
    }
}
