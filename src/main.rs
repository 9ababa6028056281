//! The `tidegate` command.

use std::process::ExitCode;

/// Returns memory after a burst, and uses less for each connection than the system's allocator.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    tidegate::cli::run()
}
