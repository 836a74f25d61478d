//! Whole jobs over fakes, compared with naive models: straight, with restarts, with other partition counts.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use arrow::array::{AsArray, BooleanArray, Int64Array, RecordBatch};
use arrow::datatypes::{DataType, Field, Int64Type, Schema, SchemaRef};
use millpond_core::accumulator::Update;
use millpond_core::plan::{
    ColumnMerge, MapWithState, Merge, Ordering, Reduce, ReduceSession, ReduceWindow, Sort, Window,
};
use millpond_core::{
    Accumulator, AccumulatorKind, BatchTime, Classify, Clock, Epoch, MapOutput, Node, NodeId, Operator, OutputMode,
    Plan, Rejection, Report, StageOutput, StateStore, StopSignal, TaskInfo, UpdateOutput,
};
use millpond_testkit::function::FakeError;
use millpond_testkit::rows::{pair_schema, pairs, to_pairs};
use millpond_testkit::{CollectListener, CollectSink, FakeFunction, ManualClock, MemoryStore, ScriptReceiver};
use proptest::prelude::*;

use crate::{
    ComputePool, Error, JobOptions, JobParts, JobRunner, OnBadRecord, SinkBinding, SourceBinding, StreamGraph, Summary,
    Trigger,
};

/// Every batch interval in these tests, milliseconds.
const INTERVAL: u64 = 1000;
const START: i64 = 1_700_000_000_000;

pub(super) fn node(name: &str, operator: Operator, inputs: &[u32], schema: SchemaRef, key_columns: usize) -> Node {
    Node {
        name: name.to_owned(),
        operator,
        inputs: inputs.iter().map(|input| NodeId(*input)).collect(),
        schema,
        key_columns,
    }
}

pub(super) fn schema() -> SchemaRef {
    pair_schema("key", "value")
}

/// source (key, value) -> the operator -> sink
pub(super) fn plan(operator: Operator) -> Plan {
    let mut source = node("source in", Operator::Source("in".to_owned()), &[], schema(), 1);
    source.key_columns = 1;
    Plan {
        nodes: vec![
            source,
            node("it", operator, &[0], schema(), 1),
            node("sink out", Operator::Sink("out".to_owned()), &[1], schema(), 0),
        ],
        ..Plan::default()
    }
}

/// The new state is the old one and all values; a sum of zero deletes the key.
fn summing() -> FakeFunction {
    FakeFunction::new().update(1, |_, input| {
        let values = input.values.column(0).as_primitive::<Int64Type>();
        let states = input.states.column(0).as_primitive::<Int64Type>();
        let sums: Vec<i64> = (0..input.keys.num_rows())
            .map(|group| {
                let old = if input.present.value(group) { states.value(group) } else { 0 };
                let rows = input.groups[group] as usize..input.groups[group + 1] as usize;
                old + rows.map(|row| values.value(row)).sum::<i64>()
            })
            .collect();
        let keep: BooleanArray = sums.iter().map(|sum| Some(*sum != 0)).collect();
        UpdateOutput { states: values_batch(sums), keep }
    })
}

pub(super) fn values_batch(values: Vec<i64>) -> RecordBatch {
    let schema = Arc::new(Schema::new(vec![schema().field(1).clone()]));
    RecordBatch::try_new(schema, vec![Arc::new(Int64Array::from(values))]).unwrap()
}

/// Sums by the "plugin".
fn custom_sums() -> FakeFunction {
    let merge = |groups: &[u32], values: &RecordBatch| {
        let values = values.column(0).as_primitive::<Int64Type>();
        let sum = |pair: &[u32]| (pair[0]..pair[1]).map(|row| values.value(row as usize)).sum();
        values_batch(groups.windows(2).map(sum).collect())
    };
    let subtract = |totals: &RecordBatch, leaving: &RecordBatch| {
        let column = |batch: &RecordBatch| batch.column(0).as_primitive::<Int64Type>().values().to_vec();
        values_batch(column(totals).iter().zip(column(leaving)).map(|(total, leaving)| total - leaving).collect())
    };
    FakeFunction::new().merge(1, merge).subtract(1, subtract)
}

/// One outside world that jobs come and go in.
pub(super) struct World {
    plan: Plan,
    pub(super) function: Arc<FakeFunction>,
    pub(super) script: ScriptReceiver,
    pub(super) store: MemoryStore,
    pub(super) sink: CollectSink,
    pub(super) listener: CollectListener,
    pub(super) clock: ManualClock,
    mode: OutputMode,
    pub(super) commit_every: u64,
    on_bad_record: OnBadRecord,
    pub(super) trigger: Trigger,
}

