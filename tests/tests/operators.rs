//! Every operator of the SDK as a component gives what it gives natively, restart and another partition count included.

use std::fs;
use std::sync::Arc;

use millpond_core::AccumulatorTotal;
use millpond_test::{JobTest, RunningJob};
use millpond_tests::component;
use millpond_wasm::{EngineOptions, LoadOptions, WasmEngine};

/// The guest's own source, natively.
#[expect(unreachable_pub, reason = "it is a crate of its own, too")]
#[path = "../guests-sdk/operators/src/lib.rs"]
mod operators;

use operators::{JOBS, JOBS_WITH_CONTEXT, Pair, millpond_job};

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
fn output(mut job: RunningJob) -> (Vec<Vec<Pair>>, Vec<Vec<AccumulatorTotal>>) {
    let mut totals = Vec::new();
    for (number, batch) in BATCHES.iter().enumerate() {
        if number == 3 {
            job.restart_with_parallelism(3);
        }
        let rows = |rows: &[(&str, i64)]| rows.iter().map(|(key, n)| ((*key).to_owned(), *n)).collect::<Vec<Pair>>();
        let (left, right) = batch.split_at(batch.len() / 2);
        job.feed("in", rows(left));
        job.feed("in", rows(right));
        totals.push(job.batch().accumulators);
    }
    (job.batches::<Pair>("out").into_iter().map(|(_, rows)| rows).collect(), totals)
}

#[test]
fn components_give_what_native_code_gives() {
    let bytes = fs::read(component("tests/guests-sdk/operators")).expect("it was just built");
    let engine = WasmEngine::try_new(EngineOptions::default()).expect("an engine");
    let mut rows = 0;
    let names = JOBS.iter().map(|(name, _)| name).chain(JOBS_WITH_CONTEXT.iter().map(|(name, _)| name));
    for name in names {
        let params = vec![("job".to_owned(), (*name).to_owned())];
        let options = LoadOptions { job: (*name).to_owned(), params, ..LoadOptions::default() };
        let code = engine.load_job(&options, &bytes).unwrap_or_else(|error| panic!("{name}: {error}"));
        let test = || JobTest::new(millpond_job()).param("job", name);
        let native = output(test().start());
        let as_component = output(test().function(Arc::new(code)).start());
        assert_eq!(as_component, native, "{name}");
        rows += native.0.iter().map(Vec::len).sum::<usize>();
    }
    assert!(rows > 300, "{rows} rows are too few to mean anything");
}
