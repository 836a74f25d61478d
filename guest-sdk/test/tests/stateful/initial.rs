//! Initial states: there from the first batch, and never again. `map_with_state.rs` has random ones of `map_with_state`.

use std::collections::BTreeMap;
use std::time::Duration;

use millpond::{Job, State, StreamingContext, Values};
use millpond_core::OutputMode;
use millpond_test::JobTest;
use proptest::prelude::*;

use super::{Pair, last, rows, run, runs};

/// The initial state that a number stands for, as params carry it: four bits a key; of a key that has none there is no state. Rows never
/// have the last of these keys.
pub(super) fn drawn(number: u64) -> Vec<Pair> {
    let state = |(place, key): (usize, &&str)| {
        let state = (number >> (4 * place)) & 15;
        (state > 0).then(|| ((*key).to_owned(), state.cast_signed()))
    };
    ["a", "b", "ab", "d", "dd", "z"].iter().enumerate().filter_map(state).collect()
}

/// A number for [`drawn`].
pub(super) fn initial() -> impl Strategy<Value = u64> {
    0u64..1 << 24
}

fn totals_from_drawn(ctx: &mut StreamingContext) {
    let initial = drawn(ctx.param_or("initial", 0));
    ctx.source::<Pair>("in").update_state_by_key(total).initial_state(initial).sink("out");
}

/// Counts batches, from the initial state on, up to twelve.
fn ages_from_drawn(ctx: &mut StreamingContext) {
    let initial = drawn(ctx.param_or("initial", 0));
    let age = |_: Values<'_, i64>, age: Option<i64>| Some(age.unwrap_or(0) + 1).filter(|age| *age <= 12);
    ctx.source::<Pair>("in").update_state_by_key(age).initial_state(initial).every_batch().sink("out");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn states_go_on_from_where_they_begin(how in runs(), initial in initial()) {
        let mut totals: BTreeMap<String, i64> = drawn(initial).into_iter().collect();
        run(&how, totals_from_drawn, &[("initial", initial)], |job, batches| {
            for (key, n) in &last(batches).rows {
                *totals.entry(key.clone()).or_default() += n;
            }
            totals.retain(|_, total| *total != 0);
            prop_assert_eq!(rows::<Pair>(job, "out"), totals.clone().into_iter().collect::<Vec<_>>());
            Ok(())
        })?;
        let mut ages: BTreeMap<String, i64> = drawn(initial).into_iter().collect();
        run(&how, ages_from_drawn, &[("initial", initial)], |job, batches| {
            for (key, _) in &last(batches).rows {
                ages.entry(key.clone()).or_default();
            }
            ages.values_mut().for_each(|age| *age += 1);
            ages.retain(|_, age| *age <= 12);
            prop_assert_eq!(rows::<Pair>(job, "out"), ages.clone().into_iter().collect::<Vec<_>>());
            Ok(())
        })?;
    }
}

fn pairs(expected: &[(&str, i64)]) -> Vec<Pair> {
    expected.iter().map(|(key, n)| ((*key).to_owned(), *n)).collect()
}

fn total(values: Values<'_, i64>, total: Option<i64>) -> Option<i64> {
    Some(total.unwrap_or(0) + values.sum()).filter(|total| *total != 0)
}

fn updated(ctx: &mut StreamingContext) {
    let initial = pairs(&[("a", 1), ("b", 2), ("c", 3), ("d", 4)]);
    ctx.source::<Pair>("in").update_state_by_key(total).initial_state(initial).sink("out");
}

#[test]
fn update_state_by_key_begins_with_it() {
    for mode in [OutputMode::Complete, OutputMode::Update] {
        for first_restart in [0, 1, 2] {
            let mut job = JobTest::new(Job::new(updated)).mode("out", mode).parallelism(3).start();
            job.feed("in", pairs(&[("b", -2), ("c", 1)]));
            if first_restart == 0 {
                job.restart_with_parallelism(2);
            }
            job.batch();
            assert_eq!(rows::<Pair>(&job, "out"), pairs(&[("a", 1), ("c", 4), ("d", 4)]), "{mode:?}");
            if first_restart == 1 {
                job.restart_with_parallelism(1);
            }
            // Every key goes.
            job.feed("in", pairs(&[("a", -1), ("c", -4), ("d", -4)]));
            job.batch();
            assert_eq!(rows::<Pair>(&job, "out"), []);
            if first_restart == 2 {
                job.restart_with_parallelism(1);
            }
            job.feed("in", pairs(&[("d", 9)]));
            job.batch();
            assert_eq!(rows::<Pair>(&job, "out"), pairs(&[("d", 9)]), "{mode:?}");
        }
    }
}

