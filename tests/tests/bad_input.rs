//! What is wrong before the first batch: one error with place, reason and remedy; exit code 2; nothing written.

use std::fs;
use std::path::Path;

use millpond_tests::{Job, component, root, run};

const JOB: &str = r#"
[job]
name = "wordcount"
component = "COMPONENT"
trigger = "available-now"

[sources.lines]
type = "files"
path = "in/*.txt"

[sinks.counts]
type = "file"
path = "out"
format = "jsonl"
"#;

fn job() -> Job {
    let job = Job::new(&component("plugins/wordcount"), JOB);
    job.input("a.txt", "a b c\n");
    job
}

/// Runs and checks: exit code 2, these parts, nothing written.
#[track_caller]
fn refused(job: &Job, parts: &[&str]) {
    for verb in ["check", "run"] {
        let dir = job.path("");
        let dir = dir.to_str().expect("UTF-8");
        let finished = if verb == "run" { job.run(&[]) } else { run(&["check", dir]) };
        finished.expect_code(2).expect_err(parts);
        assert!(!job.path("state").exists() && !job.path("out").exists() && !job.path(".millpond").exists());
    }
}

/// The job with a piece of its file replaced.
fn edited(from: &str, to: &str) -> Job {
    let job = job();
    let path = job.path("millpond.toml");
    let text = fs::read_to_string(&path).expect("it was just written");
    assert!(text.contains(from));
    fs::write(path, text.replace(from, to)).expect("a writable folder");
    job
}

#[test]
fn missing_folder() {
    run(&["run", "/nowhere/at/all"]).expect_code(2).expect_err(&["MP0101", "/nowhere/at/all"]);
}

#[test]
fn missing_job_file() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    run(&["run", dir.path().to_str().expect("UTF-8")]).expect_code(2).expect_err(&["MP0101", "millpond.toml"]);
}

#[test]
fn file_that_is_no_toml() {
    refused(&edited("[sources.lines]", "[sources.lines"), &["MP0102", "millpond.toml:7"]);
}

#[test]
fn unknown_key() {
    refused(
        &edited("path = \"in", "pth = \"in"),
        &["MP0103", "millpond.toml:9", "sources.lines.pth", "did you mean", "path"],
    );
}

#[test]
fn wrong_value() {
    refused(
        &edited("trigger = \"available-now\"", "trigger = \"sometimes\""),
        &["MP0104", "millpond.toml:5", "sometimes", "continuous"],
    );
}

#[test]
fn source_that_the_file_lacks() {
    refused(&edited("[sources.lines]", "[sources.line]"), &["MP0105", "lines", "did you mean `line`?"]);
}

#[test]
fn sink_that_the_plan_lacks() {
    refused(
        &edited("[sinks.counts]", "[sinks.more]\ntype = \"console\"\n\n[sinks.counts]"),
        &["MP0106", "sinks.more", "counts"],
    );
}

#[test]
fn source_folder_that_does_not_exist() {
    refused(&edited("in/*.txt", "nowhere/*.txt"), &["MP0501", "nowhere"]);
}

#[test]
fn update_mode_needs_a_keyed_stream_is_fine_for_wordcount() {
    // Rows of (word, count) have a key, also after sorting.
    let job = edited("format = \"jsonl\"", "format = \"jsonl\"\nmode = \"update\"");
    job.run(&[]).expect_code(0);
    assert_eq!(job.rows().into_values().next().expect("one batch").len(), 3);
}

#[test]
fn component_that_is_none() {
    for (bytes, part) in [(&b"no wasm at all"[..], "not a"), (b"\0asm\x01\0\0\0", "core module")] {
        let job = job();
        let path = job.path("broken.wasm");
        fs::write(&path, bytes).expect("a writable folder");
        let job = job.set(&format!("job.component={}", path.display()));
        job.run(&[]).expect_code(2).expect_err(&["MP0201", part]);
        assert!(!job.path("state").exists());
    }
}

#[test]
fn component_that_is_not_there() {
    let job = job().set("job.component=nothing.wasm");
    job.run(&[]).expect_code(2).expect_err(&["job.component", "nothing.wasm"]);
}

#[test]
fn state_folder_in_use_is_refused_by_name() {
    let job = job().set("job.trigger=continuous").set("job.batch-interval=20ms");
    let mut first = job
        .command(&[])
        .stdout(std::process::Stdio::null())
        .stderr(std::process::Stdio::null())
        .spawn()
        .expect("it starts");
    while job.outputs().is_empty() {
        assert!(first.try_wait().expect("our child").is_none(), "it must go on running");
        std::thread::yield_now();
    }
    let pid = first.id().to_string();
    job.run(&[]).expect_code(2).expect_err(&["MP0701", &pid]);
    first.kill().expect("it runs");
    first.wait().expect("it was killed");
    job.run(&["--set", "job.trigger=available-now"]).expect_code(0);
}

#[test]
fn a_folder_without_crate_is_no_plugin() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    fs::write(dir.path().join("millpond.toml"), "[job]\nname = \"x\"\n").expect("a fresh folder");
    run(&["run", dir.path().to_str().expect("UTF-8")]).expect_code(2).expect_err(&["MP0109", "Cargo.toml"]);
}

#[test]
fn every_job_file_of_this_repository_is_good() {
    let plugins = fs::read_dir(root().join("plugins")).expect("the plugins' folder");
    let folders =
        plugins.map(|entry| entry.expect("readable").path()).filter(|path| path.join("millpond.toml").exists());
    let mut checked = 0;
    for folder in folders {
        component(folder.strip_prefix(root()).expect("it is in the workspace").to_str().expect("UTF-8"));
        check(&folder);
        checked += 1;
    }
    assert!(checked >= 2);
}

fn check(folder: &Path) {
    run(&["check", folder.to_str().expect("UTF-8"), "--no-build"]).expect_code(0);
}
