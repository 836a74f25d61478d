//! Batches of every type for property tests: with nulls, sliced and empty. Those of random nested schemas grow from one number.

use std::collections::BTreeSet;
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, BinaryArray, BooleanArray, Decimal128Array, Float32Array, Float64Array, Int64Array,
    ListArray, MapArray, RecordBatch, StringArray, StructArray, TimestampMicrosecondArray, UInt32Array,
};
use arrow::buffer::{NullBuffer, OffsetBuffer};
use arrow::compute::{cast, take};
use arrow::datatypes::{DataType, Field, Fields, Schema, SchemaRef};
use arrow::util::display::array_value_to_string;
use millpond_core::schema::{DURATION, TIMESTAMP, list_of, map_of};
use proptest::collection::vec;
use proptest::prelude::*;

/// The columns of the test guest's graph `types`: every type, once never null and once nullable.
pub(crate) fn every_type() -> SchemaRef {
    let types = [
        ("boolean", DataType::Boolean),
        ("int64", DataType::Int64),
        ("float64", DataType::Float64),
        ("utf8", DataType::Utf8),
        ("binary", DataType::Binary),
        ("timestamp", TIMESTAMP),
    ];
    let both = |(name, data_type): (&str, DataType)| {
        [Field::new(name, data_type.clone(), false), Field::new(format!("{name}-or-null"), data_type, true)]
    };
    Arc::new(Schema::new(types.into_iter().flat_map(both).collect::<Vec<_>>()))
}

/// One row: a value for each type, and whether the nullable one of it is null.
type Row = ((bool, i64, f64, String, Vec<u8>, i64), [bool; 6]);

fn row() -> impl Strategy<Value = Row> {
    // Few characters, of one to four bytes each, so that neighbouring rows often differ in where their bytes begin.
    let text = vec(prop::sample::select(vec!['a', 'é', '水', '🦆', '\0']), 0..5).prop_map(String::from_iter);
    let float = any::<f64>().prop_filter("NaN is never equal to itself", |value| !value.is_nan());
    let values = (any::<bool>(), any::<i64>(), float, text, vec(any::<u8>(), 0..5), any::<i64>());
    (values, any::<[bool; 6]>())
}

/// A batch of [`every_type`], often a slice that begins inside a byte of the bitmaps.
pub(crate) fn batch() -> impl Strategy<Value = RecordBatch> {
    let sizes = (0..40usize, 0..20usize, any::<bool>());
    (vec(row(), 0..60), sizes).prop_map(|(rows, (skip, cut, no_nulls))| {
        let whole = columns(&rows, no_nulls);
        let start = skip.min(whole.num_rows());
        whole.slice(start, (whole.num_rows() - start).saturating_sub(cut))
    })
}

fn columns(rows: &[Row], no_nulls: bool) -> RecordBatch {
    fn pair<T: Clone, A: From<Vec<T>> + From<Vec<Option<T>>> + Array + 'static>(
        values: Vec<T>,
        nulls: impl Iterator<Item = bool>,
    ) -> [ArrayRef; 2] {
        let some = values.iter().cloned().zip(nulls).map(|(value, null)| (!null).then_some(value));
        [Arc::new(A::from(some.collect::<Vec<Option<T>>>())), Arc::new(A::from(values))]
    }
    let nulls = |column: usize| rows.iter().map(move |row| !no_nulls && row.1[column]);
    let all = [
        pair::<_, BooleanArray>(rows.iter().map(|row| row.0.0).collect(), nulls(0)),
        pair::<_, Int64Array>(rows.iter().map(|row| row.0.1).collect(), nulls(1)),
        pair::<_, Float64Array>(rows.iter().map(|row| row.0.2).collect(), nulls(2)),
        pair::<_, StringArray>(rows.iter().map(|row| row.0.3.as_str()).collect(), nulls(3)),
        pair::<_, BinaryArray>(rows.iter().map(|row| row.0.4.as_slice()).collect(), nulls(4)),
        pair::<_, TimestampMicrosecondArray>(rows.iter().map(|row| row.0.5).collect(), nulls(5)),
    ];
    let arrays = all.into_iter().flat_map(|[nullable, never]| [never, nullable]).collect();
    RecordBatch::try_new(every_type(), arrays).unwrap()
}

