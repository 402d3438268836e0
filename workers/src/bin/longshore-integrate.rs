//! The integrate worker.

use std::process::ExitCode;

fn main() -> ExitCode {
    workers::integrate::main(std::env::args_os())
}
