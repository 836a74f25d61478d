//! One file per command.

pub mod build;
pub mod check;
pub mod completions;
pub mod explain;
pub mod inspect;
pub mod new;
pub mod plan;
pub mod run;
pub mod test;
pub mod watch;

use millpond_core::BoxError;
use tokio::runtime::Runtime;

use crate::error::Error;
use crate::screen::Screen;

/// How a command ends that does not end well.
#[derive(Debug)]
pub enum Failure {
    /// Before the first batch: usage, configuration, component, plan, connectors.
    BeforeStart(BoxError),
    /// The job failed.
    Job(BoxError),
    /// The user stopped the job at once.
    Aborted,
}

impl<E: Into<BoxError>> From<E> for Failure {
    fn from(error: E) -> Self {
        Self::BeforeStart(error.into())
    }
}

/// Writes a result.
fn print(screen: &Screen, text: &str) -> Result<(), Failure> {
    screen.print(text).map_err(|error| Failure::Job(Error::Output(error).into()))
}

/// Threads for connections and signals. Computing happens elsewhere, so two are plenty.
fn io_runtime() -> Result<Runtime, Error> {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .thread_name("millpond-io")
        .enable_all()
        .build()
        .map_err(|source| Error::SetUp { what: "no threads for connections", source })
}