/// The columns of the test guest's graph `nested`.
pub(crate) fn nested() -> SchemaRef {
    let user = DataType::Struct(Fields::from(vec![
        Field::new("id", DataType::Int64, false),
        Field::new("tags", list_of(DataType::Utf8, true), false),
    ]));
    Arc::new(Schema::new(vec![
        Field::new("line", DataType::Utf8, false),
        Field::new("users", list_of(user.clone(), true), false),
        Field::new("user", user, true),
        Field::new("by", map_of(DataType::Utf8, list_of(DataType::Float64, false), true), true),
    ]))
}

fn data_type() -> impl Strategy<Value = DataType> {
    let leaf = prop::sample::select(vec![
        DataType::Boolean,
        DataType::Int64,
        DataType::Float64,
        DataType::Utf8,
        DataType::Binary,
        TIMESTAMP,
        DURATION,
        DataType::Date32,
        DataType::Float32,
        DataType::Decimal128(20, 4),
        DataType::Decimal128(38, 38),
        DataType::Int8,
        DataType::Int16,
        DataType::Int32,
        DataType::UInt8,
        DataType::UInt16,
        DataType::UInt32,
        DataType::UInt64,
    ]);
    let key = prop::sample::select(vec![DataType::Utf8, DataType::Int64, DataType::Boolean]);
    leaf.prop_recursive(4, 12, 3, move |inner| {
        prop_oneof![
            (inner.clone(), any::<bool>()).prop_map(|(item, nullable)| list_of(item, nullable)),
            (key.clone(), inner.clone(), any::<bool>()).prop_map(|(key, value, nullable)| map_of(key, value, nullable)),
            vec((inner, any::<bool>()), 1..4).prop_map(|fields| {
                let fields = fields.into_iter().enumerate();
                DataType::Struct(fields.map(|(at, (inner, null))| Field::new(format!("f{at}"), inner, null)).collect())
            }),
        ]
    })
}

/// A batch of a random schema, often a slice.
pub(crate) fn any_batch() -> impl Strategy<Value = RecordBatch> {
    let schema = vec((data_type(), any::<bool>()), 1..4).prop_map(|columns| {
        let columns = columns.into_iter().enumerate();
        let fields: Vec<_> = columns.map(|(at, (inner, null))| Field::new(format!("c{at}"), inner, null)).collect();
        Arc::new(Schema::new(fields))
    });
    (schema, any::<u64>()).prop_map(|(schema, seed)| batch_of(&schema, seed))
}

/// A batch of a schema, often a slice.
pub(crate) fn batch_of(schema: &SchemaRef, seed: u64) -> RecordBatch {
    let mut random = Random(seed);
    let rows = random.below(30);
    let columns = schema.fields().iter().map(|field| random.column(field, rows)).collect();
    let whole = RecordBatch::try_new(Arc::clone(schema), columns).unwrap();
    let start = random.below(rows + 1);
    let len = random.below(rows - start + 1);
    whole.slice(start, len)
}

/// The map without the entries whose key stands earlier in their row.
fn each_key_once(map: &MapArray) -> ArrayRef {
    let mut kept: Vec<u32> = Vec::new();
    let mut ends = vec![0];
    let key = |entry: usize| array_value_to_string(map.keys(), entry).unwrap();
    for row in map.value_offsets().windows(2) {
        let mut keys = BTreeSet::new();
        kept.extend((row[0]..row[1]).map(i32::cast_unsigned).filter(|entry| keys.insert(key(*entry as usize))));
        ends.push(kept.len() as i32);
    }
    let entries = take(map.entries(), &UInt32Array::from(kept), None).unwrap().as_struct().clone();
    let DataType::Map(field, sorted) = map.data_type() else { unreachable!("a map is one") };
    let ends = OffsetBuffer::new(ends.into());
    Arc::new(MapArray::new(Arc::clone(field), ends, entries, map.nulls().cloned(), *sorted))
}