impl World {
    pub(super) fn new(plan: Plan, function: FakeFunction) -> Self {
        let source = Arc::clone(&plan.nodes[0].schema);
        Self {
            plan,
            function: Arc::new(function),
            script: ScriptReceiver::new(source),
            store: MemoryStore::new(),
            sink: CollectSink::new(),
            listener: CollectListener::new(),
            clock: ManualClock::new(START),
            mode: OutputMode::Complete,
            commit_every: 1,
            on_bad_record: OnBadRecord::Skip,
            trigger: Trigger::AvailableNow,
        }
    }

    fn runner(&self, parallelism: usize) -> Result<JobRunner, Error> {
        self.runner_with(parallelism, Box::new(self.store.clone()))
    }

    pub(super) fn runner_with(&self, parallelism: usize, store: Box<dyn StateStore>) -> Result<JobRunner, Error> {
        let options = JobOptions {
            name: "test".to_owned(),
            batch_interval_ms: INTERVAL,
            trigger: self.trigger,
            parallelism,
            commit_every: self.commit_every,
            on_bad_record: self.on_bad_record,
        };
        let source = SourceBinding { receiver: Box::new(self.script.again()), on_bad_record: self.on_bad_record };
        let sink = SinkBinding { sink: Box::new(self.sink.clone()), mode: self.mode };
        let parts = JobParts {
            graph: StreamGraph::try_new(self.plan.clone(), INTERVAL)?,
            function: Arc::clone(&self.function) as _,
            transforms: BTreeMap::new(),
            broadcasts: BTreeMap::new(),
            sources: BTreeMap::from([("in".to_owned(), source)]),
            sinks: BTreeMap::from([("out".to_owned(), sink)]),
            store,
            clock: Arc::new(self.clock.clone()),
            pool: Arc::new(ComputePool::try_new(2).unwrap()),
            listener: Arc::new(self.listener.clone()),
        };
        JobRunner::try_new(options, parts)
    }

    pub(super) fn run(&self, parallelism: usize) -> Result<Summary, Error> {
        self.runner(parallelism)?.run(&StopSignal::new())
    }

    /// Runs the script at these batch times (intervals since the start); a new runner takes over before each batch whose
    /// number is in `restarts`.
    fn run_at(&self, times: &[u64], restarts: &BTreeSet<usize>, parallelism: &[usize]) -> Vec<Vec<(String, i64)>> {
        let mut lives = 0;
        let mut runner = self.runner(parallelism[0]).unwrap();
        for (batch, time) in times.iter().enumerate() {
            if restarts.contains(&batch) {
                drop(runner);
                lives += 1;
                runner = self.runner(parallelism[lives % parallelism.len()]).unwrap();
            }
            runner.run_batch(BatchTime(START).plus_ms(time * INTERVAL)).unwrap();
        }
        runner.finish().unwrap();
        self.output()
    }

    /// Runs the script; a new runner takes over before each batch whose number is in `restarts`.
    pub(super) fn run_with_restarts(
        &self,
        batches: usize,
        restarts: &BTreeSet<usize>,
        parallelism: &[usize],
    ) -> Vec<Vec<(String, i64)>> {
        let mut lives = 0;
        let mut runner = self.runner(parallelism[0]).unwrap();
        for batch in 0..batches {
            if restarts.contains(&batch) {
                // Dropped without finish, as after kill -9.
                drop(runner);
                lives += 1;
                runner = self.runner(parallelism[lives % parallelism.len()]).unwrap();
            }
            runner.run_batch(runner.next_batch_time()).unwrap();
        }
        runner.finish().unwrap();
        self.output()
    }

    /// Visible rows by batch, sorted.
    pub(super) fn output(&self) -> Vec<Vec<(String, i64)>> {
        let rows = |batch: Vec<RecordBatch>| {
            let mut rows: Vec<_> = batch.iter().flat_map(to_pairs).collect();
            rows.sort();
            rows
        };
        self.sink.batches().into_iter().map(|(_, batch)| rows(batch)).collect()
    }

    pub(super) fn push_all(&self, batches: &[Vec<(String, i64)>], partitions: usize) {
        for batch in batches {
            let mut parts = vec![Vec::new(); partitions];
            batch.iter().enumerate().for_each(|(at, row)| parts[at % partitions].push(row.clone()));
            self.script.push(parts.iter().map(|part| pairs(part)).collect());
        }
    }
}

pub(super) type Batches = Vec<Vec<(String, i64)>>;

pub(super) fn batches() -> impl Strategy<Value = Batches> {
    proptest::collection::vec(proptest::collection::vec(("[a-e]", -2i64..4), 0..8), 1..14)
}

pub(super) fn restarts() -> impl Strategy<Value = BTreeSet<usize>> {
    proptest::collection::btree_set(1usize..14, 0..4)
}

/// Sums by key over the batches of a window that ends with batch `last`.
fn window_sums(batches: &Batches, last: usize, length: usize) -> Vec<(String, i64)> {
    let first = (last + 1).saturating_sub(length);
    let mut sums = BTreeMap::new();
    batches[first..=last].iter().flatten().for_each(|(key, value)| *sums.entry(key.clone()).or_insert(0) += value);
    sums.into_iter().collect()
}

