//! Several jobs in one process, as a server runs them: one WebAssembly engine and one compute pool for all. What one of them
//! does wrong is its own affair.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use arrow::array::RecordBatch;
use millpond_core::{Classify, Epoch, NodeId, OutputMode, StateStore, StopSignal, UserFunction};
use millpond_engine::{
    ComputePool, Error, JobOptions, JobParts, JobRunner, OnBadRecord, SinkBinding, SourceBinding, StreamGraph, Summary,
    Trigger,
};
use millpond_state::{FileStateStore, StateOptions};
use millpond_testkit::rows::{lines, to_pairs, to_texts};
use millpond_testkit::{CollectListener, CollectSink, ManualClock, ScriptReceiver};
use millpond_tests::{component, guests};
use millpond_wasm::{EngineOptions, JobComponent, Limits, LoadOptions, WasmEngine};
use tempfile::TempDir;

const INTERVAL_MS: u64 = 1000;

/// What all jobs of a process share.
#[derive(Clone)]
struct Process {
    engine: WasmEngine,
    pool: Arc<ComputePool>,
}

impl Process {
    fn new() -> Self {
        let engine = WasmEngine::try_new(EngineOptions::default()).expect("the engine starts");
        Self { engine, pool: Arc::new(ComputePool::try_new(2).expect("two threads")) }
    }
}

/// A job and its outside world: input, output, state on disk.
struct World {
    name: &'static str,
    component: Vec<u8>,
    /// The job's one source, and its one sink.
    ends: (&'static str, &'static str),
    script: ScriptReceiver,
    sink: CollectSink,
    state: TempDir,
    clock: ManualClock,
}

impl World {
    fn new(name: &'static str, component: &Path, ends: (&'static str, &'static str)) -> Self {
        Self {
            name,
            component: std::fs::read(component).expect("it was just built"),
            ends,
            script: ScriptReceiver::new(Arc::clone(lines(&[]).schema_ref())),
            sink: CollectSink::new(),
            state: tempfile::tempdir().expect("a temporary folder"),
            clock: ManualClock::new(1_700_000_000_000),
        }
    }

    fn hostile(name: &'static str) -> Self {
        Self::new(name, &guests::hostile(), ("lines", "out"))
    }

    fn component(&self, process: &Process, params: &[(&str, &str)], limits: Limits) -> JobComponent {
        let params = params.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let options = LoadOptions { job: self.name.to_owned(), params, limits };
        process.engine.load_job(&options, &self.component).unwrap_or_else(|error| panic!("{}: {error}", self.name))
    }

    fn store(&self) -> FileStateStore {
        let options = StateOptions {
            dir: self.state.path().join("state"),
            job: self.name.to_owned(),
            fold_every_ms: 10_000,
            clock: Arc::new(self.clock.clone()),
        };
        FileStateStore::open(options).expect("nobody else has the folder")
    }

    fn run(&self, process: &Process, params: &[(&str, &str)], limits: Limits) -> Result<Summary, Error> {
        let component = self.component(process, params, limits);
        let (source, sink) = self.ends;
        let receiver = Box::new(self.script.again());
        let parts = JobParts {
            graph: StreamGraph::try_new(component.plan().clone(), INTERVAL_MS)?,
            function: Arc::new(component),
            transforms: BTreeMap::new(),
            broadcasts: BTreeMap::new(),
            sources: BTreeMap::from([(
                source.to_owned(),
                SourceBinding { receiver, on_bad_record: OnBadRecord::Skip },
            )]),
            sinks: BTreeMap::from([(
                sink.to_owned(),
                SinkBinding { sink: Box::new(self.sink.clone()), mode: OutputMode::Complete },
            )]),
            store: Box::new(self.store()),
            clock: Arc::new(self.clock.clone()),
            pool: Arc::clone(&process.pool),
            listener: Arc::new(CollectListener::new()),
        };
        let options = JobOptions {
            name: self.name.to_owned(),
            batch_interval_ms: INTERVAL_MS,
            trigger: Trigger::AvailableNow,
            parallelism: 3,
            commit_every: 1,
            on_bad_record: OnBadRecord::Skip,
        };
        JobRunner::try_new(options, parts)?.run(&StopSignal::new())
    }

    /// How many commits are on disk.
    fn commits(&self) -> Epoch {
        let mut store = self.store();
        let recovered = store.recover().expect("the state is whole");
        store.close().expect("it was open");
        recovered.last.map_or(Epoch(0), |(epoch, _)| epoch)
    }

    /// What became visible, batch by batch.
    fn output<T>(&self, rows: impl Fn(&RecordBatch) -> Vec<T>) -> Vec<Vec<T>> {
        self.sink.batches().into_iter().map(|(_, partitions)| partitions.iter().flat_map(&rows).collect()).collect()
    }
}

/// Many batches, so that the jobs are at work at the same time.
fn counting(name: &'static str) -> World {
    let world = World::new(name, &component("plugins/wordcount"), ("lines", "counts"));
    (0..60).for_each(|_| world.script.push(vec![lines(&["to be or", "not to be"]), lines(&["to"])]));
    world
}

