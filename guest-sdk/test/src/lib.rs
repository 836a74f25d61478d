//! Tests of Millpond jobs, as plain `cargo test`: no WebAssembly, no network, no waiting.
//!
//! The job runs on the real engine (its scheduler, shuffles, windows, state and commits), so a test sees what production
//! would do. Sources and sinks are in memory, and the clock is turned by the test.
//!
//! ```
//! use millpond::StreamingContext;
//! use millpond_test::JobTest;
//!
//! fn count_words(ctx: &mut StreamingContext) {
//!     ctx.text("lines")
//!         .split(' ')
//!         .count_by_value()
//!         .update_state_by_key(|counts, total: Option<i64>| Some(total.unwrap_or(0) + counts.sum()))
//!         .named("totals")
//!         .columns(["word", "count"])
//!         .sink("counts");
//! }
//!
//! let mut job = JobTest::new(millpond::Job::new(count_words)).start(); // in a plugin: JobTest::new(millpond_job())
//! job.feed("lines", ["to be or not to be".to_owned()]);
//! job.batch();
//! job.assert_rows("counts", [("be".to_owned(), 2_i64), ("not".to_owned(), 1), ("or".to_owned(), 1), ("to".to_owned(), 2)]);
//!
//! job.restart_with_parallelism(5); // as after a crash, from the newest commit, with more partitions
//! job.feed("lines", ["be".to_owned()]);
//! job.batch();
//! job.assert_state("totals", [("be".to_owned(), 3), ("not".to_owned(), 1), ("or".to_owned(), 1), ("to".to_owned(), 2_i64)]);
//! ```
//!
//! | a test says | with |
//! |---|---|
//! | what comes in | [`feed`](RunningJob::feed) for the next batch, [`feed_at`](RunningJob::feed_at) for a moment |
//! | how time goes on | [`batch`](RunningJob::batch), [`run_until`](RunningJob::run_until), [`advance`](RunningJob::advance) as if stopped meanwhile |
//! | what happens to the job | [`restart`](RunningJob::restart), [`restart_with_parallelism`](RunningJob::restart_with_parallelism), [`try_batch`](RunningJob::try_batch) for a batch that fails |
//! | what must come out | [`assert_rows`](RunningJob::assert_rows), [`assert_rows_in_order`](RunningJob::assert_rows_in_order), [`assert_no_rows`](RunningJob::assert_no_rows); [`rows`](RunningJob::rows) and [`batches`](RunningJob::batches) to look for oneself |
//! | what is kept | [`assert_state`](RunningJob::assert_state), [`state`](RunningJob::state) |
//! | what is counted on the side | [`assert_accumulator`](RunningJob::assert_accumulator), [`accumulator`](RunningJob::accumulator) |
//! | what is refused | [`assert_rejected`](RunningJob::assert_rejected), [`rejections`](RunningJob::rejections) |
//! | how the job is set | [`param`](JobTest::param), [`batch_interval_ms`](JobTest::batch_interval_ms), [`parallelism`](JobTest::parallelism), [`mode`](JobTest::mode) and others of [`JobTest`] |
//!
//! With the feature `component` the same test also runs against the component that is shipped: `JobTest::component`, `both!`. With the
//! feature `proptest` there are `strategies` for random rows. Tests that are data instead of code are golden cases: `millpond test`.

#![deny(missing_docs)]

mod assert;
#[cfg(feature = "component")]
mod component;
mod convert;
mod function;
#[cfg(feature = "proptest")]
pub mod strategies;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use millpond::runtime::Param;
use millpond::{Job, Row, Transform};
pub use millpond_core::Number;
use millpond_core::{
    BatchReport, BatchTime, BroadcastSource, Clock, OutputMode, Plan, Report, TransformFunction, UserFunction,
};
pub use millpond_engine::OnBadRecord;
use millpond_engine::{ComputePool, JobOptions, JobParts, JobRunner, SinkBinding, SourceBinding, StreamGraph, Trigger};
use millpond_testkit::{CollectListener, CollectSink, ManualClock, MemoryStore, ScriptReceiver, SetBroadcast};

pub use assert::Rejected;
use function::{NativeFunction, NativeTransform};

/// The moment at which every test job starts, milliseconds since the Unix epoch: 2023-11-14T22:13:20Z.
pub const START_MS: i64 = 1_700_000_000_000;

/// Settings of a job under test.
pub struct JobTest {
    job: Job,
    params: Vec<Param>,
    batch_interval_ms: u64,
    parallelism: usize,
    modes: BTreeMap<String, OutputMode>,
    transforms: BTreeMap<String, Transform>,
    function: Option<Arc<dyn UserFunction>>,
    #[cfg(feature = "component")]
    component: Option<std::path::PathBuf>,
    broadcasts: BTreeMap<String, millpond::runtime::Batch>,
    commit_every: u64,
    on_bad_record: OnBadRecord,
}

