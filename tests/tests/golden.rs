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

/// One of the jobs that read pairs.
const OPERATORS: &str = r#"
[job]
name = "operators"
component = "COMPONENT"
batch-interval = "1s"

[params]
job = "JOB"

[sources.in]
type = "files"
path = "in/*.jsonl"
format = "json"

[sinks.out]
type = "console"
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
    // Also where rows go on one by one, here to columns of other names.
    let job = Job::new(&component("tests/guests-sdk/operators"), &OPERATORS.replace("JOB", "sort_by"));
    fs::create_dir_all(job.path("tests/first")).expect("a folder of ours");
    let row = |n: i64| format!("{{\"text\":\"a\",\"number\":{n}}}\n");
    fs::write(job.path("tests/first/1.in.jsonl"), "{\"_1\":\"a\",\"_2\":1}\n{\"_1\":\"a\",\"_2\":2}\n").expect("ours");
    let expected = |rows: &[i64]| format!("# batch 1\n{}", rows.iter().map(|n| row(*n)).collect::<String>());
    fs::write(job.path("tests/first/expected.out.jsonl"), expected(&[2, 1])).expect("a folder of ours");
    test(&job, &[]).expect_code(0);
    fs::write(job.path("tests/first/expected.out.jsonl"), expected(&[1, 2])).expect("a folder of ours");
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
    refused(&[("case.toml", "input = \"nowhere\"\n")], "first/case.toml: input = \"nowhere\": there is no folder ");
    let input = ("1.lines.txt", "a\n");
    refused(&[input, ("accumulators.jsonl", "")], "first/accumulators.jsonl: the job has no accumulators");
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
fn input_may_lie_in_a_folder_for_several_cases() {
    let expected = "# batch 1\n{\"word\":\"be\",\"count\":3}\n";
    let job = with_case(&[
        ("../../words/1.lines.txt", "be be\n"),
        ("2.lines.txt", "be\n"),
        ("case.toml", "input = \"../../words\"\nset = [\"params.top=1\"]\n"),
        ("expected.counts.jsonl", &expected.replace('3', "2")),
    ]);
    let failed = test(&job, &[]).expect_code(1);
    assert!(failed.out.contains("sink `counts`, batch 2 "), "{}", failed.out);
    let both = format!("{}{}", expected.replace('3', "2"), expected.replace("batch 1", "batch 2"));
    fs::write(job.path("tests/first/expected.counts.jsonl"), both).expect("a folder of ours");
    test(&job, &[]).expect_code(0);
    let clash = with_case(&[
        ("../../words/1.lines.txt", "be\n"),
        ("1.lines.txt", "be\n"),
        ("case.toml", "input = \"../../words\"\n"),
    ]);
    test(&clash, &[]).expect_code(2).expect_err(&["error[MP0113]: ", "batch 1 of source `lines` has two files"]);
}

#[test]
fn totals_of_accumulators_are_checked_in_every_way_and_blessed() {
    let job = Job::new(&component("tests/guests-sdk/operators"), &OPERATORS.replace("JOB", "accumulators"));
    fs::create_dir_all(job.path("tests/first")).expect("a folder of ours");
    let rows =
        |numbers: &[i64]| -> String { numbers.iter().map(|n| format!("{{\"_1\":\"a\",\"_2\":{n}}}\n")).collect() };
    fs::write(job.path("tests/first/1.in.jsonl"), rows(&[1, 2, -3, 4, 1, 1, 1])).expect("a folder of ours");
    fs::write(job.path("tests/first/2.in.jsonl"), rows(&[5])).expect("a folder of ours");
    // Without a file nobody looks at them; `--bless` begins one.
    let blessed = test(&job, &["--bless"]).expect_code(0);
    assert!(blessed.out.contains("\n  first/accumulators.jsonl: new\n"), "{}", blessed.out);
    let left_out =
        "  first/accumulators.jsonl leaves out `partitions`: how much is added depends on how the job is run\n";
    assert!(blessed.out.contains(left_out), "{}", blessed.out);
    let totals = job.path("tests/first/accumulators.jsonl");
    let text = fs::read_to_string(&totals).expect("it was just written");
    for line in [
        "{\"name\":\"rows\",\"value\":8}\n",
        "{\"name\":\"sum\",\"value\":12}\n",
        "{\"name\":\"halves\",\"value\":6.0}\n",
        "{\"name\":\"least\",\"value\":-3}\n",
    ] {
        assert!(text.contains(line), "{text}");
    }
    assert!(!text.contains("partitions"), "{text}");
    test(&job, &[]).expect_code(0);
    fs::write(&totals, "# by hand\n{\"name\":\"sum\",\"value\":13}\n{\"name\":\"rows\",\"value\":8}\n").expect("ours");
    let failed = test(&job, &[]).expect_code(1).expect_err(&["error[MP0114]: 1 of 1 golden cases failed"]);
    let shown = "\
FAILED  first: run straight
  accumulators (first/accumulators.jsonl):
      accumulator  total
    - sum          13
    + sum          12
                   ^^
  1 row as expected; 1 differs (^), 0 are missing (-), 0 are not expected (+)
  the same with a restart in the middle
  the same with 5 partitions
  the same with a fresh instance for each call
1 case: 0 ok, 1 failed
";
    assert_eq!(failed.out, shown);
    // One that is named must be the same in every way.
    fs::write(&totals, "{\"name\":\"partitions\",\"value\":3}\n").expect("a folder of ours");
    let failed = test(&job, &["--bless"]).expect_code(1);
    assert!(failed.out.contains("nothing was written\n  accumulators (not what it gives"), "{}", failed.out);
    fs::write(&totals, "{\"name\":\"sums\",\"value\":1}\n").expect("a folder of ours");
    let says = "first/accumulators.jsonl: line 1: the job has no accumulator `sums`; did you mean `sum`?";
    test(&job, &[]).expect_code(2).expect_err(&["error[MP0113]: ", says]);
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
