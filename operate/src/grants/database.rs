//! Roles of PostgreSQL.

use std::fmt::Write as _;

use common::config::Config;

use super::Role;

/// Tables, and what a role may do with each.
type Rights = &'static [(&'static str, &'static str)];

/// A look at the schema's version, and the small write that shows whether the database takes writes. Each program tells its
/// configuration, and records when it takes up another.
const EVERYBODY: Rights = &[
    ("_sqlx_migrations", "SELECT, UPDATE (success)"),
    ("workers", "SELECT, INSERT, UPDATE, DELETE"),
    ("audit", "INSERT"),
    ("audit_head", "SELECT, UPDATE"),
];

/// The door says where an event stands, and goes by the keys of its callers. It reads no bodies.
const PRODUCER: Rights = &[
    (
        "events",
        "SELECT (event_id, type, publisher, received_at, accepted_at, stored_at, filtered)",
    ),
    ("deliveries", "SELECT"),
    (
        "dead_letters",
        "SELECT (dead_letter_id, event_id, type, destination, generation, reason, last_failed_at, state, replayed_at, \
                 headers)",
    ),
    (
        "rejections",
        "SELECT (event_id, type, publisher, reason, errors, received_at, rejected_at)",
    ),
    (
        "scheduled_events",
        "SELECT, UPDATE (cancelled_at, cancelled_by, cancelled_why)",
    ),
    ("keys", "SELECT, UPDATE (last_used_at)"),
    ("key_revision", "SELECT"),
];

/// It reads no hash of a password, but writes them.
const STORE: Rights = &[
    ("events", "SELECT, INSERT, DELETE, UPDATE (filtered)"),
    ("scheduled_events", "SELECT, INSERT, UPDATE (released_at)"),
    ("signups", "SELECT (event_id, email_normalised), INSERT"),
    ("processing", "SELECT (event_id), INSERT"),
    ("confirmations", "SELECT (signup_id), INSERT"),
    ("deliveries", "SELECT, INSERT"),
    ("ordered_deliveries", "SELECT, INSERT, UPDATE"),
];

/// A delivery that is made may supersede a dead letter, whose counts a trigger keeps.
const INTEGRATE: Rights = &[
    ("deliveries", "SELECT, INSERT, UPDATE"),
    ("delivery_attempts", "SELECT, INSERT"),
    ("events", "SELECT (event_id)"),
    ("ordered_deliveries", "SELECT, INSERT, UPDATE, DELETE"),
    (
        "scheduled_events",
        "SELECT (event_id, released_at, cancelled_at)",
    ),
    (
        "dead_letters",
        "SELECT (dead_letter_id, event_id, stage, destination, generation, state), UPDATE (state, superseded_at)",
    ),
    ("dead_letter_counts", "SELECT, INSERT, UPDATE"),
    ("destinations", "SELECT, INSERT, UPDATE"),
];

/// What it needs beside, where a destination is ordered: the next one of a key is sent as it was stored.
const INTEGRATE_IN_ORDER: Rights = &[
    (
        "events",
        "SELECT (type, source, publisher, received_at, accepted_at, body)",
    ),
    ("dead_letters", "SELECT (replay_id, headers)"),
    ("replays", "SELECT (replay_id, new_ids)"),
];

const ARCHIVE: Rights = &[
    ("dead_letters", "SELECT, INSERT, UPDATE"),
    ("dead_letter_classes", "SELECT, INSERT"),
    ("dead_letter_errors", "SELECT, INSERT, UPDATE, DELETE"),
    ("dead_letter_counts", "SELECT, INSERT, UPDATE"),
    ("rejections", "SELECT, INSERT"),
    ("deliveries", "SELECT, INSERT, UPDATE, DELETE"),
    ("events", "SELECT"),
    ("replays", "SELECT, UPDATE"),
    ("leases", "SELECT, INSERT, UPDATE"),
    ("watch_findings", "SELECT, INSERT, UPDATE, DELETE"),
    ("watch_repairs", "SELECT, INSERT, UPDATE"),
    ("destinations", "SELECT"),
    ("ordered_deliveries", "SELECT, UPDATE, DELETE"),
    ("scheduled_events", "SELECT, UPDATE (sent_at)"),
];

/// Everything but migrations, and nothing of the tables `signups`, `processing` and `confirmations`.
const OPERATOR: Rights = &[
    ("events", "SELECT"),
    ("deliveries", "SELECT, INSERT, UPDATE, DELETE"),
    ("delivery_attempts", "SELECT"),
    ("rejections", "SELECT"),
    ("dead_letters", "SELECT, UPDATE, DELETE"),
    ("dead_letter_edits", "SELECT, INSERT"),
    ("dead_letter_classes", "SELECT"),
    ("dead_letter_errors", "SELECT, INSERT, UPDATE, DELETE"),
    ("dead_letter_counts", "SELECT, INSERT, UPDATE, DELETE"),
    ("replays", "SELECT, INSERT, UPDATE"),
    ("leases", "SELECT, INSERT, UPDATE"),
    ("ordered_deliveries", "SELECT"),
    (
        "scheduled_events",
        "SELECT, UPDATE (cancelled_at, cancelled_by, cancelled_why)",
    ),
    ("watch_findings", "SELECT"),
    ("watch_repairs", "SELECT"),
    ("keys", "SELECT, INSERT, UPDATE"),
    ("key_revision", "SELECT, UPDATE"),
    ("operators", "SELECT, INSERT, UPDATE"),
    ("destinations", "SELECT, INSERT, UPDATE"),
    ("audit", "SELECT"),
];

