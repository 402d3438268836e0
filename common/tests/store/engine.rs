//! A fresh system on one engine, removed at the end of every case.

use std::panic::{AssertUnwindSafe, resume_unwind};
use std::sync::Arc;

use common::store::Store;
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;

/// Two processes' stores that share one empty, migrated database.
pub struct System {
    /// One process.
    pub store: Arc<dyn Store>,
    /// Another one.
    pub other: Arc<dyn Store>,
    /// Removes everything.
    pub remove: BoxFuture<'static, ()>,
}

/// The stores of a case.
#[derive(Clone)]
pub struct Stores {
    /// One process.
    pub store: Arc<dyn Store>,
    /// Another one.
    pub other: Arc<dyn Store>,
}

/// Runs one case and removes its system afterwards.
pub async fn with_system<F>(system: System, case: impl FnOnce(Stores) -> F)
where
    F: Future<Output = ()>,
{
    let stores = Stores {
        store: system.store,
        other: system.other,
    };
    let ended = AssertUnwindSafe(case(stores.clone())).catch_unwind().await;
    stores.store.close().await;
    stores.other.close().await;
    system.remove.await;
    if let Err(panic) = ended {
        resume_unwind(panic);
    }
}
