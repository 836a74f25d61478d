//! Rows with a column of every type, nullable and not: from CSV and JSON files through a plugin into CSV and JSON files, and what
//! comes out is what went in.

use std::fs;

use millpond_tests::{Job, component};
use serde_json::{Value, json};

const JOB: &str = r#"
[job]
name = "readings"
component = "COMPONENT"
trigger = "available-now"
parallelism = 1

[sources.readings]
type = "files"
path = "in/*"
format = "json"

[sinks.json]
type = "file"
path = "out"
format = "jsonl"
batch-time = false

[sinks.csv]
type = "file"
path = "csv"
format = "csv"
batch-time = false
"#;

const HEADER: &str = "sensor,count,value,ok,at,raw,note,retries,level,flag,until,blob";

/// Ordinary rows, rows at the ends of the types, and one without any optional value.
fn rows() -> Vec<Value> {
    vec![
        json!({
            "sensor": "probe-1", "count": -7, "value": 1.5, "ok": true, "at": "2023-11-14T22:13:20Z", "raw": "00ff7f",
            "note": "with \"quotes\", commas\nand a line end", "retries": 3, "level": -0.25, "flag": false,
            "until": "2023-11-14T22:13:20.000001Z", "blob": "cafe",
        }),
        json!({
            "sensor": "", "count": i64::MAX, "value": 1e300, "ok": false, "at": "1969-12-31T23:59:59.999Z", "raw": "",
            "note": null, "retries": null, "level": null, "flag": null, "until": null, "blob": null,
        }),
        json!({
            "sensor": "Grüße, 水车 \u{1f30a}", "count": i64::MIN, "value": "NaN", "ok": true, "at": "0001-01-01T00:00:00Z",
            "raw": "ff", "note": "", "retries": 0, "level": "-Infinity", "flag": true, "until": "9999-12-31T23:59:59.999999Z",
            "blob": "",
        }),
        json!({
            "sensor": " spaces ", "count": 0, "value": 5e-324, "ok": false, "at": "1970-01-01T00:00:00Z", "raw": "00",
            "note": "null", "retries": -1, "level": 0.1, "flag": false, "until": null, "blob": "00",
        }),
    ]
}

fn job() -> Job {
    Job::new(&component("tests/guests-sdk/readings"), JOB)
}

fn json_lines(rows: &[Value]) -> String {
    rows.iter().map(|row| format!("{row}\n")).collect()
}

/// What the JSON sink has written.
fn found(job: &Job) -> Vec<Value> {
    job.rows().into_values().flatten().collect()
}

/// What the CSV sink has written: one file.
fn csv(job: &Job) -> String {
    let files = job.outputs_in("csv");
    assert_eq!(files.len(), 1, "{files:?}");
    fs::read_to_string(job.path("csv").join(&files[0])).expect("readable")
}

const FROM_CSV: [&str; 2] = ["sources.readings.format=csv", "sources.readings.multiline=true"];

#[test]
fn every_type_goes_from_json_to_json_and_csv_and_from_there_back() {
    let from_json = job();
    from_json.input("a.jsonl", json_lines(&rows()));
    from_json.run(&[]).expect_code(0);
    assert_eq!(found(&from_json), rows());
    let written = csv(&from_json);
    assert_eq!(written.lines().next(), Some(HEADER));

    let from_csv = FROM_CSV.iter().fold(job(), |job, setting| job.set(setting));
    from_csv.input("a.csv", &written);
    from_csv.run(&[]).expect_code(0);
    assert_eq!(found(&from_csv), rows());
    assert_eq!(csv(&from_csv), written);
}

#[test]
fn json_may_leave_out_and_reorder_fields_and_add_others() {
    let job = job();
    job.input(
        "a.jsonl",
        r#"{"raw":"","at":1700000000000000,"ok":true,"extra":{"a":[1]},"value":2,"count":1,"sensor":"s"}"#,
    );
    job.run(&[]).expect_code(0);
    let found = found(&job);
    assert_eq!(found.len(), 1);
    assert_eq!((&found[0]["value"], &found[0]["at"]), (&json!(2.0), &json!("2023-11-14T22:13:20Z")));
    assert!(["note", "retries", "level", "flag", "until", "blob"].iter().all(|name| found[0][name].is_null()));
}

