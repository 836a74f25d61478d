//! The files sink: the contract, names and contents of files, and what goes wrong.

use std::sync::Arc;

use arrow::array::{Int64Array, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field, Schema};
use millpond_core::BatchTime;
use millpond_testkit::contract::sink::{SinkFixture, all};
use millpond_testkit::rows::{pair_schema, pairs};
use serde_json::json;
use tempfile::TempDir;

use super::*;
use crate::SinkSpec;

const TIME: i64 = 1_700_000_000_000;

fn try_open(
    dir: &Path,
    mut options: serde_json::Value,
    name: &str,
    schema: SchemaRef,
) -> Result<Box<dyn Sink>, BoxError> {
    if options.get("path").is_none() {
        options["path"] = json!("out");
    }
    let open = OpenSink {
        name: name.into(),
        job: "word count".into(),
        job_dir: dir.into(),
        schema,
        color: false,
        out: Box::new(io::sink()),
        stop: millpond_core::StopSignal::new(),
    };
    SinkSpec::parse("files", options).unwrap().open(open)
}

fn open(dir: &TempDir, options: serde_json::Value) -> Box<dyn Sink> {
    let mut sink = try_open(dir.path(), options, "counts", pair_schema("word", "count")).unwrap();
    sink.recover(None).unwrap();
    sink
}

fn batch(partitions: Vec<RecordBatch>) -> SinkBatch {
    let schema = pair_schema("key", "value");
    SinkBatch { batch_time: BatchTime(TIME), schema, partitions: millpond_core::batch::partitions(partitions) }
}