impl JobTest {
    /// A test of this job: one-second batches, two partitions, sinks in mode `complete`, no params.
    #[must_use]
    pub fn new(job: Job) -> Self {
        Self {
            job,
            params: Vec::new(),
            batch_interval_ms: 1000,
            parallelism: 2,
            modes: BTreeMap::new(),
            transforms: BTreeMap::new(),
            function: None,
            #[cfg(feature = "component")]
            component: None,
            broadcasts: BTreeMap::new(),
            commit_every: 1,
            on_bad_record: OnBadRecord::Skip,
        }
    }

    /// Sets an entry of `[params]`.
    #[must_use]
    pub fn param(mut self, name: &str, value: impl ToString) -> Self {
        self.params.push(Param { name: name.to_owned(), value: value.to_string() });
        self
    }

    /// Sets the batch interval; milliseconds.
    #[must_use]
    pub fn batch_interval_ms(mut self, ms: u64) -> Self {
        self.batch_interval_ms = ms;
        self
    }

    /// Sets how many partitions there are after a shuffle.
    #[must_use]
    pub fn parallelism(mut self, partitions: usize) -> Self {
        self.parallelism = partitions;
        self
    }

    /// Sets a sink's output mode.
    #[must_use]
    pub fn mode(mut self, sink: &str, mode: OutputMode) -> Self {
        self.modes.insert(sink.to_owned(), mode);
        self
    }

    /// Gives the job a transform, for `transform_by(name)`.
    #[must_use]
    pub fn transform(mut self, name: &str, transform: Transform) -> Self {
        self.transforms.insert(name.to_owned(), transform);
        self
    }

    /// Runs this code instead of the job's own, which is then only asked for its plan: the same job as a component, say.
    #[must_use]
    pub fn function(mut self, function: Arc<dyn UserFunction>) -> Self {
        self.function = Some(function);
        self
    }

    /// Gives a broadcast of the job its first value, in place of `[broadcasts.NAME]`.
    ///
    /// ```
    /// # use millpond_test::JobTest;
    /// let job = millpond::Job::new(|ctx| {
    ///     let rates = ctx.broadcast_map::<String, f64>("rates");
    ///     ctx.text("currencies").map::<f64>(move |currency| rates.get(currency).unwrap_or(1.0)).sink("out");
    /// });
    /// let mut job = JobTest::new(job).broadcast("rates", [("USD".to_owned(), 0.9)]).start();
    /// job.feed("currencies", ["USD".to_owned(), "EUR".to_owned()]);
    /// job.batch();
    /// assert_eq!(job.rows::<f64>("out"), [0.9, 1.0]);
    /// job.set_broadcast("rates", [("USD".to_owned(), 0.8)]);
    /// job.feed("currencies", ["USD".to_owned()]);
    /// job.batch();
    /// assert_eq!(job.rows::<f64>("out"), [0.8]);
    /// ```
    ///
    /// # Panics
    /// If the rows are more than a batch can hold.
    #[must_use]
    #[track_caller]
    pub fn broadcast<T: Row>(mut self, name: &str, rows: impl IntoIterator<Item = T>) -> Self {
        let batch = millpond::runtime::rows_to_batch(rows).unwrap_or_else(|failure| panic!("{}", failure.message));
        self.broadcasts.insert(name.to_owned(), batch);
        self
    }

    /// Commits after every so many batches instead of each. Output appears with its commit.
    #[must_use]
    pub fn commit_every(mut self, batches: u64) -> Self {
        self.commit_every = batches;
        self
    }

    /// Says what happens after a row that a closure refused; without it, the job goes on.
    #[must_use]
    pub fn on_bad_record(mut self, on_bad_record: OnBadRecord) -> Self {
        self.on_bad_record = on_bad_record;
        self
    }

    /// What is wrong with the job, as the command line would say it; `Ok` is its plan.
    ///
    /// # Errors
    /// The plan's error, or that of a rule which the plan breaks.
    pub fn plan(&self) -> Result<Plan, String> {
        let function = NativeFunction::try_new(&self.job, &self.params)?;
        let graph = StreamGraph::try_new(function.plan().clone(), self.batch_interval_ms);
        graph.map(|graph| graph.plan().clone()).map_err(|error| error.to_string())
    }

