//! Runs a replay in this process, where no worker does.

use common::bootstrap::Failure;
use common::store::Store;
use indicatif::ProgressBar;
use operate::history::Judge;
use operate::replay::{News, PATIENCE, Replayer, Runner, longest_attempt};

use super::send::{SendArgs, Work};
use super::watch;
use crate::app::App;
use crate::output::{bar, spinner};
use crate::stop;

/// Runs a replay of about `found` messages (0 where that is not known), and shows how it ends.
pub(super) async fn run(
    app: &App,
    store: &dyn Store,
    work: Work<'_>,
    found: u64,
    args: &SendArgs,
) -> Result<(), Failure> {
    let (topology, names) = (app.topology(), app.names());
    let broker = app.believed_broker().await?;
    let stop = stop::on_signals()?;
    let judge = Judge::new(&app.config)?;
    let replayer = Replayer {
        broker: broker.as_ref(),
        store,
        topology: &topology,
        names: &names,
        judge: &judge,
        stop: &stop,
        patience: PATIENCE,
        longest_attempt: longest_attempt(&app.config),
        runner: Runner::Operator,
    };
    let bar = if found > 0 {
        bar(found, "replaying")
    } else {
        spinner("replaying")
    };
    let done = match work {
        Work::Begin(replay) => {
            bar.println(format!("replay {}", replay.id));
            replayer.begin(replay, |news| show(&bar, news)).await
        }
        Work::Resume(id) => replayer.resume(id, |news| show(&bar, news)).await,
    };
    bar.finish_and_clear();
    broker.close().await;
    watch::finish(app, store, done?, !args.no_wait, &stop).await
}

fn show(bar: &ProgressBar, news: News<'_>) {
    match news {
        News::Sent(more) => bar.inc(more),
        News::Waiting(why) => {
            bar.set_message("waiting");
            bar.println(why);
        }
        News::Paused => bar.set_message("paused"),
        News::GoingOn => bar.set_message("replaying"),
    }
}
