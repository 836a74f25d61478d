//! The test kit itself: what it says of rows, state and time, and how it says that something is wrong.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use millpond::{DStream, Job, State, StreamingContext, Transform, TransformContext};
use millpond_core::{Classify, Domain};
use millpond_test::{JobTest, Rejected, RunningJob};

fn sums(ctx: &mut StreamingContext) {
    ctx.text("lines")
        .try_map::<(String, i64)>(|line| {
            let (key, number) = line.split_once(' ').ok_or("expected a key and a number")?;
            Ok((key, number.parse()?))
        })
        .update_state_by_key(|numbers, sum: Option<i64>| Some(sum.unwrap_or(0) + numbers.sum()))
        .named("sums")
        .columns(["key", "sum"])
        .sink("out");
}

fn fed(lines: &[&str]) -> RunningJob {
    let mut job = JobTest::new(Job::new(sums)).start();
    job.feed("lines", lines.iter().map(|line| (*line).to_owned()));
    job.batch();
    job
}

fn pair(key: &str, number: i64) -> (String, i64) {
    (key.to_owned(), number)
}

/// What an assertion says that fails.
fn words(assertion: impl FnOnce()) -> String {
    let panic = catch_unwind(AssertUnwindSafe(assertion)).expect_err("it must fail");
    panic.downcast_ref::<String>().expect("a message with values in it").clone()
}

#[test]
fn rows_are_compared_in_any_order_and_differences_shown() {
    let job = fed(&["a 1", "b 2", "c 3"]);
    job.assert_rows("out", [pair("c", 3), pair("a", 1), pair("b", 2)]);
    let shown = words(|| job.assert_rows("out", [pair("a", 1), pair("b", 20), pair("d", 4)]));
    let expected = "\
the rows of sink `out` after batch 1 are not the expected ones:
    key  sum
  - \"b\"  20
  + \"b\"  2
         ^^
  - \"d\"  4
  + \"c\"  3
1 row as expected; 1 differs (^), 1 is missing (-), 1 is not expected (+)";
    assert_eq!(shown, expected);
}

#[test]
fn order_counts_when_it_is_said() {
    let mut job = JobTest::new(Job::new(|ctx| ctx.text("lines").sort_by(|line| line).sink("out"))).start();
    job.feed("lines", ["b".to_owned(), "a".to_owned()]);
    job.batch();
    job.assert_rows_in_order("out", ["a".to_owned(), "b".to_owned()]);
    let shown = words(|| job.assert_rows_in_order("out", ["b".to_owned(), "a".to_owned()]));
    assert!(shown.contains("the rows are right, but come in another order"), "{shown}");
}

#[test]
fn state_is_what_the_newest_commit_has() {
    let mut job = fed(&["a 1", "b 2"]);
    job.restart_with_parallelism(5);
    job.feed("lines", ["a 10".to_owned()]);
    job.batch();
    job.assert_state("sums", [pair("b", 2), pair("a", 11)]);
    let mut state = job.state::<String, i64>("sums");
    state.sort();
    assert_eq!(state, [pair("a", 11), pair("b", 2)]);
    let shown = words(|| job.assert_state("sums", [pair("b", 2)]));
    assert!(shown.starts_with("the state of node `sums` after batch 2 is not the expected one:\n"), "{shown}");
    assert!(shown.contains("  + \"a\"  11\n"), "{shown}");
}

#[test]
fn state_before_the_first_key_is_empty() {
    let mut job = JobTest::new(Job::new(sums)).start();
    job.batch();
    job.assert_state::<String, i64>("sums", []);
    assert!(job.state::<String, i64>("sums").is_empty());
}

