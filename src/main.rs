//! The `asof` program.

use std::process::ExitCode;

/// A static program would have musl's allocator, which takes a lock for each allocation.
#[cfg(target_env = "musl")]
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    ExitCode::from(asof::cli::main())
}
