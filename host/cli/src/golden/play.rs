//! Runs a job with the input of a case, in one of several ways that must not matter.

use std::collections::BTreeMap;
use std::fs;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use millpond_connectors::whole;
use millpond_core::{Accumulator, BoxError, Clock, Node, Operator, TransformFunction};
use millpond_engine::{
    ComputePool, JobOptions, JobParts, JobRunner, OnBadRecord, SinkBinding, SourceBinding, StreamGraph, Trigger,
};
use millpond_testkit::diff::Order;
use millpond_testkit::{CollectListener, CollectSink, ManualClock, MemoryStore, ScriptReceiver};
use millpond_wasm::JobComponent;

use super::case::{Case, bad};
use super::expected::Batches;
use super::totals::Totals;
use crate::error::{Error, Result, did_you_mean};
use crate::job::{LoadedJob, open_broadcasts};
use crate::job_file::JobFile;

/// When cases begin, milliseconds since the Unix epoch: 2023-11-14T22:13:20Z, as in `millpond-test`.
const START_MS: i64 = 1_700_000_000_000;

/// A way to run a case.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Way {
    /// As in "differs NAME".
    pub(crate) name: &'static str,
    parallelism: usize,
    restarts: bool,
    reuses_instances: bool,
}

/// The ways. The last one changes the component for good.
pub(crate) const WAYS: [Way; 4] = [
    Way { name: "run straight", parallelism: 2, restarts: false, reuses_instances: true },
    Way { name: "with a restart in the middle", parallelism: 2, restarts: true, reuses_instances: true },
    Way { name: "with 5 partitions", parallelism: 5, restarts: false, reuses_instances: true },
    Way { name: "with a fresh instance for each call", parallelism: 2, restarts: false, reuses_instances: false },
];

/// What a run gave, by sink and accumulator, and how many rows closures refused.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Output {
    /// Every sink of the plan has an entry.
    pub(crate) sinks: BTreeMap<String, Batches>,
    /// What accumulators had come to in the end.
    pub(crate) totals: Totals,
    /// Rows that closures refused.
    pub(crate) rejected: u64,
}

/// A job and a case's input for it.
pub(crate) struct Prepared {
    file: JobFile,
    graph: StreamGraph,
    component: JobComponent,
    transforms: BTreeMap<String, Arc<dyn TransformFunction>>,
    pool: Arc<ComputePool>,
    batches: u64,
    /// By source and batch.
    inputs: BTreeMap<String, BTreeMap<u64, RecordBatch>>,
}

impl Prepared {
    /// Checks the job, and reads the input.
    ///
    /// **Errors**: the job's, MP0113 for input that is none.
    pub(crate) fn try_new(job: LoadedJob, case: &Case) -> Result<Self> {
        job.cross_check()?;
        job.check_modes()?;
        let transforms = job.load_transforms()?;
        let LoadedJob { file, component, graph, .. } = job;
        let mut inputs: BTreeMap<String, BTreeMap<u64, RecordBatch>> =
            graph.sources().iter().map(|(name, _)| ((*name).to_owned(), BTreeMap::new())).collect();
        for input in &case.inputs {
            let names: Vec<&str> = graph.sources().iter().map(|(name, _)| *name).collect();
            let known = graph.sources().into_iter().find(|(name, _)| *name == input.source);
            let Some((_, schema)) = known else {
                return Err(unknown(&input.path, "source", &input.source, &names).into());
            };
            let bytes =
                fs::read(&input.path).map_err(|source| Error::Unreadable { path: input.path.clone(), source })?;
            let decoded = whole::decode(&input.path.display().to_string(), schema, input.format, &bytes)?;
            if let Some(record) = decoded.bad_records.first() {
                let problem = format!("{}: {}", record.place, record.reason);
                return Err(bad(
                    input.path.clone(),
                    problem,
                    "put the line in order: input of a case must be decodable",
                )
                .into());
            }
            let batches = inputs.entry(input.source.clone()).or_default();
            if batches.insert(input.batch, decoded.batch).is_some() {
                let problem = format!("batch {} of source `{}` has two files", input.batch, input.source);
                return Err(bad(input.path.clone(), problem, "put all of it into one file").into());
            }
        }
        let sinks: Vec<&str> = graph.sinks().iter().map(|(name, _)| *name).collect();
        if let Some((name, path)) = case.expected.iter().find(|(name, _)| !sinks.contains(&name.as_str())) {
            return Err(unknown(path, "sink", name, &sinks).into());
        }
        if let (Some(path), true) = (&case.totals, graph.plan().accumulators.is_empty()) {
            let problem = "the job has no accumulators".to_owned();
            return Err(bad(path.clone(), problem, "remove the file, or make one with ctx.counter(NAME)").into());
        }
        let pool = Arc::new(ComputePool::try_new(2)?);
        Ok(Self { file, graph, component, transforms, pool, batches: case.batches, inputs })
    }

    /// The plan's accumulators.
    pub(crate) fn accumulators(&self) -> &[Accumulator] {
        &self.graph.plan().accumulators
    }

    /// Names, columns and order of the sinks.
    pub(crate) fn sinks(&self) -> Vec<(&str, &SchemaRef, Order)> {
        let sinks = self.graph.sinks().into_iter();
        sinks.map(|(name, schema)| (name, schema, self.order(name))).collect()
    }

