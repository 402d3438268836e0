//! `longshore-producer`: the ingress.

use std::process::ExitCode;

fn main() -> ExitCode {
    common::bootstrap::without_arguments("longshore-producer", producer::main)
}
