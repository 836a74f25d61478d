//! The `millpond` command: builds, checks and runs jobs.
//!
//! This crate wires the others together and talks to a person: job files (`job_file`), one file per
//! command (`commands`), errors as text (`render`), the live line (`screen`, `progress`). It decides nothing about streams; that is `millpond-engine`. [`main_with`] is the whole program, so tests call it without a process.

pub mod allocator;
pub mod args;
pub mod commands;
pub mod error;
pub mod job;
pub mod job_file;
pub mod logging;
pub mod progress;
pub mod render;
pub mod screen;
pub mod summary;
pub mod templates;
pub mod text;

mod budget;
mod file_events;
mod golden;
mod live_line;
mod paths;
mod report;
mod signals;
mod watched_store;

use std::ffi::OsString;
use std::process::ExitCode;

use clap::Parser;
use millpond_core::Domain;

use args::{Cli, Command};
use commands::Failure;
pub use error::Error;
pub use job_file::JobFile;
use screen::Screen;
pub use screen::Streams;

/// How the program ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// Done: 0.
    Done,
    /// The job failed: 1.
    JobFailed,
    /// Usage or configuration, found before the first batch: 2.
    Usage,
    /// Stopped at once by the user: 130.
    Aborted,
}

impl Exit {
    /// The process's exit code.
    #[must_use]
    pub fn code(self) -> u8 {
        match self {
            Self::Done => 0,
            Self::JobFailed => 1,
            Self::Usage => 2,
            Self::Aborted => 130,
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.code())
    }
}

/// The whole program. `args` begin with the program's name, as the process's own do.
pub fn main_with(args: impl IntoIterator<Item = OsString>, streams: Streams) -> Exit {
    let screen = Screen::new(streams);
    let cli = match Cli::try_parse_from(args) {
        Ok(cli) => cli,
        Err(error) => return usage(&error, &screen),
    };
    logging::start(&screen, cli.log_format);
    let result = match &cli.command {
        Command::Build(args) => commands::build::build(args, &screen),
        Command::Check(args) => commands::check::check(args, &screen),
        Command::Run(args) => commands::run::run(args, cli.log_format, &screen),
        Command::Plan(args) => commands::plan::plan(args, &screen),
        Command::Inspect(args) => commands::inspect::inspect(args, &screen),
        Command::Explain(args) => commands::explain::explain(args, &screen),
        Command::New(args) => commands::new::new(args, &screen),
        Command::Test(args) => commands::test::test(args, &screen),
        Command::Watch(args) => commands::watch::watch(args, cli.log_format, &screen),
        Command::Completions(args) => commands::completions::completions(args, &screen),
    };
    let (error, exit) = match result {
        Ok(()) => return Exit::Done,
        Err(Failure::Aborted) => return Exit::Aborted,
        Err(Failure::Job(error)) => (error, Exit::JobFailed),
        // A defect of Millpond is not the user's to put right, whenever it shows.
        Err(Failure::BeforeStart(error)) if error.domain() == Domain::Internal => (error, Exit::JobFailed),
        Err(Failure::BeforeStart(error)) => (error, Exit::Usage),
    };
    screen.message(&render::render(&error, screen.err_is_colored()));
    exit
}

/// Help and version go to standard output and are no error; the rest is.
fn usage(error: &clap::Error, screen: &Screen) -> Exit {
    let text = error.render();
    if error.use_stderr() {
        let text = if screen.err_is_colored() { text.ansi().to_string() } else { text.to_string() };
        screen.message(text.trim_end());
        return Exit::Usage;
    }
    let text = if screen.out_is_colored() { text.ansi().to_string() } else { text.to_string() };
    match screen.print(&text) {
        Ok(()) => Exit::Done,
        Err(_) => Exit::JobFailed,
    }
}
