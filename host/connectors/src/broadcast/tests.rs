//! Values in the job file, and files that are replaced, broken, too large and gone.

use std::sync::Arc;

use arrow::array::{AsArray, Float64Array, StringArray};
use arrow::datatypes::{DataType, Field, Float64Type, Schema};
use proptest::prelude::*;
use serde_json::{Value, json};
use tempfile::TempDir;

use super::*;

fn schema() -> SchemaRef {
    Arc::new(Schema::new(vec![
        Field::new("currency", DataType::Utf8, false),
        Field::new("rate", DataType::Float64, false),
    ]))
}

fn open_in(
    dir: &TempDir,
    schema: SchemaRef,
    table: Value,
    bytes_max: u64,
) -> Result<Box<dyn BroadcastSource>, BoxError> {
    let open = OpenBroadcast { name: "rates".to_owned(), job_dir: dir.path().to_owned(), schema, bytes_max };
    BroadcastSpec::parse(table).expect("good options").open(open)
}

fn rows(rows: &[(&str, f64)]) -> RecordBatch {
    let (names, rates): (Vec<_>, Vec<_>) = rows.iter().copied().unzip();
    RecordBatch::try_new(schema(), vec![Arc::new(StringArray::from(names)), Arc::new(Float64Array::from(rates))])
        .unwrap()
}

fn inline(table: Value) -> Result<RecordBatch, String> {
    let dir = tempfile::tempdir().unwrap();
    let mut source = open_in(&dir, schema(), table, 1 << 20).map_err(|error| {
        assert_eq!(error.code().0, "MP0508");
        error.full_message()
    })?;
    let value = source.poll().unwrap().rows;
    assert!(source.poll().unwrap().rows.is_none(), "given once");
    Ok(value.expect("a first value"))
}

#[test]
fn rows_in_the_job_file_are_a_value() {
    let expected = rows(&[("EUR", 1.0), ("USD", 0.9)]);
    assert_eq!(inline(json!({ "rows": [["EUR", 1.0], { "rate": 0.9, "currency": "USD" }] })).unwrap(), expected);
    assert_eq!(inline(json!({ "entries": { "EUR": 1.0, "USD": 0.9 } })).unwrap(), expected);
    assert_eq!(inline(json!({ "rows": [] })).unwrap().num_rows(), 0);
    let dir = tempfile::tempdir().unwrap();
    let words = Arc::new(Schema::new(vec![Field::new("value", DataType::Utf8, false)]));
    let mut source = open_in(&dir, words, json!({ "rows": ["a", "b"] }), 1 << 20).unwrap();
    assert_eq!(source.poll().unwrap().rows.unwrap().num_rows(), 2);
}

#[test]
fn rows_that_do_not_fit_are_named() {
    let message = inline(json!({ "rows": [["EUR", 1.0], ["USD"]] })).unwrap_err();
    assert!(message.contains("row 2 has 1 values, and the plan wants 2: currency, rate"), "{message}");
    let message = inline(json!({ "rows": [["EUR", 1.0], ["USD", "much"]] })).unwrap_err();
    assert!(message.contains("broadcast `rates`: row 2:"), "{message}");
}

#[test]
fn options_go_together() {
    let wrong = |table: Value| BroadcastSpec::parse(table).unwrap_err().to_string();
    assert!(wrong(json!({})).contains("exactly one of"));
    assert!(wrong(json!({ "path": "a", "rows": [] })).contains("exactly one of"));
    assert!(wrong(json!({ "rows": 3 })).starts_with("`rows`: is not a list"));
    assert!(wrong(json!({ "entries": [] })).starts_with("`entries`: is not a table"));
    assert!(wrong(json!({ "rows": [], "format": "csv" })).contains("goes with `path` only"));
    assert!(wrong(json!({ "path": "a", "header": false })).contains("only for format = \"csv\""));
    assert!(wrong(json!({ "path": "" })).contains("the path is empty"));
}

/// A job's folder with one file, and a value of it.
struct World {
    dir: TempDir,
    source: Box<dyn BroadcastSource>,
}

const CSV: &str = "currency,rate\n";

