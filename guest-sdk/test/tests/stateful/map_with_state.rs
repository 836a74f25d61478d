//! `map_with_state` row by row, with and without a timeout and an initial state, and its snapshots.

use std::collections::BTreeMap;
use std::time::Duration;

use millpond::{Job, State, StreamingContext};
use millpond_test::JobTest;
use proptest::prelude::*;

use super::initial::{drawn, initial};
use super::{Batch, Pair, Run, last, rows, run, runs};

/// What the function of these jobs does, for the job and for the model: the state after it, and what it returns.
fn step(key: &str, value: Option<i64>, state: Option<i64>) -> (Change, Option<(String, i64, i64)>) {
    match (value, state) {
        (None, state) => (Change::Nothing, Some((key.to_owned(), -100, state.unwrap_or(-1)))),
        (Some(-3), _) => (Change::Remove, None),
        // Only looks.
        (Some(0), state) => (Change::Nothing, Some((key.to_owned(), 0, state.unwrap_or(-1)))),
        (Some(value), state) => {
            let sum = state.unwrap_or(0) + value;
            (Change::Update(sum), (value % 2 == 0).then(|| (key.to_owned(), value, sum)))
        }
    }
}

enum Change {
    Nothing,
    Update(i64),
    Remove,
}

fn map(key: &str, value: Option<i64>, state: &mut State<'_, i64>) -> Option<(String, i64, i64)> {
    assert_eq!(value.is_none(), state.is_timing_out());
    assert_eq!(state.exists(), state.get().is_some());
    let (change, row) = step(key, value, state.get());
    match change {
        Change::Nothing => {}
        Change::Update(sum) => {
            state.update(sum);
            assert_eq!(state.get(), Some(sum));
        }
        Change::Remove => {
            state.remove();
            assert!(!state.exists());
        }
    }
    row
}

fn job(ctx: &mut StreamingContext) {
    let timeout_ms: u64 = ctx.param_or("timeout", 0);
    let mut mapped = ctx.source::<Pair>("in").map_with_state(map);
    if timeout_ms > 0 {
        mapped = mapped.timeout(Duration::from_millis(timeout_ms));
    }
    let initial = drawn(ctx.param_or("initial", 0));
    if !initial.is_empty() {
        mapped = mapped.initial_state(initial);
    }
    mapped.sink("out");
    mapped.state_snapshots().sink("states");
}

#[derive(Default)]
struct Model {
    /// Until the first batch, which touches all of it.
    initial: Vec<Pair>,
    /// State, and when a row last touched it.
    states: BTreeMap<String, (i64, i64)>,
}

impl Model {
    fn batch(&mut self, batch: &Batch, timeout_ms: Option<i64>) -> Vec<(String, i64, i64)> {
        let mut out = Vec::new();
        for (key, state) in self.initial.drain(..) {
            self.states.insert(key, (state, batch.time_ms));
        }
        for (key, value) in &batch.rows {
            let state = self.states.get(key).map(|(state, _)| *state);
            let (change, row) = step(key, Some(*value), state);
            out.extend(row);
            let after = match change {
                Change::Nothing => state,
                Change::Update(sum) => Some(sum),
                Change::Remove => None,
            };
            match after {
                Some(state) => self.states.insert(key.clone(), (state, batch.time_ms)),
                None => self.states.remove(key),
            };
        }
        if let Some(timeout_ms) = timeout_ms {
            let edge = batch.time_ms - timeout_ms;
            let gone: Vec<String> =
                self.states.iter().filter(|(_, (_, touched))| *touched < edge).map(|(key, _)| key.clone()).collect();
            for key in gone {
                let (state, _) = self.states.remove(&key).expect("it was there just now");
                out.extend(step(&key, None, Some(state)).1);
            }
        }
        out
    }

    fn states(&self) -> Vec<Pair> {
        self.states.iter().map(|(key, (state, _))| (key.clone(), *state)).collect()
    }
}

