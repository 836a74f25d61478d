//! `millpond run`: wires a job together and runs it.

use std::path::PathBuf;
use std::sync::Arc;

use millpond_core::{BoxError, Clock, StopSignal, SystemClock};
use millpond_engine::{ComputePool, JobOptions, JobParts, JobRunner, Summary, Trigger};
use millpond_state::{FileStateStore, StateOptions};
use tokio::runtime::Runtime;

use super::{Failure, io_runtime};
use crate::args::RunArgs;
use crate::error::Result;
use crate::job::LoadedJob;
use crate::job_file::cores;
use crate::progress::Progress;
use crate::screen::Screen;
use crate::{fresh, signals, summary};

/// Runs a job to its end, or until it is told to stop.
pub fn run(args: &RunArgs, screen: &Screen) -> Result<(), Failure> {
    let job = LoadedJob::load(&args.job)?;
    job.cross_check()?;
    job.check_modes()?;
    job.check_trigger()?;
    let runtime = io_runtime()?;
    let stop = StopSignal::new();
    let state_dir = match &args.state {
        Some(dir) => std::path::absolute(dir).unwrap_or_else(|_| dir.clone()),
        None => job.file.state_dir(),
    };
    let (name, trigger) = (job.file.job.name.clone(), job.file.job.trigger);
    let mut runner = assemble(job, args.fresh, state_dir.clone(), &runtime, screen)?;
    signals::listen(&runtime, &stop, screen)?;
    screen.start_live();
    let result = runner.run(&stop);
    screen.end_live();
    runtime.shutdown_background();
    let summary = match result {
        Ok(summary) => summary,
        Err(_) if stop.is_abort() => return Err(Failure::Aborted),
        Err(error) => return Err(Failure::Job(BoxError::from(error))),
    };
    if stop.is_abort() {
        return Err(Failure::Aborted);
    }
    let how = if stop.is_raised() { "stopped" } else { "done" };
    screen.message(&summary::render(&name, how, &summary));
    if let Some(hint) = nothing_new(trigger, &stop, &summary) {
        screen.message(&format!("{hint} (state: {})", state_dir.display()));
    }
    Ok(())
}

/// Opens everything outside, the state last: whatever fails before it leaves no trace.
fn assemble(
    job: LoadedJob,
    is_fresh: bool,
    state_dir: PathBuf,
    runtime: &Runtime,
    screen: &Screen,
) -> Result<JobRunner> {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
    let transforms = job.load_transforms()?;
    let pool = Arc::new(ComputePool::try_new(cores())?);
    let sources = job.open_sources(runtime.handle(), &clock)?;
    let sinks = job.open_sinks(screen)?;
    let LoadedJob { file, component, graph, .. } = job;
    if is_fresh {
        fresh::forget(&state_dir, &file.job.name)?;
    }
    let store = FileStateStore::open(StateOptions {
        dir: state_dir,
        job: file.job.name.clone(),
        fold_every_ms: file.checkpoint.fold_every_ms,
        clock: Arc::clone(&clock),
    })?;
    let options = JobOptions {
        name: file.job.name.clone(),
        batch_interval_ms: file.job.batch_interval_ms,
        trigger: file.job.trigger,
        parallelism: file.job.parallelism,
        commit_every: file.checkpoint.every_batches,
        on_bad_record: file.job.on_bad_record,
    };
    let listener = Arc::new(Progress::new(screen.clone(), file.job.name, Arc::clone(&clock)));
    let parts = JobParts {
        graph,
        function: Arc::new(component),
        transforms,
        sources,
        sinks,
        store: Box::new(store),
        clock,
        pool,
        listener,
    };
    JobRunner::try_new(options, parts).map_err(BoxError::from)
}

/// A second run over input that is finished shows nothing, which looks like a fault to those who do not expect it.
fn nothing_new(trigger: Trigger, stop: &StopSignal, summary: &Summary) -> Option<&'static str> {
    let is_idle = trigger == Trigger::AvailableNow && !stop.is_raised() && summary.rows_in == 0;
    is_idle.then_some("nothing new since the last run; --fresh starts from the beginning")
}
