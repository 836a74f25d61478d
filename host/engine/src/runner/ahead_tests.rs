//! Batches that are begun while the one before is at its keyed state: that they are, when they are not, failures and stops.

use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::sync::{Arc, Mutex, OnceLock, mpsc};
use std::time::Duration;

use arrow::array::BooleanArray;
use millpond_core::receiver::{Poll, ProgressEntry, Reliability, SplitReader, StoredEntry};
use millpond_core::{
    Accumulator, AccumulatorKind, BatchTime, BoxError, Classify, Epoch, Node, NodeId, Operator, Plan, PollRequest,
    Receiver, StageOutput, StateStore, StopSignal, TaskInfo, UpdateOutput,
};
use millpond_testkit::rows::{pair_schema, pairs};
use millpond_testkit::{FakeFunction, ScriptReceiver};

use super::JobRunner;
use super::tests::World;
use crate::Trigger;

/// source -> stage -> keyed state -> sink. All but the last two are the front.
fn plan() -> Plan {
    let operators = [
        Operator::Source("in".to_owned()),
        Operator::Stage(String::new()),
        Operator::UpdateState { every_batch: false, with_keys: true, initial: None },
        Operator::Sink("out".to_owned()),
    ];
    let node = |(number, operator): (u32, Operator)| Node {
        name: format!("node {number}"),
        inputs: number.checked_sub(1).map(NodeId).into_iter().collect(),
        key_columns: if number < 3 { 1 } else { 0 },
        schema: pair_schema("key", "value"),
        operator,
    };
    Plan { nodes: (0..).zip(operators).map(node).collect(), ..Plan::default() }
}

/// User code that calls these with the number of the batch.
fn function(stage: impl Fn(i64) + Send + Sync + 'static, update: impl Fn(i64) + Send + Sync + 'static) -> FakeFunction {
    let number = |task: &TaskInfo| task.batch_time.0 % 1_700_000_000_000 / 1000;
    FakeFunction::new()
        .stage(1, move |task, rows| {
            stage(number(task));
            Ok(StageOutput { batch: rows.clone(), rejected: Vec::new() })
        })
        .update(2, move |task, input| {
            update(number(task));
            UpdateOutput { states: input.values.clone(), keep: BooleanArray::from(vec![true; input.keys.num_rows()]) }
        })
}

/// Three batches of one row. `stage` and `update` are called for each, with the number of the batch from 1 on.
fn three_batches(
    plan: Plan,
    parallelism: usize,
    stage: impl Fn(i64) + Send + Sync + 'static,
    update: impl Fn(i64) + Send + Sync + 'static,
) -> (World, JobRunner) {
    let world = World::new(plan, function(stage, update));
    world.push_all(&[vec![("a".to_owned(), 1)], vec![("b".to_owned(), 2)], vec![("c".to_owned(), 3)]], 1);
    let runner = world.runner_with(parallelism, Box::new(world.store.clone())).unwrap();
    (world, runner)
}

/// Runs three batches and gives the calls of user code in their order.
fn calls(plan: Plan, parallelism: usize) -> Vec<String> {
    let calls = Arc::new(Mutex::new(Vec::new()));
    let note = |what: &'static str| {
        let calls = Arc::clone(&calls);
        move |batch| calls.lock().unwrap().push(format!("{what} {batch}"))
    };
    let (_, mut runner) = three_batches(plan, parallelism, note("stage"), note("update"));
    runner.run(&StopSignal::new()).unwrap();
    drop(runner);
    let calls = calls.lock().unwrap();
    calls.clone()
}

/// The calls when one batch is over before the next one begins.
const ONE_BY_ONE: [&str; 6] = ["stage 1", "update 1", "stage 2", "update 2", "stage 3", "update 3"];