/// All files of the output folder, hidden ones too: name and content.
fn files(dir: &TempDir) -> Vec<(String, String)> {
    let mut files: Vec<_> = fs::read_dir(dir.path().join("out"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .map(|path| (path.file_name().unwrap().to_str().unwrap().to_owned(), fs::read_to_string(path).unwrap()))
        .collect();
    files.sort();
    files
}

fn write(dir: &TempDir, options: serde_json::Value, partitions: Vec<RecordBatch>) {
    let mut sink = open(dir, options);
    let token = sink.prepare(&batch(partitions)).unwrap();
    sink.commit(&token).unwrap();
}

struct Folder(TempDir);

impl SinkFixture for Folder {
    fn open(&mut self) -> Box<dyn Sink> {
        try_open(self.0.path(), json!({}), "counts", pair_schema("key", "value")).unwrap()
    }

    fn is_durable(&self) -> bool {
        true
    }

    fn visible(&mut self) -> Vec<String> {
        let visible = files(&self.0).into_iter().filter(|(name, _)| !name.starts_with('.'));
        let lines: Vec<String> =
            visible.flat_map(|(_, text)| text.lines().map(str::to_owned).collect::<Vec<_>>()).collect();
        let key = |line: &String| {
            serde_json::from_str::<serde_json::Value>(line).unwrap()["key"].as_str().unwrap().to_owned()
        };
        let mut keys: Vec<_> = lines.iter().map(key).collect();
        keys.sort();
        keys
    }
}

#[test]
fn the_files_sink_keeps_the_contract() {
    all(|| Folder(tempfile::tempdir().unwrap()));
}

#[test]
fn each_partition_with_rows_makes_one_file() {
    let dir = tempfile::tempdir().unwrap();
    write(
        &dir,
        json!({ "format": "jsonl" }),
        vec![pairs(&[("hello", 2), ("a\"b", 1)]), pairs::<&str>(&[]), pairs(&[("c", 3)])],
    );
    assert_eq!(
        files(&dir),
        [
            (
                "1700000000000-part-00000.jsonl".to_owned(),
                "{\"key\":\"hello\",\"value\":2,\"batch_time\":1700000000000}\n{\"key\":\"a\\\"b\",\"value\":1,\"batch_time\":1700000000000}\n".to_owned()
            ),
            ("1700000000000-part-00002.jsonl".to_owned(), "{\"key\":\"c\",\"value\":3,\"batch_time\":1700000000000}\n".to_owned()),
        ]
    );
}

#[test]
fn the_batch_time_can_be_left_out() {
    let dir = tempfile::tempdir().unwrap();
    write(&dir, json!({ "batch-time": false }), vec![pairs(&[("a", 1)])]);
    assert_eq!(files(&dir)[0].1, "{\"key\":\"a\",\"value\":1}\n");
}

#[test]
fn csv_has_a_header_and_quotes_what_needs_it() {
    let dir = tempfile::tempdir().unwrap();
    write(&dir, json!({ "format": "csv", "delimiter": ";" }), vec![pairs(&[("a;b", 1), ("say \"hi\"", 2), ("", 3)])]);
    let (name, text) = &files(&dir)[0];
    assert_eq!(name, "1700000000000-part-00000.csv");
    assert_eq!(
        text,
        "key;value;batch_time\n\"a;b\";1;1700000000000\n\"say \"\"hi\"\"\";2;1700000000000\n\"\";3;1700000000000\n"
    );
}

#[test]
fn text_joins_columns_by_tabs() {
    let dir = tempfile::tempdir().unwrap();
    write(&dir, json!({ "format": "text" }), vec![pairs(&[("a", 1), ("b", -2)])]);
    assert_eq!(files(&dir), [("1700000000000-part-00000.txt".to_owned(), "a\t1\nb\t-2\n".to_owned())]);
    write(&dir, json!({ "format": "text", "batch-time": true }), vec![pairs(&[("a", 1)])]);
    assert_eq!(files(&dir)[0].1, "a\t1\t1700000000000\n");
}

#[test]
fn an_empty_complete_result_makes_an_empty_file_and_nothing_else_does() {
    let dir = tempfile::tempdir().unwrap();
    write(&dir, json!({ "mode": "append" }), vec![]);
    write(&dir, json!({ "mode": "update" }), vec![pairs::<&str>(&[])]);
    assert_eq!(files(&dir), []);
    write(&dir, json!({ "mode": "complete" }), vec![pairs::<&str>(&[])]);
    assert_eq!(files(&dir), [("1700000000000-part-00000.jsonl".to_owned(), String::new())]);
}

#[test]
fn recovery_removes_this_sinks_temporary_files_and_no_others() {
    let dir = tempfile::tempdir().unwrap();
    let mut sink = open(&dir, json!({}));
    sink.prepare(&batch(vec![pairs(&[("lost", 1)])])).unwrap();
    assert_eq!(files(&dir)[0].0, ".1700000000000-part-00000.jsonl.tmp-word%20count.counts");
    let others = [
        ".1700000000000-part-00000.jsonl.tmp-word%20count.other",
        ".1700000000000-part-00000.jsonl.tmp-x.word%20count.counts",
        ".hidden",
        "1700000000000-part-00000.jsonl.tmp-word%20count.counts",
        "notes.txt",
    ];
    for name in others {
        fs::write(dir.path().join("out").join(name), "x").unwrap();
    }
    open(&dir, json!({}));
    assert_eq!(files(&dir).into_iter().map(|(name, _)| name).collect::<Vec<_>>(), others);
}

#[test]
fn a_prepared_file_that_vanished_is_an_error() {
    let dir = tempfile::tempdir().unwrap();
    let mut sink = open(&dir, json!({}));
    let token = sink.prepare(&batch(vec![pairs(&[("a", 1)])])).unwrap();
    fs::remove_dir_all(dir.path().join("out")).unwrap();
    let error = sink.commit(&token).unwrap_err();
    assert_eq!(error.code().0, "MP0604");
    assert!(error.to_string().contains("1700000000000-part-00000.jsonl"), "{error}");
}

#[test]
fn output_that_a_consumer_took_away_does_not_keep_the_job_from_starting() {
    let dir = tempfile::tempdir().unwrap();
    let mut sink = open(&dir, json!({}));
    let token = sink.prepare(&batch(vec![pairs(&[("a", 1)])])).unwrap();
    sink.commit(&token).unwrap();
    fs::remove_dir_all(dir.path().join("out")).unwrap();
    sink.recover(Some(&token)).unwrap();
    assert_eq!(files(&dir), []);
}

#[test]
fn a_folder_that_is_a_file_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("out"), "x").unwrap();
    let error = try_open(dir.path(), json!({}), "counts", pair_schema("a", "b")).err().unwrap();
    assert_eq!(error.code().0, "MP0603");
    assert!(error.to_string().contains("sink `counts`") && error.to_string().contains("out"), "{error}");
}

#[test]
fn a_column_called_batch_time_is_refused_unless_the_sink_adds_none() {
    let dir = tempfile::tempdir().unwrap();
    let schema = pair_schema("word", "batch_time");
    let error = try_open(dir.path(), json!({}), "counts", Arc::clone(&schema)).err().unwrap();
    assert_eq!(error.code().0, "MP0603");
    assert!(error.to_string().contains("batch-time = false"), "{error}");
    assert!(try_open(dir.path(), json!({ "batch-time": false }), "counts", schema).is_ok());
}

