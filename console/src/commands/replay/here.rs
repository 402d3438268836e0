//! Runs an operation in this process, where no worker does.

use common::bootstrap::Failure;
use common::store::Store;
use indicatif::ProgressBar;
use operate::history::Judge;
use operate::operation::{Executor, News, PATIENCE, Runner, longest_attempt};
use operate::roles::Requester;

use super::send::{RunArgs, Work};
use super::watch;
use crate::app::App;
use crate::output::{bar, spinner};
use crate::stop;

/// Runs an operation on about `found` messages (0 where that is not known), and shows how it ends.
pub(super) async fn run(
    app: &App,
    store: &dyn Store,
    work: Work<'_>,
    by: &Requester,
    found: u64,
    args: &RunArgs,
) -> Result<(), Failure> {
    let (topology, names) = (app.topology(), app.names());
    let broker = app.believed_broker().await?;
    let stop = stop::on_signals()?;
    let judge = Judge::new(&app.config)?;
    let executor = Executor {
        broker: broker.as_ref(),
        store,
        topology: &topology,
        names: &names,
        judge: &judge,
        destinations: &app.config.destinations,
        stop: &stop,
        patience: PATIENCE,
        longest_attempt: longest_attempt(&app.config),
        runner: Runner::Operator,
    };
    let kind = work.kind();
    let doing = watch::doing(kind);
    let bar = if found > 0 {
        bar(found, doing)
    } else {
        spinner(doing)
    };
    let done = match work {
        Work::Begin(replay) => {
            bar.println(format!("{kind} {}", replay.id));
            let tell = |news: News<'_>| show(&bar, doing, news);
            executor.begin(replay, tell).await
        }
        Work::Resume(replay, rate) => {
            let tell = |news: News<'_>| show(&bar, doing, news);
            executor.resume(replay.id, rate, by, tell).await
        }
    };
    bar.finish_and_clear();
    broker.close().await;
    watch::finish(app, store, done?, !args.no_wait, &stop).await
}

fn show(bar: &ProgressBar, doing: &'static str, news: News<'_>) {
    match news {
        News::Sent(more) => bar.inc(more),
        News::Waiting(why) => {
            bar.set_message("waiting");
            bar.println(why);
        }
        News::Paused => bar.set_message("paused"),
        News::GoingOn => bar.set_message(doing),
    }
}
