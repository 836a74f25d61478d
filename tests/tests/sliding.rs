//! Golden cases of plugins/sliding-wordcount against a naive model: windows and slides of several lengths, restarts in the
//! middle, other partition counts.

use std::collections::HashMap;

use millpond_tests::{Job, component};
use serde_json::Value;

const JOB: &str = r#"
[job]
name = "sliding-wordcount"
component = "COMPONENT"
batch-interval = "1s"
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
top = 0
"#;

/// One batch each, and then from the first again. Some have no words, for longer than the shortest windows.
const FILES: [&str; 14] = [
    "to be or not to be\nthat is the question\n",
    "to be\n",
    "whether tis nobler in the mind\nto suffer\n",
    "\n",
    "  \n",
    "the slings and arrows\nof outrageous fortune\n",
    "or to take arms\n",
    "\n",
    "\n",
    "\n",
    "against a sea of troubles\n",
    "and by opposing end them\nto die to sleep\n",
    "no more\nand by a sleep\n",
    "to say we end the heart ache\n",
];

/// One batch's words with their counts, in order.
type Counts = Vec<(String, i64)>;

struct Case {
    /// Batches.
    window: usize,
    /// Batches.
    slide: usize,
    parallelism: usize,
    /// A run for each: so many more files are there than before.
    runs: &'static [usize],
}

/// What comes out of so many batches: at every slide the words of the batches since one window ago.
fn model(batches: usize, window: usize, slide: usize, top: usize) -> Vec<Counts> {
    let at = |last: usize| {
        let mut counts: HashMap<&str, i64> = HashMap::new();
        let batches = last.saturating_sub(window)..last;
        let words = batches.flat_map(|batch| FILES[batch % FILES.len()].split_whitespace());
        words.for_each(|word| *counts.entry(word).or_default() += 1);
        let mut sorted: Counts = counts.into_iter().map(|(word, count)| (word.to_owned(), count)).collect();
        sorted.sort_by(|left, right| right.1.cmp(&left.1).then_with(|| left.0.cmp(&right.0)));
        sorted.truncate(if top == 0 { usize::MAX } else { top });
        sorted
    };
    (1..=batches).filter(|batch| batch % slide == 0).map(at).collect()
}

fn found(job: &Job) -> Vec<Counts> {
    let row = |row: Value| (row["word"].as_str().expect("a word").to_owned(), row["count"].as_i64().expect("a count"));
    job.rows().into_values().map(|batch| batch.into_iter().map(row).collect()).collect()
}

fn job(window: usize, slide: usize, parallelism: usize) -> Job {
    Job::new(&component("plugins/sliding-wordcount"), JOB)
        .set(&format!("params.window='{window}s'"))
        .set(&format!("params.slide='{slide}s'"))
        .set(&format!("job.parallelism={parallelism}"))
}

fn check(case: &Case) {
    let Case { window, slide, parallelism, runs } = *case;
    let name = format!("window {window}, slide {slide}, {parallelism} partitions, runs of {runs:?}");
    let job = job(window, slide, parallelism);
    let mut files = FILES.iter().cycle().enumerate();
    for run in runs {
        files.by_ref().take(*run).for_each(|(number, text)| job.input(&format!("{number:02}.txt"), text));
        job.run(&[]).expect_code(0);
    }
    let batches = runs.iter().sum();
    assert_eq!(found(&job), model(batches, window, slide, 0), "{name}");
    let times: Vec<i64> = job.rows().into_keys().collect();
    let slide_ms = i64::try_from(slide).expect("a small number") * 1000;
    assert!(times.windows(2).all(|pair| pair[1] - pair[0] == slide_ms), "{name}: {times:?}");
}

const STRAIGHT: &[usize] = &[14];
const RESTARTED: &[usize] = &[4, 1, 5, 4];

#[test]
fn a_window_of_30_every_10_is_that_of_the_model() {
    check(&Case { window: 30, slide: 10, parallelism: 2, runs: &[42] });
    check(&Case { window: 30, slide: 10, parallelism: 2, runs: &[7, 21, 14] });
}

#[test]
fn windows_of_all_lengths_are_those_of_the_model() {
    for (window, slide) in [(5, 1), (3, 1), (1, 1), (4, 2), (4, 4), (6, 3), (5, 2), (20, 1)] {
        for parallelism in [1, 3] {
            check(&Case { window, slide, parallelism, runs: STRAIGHT });
        }
    }
}

#[test]
fn restart_in_the_middle_of_a_window_changes_nothing() {
    for (window, slide) in [(5, 1), (4, 2), (4, 4), (5, 2)] {
        for parallelism in [1, 3] {
            check(&Case { window, slide, parallelism, runs: RESTARTED });
        }
    }
}

#[test]
fn partition_count_may_change_at_a_restart() {
    let job = job(5, 1, 1);
    for (number, text) in FILES.iter().enumerate() {
        job.input(&format!("{number:02}.txt"), text);
        if number % 4 == 3 || number == FILES.len() - 1 {
            job.run(&["--set", &format!("job.parallelism={}", number % 3 + 1)]).expect_code(0);
        }
    }
    assert_eq!(found(&job), model(FILES.len(), 5, 1, 0));
}

#[test]
fn only_the_most_frequent_come_out() {
    let job = job(5, 1, 2).set("params.top=3");
    FILES.iter().enumerate().for_each(|(number, text)| job.input(&format!("{number:02}.txt"), text));
    job.run(&[]).expect_code(0);
    assert_eq!(found(&job), model(FILES.len(), 5, 1, 3));
}

#[test]
fn window_that_is_no_multiple_of_the_interval_is_refused() {
    for (setting, part) in [("params.window='2500ms'", "2500"), ("params.slide='1500ms'", "1500")] {
        let job = job(5, 1, 1).set(setting);
        job.input("a.txt", "a\n");
        job.run(&[]).expect_code(2).expect_err(&["MP0406", "node `reduce_by_key_and_window"]).expect_err(&[part]);
        assert!(job.is_untouched());
    }
}
