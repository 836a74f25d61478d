//! `millpond completions`: what a shell needs to complete this command's lines.

use clap::CommandFactory;

use super::{Failure, print};
use crate::args::{Cli, CompletionsArgs};
use crate::screen::Screen;

/// Prints the shell's script.
pub fn completions(args: &CompletionsArgs, screen: &Screen) -> Result<(), Failure> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "millpond", &mut script);
    print(screen, &String::from_utf8_lossy(&script))
}