fn reduce_window(length: u64, slide: u64, merge: Merge, invertible: bool) -> Operator {
    let window = Window { length_ms: length * INTERVAL, slide_ms: slide * INTERVAL };
    Operator::ReduceWindow(ReduceWindow { window, merge, invertible, keep_empty_keys: false, zero_when_empty: false })
}

fn sums() -> Merge {
    Merge::Columns(vec![ColumnMerge::Sum])
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn keyed_state_is_that_of_a_map(
        batches in batches(), restarts in restarts(), every_batch: bool, with_keys: bool, commit_every in 1u64..4,
    ) {
        let mut world = World::new(plan(Operator::UpdateState { every_batch, with_keys, initial: None }), summing());
        world.push_all(&batches, 3);
        world.commit_every = if restarts.is_empty() { commit_every } else { 1 };
        let output = world.run_with_restarts(batches.len(), &restarts, &[2, 1, 3]);
        let mut model: BTreeMap<String, i64> = BTreeMap::new();
        for (batch, found) in batches.iter().zip(&output) {
            let mut sums: BTreeMap<String, i64> = BTreeMap::new();
            batch.iter().for_each(|(key, value)| *sums.entry(key.clone()).or_default() += value);
            for (key, sum) in sums {
                *model.entry(key).or_default() += sum;
            }
            model.retain(|_, sum| *sum != 0);
            prop_assert_eq!(found, &model.clone().into_iter().collect::<Vec<_>>());
        }
        prop_assert_eq!(output.len(), batches.len());
        prop_assert_eq!(world.store.sizes("it").0, model.len());
        // What was committed, of one batch or of several, is all that a next run goes on with.
        world.push_all(&[vec![("z".to_owned(), 1)]], 1);
        model.insert("z".to_owned(), 1);
        let output = world.run_with_restarts(1, &BTreeSet::new(), &[2]);
        prop_assert_eq!(output.last(), Some(&model.into_iter().collect::<Vec<_>>()));
    }

    #[test]
    fn windowed_sums_are_those_of_the_window(
        batches in batches(), restarts in restarts(), length in 1usize..6, slide in 1usize..5, how in 0..4,
    ) {
        let (merge, invertible, function) = match how {
            0 => (sums(), false, FakeFunction::new()),
            1 => (sums(), true, FakeFunction::new()),
            2 => (Merge::Custom, false, custom_sums()),
            _ => (Merge::Custom, true, custom_sums()),
        };
        let world = World::new(plan(reduce_window(length as u64, slide as u64, merge, invertible)), function);
        world.push_all(&batches, 2);
        let output = world.run_with_restarts(batches.len(), &restarts, &[2, 3, 1]);
        let slides: Vec<usize> = (0..batches.len()).filter(|batch| (batch + 1) % slide == 0).collect();
        prop_assert_eq!(output.len(), slides.len());
        for (last, found) in slides.into_iter().zip(output) {
            prop_assert_eq!(found, window_sums(&batches, last, length));
        }
        prop_assert!(world.store.sizes("it").1 <= length + slide, "panes that left the window are dropped");
    }

    #[test]
    fn windows_go_by_time_when_batch_times_are_left_out(
        batches in batches(), gaps in proptest::collection::vec(1u64..4, 14), restarts in restarts(),
        length in 1u64..7, slide in 1u64..5, how in 0..4,
    ) {
        let (merge, invertible, function) = match how {
            0 => (sums(), false, FakeFunction::new()),
            1 => (sums(), true, FakeFunction::new()),
            2 => (Merge::Custom, false, custom_sums()),
            _ => (Merge::Custom, true, custom_sums()),
        };
        let world = World::new(plan(reduce_window(length, slide, merge, invertible)), function);
        world.push_all(&batches, 2);
        let times: Vec<u64> = gaps.iter().scan(0, |time, gap| { *time += gap; Some(*time) }).take(batches.len()).collect();
        let output = world.run_at(&times, &restarts, &[2, 3, 1]);
        let slides: Vec<u64> = times.iter().copied().filter(|time| time % slide == 0).collect();
        prop_assert_eq!(output.len(), slides.len());
        for (slide, found) in slides.into_iter().zip(output) {
            let mut expected: BTreeMap<String, i64> = BTreeMap::new();
            for (time, batch) in times.iter().zip(&batches) {
                // A batch that left a window between two slides that ran is in no later one either.
                if *time <= slide && *time + length > slide {
                    batch.iter().for_each(|(key, value)| *expected.entry(key.clone()).or_default() += value);
                }
            }
            prop_assert_eq!(found, expected.into_iter().collect::<Vec<_>>());
        }
    }

    #[test]
    fn window_holds_the_rows_of_its_batches(batches in batches(), restarts in restarts(), length in 1usize..6, slide in 1usize..5) {
        let window = Window { length_ms: length as u64 * INTERVAL, slide_ms: slide as u64 * INTERVAL };
        let world = World::new(plan(Operator::Window(window)), FakeFunction::new());
        world.push_all(&batches, 2);
        let output = world.run_with_restarts(batches.len(), &restarts, &[2, 1]);
        let slides: Vec<usize> = (0..batches.len()).filter(|batch| (batch + 1) % slide == 0).collect();
        prop_assert_eq!(output.len(), slides.len());
        for (last, found) in slides.into_iter().zip(output) {
            let mut rows: Vec<_> = batches[(last + 1).saturating_sub(length)..=last].iter().flatten().cloned().collect();
            rows.sort();
            prop_assert_eq!(found, rows);
        }
    }

    #[test]
    fn reduce_gives_one_row_a_key(batches in batches(), parallelism in 1usize..4, merge in 0..4) {
        let (merge, function, fold): (_, _, fn(i64, i64) -> i64) = match merge {
            0 => (sums(), FakeFunction::new(), |a, b| a + b),
            1 => (Merge::Columns(vec![ColumnMerge::Min]), FakeFunction::new(), i64::min),
            2 => (Merge::Columns(vec![ColumnMerge::Max]), FakeFunction::new(), i64::max),
            _ => (Merge::Custom, custom_sums(), |a, b| a + b),
        };
        let world = World::new(plan(Operator::Reduce(Reduce { merge, zero_when_empty: false })), function);
        world.push_all(&batches, 3);
        let output = world.run_with_restarts(batches.len(), &BTreeSet::new(), &[parallelism]);
        for (batch, found) in batches.iter().zip(output) {
            let mut model: BTreeMap<String, i64> = BTreeMap::new();
            for (key, value) in batch {
                model.entry(key.clone()).and_modify(|sum| *sum = fold(*sum, *value)).or_insert(*value);
            }
            prop_assert_eq!(found, model.into_iter().collect::<Vec<_>>());
        }
    }

    #[test]
    fn update_mode_gives_each_change_once(batches in batches(), restarts in restarts(), direct: bool) {
        let mut plan = plan(Operator::UpdateState { every_batch: false, with_keys: true, initial: None });
        if !direct {
            // Something between state and sink, so that the sink has to find out by itself what changed.
            let order = vec![Ordering { column: 0, descending: false }];
            plan.nodes.insert(2, node("sorted", Operator::Sort(Sort { order, limit: None, hidden_columns: 0 }), &[1], schema(), 1));
            plan.nodes[3].inputs = vec![NodeId(2)];
        }
        let mut world = World::new(plan, summing());
        world.mode = OutputMode::Update;
        world.push_all(&batches, 2);
        let found: Vec<_> = world.run_with_restarts(batches.len(), &restarts, &[2]).into_iter().flatten().collect();
        let mut model: BTreeMap<String, i64> = BTreeMap::new();
        let mut expected = Vec::new();
        for batch in &batches {
            let before = model.clone();
            batch.iter().for_each(|(key, value)| *model.entry(key.clone()).or_default() += value);
            model.retain(|_, sum| *sum != 0);
            expected.extend(model.clone().into_iter().filter(|(key, sum)| before.get(key) != Some(sum)));
        }
        prop_assert_eq!(found, expected);
    }
}

