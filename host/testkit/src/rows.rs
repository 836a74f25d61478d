//! Batches from plain Rust values, and back, for readable tests.

use std::sync::Arc;

use arrow::array::{Array, AsArray, Int64Array, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field, Int64Type, Schema, SchemaRef};

/// One text column.
#[must_use]
pub fn text_schema(name: &str) -> SchemaRef {
    Arc::new(Schema::new(vec![Field::new(name, DataType::Utf8, false)]))
}

/// A text column and an integer column.
#[must_use]
pub fn pair_schema(key: &str, value: &str) -> SchemaRef {
    Arc::new(Schema::new(vec![Field::new(key, DataType::Utf8, false), Field::new(value, DataType::Int64, false)]))
}

/// Rows of [`text_schema`] with a column called `line`.
#[must_use]
pub fn lines(lines: &[&str]) -> RecordBatch {
    RecordBatch::try_new(text_schema("line"), vec![Arc::new(StringArray::from(lines.to_vec()))]).expect("one column")
}

/// Rows of [`pair_schema`] with columns called `key` and `value`.
#[must_use]
pub fn pairs<K: AsRef<str>>(pairs: &[(K, i64)]) -> RecordBatch {
    let keys: StringArray = pairs.iter().map(|(key, _)| Some(key.as_ref())).collect();
    let values: Int64Array = pairs.iter().map(|(_, value)| *value).collect();
    RecordBatch::try_new(pair_schema("key", "value"), vec![Arc::new(keys), Arc::new(values)]).expect("two columns")
}

/// The rows of a batch whose first two columns are text and integer.
#[must_use]
pub fn to_pairs(rows: &RecordBatch) -> Vec<(String, i64)> {
    let (keys, values) = (rows.column(0).as_string::<i32>(), rows.column(1).as_primitive::<Int64Type>());
    (0..rows.num_rows()).map(|row| (keys.value(row).to_owned(), values.value(row))).collect()
}

/// The first column of a batch, which is text.
#[must_use]
pub fn to_texts(rows: &RecordBatch) -> Vec<String> {
    let texts = rows.column(0).as_string::<i32>();
    (0..texts.len()).map(|row| texts.value(row).to_owned()).collect()
}
