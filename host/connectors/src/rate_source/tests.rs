//! The rate source: the same rows again, once each, at the clock's pace.

use arrow::array::{Array, AsArray};
use arrow::datatypes::{
    DataType, Field, Float64Type, Int64Type, Schema, SchemaRef, TimeUnit, TimestampMicrosecondType,
};
use millpond_core::BatchTime;
use millpond_core::schema::{TIMESTAMP, list_of, map_of};
use millpond_testkit::ManualClock;
use millpond_testkit::contract::receiver::{GeneratorFixture, generator};
use millpond_testkit::rows::{text_schema, to_texts};
use proptest::prelude::*;
use serde_json::{Value, json};
use tokio::runtime::Runtime;

use super::*;
use crate::SourceSpec;

fn open_with(options: Value, schema: SchemaRef, clock: &ManualClock) -> Result<Box<dyn Receiver>, BoxError> {
    let runtime = Runtime::new().unwrap();
    let open = OpenSource {
        name: "made-up".into(),
        job_dir: ".".into(),
        schema,
        runtime: runtime.handle().clone(),
        clock: Arc::new(clock.clone()),
        stdin: Box::new(std::io::empty()),
    };
    SourceSpec::parse("rate", options).unwrap().open(open)
}

fn open(options: Value) -> Box<dyn Receiver> {
    open_with(options, text_schema("line"), &ManualClock::new(0)).unwrap()
}

fn poll(receiver: &mut dyn Receiver, partitions: usize) -> Poll {
    receiver.poll(&PollRequest::new(BatchTime(1), partitions)).unwrap()
}

fn read(receiver: &dyn Receiver, poll: &Poll) -> Vec<RecordBatch> {
    poll.splits.iter().map(|split| receiver.reader().read(split).unwrap().batch).collect()
}

fn rows(poll: &Poll) -> Vec<(u64, u64)> {
    poll.splits.iter().map(|split| range_of(split).unwrap()).collect()
}

/// The first rows of a source with all columns, some of which may be null.
fn batch(options: Value) -> RecordBatch {
    let field = |name, data_type, nullable| Field::new(name, data_type, nullable);
    let schema = Schema::new(vec![
        field("number", DataType::Int64, false),
        field("key", DataType::Int64, true),
        field("share", DataType::Float64, false),
        field("flag", DataType::Boolean, false),
        field("text", DataType::Utf8, false),
        field("bytes", DataType::Binary, false),
        field("at", TIMESTAMP, false),
    ]);
    let mut receiver = open_with(options, Arc::new(schema), &ManualClock::new(0)).unwrap();
    let poll = poll(&mut *receiver, 1);
    read(&*receiver, &poll).remove(0)
}

struct Rate;

impl GeneratorFixture for Rate {
    fn open(&mut self) -> Box<dyn Receiver> {
        open(json!({ "max-rows": 5000, "max-rows-per-batch": 1700, "words": 2 }))
    }
}

#[test]
fn the_rate_source_keeps_the_contract() {
    generator(&mut Rate);
}

#[test]
fn rows_are_frozen() {
    // These rows are in tests and documents of others: they must not change.
    let mut receiver = open(json!({ "max-rows": 4, "keys": 10, "words": 3 }));
    let poll = poll(&mut *receiver, 1);
    let batches = read(&*receiver, &poll);
    assert_eq!(to_texts(&batches[0]), FROZEN);
}

const FROZEN: [&str; 4] = ["k3 k2 k2", "k4 k5 k4", "k0 k2 k4", "k2 k7 k9"];

#[test]
fn every_type_has_values_of_its_kind() {
    let rows = batch(json!({ "max-rows": 5000, "keys": 7, "sequence": "number" }));
    assert!(rows.column(0).as_primitive::<Int64Type>().values().iter().copied().eq(0..5000));
    let keys = rows.column(1).as_primitive::<Int64Type>();
    assert!((300..700).contains(&keys.null_count()), "{} of 5000 are null", keys.null_count());
    let mut distinct: Vec<i64> = keys.iter().flatten().collect();
    distinct.sort_unstable();
    distinct.dedup();
    assert!(distinct.into_iter().eq(0..7));
    let shares = rows.column(2).as_primitive::<Float64Type>().values();
    assert!(shares.iter().all(|share| (0.0..1.0).contains(share)));
    let mean = shares.iter().sum::<f64>() / 5000.0;
    assert!((0.45..0.55).contains(&mean), "{mean}");
    assert!((2000..3000).contains(&rows.column(3).as_boolean().true_count()));
    assert!(rows.column(4).as_string::<i32>().iter().flatten().all(|text| text.len() == 2 && text.starts_with('k')));
    assert!(rows.column(5).as_binary::<i32>().iter().flatten().all(|bytes| bytes.len() == 8));
    let times = rows.column(6).as_primitive::<TimestampMicrosecondType>();
    assert_eq!(crate::time::format_us(times.value(0)), "2024-01-01T00:00:00Z");
    assert_eq!(times.value(4999) - times.value(0), 4_999_000);
}

