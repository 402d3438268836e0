//! `longshore queues`

use common::bootstrap::Failure;
use common::store::DestinationState;
use operate::queues::{Line, PausedQueues, look};

use crate::app::App;
use crate::output::{List, table};

pub(crate) async fn run(app: &App) -> Result<(), Failure> {
    let broker = app.broker()?;
    let lines = look(broker.as_ref(), &app.topology()).await;
    broker.close().await;
    let mut lines = lines?;
    let states = states(app).await;
    PausedQueues::new(&app.names(), &states, &app.config.destinations).mark(&mut lines);
    app.output.show(&List::whole(lines), |list| {
        let number = |number: Option<u64>| number.map_or_else(|| "-".into(), |n| n.to_string());
        let row = |line: &Line| {
            vec![
                line.queue.clone(),
                number(line.messages),
                number(line.consumers),
                line.attention
                    .as_ref()
                    .map(|why| format!("! {why}"))
                    .unwrap_or_default(),
            ]
        };
        let header = ["queue", "messages", "consumers", "attention"];
        table(&header, list.items.iter().map(row).collect())
    })
}

/// How destinations stand; nothing where the database cannot say. The queues are looked at also while it is down.
async fn states(app: &App) -> Vec<DestinationState> {
    let Ok(store) = app.store() else {
        return Vec::new();
    };
    let states = store.destinations().destination_states().await;
    store.close().await;
    states.unwrap_or_default()
}
