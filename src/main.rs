//! The `asof` program.

use std::process::ExitCode;

fn main() -> ExitCode {
    ExitCode::from(asof::cli::main())
}