#[test]
fn count_of_nothing_is_zero() {
    let mut plan = plan(Operator::Reduce(Reduce { merge: sums(), zero_when_empty: true }));
    let count = Arc::new(Schema::new(vec![schema().field(1).clone()]));
    for node in &mut plan.nodes {
        node.schema = Arc::clone(&count);
        node.key_columns = 0;
    }
    let world = World::new(plan, FakeFunction::new());
    world.script.push(vec![values_batch(vec![])]);
    world.script.push(vec![values_batch(vec![1, 1]), values_batch(vec![1])]);
    world.run(2).unwrap();
    let counts = world
        .sink
        .batches()
        .into_iter()
        .map(|(_, batch)| batch[0].column(0).as_primitive::<Int64Type>().values().to_vec());
    assert_eq!(counts.collect::<Vec<_>>(), [[0], [3]]);
}

#[test]
fn kept_empty_keys_still_come_out() {
    let window = Window { length_ms: INTERVAL, slide_ms: INTERVAL };
    let settings =
        ReduceWindow { window, merge: sums(), invertible: true, keep_empty_keys: true, zero_when_empty: false };
    let world = World::new(plan(Operator::ReduceWindow(settings)), FakeFunction::new());
    world.push_all(&[vec![("a".to_owned(), 2)], vec![], vec![("b".to_owned(), 1)]], 1);
    let output = world.run_with_restarts(3, &BTreeSet::from([1, 2]), &[1, 2]);
    let row = |key: &str, value| (key.to_owned(), value);
    assert_eq!(output, [vec![row("a", 2)], vec![row("a", 0)], vec![row("a", 0), row("b", 1)]]);
}

