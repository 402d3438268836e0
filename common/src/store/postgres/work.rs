//! Work over a connection, whatever its type.
//!
//! Everything between a caller and its work (the pool, tries, time limits, transactions) is compiled once for
//! these types, not once for each query.

use std::any::Any;

use futures_util::TryFutureExt as _;
use futures_util::future::BoxFuture;
use sqlx::PgConnection;

use crate::store::StoreError;

/// The value that work returns, whatever its type.
pub(super) type AnyValue = Box<dyn Any + Send>;

/// Work, whatever its type and the type of its value.
pub(super) type AnyWork = Box<
    dyn for<'c> Fn(&'c mut PgConnection) -> BoxFuture<'c, Result<AnyValue, sqlx::Error>>
        + Send
        + Sync,
>;

/// `work` without its types; see [`of_type`].
pub(super) fn of_any_type<T, F>(work: F) -> AnyWork
where
    T: Send + 'static,
    F: for<'c> Fn(&'c mut PgConnection) -> BoxFuture<'c, Result<T, sqlx::Error>>
        + Send
        + Sync
        + 'static,
{
    Box::new(move |connection| {
        let done = work(connection);
        Box::pin(done.map_ok(|value| Box::new(value) as AnyValue))
    })
}

/// The value of work of [`of_any_type`], of its own type again.
pub(super) fn of_type<T: 'static>(value: AnyValue) -> Result<T, StoreError> {
    let value = value.downcast::<T>();
    let other = |_| StoreError::Fault("work returned a value of another type".to_owned());
    value.map(|value| *value).map_err(other)
}
