//! Every operator of the SDK as a component gives what it gives natively, restart and another partition count included.

use std::fs;
use std::sync::Arc;

use millpond_core::{AccumulatorTotal, Classify, UserFunction};
use millpond_test::{JobTest, RunningJob};
use millpond_tests::component;
use millpond_wasm::{EngineOptions, LoadOptions, WasmEngine};

/// The guest's own source, natively.
#[expect(unreachable_pub, reason = "it is a crate of its own, too")]
#[path = "../guests-sdk/operators/src/lib.rs"]
mod operators;

use operators::{JOBS, JOBS_WITH_CONTEXT, OTHER_JOBS, PANICS, Pair, millpond_job};

/// Rows of each batch.
const BATCHES: [&[(&str, i64)]; 6] = [
    &[("a", 1), ("b", 2), ("a", -2), ("c", 3)],
    &[],
    &[("b", 2), ("b", -4), ("ü", 3), ("a", 1)],
    &[("c", 3), ("c", 3)],
    &[("", 5), ("a", 0)],
    &[("d", 1)],
];

/// What comes out, batch by batch, and the accumulators after each.
fn output(mut job: RunningJob, has_rates: bool) -> (Vec<Vec<Pair>>, Vec<Vec<AccumulatorTotal>>) {
    let mut totals = Vec::new();
    for (number, batch) in BATCHES.iter().enumerate() {
        if number == 3 {
            job.restart_with_parallelism(3);
        }
        let rows = |rows: &[(&str, i64)]| rows.iter().map(|(key, n)| ((*key).to_owned(), *n)).collect::<Vec<Pair>>();
        if has_rates && number == 2 {
            job.set_broadcast::<Pair>("rates", [("c".to_owned(), 100)]);
        }
        let (left, right) = batch.split_at(batch.len() / 2);
        job.feed("in", rows(left));
        job.feed("in", rows(right));
        totals.push(job.batch().accumulators);
    }
    (job.batches::<Pair>("out").into_iter().map(|(_, rows)| rows).collect(), totals)
}

/// The guest, compiled.
struct Loader {
    engine: WasmEngine,
    component: Vec<u8>,
}

impl Loader {
    fn new() -> Self {
        let component = fs::read(component("tests/guests-sdk/operators")).expect("it was just built");
        Self { engine: WasmEngine::try_new(EngineOptions::default()).expect("an engine"), component }
    }

    /// One of its jobs.
    fn load(&self, name: &str) -> Arc<dyn UserFunction> {
        let params = vec![("job".to_owned(), name.to_owned())];
        let options = LoadOptions { job: "job".to_owned(), params, ..LoadOptions::default() };
        Arc::new(self.engine.load_job(&options, &self.component).unwrap_or_else(|error| panic!("{name}: {error}")))
    }
}

#[test]
fn components_give_what_native_code_gives() {
    let loader = Loader::new();
    let mut rows = 0;
    let with_context = JOBS_WITH_CONTEXT.iter().map(|(name, _)| name);
    for name in JOBS.iter().map(|(name, _)| name).chain(with_context).chain(OTHER_JOBS) {
        let rates = [("a".to_owned(), 3), ("b".to_owned(), -1), ("a".to_owned(), 7), ("most".to_owned(), 4)];
        let test = || JobTest::new(millpond_job()).param("job", name).broadcast::<Pair>("rates", rates.clone());
        let test = || test().broadcast("stop", ["b".to_owned()]);
        let has_rates = ["broadcasts", "rates"].contains(name);
        let native = output(test().start(), has_rates);
        let as_component = output(test().function(loader.load(name)).start(), has_rates);
        assert_eq!(as_component, native, "{name}");
        rows += native.0.iter().map(Vec::len).sum::<usize>();
    }
    assert!(rows > 300, "{rows} rows are too few to mean anything");
}

#[test]
fn a_closure_that_panics_fails_the_job_with_its_message_and_the_node() {
    let loader = Loader::new();
    for (name, node, _) in PANICS {
        let name = format!("panic in {name}");
        let test = JobTest::new(millpond_job()).param("job", &name);
        let mut job = test.function(loader.load(&name)).start();
        job.feed("in", [("a".to_owned(), 1i64)]);
        job.feed("in", [("a".to_owned(), 2i64)]);
        let error = job.try_batch().expect_err(&name);
        let message = error.to_string();
        assert_eq!(error.code().0, "MP0301", "{name}: {message}");
        assert!(message.starts_with(&format!("job `job`, node `{node}` (")), "{name}: {message}");
        assert!(message.contains("last error message: panicked at"), "{name}: {message}");
    }
}