#[test]
fn what_a_failed_batch_added_is_gone() {
    let failing = Arc::new(AtomicBool::new(false));
    let fails = Arc::clone(&failing);
    let stage = move |task: &TaskInfo, rows: &RecordBatch| {
        if fails.load(Relaxed) && task.partition.0 == 1 {
            return Err(FakeError("the second partition".to_owned()).into());
        }
        Ok(StageOutput { batch: rows.clone(), rejected: Vec::new() })
    };
    let one = |_, _: &TaskInfo| vec![Update { accumulator: 0, number: 1.into() }];
    let mut plan = plan(Operator::Stage("pass".to_owned()));
    plan.accumulators = vec![Accumulator { name: "calls".to_owned(), kind: AccumulatorKind::Counter }];
    let world = World::new(plan, FakeFunction::new().stage(1, stage).accumulating(one));
    let row = |key: &str| (key.to_owned(), 1);
    world.push_all(&[vec![row("a"), row("b")]], 2);
    let total = |summary: &Summary| summary.accumulators[0].value;
    assert_eq!(total(&world.run(2).unwrap()), Some(2.into()));
    world.push_all(&[vec![row("a"), row("b")]], 2);
    failing.store(true, Relaxed);
    let mut runner = world.runner(2).unwrap();
    runner.run(&StopSignal::new()).unwrap_err();
    assert_eq!(total(&runner.summary()), Some(2.into()), "nothing of it counts");
    drop(runner);
    failing.store(false, Relaxed);
    assert_eq!(total(&world.run(2).unwrap()), Some(4.into()), "the first partition's call counts once");
}

#[test]
fn second_run_goes_on_where_the_first_stopped() {
    let world =
        World::new(plan(Operator::UpdateState { every_batch: false, with_keys: true, initial: None }), summing());
    world.push_all(&[vec![("a".to_owned(), 1)]], 1);
    let first = world.run(2).unwrap();
    assert_eq!((first.batches, first.rows_in, first.rows_out, first.state_keys), (1, 1, 1, 1));
    assert_eq!(world.run(2).unwrap().batches, 0, "there is nothing new");
    world.push_all(&[vec![("a".to_owned(), 1)]], 1);
    assert_eq!(world.run(2).unwrap().batches, 1);
    assert_eq!(world.output(), [vec![("a".to_owned(), 1)], vec![("a".to_owned(), 2)]]);
    let times: Vec<i64> = world.sink.batches().iter().map(|(time, _)| time.0).collect();
    assert_eq!(times, [START + 1000, START + 2000]);
}

#[test]
fn failed_commit_leaves_nothing_behind() {
    let world =
        World::new(plan(Operator::UpdateState { every_batch: false, with_keys: true, initial: None }), summing());
    world.push_all(&[vec![("a".to_owned(), 1)], vec![("a".to_owned(), 1)]], 1);
    world.store.fail_at(Epoch(2));
    let error = world.run(2).unwrap_err();
    assert!(error.to_string().contains("commit 2"), "{error}");
    assert_eq!((world.output().len(), world.sink.prepared()), (1, 0));
    world.store.fail_at(Epoch(0));
    world.run(2).unwrap();
    assert_eq!(world.output().last().unwrap(), &[("a".to_owned(), 2)], "the batch ran again, once");
}

#[test]
fn failed_sink_commits_nothing() {
    let world =
        World::new(plan(Operator::UpdateState { every_batch: false, with_keys: true, initial: None }), summing());
    world.push_all(&[vec![("a".to_owned(), 1)]], 1);
    world.sink.fail_at(BatchTime(START + 1000));
    assert!(world.run(1).is_err());
    assert_eq!(world.store.epoch(), Epoch(0));
}

#[test]
fn output_appears_with_its_commit() {
    let mut world =
        World::new(plan(Operator::UpdateState { every_batch: false, with_keys: true, initial: None }), summing());
    world.commit_every = 2;
    world.push_all(&[vec![("a".to_owned(), 1)], vec![("a".to_owned(), 1)], vec![("a".to_owned(), 1)]], 1);
    let mut runner = world.runner(1).unwrap();
    runner.run_batch(runner.next_batch_time()).unwrap();
    assert_eq!((world.output().len(), world.sink.prepared()), (0, 1));
    runner.run_batch(runner.next_batch_time()).unwrap();
    assert_eq!((world.output().len(), world.sink.prepared()), (2, 0));
    runner.run_batch(runner.next_batch_time()).unwrap();
    runner.finish().unwrap();
    assert_eq!((world.output().len(), world.store.epoch()), (3, Epoch(2)));
}