    /// Whether a sink's rows have an order of their own: what is between them and a sort goes row by row, and keeps it.
    fn order(&self, sink: &str) -> Order {
        let nodes = &self.graph.plan().nodes;
        let input = |node: &Node| nodes.get(node.inputs.first()?.index());
        let sink = nodes.iter().find(|node| matches!(&node.operator, Operator::Sink(name) if name == sink));
        let mut node = sink.and_then(input);
        while let Some(Node { operator: Operator::Stage(_), .. }) = node {
            node = node.and_then(input);
        }
        match node.map(|node| &node.operator) {
            Some(Operator::Sort(_) | Operator::Take(_)) => Order::Exact,
            _ => Order::Any,
        }
    }

    /// Runs all batches.
    ///
    /// **Errors**: what made the job fail.
    pub(crate) fn play(&self, way: Way) -> Result<Output> {
        if !way.reuses_instances {
            self.component.never_reuse_instances();
        }
        let outside = Outside::new(self);
        let mut runner = self.runner(way, &outside)?;
        let mut rejected = 0;
        for batch in 1..=self.batches {
            // With an odd number the longer half comes after it: a single batch is preceded by a restart, too.
            if way.restarts && batch == self.batches / 2 + 1 {
                drop(runner);
                runner = self.runner(way, &outside)?;
            }
            for (source, receiver) in &outside.receivers {
                let rows = self.inputs.get(source).and_then(|batches| batches.get(&batch));
                receiver.push(rows.map_or_else(Vec::new, |rows| cut(rows, way.parallelism)));
            }
            let batch_time = runner.next_batch_time();
            outside.clock.advance_ms((batch_time.0 - outside.clock.now_ms()).max(0));
            rejected += runner.run_batch(batch_time)?.rejected;
        }
        let totals = Totals::of(&runner.finish()?.accumulators);
        let sinks = self.sinks().into_iter().map(|(name, ..)| (name.to_owned(), self.output(&outside.sinks[name])));
        Ok(Output { sinks: sinks.collect(), totals, rejected })
    }

    fn runner(&self, way: Way, outside: &Outside) -> Result<JobRunner> {
        let source = |(name, receiver): (&String, &ScriptReceiver)| {
            let receiver = Box::new(receiver.again());
            (name.clone(), SourceBinding { receiver, on_bad_record: OnBadRecord::Fail })
        };
        let sink = |(name, sink): (&String, &CollectSink)| {
            let mode = self.file.sinks.get(name).map(|defined| defined.spec.mode()).unwrap_or_default();
            (name.clone(), SinkBinding { sink: Box::new(sink.clone()), mode })
        };
        let options = JobOptions {
            name: self.file.job.name.clone(),
            batch_interval_ms: self.file.job.batch_interval_ms,
            trigger: Trigger::Continuous,
            parallelism: way.parallelism,
            commit_every: 1,
            on_bad_record: self.file.job.on_bad_record,
        };
        let parts = JobParts {
            graph: self.graph.clone(),
            function: Arc::new(self.component.clone()),
            transforms: self.transforms.clone(),
            broadcasts: open_broadcasts(&self.file, &self.graph)?,
            sources: outside.receivers.iter().map(source).collect(),
            sinks: outside.sinks.iter().map(sink).collect(),
            store: Box::new(outside.store.clone()),
            clock: Arc::new(outside.clock.clone()),
            pool: Arc::clone(&self.pool),
            listener: Arc::new(outside.listener.clone()),
        };
        JobRunner::try_new(options, parts).map_err(BoxError::from)
    }

    /// What a sink got, by the number of the batch.
    fn output(&self, sink: &CollectSink) -> Batches {
        let interval_ms = self.file.job.batch_interval_ms;
        let batch = |(time, rows): (millpond_core::BatchTime, Vec<RecordBatch>)| {
            let number = (time.0 - START_MS).unsigned_abs() / interval_ms;
            let text: String = rows.iter().filter_map(whole::json_lines).collect();
            (number, text.lines().map(str::to_owned).collect())
        };
        Batches(sink.batches().into_iter().map(batch).collect())
    }
}

/// Everything around a job that outlives a restart.
struct Outside {
    receivers: BTreeMap<String, ScriptReceiver>,
    sinks: BTreeMap<String, CollectSink>,
    store: MemoryStore,
    clock: ManualClock,
    listener: CollectListener,
}

impl Outside {
    fn new(prepared: &Prepared) -> Self {
        let receiver = |(name, schema): (&str, &SchemaRef)| (name.to_owned(), ScriptReceiver::new(Arc::clone(schema)));
        let sink = |(name, _): (&str, &SchemaRef)| (name.to_owned(), CollectSink::new());
        Self {
            receivers: prepared.graph.sources().into_iter().map(receiver).collect(),
            sinks: prepared.graph.sinks().into_iter().map(sink).collect(),
            store: MemoryStore::new(),
            clock: ManualClock::new(START_MS),
            listener: CollectListener::new(),
        }
    }
}

/// Rows in so many partitions, in order, as a source cuts a large input.
fn cut(rows: &RecordBatch, partitions: usize) -> Vec<RecordBatch> {
    let size = rows.num_rows().div_ceil(partitions).max(1);
    (0..rows.num_rows()).step_by(size).map(|start| rows.slice(start, size.min(rows.num_rows() - start))).collect()
}

fn unknown(path: &std::path::Path, kind: &str, name: &str, known: &[&str]) -> Error {
    let hint =
        did_you_mean(name, known.iter().copied()).map_or_else(String::new, |name| format!("; did you mean `{name}`?"));
    let remedy = format!("the plan's {kind}s are: {}", known.join(", "));
    bad(path.to_owned(), format!("the plan has no {kind} `{name}`{hint}"), &remedy)
}
