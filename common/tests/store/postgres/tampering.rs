//! A record that somebody alters in the database itself.

use common::store::postgres::PostgresStore;
use common::store::{Audit as _, AuditAction};
use sqlx::{AssertSqlSafe, Executor as _};

use super::{config, connection, with_schema};
use crate::audit::{TAMPERED_COLUMNS, first_broken, verify};
use crate::samples::act;

#[tokio::test]
async fn any_altered_column_shows() {
    with_schema(async |namespace| {
        let store = PostgresStore::new(&config(), &namespace).unwrap();
        for target in ["dead:1", "dead:2", "dead:3"] {
            let act = act(AuditAction::DeadEdit, target);
            store.record(&act).await.unwrap();
        }
        let mut connection = connection(&namespace).await;
        connection
            .execute("CREATE TABLE kept AS SELECT * FROM audit")
            .await
            .unwrap();
        for (column, value) in TAMPERED_COLUMNS {
            let value = value.replace("ZEROS", "decode(repeat('00', 32), 'hex')");
            let change = format!("UPDATE audit SET {column} = {value} WHERE seq = 2");
            connection.execute(AssertSqlSafe(change)).await.unwrap();
            assert_eq!(first_broken(&store).await, Some(2), "{column}");
            connection
                .execute("DELETE FROM audit; INSERT INTO audit SELECT * FROM kept")
                .await
                .unwrap();
            assert_eq!(verify(&store).await, 3);
        }
        connection.execute("DELETE FROM audit_head").await.unwrap();
        assert_eq!(store.audit_head().await, Ok(None));
        let refused = store.record(&act(AuditAction::DeadEdit, "dead:4")).await;
        let told = refused.unwrap_err().to_string();
        assert!(told.contains("one row in audit_head"), "{told}");
    })
    .await;
}
