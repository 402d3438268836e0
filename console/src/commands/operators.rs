//! `longshore operators`

use clap::{Args, Subcommand};
use common::bootstrap::Failure;
use common::config::OPERATOR_KEY;
use common::key::KeyId;
use common::store::{OperatorRecord, Role, Store};
use operate::operators::{self, Created};
use operate::words::moment;
use serde_json::json;

use crate::app::App;
use crate::output::{List, pairs, table};

/// What to do with operators.
#[derive(Debug, Subcommand)]
pub enum OperatorsCommand {
    /// Make an operator, and show the key once
    Create(CreateArgs),
    /// List operators, newest first
    List,
    /// Revoke the key of an operator
    Revoke {
        /// The operator's id, as `list` shows it
        id: KeyId,
        /// The reason, kept with the record
        #[arg(long, value_name = "TEXT")]
        why: String,
    },
}

/// Who it is.
#[derive(Debug, Args)]
#[command(after_help = "\
A viewer reads, personal data masked. An operator also mends, replays, discards and publishes. An admin does everything. \
The key is shown once and kept nowhere. With the key in LONGSHORE_OPERATOR_KEY, a command acts as this operator.

Example:
  longshore operators create ada --role operator")]
pub struct CreateArgs {
    /// One word that no other operator has
    name: String,
    /// What the operator may do: viewer, operator or admin
    #[arg(long)]
    role: Role,
}

pub(crate) async fn run(app: &App, command: OperatorsCommand) -> Result<(), Failure> {
    let store = app.store()?;
    let done = match command {
        OperatorsCommand::Create(args) => create(app, store.as_ref(), &args).await,
        OperatorsCommand::List => list(app, store.as_ref()).await,
        OperatorsCommand::Revoke { id, why } => revoke(app, store.as_ref(), &id, why).await,
    };
    store.close().await;
    done
}

async fn create(app: &App, store: &dyn Store, args: &CreateArgs) -> Result<(), Failure> {
    let by = app.requester(store).await?;
    let created = operators::create(store, &args.name, args.role, &by).await?;
    let Created {
        id,
        key,
        name,
        role,
    } = &created;
    let document = json!({ "id": id, "key": key.expose(), "name": name, "role": role });
    app.output.show(&document, |_| {
        format!(
            "{}\nThe key is shown this once. To act as {name}: export {OPERATOR_KEY}=…",
            pairs([
                ("id", id.to_string()),
                ("name", name.clone()),
                ("role", role.to_string()),
                ("key", key.expose().to_owned()),
            ])
        )
    })
}

async fn list(app: &App, store: &dyn Store) -> Result<(), Failure> {
    app.requester(store).await?;
    let list = operators::list(store).await?;
    app.output.show(&list, text)
}

fn text(list: &List<OperatorRecord>) -> String {
    if list.items.is_empty() {
        return "no operators; `longshore operators create NAME --role ROLE` makes one".to_owned();
    }
    let row = |operator: &OperatorRecord| {
        let state = operator
            .revoked_at
            .map(|at| format!("revoked {}", moment(at.0)));
        let used = operator.last_used_at.map(|at| moment(at.0));
        vec![
            operator.id.clone(),
            operator.name.clone(),
            operator.role.to_string(),
            moment(operator.created_at.0),
            used.unwrap_or_default(),
            state.unwrap_or_default(),
        ]
    };
    let header = ["id", "name", "role", "created", "last used", ""];
    table(&header, list.items.iter().map(row).collect())
}

async fn revoke(app: &App, store: &dyn Store, id: &KeyId, why: String) -> Result<(), Failure> {
    let by = app.requester(store).await?;
    let revoked = operators::revoke(store, id, why, &by).await?;
    app.output.show(&revoked, |operator| {
        format!("the key of {} ({}) is revoked", operator.name, operator.id)
    })
}
