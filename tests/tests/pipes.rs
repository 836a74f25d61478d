//! Jobs in a pipe: lines from standard input, rows to standard output, a reader that goes away; and made-up rows.

use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Command, Stdio};

use millpond_tests::guests::hostile;
use millpond_tests::{Finished, Job, component, millpond, root, until};
use serde_json::Value;
use tempfile::tempdir;

const JOB: &str = r#"
[job]
name = "pipe"
component = "COMPONENT"
batch-interval = "10ms"
trigger = "available-now"

[sources.lines]
type = "stdin"

[sinks.out]
type = "stdout"
"#;

/// Runs a command with this on standard input.
fn feed(mut command: Command, input: &[u8]) -> Finished {
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the program starts");
    let mut stdin = child.stdin.take().expect("it is piped");
    let input = input.to_vec();
    let feeder = std::thread::spawn(move || stdin.write_all(&input));
    let finished = Finished::from(child.wait_with_output().expect("it ends"));
    // A job that did not want all of it has closed the pipe.
    feeder.join().expect("it does not panic").ok();
    finished
}

#[test]
fn words_from_a_pipe_are_counted_into_a_pipe() {
    component("plugins/wordcount");
    let (plugin, state) = (root().join("plugins/wordcount"), tempdir().expect("a folder"));
    let (plugin, state) = (plugin.to_str().expect("UTF-8"), state.path().to_str().expect("UTF-8"));
    let sets = ["--set", "sources.lines.type=stdin", "--set", "sinks.counts.type=stdout"];
    let run = |input: &[u8]| feed(millpond(&[&["run", plugin, "--state", state][..], &sets].concat()), input);
    let first = run(b"a b a\n").expect_code(0);
    assert_eq!(first.out, "a\t2\nb\t1\n", "rows and nothing else");
    first.expect_err(&["wordcount: done", "rows in     1 "]);
    assert_eq!(run(b"b b").expect_code(0).out, "b\t3\na\t2\n", "counts are kept, and the last line needs no end");
    assert_eq!(run(b"").expect_code(0).expect_err(&["nothing new since the last run"]).out, "");
}

#[test]
fn formats_go_through_a_pipe() {
    let job = Job::new(&hostile(), JOB).set("sinks.out.format=json").set("sources.lines.line-bytes-max=8");
    let finished = feed(job.command(&[]), "grün\n\"q\"\nmuch too long\n\n".as_bytes()).expect_code(0);
    assert_eq!(finished.out, "{\"line\":\"grün\"}\n{\"line\":\"\\\"q\\\"\"}\n{\"line\":\"\"}\n");
    finished.expect_err(&["standard input line 3: the line has", "bad records  1"]);
    let csv = Job::new(&hostile(), JOB).set("sinks.out.format=csv");
    assert_eq!(feed(csv.command(&[]), b"a,b\nc\n").expect_code(0).out, "line\n\"a,b\"\nc\n");
}

#[test]
fn more_than_a_buffer_goes_through_whole() {
    let sets = ["sources.lines.buffer-bytes=64KiB", "sources.lines.line-bytes-max=1KiB"];
    let job = sets.iter().fold(Job::new(&hostile(), JOB), |job, set| job.set(set));
    let input: String = (0..200_000).map(|row| format!("row {row}\n")).collect();
    let finished = feed(job.command(&[]), input.as_bytes()).expect_code(0);
    assert!(finished.out == input, "{} of {} bytes came", finished.out.len(), input.len());
}

#[test]
fn reader_that_has_enough_ends_the_job_without_an_error() {
    let sets = ["sources.lines.type=rate", "sources.lines.max-rows-per-batch=1000", "job.trigger=continuous"];
    let job = sets.iter().fold(Job::new(&hostile(), JOB), |job, set| job.set(set));
    let mut child = job.command(&[]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the program starts");
    let mut line = String::new();
    let mut reader = BufReader::new(child.stdout.take().expect("it is piped"));
    reader.read_line(&mut line).expect("a line comes");
    assert!(line.starts_with('k') && line.ends_with('\n'), "{line}");
    drop(reader);
    let status = until("the end of the job", || child.try_wait().expect("it is our child"));
    let mut err = String::new();
    child.stderr.take().expect("it is piped").read_to_string(&mut err).expect("UTF-8");
    assert!(status.success(), "{status}: {err}");
    assert!(err.contains("pipe: stopped") && !err.contains("error"), "{err}");
}

#[test]
fn standard_output_is_not_shared() {
    let file = "[job]\ncomponent = \"COMPONENT\"\n[sources.readings]\ntype = \"rate\"\n\
                [sinks.json]\ntype = \"console\"\n[sinks.csv]\ntype = \"stdout\"\n";
    let job = Job::new(&component("tests/guests-sdk/readings"), file);
    let parts = ["error[MP0104]", "sinks.json: another sink writes to standard output", "type \"console\""];
    job.run(&[]).expect_code(2).expect_err(&parts);
    assert!(job.is_untouched());
}

/// All rows of the job's file sink.
fn rows_of(job: &Job) -> Vec<Value> {
    job.rows_in("out").into_values().flatten().collect()
}

#[test]
fn made_up_rows_come_once_over_restarts() {
    const FILE: &str = r#"
[job]
name = "readings"
component = "COMPONENT"
trigger = "available-now"

[sources.readings]
type = "rate"
sequence = "count"
max-rows-per-batch = 700

[sinks.json]
type = "file"
path = "out"
batch-time = false

[sinks.csv]
type = "file"
path = "csv"
"#;
    let job = |max: &str| {
        Job::new(&component("tests/guests-sdk/readings"), FILE).set(&format!("sources.readings.max-rows={max}"))
    };
    let whole = job("5000").set("job.parallelism=1");
    whole.run(&[]).expect_code(0);
    let rows = rows_of(&whole);
    let numbers: Vec<i64> = rows.iter().map(|row| row["count"].as_i64().expect("a number")).collect();
    assert!(numbers.iter().copied().eq(0..5000), "each number once");
    assert!(rows.iter().any(|row| row["note"].is_null()) && rows.iter().any(|row| row["note"].is_string()));

    let parts = job("1500");
    parts.run(&["--set", "job.parallelism=3"]).expect_code(0);
    parts.run(&["--set", "sources.readings.max-rows=5000"]).expect_code(0);
    parts.run(&["--set", "sources.readings.max-rows=5000"]).expect_code(0).expect_err(&["nothing new"]);
    assert_eq!(rows_of(&parts), rows);
}

#[test]
fn made_up_rows_without_an_end_do_not_go_with_available_now() {
    let job = Job::new(&hostile(), JOB).set("sources.lines.type=rate");
    job.run(&[]).expect_code(2).expect_err(&["MP0104", "sources.lines", "max-rows = 1000000", "continuous"]);
}
