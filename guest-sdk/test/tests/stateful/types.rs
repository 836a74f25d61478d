//! States of every kind of type that rows may have: of new keys, old ones and gone ones, through a restart, and in a sink of mode
//! `update`.

use std::collections::BTreeMap;
use std::fmt::Debug;

use millpond::{Date, Decimal, Job, Row, StreamingContext, TimeDelta, Timestamp};
use millpond_core::OutputMode;
use millpond_test::JobTest;

use super::rows;

#[derive(Row, Clone, Copy, Debug, PartialEq)]
enum Level {
    Low,
    High,
}

#[derive(Row, Clone, Debug, PartialEq)]
struct Seen {
    level: Level,
    pages: Vec<String>,
    last: Option<(i32, Level)>,
}

/// Each key keeps its newest value; a key that gets the second value when it has the first is dropped.
fn newest<S: Row + PartialEq>(ctx: &mut StreamingContext) {
    let source = ctx.source::<(String, S)>("in");
    source
        .update_state_by_key(|values, old: Option<S>| {
            let new = values.last().map(S::from_ref);
            if old.is_some() && old != new { None } else { new.or(old) }
        })
        .sink("states");
    let mapped = source.map_with_state(|key, value, state: &mut millpond::State<'_, S>| {
        let before = state.get().map(S::from_ref);
        match value.map(S::from_ref) {
            Some(value) if before.as_ref().is_some_and(|before| *before != value) => state.remove(),
            Some(value) => state.update(value),
            None => {}
        }
        Some((key.to_owned(), before.is_some()))
    });
    mapped.sink("mapped");
    mapped.state_snapshots().sink("snapshots");
}

fn states_of<S: Row + Clone + Debug + PartialEq>([first, second]: [S; 2]) {
    let key = |name: &str| name.to_owned();
    for parallelism in [1, 3] {
        let mut job = JobTest::new(Job::new(newest::<S>)).mode("states", OutputMode::Update).parallelism(2).start();
        job.feed("in", [(key("a"), first.clone()), (key("b"), second.clone())]);
        job.batch();
        let both = [(key("a"), first.clone()), (key("b"), second.clone())];
        job.assert_rows("states", both.clone());
        job.assert_rows("snapshots", both);
        job.restart_with_parallelism(parallelism);
        job.feed("in", [(key("a"), second.clone()), (key("b"), second.clone()), (key("c"), first.clone())]);
        job.batch();
        // Only what changed: `b` has its old state, `a` is gone.
        job.assert_rows("states", [(key("c"), first.clone())]);
        job.assert_rows("snapshots", [(key("b"), second.clone()), (key("c"), first.clone())]);
        assert_eq!(rows::<(String, bool)>(&job, "mapped"), [(key("a"), true), (key("b"), true), (key("c"), false)]);
        job.feed("in", [(key("a"), second.clone())]);
        job.batch();
        job.assert_rows("states", [(key("a"), second.clone())]);
        job.assert_state(
            "update_state_by_key",
            [(key("a"), second.clone()), (key("b"), second.clone()), (key("c"), first.clone())],
        );
    }
}

#[test]
fn numbers_of_every_width() {
    states_of([-1_i8, 2]);
    states_of([-1_i16, 2]);
    states_of([-1_i32, 2]);
    states_of([1_u8, 0]);
    states_of([1_u16, 0]);
    states_of([1_u32, 0]);
    states_of([u64::MAX, 0]);
    states_of([0.5_f32, -1.0]);
}

#[test]
fn times_and_decimals() {
    states_of([Timestamp(1), Timestamp(-1)]);
    states_of([Date(1), Date(-1)]);
    states_of([TimeDelta(1), TimeDelta(-1)]);
    states_of(["1.25", "-3.00"].map(|text| text.parse::<Decimal<9, 2>>().expect("it has two places")));
}

#[test]
fn text_bytes_and_enums() {
    states_of(["long".repeat(9), String::new()]);
    states_of([vec![1_u8, 2], Vec::new()]);
    states_of([Level::High, Level::Low]);
    states_of([(Level::High, true), (Level::Low, true)]);
}

#[test]
fn lists_maps_and_what_may_be_missing() {
    states_of([vec![1_i64, 2], Vec::new()]);
    states_of([vec![vec![Level::Low], Vec::new()], Vec::new()]);
    states_of([BTreeMap::from([("a".to_owned(), 1_i32)]), BTreeMap::new()]);
    states_of([Some(1_u16), None]);
    states_of([(Some((1_i64, "x".to_owned())), 1_i64), (None, 2)]);
    states_of([
        Seen { level: Level::Low, pages: vec!["/".to_owned()], last: Some((1, Level::High)) },
        Seen { level: Level::High, pages: Vec::new(), last: None },
    ]);
}