fn mapped(ctx: &mut StreamingContext) {
    let map = |key: &str, value: Option<i64>, state: &mut State<'_, i64>| match value {
        Some(value) => {
            let sum = state.get().unwrap_or(0) + value;
            state.update(sum);
            Some((key.to_owned(), sum))
        }
        None => Some((key.to_owned(), -1)),
    };
    let mapped = ctx.source::<Pair>("in").map_with_state(map).timeout(Duration::from_secs(1)).initial_state(pairs(&[
        ("a", 1),
        ("b", 2),
        ("c", 3),
    ]));
    mapped.sink("out");
    mapped.state_snapshots().sink("states");
}

#[test]
fn map_with_state_begins_with_it_as_if_the_first_batch_had_touched_it() {
    for restarts in [false, true] {
        let mut job = JobTest::new(Job::new(mapped)).parallelism(2).start();
        job.feed("in", pairs(&[("b", 5)]));
        job.batch();
        assert_eq!(rows::<Pair>(&job, "out"), pairs(&[("b", 7)]));
        assert_eq!(rows::<Pair>(&job, "states"), pairs(&[("a", 1), ("b", 7), ("c", 3)]));
        if restarts {
            job.restart_with_parallelism(3);
        }
        job.feed("in", pairs(&[("c", 1)]));
        job.batch();
        assert_eq!(rows::<Pair>(&job, "states"), pairs(&[("a", 1), ("b", 7), ("c", 4)]));
        job.batch();
        assert_eq!(rows::<Pair>(&job, "out"), pairs(&[("a", -1), ("b", -1)]));
        job.batch();
        assert_eq!((rows::<Pair>(&job, "out"), rows::<Pair>(&job, "states")), (pairs(&[("c", -1)]), vec![]));
        if restarts {
            job.restart();
        }
        job.batch();
        assert_eq!(rows::<Pair>(&job, "states"), []);
    }
}

#[test]
fn it_is_not_lost_when_the_job_restarts_before_the_operator_has_had_a_batch() {
    fn job(ctx: &mut StreamingContext) {
        let seconds = Duration::from_secs(3);
        let recent = ctx.source::<Pair>("in").sum_by_key_and_window(seconds, seconds);
        recent.update_state_by_key(total).initial_state(pairs(&[("a", 1)])).sink("totals");
        let map = |_: &str, value: Option<i64>, _: &mut State<'_, i64>| value;
        recent.map_with_state(map).initial_state(pairs(&[("b", 2)])).state_snapshots().sink("states");
    }
    let mut job = JobTest::new(Job::new(job)).start();
    for batch in 1..=6 {
        job.feed("in", pairs(&[("z", 1)]));
        job.batch();
        job.restart_with_parallelism(batch % 3 + 1);
        let slide = |expected: &[(&str, i64)]| if batch % 3 == 0 { pairs(expected) } else { Vec::new() };
        let sum = batch as i64;
        assert_eq!(rows::<Pair>(&job, "totals"), slide(&[("a", 1), ("z", sum)]));
        assert_eq!(rows::<Pair>(&job, "states"), slide(&[("b", 2)]));
    }
}

#[test]
fn a_key_that_is_there_twice_is_refused() {
    fn update(ctx: &mut StreamingContext) {
        ctx.source::<Pair>("in")
            .update_state_by_key(total)
            .initial_state(pairs(&[("a", 1), ("b", 2), ("a", 3)]))
            .sink("out");
    }
    fn map(ctx: &mut StreamingContext) {
        let map = |_: &str, value: Option<i64>, _: &mut State<'_, i64>| value;
        ctx.source::<Pair>("in").map_with_state(map).initial_state(pairs(&[("a", 1), ("b", 2), ("a", 3)])).sink("out");
    }
    for (job, node) in [(update as fn(&mut StreamingContext), "update_state_by_key"), (map, "map_with_state")] {
        let reason = JobTest::new(Job::new(job)).plan().expect_err("no plan");
        assert!(reason.contains(&format!("node `{node}`")) && reason.contains("rows 0 and 2"), "{reason}");
    }
}

#[test]
fn initial_state_goes_right_after_its_operator() {
    fn misplaced(ctx: &mut StreamingContext) {
        ctx.source::<Pair>("in").sum_by_key().initial_state(pairs(&[("a", 1)])).sink("out");
    }
    let reason = JobTest::new(Job::new(misplaced)).plan().expect_err("no plan");
    assert!(reason.contains("right after update_state_by_key or map_with_state"), "{reason}");
}
