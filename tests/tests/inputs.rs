//! What is wrong with files: told with its place and counted, and the job goes on; or it fails the job, when the job file says so.
//! Nothing of a failed batch is committed.

use std::fs;
use std::io::Write;

use flate2::Compression;
use flate2::write::GzEncoder;
use millpond_tests::guests::hostile;
use millpond_tests::{Finished, Job};

const JOB: &str = r#"
[job]
name = "lines"
component = "COMPONENT"
trigger = "available-now"
parallelism = 1

[sources.lines]
type = "files"
path = "in/*"

[sinks.out]
type = "file"
path = "out"
"#;

const FAIL: [&str; 2] = ["--set", "sources.lines.on-bad-record=fail"];

/// A job that passes lines on.
fn job() -> Job {
    Job::new(&hostile(), JOB)
}

/// Runs with on-bad-record = fail, which must fail as said, then with skip, which must tell of the same and give the lines.
#[track_caller]
fn bad(job: &Job, code: &str, place: &str, reason: &str, counted: u64, lines: &[&str]) {
    job.run(&FAIL).expect_code(1).expect_err(&[&format!("error[{code}]: "), "source `lines`", place, reason]);
    assert_eq!(job.outputs(), [""; 0], "nothing of the batch is to be seen");
    let finished = job.run(&[]).expect_code(0).expect_err(&[place, reason]);
    assert_eq!(summary(&finished, "bad records"), counted.to_string(), "{}", finished.err);
    assert_eq!(job.lines(), lines, "nothing was committed, so all of it is read");
}

/// A figure of the summary.
fn summary(finished: &Finished, title: &str) -> String {
    let line = finished.err.lines().find_map(|line| line.strip_prefix(&format!("  {title}")));
    line.map(|line| line.trim().to_owned()).unwrap_or_default()
}

#[test]
fn lines_that_are_not_utf8_are_left_out() {
    let job = job();
    job.input("a.txt", b"one\nbad \xff byte\nthree\n\xc3\n");
    bad(&job, "MP0504", "in/a.txt line 2", "not UTF-8 at byte 4 of the line (0xff)", 2, &["one", "three"]);
}

#[test]
fn file_that_is_not_text_at_all_costs_its_lines_and_no_more() {
    let job = job();
    let garbage: Vec<u8> =
        (0..20_000u32).map(|number| (number.wrapping_mul(2_654_435_761) >> 24) as u8 | 0x80).collect();
    job.input("picture.txt", &garbage);
    job.input("text.txt", "still here\n");
    let finished = job.run(&[]).expect_code(0);
    assert_eq!(job.lines().last().map(String::as_str), Some("still here"));
    finished.expect_err(&["in/picture.txt line 1", "bad records"]);
}

#[test]
fn only_the_first_bad_records_are_shown_and_all_are_counted() {
    let job = job();
    job.input("a.txt", b"\xff\n".repeat(1000));
    let finished = job.run(&[]).expect_code(0).expect_err(&["in/a.txt line 5:", "are counted, not shown"]);
    assert!(!finished.err.contains("in/a.txt line 6:"), "{}", finished.err);
    assert_eq!(summary(&finished, "bad records"), "1,000");
}

#[test]
fn line_over_the_cap_is_left_out() {
    let job = job().set("sources.lines.line-bytes-max=1KiB");
    job.input("a.txt", format!("short\n{}\n{}\nlast", "x".repeat(1025), "y".repeat(5000)));
    let reason = "the line has more than 1024 bytes; raise line-bytes-max";
    bad(&job, "MP0504", "in/a.txt line 2", reason, 2, &["short", "last"]);
}

#[test]
fn line_over_a_mebibyte_is_left_out_by_default() {
    let job = job();
    let longest = "x".repeat(1 << 20);
    job.input("a.txt", format!("{longest}\n{longest}x\nlast\n"));
    bad(&job, "MP0504", "in/a.txt line 2", "the line has more than 1048576 bytes", 1, &[&longest, "last"]);
}