#[test]
fn fronts_of_batches_of_one_split_are_computed_meanwhile_side_by_side() {
    let (tell, begun) = mpsc::sync_channel(3);
    let begun = Mutex::new(begun);
    let (world, mut runner) = three_batches(
        plan(),
        2,
        move |batch| tell.send(batch).unwrap(),
        move |batch| {
            // Long against any machine's hiccups; only a failing test waits for it.
            let wait = || begun.lock().unwrap().recv_timeout(Duration::from_secs(30)).expect("the next ones are begun");
            if batch == 1 {
                let mut calls = [wait(), wait(), wait()];
                calls.sort_unstable();
                assert_eq!(calls, [1, 2, 3]);
            }
        },
    );
    let summary = runner.run(&StopSignal::new()).unwrap();
    assert_eq!((summary.batches, summary.rows_in, world.store.epoch()), (3, 3, Epoch(3)));
    let row = |key: &str, value| (key.to_owned(), value);
    let (a, b, c) = (row("a", 1), row("b", 2), row("c", 3));
    assert_eq!(world.output(), [vec![a.clone()], vec![a.clone(), b.clone()], vec![a, b, c]], "in their order");
}

#[test]
fn a_batch_with_a_split_for_each_task_is_begun_alone() {
    let calls = Arc::new(Mutex::new(Vec::new()));
    let note = |what: &'static str| {
        let calls = Arc::clone(&calls);
        move |batch| calls.lock().unwrap().push(format!("{what} {batch}"))
    };
    let world = World::new(plan(), function(note("stage"), note("update")));
    let row = |key: &str| (key.to_owned(), 1);
    world.push_all(&[vec![row("a"), row("b")], vec![row("a"), row("b")], vec![row("a"), row("b")]], 2);
    world.runner_with(2, Box::new(world.store.clone())).unwrap().run(&StopSignal::new()).unwrap();
    let calls = calls.lock().unwrap();
    let at = |call: &str| calls.iter().position(|made| made == call).expect(call);
    assert!(at("stage 3") > at("update 1"), "{calls:?}");
}

#[test]
fn a_job_with_one_task_at_a_time_does_not_look_ahead() {
    assert_eq!(calls(plan(), 1), ONE_BY_ONE);
}

#[test]
fn calls_that_count_for_one_batch_are_not_made_ahead() {
    let accumulators = vec![Accumulator { name: "calls".to_owned(), kind: AccumulatorKind::Counter }];
    assert_eq!(calls(Plan { accumulators, ..plan() }, 2), ONE_BY_ONE);
}

#[test]
fn a_failure_ahead_comes_when_its_batch_does() {
    let fail = |batch| assert!(batch != 2, "boom");
    let (world, mut runner) = three_batches(plan(), 2, fail, |_| {});
    let error = runner.run(&StopSignal::new()).unwrap_err();
    assert_eq!(error.code().0, "MP0803");
    assert!(error.to_string().contains("boom"), "{error}");
    assert_eq!((world.store.epoch(), world.output().len(), world.sink.prepared()), (Epoch(1), 1, 0));
}

#[test]
fn a_failure_while_the_next_batch_is_computed_is_that_of_its_own_batch() {
    let (world, mut runner) = three_batches(plan(), 2, |_| {}, |batch| assert!(batch != 2, "boom"));
    let error = runner.run(&StopSignal::new()).unwrap_err();
    assert!(error.to_string().contains("boom"), "{error}");
    assert_eq!((world.store.epoch(), world.output().len(), world.sink.prepared()), (Epoch(1), 1, 0));
}

#[test]
fn what_was_begun_is_finished_when_the_job_is_to_stop() {
    let (tell, begun) = mpsc::sync_channel(4);
    let (begun, stop) = (Mutex::new(begun), StopSignal::new());
    let (raised, has_stopped) = (stop.clone(), AtomicBool::new(false));
    let (world, mut runner) = three_batches(
        plan(),
        2,
        move |batch| tell.send(batch).unwrap(),
        move |_| {
            if !has_stopped.swap(true, SeqCst) {
                let wait =
                    || begun.lock().unwrap().recv_timeout(Duration::from_secs(30)).expect("the next ones are begun");
                let mut calls = [wait(), wait(), wait()];
                calls.sort_unstable();
                assert_eq!(calls, [1, 2, 3]);
                raised.finish();
            }
        },
    );
    world.push_all(&[vec![("d".to_owned(), 4)]], 1);
    assert_eq!(runner.run(&stop).unwrap().batches, 3);
    assert_eq!(world.store.epoch(), Epoch(3));
    // The fourth is there for the next run.
    let mut again = world.runner_with(2, Box::new(world.store.clone())).unwrap();
    assert_eq!(again.run(&StopSignal::new()).unwrap().rows_in, 1);
}