#[test]
fn a_type_that_cannot_be_written_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let schema = Arc::new(Schema::new(vec![Field::new("x", DataType::LargeUtf8, false)]));
    let error = try_open(dir.path(), json!({}), "counts", schema).err().unwrap();
    assert_eq!(error.code().0, "MP0603");
}

#[cfg(target_os = "linux")]
#[test]
fn a_full_disk_is_told_apart_and_leaves_nothing_behind() {
    let dir = tempfile::tempdir().unwrap();
    let mut sink = open(&dir, json!({}));
    // A device that is always full, in place of the second file.
    let full = dir.path().join("out/.1700000000000-part-00001.jsonl.tmp-word%20count.counts");
    std::os::unix::fs::symlink("/dev/full", full).unwrap();
    let error = sink.prepare(&batch(vec![pairs(&[("a", 1)]), pairs(&[("b", 2)])])).unwrap_err();
    assert_eq!(error.code().0, "MP0602");
    assert!(error.to_string().contains("1700000000000-part-00001.jsonl"), "{error}");
    assert_eq!(files(&dir), [], "temporary files are removed");
}

#[test]
fn a_commit_that_cannot_rename_says_what_to_do() {
    let dir = tempfile::tempdir().unwrap();
    let mut sink = open(&dir, json!({}));
    let token = sink.prepare(&batch(vec![pairs(&[("a", 1)])])).unwrap();
    // A folder of that name cannot be replaced by a file.
    fs::create_dir(dir.path().join("out/1700000000000-part-00000.jsonl")).unwrap();
    let error = sink.commit(&token).unwrap_err();
    assert_eq!(error.code().0, "MP0604");
}

#[test]
fn a_token_cannot_reach_outside_the_folder() {
    let dir = tempfile::tempdir().unwrap();
    let mut sink = open(&dir, json!({}));
    let token = SinkToken { batch_time: BatchTime(1), data: br#"["../x"]"#.to_vec() };
    assert_eq!(sink.commit(&token).unwrap_err().code().0, "MP0901");
}

#[test]
fn fields_come_in_the_order_of_the_columns() {
    let dir = tempfile::tempdir().unwrap();
    let schema = pair_schema("b", "a");
    let rows = RecordBatch::try_new(
        Arc::clone(&schema),
        vec![Arc::new(StringArray::from(vec!["x"])), Arc::new(Int64Array::from(vec![1]))],
    )
    .unwrap();
    let mut sink = open(&dir, json!({}));
    let partitions = millpond_core::batch::partitions(vec![rows]);
    let token = sink.prepare(&SinkBatch { batch_time: BatchTime(5), schema, partitions }).unwrap();
    sink.commit(&token).unwrap();
    assert_eq!(files(&dir)[0].1, "{\"b\":\"x\",\"a\":1,\"batch_time\":5}\n");
}

#[test]
fn a_folder_that_cannot_be_made_is_refused_at_open() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("file"), "x").unwrap();
    for path in ["file", "file/x", "file/x/y"] {
        let error = try_open(dir.path(), json!({ "path": path }), "counts", pair_schema("a", "b")).err().unwrap();
        assert_eq!(error.code().0, "MP0603", "{path}");
        assert!(error.to_string().contains("file is a file"), "{error}");
    }
}

#[cfg(target_os = "linux")]
#[test]
fn a_place_where_no_files_can_be_made_is_refused_at_open() {
    let dir = tempfile::tempdir().unwrap();
    let error = try_open(dir.path(), json!({ "path": "/proc/nope" }), "counts", pair_schema("a", "b")).err().unwrap();
    assert_eq!(error.code().0, "MP0601");
    assert!(error.to_string().contains("/proc/nope"), "{error}");
    std::os::unix::fs::symlink("nowhere", dir.path().join("link")).unwrap();
    let error = try_open(dir.path(), json!({ "path": "link/x" }), "counts", pair_schema("a", "b")).err().unwrap();
    assert_eq!(error.code().0, "MP0603");
}

#[test]
fn opening_leaves_nothing_behind() {
    let dir = tempfile::tempdir().unwrap();
    try_open(dir.path(), json!({ "path": "a/b" }), "counts", pair_schema("a", "b")).unwrap();
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
}

#[test]
fn text_cells_are_escaped_where_columns_are_joined() {
    let dir = tempfile::tempdir().unwrap();
    write(&dir, json!({ "format": "text" }), vec![pairs(&[("a\tb\r\nc\\", 1), ("plain", 2)])]);
    assert_eq!(files(&dir)[0].1, "a\\tb\\r\\nc\\\\\t1\nplain\t2\n");
}
