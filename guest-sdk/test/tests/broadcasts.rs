//! Broadcast values on the real engine, against a model: values from outside that are replaced between batches, and values that are
//! the newest rows of a stream, whatever restarts, failing batches, partition counts, batch intervals and commits over several batches
//! there are.

mod common;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

use common::any_interval_ms;
use millpond::{Job, StreamingContext, Values};
use millpond_test::{JobTest, OnBadRecord, RunningJob};
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

/// One batch: rows, rows that become values, perhaps other values from outside.
#[derive(Clone, Debug)]
struct Step {
    rows: Vec<Pair>,
    model: Vec<Pair>,
    rates: Option<Vec<Pair>>,
    offsets: Option<Vec<i64>>,
    trouble: Trouble,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let rows = || proptest::collection::vec(("[a-c]", -5i64..5), 0..6);
    let model = prop_oneof![1 => Just(Vec::new()), 2 => rows()];
    let trouble = prop_oneof![4 => Just(Trouble::None), 1 => Just(Trouble::Restart), 1 => Just(Trouble::Failure)];
    let offsets = proptest::option::weighted(0.3, proptest::collection::vec(-5i64..5, 0..4));
    let step = (rows(), model, proptest::option::weighted(0.3, rows()), offsets, trouble);
    let step = step.prop_map(|(rows, model, rates, offsets, trouble)| Step { rows, model, rates, offsets, trouble });
    proptest::collection::vec(step, 1..10)
}

/// Makes the next batch fail after the stream's value was replaced.
static FAILING: AtomicBool = AtomicBool::new(false);

/// What a row becomes: by the values from outside, the sum of the stream's newest rows, and the last of them with its key.
type Priced = (String, i64, i64, Option<i64>);

fn job(ctx: &mut StreamingContext) {
    let (rates, offsets) = (ctx.broadcast_map::<String, i64>("rates"), ctx.broadcast::<i64>("offsets"));
    let rows = ctx.source::<Pair>("rows");
    let model = ctx.source::<Pair>("model").sort_by(|(key, n)| (key, n));
    let (newest, latest) = (model.broadcast("newest"), model.broadcast_map("latest"));
    let priced = rows.try_map::<Priced>(move |(key, n)| {
        if FAILING.load(Relaxed) {
            return Err("it was told to fail".into());
        }
        let price = n * rates.get(key).unwrap_or(1) + offsets.rows().iter().sum::<i64>();
        let model: i64 = newest.rows().iter().map(|(_, n)| n).sum();
        Ok((key, price, model, latest.get(key)))
    });
    priced.sink("priced");
    // In keyed state, where the value of each batch leaves its mark.
    let newest_of = newest;
    let add = move |values: Values<'_, i64>, total: Option<i64>| {
        Some(total.unwrap_or(0) + values.sum() * 10 + newest_of.rows().len() as i64)
    };
    rows.update_state_by_key(add).sink("totals");
}

fn sum_of(rows: &[Pair]) -> i64 {
    rows.iter().map(|(_, n)| n).sum()
}

/// What a restart goes back to.
#[derive(Clone, Default)]
struct Model {
    newest: Vec<Pair>,
    totals: BTreeMap<String, i64>,
}

impl Model {
    /// Takes in a batch; gives the rows of sink `priced`.
    fn batch(&mut self, rows: &[Pair], model: &[Pair], rates: &BTreeMap<String, i64>, offset: i64) -> Vec<Priced> {
        if !model.is_empty() {
            self.newest = model.to_vec();
        }
        let mut sums: BTreeMap<String, i64> = BTreeMap::new();
        rows.iter().for_each(|(key, n)| *sums.entry(key.clone()).or_default() += n);
        for (key, sum) in sums {
            *self.totals.entry(key).or_default() += sum * 10 + self.newest.len() as i64;
        }
        // The stream is sorted, so the last row of a key is its largest.
        let latest = |key: &String| self.newest.iter().filter(|row| row.0 == *key).map(|row| row.1).max();
        let price = |(key, n): &Pair| {
            (key.clone(), n * rates.get(key).unwrap_or(&1) + offset, sum_of(&self.newest), latest(key))
        };
        rows.iter().map(price).collect()
    }
}

fn sorted<T: Ord>(mut rows: Vec<T>) -> Vec<T> {
    rows.sort();
    rows
}

