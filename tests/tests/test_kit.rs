//! What `millpond-test` has only with a feature: tests against the built component, and random rows.

#![allow(unreachable_pub, reason = "the guest's source is a crate of its own, too")]

use std::collections::BTreeMap;
use std::time::Duration;

use millpond::{Row, StreamingContext, Timestamp};
use millpond_test::{JobTest, both, strategies};
use millpond_tests::root;
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;

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
