//! A batch is computed while the one before it is being committed, if it is due: order, failures of the one and of the other.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::thread;
use std::time::Duration;

use millpond_core::store::CommitStats;
use millpond_core::{
    BoxError, Classify, CommitRecord, Epoch, Operator, Recovered, StageOutput, StateStore, StopSignal,
};
use millpond_testkit::{FakeFunction, MemoryStore};

use super::JobRunner;
use super::tests::{World, plan};
use crate::Trigger;

/// A store whose first commit waits until the second batch is being computed.
struct OverlapStore {
    inner: MemoryStore,
    second_batch: mpsc::Receiver<()>,
}

impl StateStore for OverlapStore {
    fn recover(&mut self) -> Result<Recovered, BoxError> {
        self.inner.recover()
    }

    fn commit(&mut self, record: CommitRecord) -> Result<CommitStats, BoxError> {
        if record.epoch == Epoch(1) {
            // Long against any machine's hiccups; only a failing test waits for it.
            self.second_batch.recv_timeout(Duration::from_secs(30)).expect("batch 2 is computed meanwhile");
        }
        self.inner.commit(record)
    }

    fn close(&mut self) -> Result<(), BoxError> {
        self.inner.close()
    }
}

/// Three batches of one row; `second` is called when the second one is computed, while the first is being committed.
fn overlapping(second: impl Fn() + Send + Sync + 'static) -> (World, JobRunner) {
    overlapping_every(1, second)
}

/// The same with a commit after every so many batches; with several the first one does not wait.
fn overlapping_every(commit_every: u64, second: impl Fn() + Send + Sync + 'static) -> (World, JobRunner) {
    let (tell, second_batch) = mpsc::sync_channel(1);
    let calls = AtomicUsize::new(0);
    let function = FakeFunction::new().stage(1, move |_, rows| {
        if calls.fetch_add(1, Ordering::Relaxed) == 1 {
            tell.send(()).unwrap();
            second();
        }
        Ok(StageOutput { batch: rows.clone(), rejected: Vec::new() })
    });
    let mut world = World::new(plan(Operator::Stage(String::new())), function);
    world.commit_every = commit_every;
    world.push_all(&[vec![("a".to_owned(), 1)], vec![("b".to_owned(), 2)], vec![("c".to_owned(), 3)]], 1);
    let store = OverlapStore { inner: world.store.clone(), second_batch };
    let runner = world.runner_with(1, Box::new(store)).unwrap();
    (world, runner)
}

#[test]
fn a_batch_is_computed_while_the_one_before_is_committed() {
    let (world, mut runner) = overlapping(|| {});
    let summary = runner.run(&StopSignal::new()).unwrap();
    assert_eq!((summary.batches, world.store.epoch()), (3, Epoch(3)));
    let row = |key: &str, value| vec![(key.to_owned(), value)];
    assert_eq!(world.output(), [row("a", 1), row("b", 2), row("c", 3)], "in their order");
    let epochs: Vec<_> = world.listener.batches().iter().map(|report| (report.batches, report.epoch)).collect();
    assert_eq!(epochs, [(1, Some(Epoch(1))), (2, Some(Epoch(2))), (3, Some(Epoch(3)))]);
}

/// A store that remembers which thread makes its commits, and calls `then` with the number of each.
struct WatchedStore<F> {
    inner: MemoryStore,
    threads: Arc<Mutex<Vec<thread::ThreadId>>>,
    then: F,
}

impl<F: FnMut(usize) + Send> StateStore for WatchedStore<F> {
    fn recover(&mut self) -> Result<Recovered, BoxError> {
        self.inner.recover()
    }

    fn commit(&mut self, record: CommitRecord) -> Result<CommitStats, BoxError> {
        let mut threads = self.threads.lock().unwrap();
        threads.push(thread::current().id());
        (self.then)(threads.len());
        self.inner.commit(record)
    }

    fn close(&mut self) -> Result<(), BoxError> {
        self.inner.close()
    }
}

