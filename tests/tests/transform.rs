//! A job in Rust with a step in hand-written WebAssembly: whatever language a component of world `transform` is written in, a
//! job may use it.

use std::fs;

use millpond_tests::guests::{component_of_wat, hostile, upper, upper_text};
use millpond_tests::{Job, component};

const JOB: &str = r#"
[job]
name = "shout"
component = "COMPONENT"
trigger = "available-now"

[sources.lines]
type = "files"
path = "in/*.txt"

[sinks.out]
type = "file"
path = "out"

[transforms.upper]
component = "upper.wasm"
"#;

/// The job, with a component for its step.
fn job_with(step: &[u8]) -> Job {
    let job = Job::new(&component("tests/guests-sdk/shout"), JOB);
    fs::write(job.path("upper.wasm"), step).expect("a writable folder");
    job.input("a.txt", "to be\nor not\n\ngrüße\n");
    job
}

fn upper_bytes() -> Vec<u8> {
    fs::read(upper()).expect("it was just written")
}

/// The step's text with a piece of it replaced.
fn changed(from: &str, to: &str) -> Vec<u8> {
    let text = upper_text();
    assert_eq!(text.matches(from).count(), 1, "`{from}` is there once");
    component_of_wat(&text.replace(from, to), "transform")
}

/// Runs; refused as said, and nothing is written.
#[track_caller]
fn refused(job: &Job, code: &str, parts: &[&str]) {
    job.run(&[]).expect_code(2).expect_err(&[&format!("error[{code}]: ")]).expect_err(parts);
    assert!(job.is_untouched(), "nothing may be written");
}

#[test]
fn rows_go_through_the_other_component() {
    let job = job_with(&upper_bytes());
    job.run(&[]).expect_code(0);
    assert_eq!(job.lines(), ["TO BE", "OR NOT", "", "GRüßE"]);
}

#[test]
fn every_partition_and_batch_goes_through_it() {
    let job = job_with(&upper_bytes()).set("sources.lines.max-bytes-per-batch=64KiB").set("job.parallelism=3");
    let text: String = (0..40_000).map(|number| format!("line {number}\n")).collect();
    job.input("a.txt", &text);
    job.run(&[]).expect_code(0);
    let mut found = job.lines();
    assert!(job.rows().len() > 3, "the file takes several batches");
    found.sort();
    let mut expected: Vec<String> = text.lines().map(str::to_uppercase).collect();
    expected.sort();
    assert!(found == expected, "{} rows came out, of {}", found.len(), expected.len());
}

#[test]
fn step_with_other_columns_is_refused() {
    // Field 0 of the signature, which serves as input and output: binary in place of utf8, then nullable.
    let plan = "\n  in the plan:      line: utf8\n  in the component: text: ";
    for (other, part) in [
        (r#""\04\00\00\00""#, "binary\n                          ^^^^^^"),
        (r#""\03\00\00\01""#, "utf8?\n                              ^"),
    ] {
        let step = changed(
            r#"(data (i32.const 64) "\50\00\00\00\04\00\00\00" "\03\00\00\00")"#,
            &format!(r#"(data (i32.const 64) "\50\00\00\00\04\00\00\00" {other})"#),
        );
        refused(&job_with(&step), "MP0208", &["transform `upper`", "input columns", plan, part]);
    }
}

#[test]
fn step_that_the_file_lacks_is_named() {
    let job = job_with(&upper_bytes());
    let text = fs::read_to_string(job.path("millpond.toml")).expect("it was just written");
    let without = text.split("[transforms.upper]").next().expect("a text has a first part");
    fs::write(job.path("millpond.toml"), without).expect("a writable folder");
    refused(&job, "MP0105", &["transform `upper`", "[transforms.upper]"]);
}

#[test]
fn step_that_the_plan_lacks_is_named() {
    refused(
        &job_with(&upper_bytes()).set("transforms.lower.component=upper.wasm"),
        "MP0106",
        &["transforms.lower", "upper"],
    );
}

#[test]
fn step_whose_file_is_not_there_is_named() {
    let job = job_with(&upper_bytes()).set("transforms.upper.component=nowhere.wasm");
    refused(&job, "MP0104", &["transforms.upper.component", "nowhere.wasm"]);
}

#[test]
fn job_is_no_step_and_step_is_no_job() {
    let job = job_with(&fs::read(hostile()).expect("it was just written"));
    refused(&job, "MP0204", &["world `job`", "world `transform`"]);
    let job = job_with(&upper_bytes()).set("job.component=upper.wasm");
    refused(&job, "MP0204", &["world `transform`", "[transforms.NAME]"]);
}

#[test]
fn step_that_traps_fails_the_job() {
    let job = job_with(&changed("(call $upper (i32.load", "(unreachable) (call $upper (i32.load"));
    job.run(&[]).expect_code(1).expect_err(&["error[MP0301]: ", "node `transform-1`", "unreachable"]);
    assert_eq!(job.outputs(), [""; 0]);
    fs::write(job.path("upper.wasm"), upper_bytes()).expect("a writable folder");
    job.run(&[]).expect_code(0);
    assert_eq!(job.lines().len(), 4, "nothing was committed, so all of it is read");
}

#[test]
fn step_that_loops_is_stopped_at_the_call_time() {
    let job = job_with(&changed("(call $upper (i32.load", "(loop $ever (br $ever)) (call $upper (i32.load"));
    let finished = job.set("limits.call-time=200ms").run(&[]).expect_code(1);
    finished.expect_err(&["error[MP0302]: ", "node `transform-1`", "`limits.call-time` is 200 ms"]);
}
