//! Plugins that misbehave, through the whole program: the job fails with the named error, its place, the figure and the key
//! that raises the limit; nothing of the batch is committed; and the same job without the misbehaviour goes on from there.
//!
//! What each misbehaviour looks like at the component boundary is tested in host/wasm; here it is what a user sees.

use millpond_tests::guests::hostile;
use millpond_tests::{Finished, Job, run};
use serde_json::Value;

/// One file a batch, so that it is known which batch fails.
const PASS: &str = r#"
[job]
name = "shady"
component = "COMPONENT"
batch-interval = "1s"
trigger = "available-now"
parallelism = 2

[sources.lines]
type = "files"
path = "in/*.txt"
max-files-per-batch = 1

[sinks.out]
type = "file"
path = "out"
"#;

/// Word counts through every kind of call: stage, merge, update, subtract.
const KEYED_SINK: &str = r#"
[sinks.windowed]
type = "file"
path = "windowed"

[params]
graph = "keyed"
"#;

/// A job over two lines, one of which is called `poison`.
fn pass() -> Job {
    let job = Job::new(&hostile(), PASS);
    job.input("1.txt", "good\npoison\n");
    job
}

/// Runs with a misbehaviour, which must fail the job as said, with nothing to be seen of it; then without, which must give all
/// rows.
#[track_caller]
fn fails(behaviour: &str, settings: &[&str], code: &str, parts: &[&str]) -> Finished {
    let job = pass();
    let behaviour = format!("params.behaviour={behaviour}");
    let mut args = vec!["--set", behaviour.as_str()];
    settings.iter().for_each(|setting| args.extend(["--set", setting]));
    let finished = job.run(&args).expect_code(1).expect_err(&[&format!("error[{code}]: "), "job `shady`"]);
    let finished = finished.expect_err(&["node `pass` (run-stage)", "partition 0, batch "]).expect_err(parts);
    assert_eq!(finished.err.matches("error[").count(), 1, "one error, told once: {}", finished.err);
    assert!(!finished.err.contains('\u{1b}'), "a control character came through: {}", finished.err);
    assert_eq!(job.outputs(), [""; 0], "nothing came out, and nothing is left lying about");
    job.run(&[]).expect_code(0);
    assert_eq!(job.lines(), ["good", "poison"], "nothing was committed, so all of it is read");
    finished
}

#[test]
fn trap_fails_the_job_with_a_backtrace() {
    fails("trap", &[], "MP0301", &["wasm `unreachable` instruction executed", "plugin backtrace"]);
}

#[test]
fn panic_fails_the_job_with_its_message() {
    fails("panic", &[], "MP0301", &["the plugin's last error message: panicked: this job panics on purpose"]);
}

#[test]
fn endless_loop_is_stopped_at_the_call_time() {
    let parts = ["`limits.call-time` is 200 ms", "raise `limits.call-time`", "loop_for_ever"];
    let finished = fails("loop", &["limits.call-time=200ms"], "MP0302", &parts);
    let reached = finished.err.split("stopped after ").nth(1).and_then(|rest| rest.split(' ').next());
    let reached: u64 = reached.and_then(|number| number.parse().ok()).expect("the time that was reached");
    assert!(reached >= 200, "{reached} ms");
}

#[test]
fn endless_recursion_is_stopped_at_the_stack() {
    fails("recurse", &[], "MP0305", &["`limits.stack` is 1 MiB", "raise `limits.stack`", "recurse_for_ever"]);
}

#[test]
fn endless_recursion_with_arrays_is_stopped_at_the_plugins_own_stack() {
    fails("recurse-on-own-stack", &[], "MP0305", &["raise `limits.stack`", "recurse_with_arrays"]);
}

#[test]
fn raised_stack_is_a_limit_too() {
    fails("recurse", &["limits.stack=8MiB"], "MP0305", &["`limits.stack` is 8 MiB"]);
}

#[test]
fn endless_allocation_is_stopped_at_the_memory_limit() {
    let parts = ["`limits.memory` is 8 MiB", "raise `limits.memory`", "needed "];
    fails("allocate", &["limits.memory=8MiB"], "MP0303", &parts);
}

#[test]
fn wrong_lengths_are_refused() {
    fails("wrong-length", &[], "MP0306", &["column `line` has 2 offsets"]);
    fails("rows-too-many", &[], "MP0306", &["4294967295 rows"]);
}

#[test]
fn offsets_out_of_order_are_refused() {
    fails("offsets-descending", &[], "MP0306", &["column `line`, row 1: the offsets go back"]);
    fails("offsets-past-end", &[], "MP0306", &["the last offset of column `line`"]);
    fails("offsets-not-from-zero", &[], "MP0306", &["the first offset of column `line` is 1"]);
}

