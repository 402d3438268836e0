//! `longshore migrate`

use common::bootstrap::{self, Failure};
use serde_json::json;

use crate::app::App;

pub(crate) async fn run(app: &App) -> Result<(), Failure> {
    // Not through the app: an embedded database that does not exist is created here.
    let store = bootstrap::store(&app.config)?;
    let migrated = async {
        let by = app.requester(store.as_ref()).await?;
        operate::schema::migrate(store.as_ref(), &by).await
    };
    let migrated = migrated.await;
    store.close().await;
    migrated?;
    let schema = &app.config.namespace;
    app.output
        .show(&json!({ "schema": schema, "migrated": true }), |_| {
            format!(
                "schema {schema} in {} is up to date",
                app.config.database.url.address()
            )
        })
}
