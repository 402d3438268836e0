//! The store worker.

use std::process::ExitCode;

fn main() -> ExitCode {
    workers::store::main(std::env::args_os())
}