#[test]
fn list_outside_the_plugins_memory_is_refused() {
    fails("pointer-past-end", &[], "MP0306", &["out of bounds"]);
}

#[test]
fn text_that_is_not_utf8_is_refused() {
    fails("bad-utf8", &[], "MP0307", &["column `line`, row 0"]);
    fails("split-utf8", &[], "MP0307", &["column `line`, row 0"]);
}

#[test]
fn other_columns_than_the_plan_says_are_refused() {
    fails("wrong-type", &[], "MP0308", &["column `line` is float64, and was declared utf8"]);
    fails("wrong-nullability", &[], "MP0308", &["column `line` came with a validity bitmap"]);
    fails("too-many-columns", &[], "MP0308", &["it returned 2 columns, and declared 1"]);
    fails("too-few-columns", &[], "MP0308", &["it returned 0 columns, and declared 1"]);
}

#[test]
fn too_much_output_is_stopped_at_the_output_limit() {
    let parts = ["more than 64 KiB in one call, which is `limits.output`", "raise `limits.output`"];
    fails("huge-output", &["limits.output=64KiB", "params.bytes=65537"], "MP0304", &parts);
    fails("aliased-output", &["limits.output=64KiB", "params.bytes=1000"], "MP0304", &parts);
}

#[test]
fn too_many_rejections_are_refused() {
    fails("too-many-rejections", &[], "MP0306", &["it refused 3 rows, and was given 2"]);
    fails("rejection-past-end", &[], "MP0306", &["it refused row 2, and was given 2 rows"]);
    fails("rejections-unordered", &[], "MP0306", &["it refused row 0 after row 1"]);
    fails("rejections-huge", &["limits.output=64KiB", "params.bytes=1000000"], "MP0304", &["`limits.output`"]);
}

#[test]
fn returned_failure_fails_the_job_in_the_plugins_words() {
    fails("failure", &[], "MP0309", &["gave up: no more\u{fffd}[31m (code user)"]);
    fails("failure-internal", &[], "MP0309", &["(code internal)"]);
}

#[test]
fn log_flood_is_dropped_and_the_job_goes_on() {
    let job = pass().set("params.behaviour=log-flood");
    let finished = job.run(&["--set", "limits.log=1KiB"]).expect_code(0);
    let finished = finished.expect_err(&["flood 0", "log messages of this call were dropped", "`limits.log` is 1024"]);
    assert!(finished.err.matches("flood ").count() < 100, "{}", finished.err);
    assert_eq!(job.lines(), ["good", "poison"]);
}

#[test]
fn refused_rows_are_counted_and_reported_and_the_job_goes_on() {
    let job = pass().set("params.behaviour=reject-all");
    let parts = ["pass", "row 0 (from 0) of in/1.txt", "row 1 (from 0) of in/1.txt", "not today", "rejected rows  2"];
    job.run(&[]).expect_code(0).expect_err(&parts);
}

#[test]
fn refused_row_fails_the_job_that_says_so() {
    let job = pass();
    let settings = ["--set", "params.behaviour=reject-all", "--set", "job.on-bad-record=fail"];
    let parts = ["error[MP0801]", "node `pass`", "in/1.txt", "row 0", "not today", "job.on-bad-record = \"skip\""];
    job.run(&settings).expect_code(1).expect_err(&parts);
    assert_eq!(job.outputs(), [""; 0]);
    job.run(&[]).expect_code(0);
    assert_eq!(job.lines(), ["good", "poison"]);
}

#[test]
fn updates_of_accumulators_that_the_plan_does_not_have_are_refused() {
    fails("accumulator-unknown", &[], "MP0311", &["there is no accumulator 7: the plan has 2"]);
    fails("accumulator-wrong-number", &[], "MP0311", &["`calls` is a counter, and got the float64 1.0"]);
    fails("accumulators-two-calls", &[], "MP0311", &["it came twice in one call"]);
    fails("accumulators-huge", &["limits.output=64KiB"], "MP0304", &["`limits.output`"]);
}