#[test]
fn columns_inside_of_columns_are_made_too() {
    let field = |name: &str, data_type, nullable| Arc::new(Field::new(name, data_type, nullable));
    let pair = DataType::Struct(vec![field("n", DataType::Int64, true), field("t", DataType::Utf8, false)].into());
    let schema = Schema::new(vec![
        field("list", list_of(pair, true), true),
        field("map", map_of(DataType::Utf8, list_of(DataType::Float64, false), true), false),
    ]);
    let mut receiver = open_with(json!({ "max-rows": 5000 }), Arc::new(schema), &ManualClock::new(0)).unwrap();
    let (cut, whole) = (poll(&mut *receiver, 3), open_again(&*receiver));
    let parts = read(&*receiver, &cut);
    let all = arrow::compute::concat_batches(&parts[0].schema(), &parts).unwrap();
    assert_eq!(all, whole, "splits give the rows of the whole");
    let lists = all.column(0).as_list::<i32>();
    assert!((300..700).contains(&lists.null_count()));
    let items = lists.values().as_struct();
    assert!((5000..9000).contains(&items.len()), "{}", items.len());
    assert!(items.null_count() > 300 && items.column(0).null_count() > 300);
    let entries = all.column(1).as_map();
    assert!((0..5000).all(|row| entries.value_length(row) <= 1));
    assert!((2000..3000).contains(&entries.keys().len()));
}

#[test]
fn every_width_of_number_is_made() {
    use DataType::{Date32, Decimal128, Duration, Float32, Int8, Int16, Int32, UInt8, UInt16, UInt32, UInt64};
    let types = [Int8, Int16, Int32, UInt8, UInt16, UInt32, UInt64, Date32, Duration(TimeUnit::Microsecond), Float32];
    let types = types.into_iter().chain([Decimal128(2, 1), Decimal128(38, 0)]);
    let fields: Vec<Field> =
        types.enumerate().map(|(column, data_type)| Field::new(column.to_string(), data_type, true)).collect();
    let schema = Arc::new(Schema::new(fields));
    for keys in [1_u64, 300, u64::MAX] {
        let options = json!({ "max-rows": 5000, "keys": keys });
        let mut receiver = open_with(options, Arc::clone(&schema), &ManualClock::new(0)).unwrap();
        let poll = poll(&mut *receiver, 1);
        let rows = read(&*receiver, &poll).remove(0);
        assert_eq!(rows.schema(), schema);
        let small = rows.column(0).as_primitive::<arrow::datatypes::Int8Type>();
        assert!(small.iter().flatten().all(|value| value >= 0), "{keys}");
        let decimals = rows.column(10).as_primitive::<arrow::datatypes::Decimal128Type>();
        assert!(decimals.iter().flatten().all(|value| (0..100).contains(&value)), "{keys}");
        assert!(keys == 1 || small.iter().flatten().max() > Some(100), "{keys}");
    }
}

/// The same 5000 rows as one split.
fn open_again(receiver: &dyn Receiver) -> RecordBatch {
    let locator = [0_u64.to_le_bytes(), 5000_u64.to_le_bytes()].concat();
    let split = Split { locator, place: "all".into(), bytes: None };
    receiver.reader().read(&split).unwrap().batch
}

#[test]
fn splits_are_of_equal_size_and_none_is_small() {
    for (rows, partitions, sizes) in [
        (1, 4, vec![1]),
        (1999, 4, vec![1999]),
        (2001, 4, vec![1001, 1000]),
        (5000, 4, vec![1250; 4]),
        (5000, 0, vec![5000]),
    ] {
        let mut receiver = open(json!({ "max-rows": rows }));
        let poll = poll(&mut *receiver, partitions);
        let cut: Vec<u64> = self::rows(&poll).into_iter().map(|(start, end)| end - start).collect();
        assert_eq!(cut, sizes, "{rows} rows, {partitions} partitions");
    }
}

#[test]
fn another_seed_gives_other_rows() {
    let text = |seed| to_texts(&batch(json!({ "max-rows": 20, "seed": seed })).project(&[4]).unwrap());
    assert_eq!(text(1), text(1));
    assert_ne!(text(1), text(2));
}

