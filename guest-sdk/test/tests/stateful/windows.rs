//! Windows without an inverse: the totals of two stacks are those of merging every window anew.

use std::collections::BTreeMap;
use std::time::Duration;

use millpond::{Job, StreamingContext};
use millpond_test::{JobTest, START_MS};
use proptest::prelude::*;

use super::{Batch, Pair, Run, last, rows, run, runs};

/// Length and slide of the window in milliseconds.
fn window(ctx: &StreamingContext) -> (Duration, Duration) {
    let ms = |name| Duration::from_millis(ctx.param_or(name, 1000));
    (ms("length"), ms("slide"))
}

fn largest(ctx: &mut StreamingContext) {
    let (length, slide) = window(ctx);
    ctx.source::<Pair>("in").max_by_key_and_window(length, slide).sink("out");
}

/// By the plugin: the smallest and the largest value, and how many there were.
fn summary(ctx: &mut StreamingContext) {
    let (length, slide) = window(ctx);
    ctx.source::<Pair>("in")
        .map_values::<(i64, i64, i64)>(|n| (n, n, 1))
        .reduce_by_key_and_window(|a, b| (a.0.min(b.0), a.1.max(b.1), a.2 + b.2), length, slide)
        .sink("out");
}

/// Text, so that values have lengths.
fn smallest_text(ctx: &mut StreamingContext) {
    let (length, slide) = window(ctx);
    ctx.source::<Pair>("in")
        .map_owned(|(key, n)| (key.to_owned(), "x".repeat(usize::try_from(n + 3).unwrap_or(0))))
        .min_by_key_and_window(length, slide)
        .sink("out");
}

fn without_key(ctx: &mut StreamingContext) {
    let (length, slide) = window(ctx);
    ctx.source::<Pair>("in").map::<i64>(|(_, n)| n).reduce_by_window(|a, b| a.max(b), length, slide).sink("out");
}

/// Numbers whose sum depends on the order in which they are added.
fn fractions(ctx: &mut StreamingContext) {
    let (length, slide) = window(ctx);
    ctx.source::<Pair>("in")
        .map_values::<f64>(|n| (n as f64).exp() / 3.0)
        .sum_by_key_and_window(length, slide)
        .sink("out");
}

/// The best three.
fn best(ctx: &mut StreamingContext) {
    let (length, slide) = window(ctx);
    ctx.source::<Pair>("in")
        .max_by_key_and_window(length, slide)
        .top_by(3, |(key, n)| (std::cmp::Reverse(n), key))
        .sink("out");
}

/// Windows slide at whole slides from the job's start, rounded down to the interval.
fn is_slide(batches: &[Batch], interval_ms: u64, slide_ms: u64) -> bool {
    let start_ms = START_MS - START_MS % interval_ms.cast_signed();
    (last(batches).time_ms - start_ms) % slide_ms.cast_signed() == 0
}

/// The values of each key in the last window.
fn values(batches: &[Batch], length_ms: u64) -> BTreeMap<String, Vec<i64>> {
    let edge_ms = last(batches).time_ms - length_ms.cast_signed();
    let mut values: BTreeMap<String, Vec<i64>> = BTreeMap::new();
    for batch in batches.iter().filter(|batch| batch.time_ms > edge_ms) {
        batch.rows.iter().for_each(|(key, n)| values.entry(key.clone()).or_default().push(*n));
    }
    values
}

fn check<T: millpond::Row + PartialOrd + std::fmt::Debug>(
    how: &Run,
    (length, slide): (u64, u64),
    job: fn(&mut StreamingContext),
    model: impl Fn(BTreeMap<String, Vec<i64>>) -> Vec<T>,
) -> Result<(), TestCaseError> {
    let (length_ms, slide_ms) = (length * how.interval_ms, slide * how.interval_ms);
    run(how, job, &[("length", length_ms), ("slide", slide_ms)], |job, batches| {
        let found = rows::<T>(job, "out");
        let expected =
            if is_slide(batches, how.interval_ms, slide_ms) { model(values(batches, length_ms)) } else { Vec::new() };
        prop_assert_eq!(found, super::sorted(expected));
        Ok(())
    })
}

fn max(values: &[i64]) -> i64 {
    values.iter().copied().max().unwrap_or(i64::MIN)
}

fn min(values: &[i64]) -> i64 {
    values.iter().copied().min().unwrap_or(i64::MAX)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn totals_are_those_of_merging_anew(how in runs(), length in 1u64..8, slide in 1u64..5) {
        let window = (length, slide);
        check(&how, window, largest, |values| {
            values.into_iter().map(|(key, values)| (key, max(&values))).collect::<Vec<Pair>>()
        })?;
        check(&how, window, summary, |values| {
            values.into_iter().map(|(key, values)| (key, (min(&values), max(&values), values.len() as i64))).collect::<Vec<_>>()
        })?;
        check(&how, window, smallest_text, |values| {
            let text = |n: i64| "x".repeat(usize::try_from(n + 3).unwrap_or(0));
            values.into_iter().map(|(key, values)| (key, text(min(&values)))).collect::<Vec<_>>()
        })?;
        check(&how, window, without_key, |values| {
            values.into_values().flatten().max().into_iter().collect::<Vec<i64>>()
        })?;
        check(&how, window, best, |values| {
            let mut rows: Vec<Pair> = values.into_iter().map(|(key, values)| (key, max(&values))).collect();
            rows.sort_by_key(|(key, n)| (std::cmp::Reverse(*n), key.clone()));
            rows.truncate(3);
            rows
        })?;
    }

    #[test]
    fn sums_of_fractions_do_not_depend_on_restarts(how in runs(), length in 2u64..8, slide in 1u64..4) {
        let params = [("length", length * how.interval_ms), ("slide", slide * how.interval_ms)];
        let bits = |how: &Run| {
            let mut bits: Vec<Vec<(String, u64)>> = Vec::new();
            run(how, fractions, &params, |job, _| {
                bits.push(rows::<(String, f64)>(job, "out").into_iter().map(|(key, sum)| (key, sum.to_bits())).collect());
                Ok(())
            })?;
            Ok::<_, TestCaseError>(bits)
        };
        let how = Run { changes_parallelism: false, ..how };
        let straight = Run { restarts: [].into(), ..how.clone() };
        prop_assert_eq!(bits(&how)?, bits(&straight)?);
    }
}

#[test]
fn batches_between_windows_that_are_shorter_than_their_slide_count_nowhere() {
    let mut job = JobTest::new(Job::new(largest)).param("length", 2000).param("slide", 5000).start();
    let mut found = Vec::new();
    for n in 1..=10 {
        job.feed("in", [("a".to_owned(), -i64::from(n))]);
        job.batch();
        found.push(job.rows::<Pair>("out"));
    }
    // Batches 4 and 5, then 9 and 10.
    let some = |n| vec![("a".to_owned(), n)];
    let none = Vec::new;
    let expected = [none(), none(), none(), none(), some(-4), none(), none(), none(), none(), some(-9)];
    assert_eq!(found, expected);
}
