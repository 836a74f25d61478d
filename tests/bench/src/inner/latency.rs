//! `latency`: from a record that is sent to a result that is visible. A socket, 10 k records/s, a batch every 5 ms, each
//! committed durably before its rows are given out.
//!
//! The server sends each record at a time that is fixed beforehand and writes that time into it, so a record that is sent late
//! because the job does not take it counts as late. The sink looks at the clock when it is told to make a batch visible.

use std::collections::BTreeMap;
use std::io::Write;
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, ensure};
use arrow::array::{AsArray, RecordBatch};
use millpond_connectors::{OpenSource, SourceSpec};
use millpond_core::{BoxError, Clock, OutputMode, Sink, SinkBatch, SinkToken, StopSignal, SystemClock};
use millpond_engine::{
    ComputePool, JobOptions, JobParts, JobRunner, OnBadRecord, SinkBinding, SourceBinding, StreamGraph, Trigger,
};
use millpond_state::{FileStateStore, StateOptions};
use millpond_testkit::CollectListener;
use serde_json::json;
use tokio::runtime::Handle;

use super::support::{build, engine, load, plain, quantile};
use crate::case::{CaseResult, InnerOptions, Phases};
use crate::compare::{Bar, figure};

const RECORDS_PER_S: u64 = 10_000;
const INTERVAL_MS: u64 = 5;
/// Of a run.
const SECONDS: u64 = 5;
const P50_MAX_MS: f64 = 5.0;
const P99_MAX_MS: f64 = 10.0;
/// The server sends what is due, then waits until so much later at least.
const SERVER_WAIT: Duration = Duration::from_micros(100);

/// How long the last records may take before they count as lost.
const PATIENCE_MS: u64 = 5_000;

pub(super) fn run(options: &InnerOptions) -> Result<CaseResult> {
    let component = build(&options.millpond, "tests/bench/jobs/identity")?;
    let seconds = if options.quick { 2 } else { SECONDS };
    let runs = (0..options.repetitions).map(|_| measure(options, &component, seconds));
    let runs: Vec<Run> = runs.collect::<Result<_>>()?;
    let each = |of: fn(&Run) -> f64| runs.iter().map(of).collect::<Vec<f64>>();
    let phases: Vec<_> = runs.iter().map(|run| run.phases).collect();
    Ok(CaseResult {
        case: "latency".to_owned(),
        what: format!(
            "a socket with {RECORDS_PER_S} records/s, batches of {INTERVAL_MS} ms, a wasm stage, durable commits"
        ),
        figures: vec![
            figure("record to result, p50", "ms", &each(|run| quantile(&run.latencies_ms, 0.5)))
                .must(Bar::MedianAtMost(P50_MAX_MS)),
            figure("record to result, p99", "ms", &each(|run| quantile(&run.latencies_ms, 0.99)))
                .must(Bar::MedianAtMost(P99_MAX_MS)),
            figure("record to result, slowest", "ms", &each(|run| quantile(&run.latencies_ms, 1.0))),
            figure("of that, processing of a batch, p50", "ms", &each(|run| quantile(&run.processing_ms, 0.5))),
        ],
        phases: vec![Phases::mean("", &phases)],
        notes: vec![
            format!(
                "a run is {} records over {seconds} s, the first second left out; all came, in order; figures are over runs",
                seconds * RECORDS_PER_S
            ),
            "a record waits half an interval on average before its batch begins".to_owned(),
        ],
    })
}

