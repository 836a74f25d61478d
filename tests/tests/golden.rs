//! `millpond test`: the cases of this repository's plugins pass, and a case that fails or makes no sense is told as a person needs it.

use std::fs;

use millpond_tests::{Finished, Job, component, millpond, root, run};

const JOB: &str = r#"
[job]
name = "wordcount"
component = "COMPONENT"
batch-interval = "1s"

[sources.lines]
type = "files"
path = "in/*.txt"

[sinks.counts]
type = "console"
mode = "complete"
"#;

const EXPECTED: &str = "# batch 1\n{\"word\":\"be\",\"count\":2}\n{\"count\":1,\"word\":\"to\"}\n# batch 2\n";

/// A job with one case of these files.
fn with_case(files: &[(&str, &str)]) -> Job {
    let job = Job::new(&component("plugins/wordcount"), JOB);
    for (name, text) in files {
        let path = job.path("tests/first").join(name);
        fs::create_dir_all(path.parent().expect("it is in the folder")).expect("a folder of ours");
        fs::write(path, text).expect("a folder of ours");
    }
    job
}

fn test(job: &Job, args: &[&str]) -> Finished {
    let dir = job.path("");
    let dir = dir.to_str().expect("temporary folders are UTF-8");
    Finished::from(millpond(&[&["test", dir], args].concat()).output().expect("the program starts"))
}

#[test]
fn the_plugins_of_this_repository_pass_their_cases() {
    for plugin in ["plugins/wordcount", "plugins/sliding-wordcount"] {
        component(plugin);
        let folder = root().join(plugin);
        let finished = run(&["test", folder.to_str().expect("UTF-8"), "--no-build"]).expect_code(0);
        assert!(finished.out.ends_with("2 cases, all ok, each 4 ways\n"), "{}", finished.out);
    }
}

#[test]
fn a_difference_is_shown_as_a_table_and_blessed() {
    let job = with_case(&[
        ("1.lines.txt", "be be to\n"),
        ("case.toml", "batches = 2\n"),
        ("expected.counts.jsonl", EXPECTED),
    ]);
    let failed = test(&job, &[]).expect_code(1).expect_err(&["error[MP0114]: 1 of 1 golden cases failed", "help: "]);
    let shown = "\
FAILED  first: run straight
  sink `counts`, batch 2 (first/expected.counts.jsonl):
      word  count
    + \"be\"  2
    + \"to\"  1
  0 rows as expected; 0 differ (^), 0 are missing (-), 2 are not expected (+)
  the same with a restart in the middle
  the same with 5 partitions
  the same with a fresh instance for each call
1 case: 0 ok, 1 failed
";
    assert_eq!(failed.out, shown);
    let blessed = test(&job, &["--bless"]).expect_code(0);
    assert!(blessed.out.starts_with("blessed first\n  first/expected.counts.jsonl, batch 2:\n"), "{}", blessed.out);
    let again = test(&job, &["--bless"]).expect_code(0);
    assert_eq!(again.out, "ok      first\n1 case, all ok, each 4 ways\n");
    test(&job, &["--filter", "irs"]).expect_code(0);
    assert!(job.is_untouched());
}

#[test]
fn order_counts_where_the_job_orders() {
    let turned = EXPECTED.replace("# batch 2\n", "");
    let turned: Vec<&str> = turned.lines().collect();
    let turned = [turned[0], turned[2], turned[1]].join("\n");
    let job = with_case(&[("1.lines.txt", "be be to\n"), ("expected.counts.jsonl", &turned)]);
    let failed = test(&job, &[]).expect_code(1);
    assert!(failed.out.contains("the rows are right, but come in another order"), "{}", failed.out);
}

#[test]
fn settings_of_a_case_change_the_job() {
    let expected = "# batch 1\n{\"word\":\"be\",\"count\":2}\n";
    let files =
        [("1.lines.txt", "be be to\n"), ("case.toml", "set = [\"params.top=1\"]"), ("expected.counts.jsonl", expected)];
    test(&with_case(&files), &[]).expect_code(0);
}

#[test]
fn a_case_that_makes_no_sense_is_refused() {
    let refused = |files: &[(&str, &str)], says: &str| {
        test(&with_case(files), &[]).expect_code(2).expect_err(&["error[MP0113]: ", says, "help: "]);
    };
    refused(&[], "tests: there are no golden cases");
    refused(&[("1.line.txt", "a\n")], "first/1.line.txt: the plan has no source `line`; did you mean `lines`?");
    refused(&[("0.lines.txt", "a\n")], "first/0.lines.txt: `0` is not the number of a batch");
    refused(&[("1.lines.xml", "a\n")], "first/1.lines.xml: `.xml` is no format of input");
    refused(&[("lines", "a\n")], "first/lines: no file of a case is named so");
    refused(&[("1.lines.txt", "a\n"), ("01.lines.txt", "a\n")], "batch 1 of source `lines` has two files");
    refused(&[("1.lines.jsonl", "{\"lin\": 1}\n")], "1.lines.jsonl line 1: ");
    refused(&[("3.lines.txt", "a\n"), ("case.toml", "batches = 2\n")], "batches = 2, and there is input for batch 3");
    refused(&[("1.lines.txt", "a\n"), ("case.toml", "batchs = 2\n")], "case.toml: unknown field `batchs`");
    refused(&[("case.toml", "")], "the case has no input and no number of batches");
    let input = ("1.lines.txt", "a\n");
    refused(&[input, ("expected.count.jsonl", "")], "the plan has no sink `count`; did you mean `counts`?");
    for (text, says) in [
        ("{\"word\":\"a\",\"count\":1}\n", "line 1: a row before the first `# batch 1`"),
        ("# batch 1\n{\"word\":\"a\",\"cuont\":1}\n", "line 2: the sink has no column `cuont`; it has word, count"),
        ("# batch 1\n{\"word\":\"a\"}\n", "line 2: "),
        ("# batch 1\n\n[1]\n", "line 3: not a JSON object"),
        ("# batch 2\n# batch 1\n", "line 2: batch 1 is out of order"),
        ("# batch x\n", "line 1: `x` is no batch"),
    ] {
        refused(&[input, ("expected.counts.jsonl", text)], says);
    }
    let job = with_case(&[input]);
    test(&job, &["--filter", "second"])
        .expect_code(2)
        .expect_err(&["no golden case has `second` in its name", "first"]);
}

#[test]
fn a_job_that_fails_fails_its_case() {
    let job = with_case(&[("1.lines.txt", "be\n"), ("expected.counts.jsonl", EXPECTED)]);
    let file = job.path("millpond.toml");
    let text = fs::read_to_string(&file).expect("it was just written");
    fs::write(&file, format!("{text}\n[limits]\noutput = \"4KiB\"\n")).expect("a folder of ours");
    job.input("unused.txt", "");
    let long = "x".repeat(20_000);
    fs::write(job.path("tests/first/1.lines.txt"), long).expect("a folder of ours");
    let failed = test(&job, &[]).expect_code(1);
    assert!(failed.out.contains("  the job failed: error[MP030"), "{}", failed.out);
}
