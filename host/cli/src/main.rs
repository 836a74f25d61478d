//! The binary: `millpond_cli` with the process's arguments and streams.

use std::process::ExitCode;

use millpond_cli::{Streams, allocator, main_with};

fn main() -> ExitCode {
    allocator::keep_freed_memory();
    main_with(std::env::args_os(), Streams::standard()).into()
}
