//! `join`: two batches of a million rows joined by a key of 64 bits, beside a native hash join of the same columns.
//!
//! Millpond's side is a whole job on the real engine, source, join and sink, without a disk and without a component (a join calls
//! none): from the rows as Arrow columns to the joined rows as Arrow columns. The native one begins and ends with columns, too.

use std::collections::BTreeMap;
use std::sync::Arc;

use anyhow::{Context, Result, ensure};
use arrow::array::{AsArray, Int64Array, RecordBatch};
use arrow::datatypes::{DataType, Field, Int64Type, Schema, SchemaRef};
use millpond_core::plan::{Join, JoinKind};
use millpond_core::{Node, NodeId, Operator, OutputMode, Plan, SystemClock};
use millpond_engine::{
    ComputePool, JobOptions, JobParts, JobRunner, OnBadRecord, SinkBinding, SourceBinding, StreamGraph, Trigger,
};
use millpond_testkit::{CollectListener, CollectSink, FakeFunction, MemoryStore, ScriptReceiver};

use super::support::timed;
use crate::case::{CaseResult, InnerOptions};
use crate::compare::{Bar, figure, same};
use crate::data::random::Random;
use crate::native::join::{Side, join};

const ROWS: usize = 1_000_000;
const RATIO_MIN: f64 = 0.2;
/// Partitions that a side comes in.
const PARTITIONS: usize = 2;
const INTERVAL_MS: u64 = 1000;

pub(super) fn run(options: &InnerOptions) -> Result<CaseResult> {
    let rows = if options.quick { ROWS / 10 } else { ROWS };
    // Every key once on the left, in no order; as many draws on the right: one partner on average.
    let left = batch("left", &shuffled(rows, 1), 2);
    let mut random = Random::new(3);
    let right = batch("right", &(0..rows).map(|_| random.below(rows as u64).cast_signed()).collect::<Vec<_>>(), 4);
    let mut job = Job::new(&left, &right)?;

    // Untimed: both are warm then, and their answers are the same.
    let expected = native_rows(&left, &right);
    let found = job.rows()?;
    same("join", &bytes(found), &bytes(expected), &options.data_dir)?;
    let [mut ours, mut theirs] = [const { Vec::new() }; 2];
    for _ in 0..options.repetitions.max(3) {
        let millions = |ms: f64| rows as f64 / 1000.0 / ms;
        ours.push(millions(job.run()?));
        job.sink.forget();
        theirs.push(millions(timed(|| std::hint::black_box(native(&left, &right))).0));
    }
    Ok(CaseResult {
        case: "join".to_owned(),
        what: format!("two batches of {rows} rows (a 64-bit key, a 64-bit value) joined, two threads"),
        figures: vec![
            figure("left rows joined", "M rows/s", &ours).beside(&ours, &theirs).must(Bar::RatioAtLeast(RATIO_MIN)),
        ],
        phases: Vec::new(),
        notes: vec![
            "baseline: a hash join of the same columns, both sides split into 256 parts first (src/native/join.rs)".to_owned(),
            "Millpond: source, join and sink of a job, all of a batch; rows of both answers are the same, byte for byte".to_owned(),
        ],
    })
}

/// Numbers below `rows`, each once.
fn shuffled(rows: usize, seed: u64) -> Vec<i64> {
    let mut random = Random::new(seed);
    let mut keys: Vec<i64> = (0..rows as i64).collect();
    (1..rows).rev().for_each(|last| keys.swap(last, random.below(last as u64 + 1) as usize));
    keys
}

fn schema(value: &str) -> SchemaRef {
    Arc::new(Schema::new(vec![Field::new("key", DataType::Int64, false), Field::new(value, DataType::Int64, false)]))
}

fn batch(value: &str, keys: &[i64], seed: u64) -> RecordBatch {
    let mut random = Random::new(seed);
    let values: Int64Array = keys.iter().map(|_| random.bits().cast_signed()).collect();
    let keys = Int64Array::from(keys.to_vec());
    RecordBatch::try_new(schema(value), vec![Arc::new(keys), Arc::new(values)]).expect("two columns")
}

fn column(batch: &RecordBatch, number: usize) -> &[i64] {
    batch.column(number).as_primitive::<Int64Type>().values()
}

fn native(left: &RecordBatch, right: &RecordBatch) -> Vec<crate::native::join::Joined> {
    fn side(batch: &RecordBatch) -> Side<'_> {
        Side { keys: column(batch, 0), values: column(batch, 1) }
    }
    join(side(left), side(right))
}

type Row = [i64; 3];

fn native_rows(left: &RecordBatch, right: &RecordBatch) -> Vec<Row> {
    let joined = native(left, right);
    let rows = joined
        .iter()
        .flat_map(|joined| (0..joined.keys.len()).map(|row| [joined.keys[row], joined.left[row], joined.right[row]]));
    rows.collect()
}

