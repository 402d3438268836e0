//! Rows as arrays, one for each column, which `UNNEST` makes rows of again.

use sqlx::postgres::{PgBindIterExt as _, PgHasArrayType};
use sqlx::{Encode, Postgres, Type};

/// One value of each row, in order, to be bound as one array.
pub(super) fn column<'r, R, T>(
    rows: &'r [R],
    value: impl Fn(&'r R) -> T + 'r,
) -> impl Encode<'r, Postgres> + Type<Postgres> + 'r
where
    T: Encode<'r, Postgres> + Type<Postgres> + PgHasArrayType + 'r,
{
    rows.iter().map(value).bind_iter()
}