#[test]
fn a_batch_is_committed_on_the_jobs_own_thread_unless_the_next_one_is_due() {
    let mut world = World::new(plan(Operator::Take(1)), FakeFunction::new());
    world.trigger = Trigger::Continuous;
    world.push_all(&[vec![("a".to_owned(), 1)], vec![("b".to_owned(), 2)], vec![("c".to_owned(), 3)]], 1);
    let (stop, threads) = (StopSignal::new(), Arc::default());
    let (raised, clock) = (stop.clone(), world.clock.clone());
    let then = move |commit| match commit {
        // The first commit takes two intervals: the third batch is due when the second is computed.
        1 => clock.advance_ms(2000),
        2 => {}
        _ => raised.finish(),
    };
    let store = WatchedStore { inner: world.store.clone(), threads: Arc::clone(&threads), then };
    let mut runner = world.runner_with(1, Box::new(store)).unwrap();
    world.clock.advance_ms(1000);
    assert_eq!(runner.run(&stop).unwrap().batches, 3);
    let is_own: Vec<bool> = threads.lock().unwrap().iter().map(|id| *id == thread::current().id()).collect();
    assert_eq!(is_own, [true, false, true]);
    let row = |key: &str, value| vec![(key.to_owned(), value)];
    assert_eq!(world.output(), [row("a", 1), row("b", 2), row("c", 3)], "in their order");
}

#[test]
fn a_batch_that_fails_leaves_the_one_before_committed() {
    let (world, mut runner) = overlapping(|| panic!("boom"));
    let error = runner.run(&StopSignal::new()).unwrap_err();
    assert_eq!(error.code().0, "MP0803");
    assert_eq!((world.store.epoch(), world.output().len(), world.sink.prepared()), (Epoch(1), 1, 0));
    assert_eq!(world.listener.batches().len(), 1, "the listener is told of the batch that is committed");
}

#[test]
fn a_commit_that_fails_drops_the_batch_that_was_computed_meanwhile() {
    let (world, mut runner) = overlapping(|| {});
    world.store.fail_at(Epoch(1));
    let error = runner.run(&StopSignal::new()).unwrap_err();
    assert!(error.to_string().contains("commit 1"), "{error}");
    assert_eq!((world.store.epoch(), world.output().len(), world.sink.prepared()), (Epoch(0), 0, 0));
    assert!(runner.run_batch(runner.next_batch_time()).is_err(), "the runner is of no more use");
}

#[test]
fn what_was_prepared_for_a_later_commit_is_dropped_when_a_batch_fails() {
    let (world, mut runner) = overlapping_every(2, || panic!("boom"));
    assert_eq!(runner.run(&StopSignal::new()).unwrap_err().code().0, "MP0803");
    drop(runner);
    assert_eq!((world.store.epoch(), world.output().len(), world.sink.prepared()), (Epoch(0), 0, 0));
}

#[test]
fn a_store_that_panics_fails_the_job_and_nothing_comes_out() {
    for is_by_hand in [false, true] {
        let (world, runner) = overlapping(|| {});
        drop(runner);
        // Nobody tells the store that batch 2 is computed: it gives up with a panic.
        let (_, silent) = mpsc::sync_channel(1);
        let mut runner =
            world.runner_with(1, Box::new(OverlapStore { inner: world.store.clone(), second_batch: silent })).unwrap();
        let error = match is_by_hand {
            // On the thread for output, and on this one.
            false => runner.run(&StopSignal::new()).unwrap_err(),
            true => runner.run_batch(runner.next_batch_time()).unwrap_err(),
        };
        assert_eq!(error.code().0, "MP0803");
        assert!(error.to_string().contains("batch 2 is computed meanwhile"), "{error}");
        assert_eq!((world.store.epoch(), world.output().len(), world.sink.prepared()), (Epoch(0), 0, 0));
    }
}

#[test]
fn finishing_after_a_failure_is_no_success() {
    let (world, mut runner) = overlapping_every(1, || {});
    world.sink.fail_at(runner.next_batch_time());
    assert!(runner.run_batch(runner.next_batch_time()).is_err());
    assert!(runner.finish().is_err());
    assert_eq!(world.store.epoch(), Epoch(0));
}
