//! Job files: what is read, and what each mistake is told.

use std::path::Path;

use millpond_engine::{OnBadRecord, Trigger};

use super::*;
use crate::render::render;

const WORDCOUNT: &str = r#"[job]
name = "wordcount"
batch-interval = "1s"
trigger = "available-now"
parallelism = 3
on-bad-record = "fail"

[sources.lines]
type = "files"
path = "data/*.txt"

[sinks.counts]
type = "console"
mode = "complete"

[params]
top = 10
ratio = 0.5
greeting = "hello"
loud = true

[limits]
memory = "64MiB"
output = 1000000

[checkpoint]
every-batches = 4
dir = "state"
"#;

fn read(text: &str, sets: &[&str]) -> Result<JobFile, Error> {
    let sets: Vec<_> = sets.iter().map(|set| (*set).to_owned()).collect();
    JobFile::from_text(Path::new("millpond.toml"), "/jobs/wordcount".into(), text, &sets)
}

/// The error of a text, as it is printed, without the line that names the page.
fn error(text: &str, sets: &[&str]) -> String {
    let error = read(text, sets).expect_err("the job file must be refused");
    let text = render(&error.into(), false);
    text.rsplit_once("\nrun `millpond explain").expect("the page is named").0.to_owned()
}

#[test]
fn every_section_is_read() {
    let file = read(WORDCOUNT, &[]).unwrap();
    assert_eq!((file.job.name.as_str(), file.job.batch_interval_ms), ("wordcount", 1000));
    assert_eq!((file.job.trigger, file.job.parallelism), (Trigger::AvailableNow, 3));
    assert_eq!(file.job.on_bad_record, OnBadRecord::Fail);
    assert_eq!(file.sources["lines"].files.as_ref().unwrap().path, "data/*.txt");
    assert!(file.sinks["counts"].files.is_none());
    let params: Vec<_> = file.params.iter().map(|(name, value)| format!("{name}={value}")).collect();
    assert_eq!(params, ["greeting=hello", "loud=true", "ratio=0.5", "top=10"]);
    assert_eq!((file.limits.memory_bytes, file.limits.output_bytes), (64 << 20, 1_000_000));
    assert_eq!(file.checkpoint.every_batches, 4);
    assert_eq!(file.state_dir(), Path::new("/jobs/wordcount/state"));
}

#[test]
fn an_empty_file_is_all_defaults() {
    let file = read("", &[]).unwrap();
    assert_eq!((file.job.name.as_str(), file.job.batch_interval_ms), ("wordcount", 500));
    assert_eq!((file.job.trigger, file.job.on_bad_record), (Trigger::Continuous, OnBadRecord::Skip));
    assert_eq!(file.job.parallelism, cores());
    assert_eq!(file.limits, Limits::default());
    assert_eq!((file.checkpoint.every_batches, file.checkpoint.fold_every_ms), (1, 10_000));
    assert_eq!(file.state_dir(), Path::new("/jobs/wordcount/.millpond/state/wordcount"));
}

#[test]
fn a_job_without_a_name_is_called_as_its_folder() {
    let name = |dir: &str| JobFile::from_text(Path::new("m.toml"), dir.into(), "", &[]).unwrap().job.name;
    assert_eq!(["/jobs/word-count", "/jobs/.my job", "/", "/jobs/é"].map(name), ["word-count", "my-job", "job", "job"]);
}

#[test]
fn set_changes_any_key() {
    let sets = [
        "job.trigger=continuous",
        "params.top=0",
        "sources.lines.path=/data/*.txt",
        "sinks.counts.type=file",
        "sinks.counts.path=out",
        "sinks.counts.format=jsonl",
        "checkpoint.fold-every=1m",
    ];
    let file = read(WORDCOUNT, &sets).unwrap();
    assert_eq!(file.job.trigger, Trigger::Continuous);
    assert!(file.params.contains(&("top".to_owned(), "0".to_owned())));
    assert_eq!(file.checkpoint.fold_every_ms, 60_000);
    assert!(format!("{:?}", file.sources["lines"].spec).contains("/data/*.txt"));
    assert!(format!("{:?}", file.sinks["counts"].spec).contains("out"));
}

