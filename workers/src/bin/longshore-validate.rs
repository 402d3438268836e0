//! The validate worker.

use std::process::ExitCode;

fn main() -> ExitCode {
    common::bootstrap::without_arguments("longshore-validate", workers::validate::main)
}