/// One run of the job.
struct Run {
    /// Of each record, in order.
    latencies_ms: Vec<f64>,
    processing_ms: Vec<f64>,
    phases: [(&'static str, f64); 6],
}

fn measure(options: &InnerOptions, component: &[u8], seconds: u64) -> Result<Run> {
    let records = seconds * RECORDS_PER_S;
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
    let server = Server::start(Arc::clone(&clock), records)?;
    let folder = tempfile::tempdir_in(&options.data_dir)?;
    let sink = StampSink { clock: Arc::clone(&clock), inner: Arc::default() };
    let listener = CollectListener::new();
    // Dropped after the runner, whose source has a task on it.
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let outside = Outside {
        folder: folder.path(),
        port: server.port,
        runtime: runtime.handle(),
        clock,
        sink: &sink,
        listener: &listener,
    };
    let mut runner = outside.runner(component)?;
    run_until_all_is_visible(&mut runner, server, &sink, records)?;
    let mut latencies_ms = sink.latencies_ms(records)?;
    latencies_ms.drain(..usize::try_from(RECORDS_PER_S).expect("ten thousand"));
    let phases = runner.summary().phases.named().map(|(name, us)| (name, us as f64 / 1000.0));
    Ok(Run { latencies_ms, processing_ms: batches_ms(&listener), phases })
}

fn batches_ms(listener: &CollectListener) -> Vec<f64> {
    listener
        .batches()
        .iter()
        .filter(|batch| batch.rows_in > 0)
        .map(|batch| batch.processing_us as f64 / 1000.0)
        .collect()
}

/// The job's surroundings.
struct Outside<'a> {
    folder: &'a Path,
    port: u16,
    runtime: &'a Handle,
    clock: Arc<dyn Clock>,
    sink: &'a StampSink,
    listener: &'a CollectListener,
}

impl Outside<'_> {
    fn runner(self, component: &[u8]) -> Result<JobRunner> {
        let component = load(&engine()?, component, "latency", &[("rows", "true")])?;
        let graph = StreamGraph::try_new(component.plan().clone(), INTERVAL_MS)?;
        let socket = json!({ "host": "127.0.0.1", "port": self.port, "reconnect": false });
        let receiver = SourceSpec::parse("socket", socket)?.open(OpenSource {
            name: "lines".to_owned(),
            job_dir: self.folder.to_owned(),
            schema: Arc::clone(graph.sources()[0].1),
            runtime: self.runtime.clone(),
            clock: Arc::clone(&self.clock),
            stdin: Box::new(std::io::empty()),
        });
        let source = SourceBinding { receiver: receiver.map_err(plain)?, on_bad_record: OnBadRecord::Fail };
        let sink = SinkBinding { sink: Box::new(self.sink.clone()), mode: OutputMode::Append };
        let state = StateOptions {
            dir: self.folder.join("state"),
            job: "latency".to_owned(),
            fold_every_ms: 10_000,
            clock: Arc::clone(&self.clock),
        };
        let parts = JobParts {
            graph,
            function: Arc::new(component),
            transforms: BTreeMap::new(),
            broadcasts: BTreeMap::new(),
            sources: BTreeMap::from([("lines".to_owned(), source)]),
            sinks: BTreeMap::from([("out".to_owned(), sink)]),
            store: Box::new(FileStateStore::open(state)?),
            clock: self.clock,
            pool: Arc::new(ComputePool::try_new(2)?),
            listener: Arc::new(self.listener.clone()),
        };
        let options = JobOptions {
            name: "latency".to_owned(),
            batch_interval_ms: INTERVAL_MS,
            trigger: Trigger::Continuous,
            parallelism: 2,
            commit_every: 1,
            on_bad_record: OnBadRecord::Fail,
        };
        Ok(JobRunner::try_new(options, parts)?)
    }
}

/// Runs the job until the server has sent everything and all of it has come out.
fn run_until_all_is_visible(runner: &mut JobRunner, server: Server, sink: &StampSink, records: u64) -> Result<()> {
    let stop = StopSignal::new();
    let (finish, sink) = (stop.clone(), sink.clone());
    let watcher = std::thread::spawn(move || {
        let sent = server.thread.join();
        let nobody = StopSignal::new();
        for _ in 0..PATIENCE_MS / INTERVAL_MS {
            if sink.inner().rows >= records || nobody.wait_timeout(Duration::from_millis(INTERVAL_MS)) {
                break;
            }
        }
        finish.finish();
        sent.map_err(|_| anyhow!("the server panicked"))?
    });
    let result = runner.run(&stop);
    // When the job failed the server ends as well: its connection is gone.
    let sent = watcher.join().map_err(|_| anyhow!("the watcher panicked"))?;
    result.context("the job failed")?;
    sent
}

/// Sends numbered records on a fixed schedule to the first who connects.
struct Server {
    port: u16,
    thread: JoinHandle<Result<()>>,
}

impl Server {
    fn start(clock: Arc<dyn Clock>, records: u64) -> Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0))?;
        let port = listener.local_addr()?.port();
        let thread = std::thread::Builder::new().name("bench-server".to_owned());
        let thread = thread.spawn(move || {
            let (stream, _) = listener.accept()?;
            stream.set_nodelay(true)?;
            send(stream, &*clock, records).context("the job hung up")
        })?;
        Ok(Self { port, thread })
    }
}

