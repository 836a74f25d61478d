//! The binary: `millpond_cli` with the process's arguments and streams.

use std::process::ExitCode;

use millpond_cli::{Streams, main_with};

fn main() -> ExitCode {
    main_with(std::env::args_os(), Streams::standard()).into()
}
