//! The plugins of this repository, natively: each file of their sample data is a batch, and `expected/` says what it gives.

use std::fs;
use std::path::Path;

use millpond::Job;
use millpond_test::JobTest;

/// Rows of `expected/after-<file>.jsonl`.
fn expected(path: &Path) -> Vec<(String, i64)> {
    let text = fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let row = |line: &str| {
        let row: serde_json::Value = serde_json::from_str(line).expect("JSON lines");
        (row["word"].as_str().expect("a word").to_owned(), row["count"].as_i64().expect("a count"))
    };
    text.lines().map(row).collect()
}

/// Straight, with a restart before every batch, with one partition and with three.
fn golden(plugin: &str, job: fn() -> Job) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../plugins").join(plugin);
    let files = fs::read_dir(folder.join("data")).expect("sample data");
    let mut files: Vec<_> = files.map(|entry| entry.expect("readable").path()).collect();
    files.retain(|file| file.extension().is_some_and(|extension| extension == "txt"));
    files.sort();
    assert!(files.len() > 1);
    for (restarts, parallelism) in [(false, 2), (true, 2), (false, 1), (true, 3)] {
        let mut job = JobTest::new(job()).parallelism(parallelism).start();
        for file in &files {
            if restarts {
                job.restart();
            }
            let text = fs::read_to_string(file).expect("readable text");
            job.feed("lines", text.lines().map(str::to_owned));
            job.batch();
            let name = file.file_stem().and_then(|name| name.to_str()).expect("a plain name");
            let golden = expected(&folder.join(format!("expected/after-{name}.jsonl")));
            assert_eq!(job.rows::<(String, i64)>("counts"), golden, "{plugin} after {name}, {parallelism} partitions");
        }
    }
}

#[test]
fn wordcount() {
    golden("wordcount", wordcount::millpond_job);
}

#[test]
fn sliding_wordcount() {
    golden("sliding-wordcount", sliding_wordcount::millpond_job);
}
