//! The `curfew` command.

use std::process::ExitCode;

use curfew_wipe::WipeOnFree;

/// Everything that the process frees is wiped: message content passes through buffers of libraries that do not do it.
#[global_allocator]
static ALLOCATOR: WipeOnFree = WipeOnFree::new();

fn main() -> ExitCode {
    curfew::cli::main()
}
