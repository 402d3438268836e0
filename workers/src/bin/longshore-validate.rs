//! The validate worker.

use std::process::ExitCode;

fn main() -> ExitCode {
    workers::validate::main(std::env::args_os())
}
