//! `longshore migrate`

use common::bootstrap::Failure;
use serde_json::json;

use crate::app::App;

pub(crate) async fn run(app: &App) -> Result<(), Failure> {
    let store = app.store()?;
    let migrated = store.migrate().await;
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