/// SplitMix64: enough to vary data.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ self.0 >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed ^ mixed >> 29
    }

    /// Less than `end`, which is not 0.
    fn below(&mut self, end: usize) -> usize {
        (self.next() % end as u64) as usize
    }

    fn text(&mut self) -> String {
        let chars = ['a', 'é', '水', '🦆', '\0'];
        (0..self.below(4)).map(|_| chars[self.below(chars.len())]).collect()
    }

    fn column(&mut self, field: &Field, rows: usize) -> ArrayRef {
        let nulls: Option<NullBuffer> = field.is_nullable().then(|| (0..rows).map(|_| self.below(3) > 0).collect());
        let nulls = nulls.filter(|nulls| nulls.null_count() > 0);
        let numbers: Vec<i64> = (0..rows).map(|_| self.next().cast_signed()).collect();
        let mut ends = vec![0];
        (0..rows).for_each(|row| ends.push(ends[row] + self.below(4) as i32));
        let count = ends[rows] as usize;
        let ends = OffsetBuffer::new(ends.into());
        match field.data_type() {
            DataType::Boolean => Arc::new(BooleanArray::new(numbers.iter().map(|number| *number > 0).collect(), nulls)),
            DataType::Int64 => Arc::new(Int64Array::new(numbers.into(), nulls)),
            DataType::Float64 => {
                Arc::new(Float64Array::new(numbers.iter().map(|number| *number as f64 / 1e9).collect(), nulls))
            }
            DataType::Utf8 => {
                let texts: Vec<String> = (0..rows).map(|_| self.text()).collect();
                let (ends, bytes, _) = StringArray::from(texts).into_parts();
                Arc::new(StringArray::new(ends, bytes, nulls))
            }
            DataType::Binary => {
                let bytes: Vec<u8> = (0..count).map(|_| self.next() as u8).collect();
                Arc::new(BinaryArray::new(ends, bytes.into(), nulls))
            }
            DataType::List(item) => Arc::new(ListArray::new(Arc::clone(item), ends, self.column(item, count), nulls)),
            DataType::Map(entries, sorted) => {
                let entries_of = self.column(entries, count).as_struct().clone();
                let map = MapArray::new(Arc::clone(entries), ends, entries_of, nulls, *sorted);
                each_key_once(&map)
            }
            DataType::Struct(fields) => {
                let columns = fields.iter().map(|field| self.column(field, rows)).collect();
                Arc::new(StructArray::new(fields.clone(), columns, nulls))
            }
            DataType::Decimal128(precision, scale) => {
                let values = numbers.iter().map(|number| i128::from(*number) * 10).collect();
                let array = Decimal128Array::new(values, nulls).with_precision_and_scale(*precision, *scale);
                Arc::new(array.unwrap())
            }
            DataType::Float32 => {
                Arc::new(Float32Array::new(numbers.iter().map(|number| *number as f32 / 1e9).collect(), nulls))
            }
            DataType::Timestamp(..) => Arc::new(TimestampMicrosecondArray::new(numbers.into(), nulls)),
            // Whole numbers of any width: those that fit it are drawn from the same.
            other => {
                let small: ArrayRef =
                    Arc::new(Int64Array::new(numbers.iter().map(|number| number & 0x7f).collect(), nulls));
                match other {
                    DataType::Date32 => cast(&cast(&small, &DataType::Int32).unwrap(), other).unwrap(),
                    _ => cast(&small, other).unwrap(),
                }
            }
        }
    }
}