/// A job that has read a part of `in/big.txt` and then failed, without output of the part that failed.
fn half_read() -> Job {
    let job = job().set("sources.lines.max-bytes-per-batch=64KiB");
    let line = format!("{}\n", "x".repeat(99));
    job.input("big.txt", format!("{}poison\n{}", line.repeat(1000), line.repeat(1000)));
    job.run(&["--set", "params.behaviour=panic", "--set", "params.on=poison"]).expect_code(1).expect_err(&["MP0301"]);
    let lines = job.lines().len();
    assert!((600..1000).contains(&lines), "one batch is committed: {lines}");
    job
}

/// Both ways to go on after something happened to a file that was read in part.
#[track_caller]
fn harmed(harm: impl Fn(&Job), reason: &str) {
    let job = half_read();
    let before = job.lines();
    harm(&job);
    let finished = job.run(&FAIL).expect_code(1);
    finished.expect_err(&["error[MP0502]: ", "source `lines`", "in/big.txt", reason, "it had 200007 bytes"]);
    let finished = job.run(&[]).expect_code(0).expect_err(&["bad record: in/big.txt", reason]);
    assert_eq!(summary(&finished, "bad records"), "1", "it is counted: {}", finished.err);
    assert_eq!(job.lines(), before, "what was committed stays");
    // It was told once; the job is well again.
    job.input("next.txt", "next\n");
    let finished = job.run(&FAIL).expect_code(0);
    assert!(!finished.err.contains(reason), "{}", finished.err);
    assert_eq!(job.lines().last().map(String::as_str), Some("next"));
}

#[test]
fn file_that_is_removed_between_runs_is_named() {
    harmed(|job| fs::remove_file(job.path("in/big.txt")).expect("it is there"), "disappeared after ");
}

#[test]
fn file_that_is_truncated_between_runs_is_named() {
    let truncate = |job: &Job| {
        let file = fs::File::options().write(true).open(job.path("in/big.txt")).expect("it is there");
        file.set_len(1000).expect("it can be cut");
    };
    harmed(truncate, "shrank to 1000 bytes");
}

#[test]
fn file_that_is_replaced_between_runs_is_named() {
    let replace = |job: &Job| {
        // Made beside it and renamed: another file for certain.
        let length = usize::try_from(fs::metadata(job.path("in/big.txt")).expect("it is there").len()).expect("small");
        fs::write(job.path("other"), vec![b'y'; length]).expect("a writable folder");
        fs::rename(job.path("other"), job.path("in/big.txt")).expect("both are there");
    };
    harmed(replace, "was replaced by another file");
}

#[test]
fn file_that_was_read_and_is_removed_is_forgotten_in_silence() {
    let job = job();
    job.input("a.txt", "one\n");
    job.run(&FAIL).expect_code(0);
    fs::remove_file(job.path("in/a.txt")).expect("it is there");
    let finished = job.run(&FAIL).expect_code(0);
    assert!(!finished.err.contains("a.txt"), "{}", finished.err);
    assert_eq!(job.lines(), ["one"]);
}

#[test]
fn file_that_grew_after_it_was_read_is_reported_and_not_read_again() {
    let job = job();
    job.input("a.txt", "one\n");
    job.run(&[]).expect_code(0);
    job.input("a.txt", "one\ntwo\n");
    let finished = job.run(&[]).expect_code(0);
    finished.expect_err(&["in/a.txt", "grew from 4 to 8 bytes after it was read", "follow = true"]);
    assert_eq!(job.lines(), ["one"]);
    let finished = job.run(&[]).expect_code(0);
    assert!(!finished.err.contains("grew"), "it was told once: {}", finished.err);
}

