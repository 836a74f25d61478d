//! Golden cases of plugins/wordcount: straight, with a restart in the middle, with other partition counts.

use std::collections::HashMap;
use std::fs;

use millpond_tests::{Job, component, root, run};
use serde_json::{Value, json};

const JOB: &str = r#"
[job]
name = "wordcount"
component = "COMPONENT"
batch-interval = "1s"
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
top = 10
"#;

/// The line of case study C1.
const LINE: &str = "hello world hello spark streaming world big data streaming\n";

fn job() -> Job {
    Job::new(&component("plugins/wordcount"), JOB)
}

/// Running counts after each file: by count descending, then by word.
fn model(files: &[&str], top: usize) -> Vec<Vec<(String, i64)>> {
    let mut counts: HashMap<String, i64> = HashMap::new();
    let after = |file: &&str| {
        for word in file.split(['\n', '\r', ' ']).filter(|word| !word.is_empty()) {
            *counts.entry(word.to_owned()).or_default() += 1;
        }
        let mut sorted: Vec<_> = counts.clone().into_iter().collect();
        sorted.sort_by(|left, right| right.1.cmp(&left.1).then_with(|| left.0.cmp(&right.0)));
        sorted.truncate(if top == 0 { usize::MAX } else { top });
        sorted
    };
    files.iter().map(after).collect()
}

fn found(job: &Job) -> Vec<Vec<(String, i64)>> {
    let row = |row: Value| (row["word"].as_str().expect("a word").to_owned(), row["count"].as_i64().expect("a count"));
    job.rows().into_values().map(|batch| batch.into_iter().map(row).collect()).collect()
}

/// Three parts of the book that comes with the plugin.
fn parts() -> Vec<String> {
    let book = fs::read_dir(root().join("plugins/wordcount/data"))
        .expect("the plugin has sample data")
        .filter_map(|entry| fs::read_to_string(entry.ok()?.path()).ok())
        .max_by_key(String::len)
        .expect("one of them is a book");
    let lines: Vec<&str> = book.lines().collect();
    lines.chunks(lines.len() / 3 + 1).map(|part| part.join("\n")).collect()
}

#[test]
fn the_case_study_line_counts_exactly() {
    let job = job();
    job.input("line.txt", LINE);
    job.run(&[]).expect_code(0);
    let rows = job.rows().into_values().next().expect("one batch");
    let expected = [("hello", 2), ("streaming", 2), ("world", 2), ("big", 1), ("data", 1), ("spark", 1)];
    assert_eq!(rows.len(), expected.len());
    for (row, (word, count)) in rows.iter().zip(expected) {
        let batch_time = row["batch_time"].as_i64().expect("milliseconds");
        assert_eq!(row, &json!({ "word": word, "count": count, "batch_time": batch_time }));
    }
}

#[test]
fn counts_run_on_from_file_to_file() {
    let parts = parts();
    for parallelism in [1, 2, 5] {
        let job = job().set(&format!("job.parallelism={parallelism}"));
        parts.iter().enumerate().for_each(|(number, part)| job.input(&format!("{number}.txt"), part));
        job.run(&[]).expect_code(0);
        assert_eq!(
            found(&job),
            model(&parts.iter().map(String::as_str).collect::<Vec<_>>(), 10),
            "{parallelism} partitions"
        );
    }
}

#[test]
fn second_run_goes_on_and_reads_no_file_again() {
    let parts = parts();
    let job = job();
    for (number, part) in parts.iter().enumerate() {
        job.input(&format!("{number}.txt"), part);
        // Another partition count each time: state moves along.
        job.run(&["--set", &format!("job.parallelism={}", number + 1)]).expect_code(0);
    }
    job.run(&[]).expect_code(0);
    assert_eq!(found(&job), model(&parts.iter().map(String::as_str).collect::<Vec<_>>(), 10));
}

#[test]
fn fresh_forgets_the_state() {
    let job = job();
    job.input("line.txt", LINE);
    job.run(&[]).expect_code(0);
    fs::remove_dir_all(job.path("out")).expect("the first run made it");
    job.run(&["--fresh"]).expect_code(0);
    assert_eq!(found(&job), model(&[LINE], 10));
}

#[test]
fn top_is_settable_and_zero_means_all() {
    let parts = parts();
    for top in [0, 3] {
        let job = job().set(&format!("params.top={top}"));
        job.input("a.txt", &parts[0]);
        job.run(&[]).expect_code(0);
        assert_eq!(found(&job), model(&[&parts[0]], top));
    }
}

#[test]
fn a_large_file_is_cut_at_line_ends() {
    let parts = parts();
    let job = job().set("params.top=0").set("job.parallelism=4").set("sources.lines.max-bytes-per-batch='20KiB'");
    job.input("book.txt", &parts[0]);
    job.run(&[]).expect_code(0);
    let found = found(&job);
    assert!(found.len() > 1, "the file takes several batches");
    assert_eq!(found.last(), model(&[&parts[0]], 0).last());
}

#[test]
fn wrong_parameter_is_explained() {
    let job = job().set("params.top=many");
    job.input("line.txt", LINE);
    job.run(&[]).expect_code(2).expect_err(&["MP0206", "top", "many"]);
    assert!(!job.path("out").exists() && !job.path("state").exists(), "nothing is written");
}

#[test]
fn out_of_the_box_it_prints_its_tables() {
    let state = tempfile::tempdir().expect("a temporary folder");
    let folder = root().join("plugins/wordcount");
    let state = state.path().join("s");
    let args = ["run", folder.to_str().expect("UTF-8"), "--no-build", "--state", state.to_str().expect("UTF-8")];
    component("plugins/wordcount");
    let finished = run(&args).expect_code(0);
    let counts = ["hello", "streaming", "world", "big", "data", "spark"];
    let places: Vec<_> = counts.iter().map(|word| finished.out.find(word)).collect();
    assert!(places.iter().all(Option::is_some) && places.is_sorted(), "{}", finished.out);
    finished.expect_err(&["batches", "rows"]);
}
