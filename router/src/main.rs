//! The binary `weir`: a thin command line around the library `router`.

mod cli;
#[cfg(feature = "demo")]
mod demo;

use std::process::ExitCode;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    cli::main()
}