#[test]
fn rows_come_when_the_clock_says_so_and_a_stop_counts_for_nothing() {
    let clock = ManualClock::new(1_000);
    let options = json!({ "rows-per-second": 3, "max-rows-per-batch": 10 });
    let open = || open_with(options.clone(), text_schema("line"), &clock).unwrap();
    let mut receiver = open();
    receiver.restore(Vec::new()).unwrap();
    assert_eq!(rows(&poll(&mut *receiver, 1)), []);
    clock.advance_ms(999);
    assert_eq!(rows(&poll(&mut *receiver, 1)), [(0, 2)]);
    clock.advance_ms(1);
    assert_eq!(rows(&poll(&mut *receiver, 1)), [(2, 3)]);
    // More than a batch may have: the rest comes later.
    clock.advance_ms(5_000);
    assert_eq!(rows(&poll(&mut *receiver, 1)), [(3, 13)]);
    assert_eq!(rows(&poll(&mut *receiver, 1)), [(13, 18)]);
    assert_eq!(rows(&poll(&mut *receiver, 1)), []);
    let progress = receiver.take_progress().into_iter().map(|(key, value)| (key, value.unwrap())).collect();
    drop(receiver);
    clock.advance_ms(3_600_000);
    let mut receiver = open();
    receiver.restore(progress).unwrap();
    assert_eq!(rows(&poll(&mut *receiver, 1)), []);
    clock.advance_ms(1_000);
    assert_eq!(rows(&poll(&mut *receiver, 1)), [(18, 21)]);
}

#[test]
fn a_batch_of_long_texts_is_cut_so_that_each_split_fits() {
    let mut receiver = open(json!({ "words": 1000, "max-rows-per-batch": 1_000_000 }));
    let splits = rows(&poll(&mut *receiver, 2));
    let most = i32::MAX as u64 / 22_000;
    assert!(splits.len() > 2 && splits.iter().all(|(start, end)| end - start <= most), "{splits:?}");
}

#[test]
fn columns_that_cannot_be_made_are_named() {
    let clock = ManualClock::new(0);
    let fail = |options, schema: SchemaRef| open_with(options, schema, &clock).err().unwrap();
    let error = fail(json!({ "sequence": "line" }), text_schema("line"));
    assert_eq!(error.code().0, "MP0506");
    assert!(error.to_string().contains("sequence = \"line\" names no column of type int64"), "{error}");
    let odd = Arc::new(Schema::new(vec![Field::new("odd", DataType::Null, true)]));
    assert!(fail(json!({}), odd).to_string().contains("column `odd`"));
}

#[test]
fn damaged_progress_and_foreign_splits_are_refused() {
    let mut receiver = open(json!({}));
    assert_eq!(receiver.restore(vec![(NEXT.to_vec(), vec![1])]).unwrap_err().code().0, "MP0901");
    for locator in [vec![], vec![0; 15], [5_u64.to_le_bytes(), 4_u64.to_le_bytes()].concat()] {
        let split = Split { locator, place: "x".into(), bytes: None };
        assert_eq!(receiver.reader().read(&split).unwrap_err().code().0, "MP0901");
    }
}

proptest! {
    #[test]
    fn rows_do_not_depend_on_batches_partitions_and_restarts(
        batches in prop::collection::vec((1_u64..4000, 1_usize..9, any::<bool>()), 1..8),
        words in 1_u64..4,
    ) {
        let total: u64 = batches.iter().map(|(rows, ..)| rows).sum();
        let mut whole = open(json!({ "max-rows": total, "words": words }));
        let all = poll(&mut *whole, 1);
        prop_assert!(all.ended && !all.more);
        let expected: Vec<String> = read(&*whole, &all).iter().flat_map(to_texts).collect();
        let (mut progress, mut found): (Vec<StoredEntry>, Vec<String>) = (Vec::new(), Vec::new());
        for (rows, partitions, crash) in batches {
            let mut receiver = open(json!({ "max-rows-per-batch": rows, "words": words }));
            receiver.restore(progress.clone()).unwrap();
            if crash {
                // This batch is never committed.
                poll(&mut *receiver, partitions);
                receiver = open(json!({ "max-rows-per-batch": rows, "words": words }));
                receiver.restore(progress.clone()).unwrap();
            }
            let taken = poll(&mut *receiver, partitions);
            prop_assert!(taken.splits.len() <= partitions);
            found.extend(read(&*receiver, &taken).iter().flat_map(to_texts));
            progress = receiver.take_progress().into_iter().map(|(key, value)| (key, value.unwrap())).collect();
        }
        prop_assert_eq!(found, expected);
    }
}