#[test]
fn bad_record_is_skipped_or_fails_the_job() {
    let mut world =
        World::new(plan(Operator::UpdateState { every_batch: false, with_keys: true, initial: None }), summing());
    world.script.push_bad("a.csv line 3", "two fields instead of three");
    assert_eq!(world.run(1).unwrap().bad_records, 1);
    let reported = |report: &Report| matches!(report, Report::BadRecord { place, .. } if place == "a.csv line 3");
    assert!(world.listener.reports().iter().any(reported));

    world.on_bad_record = OnBadRecord::Fail;
    world.script.push_bad("a.csv line 9", "no number");
    let error = world.run(1).unwrap_err();
    assert_eq!(error.code().0, "MP0504");
    assert!(error.to_string().contains("a.csv line 9: no number"), "{error}");
}

#[test]
fn refused_row_is_skipped_or_fails_the_job() {
    let refuse = || {
        FakeFunction::new().stage(1, |_, rows| {
            let rejected = vec![Rejection { row: 1, reason: "odd".to_owned() }];
            Ok(StageOutput { batch: rows.slice(0, 1), rejected })
        })
    };
    let mut world = World::new(plan(Operator::Stage("filter".to_owned())), refuse());
    world.push_all(&[vec![("a".to_owned(), 1), ("b".to_owned(), 2)]], 1);
    let summary = world.run(1).unwrap();
    assert_eq!((summary.rejected, summary.rows_out), (1, 1));

    world.on_bad_record = OnBadRecord::Fail;
    world.push_all(&[vec![("a".to_owned(), 1), ("b".to_owned(), 2)]], 1);
    let error = world.run(1).unwrap_err();
    assert_eq!(error.code().0, "MP0801");
    assert!(error.to_string().contains("decoded row 1 (from 0) of script batch 1 partition 0"), "{error}");
}

#[test]
fn panic_fails_the_job_and_not_the_process() {
    let world = World::new(plan(Operator::Stage(String::new())), FakeFunction::new().stage(1, |_, _| panic!("boom")));
    world.push_all(&[vec![("a".to_owned(), 1)]], 1);
    let mut runner = world.runner(2).unwrap();
    let error = runner.run(&StopSignal::new()).unwrap_err();
    assert_eq!(error.code().0, "MP0803");
    assert!(error.to_string().contains("boom"), "{error}");
    assert_eq!(world.store.epoch(), Epoch(0));
}

#[test]
fn sum_overflow_names_the_key() {
    let world =
        World::new(plan(Operator::Reduce(Reduce { merge: sums(), zero_when_empty: false })), FakeFunction::new());
    world.push_all(&[vec![("a".to_owned(), i64::MAX), ("a".to_owned(), 1)]], 1);
    let error = world.run(1).unwrap_err();
    assert_eq!(error.code().0, "MP0802");
    assert!(error.to_string().contains("column `value`") && error.to_string().contains("(a)"), "{error}");
}

#[test]
fn changed_state_columns_are_refused() {
    let mut world =
        World::new(plan(Operator::UpdateState { every_batch: false, with_keys: true, initial: None }), summing());
    world.push_all(&[vec![("a".to_owned(), 1)]], 1);
    world.run(1).unwrap();
    let renamed = pair_schema("key", "total");
    world.plan.nodes[1].schema = renamed;
    let error = world.run(1).unwrap_err();
    assert_eq!(error.code().0, "MP0706");
    let shown = "\n  in the plan:  key: utf8, total: int64\n  in the state: key: utf8, value: int64\n                           ^^^^^";
    assert!(error.to_string().ends_with(shown), "{error}");
}

/// Refused, with both sides shown.
#[track_caller]
fn refused_state(before: Plan, after: Plan, function: FakeFunction, sides: [&str; 2]) {
    let mut world = World::new(before, function);
    world.push_all(&[vec![("a".to_owned(), 1)]], 1);
    world.run(1).unwrap();
    world.plan = after;
    let error = world.run(1).unwrap_err();
    assert_eq!(error.code().0, "MP0706");
    assert!(error.to_string().contains("node `it`"), "{error}");
    assert!(sides.iter().all(|side| error.to_string().contains(side)), "{error}");
}

#[test]
fn changed_states_of_sessions_are_refused() {
    let sessions = |merge| {
        let time = |name: &str| Arc::new(Field::new(name, millpond_core::schema::TIMESTAMP, false));
        let fields = schema().fields().iter().cloned().chain([time("start"), time("end")]).collect::<Vec<_>>();
        let mut plan = plan(Operator::ReduceSession(ReduceSession { merge, gap_ms: 1000 }));
        plan.nodes[1].schema = Arc::new(Schema::new(fields));
        plan.nodes[2].schema = Arc::clone(&plan.nodes[1].schema);
        plan
    };
    let largest = Merge::Columns(vec![ColumnMerge::Max]);
    refused_state(
        sessions(sums()),
        sessions(largest),
        FakeFunction::new(),
        ["reduce-session sum", "reduce-session max"],
    );
}