#[test]
fn transforms_have_a_component_and_params() {
    let file = read("[transforms.clean]\ncomponent = \"clean.wasm\"\nparams = { lower = true }\n", &[]).unwrap();
    let transform = &file.transforms["clean"].spec;
    assert_eq!(transform.component, Path::new("/jobs/wordcount/clean.wasm"));
    assert_eq!(transform.params, [("lower".to_owned(), "true".to_owned())]);
    insta::assert_snapshot!(error("[transforms.clean]\nparams = {}", &[]), @r"
    error[MP0104]: millpond.toml:1: transforms.clean.component: is missing
    help: add `component = ...` to [transforms.clean]
    help: allowed: text: the path of a component of world `transform`
    ");
}

#[test]
fn text_that_is_not_toml_is_told_with_its_line() {
    insta::assert_snapshot!(error("[job]\nname = wordcount\n", &[]), @"error[MP0102]: millpond.toml:2: not valid TOML (column 8): string values must be quoted, expected literal string");
    insta::assert_snapshot!(error("[job]\nname = \"a\"\nname = \"b\"\n", &[]), @"error[MP0102]: millpond.toml:3: not valid TOML (column 1): duplicate key");
    insta::assert_snapshot!(error("[job]\nparallelism = 99999999999999999999\n", &[]), @"error[MP0102]: millpond.toml:2: not valid TOML: the number 99999999999999999999 does not fit 64 bits");
}

#[test]
fn an_unknown_key_gets_a_suggestion_and_the_known_ones() {
    insta::assert_snapshot!(error("[sources.lines]\ntype = \"socket\"\nhost = \"h\"\nprt = 5\n", &[]).lines().next().unwrap(), @"error[MP0103]: millpond.toml:4: sources.lines.prt: unknown key; did you mean `port`?");
    insta::assert_snapshot!(error("[job]\ntriger = \"continuous\"\n", &[]), @r"
    error[MP0103]: millpond.toml:2: job.triger: unknown key; did you mean `trigger`?
    help: [job] has name, batch-interval, trigger, parallelism, on-bad-record, component
    ");
    insta::assert_snapshot!(error("[sink.counts]\ntype = \"console\"\n", &[]), @r"
    error[MP0103]: millpond.toml:1: sink: unknown key; did you mean `sinks`?
    help: the sections of a job file are job, sources, sinks, transforms, broadcasts, params, limits, checkpoint
    ");
    insta::assert_snapshot!(error("[sinks.counts]\ntype = \"console\"\ncolour = 1\n", &[]), @r"
    error[MP0103]: millpond.toml:3: sinks.counts.colour: unknown key
    help: a sink of type `console` has type, mode, rows, truncate
    ");
    insta::assert_snapshot!(error("[limits]\nmem = \"1MiB\"\n", &[]).lines().next().unwrap(), @"error[MP0103]: millpond.toml:2: limits.mem: unknown key; did you mean `memory`?");
    insta::assert_snapshot!(error("[checkpoint]\nevery = 1\n", &[]).lines().next().unwrap(), @"error[MP0103]: millpond.toml:2: checkpoint.every: unknown key; did you mean `every-batches`?");
}

#[test]
fn a_wrong_value_says_what_is_allowed() {
    insta::assert_snapshot!(error("[job]\nbatch-interval = \"0ms\"\n", &[]), @r#"
    error[MP0104]: millpond.toml:2: job.batch-interval: `0ms` is out of range
    help: allowed: text such as "500ms", "10s" or "2m", from 1 ms to 1 day
    "#);
    insta::assert_snapshot!(error("[job]\nbatch-interval = 500\n", &[]), @r#"
    error[MP0104]: millpond.toml:2: job.batch-interval: expected text, found a whole number
    help: allowed: text such as "500ms", "10s" or "2m", from 1 ms to 1 day
    "#);
    insta::assert_snapshot!(error("[job]\ntrigger = \"continous\"\n", &[]), @r#"
    error[MP0104]: millpond.toml:2: job.trigger: unknown value `continous`; did you mean `continuous`?
    help: allowed: "continuous" or "available-now"
    "#);
    insta::assert_snapshot!(error("[job]\nparallelism = 0\n", &[]), @r"
    error[MP0104]: millpond.toml:2: job.parallelism: 0 is out of range
    help: allowed: a whole number from 1 to 1024
    ");
    insta::assert_snapshot!(error("[job]\nname = \"../up\"\n", &[]), @r"
    error[MP0104]: millpond.toml:2: job.name: `../up` cannot be a job's name
    help: allowed: text of 1 to 64 letters, digits, `-`, `_` and `.`, the first a letter or a digit
    ");
    insta::assert_snapshot!(error("[params]\nlist = [1]\n", &[]), @r"
    error[MP0104]: millpond.toml:2: params.list: a list cannot be a parameter
    help: allowed: text, a finite number, true or false
    ");
    insta::assert_snapshot!(error("[params]\nhuge = inf\n", &[]).lines().next().unwrap(), @"error[MP0104]: millpond.toml:2: params.huge: a number cannot be a parameter");
    insta::assert_snapshot!(error("job = 5\n", &[]), @r"
    error[MP0104]: millpond.toml:1: job: expected a table, found a whole number
    help: allowed: a table [job]
    ");
}

#[test]
fn a_connector_needs_a_type_that_exists() {
    insta::assert_snapshot!(error("[sources.lines]\npath = \"x\"\n", &[]), @r#"
    error[MP0104]: millpond.toml:1: sources.lines.type: is missing
    help: add `type = ...` to [sources.lines]
    help: allowed: "files" or "socket" or "stdin" or "rate"
    "#);
    insta::assert_snapshot!(error("[sources.lines]\ntype = \"file\"\n", &[]), @r#"
    error[MP0104]: millpond.toml:2: sources.lines.type: unknown value `file`; did you mean `files`?
    help: allowed: "files" or "socket" or "stdin" or "rate"
    "#);
}

#[test]
fn a_connectors_own_error_gets_its_place() {
    insta::assert_snapshot!(error("[job]\n\n[sources.lines]\ntype = \"files\"\n", &[]), @r"
    error[MP0104]: millpond.toml:3: sources.lines.path: is missing
    help: add `path = ...` to [sources.lines]
    ");
    for (line, key, help) in [
        ("path = 5", "path", "text"),
        ("format = \"xml\"", "format", "one of \"text\", \"csv\""),
        ("max-bytes-per-batch = \"5 apples\"", "max-bytes-per-batch", "a number and a unit, such as \"64MiB\""),
        ("max-files-per-batch = 0", "max-files-per-batch", "a whole number of at least 1"),
        ("path = \"\"", "path", "a file, a folder or a pattern"),
        ("format = \"jsn\"", "format", "one of \"text\", \"csv\""),
    ] {
        let path = if key == "path" { "" } else { "path = \"x\"\n" };
        let error = error(&format!("[sources.lines]\ntype = \"files\"\n{line}\n{path}"), &[]);
        assert!(error.starts_with(&format!("error[MP0104]: millpond.toml:3: sources.lines.{key}: ")), "{error}");
        assert!(error.contains(&format!("\nhelp: allowed: {help}")), "{error}");
    }
}

#[test]
fn a_range_is_told_in_whole_units() {
    insta::assert_snapshot!(error("[limits]\nmemory = 5\n", &[]), @r#"
    error[MP0104]: millpond.toml:2: limits.memory: 5 is out of range
    help: allowed: text such as "64KiB" or "256MiB", from 64 KiB to 4 GiB
    "#);
}

#[test]
fn a_mistake_after_set_points_at_the_option() {
    insta::assert_snapshot!(error(WORDCOUNT, &["job.triger=continuous"]), @r"
    error[MP0103]: --set job.triger=continuous: job.triger: unknown key; did you mean `trigger`?
    help: [job] has name, batch-interval, trigger, parallelism, on-bad-record, component
    ");
    insta::assert_snapshot!(error(WORDCOUNT, &["job.name=10"]), @r#"
    error[MP0104]: --set job.name=10: job.name: expected text, found a whole number
    help: allowed: text of 1 to 64 letters, digits, `-`, `_` and `.`, the first a letter or a digit
    help: a value after --set is read as TOML where it can be; quote it to make it text: key='"10"'
    "#);
    insta::assert_snapshot!(error(WORDCOUNT, &["sources.lines.type=sockets"]).lines().next().unwrap(), @"error[MP0104]: --set sources.lines.type=sockets: sources.lines.type: unknown value `sockets`; did you mean `socket`?");
    insta::assert_snapshot!(error(WORDCOUNT, &["job"]), @r"
    error[MP0110]: --set job: there is no `=`
    help: write --set key.path=value, for example --set job.trigger=continuous
    ");
}

#[test]
fn a_target_is_a_folder_or_a_job_file() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("millpond.toml");
    let code = |target: &Path| millpond_core::Classify::code(&resolve(target).unwrap_err()).0;
    assert_eq!(code(dir.path()), "MP0101");
    assert_eq!(code(&dir.path().join("nowhere")), "MP0101");
    std::fs::write(&path, "").unwrap();
    assert_eq!(resolve(dir.path()).unwrap(), path);
    assert_eq!(resolve(&path).unwrap(), path);
    let component = dir.path().join("wc.wasm");
    std::fs::write(&component, "").unwrap();
    let error = resolve(&component).unwrap_err();
    assert!(error.to_string().contains("this is a component, not a job"), "{error}");
    assert!(error.help()[0].contains("millpond inspect"), "{:?}", error.help());
}

#[test]
fn a_file_that_is_not_text_is_told_with_its_line() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("millpond.toml");
    std::fs::write(&path, b"[job]\nname = \"\xff\"\n").unwrap();
    let error = JobFile::load(&path, &[]).unwrap_err().to_string();
    assert!(error.ends_with("millpond.toml:2: not valid TOML: the file is not UTF-8 text"), "{error}");
}

#[test]
fn standard_streams_are_not_shared() {
    let check = |tables: &str| match read(tables, &[]).unwrap().check_streams() {
        Ok(()) => "ok".to_owned(),
        Err(error) => error.to_string(),
    };
    let source = |name: &str| format!("[sources.{name}]\ntype = \"stdin\"\n");
    let sink = |name: &str, kind: &str| format!("[sinks.{name}]\ntype = \"{kind}\"\n");
    assert_eq!(check(&(source("a") + &sink("a", "stdout"))), "ok");
    assert_eq!(check(&(sink("a", "console") + &sink("b", "console"))), "ok");
    let message = check(&(source("a") + &source("b")));
    assert!(message.starts_with("millpond.toml:3: sources.b: another source reads standard input"), "{message}");
    for other in ["console", "stdout"] {
        let message = check(&(sink("a", "stdout") + &sink("b", other)));
        assert!(message.starts_with("millpond.toml:3: sinks.b: another sink writes to standard output"), "{message}");
    }
}