#[test]
fn accumulators_are_shown_and_count_committed_batches_once() {
    let job = Job::new(&hostile(), PASS);
    job.input("1.txt", "one\n");
    job.input("2.txt", "two\n");
    let report = job.path("report.jsonl");
    let to = ["--set", "params.behaviour=accumulate", "--report", report.to_str().expect("UTF-8")];
    job.run(&to).expect_code(0).expect_err(&["\n  calls       2", "\n  peak        2.5"]);
    let text = std::fs::read_to_string(&report).expect("it was written");
    let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    let calls: Vec<_> = lines[..2].iter().map(|line| line["accumulators"]["calls"].as_i64()).collect();
    assert_eq!((calls, &lines[2]["summary"]["accumulators"]["peak"]), (vec![Some(1), Some(2)], &Value::from(2.5)));
    // A batch that fails adds nothing, and the next run goes on with what there was.
    job.input("3.txt", "poison\n");
    for behaviour in ["accumulate-then-trap", "accumulator-overflow"] {
        let behaviour = format!("params.behaviour={behaviour}");
        job.run(&["--set", &behaviour]).expect_code(1).expect_err(&["\n  calls       2"]);
    }
    let overflow = ["--set", "params.behaviour=accumulator-overflow"];
    job.run(&overflow).expect_err(&["error[MP0802]", "accumulator `calls` leaves the range of a 64-bit integer"]);
    job.run(&to).expect_code(0).expect_err(&["\n  calls       3"]);
    let dropped = "the total of accumulator `calls` is kept, but the plan has no such accumulator any more";
    job.run(&[]).expect_code(0).expect_err(&[dropped]);
}

#[test]
fn batches_before_the_failing_one_stay_and_it_runs_again() {
    let job = Job::new(&hostile(), PASS);
    job.input("1.txt", "one\n");
    job.input("2.txt", "two\npoison\n");
    job.input("3.txt", "three\n");
    let settings = ["--set", "params.behaviour=panic", "--set", "params.on=poison"];
    for _ in 0..2 {
        job.run(&settings).expect_code(1).expect_err(&["MP0301"]);
        assert_eq!(job.lines(), ["one"]);
    }
    job.run(&[]).expect_code(0);
    assert_eq!(job.lines(), ["one", "two", "poison", "three"]);
    let times: Vec<i64> = job.rows().into_keys().collect();
    assert!(times.windows(2).all(|pair| pair[1] - pair[0] == 1000), "the batch has its time again: {times:?}");
}

/// A keyed job over five batches: rows leave its window of three from the fourth on.
fn keyed() -> Job {
    let job = Job::new(&hostile(), &format!("{PASS}{KEYED_SINK}"));
    (1..=5).for_each(|batch| job.input(&format!("{batch}.txt"), format!("a\nword{batch}\na\n")));
    job
}

/// As `fails`, for a call of the keyed job. `batches` is how many come out before the one that fails.
#[track_caller]
fn keyed_fails(call: &str, node: &str, batches: usize, misbehaviours: &[(&str, &str, &str)]) {
    let undisturbed = keyed();
    undisturbed.run(&[]).expect_code(0);
    let expected = ["out", "windowed"].map(|folder| counts(&undisturbed, folder));
    assert!(expected.iter().all(|batches| batches.len() == 5));
    for (behaviour, code, part) in misbehaviours {
        let job = keyed();
        let settings = [format!("params.behaviour={behaviour}"), format!("params.in={call}")];
        let args = [
            "--set",
            &settings[0],
            "--set",
            &settings[1],
            "--set",
            "limits.call-time=300ms",
            "--set",
            "limits.memory=8MiB",
        ];
        let place = format!("node `{node}` ({call})");
        job.run(&args).expect_code(1).expect_err(&[&format!("error[{code}]: "), &place, part]);
        for (folder, expected) in ["out", "windowed"].iter().zip(&expected) {
            assert_eq!(counts(&job, folder), expected[..batches], "{behaviour}");
        }
        job.run(&[]).expect_code(0);
        for (folder, expected) in ["out", "windowed"].iter().zip(&expected) {
            assert_eq!(counts(&job, folder), *expected, "{behaviour}");
        }
    }
}

/// Words and counts of each batch, sorted.
fn counts(job: &Job, folder: &str) -> Vec<Vec<String>> {
    let counts = |rows: Vec<Value>| {
        let mut rows: Vec<String> = rows.iter().map(|row| format!("{}: {}", row["word"], row["count"])).collect();
        rows.sort();
        rows
    };
    job.rows_in(folder).into_values().map(counts).collect()
}

/// What may go wrong in the calls that return one row for each group.
const BY_GROUP: [(&str, &str, &str); 8] = [
    ("trap", "MP0301", "unreachable"),
    ("loop", "MP0302", "`limits.call-time` is 300 ms"),
    ("allocate", "MP0303", "`limits.memory` is 8 MiB"),
    ("recurse", "MP0305", "`limits.stack`"),
    ("wrong-length", "MP0306", "column `count`"),
    ("rows-too-few", "MP0306", "rows"),
    ("wrong-type", "MP0308", "column `count` is float64, and was declared int64"),
    ("failure", "MP0309", "no more"),
];

