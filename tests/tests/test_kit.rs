//! What `millpond-test` has only with a feature: tests against the built component, and random rows.

#![allow(unreachable_pub, reason = "the guest's source is a crate of its own, too")]

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use millpond::{Date, Decimal, Row, StreamingContext, TimeDelta, Timestamp};
use millpond_core::{Classify, Domain};
use millpond_test::{JobTest, both, strategies};
use millpond_tests::{component, root};
use millpond_wasm::{EngineOptions, LoadOptions, WasmEngine};
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;

#[expect(dead_code, reason = "one of its jobs is used here")]
#[path = "../guests-sdk/operators/src/lib.rs"]
mod operators;
#[path = "../../plugins/wordcount/src/lib.rs"]
mod wordcount;

use wordcount::millpond_job;

fn count(word: &str, count: i64) -> (String, i64) {
    (word.to_owned(), count)
}

both! {
    /// The same code for both, restart, state and time included.
    fn counts_go_on(test = JobTest::new(millpond_job()).param("top", 2); root().join("plugins/wordcount")) {
        let mut job = test.start();
        job.feed("lines", ["to be or not to be".to_owned()]);
        job.batch();
        job.restart_with_parallelism(3);
        job.feed_at("lines", Duration::from_millis(2500), ["to sleep".to_owned()]);
        job.run_until(Duration::from_secs(3));
        job.assert_rows_in_order("counts", [count("to", 3), count("be", 2)]);
        let words = [count("be", 2), count("not", 1), count("or", 1), count("sleep", 1), count("to", 3)];
        job.assert_state("update_state_by_key", words);
    }
}

#[test]
fn a_closure_that_panics_has_the_same_code_in_both_ways() {
    let shipped = std::fs::read(component("tests/guests-sdk/operators")).expect("it was just built");
    let engine = WasmEngine::try_new(EngineOptions::default()).expect("an engine");
    for (name, node, _) in operators::PANICS {
        let name = format!("panic in {name}");
        let options = LoadOptions { params: vec![("job".to_owned(), name.clone())], ..LoadOptions::default() };
        let shipped = Arc::new(engine.load_job(&options, &shipped).unwrap_or_else(|error| panic!("{name}: {error}")));
        let test = || JobTest::new(operators::millpond_job()).param("job", &name);
        for test in [test(), test().function(shipped)] {
            let mut job = test.start();
            job.feed("in", [count("a", 1)]);
            job.feed("in", [count("a", 2)]);
            let error = job.try_batch().expect_err(&name);
            assert_eq!((error.code().0, error.domain()), ("MP0301", Domain::User), "{name}: {error}");
            assert!(error.to_string().contains(&format!("node `{node}`")), "{name}: {error}");
        }
    }
}

#[test]
#[should_panic(expected = "not a plugin folder: it has no Cargo.toml")]
fn a_folder_that_is_no_plugin_is_named() {
    drop(JobTest::new(millpond_job()).component(root().join("docs")).start());
}

#[test]
#[should_panic(expected = "has another plan than the job under test")]
fn a_component_of_another_crate_is_found_out() {
    let job = millpond::Job::new(|ctx| ctx.text("in").sink("out"));
    drop(JobTest::new(job).component(root().join("plugins/wordcount")).start());
}

/// A column of names.
#[derive(Row, Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Level {
    Low,
    #[row(rename = "so, so")]
    Middle,
    High,
}

/// One field of each kind that is narrower than its column's numbers, or has other limits.
#[derive(Row, Clone, Debug, PartialEq)]
struct Narrow {
    signed: (i8, i16, i32),
    unsigned: (u8, u16, u32, u64),
    share: f32,
    day: Date,
    length: TimeDelta,
    price: Decimal<10, 2>,
    digit: Decimal<1, 1>,
    most: Decimal<38, 4>,
    level: Level,
}

/// The same, each optional.
#[derive(Row, Clone, Debug, PartialEq)]
struct MaybeNarrow {
    signed: (Option<i8>, Option<i16>, Option<i32>),
    unsigned: (Option<u8>, Option<u16>, Option<u32>, Option<u64>),
    share: Option<f32>,
    day: Option<Date>,
    length: Option<TimeDelta>,
    price: Option<Decimal<10, 2>>,
    level: Option<Level>,
}