fn feed(running: &mut RunningJob, rows: &[Pair], model: &[Pair]) {
    let (left, right) = rows.split_at(rows.len() / 2);
    running.feed("rows", left.to_vec());
    running.feed("rows", right.to_vec());
    let (left, right) = model.split_at(model.len() / 2);
    running.feed("model", left.to_vec());
    running.feed("model", right.to_vec());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn each_batch_sees_its_values(
        steps in steps(), parallelism in 1usize..4, commit_every in 1u64..4, interval_ms in any_interval_ms(),
    ) {
        let test = JobTest::new(Job::new(job)).parallelism(parallelism).commit_every(commit_every);
        let test = test.batch_interval_ms(interval_ms);
        let test = test.on_bad_record(OnBadRecord::Fail).broadcast("rates", Vec::<Pair>::new());
        let test = test.broadcast("offsets", Vec::<i64>::new());
        let mut running = test.start();
        let (mut fed, mut done, mut committed) = (Vec::<(Vec<Pair>, Vec<Pair>)>::new(), 0, 0);
        let (mut model, mut model_committed) = (Model::default(), Model::default());
        let (mut rates, mut offset) = (BTreeMap::new(), 0);
        for step in &steps {
            if let Some(rows) = &step.rates {
                running.set_broadcast("rates", rows.clone());
                rates = rows.iter().cloned().collect();
            }
            if let Some(rows) = &step.offsets {
                running.set_broadcast("offsets", rows.clone());
                offset = rows.iter().sum();
            }
            feed(&mut running, &step.rows, &step.model);
            fed.push((step.rows.clone(), step.model.clone()));
            if step.trouble == Trouble::Failure && !fed[done].0.is_empty() {
                FAILING.store(true, Relaxed);
                let outcome = running.try_batch();
                FAILING.store(false, Relaxed);
                prop_assert!(outcome.is_err());
                // The next look at the sources adds an empty batch behind the others.
                fed.push((Vec::new(), Vec::new()));
            }
            if step.trouble != Trouble::None {
                running.restart_with_parallelism(parallelism % 3 + 1);
                done = committed;
                model = model_committed.clone();
            }
            running.batch();
            let expected = model.batch(&fed[done].0, &fed[done].1, &rates, offset);
            done += 1;
            if (done - committed) as u64 == commit_every {
                committed = done;
                model_committed = model.clone();
                // Output comes with the commit; what the newest batch gave is among it.
                prop_assert_eq!(sorted(running.rows::<Priced>("priced")), sorted(expected));
                let totals: Vec<Pair> = model.totals.clone().into_iter().collect();
                prop_assert_eq!(sorted(running.rows::<Pair>("totals")), totals);
            }
        }
    }
}

#[test]
fn the_newest_rows_of_a_stream_are_seen_from_their_own_batch_on() {
    fn job(ctx: &mut StreamingContext) {
        let lines = ctx.text("lines");
        let last = lines.filter(|line| line.starts_with('=')).broadcast("last");
        let show = move |line: &str| format!("{line} {}", last.rows().iter().collect::<Vec<_>>().join(""));
        lines.map_owned(show).sink("out");
    }
    let mut running = JobTest::new(Job::new(job)).start();
    let mut next = |rows: &[&str]| {
        running.feed("lines", rows.iter().map(|row| (*row).to_owned()).collect::<Vec<_>>());
        running.batch();
        let rows = running.rows::<String>("out");
        running.restart();
        rows
    };
    assert_eq!(next(&["a"]), ["a "]);
    assert_eq!(next(&["b", "=1"]), ["b =1", "=1 =1"]);
    assert_eq!(next(&["c"]), ["c =1"], "after a restart as well");
    assert_eq!(next(&[]), [""; 0]);
    assert_eq!(next(&["=2", "=3"]), ["=2 =2=3", "=3 =2=3"]);
}

#[test]
fn a_value_that_comes_with_a_window_stays_between_its_slides() {
    fn job(ctx: &mut StreamingContext) {
        let rows = ctx.source::<i64>("in");
        let sum = rows.reduce_by_window(|a, b| a + b, Duration::from_secs(2), Duration::from_secs(2)).broadcast("sum");
        rows.map::<i64>(move |n| n * 100 + sum.rows().get(0).unwrap_or(0)).sink("out");
    }
    let mut running = JobTest::new(Job::new(job)).start();
    let mut next = |n: i64| {
        running.feed("in", [n]);
        running.batch();
        running.rows::<i64>("out")
    };
    assert_eq!([next(1), next(2), next(3), next(4)], [[100], [203], [303], [407]]);
}
