//! What the property tests of operators share: random runs of a job, compared batch by batch with a naive model.
//!
//! A model says what the batch at hand must give, from all batches so far.

#![allow(dead_code, unreachable_pub, reason = "a module that several test files include, each using a part of it")]

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Debug;
use std::time::Duration;

use millpond::{DStream, Job, Row, StreamingContext};
use millpond_test::JobTest;
use proptest::prelude::*;

pub type Pair = (String, i64);
pub type Batch = Vec<Pair>;

/// How a job is run.
#[derive(Clone, Debug)]
pub struct Run {
    pub batches: Vec<Batch>,
    pub restarts: BTreeSet<usize>,
    pub parallelism: usize,
    pub interval_ms: u64,
}

/// Random runs, at any batch interval: jobs say how long their windows are with [`intervals`].
pub fn runs() -> impl Strategy<Value = Run> {
    let batches = proptest::collection::vec(proptest::collection::vec(("[a-d]{1,2}", -3i64..5), 0..9), 1..9);
    let restarts = proptest::collection::btree_set(0usize..9, 0..3);
    let run = |(batches, restarts, parallelism, interval_ms)| Run { batches, restarts, parallelism, interval_ms };
    (batches, restarts, 1usize..4, any_interval_ms()).prop_map(run)
}

/// The shortest interval that there is, usual ones, and odd ones: the job's start is at no multiple of these.
pub fn any_interval_ms() -> impl Strategy<Value = u64> {
    prop_oneof![Just(1), Just(250), Just(1000), Just(60_000), 2u64..100_000]
}

/// The param in which a job under test finds its batch interval, as the plan does not know it.
pub const INTERVAL: &str = "interval";

/// So many batches, as the length or the slide of a window.
pub fn intervals(ctx: &StreamingContext, batches: u32) -> Duration {
    // Without it windows have no length, and the plan fails.
    Duration::from_millis(ctx.param_or(INTERVAL, 0)) * batches
}

pub fn pairs(ctx: &StreamingContext) -> DStream<Pair> {
    ctx.source::<Pair>("in")
}

pub const fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// Runs a job and compares each batch, rows in any order. `None` = this batch gives nothing to the sink.
pub fn check<T>(
    run: &Run,
    job: fn(&mut StreamingContext),
    model: impl Fn(&[Batch]) -> Option<Vec<T>>,
) -> Result<(), TestCaseError>
where
    T: Row + Debug + PartialOrd + Clone,
{
    check_ordered(run, job, |batches| model(batches).map(sorted), sorted)
}

pub fn sorted<T: PartialOrd>(mut rows: Vec<T>) -> Vec<T> {
    rows.sort_by(|left, right| left.partial_cmp(right).expect("no NaN in these tests"));
    rows
}

/// The partitions in which a batch comes from the source.
pub fn halves(batch: &Batch) -> (&[Pair], &[Pair]) {
    batch.split_at(batch.len() / 2)
}

pub fn check_ordered<T>(
    run: &Run,
    job: fn(&mut StreamingContext),
    model: impl Fn(&[Batch]) -> Option<Vec<T>>,
    normal: fn(Vec<T>) -> Vec<T>,
) -> Result<(), TestCaseError>
where
    T: Row + Debug + PartialOrd + Clone,
{
    check_test(run, JobTest::new(Job::new(job)), model, normal)
}

/// As `check_ordered`, of a job that has settings of its own.
pub fn check_test<T>(
    run: &Run,
    test: JobTest,
    model: impl Fn(&[Batch]) -> Option<Vec<T>>,
    normal: fn(Vec<T>) -> Vec<T>,
) -> Result<(), TestCaseError>
where
    T: Row + Debug + PartialOrd + Clone,
{
    let test = test.parallelism(run.parallelism).batch_interval_ms(run.interval_ms).param(INTERVAL, run.interval_ms);
    let mut job = test.start();
    let mut expected = Vec::new();
    for (number, batch) in run.batches.iter().enumerate() {
        if run.restarts.contains(&number) {
            job.restart_with_parallelism(run.parallelism % 3 + 1);
        }
        let (left, right) = halves(batch);
        job.feed("in", left.to_vec());
        job.feed("in", right.to_vec());
        job.batch();
        expected.extend(model(&run.batches[..=number]));
    }
    let found: Vec<Vec<T>> = job.batches::<T>("out").into_iter().map(|(_, rows)| normal(rows)).collect();
    prop_assert_eq!(found, expected);
    Ok(())
}

/// The last batch.
pub fn last(batches: &[Batch]) -> &Batch {
    batches.last().expect("a model is asked for a batch")
}

/// The batches of a window, or `None` between slides.
pub fn window(batches: &[Batch], length: usize, slide: usize) -> Option<&[Batch]> {
    batches.len().is_multiple_of(slide).then(|| &batches[batches.len().saturating_sub(length)..])
}

pub fn fold(rows: impl IntoIterator<Item = Pair>, with: impl Fn(i64, i64) -> i64) -> Vec<Pair> {
    let mut merged: BTreeMap<String, i64> = BTreeMap::new();
    for (key, value) in rows {
        merged.entry(key).and_modify(|old| *old = with(*old, value)).or_insert(value);
    }
    merged.into_iter().collect()
}

pub fn all(batches: &[Batch]) -> impl Iterator<Item = Pair> {
    batches.iter().flatten().cloned()
}

pub fn counts(rows: impl IntoIterator<Item = Pair>) -> Vec<Pair> {
    fold(rows.into_iter().map(|(key, _)| (key, 1)), |a, b| a + b)
}
