//! A job that is ready to run.

use std::collections::BTreeMap;

use millpond_connectors::memory::{MemoryInput, MemoryOutput};
use millpond_core::{BatchReport, BatchTime, BoxError, StopSignal};
use millpond_engine::{JobRunner, Summary};

use crate::Host;

/// A job: its code, its inputs and outputs, its state. Runs on the thread that calls [`run`](Self::run).
pub struct Job {
    pub(crate) runner: JobRunner,
    pub(crate) stop: StopSignal,
    pub(crate) inputs: BTreeMap<String, MemoryInput>,
    pub(crate) outputs: BTreeMap<String, MemoryOutput>,
    /// Connections live on its threads.
    pub(crate) _host: Host,
}

impl Job {
    /// The input of a source in memory, once: the caller has it alone, so that dropping it ends the source.
    pub fn input(&mut self, source: &str) -> Option<MemoryInput> {
        self.inputs.remove(source)
    }

    /// The output of a sink in memory.
    #[must_use]
    pub fn output(&self, sink: &str) -> Option<MemoryOutput> {
        self.outputs.get(sink).cloned()
    }

    /// Stops the job from another thread; see [`StopSignal`].
    #[must_use]
    pub fn stop_signal(&self) -> StopSignal {
        self.stop.clone()
    }

    /// Runs batches until there is nothing more (trigger `AvailableNow`) or until the stop signal is raised, commits what is
    /// left and closes the state.
    ///
    /// **Errors**: whatever fails the job. The newest commit stays as it is, and a new `Job` goes on from there.
    pub fn run(&mut self) -> Result<Summary, BoxError> {
        Ok(self.runner.run(&self.stop)?)
    }

    /// Runs the next batch at once, whatever the trigger says, and waits for its commit: for programs that keep time
    /// themselves. [`finish`](Self::finish) comes after the last.
    ///
    /// **Errors**: as [`run`](Self::run).
    pub fn run_batch(&mut self) -> Result<BatchReport, BoxError> {
        let batch_time = self.runner.next_batch_time();
        Ok(self.runner.run_batch(batch_time)?)
    }

    /// The batch time that [`run_batch`](Self::run_batch) would have.
    #[must_use]
    pub fn next_batch_time(&self) -> BatchTime {
        self.runner.next_batch_time()
    }

    /// Commits what is left and closes the state.
    ///
    /// **Errors**: when the commit fails.
    pub fn finish(&mut self) -> Result<Summary, BoxError> {
        Ok(self.runner.finish()?)
    }
}