/// Rows in order, as bytes.
fn bytes(mut rows: Vec<Row>) -> Vec<u8> {
    rows.sort_unstable();
    rows.into_iter().flatten().flat_map(i64::to_le_bytes).collect()
}

/// A job that joins the same two batches again and again.
struct Job {
    runner: JobRunner,
    sink: CollectSink,
    script: [(ScriptReceiver, Vec<RecordBatch>); 2],
}

impl Job {
    fn new(left: &RecordBatch, right: &RecordBatch) -> Result<Self> {
        let script = [left, right].map(|batch| {
            let rows = batch.num_rows() / PARTITIONS;
            let partitions = (0..PARTITIONS).map(|partition| {
                let length = if partition + 1 == PARTITIONS { batch.num_rows() - rows * partition } else { rows };
                batch.slice(rows * partition, length)
            });
            (ScriptReceiver::new(batch.schema()), partitions.collect())
        });
        let sink = CollectSink::new();
        let source = |receiver: &ScriptReceiver| SourceBinding {
            receiver: Box::new(receiver.again()),
            on_bad_record: OnBadRecord::Fail,
        };
        let sources = [("left", &script[0].0), ("right", &script[1].0)];
        let parts = JobParts {
            graph: StreamGraph::try_new(plan(), INTERVAL_MS)?,
            function: Arc::new(FakeFunction::new()),
            transforms: BTreeMap::new(),
            broadcasts: BTreeMap::new(),
            sources: sources.into_iter().map(|(name, receiver)| (name.to_owned(), source(receiver))).collect(),
            sinks: BTreeMap::from([(
                "out".to_owned(),
                SinkBinding { sink: Box::new(sink.clone()), mode: OutputMode::Append },
            )]),
            store: Box::new(MemoryStore::new()),
            clock: Arc::new(SystemClock::new()),
            pool: Arc::new(ComputePool::try_new(PARTITIONS)?),
            listener: Arc::new(CollectListener::new()),
        };
        let options = JobOptions {
            name: "join".to_owned(),
            batch_interval_ms: INTERVAL_MS,
            trigger: Trigger::AvailableNow,
            parallelism: PARTITIONS,
            commit_every: 1,
            on_bad_record: OnBadRecord::Fail,
        };
        Ok(Self { runner: JobRunner::try_new(options, parts)?, sink, script })
    }

    /// Milliseconds of a batch, from its poll to its commit.
    fn run(&mut self) -> Result<f64> {
        self.script.iter().for_each(|(receiver, partitions)| receiver.push(partitions.clone()));
        let batch_time = self.runner.next_batch_time();
        let (ms, report) = timed(|| self.runner.run_batch(batch_time));
        ensure!(report?.rows_out > 0, "nothing was joined");
        Ok(ms)
    }

    /// What a batch gives.
    fn rows(&mut self) -> Result<Vec<Row>> {
        self.run()?;
        let (_, batches) = self.sink.batches().pop().context("the batch gave nothing to the sink")?;
        let rows = batches.iter().flat_map(|batch| {
            let columns = [0, 1, 2].map(|number| column(batch, number));
            (0..batch.num_rows()).map(move |row| columns.map(|column| column[row]))
        });
        Ok(rows.collect())
    }
}

/// Two sources, their join, a sink.
fn plan() -> Plan {
    let joined =
        Arc::new(Schema::new(["key", "left", "right"].map(|name| Field::new(name, DataType::Int64, false)).to_vec()));
    let node = |name: &str, operator, inputs: &[u32], schema: &SchemaRef, key_columns| Node {
        name: name.to_owned(),
        operator,
        inputs: inputs.iter().map(|input| NodeId(*input)).collect(),
        schema: Arc::clone(schema),
        key_columns,
    };
    let join = Operator::Join(Join { kind: JoinKind::Inner, on: 1, null_equals_null: false });
    Plan {
        nodes: vec![
            node("source left", Operator::Source("left".to_owned()), &[], &schema("left"), 1),
            node("source right", Operator::Source("right".to_owned()), &[], &schema("right"), 1),
            node("join", join, &[0, 1], &joined, 1),
            node("sink out", Operator::Sink("out".to_owned()), &[2], &joined, 0),
        ],
        ..Plan::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_key_is_there_once() {
        let mut keys = shuffled(1000, 7);
        assert_ne!(keys, (0..1000).collect::<Vec<_>>());
        keys.sort_unstable();
        assert_eq!(keys, (0..1000).collect::<Vec<_>>());
    }

    #[test]
    fn the_job_gives_what_the_native_join_gives() {
        let (left, right) = (batch("left", &shuffled(500, 1), 2), batch("right", &[3, 3, 499, 500, 7], 4));
        let mut job = Job::new(&left, &right).unwrap();
        let found = bytes(job.rows().unwrap());
        assert_eq!(found, bytes(native_rows(&left, &right)));
        assert_eq!(found.len(), 4 * 24);
    }
}
