//! SIGTERM and Ctrl-C: the batch in hand is finished and committed, and the next run goes on after it; a second signal stops
//! at once.

use std::process::Command;

use millpond_tests::guests::hostile;
use millpond_tests::{Job, component};
use serde_json::Value;

const WORDCOUNT: &str = r#"
[job]
name = "wordcount"
component = "COMPONENT"
batch-interval = "5ms"

[sources.lines]
type = "files"
path = "in/*.txt"
max-files-per-batch = 1

[sinks.counts]
type = "file"
path = "out"
mode = "complete"

[params]
top = 0
"#;

const FILES: usize = 60;

fn wordcount() -> Job {
    let job = Job::new(&component("plugins/wordcount"), WORDCOUNT);
    for file in 0..FILES {
        job.input(&format!("{file:03}.txt"), format!("every file{file}\nword{} again\n", file % 7).repeat(20));
    }
    job
}

/// Words and counts of each batch that had rows, without its time.
fn batches(job: &Job) -> Vec<Vec<(Value, Value)>> {
    let row = |row: Value| (row["word"].clone(), row["count"].clone());
    let mut batches: Vec<Vec<_>> = job.rows().into_values().map(|batch| batch.into_iter().map(row).collect()).collect();
    // A continuous job makes batches without rows as well; their result is that of the batch before.
    batches.dedup();
    batches
}

/// Stops a continuous job by a signal, twice, then lets it run to the end.
fn stopped_job_goes_on(signal: &str) {
    let undisturbed = wordcount();
    undisturbed.run(&["--set", "job.trigger=available-now"]).expect_code(0);
    let expected = batches(&undisturbed);
    assert_eq!(expected.len(), FILES);

    let job = wordcount();
    for goal in [1, 10] {
        let mut running = job.start(&[]);
        let before = job.outputs().len();
        running.until("output", || (job.outputs().len() >= before + goal).then_some(()));
        running.signal(signal);
        let finished = running.finish().expect_code(0);
        finished.expect_err(&["stopping after the batch in hand; once more to stop at once", "wordcount: stopped"]);
        let so_far = batches(&job);
        assert_eq!(so_far, expected[..so_far.len()], "what is there is whole, and in order");
    }
    job.run(&["--set", "job.trigger=available-now"]).expect_code(0);
    assert_eq!(batches(&job), expected);
}

#[test]
fn sigterm_finishes_the_batch_and_the_next_run_goes_on() {
    stopped_job_goes_on("TERM");
}

#[test]
fn ctrl_c_finishes_the_batch_and_the_next_run_goes_on() {
    stopped_job_goes_on("INT");
}

/// Whether a process handles SIGTERM by itself: bit 14 of the caught signals.
#[cfg(target_os = "linux")]
fn handles_sigterm(pid: u32) -> bool {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let caught = status.lines().find_map(|line| line.strip_prefix("SigCgt:"));
    caught.and_then(|bits| u64::from_str_radix(bits.trim(), 16).ok()).is_some_and(|bits| bits >> 14 & 1 == 1)
}

#[cfg(target_os = "linux")]
#[test]
fn signal_ends_a_job_that_waits_for_its_next_batch() {
    let job = wordcount().set("job.batch-interval=1h");
    let mut running = job.start(&[]);
    let pid = running.pid();
    running.until("the signal handler", || handles_sigterm(pid).then_some(()));
    running.signal("TERM");
    running.finish().expect_code(0).expect_err(&["wordcount: stopped"]);
    assert_eq!(job.outputs(), [""; 0]);
}

/// Lines to the console, five files: the program prints the first batch's table and waits until somebody reads it.
fn console() -> Job {
    let job = Job::new(
        &hostile(),
        r#"
[job]
name = "console"
component = "COMPONENT"
trigger = "available-now"
parallelism = 2

[sources.lines]
type = "files"
path = "in/*.txt"
max-files-per-batch = 1

[sinks.out]
type = "console"
rows = 100000
"#,
    );
    // More than a pipe holds.
    job.input("1.txt", "first\n".repeat(20_000));
    job.input("2.txt", "second\n");
    job.input("3.txt", "third\n");
    job.input("4.txt", "fourth\n");
    job.input("5.txt", "fifth\n");
    job
}

#[test]
fn batch_in_hand_is_finished_before_the_job_ends() {
    let job = console();
    let mut running = job.start(&[]);
    running.wait_for_output();
    running.signal("TERM");
    running.wait_for_line("stopping after the batch in hand");
    let stopped = running.finish().expect_code(0).expect_err(&["console: stopped"]);
    assert_eq!(stopped.out.matches("first").count(), 20_000, "all of the batch comes out");
    // The next batch is computed while this one is printed, and those after that are begun, one for each of the job's two tasks: they
    // may be in hand as well, and then come out, too.
    assert!(!stopped.out.contains("fifth"), "and nothing that was not begun");
    let rest = job.run(&[]).expect_code(0);
    assert!(rest.out.contains("fifth") && !rest.out.contains("first"), "{}", rest.out);
    for batch in ["second", "third", "fourth"] {
        assert_ne!(stopped.out.contains(batch), rest.out.contains(batch), "each batch comes out once");
    }
}

#[test]
fn two_signals_in_one_moment_are_one_wish() {
    let job = console();
    let mut running = job.start(&[]);
    running.wait_for_output();
    // A terminal signals the whole group, and a parent that is in it passes its own on.
    let both = format!("kill -INT {0}; kill -TERM {0}", running.pid());
    assert!(Command::new("sh").args(["-c", &both]).status().expect("sh is everywhere").success());
    running.wait_for_line("stopping after the batch in hand");
    running.finish().expect_code(0).expect_err(&["console: stopped"]);
}

#[test]
fn second_signal_stops_at_once_even_when_nobody_reads_the_output() {
    for signals in [["TERM", "TERM"], ["INT", "INT"], ["INT", "TERM"]] {
        let job = console();
        let mut running = job.start(&[]);
        running.wait_for_output();
        running.signal(signals[0]);
        running.wait_for_line("stopping after the batch in hand");
        running.insist(signals[1]);
        running.finish().expect_code(130);
    }
}

#[test]
fn second_signal_stops_a_plugin_that_does_not_return() {
    let job = Job::new(
        &hostile(),
        r#"
[job]
name = "looping"
component = "COMPONENT"
trigger = "available-now"

[sources.lines]
type = "files"
path = "in/*.txt"
max-files-per-batch = 1

[sinks.out]
type = "file"
path = "out"

[limits]
call-time = "10m"
"#,
    );
    job.input("1.txt", "one\n");
    job.input("2.txt", "poison\n");
    job.input("3.txt", "three\n");
    let mut running = job.start(&["--set", "params.behaviour=log-loop", "--set", "params.on=poison"]);
    running.wait_for_line("now it loops");
    running.signal("TERM");
    running.wait_for_line("stopping after the batch in hand");
    running.insist("TERM");
    let finished = running.finish().expect_code(130);
    finished.expect_err(&["stopping at once; what was committed stays"]);
    assert_eq!(job.lines(), ["one"]);
    job.run(&[]).expect_code(0);
    assert_eq!(job.lines(), ["one", "poison", "three"]);
}