/// A script that can be added to from within a call.
fn pushing(world: &OnceLock<ScriptReceiver>) {
    world.get().expect("it was set").push(vec![pairs(&[("late".to_owned(), 9)])]);
}

#[test]
fn what_comes_while_the_last_batch_is_computed_is_taken() {
    for parallelism in [1, 2] {
        let script: Arc<OnceLock<ScriptReceiver>> = Arc::default();
        let its = Arc::clone(&script);
        let update = move |batch| {
            if batch == 3 {
                pushing(&its)
            }
        };
        let (world, mut runner) = three_batches(plan(), parallelism, |_| {}, update);
        assert!(script.set(world.script.again()).is_ok());
        assert_eq!(runner.run(&StopSignal::new()).unwrap().batches, 4, "with parallelism {parallelism}");
    }
}

/// A receiver that panics when it is asked for the second batch.
struct Fragile(Box<dyn Receiver>, u32);

impl Receiver for Fragile {
    fn reliability(&self) -> Reliability {
        self.0.reliability()
    }

    fn restore(&mut self, entries: Vec<StoredEntry>) -> Result<(), BoxError> {
        self.0.restore(entries)
    }

    fn poll(&mut self, request: &PollRequest) -> Result<Poll, BoxError> {
        self.1 += 1;
        assert!(self.1 != 2, "boom");
        self.0.poll(request)
    }

    fn reader(&self) -> Arc<dyn SplitReader> {
        self.0.reader()
    }

    fn take_progress(&mut self) -> Vec<ProgressEntry> {
        self.0.take_progress()
    }

    fn stop(&mut self) {
        self.0.stop();
    }
}

#[test]
fn a_receiver_that_panics_ahead_fails_the_batch_that_it_was_asked_for() {
    for parallelism in [1, 2] {
        let (world, mut runner) = three_batches(plan(), parallelism, |_| {}, |_| {});
        let receiver = std::mem::replace(&mut runner.sources[0].receiver, Box::new(world.script.again()));
        runner.sources[0].receiver = Box::new(Fragile(receiver, 0));
        let second = runner.next_batch_time().plus_ms(1000);
        let error = runner.run(&StopSignal::new()).unwrap_err();
        assert_eq!(error.code().0, "MP0803");
        assert!(error.to_string().contains("boom") && error.to_string().contains(&second.0.to_string()), "{error}");
        assert_eq!((world.store.epoch(), world.output().len()), (Epoch(1), 1), "the first one is committed");
    }
}

/// A receiver that keeps what it was asked for; how often that was is part of its progress.
struct Counting(Box<dyn Receiver>, Arc<Mutex<Vec<PollRequest>>>);

impl Receiver for Counting {
    fn reliability(&self) -> Reliability {
        self.0.reliability()
    }

    fn restore(&mut self, entries: Vec<StoredEntry>) -> Result<(), BoxError> {
        self.0.restore(entries)
    }

    fn poll(&mut self, request: &PollRequest) -> Result<Poll, BoxError> {
        self.1.lock().unwrap().push(*request);
        self.0.poll(request)
    }

    fn reader(&self) -> Arc<dyn SplitReader> {
        self.0.reader()
    }

    fn take_progress(&mut self) -> Vec<ProgressEntry> {
        let mut progress = self.0.take_progress();
        progress.push((b"asked".to_vec(), Some(vec![self.1.lock().unwrap().len() as u8])));
        progress
    }