/// The rights of a role; none where its program uses no database.
fn rights(role: Role) -> Option<Rights> {
    match role {
        Role::Validate => None,
        Role::Producer => Some(PRODUCER),
        Role::Store => Some(STORE),
        Role::Integrate => Some(INTEGRATE),
        Role::Archive => Some(ARCHIVE),
        Role::Operator => Some(OPERATOR),
    }
}

const HEAD: &str = "\
-- PostgreSQL: a role for each program. Run this with psql as the owner of the schema, who may make roles, after
-- `longshore migrate`. The passwords are variables:
--   psql -v producer_password=… -v store_password=… -v integrate_password=… -v archive_password=… -v operator_password=…
-- Only the owner migrates. Run this again after a migration to a new version.
";

/// Statements that make the roles and grant them their rights, in one transaction.
pub fn database(config: &Config) -> String {
    let namespace = &config.namespace;
    let is_ordered = config.destinations.iter().any(|it| it.order.is_some());
    let mut script = format!("{HEAD}BEGIN;\n");
    for role in Role::ALL {
        let Some(own) = rights(role) else {
            continue;
        };
        let login = role.login(namespace);
        // Writing to a String cannot fail. Neither namespace nor login holds a quote.
        let _ = write!(
            script,
            "\n-- {users}\n\
             DO $$ BEGIN CREATE ROLE \"{login}\" LOGIN; EXCEPTION WHEN duplicate_object THEN NULL; END $$;\n\
             ALTER ROLE \"{login}\" PASSWORD :'{word}_password';\n\
             REVOKE ALL ON SCHEMA \"{namespace}\" FROM \"{login}\";\n\
             REVOKE ALL ON ALL TABLES IN SCHEMA \"{namespace}\" FROM \"{login}\";\n\
             GRANT USAGE ON SCHEMA \"{namespace}\" TO \"{login}\";\n",
            users = role.users(),
            word = role.word(),
        );
        let in_order = match role {
            Role::Integrate if is_ordered => INTEGRATE_IN_ORDER,
            _ => &[],
        };
        for (table, privileges) in EVERYBODY.iter().chain(own).chain(in_order) {
            let _ = writeln!(
                script,
                "GRANT {privileges} ON \"{namespace}\".{table} TO \"{login}\";"
            );
        }
    }
    script.push_str("\nCOMMIT;\n");
    script
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::path::Path;

    use super::*;

    #[test]
    fn every_table_is_somebody_s_and_nobody_gets_another() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../migrations/postgres");
        let mut made = BTreeSet::from(["_sqlx_migrations".to_owned()]);
        for entry in std::fs::read_dir(folder).unwrap() {
            let text = std::fs::read_to_string(entry.unwrap().path()).unwrap();
            let tables = text
                .lines()
                .filter_map(|it| it.strip_prefix("CREATE TABLE "));
            made.extend(tables.filter_map(|it| Some(it.split_once(' ')?.0.to_owned())));
        }
        let granted = Role::ALL.into_iter().filter_map(rights).flatten();
        let granted = granted
            .chain(EVERYBODY)
            .map(|(table, _)| (*table).to_owned());
        assert_eq!(granted.collect::<BTreeSet<String>>(), made);
    }

    #[test]
    fn names_are_the_namespace_s() {
        let config: Config = toml::from_str("namespace = \"shop-1\"").unwrap();
        let script = database(&config);
        for line in [
            "ALTER ROLE \"shop-1-store\" PASSWORD :'store_password';",
            "GRANT USAGE ON SCHEMA \"shop-1\" TO \"shop-1-store\";",
            "GRANT SELECT, INSERT, DELETE, UPDATE (filtered) ON \"shop-1\".events TO \"shop-1-store\";",
            "GRANT SELECT, UPDATE (success) ON \"shop-1\"._sqlx_migrations TO \"shop-1-archive\";",
        ] {
            assert!(script.lines().any(|it| it == line), "{line}\n{script}");
        }
        assert!(!script.contains("validate"), "{script}");
    }

    #[test]
    fn integrate_reads_bodies_only_where_an_order_needs_them() {
        let bodies = |keys: &str| {
            let destination = "[[destination]]\nname = \"crm\"\nwebhook = { url = \"https://h\" }";
            let config: Config = toml::from_str(&format!("{destination}\n{keys}\n")).unwrap();
            let script = database(&config);
            let mut lines = script.lines();
            lines.any(|it| it.contains("body") && it.ends_with("TO \"longshore-integrate\";"))
        };
        assert!(bodies("ordered = true") && !bodies(""));
    }
}