#[test]
fn changed_states_of_mapped_rows_are_refused_and_other_mapped_rows_are_not() {
    let mapped = |state: &str, row: &str| {
        let map = MapWithState { state: pair_schema("key", state), timeout_ms: None, initial: None };
        let mut plan = plan(Operator::MapWithState(map));
        plan.nodes[1].schema = pair_schema(row, "n");
        plan.nodes[1].key_columns = 0;
        plan.nodes[2].schema = pair_schema(row, "n");
        plan
    };
    // Every row is kept as the key's state, and comes out.
    let keeping = || {
        FakeFunction::new().map_with_state(1, |_, input| MapOutput {
            rows: pairs(&[("a", 1)]).slice(0, input.values.num_rows()),
            mapped: BooleanArray::from(vec![true; input.values.num_rows()]),
            states: input.values.clone(),
            keep: BooleanArray::from(vec![true; input.keys.num_rows()]),
            written: BooleanArray::from(vec![true; input.keys.num_rows()]),
        })
    };
    refused_state(mapped("sum", "row"), mapped("total", "row"), keeping(), ["sum:   int64", "total: int64"]);
    // The same columns, of which another number is the key.
    let of_key = |key_columns: usize| {
        let mut plan = mapped("sum", "row");
        let columns = ["key", "value", "sum"]
            .map(|name| Field::new(name, if name == "key" { DataType::Utf8 } else { DataType::Int64 }, false));
        let state = Arc::new(Schema::new(columns.to_vec()));
        plan.nodes[1].operator = Operator::MapWithState(MapWithState { state, timeout_ms: None, initial: None });
        plan.nodes[0].key_columns = key_columns;
        plan
    };
    let two_columns = || {
        FakeFunction::new().map_with_state(1, |_, input| MapOutput {
            rows: pairs(&[("a", 1)]).slice(0, input.values.num_rows()),
            mapped: BooleanArray::from(vec![true; input.values.num_rows()]),
            states: input.states.clone(),
            keep: BooleanArray::from(vec![true; input.keys.num_rows()]),
            written: BooleanArray::from(vec![true; input.keys.num_rows()]),
        })
    };
    refused_state(of_key(1), of_key(2), two_columns(), ["key 1", "key 2"]);

    let mut world = World::new(mapped("sum", "row"), keeping());
    world.push_all(&[vec![("a".to_owned(), 1)]], 1);
    world.run(1).unwrap();
    world.plan = mapped("sum", "line");
    world.push_all(&[vec![("a".to_owned(), 1)]], 1);
    world.run(2).unwrap();
}

#[test]
fn update_mode_needs_a_key() {
    let mut keyless = plan(Operator::Take(3));
    keyless.nodes.iter_mut().for_each(|node| node.key_columns = 0);
    let mut world = World::new(keyless, FakeFunction::new());
    world.mode = OutputMode::Update;
    assert_eq!(world.run(1).unwrap_err().code().0, "MP0603");
}

#[test]
fn continuous_job_makes_a_batch_every_interval_and_stops_when_told() {
    let mut world =
        World::new(plan(Operator::UpdateState { every_batch: false, with_keys: true, initial: None }), summing());
    world.trigger = Trigger::Continuous;
    world.push_all(&[vec![("a".to_owned(), 1)]], 1);
    let mut runner = world.runner(1).unwrap();
    let stop = StopSignal::new();
    let summary = std::thread::scope(|scope| {
        let job = scope.spawn(|| runner.run(&stop));
        for batches in 1..=3 {
            world.clock.advance_ms(INTERVAL.cast_signed());
            while world.listener.batches().len() < batches {
                std::thread::yield_now();
            }
        }
        stop.finish();
        job.join().unwrap().unwrap()
    });
    assert_eq!(summary.batches, 3, "a batch is made with rows or without");
    assert_eq!(world.sink.batches().len(), 3);
    assert_eq!(world.clock.now_ms(), START + 3000);
}

#[test]
fn restart_leaves_out_batch_times_that_have_passed() {
    let mut world =
        World::new(plan(Operator::UpdateState { every_batch: false, with_keys: true, initial: None }), summing());
    world.push_all(&[vec![("a".to_owned(), 1)]], 1);
    world.run(1).unwrap();
    world.trigger = Trigger::Continuous;
    world.clock.advance_ms(10_500);
    let mut runner = world.runner(1).unwrap();
    let stop = StopSignal::new();
    std::thread::scope(|scope| {
        let job = scope.spawn(|| runner.run(&stop));
        world.clock.advance_ms(500);
        while world.listener.batches().len() < 2 {
            std::thread::yield_now();
        }
        stop.finish();
        job.join().unwrap().unwrap();
    });
    assert_eq!(world.listener.batches()[1].batch_time_ms, START + 11_000);
    assert!(world.listener.reports().iter().any(|report| matches!(report, Report::Note { .. })));
}

