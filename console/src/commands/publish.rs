//! `longshore publish`: events from a file straight to the broker.

use std::path::{Path, PathBuf};

use clap::Args;
use common::bootstrap::Failure;
use indicatif::{ProgressBar, ProgressStyle};
use operate::publish::{Progress, Publishing, Summary, permit_publishing};
use operate::words::count;
use tokio::io::{AsyncBufRead, BufReader};

use crate::app::App;
use crate::confirm::confirm;
use crate::stop;

/// What to publish.
#[derive(Debug, Args)]
#[command(after_help = "\
Each line is a structured CloudEvent, or in short {\"type\": …, \"data\": …} with `id`, `source`, `time` and
`subject` as you like. An event without an `id` gets one made from its content. Publishing a file
twice therefore changes nothing: the ids are the keys. Each event is confirmed by the broker; the
validate workers check it like anybody else's.

Examples:
  longshore publish signups.ndjson
  jq -c '{type: \"signup.requested\", data: .}' people.json | longshore publish - --yes")]
pub struct PublishArgs {
    /// A file with one JSON document a line; `-` is standard input
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Leave out bad lines and go on; else the first one ends it
    #[arg(long)]
    skip_bad: bool,
    /// Do not ask
    #[arg(long)]
    yes: bool,
}

pub(crate) async fn run(app: &App, args: PublishArgs) -> Result<(), Failure> {
    let shown = args.file.display().to_string();
    confirm(
        &format!("publish the events of {shown} to {}", app.config.namespace),
        args.yes,
    )?;
    allowed(app).await?;
    let (reader, bar) = open(&args.file).await?;
    let broker = app.believed_broker().await?;
    let stop = stop::on_signals()?;
    let publishing = Publishing {
        broker: broker.as_ref(),
        window: app.config.broker.window,
        longest: app.config.limits.event_bytes,
        skip_bad: args.skip_bad,
        stop: &stop,
        progress: |progress| show(&bar, progress),
    };
    let (summary, failure) = publishing.run(reader).await;
    bar.finish_and_clear();
    broker.close().await;
    app.output.show(&summary, text)?;
    match failure {
        Some(failure) => Err(failure),
        None => summary.verdict(),
    }
}

/// Checks that the operator at this terminal may publish. Publishing itself needs no database.
async fn allowed(app: &App) -> Result<(), Failure> {
    let store = app.store().ok();
    let checked = async {
        let by = app.requester(store.as_deref()).await?;
        permit_publishing(store.as_deref(), &by).await
    };
    let checked = checked.await;
    if let Some(store) = &store {
        store.close().await;
    }
    checked
}

fn show(bar: &ProgressBar, progress: Progress) {
    match progress {
        Progress::Read(bytes) => bar.inc(bytes),
        Progress::Confirmed(events) if events.is_multiple_of(100) => {
            bar.set_message(count(events, "event"));
        }
        Progress::Confirmed(_) => {}
    }
}

type Reader = Box<dyn AsyncBufRead + Unpin + Send>;

async fn open(path: &Path) -> Result<(Reader, ProgressBar), Failure> {
    if path == Path::new("-") {
        let bar = ProgressBar::new_spinner();
        return Ok((Box::new(BufReader::new(tokio::io::stdin())), bar));
    }
    let usage = |error: std::io::Error| {
        Failure::Usage(format!(
            "expected a file that can be read, {}: {error}",
            path.display()
        ))
    };
    let file = tokio::fs::File::open(path).await.map_err(usage)?;
    let bytes = file.metadata().await.map_err(usage)?.len();
    let style = "publishing   {bar:40} {bytes:>10}/{total_bytes:10} {msg} {eta:>4}";
    let bar = ProgressBar::new(bytes);
    // The template is a constant. If it is wrong, the bar only looks plain.
    bar.set_style(
        ProgressStyle::with_template(style).unwrap_or_else(|_| ProgressStyle::default_bar()),
    );
    Ok((Box::new(BufReader::with_capacity(256 * 1024, file)), bar))
}

fn text(summary: &Summary) -> String {
    let bad = summary.bad.iter().map(|bad| {
        format!(
            "line {}: {}\n",
            bad.line,
            crate::output::clean(&bad.problem)
        )
    });
    let bad: String = bad.collect();
    format!(
        "{bad}{} published and confirmed, of {}",
        count(summary.published, "event"),
        count(summary.lines, "line")
    )
}
