//! `longshore-bench`: the pipeline measured beside something raw, in the same run on the same machine.

mod args;
mod measure;

use std::process::ExitCode;

use common::bootstrap::Failure;
use common::config::Sources;
use longshore::output::Output;
use longshore::{app, system};

use args::Cli;

const NAME: &str = "longshore-bench";

fn main() -> ExitCode {
    // The measured programs are processes of this executable.
    if let Some(ended) = system::run_program() {
        return ended;
    }
    let cli: Cli = match app::parse() {
        Ok(cli) => cli,
        Err(code) => return code,
    };
    let output = Output::new(cli.json);
    let done = Sources::of_process()
        .map_err(Failure::from)
        .and_then(|sources| {
            app::start(NAME, output, &sources, async |app| {
                measure::run(&app, &cli).await
            })
        });
    app::exit_code(NAME, done)
}