    /// Starts the job.
    ///
    /// # Panics
    /// With the error if the job cannot start.
    #[must_use]
    #[track_caller]
    #[cfg_attr(not(feature = "component"), expect(unused_mut, reason = "only a component changes it"))]
    pub fn start(mut self) -> RunningJob {
        let plan = self.plan().unwrap_or_else(|reason| panic!("the job cannot start: {reason}"));
        #[cfg(feature = "component")]
        if let Some(folder) = &self.component {
            self.function = Some(component::load(folder, &self.params, &plan));
        }
        let graph = StreamGraph::try_new(plan, self.batch_interval_ms).expect("it was just checked");
        let receivers = graph.sources().into_iter().map(|(name, schema)| {
            let receiver = ScriptReceiver::new(Arc::clone(schema));
            (name.to_owned(), Source { receiver, partitions: Vec::new(), later: Vec::new() })
        });
        let sinks = graph.sinks().into_iter().map(|(name, _)| (name.to_owned(), CollectSink::new()));
        let broadcasts = graph.broadcasts().into_iter().map(|(name, schema)| {
            let value = self.broadcasts.get(name).cloned();
            let value =
                value.unwrap_or_else(|| panic!("the broadcast `{name}` has no value: give it one with .broadcast(..)"));
            let rows = convert::from_wire(schema, value);
            let rows = rows.unwrap_or_else(|reason| panic!("rows that are not the broadcast's: {reason}"));
            (name.to_owned(), (Arc::clone(schema), SetBroadcast::new(rows)))
        });
        let mut running = RunningJob {
            broadcasts: broadcasts.collect(),
            sources: receivers.collect(),
            sinks: sinks.collect(),
            store: MemoryStore::new(),
            clock: ManualClock::new(START_MS),
            listener: CollectListener::new(),
            graph,
            runner: None,
            newest: BatchTime(START_MS),
            settings: self,
        };
        running.restart();
        running
    }
}

struct Source {
    receiver: ScriptReceiver,
    /// What the next batch will hold.
    partitions: Vec<RecordBatch>,
    /// What later batches will hold: from when on, milliseconds since the Unix epoch.
    later: Vec<(i64, RecordBatch)>,
}

/// So long after the start of every test job, milliseconds since the Unix epoch.
fn after_start(after: Duration) -> i64 {
    START_MS.saturating_add(i64::try_from(after.as_millis()).unwrap_or(i64::MAX))
}

/// A job that runs, a batch at a time.
pub struct RunningJob {
    settings: JobTest,
    graph: StreamGraph,
    sources: BTreeMap<String, Source>,
    sinks: BTreeMap<String, CollectSink>,
    broadcasts: BTreeMap<String, (SchemaRef, SetBroadcast)>,
    store: MemoryStore,
    clock: ManualClock,
    listener: CollectListener,
    runner: Option<JobRunner>,
    /// The time of the newest batch.
    newest: BatchTime,
}

impl RunningJob {
    /// Adds one partition of rows to the next batch of a source.
    ///
    /// # Panics
    /// If the job has no such source.
    #[track_caller]
    pub fn feed<T: Row>(&mut self, source: &str, rows: impl IntoIterator<Item = T>) {
        let (source, rows) = self.rows_for(source, rows);
        source.partitions.push(rows);
    }

    /// Adds one partition of rows to the batch that is the first one to end so long after the job's start, or later.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use millpond_test::JobTest;
    /// let count = |ctx: &mut millpond::StreamingContext| {
    ///     ctx.text("lines").count_by_window(Duration::from_secs(3), Duration::from_secs(1)).sink("lines-in-3-s");
    /// };
    /// let mut job = JobTest::new(millpond::Job::new(count)).batch_interval_ms(1000).start();
    /// job.feed_at("lines", Duration::from_millis(200), ["a".to_owned(), "b".to_owned()]);
    /// job.feed_at("lines", Duration::from_millis(2_500), ["c".to_owned()]);
    /// job.run_until(Duration::from_secs(3));
    /// job.assert_rows("lines-in-3-s", [3_i64]);
    /// job.run_until(Duration::from_secs(4));
    /// job.assert_rows("lines-in-3-s", [1_i64]);
    /// ```
    ///
    /// # Panics
    /// As [`Self::feed`].
    #[track_caller]
    pub fn feed_at<T: Row>(&mut self, source: &str, after: Duration, rows: impl IntoIterator<Item = T>) {
        let from_ms = after_start(after);
        let (source, rows) = self.rows_for(source, rows);
        source.later.push((from_ms, rows));
    }

    /// Runs all batches that end within so long after the job's start, those without rows included.
    ///
    /// # Panics
    /// With the error if the job fails.
    #[track_caller]
    pub fn run_until(&mut self, after: Duration) {
        while self.next_batch_time().0 <= after_start(after) {
            self.batch();
        }
    }

