//! Batches that are begun while the one before is at its keyed state: that they are, when they are not, failures and stops.

use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::sync::{Arc, Mutex, OnceLock, mpsc};
use std::time::Duration;

use arrow::array::BooleanArray;
use millpond_core::receiver::{Poll, ProgressEntry, Reliability, SplitReader, StoredEntry};
use millpond_core::{
    Accumulator, AccumulatorKind, BoxError, Classify, Epoch, Node, NodeId, Operator, Plan, PollRequest, Receiver,
    StageOutput, StopSignal, TaskInfo, UpdateOutput,
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
fn the_front_of_the_next_batch_is_computed_meanwhile() {
    let (tell, second) = mpsc::sync_channel(3);
    let second = Mutex::new(second);
    let (world, mut runner) = three_batches(
        plan(),
        2,
        move |batch| tell.send(batch).unwrap(),
        move |batch| {
            // Long against any machine's hiccups; only a failing test waits for it.
            let wait = || second.lock().unwrap().recv_timeout(Duration::from_secs(30)).expect("the next one is begun");
            if batch == 1 {
                assert_eq!([wait(), wait()], [1, 2]);
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
    let (tell, second) = mpsc::sync_channel(3);
    let (second, stop) = (Mutex::new(second), StopSignal::new());
    let (raised, has_stopped) = (stop.clone(), AtomicBool::new(false));
    let (world, mut runner) = three_batches(
        plan(),
        2,
        move |batch| tell.send(batch).unwrap(),
        move |_| {
            if !has_stopped.swap(true, SeqCst) {
                let wait =
                    || second.lock().unwrap().recv_timeout(Duration::from_secs(30)).expect("the next one is begun");
                assert_eq!([wait(), wait()], [1, 2]);
                raised.finish();
            }
        },
    );
    assert_eq!(runner.run(&stop).unwrap().batches, 2);
    assert_eq!(world.store.epoch(), Epoch(2));
    // The third is there for the next run.
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