#[test]
fn csv_columns_are_found_by_name() {
    let job = job().set("sources.readings.format=csv").set("sources.readings.delimiter=';'");
    job.input(
        "a.csv",
        "raw;at;ok;extra;value;count;sensor;note;retries;level;flag;until;blob\n\"\";0;true;x;1;2;s;;;;;;\n",
    );
    job.run(&[]).expect_code(0);
    let found = found(&job);
    assert_eq!((&found[0]["sensor"], &found[0]["count"], &found[0]["note"]), (&json!("s"), &json!(2), &Value::Null));
}

/// Runs with on-bad-record = fail, which must fail at the place, then with skip, which must tell of it and give the good rows.
#[track_caller]
fn bad(job: &Job, place: &str, reason: &str, good: &[&str]) {
    let fail = ["--set", "sources.readings.on-bad-record=fail"];
    job.run(&fail).expect_code(1).expect_err(&["error[MP0504]: ", "source `readings`", place, reason]);
    assert!(job.outputs().is_empty() && job.outputs_in("csv").is_empty(), "nothing of the batch is to be seen");
    job.run(&[]).expect_code(0).expect_err(&[place, reason, "bad records  1"]);
    let sensors: Vec<Value> = found(job).iter().map(|row| row["sensor"].clone()).collect();
    assert_eq!(sensors, good);
}

/// Good rows of CSV, for the bad one to stand among.
const GOOD: &str = "a,1,1,true,0,00,,,,,,\n";
const MORE: &str = "b,1,1,true,0,00,,,,,,\n";

#[test]
fn half_written_csv_row_is_left_out() {
    for (row, reason) in [
        ("c,1,2.5", "the row has 3 fields, expected 12"),
        ("\"c,1,1,true", "a quote is opened and not closed (a half-written row"),
        ("c,one,1,true,0,00,,,,,,", "`one`"),
        ("c,1,1,true,yesterday,00,,,,,,", "`yesterday`"),
        ("c,,1,true,0,00,,,,,,", "count"),
    ] {
        let job = job().set("sources.readings.format=csv");
        job.input("a.csv", format!("{HEADER}\n{GOOD}{row}\n{MORE}"));
        bad(&job, "in/a.csv line 3", reason, &["a", "b"]);
    }
    // The file ends within the row.
    let job = job().set("sources.readings.format=csv");
    job.input("a.csv", format!("{HEADER}\n{GOOD}{MORE}c,1,2"));
    bad(&job, "in/a.csv line 4", "the row has 3 fields, expected 12", &["a", "b"]);
}

#[test]
fn bad_json_line_is_left_out() {
    let good = |sensor: &str| json!({ "sensor": sensor, "count": 1, "value": 1, "ok": true, "at": 0, "raw": "" });
    for (line, reason) in [
        (r#"{"sensor": "c", "count"#, "not a JSON object"),
        ("[1, 2]", "a JSON object, one per line"),
        (r#"{"sensor":"c","count":"7","value":1,"ok":true,"at":0,"raw":""}"#, "the text `7`"),
        (r#"{"sensor":"c","count":7.5,"value":1,"ok":true,"at":0,"raw":""}"#, "count"),
        (r#"{"sensor":"c","count":7,"value":1,"ok":null,"at":0,"raw":""}"#, "ok"),
        (r#"{"count":7,"value":1,"ok":true,"at":0,"raw":""}"#, "sensor"),
    ] {
        let job = job();
        job.input("a.jsonl", format!("{}\n{line}\n{}\n", good("a"), good("b")));
        bad(&job, "in/a.jsonl line 2", reason, &["a", "b"]);
    }
}

#[test]
fn csv_file_without_a_column_is_named_with_its_header() {
    let job = job().set("sources.readings.format=csv");
    job.input("a.csv", "sensor,count\na,1\n");
    job.run(&[]).expect_code(1).expect_err(&["error[MP0506]: ", "in/a.csv", "no column `value`", "sensor, count"]);
    assert_eq!(job.outputs(), [""; 0]);
}

#[test]
fn format_that_cannot_give_the_columns_is_refused() {
    let job = job().set("sources.readings.format=text");
    job.input("a.txt", "a\n");
    job.run(&[]).expect_code(2).expect_err(&["error[MP0506]: ", "source `readings`", "sensor: utf8, count: int64"]);
    assert!(job.is_untouched());
}