impl World {
    fn new(content: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("rates.csv"), content).unwrap();
        let source = open_in(&dir, schema(), json!({ "path": "rates.csv", "format": "csv" }), 1000).unwrap();
        Self { dir, source }
    }

    /// Replaces the file as one should: whole.
    fn replace(&self, content: &str) {
        fs::write(self.dir.path().join("new"), content).unwrap();
        fs::rename(self.dir.path().join("new"), self.dir.path().join("rates.csv")).unwrap();
    }

    fn poll(&mut self) -> (Option<RecordBatch>, Vec<String>) {
        let poll = self.source.poll().unwrap();
        (poll.rows, poll.notes)
    }
}

#[test]
fn a_file_is_read_again_when_it_has_changed() {
    let mut world = World::new(&format!("{CSV}EUR,1.0\n"));
    assert_eq!(world.poll(), (Some(rows(&[("EUR", 1.0)])), vec![]));
    assert_eq!(world.poll(), (None, vec![]));
    world.replace(&format!("{CSV}EUR,1.0\nUSD,0.9\n"));
    assert_eq!(world.poll(), (Some(rows(&[("EUR", 1.0), ("USD", 0.9)])), vec![]));
    world.replace(&format!("{CSV}EUR,1.0\nUSD,0.9\n\n"));
    assert_eq!(world.poll(), (None, vec![]), "another file with the same rows is no other value");
}

#[test]
fn a_broken_or_missing_file_is_told_once_and_the_value_before_it_stays() {
    let mut world = World::new(&format!("{CSV}EUR,1.0\n"));
    world.poll();
    let told = |world: &mut World, part: &str| {
        let (value, notes) = world.poll();
        assert!(value.is_none() && notes.len() == 1, "{notes:?}");
        assert!(notes[0].contains(part) && notes[0].ends_with("the value before it stays"), "{notes:?}");
        assert_eq!(world.poll(), (None, vec![]), "once");
    };
    world.replace(&format!("{CSV}EUR,1.0\nUSD,zer"));
    told(&mut world, "rates.csv line 3: ");
    world.replace(&format!("{CSV}{}", "EUR,1.0\n".repeat(100)));
    told(&mut world, "a value may have 1000: make it smaller, or raise `limits.broadcast`");
    world.replace(&format!("{CSV}{}", "EUR,1.0\n".repeat(10_000)));
    told(&mut world, "raise `limits.broadcast`");
    fs::remove_file(world.dir.path().join("rates.csv")).unwrap();
    told(&mut world, "cannot read ");
    fs::create_dir(world.dir.path().join("rates.csv")).unwrap();
    told(&mut world, "is no regular file");
    fs::remove_dir(world.dir.path().join("rates.csv")).unwrap();
    world.replace(&format!("{CSV}EUR,2.0\n"));
    assert_eq!(world.poll(), (Some(rows(&[("EUR", 2.0)])), vec![]));
}

#[test]
fn a_value_that_is_missing_or_broken_at_the_start_is_an_error() {
    let dir = tempfile::tempdir().unwrap();
    let message = |table: Value| {
        let error = open_in(&dir, schema(), table, 1000).err().expect("refused");
        assert_eq!(error.code().0, "MP0508");
        error.full_message()
    };
    let missing = message(json!({ "path": "rates.csv", "format": "csv" }));
    assert!(missing.starts_with("broadcast `rates`: cannot read ") && missing.contains("rates.csv"), "{missing}");
    fs::write(dir.path().join("rates.csv"), "currency\nEUR\n").unwrap();
    let broken = message(json!({ "path": "rates.csv", "format": "csv" }));
    assert!(broken.contains("no column `rate`"), "{broken}");
    let text = message(json!({ "path": "rates.csv" }));
    assert!(text.contains("format \"text\" gives one utf8 column"), "{text}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn polls_give_the_newest_good_version(steps in proptest::collection::vec((0u8..4, 0u8..5), 1..12)) {
        let mut world = World::new(&format!("{CSV}EUR,0\n"));
        let mut value = 0.0;
        let mut told = None;
        for (what, rate) in steps {
            match what {
                0 => world.replace(&format!("{CSV}EUR,x{rate}\n")),
                1 => { fs::remove_file(world.dir.path().join("rates.csv")).ok(); }
                2 => {}
                _ => {
                    world.replace(&format!("{CSV}EUR,{rate}\n"));
                    value = f64::from(rate);
                }
            }
            let (found, _) = world.poll();
            let found = found.map(|rows| rows.column(1).as_primitive::<Float64Type>().value(0));
            prop_assert_eq!(found, (told != Some(value)).then_some(value));
            told = Some(value);
        }
    }
}
