//! A record that somebody alters in the file itself.

use common::store::{Audit as _, AuditAction};
use sqlx::{AssertSqlSafe, Executor as _};

use super::Place;
use crate::audit::{TAMPERED_COLUMNS, first_broken, verify};
use crate::samples::act;

#[tokio::test]
async fn any_altered_column_shows() {
    let place = Place::new();
    let store = place.migrated().await;
    for target in ["dead:1", "dead:2", "dead:3"] {
        let act = act(AuditAction::DeadEdit, target);
        store.record(&act).await.unwrap();
    }
    let mut connection = place.connection().await;
    connection
        .execute(r#"CREATE TABLE kept AS SELECT * FROM "store-test.audit""#)
        .await
        .unwrap();
    for (column, value) in TAMPERED_COLUMNS {
        let value = value.replace("ZEROS", "zeroblob(32)");
        let change = format!(r#"UPDATE "store-test.audit" SET {column} = {value} WHERE seq = 2"#);
        connection.execute(AssertSqlSafe(change)).await.unwrap();
        assert_eq!(first_broken(&store).await, Some(2), "{column}");
        connection
            .execute(
                r#"DELETE FROM "store-test.audit"; INSERT INTO "store-test.audit" SELECT * FROM kept"#,
            )
            .await
            .unwrap();
        assert_eq!(verify(&store).await, 3);
    }
    connection
        .execute(r#"DELETE FROM "store-test.audit_head""#)
        .await
        .unwrap();
    assert_eq!(store.audit_head().await, Ok(None));
    let refused = store.record(&act(AuditAction::DeadEdit, "dead:4")).await;
    let told = refused.unwrap_err().to_string();
    assert!(told.contains("one row in audit_head"), "{told}");
}
