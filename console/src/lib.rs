//! The operator's command line: look at a running system, mend it, show it, measure it.
//!
//! [`args`] says what can be asked, `commands` has a module a command. What commands share is
//! beside them: reading the configuration (`app`), printing (`output`), hiding secrets (`mask`),
//! sending again (`replay`), reading the history (`history`) and comparing it with what became of it
//! (`survey`), moments (`when`), quoting for a shell (`shell`), where the embedded engine keeps
//! its files (`data`), and a whole system in child processes (`system`), which `demo` and `bench` work on.

mod app;
pub mod args;
mod bench;
mod commands;
mod confirm;
mod cursor;
mod data;
mod demo;
mod dev;
mod mask;
mod output;
mod shell;
mod stop;
mod survey;
mod system;
mod when;

use common::telemetry::stderr;
use std::process::ExitCode;

use clap::Parser as _;

use args::{Cli, Command};
use output::Output;

/// Runs the command line of this process and says how it ended: 0 done, 1 the work failed, 2 wrong
/// usage or configuration, 3 a dependency is unreachable.
pub fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            // Where not even this can be written there is nobody to tell.
            let _ = error.print();
            return ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2));
        }
    };
    // One TLS provider for the whole tree; a second start in one process finds it set.
    let _ = rustls::crypto::ring::default_provider().install_default();
    // These two are programs: they read the configuration, log and listen to signals by themselves.
    match cli.command {
        Command::Run(run) => return run.start(),
        Command::Dev(dev) => return dev.start(Output::new(cli.json)),
        _ => {}
    }
    match app::run(cli) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            stderr::say(&format!("longshore: {}", failure.in_one_line()));
            ExitCode::from(failure.code())
        }
    }
}
