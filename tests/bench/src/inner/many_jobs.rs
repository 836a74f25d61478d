//! `many-jobs`: what a hundred small jobs cost a process when there is nothing to do. Each is a word count that has done its
//! work, with a batch every second, committed durably; the WebAssembly engine and the compute threads are everybody's.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Result, anyhow, ensure};
use millpond_connectors::{OpenSink, OpenSource, SinkSpec, SourceSpec};
use millpond_core::{Clock, StopSignal, SystemClock};
use millpond_engine::{
    ComputePool, JobOptions, JobParts, JobRunner, OnBadRecord, SinkBinding, SourceBinding, StreamGraph, Summary,
    Trigger,
};
use millpond_state::{FileStateStore, StateOptions};
use millpond_testkit::CollectListener;
use millpond_wasm::WasmEngine;
use serde_json::json;
use tokio::runtime::Runtime;

use super::process::{cpu_ms, resident_bytes, threads, threads_cpu_us};
use super::support::{build, engine, load, plain};
use crate::case::{CaseResult, InnerOptions};
use crate::compare::{Bar, figure};
use crate::data::text::TextSource;

const JOBS: usize = 100;
const INTERVAL_MS: u64 = 1000;
/// Of each job's input, which it has counted before anything is measured.
const LINES: usize = 1000;
const WARM_UP_S: u64 = 3;
/// Of a figure: with a fold of each job's checkpoint in it.
const SECONDS: u64 = 10;
/// The default of a job file.
const FOLD_EVERY_MS: u64 = 10_000;
const CPU_MAX_PERCENT: f64 = 10.0;
const MEMORY_MAX_MB: f64 = 3.0;

pub(super) fn run(options: &InnerOptions) -> Result<CaseResult> {
    let component = build(&options.millpond, "plugins/wordcount")?;
    let seconds = if options.quick { 2 } else { SECONDS };
    let folder = tempfile::tempdir_in(&options.data_dir)?;
    let shared = Shared::new(folder.path(), component)?;
    let before_bytes = resident_bytes()?;
    let stop = StopSignal::new();
    let started = (0..JOBS).map(|number| shared.start(number, &stop));
    let started: Result<Vec<JoinHandle<Result<Summary>>>> = started.collect();
    let measured = started.and_then(|jobs| Ok((measure(seconds, options.repetitions)?, jobs)));
    // Those that did start end before the folder goes.
    stop.finish();
    let (measured, jobs) = measured?;
    let mut batches = 0;
    for job in jobs {
        let summary = job.join().map_err(|_| anyhow!("a job panicked"))??;
        ensure!(summary.rows_in == LINES as u64, "a job had {} of its {LINES} lines", summary.rows_in);
        batches += summary.batches;
    }
    let least = JOBS as u64 * seconds * options.repetitions as u64;
    ensure!(batches >= least, "only {batches} batches were made");
    let mb_each = |window: &Window| window.resident_bytes.saturating_sub(before_bytes) as f64 / 1e6 / JOBS as f64;
    let mb_each: Vec<f64> = measured.windows.iter().map(mb_each).collect();
    let percent: Vec<f64> = measured.windows.iter().map(|window| window.cpu_percent).collect();
    let before_mb = before_bytes as f64 / 1e6;
    Ok(CaseResult {
        case: "many-jobs".to_owned(),
        what: format!("{JOBS} idle word counts in one process, a durable commit each every {INTERVAL_MS} ms"),
        figures: vec![
            figure("processor, of one core", "%", &percent).must(Bar::MedianAtMost(CPU_MAX_PERCENT)),
            figure("memory of a job", "MB", &mb_each).must(Bar::MedianAtMost(MEMORY_MAX_MB)),
            figure("memory of the process without jobs", "MB", &[before_mb]),
        ],
        phases: Vec::new(),
        notes: vec![
            format!(
                "each counted {LINES} lines first; {WARM_UP_S} s of warming up, then a figure each {seconds} s; {batches} batches"
            ),
            format!("{} threads; processor by thread: {}", measured.threads, measured.cpu_by_thread),
            format!("checkpoints are folded every {} s, as by default", FOLD_EVERY_MS / 1000),
        ],
    })
}

struct Measured {
    windows: Vec<Window>,
    /// Which threads used the processor.
    cpu_by_thread: String,
    threads: usize,
}

/// A stretch of time, and the memory at its end.
struct Window {
    cpu_percent: f64,
    resident_bytes: u64,
}

