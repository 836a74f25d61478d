//! Batches that are begun while the one before is at its keyed state: that they are, when they are not, failures and stops.
//!
//! Calls of user code wait for each other through channels, with a limit that is long against any machine's hiccups: only a
//! failing test waits for it.

use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Barrier, Mutex, OnceLock, mpsc};
use std::time::Duration;

use arrow::array::BooleanArray;
use millpond_core::receiver::{Poll, ProgressEntry, Reliability, SplitReader, StoredEntry};
use millpond_core::{
    Accumulator, AccumulatorKind, BoxError, Classify, Epoch, Node, NodeId, Operator, Plan, PollRequest, Receiver,
    StageOutput, StateStore, StopSignal, TaskInfo, UpdateOutput,
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

/// Something that calls of user code tell each other.
struct Sign {
    tell: mpsc::SyncSender<i64>,
    told: Mutex<mpsc::Receiver<i64>>,
}

impl Sign {
    fn new() -> Arc<Self> {
        let (tell, told) = mpsc::sync_channel(16);
        Arc::new(Self { tell, told: Mutex::new(told) })
    }

    fn give(&self, number: i64) {
        self.tell.send(number).unwrap();
    }

    fn wait(&self) -> i64 {
        self.told.lock().unwrap().recv_timeout(LONG).expect("the other call is made")
    }

    /// The next ones, in order of size.
    fn wait_for<const N: usize>(&self) -> [i64; N] {
        let mut numbers = [0; N].map(|_: i64| self.wait());
        numbers.sort_unstable();
        numbers
    }
}

const LONG: Duration = Duration::from_secs(30);

#[test]
fn fronts_of_batches_of_one_split_are_computed_meanwhile_side_by_side() {
    // While the first batch is at its state, the third's front ends before the second's does.
    let (begun, third) = (Sign::new(), Sign::new());
    let its_begun = Arc::clone(&begun);
    let stage = move |batch| {
        its_begun.give(batch);
        match batch {
            2 => assert_eq!(third.wait(), 3),
            3 => third.give(3),
            _ => {}
        }
    };
    let update = move |batch| {
        if batch == 1 {
            assert_eq!(begun.wait_for(), [1, 2, 3]);
        }
    };
    let (world, mut runner) = three_batches(plan(), 2, stage, update);
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
    for failing in [2, 3] {
        let fail = move |batch| assert!(batch != failing, "boom");
        let (world, mut runner) = three_batches(plan(), 2, fail, |_| {});
        let error = runner.run(&StopSignal::new()).unwrap_err();
        assert_eq!(error.code().0, "MP0803");
        assert!(error.to_string().contains("boom"), "{error}");
        let whole = failing - 1;
        assert_eq!(world.store.epoch(), Epoch(whole as u64), "those before it are committed");
        assert_eq!((world.output().len(), world.sink.prepared()), (whole as usize, 0));
    }
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
    for trigger in [Trigger::AvailableNow, Trigger::Continuous] {
        let (begun, stop) = (Sign::new(), StopSignal::new());
        let (its_begun, raised) = (Arc::clone(&begun), stop.clone());
        let (mut world, _) = three_batches(plan(), 2, |_| {}, |_| {});
        world.trigger = trigger;
        let update = move |batch| {
            if batch == 1 {
                assert_eq!(begun.wait_for(), [1, 2, 3]);
                raised.finish();
            }
        };
        world.function = Arc::new(function(move |batch| its_begun.give(batch), update));
        world.push_all(&[vec![("d".to_owned(), 4)]], 1);
        let mut runner = world.runner_with(2, Box::new(world.store.clone())).unwrap();
        // All batches are due.
        world.clock.advance_ms(5000);
        assert_eq!(runner.run(&stop).unwrap().batches, 3, "{trigger:?}");
        assert_eq!(world.store.epoch(), Epoch(3));
        // The fourth is there for the next run.
        world.trigger = Trigger::AvailableNow;
        let mut again = world.runner_with(2, Box::new(world.store.clone())).unwrap();
        assert_eq!(again.run(&StopSignal::new()).unwrap().rows_in, 1);
    }
}

#[test]
fn what_was_begun_is_dropped_after_a_failure_and_when_the_job_is_to_stop_at_once() {
    for is_stopped in [false, true] {
        let (begun, gate, calls) = (Sign::new(), Sign::new(), Arc::new(AtomicUsize::new(0)));
        let stop = StopSignal::new();
        let (its_begun, its_gate, its_calls) = (Arc::clone(&begun), Arc::clone(&gate), Arc::clone(&calls));
        let stage = move |batch| {
            if batch == 2 {
                its_calls.fetch_add(1, SeqCst);
                its_begun.give(2);
                its_gate.wait();
            }
        };
        let raised = stop.clone();
        // On the job's own thread, as both of the pool's wait at the gate.
        let function = function(stage, |_| {}).whole_batch(2, move |_, inputs| {
            assert_eq!(begun.wait_for(), [2, 2]);
            assert!(is_stopped, "boom");
            raised.abort();
            inputs[0].clone()
        });
        let mut plan = plan();
        plan.nodes[2].operator = Operator::WholeBatch(String::new());
        let world = World::new(plan, function);
        let row = |key: &str| (key.to_owned(), 1);
        world.push_all(&[vec![row("a")]], 1);
        world.push_all(&[["b", "c", "d", "e", "f", "g"].map(row).to_vec()], 6);
        let mut runner = world.runner_with(2, Box::new(world.store.clone())).unwrap();
        let error = runner.run(&stop).unwrap_err();
        assert_eq!(error.code().0, if is_stopped { "MP0804" } else { "MP0803" }, "{error}");
        assert_eq!((world.store.epoch(), world.output().len(), world.sink.prepared()), (Epoch(0), 0, 0));
        // What was begun goes on to the end of the calls that are being made, as the runner is still there.
        (0..6).for_each(|call| gate.give(call));
        // A thread of the pool comes here when it has nothing else to do.
        let idle = Barrier::new(2);
        let rest = |()| {
            idle.wait();
            Ok(())
        };
        runner.shared.pool.run(vec![(), ()], rest).unwrap();
        assert_eq!(calls.load(SeqCst), 2, "a call by each thread");
    }
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

type Polls = dyn FnMut(&mut dyn Receiver, &PollRequest) -> Result<Poll, BoxError> + Send;
type Progresses = dyn FnMut(Vec<ProgressEntry>) -> Vec<ProgressEntry> + Send;

/// A receiver whose polls and progress pass through others' hands.
struct Wrapped {
    inner: Box<dyn Receiver>,
    poll: Box<Polls>,
    progress: Box<Progresses>,
}

impl Wrapped {
    /// Puts one in the place of the runner's only receiver.
    fn put(
        world: &World,
        runner: &mut JobRunner,
        poll: impl FnMut(&mut dyn Receiver, &PollRequest) -> Result<Poll, BoxError> + Send + 'static,
        progress: impl FnMut(Vec<ProgressEntry>) -> Vec<ProgressEntry> + Send + 'static,
    ) {
        // Something has to be there meanwhile.
        let inner = std::mem::replace(&mut runner.sources[0].receiver, Box::new(world.script.again()));
        runner.sources[0].receiver = Box::new(Self { inner, poll: Box::new(poll), progress: Box::new(progress) });
    }
}

impl Receiver for Wrapped {
    fn reliability(&self) -> Reliability {
        self.inner.reliability()
    }

    fn restore(&mut self, entries: Vec<StoredEntry>) -> Result<(), BoxError> {
        self.inner.restore(entries)
    }

    fn poll(&mut self, request: &PollRequest) -> Result<Poll, BoxError> {
        (self.poll)(&mut *self.inner, request)
    }

    fn reader(&self) -> Arc<dyn SplitReader> {
        self.inner.reader()
    }

    fn take_progress(&mut self) -> Vec<ProgressEntry> {
        (self.progress)(self.inner.take_progress())
    }

    fn stop(&mut self) {
        self.inner.stop();
    }
}

#[test]
fn a_batch_of_large_or_unknown_size_is_begun_alone() {
    let task_bytes = 32 << 20;
    for (bytes, ahead) in [(Some(task_bytes), 2), (Some(2 * task_bytes), 1), (None, 1)] {
        let polls = Arc::new(AtomicUsize::new(0));
        let (its_polls, seen) = (Arc::clone(&polls), Arc::new(AtomicUsize::new(0)));
        let its_seen = Arc::clone(&seen);
        let update = move |batch| {
            if batch == 1 {
                its_seen.store(its_polls.load(SeqCst), SeqCst);
            }
        };
        let (world, mut runner) = three_batches(plan(), 2, |_| {}, update);
        let poll = move |inner: &mut dyn Receiver, request: &PollRequest| {
            polls.fetch_add(1, SeqCst);
            let mut poll = inner.poll(request)?;
            poll.splits.iter_mut().for_each(|split| split.bytes = bytes);
            Ok(poll)
        };
        Wrapped::put(&world, &mut runner, poll, |progress| progress);
        assert_eq!(runner.run(&StopSignal::new()).unwrap().batches, 3);
        assert_eq!(seen.load(SeqCst), 1 + ahead, "batches of {bytes:?} bytes");
    }
}

#[test]
fn a_receiver_that_panics_ahead_fails_the_batch_that_it_was_asked_for() {
    for parallelism in [1, 2] {
        let (world, mut runner) = three_batches(plan(), parallelism, |_| {}, |_| {});
        let mut polls = 0;
        let poll = move |inner: &mut dyn Receiver, request: &PollRequest| {
            polls += 1;
            assert!(polls != 2, "boom");
            inner.poll(request)
        };
        Wrapped::put(&world, &mut runner, poll, |progress| progress);
        let second = runner.next_batch_time().plus_ms(1000);
        let error = runner.run(&StopSignal::new()).unwrap_err();
        assert_eq!(error.code().0, "MP0803");
        assert!(error.to_string().contains("boom") && error.to_string().contains(&second.0.to_string()), "{error}");
        assert_eq!((world.store.epoch(), world.output().len()), (Epoch(1), 1), "the first one is committed");
    }
}

#[test]
fn a_look_that_found_nothing_is_progress_after_that_of_the_batches_before() {
    // Two batches and a look that finds nothing, all before the first one ends. A failure leaves what was committed until then.
    for (failing, commits, asked) in [(1, 0, None), (2, 1, Some(1)), (0, 2, Some(5))] {
        let world = World::new(plan(), function(|_| {}, move |batch| assert!(batch != failing, "boom")));
        world.push_all(&[vec![("a".to_owned(), 1)], vec![("b".to_owned(), 2)]], 1);
        let mut runner = world.runner_with(2, Box::new(world.store.clone())).unwrap();
        // How often it was asked is part of its progress.
        let polls = Arc::new(AtomicUsize::new(0));
        let its_polls = Arc::clone(&polls);
        let poll = move |inner: &mut dyn Receiver, request: &PollRequest| {
            its_polls.fetch_add(1, SeqCst);
            inner.poll(request)
        };
        let progress = move |mut progress: Vec<ProgressEntry>| {
            progress.push((b"asked".to_vec(), Some(vec![polls.load(SeqCst) as u8])));
            progress
        };
        Wrapped::put(&world, &mut runner, poll, progress);
        assert_eq!(runner.run(&StopSignal::new()).is_err(), failing > 0);
        let recovered = world.store.clone().recover().unwrap();
        let entries = recovered.sources.get("in").cloned().unwrap_or_default();
        let found = entries.iter().find(|(key, _)| key == b"asked").map(|(_, value)| value[0]);
        let given = entries.iter().find(|(key, _)| key == b"given").map(|(_, value)| u64::from(value[0]));
        assert_eq!((found, given), (asked, asked.map(|_| commits)), "with a failure in batch {failing}");
    }
}

#[test]
fn batches_are_side_by_side_only_in_a_job_that_takes_what_there_is_and_looks_ahead() {
    let accumulators = vec![Accumulator { name: "calls".to_owned(), kind: AccumulatorKind::Counter }];
    let counting = Plan { accumulators, ..plan() };
    for (plan, trigger, side_by_side) in [
        (plan(), Trigger::AvailableNow, true),
        (plan(), Trigger::Continuous, false),
        (counting, Trigger::AvailableNow, false),
    ] {
        for is_by_hand in [false, true] {
            let stop = StopSignal::new();
            let raised = stop.clone();
            let stops = move |batch| {
                if batch == 3 {
                    raised.finish()
                }
            };
            let (mut world, _) = three_batches(plan.clone(), 2, |_| {}, |_| {});
            world.trigger = trigger;
            world.function = Arc::new(function(|_| {}, stops));
            let mut runner = world.runner_with(2, Box::new(world.store.clone())).unwrap();
            world.clock.advance_ms(5000);
            let asked = Arc::new(Mutex::new(Vec::new()));
            let its_asked = Arc::clone(&asked);
            let poll = move |inner: &mut dyn Receiver, request: &PollRequest| {
                its_asked.lock().unwrap().push(*request);
                inner.poll(request)
            };
            Wrapped::put(&world, &mut runner, poll, |progress| progress);
            if is_by_hand {
                for _ in 0..3 {
                    runner.run_batch(runner.next_batch_time()).unwrap();
                }
            } else {
                runner.run(&stop).unwrap();
            }
            let asked = asked.lock().unwrap();
            assert!(asked.len() >= 3);
            for request in &*asked {
                let expected = (2, side_by_side && !is_by_hand);
                assert_eq!((request.partitions, request.side_by_side), expected, "the same for every batch");
            }
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