#[test]
fn state_of_map_with_state_is_the_state_alone() {
    let mut job = JobTest::new(Job::new(|ctx| {
        ctx.source::<(String, i64)>("in")
            .map_with_state(|key, number: Option<i64>, sum: &mut State<'_, i64>| {
                let total = sum.get().unwrap_or(0) + number?;
                sum.update(total);
                Some((key.to_owned(), total))
            })
            .timeout(Duration::from_secs(10))
            .sink("out");
    }))
    .start();
    job.feed("in", [pair("a", 1), pair("b", 2), pair("a", 3)]);
    job.batch();
    job.assert_state("map_with_state", [pair("a", 4), pair("b", 2)]);
}

#[test]
fn refused_rows_have_their_reasons() {
    let job = fed(&["a 1", "b", "c x"]);
    job.assert_rejected(["invalid digit found in string", "expected a key and a number"]);
    assert_eq!(job.rejections().len(), 2);
    let first = &job.rejections()[0];
    assert_eq!(first, &Rejected { node: first.node.clone(), reason: "expected a key and a number".to_owned() });
    let shown = words(|| job.assert_rejected([]));
    assert!(shown.contains("+ \"expected a key and a number\""), "{shown}");
}

#[test]
fn batches_come_when_their_time_has_come() {
    let count = |ctx: &mut StreamingContext| {
        ctx.text("lines").count_by_window(Duration::from_secs(2), Duration::from_secs(2)).sink("out");
    };
    let mut job = JobTest::new(Job::new(count)).start();
    job.feed_at("lines", Duration::from_millis(1001), ["late".to_owned()]);
    job.feed_at("lines", Duration::ZERO, ["early".to_owned()]);
    job.run_until(Duration::from_secs(1));
    job.assert_no_rows("out");
    job.run_until(Duration::from_secs(2));
    job.assert_rows("out", [2i64]);
    assert!(words(|| job.assert_no_rows("out")).starts_with("batch 2 gives rows to sink `out`:\n"));
    // A second run to the same moment has nothing to do.
    job.run_until(Duration::from_secs(2));
    job.assert_rows("out", [2i64]);
}

#[test]
fn what_a_test_gets_wrong_is_named() {
    let job = fed(&["a 1"]);
    let shown = words(|| job.assert_rows("outt", [pair("a", 1)]));
    assert_eq!(shown, "the job has no sink `outt`; it has [\"out\"]");
    let shown = words(|| job.assert_rows("out", ["a".to_owned()]));
    assert_eq!(
        shown.lines().collect::<Vec<_>>(),
        [
            "rows of sink `out` have other columns than the test says",
            "  the test: value: utf8",
            "  the job:  key:   utf8, sum: int64",
            "                         ^^^^^^^^^^",
        ]
    );
    let shown = words(|| job.assert_state("sum", [pair("a", 1)]));
    assert!(shown.starts_with("the plan has no node `sum`; it has ["), "{shown}");
}

fn pairs(ctx: &StreamingContext) -> DStream<(String, i64)> {
    ctx.source::<(String, i64)>("in")
}

/// Runs a job in which something panics with "boom", twice, and checks that this is the job's failure and no defect of the host.
#[track_caller]
fn expect_boom(test: JobTest, place: &str) {
    let mut job = test.start();
    job.feed("in", [pair("a", 1)]);
    job.feed("in", [pair("a", 2)]);
    for _ in 0..2 {
        let error = job.try_batch().expect_err("a closure panics");
        let message = error.to_string();
        assert_eq!((error.code().0, error.domain()), ("MP0301", Domain::User), "{message}");
        assert!(message.contains(place) && message.contains("boom") && !message.contains("defect"), "{message}");
        assert!(job.batches::<(String, i64)>("out").is_empty(), "nothing of the batch comes out");
        // It gets the same batch again.
        job.restart();
    }
}