/// Lets the jobs run for a while, some times, and looks what they use.
fn measure(seconds: u64, times: usize) -> Result<Measured> {
    let nobody = StopSignal::new();
    let _never_raised = nobody.wait_timeout(Duration::from_secs(WARM_UP_S));
    let (all, threads_before) = (SystemClock::new(), threads_cpu_us()?);
    let window = || {
        let (clock, before_ms) = (SystemClock::new(), cpu_ms(std::process::id())?);
        let _never_raised = nobody.wait_timeout(Duration::from_secs(seconds));
        let used_ms = cpu_ms(std::process::id())? - before_ms;
        let cpu_percent = used_ms as f64 * 100_000.0 / clock.monotonic_us() as f64;
        anyhow::Ok(Window { cpu_percent, resident_bytes: resident_bytes()? })
    };
    let windows = (0..times).map(|_| window()).collect::<Result<_>>()?;
    let elapsed_ms = all.monotonic_us() as f64 / 1000.0;
    let percent = |us: u64| us as f64 / 10.0 / elapsed_ms;
    let mut shares = threads_cpu_us()?;
    shares.iter_mut().for_each(|(name, us)| *us -= threads_before.get(name).copied().unwrap_or(0).min(*us));
    let mut shares: Vec<(String, u64)> = shares.into_iter().filter(|(_, us)| percent(*us) >= 0.1).collect();
    shares.sort_by_key(|(_, us)| Reverse(*us));
    let cpu_by_thread: Vec<String> = shares.iter().map(|(name, us)| format!("{name} {:.1} %", percent(*us))).collect();
    Ok(Measured { windows, cpu_by_thread: cpu_by_thread.join(", "), threads: threads()? })
}

/// What all jobs of the process share.
struct Shared<'a> {
    folder: &'a Path,
    component: Vec<u8>,
    /// What each job has to do before it is idle, so that it has state and a used instance.
    text: Vec<u8>,
    engine: WasmEngine,
    pool: Arc<ComputePool>,
    runtime: Runtime,
}

impl<'a> Shared<'a> {
    fn new(folder: &'a Path, component: Vec<u8>) -> Result<Self> {
        let engine = engine()?;
        // Compiled before memory is looked at: the code is everybody's.
        load(&engine, &component, "first", &[])?;
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
        let (mut source, mut text, mut line) = (TextSource::new(), Vec::new(), Vec::new());
        for _ in 0..LINES {
            source.line(&mut line);
            text.extend_from_slice(&line);
            text.push(b'\n');
        }
        Ok(Self { folder, component, text, engine, pool: Arc::new(ComputePool::try_new(2)?), runtime })
    }

    /// Starts a job on a thread of its own.
    fn start(&self, number: usize, stop: &StopSignal) -> Result<JoinHandle<Result<Summary>>> {
        let name = format!("job-{number}");
        let folder = self.folder.join(&name);
        std::fs::create_dir_all(folder.join("in"))?;
        std::fs::write(folder.join("in").join("first.txt"), &self.text)?;
        let mut runner = self.job(&name, &folder)?;
        let stop = stop.clone();
        let thread = std::thread::Builder::new().name(name);
        Ok(thread.spawn(move || Ok(runner.run(&stop)?))?)
    }

    fn job(&self, name: &str, folder: &Path) -> Result<JobRunner> {
        let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
        let component = load(&self.engine, &self.component, name, &[])?;
        let graph = StreamGraph::try_new(component.plan().clone(), INTERVAL_MS)?;
        let files = SourceSpec::parse("files", json!({ "path": "in" }))?;
        let receiver = files.open(OpenSource {
            name: "lines".to_owned(),
            job_dir: folder.to_owned(),
            schema: Arc::clone(graph.sources()[0].1),
            runtime: self.runtime.handle().clone(),
            clock: Arc::clone(&clock),
            stdin: Box::new(std::io::empty()),
        });
        let console = SinkSpec::parse("console", json!({ "mode": "complete" }))?;
        let sink = console.open(OpenSink {
            name: "counts".to_owned(),
            job: name.to_owned(),
            job_dir: folder.to_owned(),
            schema: Arc::clone(graph.sinks()[0].1),
            color: false,
            out: Box::new(std::io::sink()),
            stop: StopSignal::new(),
        });
        let (receiver, sink) = (receiver.map_err(plain)?, sink.map_err(plain)?);
        let state = StateOptions {
            dir: folder.join("state"),
            job: name.to_owned(),
            fold_every_ms: FOLD_EVERY_MS,
            clock: Arc::clone(&clock),
        };
        let parts = JobParts {
            graph,
            function: Arc::new(component),
            transforms: BTreeMap::new(),
            broadcasts: BTreeMap::new(),
            sources: BTreeMap::from([(
                "lines".to_owned(),
                SourceBinding { receiver, on_bad_record: OnBadRecord::Skip },
            )]),
            sinks: BTreeMap::from([("counts".to_owned(), SinkBinding { sink, mode: console.mode() })]),
            store: Box::new(FileStateStore::open(state)?),
            clock,
            pool: Arc::clone(&self.pool),
            listener: Arc::new(CollectListener::new()),
        };
        let options = JobOptions {
            name: name.to_owned(),
            batch_interval_ms: INTERVAL_MS,
            trigger: Trigger::Continuous,
            parallelism: 2,
            commit_every: 1,
            on_bad_record: OnBadRecord::Skip,
        };
        Ok(JobRunner::try_new(options, parts)?)
    }
}
