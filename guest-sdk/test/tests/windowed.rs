//! Operators over sliding windows, against windows that are made anew at every slide: random lengths and slides besides batches,
//! partition counts, batch intervals and restarts. `stateful/windows.rs` adds pauses.

mod common;

use std::collections::BTreeSet;
use std::fmt::Debug;
use std::time::Duration;

use common::{Batch, Pair, Run, all, check_test, counts, fold, intervals, pairs, runs, seconds, sorted, window};
use millpond::{Job, Row, StreamingContext, Values};
use millpond_test::JobTest;
use proptest::prelude::*;

/// Length and slide of a window, in batches. A slide may be longer than the window: then some batches are in none.
type Lengths = (usize, usize);

fn lengths() -> impl Strategy<Value = Lengths> {
    (1usize..6, 1usize..5)
}

/// The window of a job under test.
fn of(ctx: &StreamingContext) -> (Duration, Duration) {
    (intervals(ctx, ctx.param_or("length", 0)), intervals(ctx, ctx.param_or("slide", 0)))
}

/// Runs a job and compares what each window gives, rows in any order; the model is given the rows of the window.
fn check<T>(
    run: &Run,
    lengths: Lengths,
    job: fn(&mut StreamingContext),
    model: impl Fn(Vec<Pair>) -> Vec<T>,
) -> Result<(), TestCaseError>
where
    T: Row + Debug + PartialOrd + Clone,
{
    check_batches(run, lengths, job, |batches| {
        window(batches, lengths.0, lengths.1).map(|window| model(all(window).collect()))
    })
}

/// As `check`; the model is given all batches so far, and gives nothing between slides.
fn check_batches<T>(
    run: &Run,
    (length, slide): Lengths,
    job: fn(&mut StreamingContext),
    model: impl Fn(&[Batch]) -> Option<Vec<T>>,
) -> Result<(), TestCaseError>
where
    T: Row + Debug + PartialOrd + Clone,
{
    let test = JobTest::new(Job::new(job)).param("length", length).param("slide", slide);
    check_test(run, test, |batches| model(batches).map(sorted), sorted)
}

/// The rows of each window so far, the newest last.
fn windows_so_far(batches: &[Batch], (length, slide): Lengths) -> Vec<Vec<Pair>> {
    let ends = 1..=batches.len();
    ends.filter_map(|end| window(&batches[..end], length, slide)).map(|window| all(window).collect()).collect()
}

/// What the newest window gives, and zero for every key that a window before it had.
fn with_empty_keys(batches: &[Batch], lengths: Lengths, newest: impl Fn(Vec<Pair>) -> Vec<Pair>) -> Option<Vec<Pair>> {
    window(batches, lengths.0, lengths.1)?;
    let mut windows = windows_so_far(batches, lengths);
    let mut rows = newest(windows.pop()?);
    let held: BTreeSet<String> = rows.iter().map(|(key, _)| key.clone()).collect();
    let seen: BTreeSet<String> = windows.into_iter().flatten().map(|(key, _)| key).collect();
    rows.extend(seen.difference(&held).map(|key| (key.clone(), 0)));
    Some(rows)
}

fn add(a: i64, b: i64) -> i64 {
    a + b
}