fn check_counts(world: &World) {
    let found = world.output(to_pairs);
    let expected = |batch: i64| {
        [("to", 3), ("be", 2), ("not", 1), ("or", 1)].map(|(word, count)| (word.to_owned(), count * batch)).to_vec()
    };
    assert_eq!(found, (1..=60).map(expected).collect::<Vec<_>>());
    assert_eq!(world.commits(), Epoch(60));
}

#[test]
fn jobs_that_fail_leave_the_others_alone() {
    let process = Process::new();
    let good = [counting("one"), counting("two")];
    let trapping = World::hostile("trapping");
    for text in ["one", "two", "poison", "four"] {
        trapping.script.push(vec![lines(&[text]), lines(&["other"])]);
    }
    let greedy = World::hostile("greedy");
    greedy.script.push(vec![lines(&["all"]), lines(&["of"]), lines(&["it"])]);
    let small = Limits { memory_bytes: 16 << 20, ..Limits::default() };
    std::thread::scope(|scope| {
        let running =
            good.each_ref().map(|world| scope.spawn(|| world.run(&process, &[("top", "0")], Limits::default())));
        let trap =
            scope.spawn(|| trapping.run(&process, &[("behaviour", "trap"), ("on", "poison")], Limits::default()));
        let greed = scope.spawn(|| greedy.run(&process, &[("behaviour", "allocate")], small));
        let error = trap.join().expect("a trap is no panic").expect_err("its third batch traps");
        assert_eq!(error.code().0, "MP0301");
        assert!(error.to_string().contains("job `trapping`, node `pass`"), "{error}");
        let error = greed.join().expect("a limit is no panic").expect_err("it wants all memory there is");
        assert_eq!(error.code().0, "MP0303");
        assert!(error.to_string().contains("job `greedy`, node `pass`"), "{error}");
        for job in running {
            let summary = job.join().expect("it does not panic").expect("the others' errors are not its own");
            assert_eq!(summary.batches, 60);
        }
    });
    good.iter().for_each(check_counts);
    let words = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>();
    assert_eq!(trapping.output(to_texts), [words(&["one", "other"]), words(&["two", "other"])]);
    assert_eq!((trapping.commits(), trapping.sink.prepared()), (Epoch(2), 0), "nothing of the third batch");
    assert_eq!((greedy.commits(), greedy.sink.prepared()), (Epoch(0), 0));
    // What failed goes on, in the same process, when the reason is gone.
    trapping.run(&process, &[], Limits::default()).expect("it behaves now");
    assert_eq!(trapping.output(to_texts)[2..], [words(&["poison", "other"]), words(&["four", "other"])]);
    greedy.run(&process, &[], Limits::default()).expect("it behaves now");
    assert_eq!(greedy.output(to_texts), [words(&["all", "of", "it"])]);
}

/// More than the engine has slots for instances, so that one that is not given back would be missed.
const FAILURES: usize = 300;

#[test]
fn failing_hundreds_of_times_leaks_no_instance() {
    let process = Process::new();
    let world = World::hostile("failing");
    world.script.push(vec![lines(&["poison"]), lines(&["poison"]), lines(&["poison"])]);
    for (behaviour, failures) in [("panic", FAILURES), ("trap", 100), ("wrong-length", 100), ("failure", 100)] {
        for number in 0..failures {
            let error = world.run(&process, &[("behaviour", behaviour)], Limits::default()).expect_err("it fails");
            assert_ne!(error.code().0, "MP0310", "{behaviour} {number}: {error}");
            assert!(["MP0301", "MP0306", "MP0309"].contains(&error.code().0), "{behaviour} {number}: {error}");
        }
    }
    assert_eq!(world.commits(), Epoch(0));
    world.run(&process, &[], Limits::default()).expect("it behaves now");
    assert_eq!(world.output(to_texts), [["poison"; 3].map(str::to_owned).to_vec()]);
}

#[test]
fn one_component_survives_hundreds_of_failing_calls() {
    let process = Process::new();
    let world = World::hostile("calling");
    let component = world.component(&process, &[("behaviour", "panic"), ("on", "poison")], Limits::default());
    let task = millpond_core::TaskInfo {
        batch_time: millpond_core::BatchTime(1000),
        partition: millpond_core::PartitionId(0),
        partitions: 1,
        attempt: 0,
    };
    for number in 0..FAILURES {
        let error = component.run_stage(NodeId(1), &task, &lines(&["poison"])).expect_err("it panics");
        assert_eq!(error.code().0, "MP0301", "call {number}: {}", error.full_message());
        assert_eq!(
            component.run_stage(NodeId(1), &task, &lines(&["good"])).expect("it behaves").batch,
            lines(&["good"])
        );
    }
}

#[test]
fn jobs_of_one_component_share_what_was_compiled_and_nothing_else() {
    let process = Process::new();
    let worlds: Vec<World> = ["a", "b", "c"].map(World::hostile).into();
    worlds.iter().for_each(|world| world.script.push(vec![lines(&[world.name])]));
    std::thread::scope(|scope| {
        let jobs: Vec<_> =
            worlds.iter().map(|world| scope.spawn(|| world.run(&process, &[], Limits::default()))).collect();
        for job in jobs {
            assert_eq!(job.join().expect("no panic").expect("it behaves").batches, 1);
        }
    });
    for world in &worlds {
        assert_eq!(world.output(to_texts), [[world.name.to_owned()]]);
    }
}