    /// The source, and rows as its columns.
    #[track_caller]
    fn rows_for<T: Row>(&mut self, source: &str, rows: impl IntoIterator<Item = T>) -> (&mut Source, RecordBatch) {
        let names: Vec<String> = self.sources.keys().cloned().collect();
        let source = self.sources.get_mut(source);
        let source = source.unwrap_or_else(|| panic!("the job has no such source; it has {names:?}"));
        let batch = millpond::runtime::rows_to_batch(rows).unwrap_or_else(|failure| panic!("{}", failure.message));
        let rows = convert::from_wire(source.receiver.schema(), batch);
        let rows = rows.unwrap_or_else(|reason| panic!("rows that are not the source's: {reason}"));
        (source, rows)
    }

    /// The time of the next batch. Batch times that passed while time was turned on are left out, as after a stop.
    fn next_batch_time(&self) -> BatchTime {
        let runner = self.runner.as_ref().expect("it is there but while restart makes a new one");
        let late = u64::try_from(self.clock.now_ms() - runner.next_batch_time().0).unwrap_or(0);
        let passed = late.div_ceil(self.settings.batch_interval_ms) * self.settings.batch_interval_ms;
        runner.next_batch_time().plus_ms(passed)
    }

    /// Replaces the value of a broadcast, from the next batch on.
    ///
    /// # Panics
    /// If the job has no such broadcast (those of streams cannot be set), or its rows are not of this type.
    #[track_caller]
    pub fn set_broadcast<T: Row>(&mut self, name: &str, rows: impl IntoIterator<Item = T>) {
        let names: Vec<&String> = self.broadcasts.keys().collect();
        let broadcast = self.broadcasts.get(name);
        let (schema, value) = broadcast.unwrap_or_else(|| panic!("the job has no such broadcast; it has {names:?}"));
        let batch = millpond::runtime::rows_to_batch(rows).unwrap_or_else(|failure| panic!("{}", failure.message));
        let rows = convert::from_wire(schema, batch);
        value.set(rows.unwrap_or_else(|reason| panic!("rows that are not the broadcast's: {reason}")));
    }

    /// Runs the next batch.
    ///
    /// # Panics
    /// With the error if the job fails; see [`Self::try_batch`].
    #[track_caller]
    pub fn batch(&mut self) -> BatchReport {
        self.try_batch().unwrap_or_else(|error| panic!("the batch failed: {error}"))
    }

    /// Runs the next batch: what was fed since the last one, one batch interval later.
    ///
    /// # Errors
    /// What made the job fail. It can be restarted.
    pub fn try_batch(&mut self) -> Result<BatchReport, millpond_engine::Error> {
        let batch_time = self.next_batch_time();
        for source in self.sources.values_mut() {
            let due = source.later.extract_if(.., |(from_ms, _)| *from_ms <= batch_time.0);
            source.partitions.extend(due.map(|(_, rows)| rows));
            source.receiver.push(std::mem::take(&mut source.partitions));
        }
        let runner = self.runner.as_mut().expect("it is there but while restart makes a new one");
        self.clock.advance_ms((batch_time.0 - self.clock.now_ms()).max(0));
        self.newest = batch_time;
        runner.run_batch(batch_time)
    }

    /// Turns the clock: the next batch comes so much later, as if the job had been stopped meanwhile.
    pub fn advance(&mut self, time: Duration) {
        self.clock.advance_ms(i64::try_from(time.as_millis()).unwrap_or(i64::MAX));
    }

