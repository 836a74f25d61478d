//! Sessions with a gap.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::time::Duration;

use millpond::{Element, Job, StreamingContext, Timestamp};
use millpond_test::JobTest;
use proptest::prelude::*;

use super::{Batch, Pair, Run, last, rows, run, runs};

type Session<V> = (String, (V, Timestamp, Timestamp));

fn reduced(ctx: &mut StreamingContext) {
    let gap = Duration::from_millis(ctx.param_or("gap", 1000));
    ctx.source::<Pair>("in").reduce_by_key_and_session(|a, b| a.max(b), gap).sink("out");
}

fn summed(ctx: &mut StreamingContext) {
    let gap = Duration::from_millis(ctx.param_or("gap", 1000));
    ctx.source::<Pair>("in").sum_by_key_and_session(gap).sink("out");
}

fn counted(ctx: &mut StreamingContext) {
    let gap = Duration::from_millis(ctx.param_or("gap", 1000));
    ctx.source::<Pair>("in").count_by_key_and_session(gap).sink("out");
}

fn grouped(ctx: &mut StreamingContext) {
    let gap = Duration::from_millis(ctx.param_or("gap", 1000));
    ctx.source::<Pair>("in").group_by_key_and_session(gap).sink("out");
}

/// The sessions that are over in the last batch and were not before.
fn model<V>(batches: &[Batch], gap_ms: i64, merge: impl Fn(&[i64]) -> V) -> Vec<Session<V>> {
    let mut values: BTreeMap<&str, Vec<(i64, i64)>> = BTreeMap::new();
    for batch in batches {
        batch.rows.iter().for_each(|(key, n)| values.entry(key).or_default().push((batch.time_ms, *n)));
    }
    let now_ms = last(batches).time_ms;
    let before_ms = batches.iter().rev().nth(1).map_or(i64::MIN, |batch| batch.time_ms);
    let mut ended = Vec::new();
    for (key, rows) in values {
        for session in rows.chunk_by(|left, right| right.0 - left.0 <= gap_ms) {
            let (start, end) = (session[0].0, session[session.len() - 1].0);
            let is_over = |time_ms: i64| time_ms > end + gap_ms;
            if is_over(now_ms) && !is_over(before_ms) {
                let value = merge(&session.iter().map(|row| row.1).collect::<Vec<_>>());
                ended.push((key.to_owned(), (value, Timestamp(start * 1000), Timestamp(end * 1000))));
            }
        }
    }
    ended
}

fn check<V: Element + PartialOrd + Debug>(
    how: &Run,
    gap_ms: u64,
    job: fn(&mut StreamingContext),
    merge: fn(&[i64]) -> V,
) -> Result<(), TestCaseError> {
    run(how, job, &[("gap", gap_ms)], |job, batches| {
        let expected = super::sorted(model(batches, gap_ms.cast_signed(), merge));
        prop_assert_eq!(rows::<Session<V>>(job, "out"), expected);
        Ok(())
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn rows_at_most_one_gap_apart_are_one_session(how in runs(), gap_ms in prop_oneof![Just(1u64), Just(1000), 500u64..5000]) {
        check(&how, gap_ms, reduced, |values| values.iter().copied().max().unwrap_or(0))?;
        check(&how, gap_ms, summed, |values| values.iter().sum::<i64>())?;
        check(&how, gap_ms, counted, |values| values.len() as i64)?;
        check(&how, gap_ms, grouped, <[i64]>::to_vec)?;
    }
}

#[test]
fn a_session_comes_out_once_with_its_times() {
    let mut job = JobTest::new(Job::new(counted)).param("gap", 2000).start();
    let start_ms = millpond_test::START_MS;
    for present in [true, false, true, false, false] {
        job.feed("in", present.then(|| ("ann".to_owned(), 1i64)));
        job.batch();
        assert_eq!(job.rows::<Session<i64>>("out"), []);
    }
    job.batch();
    let seconds = |seconds: i64| Timestamp((start_ms + seconds * 1000) * 1000);
    assert_eq!(job.rows::<Session<i64>>("out"), [("ann".to_owned(), (2, seconds(1), seconds(3)))]);
    job.batch();
    assert_eq!(job.rows::<Session<i64>>("out"), []);
}

#[test]
fn a_session_has_the_values_of_all_its_batches_in_their_order() {
    fn named(ctx: &mut StreamingContext) {
        let gap = Duration::from_secs(1);
        ctx.source::<(String, (String, i64))>("in").group_by_key_and_session(gap).named("visits").sink("out");
    }
    let mut job = JobTest::new(Job::new(named)).start();
    let value = |text: &str, n| (text.to_owned(), n);
    let row = |text: &str, n| ("ann".to_owned(), value(text, n));
    job.feed("in", [row("b", 2), row("a", 1)]);
    job.batch();
    job.feed("in", [row("c", 0)]);
    job.batch();
    let times = [1, 2].map(|second| Timestamp((millpond_test::START_MS + second * 1000) * 1000));
    let session = vec![value("b", 2), value("a", 1), value("c", 0)];
    job.assert_state::<String, (Vec<(String, i64)>, Timestamp, Timestamp)>(
        "visits",
        [("ann".to_owned(), (session.clone(), times[0], times[1]))],
    );
    job.batch();
    job.batch();
    assert_eq!(job.rows::<Session<Vec<(String, i64)>>>("out"), [("ann".to_owned(), (session, times[0], times[1]))]);
}

#[test]
fn a_gap_longer_than_time_never_ends() {
    fn forever(ctx: &mut StreamingContext) {
        ctx.source::<Pair>("in").count_by_key_and_session(Duration::from_millis(i64::MAX as u64)).sink("out");
    }
    let mut job = JobTest::new(Job::new(forever)).start();
    job.feed("in", [("ann".to_owned(), 1i64)]);
    job.batch();
    job.advance(Duration::from_secs(1_000_000_000));
    job.batch();
    assert_eq!(job.rows::<Session<i64>>("out"), []);
}

#[test]
fn a_gap_is_whole_milliseconds_and_at_least_one() {
    fn zero(ctx: &mut StreamingContext) {
        ctx.source::<Pair>("in").sum_by_key_and_session(Duration::ZERO).sink("out");
    }
    fn fraction(ctx: &mut StreamingContext) {
        ctx.source::<Pair>("in").sum_by_key_and_session(Duration::from_nanos(1)).sink("out");
    }
    fn grouped(ctx: &mut StreamingContext) {
        ctx.source::<Pair>("in").group_by_key_and_session(Duration::ZERO).sink("out");
    }
    for (job, operator) in [(zero as fn(&mut _), "sum"), (fraction, "sum"), (grouped, "group")] {
        let reason = JobTest::new(Job::new(job)).plan().expect_err("no plan");
        assert!(
            reason.contains(&format!("{operator}_by_key_and_session: the gap is"))
                && reason.contains("whole milliseconds"),
            "{reason}"
        );
    }
}
