//! Accumulators on the real engine, against a model: they have what committed batches added, each batch once, whatever restarts,
//! failing batches, partition counts, batch intervals and commits over several batches there are.

mod common;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use common::{INTERVAL, any_interval_ms, intervals};
use millpond::{Job, StreamingContext, Values};
use millpond_test::{JobTest, Number, OnBadRecord};
use proptest::prelude::*;

type Pair = (String, i64);

/// What happens before a batch.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Trouble {
    None,
    Restart,
    /// The batch fails on its way, and the job is started again.
    Failure,
}

/// Makes the next batch fail in the middle, after closures have added.
static FAILING: AtomicBool = AtomicBool::new(false);

fn job(ctx: &mut StreamingContext) {
    let (rows, sum, quarters) = (ctx.counter("rows"), ctx.sum::<i64>("sum"), ctx.sum::<f64>("quarters"));
    let (least, most) = (ctx.min::<i64>("least"), ctx.max::<i64>("most"));
    let (coldest, greatest) = (ctx.min::<f64>("coldest"), ctx.max::<f64>("greatest"));
    let (touched, merges) = (ctx.counter("touched"), ctx.counter("merges"));
    let add = move |(_, n): (&str, i64)| {
        rows.add(1);
        sum.add(n);
        quarters.add(n as f64 / 4.0);
        least.add(n);
        most.add(n);
        coldest.add(n as f64);
        greatest.add(n as f64);
        if FAILING.load(Relaxed) { Err("it was told to fail".into()) } else { Ok(true) }
    };
    let pairs = ctx.source::<Pair>("in").try_filter(add).cache();
    let total = move |values: Values<'_, i64>, total: Option<i64>| {
        touched.add(1);
        Some(total.unwrap_or(0) + values.sum())
    };
    pairs.update_state_by_key(total).sink("totals");
    let merge = move |left: i64, right: i64| {
        merges.add(1);
        left + right
    };
    // Its running totals are made again at a restart: nothing of that may count.
    let (length, slide) = (intervals(ctx, 3), intervals(ctx, 1));
    pairs.reduce_by_key_and_window_with_inverse(merge, |left, right| left - right, length, slide).sink("windowed");
}

/// The totals of these batches.
fn model(batches: &[Vec<Pair>]) -> BTreeMap<&'static str, Option<Number>> {
    let numbers: Vec<i64> = batches.iter().flatten().map(|(_, n)| *n).collect();
    let touched: usize =
        batches.iter().map(|batch| batch.iter().map(|(key, _)| key).collect::<BTreeSet<_>>().len()).sum();
    BTreeMap::from([
        ("rows", Some((numbers.len() as i64).into())),
        ("sum", Some(numbers.iter().sum::<i64>().into())),
        ("quarters", Some(numbers.iter().map(|n| *n as f64 / 4.0).sum::<f64>().into())),
        ("least", numbers.iter().min().map(|n| (*n).into())),
        ("most", numbers.iter().max().map(|n| (*n).into())),
        ("coldest", numbers.iter().min().map(|n| (*n as f64).into())),
        ("greatest", numbers.iter().max().map(|n| (*n as f64).into())),
        ("touched", Some((touched as i64).into())),
    ])
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn totals_are_those_of_the_committed_batches(
        batches in proptest::collection::vec(proptest::collection::vec(("[a-d]", -9i64..9), 0..9), 1..10),
        troubles in proptest::collection::vec(
            prop_oneof![4 => Just(Trouble::None), 1 => Just(Trouble::Restart), 1 => Just(Trouble::Failure)], 10),
        parallelism in 1usize..4,
        commit_every in 1u64..4,
        interval_ms in any_interval_ms(),
    ) {
        let test = JobTest::new(Job::new(job)).parallelism(parallelism).commit_every(commit_every);
        let test = test.batch_interval_ms(interval_ms).param(INTERVAL, interval_ms);
        let mut running = test.on_bad_record(OnBadRecord::Fail).start();
        // The source gives a batch at a time, and those that were not committed again.
        let (mut fed, mut done, mut committed) = (Vec::<Vec<Pair>>::new(), 0, 0);
        let feed = |running: &mut millpond_test::RunningJob, fed: &mut Vec<Vec<Pair>>, batch: Vec<Pair>| {
            let (left, right) = batch.split_at(batch.len() / 2);
            running.feed("in", left.to_vec());
            running.feed("in", right.to_vec());
            fed.push(batch);
        };
        for (number, batch) in batches.iter().enumerate() {
            feed(&mut running, &mut fed, batch.clone());
            if troubles[number] == Trouble::Failure && fed[done..=done].iter().any(|batch| !batch.is_empty()) {
                FAILING.store(true, Relaxed);
                let outcome = running.try_batch();
                FAILING.store(false, Relaxed);
                prop_assert!(outcome.is_err());
                for (name, total) in model(&fed[..committed]) {
                    prop_assert_eq!(running.accumulator(name), total, "{} after a failure", name);
                }
                feed(&mut running, &mut fed, Vec::new());
            }
            if troubles[number] != Trouble::None {
                running.restart_with_parallelism(parallelism % 3 + 1);
                done = committed;
            }
            let report = running.batch();
            done += 1;
            if (done - committed) as u64 == commit_every {
                committed = done;
            }
            prop_assert_eq!(report.epoch.is_some(), committed == done);
            for (name, total) in model(&fed[..done]) {
                let reported = report.accumulators.iter().find(|total| total.name == name).map(|total| total.value);
                prop_assert_eq!(reported, Some(total), "{} in the report", name);
            }
            for (name, total) in model(&fed[..committed]) {
                prop_assert_eq!(running.accumulator(name), total, "{}", name);
            }
        }
    }
}

#[test]
fn a_total_that_leaves_its_range_fails_the_batch() {
    fn job(ctx: &mut StreamingContext) {
        let bytes = ctx.sum::<i64>("bytes");
        let add = move |n: i64| {
            bytes.add(n);
            true
        };
        ctx.source::<i64>("in").filter(add).sink("out");
    }
    let mut running = JobTest::new(Job::new(job)).start();
    running.feed("in", [i64::MAX]);
    running.batch();
    running.feed("in", [1i64]);
    let error = running.try_batch().expect_err("one more");
    assert_eq!(millpond_core::Classify::code(&error).0, "MP0802");
    assert_eq!(running.accumulator("bytes"), Some(i64::MAX.into()), "nothing of the batch counts");
    assert_eq!(running.batches::<i64>("out").len(), 1, "nothing of the batch comes out");
    // Two partitions that come to more on the way, and to less in the end.
    let mut running = JobTest::new(Job::new(job)).start();
    running.feed("in", [i64::MAX]);
    running.feed("in", [1i64]);
    running.feed("in", [-7i64]);
    running.batch();
    assert_eq!(running.accumulator("bytes"), Some((i64::MAX - 6).into()));
}