    /// Stops the job as a crash would, and starts it again from its newest commit.
    ///
    /// # Panics
    /// With the error if it cannot start.
    #[track_caller]
    pub fn restart(&mut self) {
        self.runner = None;
        let native =
            || NativeFunction::try_new(&self.settings.job, &self.settings.params).expect("the plan was checked");
        let function = self.settings.function.clone().unwrap_or_else(|| Arc::new(native()));
        let source = |(name, source): (&String, &Source)| {
            let receiver = Box::new(source.receiver.again());
            (name.clone(), SourceBinding { receiver, on_bad_record: OnBadRecord::Fail })
        };
        let modes = &self.settings.modes;
        let sink = |(name, sink): (&String, &CollectSink)| {
            let mode = modes.get(name).copied().unwrap_or(OutputMode::Complete);
            (name.clone(), SinkBinding { sink: Box::new(sink.clone()), mode })
        };
        let params = &self.settings.params;
        let transform = |(name, transform): (&String, &Transform)| {
            let transform = NativeTransform::try_new(name, transform, params);
            let transform = transform.unwrap_or_else(|reason| panic!("the transform `{name}`: {reason}"));
            (name.clone(), Arc::new(transform) as Arc<dyn TransformFunction>)
        };
        let broadcast = |(name, (_, value)): (&String, &(SchemaRef, SetBroadcast))| {
            (name.clone(), Box::new(value.again()) as Box<dyn BroadcastSource>)
        };
        let parts = JobParts {
            graph: self.graph.clone(),
            function,
            transforms: self.settings.transforms.iter().map(transform).collect(),
            broadcasts: self.broadcasts.iter().map(broadcast).collect(),
            sources: self.sources.iter().map(source).collect(),
            sinks: self.sinks.iter().map(sink).collect(),
            store: Box::new(self.store.clone()),
            clock: Arc::new(self.clock.clone()),
            pool: Arc::new(ComputePool::try_new(2).expect("threads for a test")),
            listener: Arc::new(self.listener.clone()),
        };
        let options = JobOptions {
            name: "test".to_owned(),
            batch_interval_ms: self.settings.batch_interval_ms,
            trigger: Trigger::Continuous,
            parallelism: self.settings.parallelism,
            commit_every: self.settings.commit_every,
            on_bad_record: self.settings.on_bad_record,
        };
        let runner = JobRunner::try_new(options, parts).unwrap_or_else(|error| panic!("the job cannot start: {error}"));
        self.runner = Some(runner);
    }

    /// Restarts with another number of partitions.
    ///
    /// # Panics
    /// With the error if it cannot start.
    #[track_caller]
    pub fn restart_with_parallelism(&mut self, partitions: usize) {
        self.settings.parallelism = partitions;
        self.restart();
    }

    /// What the newest batch gave to a sink, all partitions together; empty if it gave nothing.
    ///
    /// # Panics
    /// If the job has no such sink, or its rows are not of type `T`.
    #[must_use]
    #[track_caller]
    pub fn rows<T: Row>(&self, sink: &str) -> Vec<T> {
        self.batches(sink).pop().filter(|(time, _)| *time == self.newest).map(|(_, rows)| rows).unwrap_or_default()
    }

    /// What every batch so far gave to a sink.
    ///
    /// # Panics
    /// As [`Self::rows`].
    #[must_use]
    #[track_caller]
    pub fn batches<T: Row>(&self, sink: &str) -> Vec<(BatchTime, Vec<T>)> {
        let names: Vec<&String> = self.sinks.keys().collect();
        let collected =
            self.sinks.get(sink).unwrap_or_else(|| panic!("the job has no sink `{sink}`; it has {names:?}"));
        let rows = |batch: &RecordBatch| {
            let rows = millpond::runtime::batch_to_rows::<T>(convert::to_wire(batch));
            rows.unwrap_or_else(|failure| panic!("the rows of sink `{sink}`: {}", failure.message))
        };
        let batches = collected.batches().into_iter();
        batches.map(|(time, partitions)| (time, partitions.iter().flat_map(rows).collect())).collect()
    }

    /// What an accumulator has come to, as of the newest commit, over all restarts; `None` for a minimum or maximum of nothing.
    ///
    /// ```
    /// # use millpond_test::JobTest;
    /// let mut job = JobTest::new(millpond::Job::new(|ctx| {
    ///     let empty = ctx.counter("empty-lines");
    ///     let keep = move |line: &str| {
    ///         if line.is_empty() {
    ///             empty.add(1);
    ///         }
    ///         !line.is_empty()
    ///     };
    ///     ctx.text("lines").filter(keep).sink("out");
    /// }))
    /// .start();
    /// job.feed("lines", ["a".to_owned(), String::new()]);
    /// job.batch();
    /// assert_eq!(job.accumulator("empty-lines"), Some(1.into()));
    /// ```
    ///
    /// # Panics
    /// If the job has no such accumulator.
    #[must_use]
    #[track_caller]
    pub fn accumulator(&self, name: &str) -> Option<Number> {
        let runner = self.runner.as_ref().expect("it is there but while restart makes a new one");
        let totals = runner.summary().accumulators;
        let total = totals.iter().find(|total| total.name == name);
        let names = || totals.iter().map(|total| total.name.as_str()).collect::<Vec<_>>();
        total.unwrap_or_else(|| panic!("the job has no accumulator `{name}`; it has {:?}", names())).value
    }

    /// Rows that the job's closures refused so far, with the reasons.
    #[must_use]
    pub fn rejected(&self) -> Vec<Report> {
        let reports = self.listener.reports().into_iter();
        reports.filter(|report| matches!(report, Report::Rejected { .. })).collect()
    }
}