#[test]
fn a_closure_that_panics_is_the_jobs_failure_and_its_node_is_named() {
    let check = |define: fn(&mut StreamingContext)| expect_boom(JobTest::new(Job::new(define)), "node `here`");
    check(|ctx| pairs(ctx).map::<(String, i64)>(|(key, _)| panic!("boom of {key}")).named("here").sink("out"));
    check(|ctx| pairs(ctx).reduce_by_key(|_, _| panic!("boom")).named("here").sink("out"));
    check(|ctx| pairs(ctx).update_state_by_key::<i64>(|_, _| panic!("boom")).named("here").sink("out"));
    check(|ctx| {
        let map = |_: &str, _: Option<i64>, _: &mut State<'_, i64>| -> Option<(String, i64)> { panic!("boom") };
        pairs(ctx).map_with_state(map).named("here").sink("out");
    });
    check(|ctx| {
        pairs(ctx).transform_with::<_, (String, i64)>(&pairs(ctx), |_, _, _| panic!("boom")).named("here").sink("out")
    });
}

#[test]
fn an_inverse_that_panics_is_the_jobs_failure() {
    let mut job = JobTest::new(Job::new(|ctx| {
        let (length, slide) = (Duration::from_secs(2), Duration::from_secs(1));
        let sums = pairs(ctx).reduce_by_key_and_window_with_inverse(|a, b| a + b, |_, _| panic!("boom"), length, slide);
        sums.named("here").sink("out");
    }))
    .start();
    job.feed("in", [pair("a", 1)]);
    job.run_until(Duration::from_secs(2));
    let error = job.try_batch().expect_err("the row leaves the window");
    assert_eq!(error.code().0, "MP0301", "{error}");
    assert!(error.to_string().contains("node `here`"), "{error}");
}

#[test]
fn a_transform_that_panics_is_the_jobs_failure_and_is_named() {
    fn explode(ctx: &mut TransformContext) {
        ctx.input::<(String, i64)>().map::<(String, i64)>(|_| panic!("boom")).output();
    }
    let job = Job::new(|ctx| pairs(ctx).transform_by::<(String, i64)>("explosive").sink("out"));
    expect_boom(JobTest::new(job).transform("explosive", Transform::new(explode)), "transform `explosive`");
}

#[test]
fn what_a_failing_call_had_for_accumulators_does_not_count() {
    let mut job = JobTest::new(Job::new(|ctx| {
        let seen = ctx.counter("seen");
        let check = move |n: i64| {
            seen.add(1);
            assert!(n > 0, "boom");
            true
        };
        ctx.source::<i64>("in").filter(check).sink("out");
    }))
    .start();
    job.feed("in", [1i64, 2]);
    job.batch();
    job.feed("in", [3i64, -1]);
    job.try_batch().expect_err("it panics at -1");
    job.assert_accumulator("seen", 2);
}

#[test]
fn an_accumulator_that_is_otherwise_is_shown() {
    let mut job = JobTest::new(Job::new(|ctx| {
        let (rows, least, sum) = (ctx.counter("rows"), ctx.min::<f64>("least"), ctx.sum::<f64>("sum"));
        let note = move |n: f64| {
            rows.add(1);
            least.add(n);
            sum.add(n);
            true
        };
        ctx.source::<f64>("in").filter(note).sink("out");
    }))
    .start();
    job.assert_accumulator("rows", 0);
    let shown = words(|| job.assert_accumulator("least", 1.0));
    assert_eq!(shown, "the accumulator `least` after batch 0 is not the expected one: expected 1.0, found nothing");
    job.feed("in", [2.5, 1.0]);
    job.batch();
    job.assert_accumulator("rows", 2);
    job.assert_accumulator("least", 1.0);
    job.feed("in", [f64::NAN]);
    job.batch();
    job.assert_accumulator("sum", f64::NAN);
    let shown = words(|| job.assert_accumulator("rows", 4));
    assert_eq!(shown, "the accumulator `rows` after batch 2 is not the expected one: expected 4, found 3");
    let shown = words(|| job.assert_accumulator("rows", 3.0));
    assert_eq!(shown, "the accumulator `rows` after batch 2 is not the expected one: expected 3.0, found 3");
    let shown = words(|| job.assert_accumulator("row", 2));
    assert_eq!(shown, "the job has no accumulator `row`; it has [\"rows\", \"least\", \"sum\"]");
}