/// A record is `STAMP letters`; the stamp says when it is due, in microseconds.
fn send(mut stream: TcpStream, clock: &dyn Clock, records: u64) -> std::io::Result<()> {
    let every_us = 1_000_000 / RECORDS_PER_S;
    let began_us = clock.monotonic_us();
    let (mut next, mut lines) = (0, Vec::new());
    let nobody = StopSignal::new();
    while next < records {
        let now_us = clock.monotonic_us();
        lines.clear();
        while next < records && began_us + next * every_us <= now_us {
            writeln!(lines, "{} the mill pond holds the stream back", began_us + next * every_us)?;
            next += 1;
        }
        stream.write_all(&lines)?;
        let _never_raised = nobody.wait_timeout(SERVER_WAIT);
    }
    Ok(())
}

/// Notes when each row became visible.
#[derive(Clone)]
struct StampSink {
    clock: Arc<dyn Clock>,
    inner: Arc<Mutex<Stamped>>,
}

#[derive(Default)]
struct Stamped {
    prepared: Vec<RecordBatch>,
    /// Of those that are visible.
    rows: u64,
    /// The microsecond in which rows became visible, and the rows.
    visible: Vec<(u64, Vec<RecordBatch>)>,
}

impl StampSink {
    fn inner(&self) -> MutexGuard<'_, Stamped> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Milliseconds from due to visible of each record, in order.
    fn latencies_ms(&self, records: u64) -> Result<Vec<f64>> {
        let inner = self.inner();
        let mut latencies = Vec::new();
        let mut newest = 0;
        for (visible_us, batches) in &inner.visible {
            for row in batches.iter().flat_map(|batch| batch.column(0).as_string::<i32>().iter()) {
                let due = row.and_then(|row| row.split(' ').next()).and_then(|stamp| stamp.parse::<u64>().ok());
                let due = due.with_context(|| format!("a record without a stamp: {row:?}"))?;
                ensure!(due > newest || latencies.is_empty(), "records came twice or out of order");
                newest = due;
                latencies.push(visible_us.saturating_sub(due) as f64 / 1000.0);
            }
        }
        ensure!(latencies.len() as u64 == records, "{} of {records} records came out", latencies.len());
        Ok(latencies)
    }
}

impl Sink for StampSink {
    fn recover(&mut self, _last: Option<&SinkToken>) -> Result<(), BoxError> {
        Ok(())
    }

    fn prepare(&mut self, batch: &SinkBatch) -> Result<SinkToken, BoxError> {
        self.inner().prepared = batch.partitions.iter().map(|partition| partition.rows.clone()).collect();
        Ok(SinkToken { batch_time: batch.batch_time, data: Vec::new() })
    }

    fn commit(&mut self, _token: &SinkToken) -> Result<(), BoxError> {
        let visible_us = self.clock.monotonic_us();
        let mut inner = self.inner();
        let rows = std::mem::take(&mut inner.prepared);
        inner.rows += rows.iter().map(|rows| rows.num_rows() as u64).sum::<u64>();
        inner.visible.push((visible_us, rows));
        Ok(())
    }

    fn abort(&mut self, _token: &SinkToken) -> Result<(), BoxError> {
        self.inner().prepared.clear();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use millpond_core::BatchTime;
    use millpond_core::batch::partitions;
    use millpond_testkit::ManualClock;
    use millpond_testkit::rows::lines;

    use super::*;

    /// What a sink found that was given these lines 7 ms after the clock's start.
    fn latencies(sent: &[&str], records: u64) -> Result<Vec<f64>> {
        let clock = ManualClock::new(0);
        let mut sink = StampSink { clock: Arc::new(clock.clone()), inner: Arc::default() };
        let rows = lines(sent);
        let batch = SinkBatch { batch_time: BatchTime(5), schema: rows.schema(), partitions: partitions(vec![rows]) };
        clock.advance_ms(7);
        let token = sink.prepare(&batch).map_err(plain)?;
        sink.commit(&token).map_err(plain)?;
        sink.latencies_ms(records)
    }

    #[test]
    fn latency_is_from_the_stamp_to_the_commit() {
        assert_eq!(latencies(&["1000 a", "2500 b"], 2).unwrap(), [6.0, 4.5]);
    }

    #[test]
    fn a_record_that_is_lost_or_doubled_is_an_error() {
        assert!(latencies(&["1000 a"], 2).is_err());
        assert!(latencies(&["1000 a", "1000 a"], 2).is_err());
        assert!(latencies(&["no stamp"], 1).is_err());
    }
}
