//! The console sink: the contract, and what its tables look like.

use std::io;
use std::sync::{Arc, Mutex};

use arrow::array::{Float64Array, Int64Array, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field, Schema};
use millpond_core::StopSignal;
use millpond_testkit::contract::sink::{SinkFixture, all};
use millpond_testkit::rows::{pair_schema, pairs};
use serde_json::json;

use super::*;
use crate::SinkSpec;

/// A terminal that remembers each write.
#[derive(Clone, Default)]
struct Screen(Arc<Mutex<Vec<String>>>);

impl Write for Screen {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().push(String::from_utf8(bytes.to_vec()).unwrap());
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn open(options: serde_json::Value, color: bool, out: impl Write + Send + 'static) -> Box<dyn Sink> {
    let open = OpenSink {
        name: "counts".into(),
        job: "job".into(),
        job_dir: ".".into(),
        schema: pair_schema("key", "value"),
        color,
        out: Box::new(out),
        stop: StopSignal::new(),
    };
    SinkSpec::parse("console", options).unwrap().open(open).unwrap()
}

fn sink_batch(rows: Vec<RecordBatch>) -> SinkBatch {
    let schema = rows.first().map_or_else(|| pair_schema("key", "value"), RecordBatch::schema);
    SinkBatch { batch_time: BatchTime(1_700_000_000_500), schema, partitions: millpond_core::batch::partitions(rows) }
}

fn print(options: serde_json::Value, color: bool, rows: Vec<RecordBatch>) -> String {
    let screen = Screen::default();
    let mut sink = open(options, color, screen.clone());
    let token = sink.prepare(&sink_batch(rows)).unwrap();
    assert!(token.data.is_empty());
    sink.commit(&token).unwrap();
    let writes = screen.0.lock().unwrap();
    assert!(writes.len() <= 1, "one write a batch");
    writes.concat()
}

struct Terminal(Screen);

impl SinkFixture for Terminal {
    fn open(&mut self) -> Box<dyn Sink> {
        open(json!({}), false, self.0.clone())
    }

    fn is_durable(&self) -> bool {
        false
    }

    fn visible(&mut self) -> Vec<String> {
        let text = self.0.0.lock().unwrap().concat();
        let cell = |line: &str| line.strip_prefix("│ ").and_then(|rest| rest.split(' ').next()).map(str::to_owned);
        let mut keys: Vec<String> = text.lines().filter_map(cell).filter(|key| key != "key").collect();
        keys.sort();
        keys
    }
}

#[test]
fn the_console_sink_keeps_the_contract() {
    all(|| Terminal(Screen::default()));
}

#[test]
fn a_table_is_aligned_and_numbers_stand_right() {
    let text = print(json!({}), false, vec![pairs(&[("hello", 2)]), pairs(&[("größe", 100_000)])]);
    assert_eq!(
        text,
        "Batch 2023-11-14T22:13:20.500Z\n\
         ┌───────┬────────┐\n\
         │ key   │  value │\n\
         ├───────┼────────┤\n\
         │ hello │      2 │\n\
         │ größe │ 100000 │\n\
         └───────┴────────┘\n\n"
    );
}

#[test]
fn rows_over_the_limit_are_counted() {
    let rows: Vec<_> = (0..25).map(|n| (format!("k{n:02}"), n)).collect();
    let text = print(json!({}), false, vec![pairs(&rows[..22]), pairs(&rows[22..])]);
    assert!(text.contains("k19") && !text.contains("k20"), "{text}");
    assert!(text.ends_with("┘\n... and 5 more rows\n\n"), "{text}");
    let all = print(json!({ "rows": 0 }), false, vec![pairs(&rows)]);
    assert!(all.contains("k24") && !all.contains("more row"), "{all}");
}

#[test]
fn empty_batches_print_in_complete_mode_only() {
    assert_eq!(print(json!({}), false, vec![]), "");
    assert_eq!(print(json!({ "mode": "update" }), false, vec![pairs::<&str>(&[])]), "");
    let complete = print(json!({ "mode": "complete" }), false, vec![]);
    assert!(complete.contains("│ key │ value │"), "{complete}");
    assert_eq!(SinkSpec::parse("console", json!({ "mode": "complete" })).unwrap().mode(), OutputMode::Complete);
}

#[test]
fn an_idle_job_prints_the_same_table_under_each_batchs_own_title() {
    let screen = Screen::default();
    let mut sink = open(json!({ "mode": "complete" }), false, screen.clone());
    for (second, rows) in [(20, vec![]), (21, vec![("a", 1)]), (22, vec![]), (23, vec![])] {
        let batch_time = BatchTime(1_700_000_000_000 + (second - 20) * 1000);
        let batch = SinkBatch { batch_time, ..sink_batch(vec![pairs(&rows)]) };
        let token = sink.prepare(&batch).unwrap();
        sink.commit(&token).unwrap();
    }
    let writes = screen.0.lock().unwrap().clone();
    let empty = "┌─────┬───────┐\n│ key │ value │\n├─────┼───────┤\n└─────┴───────┘\n\n";
    for (index, text) in writes.iter().enumerate() {
        let title = format!("Batch 2023-11-14T22:13:{}.000Z\n", 20 + index);
        let table = text.strip_prefix(&title).unwrap_or_else(|| panic!("{title} stands above {text}"));
        assert_eq!(table == empty, index != 1, "{text}");
    }
    assert!(writes.len() == 4 && writes[1].contains("│ a   │     1 │"), "{}", writes[1]);
}

#[test]
fn data_cannot_steer_the_terminal_and_long_cells_are_cut() {
    let text = print(
        json!({ "truncate": 8 }),
        false,
        vec![pairs(&[("a\u{1b}[2Jb\ncd", 1), ("123456789", 2), ("12345678", 3)])],
    );
    assert!(!text.contains('\u{1b}') && text.contains("a\\u{1b}[2Jb\\n…"), "{text}");
    assert!(text.contains("│ 1234567… "), "{text}");
    assert!(text.contains("│ 12345678 "), "{text}");
}

#[test]
fn only_the_title_is_bold_and_only_on_a_terminal() {
    let text = print(json!({}), true, vec![pairs(&[("a", 1)])]);
    assert!(text.starts_with("\u{1b}[1mBatch 2023-11-14T22:13:20.500Z\u{1b}[0m\n"), "{text}");
    assert_eq!(text.matches('\u{1b}').count(), 2);
}

#[test]
fn nulls_and_floats_are_readable() {
    let schema = Schema::new(vec![
        Field::new("mean", DataType::Float64, true),
        Field::new("n", DataType::Int64, true),
        Field::new("t", DataType::Utf8, true),
    ]);
    let batch = RecordBatch::try_new(
        Arc::new(schema),
        vec![
            Arc::new(Float64Array::from(vec![Some(0.5), None])),
            Arc::new(Int64Array::from(vec![None, Some(-1)])),
            Arc::new(StringArray::from(vec![None, Some("x")])),
        ],
    )
    .unwrap();
    let text = print(json!({}), false, vec![batch]);
    assert!(text.contains("│  0.5 │ null │ null │\n│ null │   -1 │ x    │"), "{text}");
}

#[test]
fn a_closed_pipe_is_an_error() {
    struct Closed;
    impl Write for Closed {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(io::ErrorKind::BrokenPipe.into())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let mut sink = open(json!({}), false, Closed);
    let token = sink.prepare(&sink_batch(vec![pairs(&[("a", 1)])])).unwrap();
    let error = sink.commit(&token).unwrap_err();
    assert_eq!(error.code().0, "MP0601");
    assert!(error.to_string().contains("sink `counts`"), "{error}");
}