#[test]
fn merge_misbehaves_like_a_stage() {
    keyed_fails("merge", "merged", 0, &BY_GROUP);
}

#[test]
fn update_misbehaves_like_a_stage() {
    keyed_fails("update", "totals", 0, &BY_GROUP);
    keyed_fails("update", "totals", 0, &[("keep-too-long", "MP0306", "keep")]);
}

#[test]
fn subtract_misbehaves_like_a_stage() {
    keyed_fails("subtract", "window", 3, &BY_GROUP);
}

/// Runs with a bad plan: refused as said, and nothing is written.
#[track_caller]
fn refused(behaviour: &str, code: &str, parts: &[&str]) {
    let job =
        pass().set(&format!("params.behaviour={behaviour}")).set("limits.call-time=200ms").set("limits.memory=8MiB");
    let job = if ["loop", "allocate", "panic"].contains(&behaviour) { job.set("params.in=plan") } else { job };
    let finished = job.run(&[]).expect_code(2).expect_err(&[&format!("error[{code}]: ")]).expect_err(parts);
    assert!(!finished.err.contains('\u{1b}'), "a control character came through: {}", finished.err);
    assert!(job.is_untouched(), "{behaviour}: nothing may be written");
}

#[test]
fn plan_with_a_cycle_is_refused() {
    refused("plan-cycle", "MP0403", &["node `pass`", "cycles"]);
    refused("plan-forward-input", "MP0403", &["node `pass`", "node 2"]);
    refused("plan-unknown-input", "MP0403", &["node `pass`", "node 4000000000"]);
}

#[test]
fn plan_with_duplicate_names_is_refused() {
    refused("plan-duplicate", "MP0402", &["`lines`", "name of its own"]);
    refused("plan-duplicate-column", "MP0402", &["the column `a` is there twice"]);
}

#[test]
fn plan_with_names_that_are_none_is_refused() {
    refused("plan-empty-name", "MP0402", &["is empty"]);
    refused("plan-long-name", "MP0402", &["has 129 bytes, and may have 128"]);
    refused("plan-bad-name", "MP0402", &["`two lines` has control characters"]);
    refused("plan-not-utf8", "MP0307", &["job `shady`, plan"]);
}

#[test]
fn plan_whose_schemas_disagree_is_refused() {
    refused("plan-schemas", "MP0404", &["node `out`", "line: utf8", "line: int64"]);
}

#[test]
fn plan_with_wrong_keys_is_refused() {
    refused("plan-keys", "MP0405", &["node `pass`"]);
}

#[test]
fn plan_that_is_empty_too_large_or_without_sink_is_refused() {
    refused("plan-empty", "MP0401", &["the plan has 0 nodes"]);
    refused("plan-too-large", "MP0401", &["the plan has 1025 nodes"]);
    refused("plan-no-sink", "MP0401", &["sink"]);
    refused("plan-no-columns", "MP0401", &["node `pass` has 0 columns"]);
    refused("plan-many-columns", "MP0401", &["node `pass` has 1025 columns"]);
}

#[test]
fn plugin_that_refuses_its_settings_is_quoted() {
    refused("plan-error", "MP0206", &["the setting `top` is missing", "[params]"]);
}

#[test]
fn plugin_that_misbehaves_while_it_is_asked_for_its_plan_is_refused() {
    refused("panic", "MP0301", &["job `shady`, plan", "panics on purpose"]);
    refused("loop", "MP0302", &["job `shady`, plan", "`limits.call-time` is 200 ms"]);
    refused("allocate", "MP0303", &["job `shady`, plan", "`limits.memory` is 8 MiB"]);
}

#[test]
fn limit_that_cannot_be_had_is_refused_by_its_key() {
    for (setting, key) in [("limits.memory=1KiB", "limits.memory"), ("limits.call-time=0ms", "limits.call-time")] {
        let job = pass().set(setting);
        job.run(&[]).expect_code(2).expect_err(&["MP0104", key]);
        assert!(job.is_untouched());
    }
}

#[test]
fn check_finds_a_bad_plan_as_well() {
    let job = pass();
    let dir = job.path("");
    let args = ["check", dir.to_str().expect("UTF-8"), "--set", "params.behaviour=plan-cycle"];
    run(&args).expect_code(2).expect_err(&["MP0403"]);
}