/// One field of each kind.
#[derive(Row, Clone, Debug, PartialEq)]
struct Everything {
    name: String,
    bytes: Vec<u8>,
    number: i64,
    share: f64,
    flag: bool,
    at: Timestamp,
    maybe: Option<String>,
    place: (i64, Option<f64>),
    list: Vec<Option<(String, i64)>>,
    map: BTreeMap<String, Vec<i64>>,
    maybe_pair: Option<(i64, bool)>,
    narrow: Narrow,
    each_maybe: MaybeNarrow,
    maybe_narrow: Option<Narrow>,
    narrows: Vec<Narrow>,
    maybe_narrows: Vec<Option<MaybeNarrow>>,
    levels: Vec<Level>,
    prices: BTreeMap<Level, Vec<Decimal<10, 2>>>,
    narrow_map: BTreeMap<Date, Narrow>,
    words: BTreeMap<String, Option<Level>>,
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    /// A job that passes rows on gives all of them, whatever they are.
    #[test]
    fn rows_of_any_type_go_through_a_job(rows in strategies::rows::<Everything>(0..12)) {
        let mut job = JobTest::new(millpond::Job::new(|ctx: &mut StreamingContext| {
            ctx.source::<Everything>("in").sink("out");
        })).start();
        job.feed("in", rows.clone());
        job.batch();
        job.assert_rows("out", rows);
    }
}

#[test]
fn random_rows_have_the_values_at_which_code_goes_wrong() {
    let mut runner = TestRunner::deterministic();
    let tree = strategies::rows::<Everything>(2000..=2000).new_tree(&mut runner).expect("nothing is filtered out");
    let rows = tree.current();
    assert!(rows.iter().any(|row| row.name.is_empty()) && rows.iter().any(|row| !row.name.is_ascii()));
    assert!(rows.iter().any(|row| row.number == i64::MIN) && rows.iter().any(|row| row.share.is_infinite()));
    assert!(rows.iter().any(|row| row.list.len() > 1) && rows.iter().any(|row| !row.map.is_empty()));
    assert!(rows.iter().any(|row| row.maybe.is_none()) && rows.iter().any(|row| row.maybe.is_some()));
    let most = rows.iter().filter(|row| row.name == "a").count();
    assert!(most > 50, "rows of one key meet: {most}");
}

#[test]
fn random_rows_have_the_ends_of_every_type_and_every_name() {
    let mut runner = TestRunner::deterministic();
    let tree = strategies::rows::<Everything>(2000..=2000).new_tree(&mut runner).expect("nothing is filtered out");
    let rows = tree.current();
    let any = |claim: fn(&Narrow) -> bool| rows.iter().any(|row| claim(&row.narrow));
    assert!(any(|row| row.signed.0 == i8::MIN) && any(|row| row.signed.1 == i16::MAX));
    assert!(any(|row| row.signed.2 == i32::MIN) && any(|row| row.unsigned.0 == u8::MAX));
    assert!(any(|row| row.unsigned.1 == u16::MAX) && any(|row| row.unsigned.2 == u32::MAX));
    assert!(any(|row| row.unsigned.3 == u64::MAX) && any(|row| row.unsigned.3 == 0));
    assert!(any(|row| row.share == f32::MAX) && any(|row| row.share.is_infinite()));
    assert!(any(|row| row.day.0 < 0) && any(|row| row.day.to_string() == "9999-12-31"));
    assert!(any(|row| row.length.0 == i64::MIN) && any(|row| row.length.0 == 0));
    assert!(any(|row| row.price.to_string() == "99999999.99") && any(|row| row.digit.to_string() == "-0.9"));
    assert!(any(|row| row.most.units() == 10i128.pow(38) - 1));
    for level in [Level::Low, Level::Middle, Level::High] {
        assert!(rows.iter().any(|row| row.narrow.level == level && row.each_maybe.level == Some(level)));
        assert!(rows.iter().any(|row| row.levels.contains(&level) && row.prices.contains_key(&level)));
        assert!(rows.iter().any(|row| row.maybe_narrow.as_ref().is_some_and(|narrow| narrow.level == level)));
        assert!(rows.iter().any(|row| row.narrow_map.values().any(|narrow| narrow.level == level)));
        assert!(rows.iter().any(|row| row.words.values().any(|found| *found == Some(level))));
    }
    assert!(rows.iter().any(|row| row.maybe_narrow.is_none() && row.each_maybe.price.is_none()));
    assert!(rows.iter().any(|row| row.narrows.len() > 1 && row.maybe_narrows.contains(&None)));
}
