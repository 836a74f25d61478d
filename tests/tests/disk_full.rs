//! A full disk: the job fails with the named error, what was committed is whole, and when there is space again the job goes on to
//! the same answer as one that was never disturbed.
//!
//! The disk is a small tmpfs in a mount namespace of its own, which takes root; where that cannot be had, those tests say so and
//! check nothing. A limit on the size of files, which needs no rights, stands for the full disk in one more test.

use std::fmt::Write;
use std::fs;
use std::process::Command;

use millpond_tests::{Finished, Job, component};
use serde_json::Value;

const JOB: &str = r#"
[job]
name = "wordcount"
component = "COMPONENT"
trigger = "available-now"

[sources.lines]
type = "files"
path = "in/*.txt"
max-files-per-batch = 1

[sinks.counts]
type = "file"
path = "out"
mode = "complete"

[params]
top = 5
"#;

/// Batches; each brings 60 KB of words that no other has.
const FILES: usize = 20;

fn job() -> Job {
    let job = Job::new(&component("plugins/wordcount"), JOB);
    for file in 0..FILES {
        let mut text = String::new();
        (0..3000).for_each(|word| writeln!(text, "again word-{file}-number-{word}").expect("a string takes it"));
        job.input(&format!("{file:02}.txt"), text);
    }
    job
}

/// Words and counts of each batch, without its time.
fn batches(job: &Job, folder: &str) -> Vec<Vec<(Value, Value)>> {
    let row = |row: Value| (row["word"].clone(), row["count"].clone());
    job.rows_in(folder).into_values().map(|batch| batch.into_iter().map(row).collect()).collect()
}

fn undisturbed(top: usize) -> Vec<Vec<(Value, Value)>> {
    let job = job().set(&format!("params.top={top}"));
    job.run(&[]).expect_code(0);
    let batches = batches(&job, "out");
    assert_eq!(batches.len(), FILES);
    batches
}

/// Runs a job twice with `disk/` on a disk of its own: first it is small, then large. Copies what is on it to `full/` and `after/`.
/// `None` where no disk can be had.
fn on_small_disk(job: &Job, size: &str, is_state_on_disk: bool) -> Option<[Finished; 2]> {
    let script = r#"
        cd "$1" && size=$2 && shift 2
        mount -t tmpfs -o "size=$size" tmpfs disk || exit 77
        mkdir disk/state
        "$@" >1.out 2>1.err; echo $? >1.code
        cp -r disk full
        mount -o remount,size=64m disk || exit 77
        "$@" >2.out 2>2.err; echo $? >2.code
        cp -r disk after
    "#;
    fs::create_dir(job.path("disk")).expect("a fresh folder");
    if is_state_on_disk {
        std::os::unix::fs::symlink("disk/state", job.path("state")).expect("a fresh folder");
    }
    let program = job.command(&[]);
    let mut command = Command::new("unshare");
    command.args(["--mount", "sh", "-c", script, "sh"]).arg(job.path("")).arg(size);
    command.arg(program.get_program()).args(program.get_args()).env_remove("RUST_LOG").env("NO_COLOR", "1");
    let ended = command.output().ok()?;
    if !job.path("2.code").exists() {
        eprintln!("skipped, no disk of its own to be had: {}", String::from_utf8_lossy(&ended.stderr).trim());
        return None;
    }
    let read = |name: String| fs::read_to_string(job.path(&name)).expect("the script wrote it");
    let finished = |run: u32| Finished {
        code: read(format!("{run}.code")).trim().parse().expect("a number"),
        out: read(format!("{run}.out")),
        err: read(format!("{run}.err")),
    };
    Some([finished(1), finished(2)])
}

#[test]
fn full_disk_of_the_state_fails_the_job_and_commits_stay_whole() {
    let job = job().set("checkpoint.fold-every=1h");
    let Some([full, after]) = on_small_disk(&job, "640k", true) else { return };
    full.expect_code(1).expect_err(&["error[MP0702]: ", "/state", "No space left on device", "start the job again"]);
    after.expect_code(0);
    assert_eq!(batches(&job, "out"), undisturbed(5));
}

#[test]
fn full_disk_while_checkpoints_are_made_loses_nothing() {
    // Folds fail for want of space, too, and may leave pieces behind.
    let job = job().set("checkpoint.fold-every=1ms");
    let Some([full, after]) = on_small_disk(&job, "1500k", true) else { return };
    full.expect_code(1).expect_err(&["error[MP07", "/state"]);
    after.expect_code(0);
    assert_eq!(batches(&job, "out"), undisturbed(5));
}

#[test]
fn full_disk_of_the_output_fails_the_job_and_leaves_no_half_files() {
    let job = job().set("sinks.counts.path=disk/out").set("params.top=0");
    let Some([full, after]) = on_small_disk(&job, "2m", false) else { return };
    full.expect_code(1).expect_err(&[
        "error[MP0602]: ",
        "disk/out",
        "sink `counts`",
        "it goes on from its last commit",
    ]);
    let expected = undisturbed(0);
    let whole = batches(&job, "full/out");
    assert!(!whole.is_empty() && whole.len() < FILES, "{} batches fit", whole.len());
    assert!(whole == expected[..whole.len()], "what came out is whole");
    after.expect_code(0);
    assert!(batches(&job, "after/out") == expected, "it goes on where it stopped");
}

#[test]
fn full_disk_of_state_and_output_together_loses_nothing() {
    let job = job().set("sinks.counts.path=disk/out").set("params.top=0");
    let Some([full, after]) = on_small_disk(&job, "3m", true) else { return };
    let full = full.expect_code(1);
    assert!(full.err.contains("error[MP0602]") || full.err.contains("error[MP0702]"), "{}", full.err);
    let expected = undisturbed(0);
    let whole = batches(&job, "full/out");
    assert!(whole == expected[..whole.len()], "what came out is whole");
    after.expect_code(0);
    assert!(batches(&job, "after/out") == expected, "it goes on where it stopped");
}

#[test]
fn file_that_may_not_grow_is_like_a_full_disk() {
    let job = job().set("checkpoint.fold-every=1h");
    let program = job.command(&[]);
    let mut command = Command::new("sh");
    // Blocks of 512 bytes; with the signal ignored, a write past the limit is an error like any other.
    command.args(["-c", "trap '' XFSZ; ulimit -f 600; exec \"$@\"", "sh"]);
    command.arg(program.get_program()).args(program.get_args()).env_remove("RUST_LOG").env("NO_COLOR", "1");
    let full = Finished::from(command.output().expect("sh is everywhere")).expect_code(1);
    full.expect_err(&["error[MP0702]: ", "File too large", "start the job again"]);
    let expected = undisturbed(5);
    let whole = batches(&job, "out");
    assert!(!whole.is_empty() && whole == expected[..whole.len()], "{} batches came out", whole.len());
    job.run(&[]).expect_code(0);
    assert_eq!(batches(&job, "out"), expected);
}