fn sums(rows: Vec<Pair>) -> Vec<Pair> {
    fold(rows, add)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn windows_hold_the_batches_of_their_length(run in runs(), lengths in lengths()) {
        check(&run, lengths, |ctx| {
            let (length, slide) = of(ctx);
            pairs(ctx).window(length, slide).sink("out");
        }, |rows| rows)?;
        check(&run, lengths, |ctx| {
            let (length, slide) = of(ctx);
            pairs(ctx).count_by_window(length, slide).sink("out");
        }, |rows| vec![rows.len() as i64])?;
        check(&run, lengths, |ctx| {
            let (length, slide) = of(ctx);
            pairs(ctx).keys().count_by_value_and_window(length, slide).sink("out");
        }, counts)?;
        check(&run, lengths, |ctx| {
            let (length, slide) = of(ctx);
            pairs(ctx).values().reduce_by_window(|a, b| a.min(b), length, slide).sink("out");
        }, |rows| rows.into_iter().map(|(_, n)| n).min().into_iter().collect())?;
    }

    #[test]
    fn merges_by_key_are_those_of_the_window(run in runs(), lengths in lengths()) {
        check(&run, lengths, |ctx| {
            let (length, slide) = of(ctx);
            pairs(ctx).reduce_by_key_and_window(add, length, slide).sink("out");
        }, sums)?;
        check(&run, lengths, |ctx| {
            let (length, slide) = of(ctx);
            pairs(ctx).sum_by_key_and_window(length, slide).sink("out");
        }, sums)?;
        check(&run, lengths, |ctx| {
            let (length, slide) = of(ctx);
            pairs(ctx).min_by_key_and_window(length, slide).sink("out");
        }, |rows| fold(rows, i64::min))?;
        check(&run, lengths, |ctx| {
            let (length, slide) = of(ctx);
            pairs(ctx).max_by_key_and_window(length, slide).sink("out");
        }, |rows| fold(rows, i64::max))?;
    }

    #[test]
    fn an_inverse_changes_no_answer(run in runs(), lengths in lengths()) {
        check(&run, lengths, |ctx| {
            let (length, slide) = of(ctx);
            pairs(ctx).reduce_by_key_and_window_with_inverse(add, |a, b| a - b, length, slide).sink("out");
        }, sums)?;
        check(&run, lengths, |ctx| {
            let (length, slide) = of(ctx);
            let values = pairs(ctx).values();
            values.reduce_by_window_with_inverse(add, |a, b| a - b, length, slide).sink("out");
        }, |rows| rows.into_iter().map(|(_, n)| n).reduce(add).into_iter().collect())?;
        check(&run, lengths, |ctx| {
            let (length, slide) = of(ctx);
            let halves = pairs(ctx).map::<(f64, i64)>(|(_, n)| (n as f64 / 2.0, n));
            let add = |a: (f64, i64), b: (f64, i64)| (a.0 + b.0, a.1 + b.1);
            halves.reduce_by_window_with_inverse(add, |a, b| (a.0 - b.0, a.1 - b.1), length, slide).sink("out");
        }, |rows| {
            let sum = rows.into_iter().map(|(_, n)| n).reduce(add);
            sum.map(|sum| (sum as f64 / 2.0, sum)).into_iter().collect()
        })?;
        check(&run, lengths, |ctx| {
            let (length, slide) = of(ctx);
            let positive = |(_, n): (&str, i64)| n > 0;
            pairs(ctx)
                .reduce_by_key_and_window_with_inverse_and_filter(add, |a, b| a - b, length, slide, positive)
                .sink("out");
        }, |rows| sums(rows).into_iter().filter(|(_, n)| *n > 0).collect())?;
    }

    #[test]
    fn kept_empty_keys_are_all_that_a_window_ever_had(run in runs(), lengths in lengths()) {
        check_batches(&run, lengths, |ctx| {
            let (length, slide) = of(ctx);
            let sums = pairs(ctx).reduce_by_key_and_window_with_inverse(add, |a, b| a - b, length, slide);
            sums.keep_empty_keys().sink("out");
        }, |batches| with_empty_keys(batches, lengths, sums))?;
        check_batches(&run, lengths, |ctx| {
            let (length, slide) = of(ctx);
            pairs(ctx).keys().count_by_value_and_window(length, slide).keep_empty_keys().sink("out");
        }, |batches| with_empty_keys(batches, lengths, counts))?;
    }

    #[test]
    fn what_stands_behind_a_window_runs_at_its_slides(run in runs(), lengths in lengths()) {
        // Keyed state, a second window and a whole batch see a window's rows again at every slide.
        check_batches(&run, lengths, |ctx| {
            let (length, slide) = of(ctx);
            let total = |values: Values<'_, i64>, total: Option<i64>| Some(total.unwrap_or(0) + values.sum());
            pairs(ctx).sum_by_key_and_window(length, slide).update_state_by_key(total).sink("out");
        }, |batches| {
            window(batches, lengths.0, lengths.1)?;
            Some(sums(windows_so_far(batches, lengths).into_iter().flat_map(sums).collect()))
        })?;
        check_batches(&run, lengths, |ctx| {
            let (length, slide) = of(ctx);
            let windows = pairs(ctx).window(length, slide).named("first");
            windows.count_by_window(slide * 2, slide).named("second").sink("out");
        }, |batches| {
            window(batches, lengths.0, lengths.1)?;
            let windows = windows_so_far(batches, lengths);
            Some(vec![windows.iter().rev().take(2).map(Vec::len).sum::<usize>() as i64])
        })?;
        check(&run, lengths, |ctx| {
            let (length, slide) = of(ctx);
            pairs(ctx).window(length, slide).transform::<i64>(|rows, out| out.push(rows.len() as i64)).sink("out");
        }, |rows| vec![rows.len() as i64])?;
    }
}

#[test]
fn kept_empty_keys_come_out_as_in_spark() {
    fn job(ctx: &mut StreamingContext) {
        pairs(ctx)
            .reduce_by_key_and_window_with_inverse(|a, b| a + b, |a, b| a - b, seconds(1), seconds(1))
            .keep_empty_keys()
            .sink("out");
    }
    let mut job = JobTest::new(Job::new(job)).start();
    job.feed("in", [("a".to_owned(), 2i64)]);
    job.batch();
    job.restart();
    job.batch();
    assert_eq!(job.rows::<Pair>("out"), [("a".to_owned(), 0)]);
}

#[test]
fn an_empty_window_has_no_row_with_an_inverse_either() {
    fn job(ctx: &mut StreamingContext) {
        let numbers = ctx.source::<i64>("in");
        numbers.reduce_by_window_with_inverse(|a, b| a + b, |a, b| a - b, seconds(2), seconds(1)).sink("out");
    }
    let mut job = JobTest::new(Job::new(job)).start();
    for rows in [vec![2i64, 5], vec![3], vec![], vec![], vec![4]] {
        job.feed("in", rows);
        job.batch();
    }
    let found: Vec<Vec<i64>> = job.batches("out").into_iter().map(|(_, rows)| rows).collect();
    assert_eq!(found, [vec![7], vec![10], vec![3], vec![], vec![4]]);
}

#[test]
fn time_that_is_turned_on_empties_windows() {
    fn job(ctx: &mut StreamingContext) {
        ctx.text("lines").count_by_window(seconds(3), seconds(1)).sink("out");
    }
    let mut job = JobTest::new(Job::new(job)).start();
    job.feed("lines", ["a".to_owned()]);
    job.batch();
    assert_eq!(job.rows::<i64>("out"), [1]);
    job.advance(seconds(10));
    job.batch();
    assert_eq!(job.rows::<i64>("out"), [0]);
}

#[test]
fn windows_must_fit_the_batch_interval() {
    fn job(ctx: &mut StreamingContext) {
        pairs(ctx).window(Duration::from_millis(1500), seconds(1)).sink("out");
    }
    let refused = JobTest::new(Job::new(job)).plan().expect_err("1.5 s of 1 s batches");
    assert!(refused.contains("multiple of the batch interval"), "{refused}");
}
