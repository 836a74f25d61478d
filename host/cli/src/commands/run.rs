//! `millpond run`: wires a job together and runs it.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use millpond_core::{BoxError, Clock, Listener, StopSignal, SystemClock};
use millpond_engine::{ComputePool, JobOptions, JobParts, JobRunner, Trigger};
use millpond_state::{FileStateStore, StateOptions};
use tokio::runtime::Runtime;

use super::{Failure, io_runtime};
use crate::args::{LogFormat, RunArgs};
use crate::error::{Error, Result};
use crate::job::LoadedJob;
use crate::job_file::{JobFile, cores};
use crate::progress::Progress;
use crate::report::ReportFile;
use crate::screen::Screen;
use crate::watched_store::WatchedStore;
use crate::{paths, signals, summary};

/// Runs a job to its end, or until it is told to stop.
pub fn run(args: &RunArgs, format: LogFormat, screen: &Screen) -> Result<(), Failure> {
    run_with(args, format, screen, &StopSignal::new(), |runtime, stop| signals::listen(runtime, stop, screen))
}

/// Runs a job to its end, or until somebody else raises `stop`.
pub(super) fn run_until(args: &RunArgs, format: LogFormat, screen: &Screen, stop: &StopSignal) -> Result<(), Failure> {
    run_with(args, format, screen, stop, |_, _| Ok(()))
}

/// `listen` is called when all that can be wrong with the job has been looked at.
fn run_with(
    args: &RunArgs,
    format: LogFormat,
    screen: &Screen,
    stop: &StopSignal,
    listen: impl FnOnce(&Runtime, &StopSignal) -> Result<(), Error>,
) -> Result<(), Failure> {
    let job = LoadedJob::load(&args.job)?;
    job.cross_check()?;
    job.check_modes()?;
    job.check_trigger()?;
    job.check_loops()?;
    job.file.check_streams()?;
    let runtime = io_runtime()?;
    let state_dir = match &args.state {
        Some(dir) => paths::without_detours(std::path::absolute(dir).unwrap_or_else(|_| dir.clone())),
        None => job.file.state_dir(),
    };
    let (name, trigger, inputs) = (job.file.job.name.clone(), job.file.job.trigger, inputs(&job.file));
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
    let progress = Arc::new(Progress::new(screen.clone(), name.clone(), Arc::clone(&clock)));
    let report = args.report.as_ref().map(|path| ReportFile::create(path, Arc::clone(&progress) as _)).transpose()?;
    let report = report.map(Arc::new);
    let listener: Arc<dyn Listener> = report.clone().map_or(progress as _, |report| report as _);
    let outside = Outside { is_fresh: args.fresh, state_dir: state_dir.clone(), clock, listener, stop: stop.clone() };
    let (mut runner, had_commit) = assemble(job, outside, &runtime, screen)?;
    report.as_ref().map_or(Ok(()), |report| report.begin())?;
    listen(&runtime, stop)?;
    if format == LogFormat::Text {
        screen.start_live();
    }
    let result = runner.run(stop);
    screen.end_live();
    runtime.shutdown_background();
    if stop.is_abort() {
        return Err(Failure::Aborted);
    }
    let summary = runner.summary();
    let how = match &result {
        Err(_) => "failed",
        Ok(_) if stop.is_raised() => "stopped",
        Ok(_) => "done",
    };
    let is_idle = trigger == Trigger::AvailableNow && how == "done" && summary.batches == 0;
    let hint = is_idle.then(|| idle_hint(had_commit, &inputs, &state_dir));
    screen.message(&match format {
        LogFormat::Text => summary::render(&name, how, &summary, hint.as_deref()),
        LogFormat::Json => summary::render_json(&name, how, &summary, hint.as_deref()),
    });
    let reported = report.map_or(Ok(()), |report| report.finish(&summary));
    result.map_err(|error| Failure::Job(BoxError::from(error)))?;
    reported.map_err(|error| Failure::Job(error.into()))
}

/// What a run needs besides the job.
struct Outside {
    is_fresh: bool,
    state_dir: PathBuf,
    clock: Arc<dyn Clock>,
    listener: Arc<dyn Listener>,
    stop: StopSignal,
}

/// Opens everything outside, the state last: whatever fails before it leaves no trace, and forgets nothing. Says besides
/// whether the state had a commit.
fn assemble(job: LoadedJob, outside: Outside, runtime: &Runtime, screen: &Screen) -> Result<(JobRunner, bool)> {
    let Outside { is_fresh, state_dir, clock, listener, stop } = outside;
    let transforms = job.load_transforms()?;
    let broadcasts = job.open_broadcasts()?;
    let pool = Arc::new(ComputePool::try_new(cores())?);
    let sources = job.open_sources(runtime.handle(), &clock)?;
    let sinks = job.open_sinks(screen, &stop)?;
    let LoadedJob { file, component, graph, .. } = job;
    if is_fresh {
        millpond_state::forget(&state_dir, &file.job.name)?;
    }
    let store = FileStateStore::open(StateOptions {
        dir: state_dir,
        job: file.job.name.clone(),
        fold_every_ms: file.checkpoint.fold_every_ms,
        clock: Arc::clone(&clock),
    })?;
    let had_commit = Arc::new(AtomicBool::new(false));
    let store = WatchedStore::new(Box::new(store), Arc::clone(&had_commit));
    let options = JobOptions {
        name: file.job.name.clone(),
        batch_interval_ms: file.job.batch_interval_ms,
        trigger: file.job.trigger,
        parallelism: file.job.parallelism,
        commit_every: file.checkpoint.every_batches,
        on_bad_record: file.job.on_bad_record,
    };
    let parts = JobParts {
        graph,
        function: Arc::new(component),
        transforms,
        broadcasts,
        sources,
        sinks,
        store: Box::new(store),
        clock,
        pool,
        listener,
    };
    let runner = JobRunner::try_new(options, parts)?;
    Ok((runner, had_commit.load(Ordering::Relaxed)))
}

/// Where the job looks for input, for a person: `lines: data/*.txt`.
fn inputs(file: &JobFile) -> String {
    let inputs = file.sources.iter().filter_map(|(name, source)| Some((name, source.files.as_ref()?)));
    inputs.map(|(name, files)| format!("{name}: {}", files.path)).collect::<Vec<_>>().join(", ")
}

/// A run without a batch shows nothing, which looks like a fault to those who do not expect it.
fn idle_hint(had_commit: bool, inputs: &str, state_dir: &Path) -> String {
    match had_commit {
        true => format!(
            "nothing new since the last run; --fresh starts from the beginning (state: {})",
            state_dir.display()
        ),
        false if inputs.is_empty() => "no input was found".to_owned(),
        false => format!("no input was found ({inputs})"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_idle_run_says_why() {
        let hint = |had_commit, inputs| idle_hint(had_commit, inputs, Path::new("/s"));
        assert_eq!(
            hint(true, "lines: data/*.txt"),
            "nothing new since the last run; --fresh starts from the beginning (state: /s)"
        );
        assert_eq!(hint(false, "lines: data/*.txt"), "no input was found (lines: data/*.txt)");
        assert_eq!(hint(false, ""), "no input was found");
    }
}
