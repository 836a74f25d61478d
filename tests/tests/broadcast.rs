//! A broadcast's value from the job file and from a file that is replaced while the job runs, through the whole program.

use std::fs;

use millpond_tests::{Job, component, run};
use serde_json::Value;

const JOB: &str = r#"
[job]
name = "rates"
component = "COMPONENT"
batch-interval = "20ms"

[sources.in]
type = "files"
path = "in/*.jsonl"
format = "json"

[sinks.out]
type = "file"
path = "out"

[params]
job = "rates"
"#;

const FROM_FILE: &str = "\n[broadcasts.rates]\npath = \"rates.csv\"\nformat = \"csv\"\n";

fn job(broadcasts: &str) -> Job {
    Job::new(&component("tests/guests-sdk/operators"), &format!("{JOB}{broadcasts}"))
}

/// One row with key `a` and number 10.
fn input(job: &Job, name: &str) {
    job.input(name, "{\"_1\": \"a\", \"_2\": 10}\n");
}

/// What has come out so far, also while the job runs.
fn numbers(job: &Job) -> Vec<i64> {
    let visible = job.outputs().into_iter().filter(|name| !name.starts_with('.'));
    let text = visible.map(|name| fs::read_to_string(job.path("out").join(name)).expect("a part file stays"));
    let row = |line: &str| serde_json::from_str::<Value>(line).expect("JSON lines")["number"].as_i64();
    text.flat_map(|text| text.lines().map(row).collect::<Vec<_>>()).flatten().collect()
}

fn replace(job: &Job, content: &str) {
    fs::write(job.path("rates.new"), content).expect("a writable folder");
    fs::rename(job.path("rates.new"), job.path("rates.csv")).expect("a writable folder");
}

#[test]
fn a_file_that_is_replaced_between_batches_changes_the_value() {
    let job = job(FROM_FILE);
    replace(&job, "_1,_2\na,2\n");
    input(&job, "1.jsonl");
    let mut running = job.start(&[]);
    running.until("the first value", || (numbers(&job) == [20]).then_some(()));
    replace(&job, "_1,_2\na,3\nb,4\n");
    input(&job, "2.jsonl");
    running.until("the second value", || (numbers(&job) == [20, 30]).then_some(()));
    replace(&job, "_1,_2\na,3\nb,fo");
    running.wait_for_line("broadcast `rates`: ");
    input(&job, "3.jsonl");
    running.until("the value before the broken one", || (numbers(&job) == [20, 30, 30]).then_some(()));
    replace(&job, "_1,_2\na,5\n");
    input(&job, "4.jsonl");
    running.until("the next good value", || (numbers(&job) == [20, 30, 30, 50]).then_some(()));
    running.signal("TERM");
    let finished = running.finish().expect_code(0);
    assert_eq!(finished.err.matches("the value before it stays").count(), 1, "told once: {}", finished.err);
    assert!(finished.err.contains("rates.csv line 3"), "{}", finished.err);
    // A restart has the file's value of that time.
    replace(&job, "_1,_2\na,6\n");
    input(&job, "5.jsonl");
    job.run(&["--set", "job.trigger=available-now"]).expect_code(0);
    assert_eq!(numbers(&job), [20, 30, 30, 50, 60]);
}

#[test]
fn values_in_the_job_file_and_what_is_wrong_with_them() {
    let available = ["--set", "job.trigger=available-now"];
    for value in ["rows = [[\"a\", 7]]", "entries = { a = 7 }", "rows = [{ _2 = 7, _1 = \"a\" }]"] {
        let job = job(&format!("\n[broadcasts.rates]\n{value}\n"));
        input(&job, "1.jsonl");
        job.run(&available).expect_code(0);
        assert_eq!(numbers(&job), [70], "{value}");
    }
    let refused = |broadcasts: &str, code: &str, parts: &[&str]| {
        let job = job(broadcasts);
        let check = run(&["check", job.path("millpond.toml").to_str().expect("UTF-8")]).expect_code(2);
        check.expect_err(&[&format!("error[{code}]")]).expect_err(parts);
        input(&job, "1.jsonl");
        job.run(&available).expect_code(2).expect_err(&[&format!("error[{code}]")]);
        assert!(job.is_untouched(), "nothing may be written");
    };
    refused("", "MP0105", &["the plan uses broadcast `rates`", "[broadcasts.rates]"]);
    refused("\n[broadcasts.rate]\nrows = []\n", "MP0105", &["did you mean `rate`?"]);
    let more = "\n[broadcasts.rates]\nrows = []\n[broadcasts.more]\nrows = []\n";
    refused(more, "MP0106", &["broadcasts.more", "the plan has no broadcast of this name"]);
    refused("\n[broadcasts.rates]\nrow = []\n", "MP0103", &["broadcasts.rates.row", "did you mean `rows`?"]);
    refused("\n[broadcasts.rates]\n", "MP0104", &["exactly one of path (a file), rows"]);
    refused(FROM_FILE, "MP0508", &["broadcast `rates`: cannot read ", "rates.csv"]);
    refused("\n[broadcasts.rates]\nrows = [[\"a\"]]\n", "MP0508", &["row 1 has 1 values, and the plan wants 2"]);
    let large = "\n[broadcasts.rates]\nrows = [[\"a\", 1]]\n[limits]\nbroadcast = 8\n";
    let job = job(large);
    input(&job, "1.jsonl");
    job.run(&available).expect_err(&["error[MP0312]", "`limits.broadcast` is 8 bytes"]);
}
