//! The operator's command line: look at a running system, mend it, show it, measure it.
//!
//! [`args`] says what can be asked, `commands` has a module a command. What commands share is
//! beside them: reading the configuration (`app`), printing (`output`), hiding secrets (`mask`),
//! sending dead letters again (`replay`), and a whole system in child processes (`system`), which
//! `demo` and `bench` work on.

mod app;
pub mod args;
mod bench;
mod commands;
mod confirm;
mod cursor;
mod demo;
#[cfg(test)]
mod fakes;
mod mask;
mod output;
mod replay;
mod stop;
mod system;

use std::process::ExitCode;

use clap::Parser as _;

use args::{Cli, Command};

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
    if let Command::Run(run) = cli.command {
        return run.start();
    }
    match app::run(cli) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("longshore: {}", app::describe(&failure));
            ExitCode::from(failure.code())
        }
    }
}
