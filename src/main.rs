//! The `tidegate` command.

use std::process::ExitCode;

/// Gives memory back after a burst, and takes less of it for each connection than the system's.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    tidegate::cli::run()
}