#[test]
fn file_that_is_followed_is_read_on() {
    let job = job().set("sources.lines.follow=true");
    job.input("a.txt", "one\ntw");
    job.run(&[]).expect_code(0);
    assert_eq!(job.lines(), ["one"], "the last line has no end yet");
    job.input("a.txt", "one\ntwo\nthree\n");
    job.run(&[]).expect_code(0);
    assert_eq!(job.lines(), ["one", "two", "three"]);
}

#[test]
fn files_that_come_between_two_runs_are_new() {
    let job = job().set("sources.lines.new-files-only=true");
    job.input("old.txt", "old\n");
    job.run(&[]).expect_code(0);
    job.input("new.txt", "new\n");
    job.run(&[]).expect_code(0);
    assert_eq!(job.lines(), ["new"], "the first run passed over what was there, the second over nothing");
}

fn gzip(text: &str) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(text.as_bytes()).expect("memory takes it");
    encoder.finish().expect("memory takes it")
}

#[test]
fn gzip_files_are_unpacked() {
    let job = job();
    job.input("a.txt.gz", gzip("packed\nlines\n"));
    // Two members in one file are one text.
    job.input("b.txt.GZ", [gzip("first\nsec"), gzip("ond\n")].concat());
    job.input("c.txt", "plain\n");
    job.run(&[]).expect_code(0);
    assert_eq!(job.lines(), ["packed", "lines", "first", "second", "plain"]);
}

#[test]
fn damaged_gzip_file_gives_what_can_be_unpacked() {
    let job = job();
    let text: String = (0..20_000).map(|number| format!("line {number}\n")).collect();
    let packed = gzip(&text);
    job.input("a.txt.gz", &packed[..packed.len() / 2]);
    job.run(&FAIL).expect_code(1).expect_err(&["error[MP0503]: ", "in/a.txt.gz", "the gzip data is damaged after"]);
    assert_eq!(job.outputs(), [""; 0]);
    let finished = job.run(&[]).expect_code(0).expect_err(&["in/a.txt.gz", "the gzip data is damaged after"]);
    assert_eq!(summary(&finished, "bad records"), "1");
    let lines = job.lines();
    assert!(!lines.is_empty() && text.lines().zip(&lines).all(|(expected, found)| expected == found));
}

#[test]
fn hidden_and_temporary_files_are_passed_over() {
    let job = job();
    [".hidden.txt", "_part.txt", "a.txt.tmp"].iter().for_each(|name| job.input(name, "no\n"));
    job.input("a.txt", "yes\n");
    job.run(&[]).expect_code(0);
    assert_eq!(job.lines(), ["yes"]);
}

#[test]
fn a_source_does_what_the_job_says_unless_it_says_otherwise() {
    let job = job();
    job.input("a.txt", b"good\nbad \xff byte\n");
    let job_fails = ["--set", "job.on-bad-record=fail"];
    job.run(&job_fails).expect_code(1).expect_err(&["MP0504", "in/a.txt line 2"]);
    let skips = [&job_fails[..], &["--set", "sources.lines.on-bad-record=skip"]].concat();
    job.run(&skips).expect_code(0);
    assert_eq!(job.lines(), ["good"]);
}

#[test]
fn a_failed_job_ends_with_its_summary_too() {
    let job = job().set("sources.lines.max-files-per-batch=1");
    job.input("a.txt", b"good\n");
    job.input("b.txt", b"bad \xff byte\n");
    let finished = job.run(&FAIL).expect_code(1).expect_err(&["lines: failed", "MP0504"]);
    assert_eq!(summary(&finished, "rows out"), "1", "{}", finished.err);
}

#[test]
fn results_that_cannot_be_printed_are_told_of_with_their_batch() {
    let job = job().set("sinks.out.type=console");
    job.input("a.txt", b"good\n");
    let full = fs::File::options().write(true).open("/dev/full").expect("Linux has it");
    let output = job.command(&[]).stdout(full).output().expect("the program starts");
    Finished::from(output).expect_code(1).expect_err(&["MP0602", "sink `out`", "is committed and not printed again"]);
}