fn check(how: &Run, timeout_ms: u64, initial: u64) -> Result<(), TestCaseError> {
    let mut model = Model { initial: drawn(initial), ..Model::default() };
    let timeout = (timeout_ms > 0).then(|| timeout_ms.cast_signed());
    run(how, job, &[("timeout", timeout_ms), ("initial", initial)], |job, batches| {
        let expected = model.batch(last(batches), timeout);
        prop_assert_eq!(rows::<(String, i64, i64)>(job, "out"), super::sorted(expected));
        prop_assert_eq!(rows::<Pair>(job, "states"), model.states());
        Ok(())
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn rows_are_mapped_one_by_one_with_their_keys_state(how in runs()) {
        check(&how, 0, 0)?;
    }

    #[test]
    fn keys_that_nothing_touches_time_out_once(how in runs(), timeout_ms in prop_oneof![Just(1u64), Just(1000), Just(2000), 500u64..6000]) {
        check(&how, timeout_ms, 0)?;
    }

    #[test]
    fn initial_states_are_there_as_if_the_first_batch_had_touched_them(
        how in runs(), initial in initial(), timeout_ms in prop_oneof![Just(0u64), Just(1), Just(1000), 500u64..6000],
    ) {
        check(&how, timeout_ms, initial)?;
    }

    #[test]
    fn mapped_rows_come_in_the_order_of_their_rows(rows in proptest::collection::vec(("[a-c]", -3i64..5), 0..20)) {
        let mut job = JobTest::new(Job::new(job)).parallelism(1).start();
        job.feed("in", rows.clone());
        let time_ms = job.batch().batch_time_ms;
        let expected = Model::default().batch(&Batch { time_ms, rows }, None);
        prop_assert_eq!(job.rows::<(String, i64, i64)>("out"), expected);
    }
}

fn refused(define: fn(&mut StreamingContext)) -> String {
    JobTest::new(Job::new(define)).plan().expect_err("no plan")
}

#[test]
fn a_timeout_is_whole_milliseconds_and_at_least_one() {
    fn zero(ctx: &mut StreamingContext) {
        ctx.source::<Pair>("in").map_with_state(map).timeout(Duration::ZERO).sink("out");
    }
    fn fraction(ctx: &mut StreamingContext) {
        ctx.source::<Pair>("in").map_with_state(map).timeout(Duration::from_micros(1500)).sink("out");
    }
    for job in [zero, fraction] {
        let reason = refused(job);
        assert!(reason.contains("map_with_state: the timeout is") && reason.contains("whole milliseconds"), "{reason}");
    }
}

#[test]
fn settings_come_before_the_stream_is_used() {
    fn late(ctx: &mut StreamingContext) {
        let mapped = ctx.source::<Pair>("in").map_with_state(map);
        mapped.sink("out");
        mapped.timeout(Duration::from_secs(1)).state_snapshots().sink("states");
    }
    let reason = refused(late);
    assert!(reason.starts_with("timeout() changes the operator before it"), "{reason}");
}

#[test]
fn a_state_that_is_misused_fails_the_job_with_node_and_key() {
    fn after_remove(ctx: &mut StreamingContext) {
        let map = |_: &str, _: Option<i64>, state: &mut State<'_, i64>| {
            state.remove();
            state.update(1);
            Some(1i64)
        };
        ctx.source::<Pair>("in").map_with_state(map).named("visits").sink("out");
    }
    fn twice(ctx: &mut StreamingContext) {
        let map = |_: &str, _: Option<i64>, state: &mut State<'_, i64>| {
            state.remove();
            state.remove();
            Some(1i64)
        };
        ctx.source::<Pair>("in").map_with_state(map).named("visits").sink("out");
    }
    for (job, what) in [(after_remove as fn(&mut StreamingContext), "after it had removed it"), (twice, "twice")] {
        let mut job = JobTest::new(Job::new(job)).start();
        job.feed("in", [("ann".to_owned(), 1i64)]);
        let error = job.try_batch().expect_err("misuse").to_string();
        assert!(error.contains("node `visits`") && error.contains(what) && error.contains("\"ann\""), "{error}");
    }
}

#[test]
fn a_state_that_times_out_can_be_neither_written_nor_removed() {
    fn writes(ctx: &mut StreamingContext) {
        let map = |_: &str, value: Option<i64>, state: &mut State<'_, i64>| {
            state.update(value.unwrap_or(7));
            value
        };
        ctx.source::<Pair>("in").map_with_state(map).timeout(Duration::from_secs(1)).sink("out");
    }
    fn removes(ctx: &mut StreamingContext) {
        let map = |_: &str, value: Option<i64>, state: &mut State<'_, i64>| {
            match value {
                Some(value) => state.update(value),
                None => state.remove(),
            }
            value
        };
        ctx.source::<Pair>("in").map_with_state(map).timeout(Duration::from_secs(1)).sink("out");
    }
    for job in [writes as fn(&mut StreamingContext), removes] {
        let mut job = JobTest::new(Job::new(job)).start();
        job.feed("in", [("ann".to_owned(), 1i64)]);
        job.batch();
        // Exactly the timeout is not more than it.
        job.batch();
        let error = job.try_batch().expect_err("misuse").to_string();
        assert!(error.contains("node `map_with_state`") && error.contains("timing out"), "{error}");
    }
}

#[test]
fn a_row_may_start_a_key_afresh_that_the_row_before_it_removed() {
    fn job(ctx: &mut StreamingContext) {
        let map = |_: &str, value: Option<i64>, state: &mut State<'_, i64>| {
            let before = state.get();
            if before.is_some() {
                state.remove()
            } else {
                state.update(value?)
            }
            Some(before.unwrap_or(0))
        };
        ctx.source::<Pair>("in").map_with_state(map).sink("out");
    }
    let mut job = JobTest::new(Job::new(job)).start();
    job.feed("in", [1i64, 2, 3, 4].map(|n| ("ann".to_owned(), n)));
    job.batch();
    assert_eq!(job.rows::<i64>("out"), [0, 1, 0, 3]);
}