    fn stop(&mut self) {
        self.0.stop();
    }
}

#[test]
fn a_look_that_found_nothing_is_progress_after_that_of_the_batches_before() {
    // Two batches and a look that finds nothing, all before the first one ends. A failure leaves what was committed until then.
    for (failing, commits, asked) in [(1, 0, None), (2, 1, Some(1)), (0, 2, Some(5))] {
        let world = World::new(plan(), function(|_| {}, move |batch| assert!(batch != failing, "boom")));
        world.push_all(&[vec![("a".to_owned(), 1)], vec![("b".to_owned(), 2)]], 1);
        let mut runner = world.runner_with(2, Box::new(world.store.clone())).unwrap();
        let receiver = std::mem::replace(&mut runner.sources[0].receiver, Box::new(world.script.again()));
        runner.sources[0].receiver = Box::new(Counting(receiver, Arc::default()));
        assert_eq!(runner.run(&StopSignal::new()).is_err(), failing > 0);
        let recovered = world.store.clone().recover().unwrap();
        let entries = recovered.sources.get("in").cloned().unwrap_or_default();
        let found = entries.iter().find(|(key, _)| key == b"asked").map(|(_, value)| value[0]);
        let given = entries.iter().find(|(key, _)| key == b"given").map(|(_, value)| u64::from(value[0]));
        assert_eq!((found, given), (asked, asked.map(|_| commits)), "with a failure in batch {failing}");
    }
}

#[test]
fn splits_are_large_only_in_a_job_that_takes_what_there_is_and_looks_ahead() {
    let accumulators = vec![Accumulator { name: "calls".to_owned(), kind: AccumulatorKind::Counter }];
    let counting = Plan { accumulators, ..plan() };
    let small = PollRequest::new(BatchTime(0), 2).split_bytes_min;
    for (plan, trigger, bytes_min) in [
        (plan(), Trigger::AvailableNow, 2 << 20),
        (plan(), Trigger::Continuous, small),
        (counting, Trigger::AvailableNow, small),
    ] {
        let stop = StopSignal::new();
        let raised = stop.clone();
        let stops = move |batch| {
            if batch == 3 {
                raised.finish()
            }
        };
        let mut world = World::new(plan, function(|_| {}, stops));
        world.push_all(&[vec![("a".to_owned(), 1)], vec![("b".to_owned(), 2)], vec![("c".to_owned(), 3)]], 1);
        world.trigger = trigger;
        let mut runner = world.runner_with(2, Box::new(world.store.clone())).unwrap();
        world.clock.advance_ms(5000);
        let asked = Arc::new(Mutex::new(Vec::new()));
        let receiver = std::mem::replace(&mut runner.sources[0].receiver, Box::new(world.script.again()));
        runner.sources[0].receiver = Box::new(Counting(receiver, Arc::clone(&asked)));
        runner.run(&stop).unwrap();
        let asked = asked.lock().unwrap();
        assert!(asked.len() >= 3);
        for request in &*asked {
            assert_eq!((request.partitions, request.split_bytes_min), (2, bytes_min), "the same for every batch");
        }
    }
}

#[test]
fn a_job_that_is_behind_looks_ahead_and_tells_how_late_it_is() {
    let stop = StopSignal::new();
    let raised = stop.clone();
    let (mut world, _) = three_batches(plan(), 2, |_| {}, |_| {});
    world.trigger = Trigger::Continuous;
    world.function = Arc::new(function(
        |_| {},
        move |batch| {
            if batch == 3 {
                raised.finish()
            }
        },
    ));
    let mut runner = world.runner_with(2, Box::new(world.store.clone())).unwrap();
    world.clock.advance_ms(5000);
    // A look that finds nothing begins nothing: there is no fourth batch to finish.
    assert_eq!(runner.run(&stop).unwrap().batches, 3);
    let late: Vec<u64> = world.listener.batches().iter().map(|report| report.scheduling_delay_us / 1000).collect();
    assert_eq!(late, [4000, 3000, 2000]);
}
