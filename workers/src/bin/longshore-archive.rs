//! The archive worker.

use std::process::ExitCode;

fn main() -> ExitCode {
    workers::archive::main(std::env::args_os())
}
