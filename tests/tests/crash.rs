//! kill -9 in the middle of a job, again and again: nothing is lost, nothing comes out twice.

use std::fmt::Write;
use std::process::Stdio;

use millpond_tests::{Job, component};
use serde_json::Value;

const JOB: &str = r#"
[job]
name = "wordcount"
component = "COMPONENT"
batch-interval = "10ms"
trigger = "available-now"

[sources.lines]
type = "files"
path = "in/*.txt"
format = "text"
max-files-per-batch = 1

[sinks.counts]
type = "file"
path = "out"
format = "jsonl"
mode = "complete"

[params]
top = 0

[checkpoint]
fold-every = "5ms"
"#;

/// Input files; one batch each.
const FILES: usize = 150;

fn job() -> Job {
    let job = Job::new(&component("plugins/wordcount"), JOB);
    for file in 0..FILES {
        let mut text = String::new();
        for line in 0..50 {
            writeln!(text, "every word{} file{file} again{}", line % 7, (file * line) % 11).expect("a string takes it");
        }
        job.input(&format!("{file:03}.txt"), text);
    }
    job
}

/// Words and counts of each batch, without its time.
fn batches(job: &Job) -> Vec<Vec<(Value, Value)>> {
    let row = |row: Value| (row["word"].clone(), row["count"].clone());
    job.rows().into_values().map(|batch| batch.into_iter().map(row).collect()).collect()
}

#[test]
fn killed_jobs_end_up_where_an_undisturbed_one_does() {
    let undisturbed = job();
    undisturbed.run(&[]).expect_code(0);
    let expected = batches(&undisturbed);
    assert_eq!(expected.len(), FILES);

    let job = job();
    let mut kills = 0;
    for round in 0..200 {
        let mut child =
            job.command(&[]).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().expect("the program starts");
        // A little later each time, so that kills meet every phase: start, batches, commits, folds, the end.
        let before = job.outputs().len();
        let goal = before + 1 + round % 9;
        let ended = loop {
            if let Some(status) = child.try_wait().expect("it is our child") {
                break Some(status);
            }
            if job.outputs().len() >= goal {
                break None;
            }
            std::thread::yield_now();
        };
        if let Some(status) = ended {
            let output = child.wait_with_output().expect("it has ended");
            assert!(status.success(), "{}", String::from_utf8_lossy(&output.stderr));
            break;
        }
        child.kill().expect("it runs");
        child.wait().expect("it was killed");
        kills += 1;
    }
    assert!(kills >= 10, "only {kills} kills");
    // A last undisturbed run, should the loop have ended with a kill after the last batch.
    job.run(&[]).expect_code(0);
    assert_eq!(batches(&job), expected, "after {kills} kills");
}