#[test]
fn three_jobs_share_a_pool_and_one_fails() {
    let pool = Arc::new(ComputePool::try_new(2).unwrap());
    let worlds: Vec<World> = (0..3)
        .map(|_| {
            World::new(plan(Operator::UpdateState { every_batch: false, with_keys: true, initial: None }), summing())
        })
        .collect();
    worlds.iter().for_each(|world| world.push_all(&vec![vec![("a".to_owned(), 1)]; 20], 2));
    worlds[1].store.fail_at(Epoch(7));
    std::thread::scope(|scope| {
        for world in &worlds {
            let pool = Arc::clone(&pool);
            scope.spawn(move || {
                let mut runner = world.runner(2).unwrap();
                Arc::get_mut(&mut runner.shared).expect("it has not run").pool = pool;
                runner.run(&StopSignal::new()).is_ok()
            });
        }
    });
    let counts: Vec<usize> = worlds.iter().map(|world| world.output().len()).collect();
    assert_eq!(counts, [20, 6, 20]);
}

/// One row `("k", 1)` a batch, through a window whose settings change between two runs.
fn counts_over_windows(invertible: bool, lengths: [u64; 2], intervals_ms: [u64; 2]) -> Vec<i64> {
    let mut counts = Vec::new();
    let mut world = World::new(plan(reduce_window(lengths[0], 1, sums(), invertible)), FakeFunction::new());
    world.push_all(&vec![vec![("k".to_owned(), 1)]; 12], 1);
    for (run, length) in lengths.into_iter().enumerate() {
        world.plan = plan(reduce_window(length, 2, sums(), invertible));
        let mut runner = world.runner(1).unwrap();
        runner.options.batch_interval_ms = intervals_ms[run];
        for _ in 0..6 {
            runner.run_batch(runner.next_batch_time()).unwrap();
        }
        runner.finish().unwrap();
    }
    counts.extend(world.output().iter().map(|batch| batch[0].1));
    counts
}

#[test]
fn a_window_may_become_shorter_or_longer_between_runs() {
    for invertible in [false, true] {
        // Windows of 5 batches at 2, 4, 6; then of 3 at 8, 10, 12.
        assert_eq!(counts_over_windows(invertible, [5, 3], [INTERVAL; 2]), [2, 4, 5, 3, 3, 3]);
        // Batches 1 to 4 had left the window of 2 when it became one of 5.
        assert_eq!(counts_over_windows(invertible, [2, 5], [INTERVAL; 2]), [2, 2, 2, 4, 5, 5]);
    }
}

#[test]
fn another_batch_interval_keeps_to_the_grid() {
    // Six batches of 1 s, then six of 2 s: every one of them is at a slide of 2 s.
    assert_eq!(counts_over_windows(true, [4, 4], [INTERVAL, 2 * INTERVAL]), [2, 4, 4, 3, 2, 2, 2, 2, 2]);
}

#[test]
fn another_merge_does_not_go_on_with_the_state_of_the_last() {
    let mut world = World::new(plan(reduce_window(3, 1, sums(), false)), FakeFunction::new());
    world.push_all(&[vec![("a".to_owned(), 1)]], 1);
    world.run(1).unwrap();
    world.plan = plan(reduce_window(3, 1, Merge::Columns(vec![ColumnMerge::Max]), false));
    assert_eq!(world.run(1).unwrap_err().code().0, "MP0706");
}

#[test]
fn batch_times_ahead_of_the_clock_do_not_stop_a_continuous_job() {
    let mut world =
        World::new(plan(Operator::UpdateState { every_batch: false, with_keys: true, initial: None }), summing());
    world.push_all(&vec![vec![("a".to_owned(), 1)]; 100], 1);
    assert_eq!(world.run(1).unwrap().batches, 100, "batch times are now 100 s ahead");
    world.trigger = Trigger::Continuous;
    world.push_all(&[vec![("a".to_owned(), 1)]], 1);
    let mut runner = world.runner(1).unwrap();
    let stop = StopSignal::new();
    std::thread::scope(|scope| {
        let job = scope.spawn(|| runner.run(&stop));
        // The lead is taken when the job starts: the clock must stand still until then.
        while world.listener.reports().is_empty() {
            std::thread::yield_now();
        }
        for batches in 101..=102 {
            world.clock.advance_ms(INTERVAL.cast_signed());
            while world.listener.batches().len() < batches {
                std::thread::yield_now();
            }
        }
        stop.finish();
        job.join().unwrap().unwrap();
    });
    assert_eq!(world.listener.batches()[100].batch_time_ms, START + 101_000);
    assert!(
        world
            .listener
            .reports()
            .iter()
            .any(|report| matches!(report, Report::Note { message } if message.contains("ahead")))
    );
}

#[test]
fn summary_counts_keys_also_when_there_was_nothing_to_do() {
    let world =
        World::new(plan(Operator::UpdateState { every_batch: false, with_keys: true, initial: None }), summing());
    world.push_all(&[vec![("a".to_owned(), 1)]], 1);
    world.run(1).unwrap();
    let second = world.run(1).unwrap();
    assert_eq!((second.batches, second.state_keys), (0, 1));
}
