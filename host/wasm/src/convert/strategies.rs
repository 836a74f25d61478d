//! Batches of every type for property tests: with nulls, sliced and empty.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, BinaryArray, BooleanArray, Float64Array, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray,
};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use millpond_core::schema::TIMESTAMP;
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
    fn pair<T: Clone, A: From<Vec<T>> + From<Vec<Option<T>>> + arrow::array::Array + 'static>(
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
