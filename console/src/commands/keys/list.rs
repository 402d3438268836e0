//! `longshore keys list`

use clap::Args;
use common::bootstrap::Failure;
use common::key::KeyId;
use operate::keys::Listed;
use operate::words::moment;

use crate::app::App;
use crate::output::table;
use crate::when;

/// Which page of the list.
#[derive(Debug, Args)]
pub struct ListArgs {
    /// Maximum length of the list
    #[arg(long, value_name = "N", default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=1000))]
    limit: u32,
    /// The `next` of the page before
    #[arg(long, value_name = "ID")]
    after: Option<KeyId>,
}

pub(super) async fn run(app: &App, args: ListArgs) -> Result<(), Failure> {
    let store = app.store()?;
    let list = operate::keys::list(store.as_ref(), args.after, args.limit).await;
    store.close().await;
    app.output.show(&list?, |list| {
        if list.items.is_empty() {
            return "no keys".to_owned();
        }
        let header = ["id", "name", "state", "used", "expires", "rate", "scopes"];
        let mut text = table(&header, list.items.iter().map(row).collect());
        if let Some(next) = &list.next {
            text.push_str(&format!("\n\nmore: --after {next}"));
        }
        text
    })
}

fn row(key: &Listed) -> Vec<String> {
    let now = common::event::now();
    let used = key
        .last_used_at
        .map(|at| format!("{} ago", when::ago(at.0, now)));
    vec![
        key.id.to_string(),
        key.name.to_string(),
        key.state.as_str().to_owned(),
        used.unwrap_or_else(|| "never".to_owned()),
        key.expires_at.map(|at| moment(at.0)).unwrap_or_default(),
        key.rate.map(|rate| rate.to_string()).unwrap_or_default(),
        key.scopes.to_string(),
    ]
}
