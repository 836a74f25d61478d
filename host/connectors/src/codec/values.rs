//! Columns seen cell by cell, for everything that writes rows as text.

use arrow::array::{
    Array, AsArray, BinaryArray, BooleanArray, Float64Array, Int64Array, RecordBatch, StringArray,
    TimestampMicrosecondArray,
};
use arrow::datatypes::{DataType, Float64Type, Int64Type, TimestampMicrosecondType};
use millpond_core::schema::TIMESTAMP;

/// A column.
pub(crate) enum Values<'a> {
    Boolean(&'a BooleanArray),
    Int64(&'a Int64Array),
    Float64(&'a Float64Array),
    Timestamp(&'a TimestampMicrosecondArray),
    Utf8(&'a StringArray),
    Binary(&'a BinaryArray),
}

/// A cell.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Value<'a> {
    Null,
    Boolean(bool),
    Int64(i64),
    Float64(f64),
    /// Microseconds since the Unix epoch.
    Timestamp(i64),
    Utf8(&'a str),
    Binary(&'a [u8]),
}

impl<'a> Values<'a> {
    /// The columns of a batch; none if a column has a type that may not cross the boundary.
    pub(crate) fn of(batch: &'a RecordBatch) -> Option<Vec<Self>> {
        batch.columns().iter().map(|column| Self::of_column(column.as_ref())).collect()
    }

    fn of_column(column: &'a dyn Array) -> Option<Self> {
        Some(match column.data_type() {
            DataType::Boolean => Self::Boolean(column.as_boolean()),
            DataType::Int64 => Self::Int64(column.as_primitive::<Int64Type>()),
            DataType::Float64 => Self::Float64(column.as_primitive::<Float64Type>()),
            DataType::Utf8 => Self::Utf8(column.as_string::<i32>()),
            DataType::Binary => Self::Binary(column.as_binary::<i32>()),
            other if *other == TIMESTAMP => Self::Timestamp(column.as_primitive::<TimestampMicrosecondType>()),
            _ => return None,
        })
    }

    /// The cell of a row.
    pub(crate) fn get(&self, row: usize) -> Value<'a> {
        match *self {
            Self::Boolean(array) if array.is_valid(row) => Value::Boolean(array.value(row)),
            Self::Int64(array) if array.is_valid(row) => Value::Int64(array.value(row)),
            Self::Float64(array) if array.is_valid(row) => Value::Float64(array.value(row)),
            Self::Timestamp(array) if array.is_valid(row) => Value::Timestamp(array.value(row)),
            Self::Utf8(array) if array.is_valid(row) => Value::Utf8(array.value(row)),
            Self::Binary(array) if array.is_valid(row) => Value::Binary(array.value(row)),
            _ => Value::Null,
        }
    }
}

impl Value<'_> {
    /// The cell as plain text; null is empty. Reading it as the column's type gives the same value.
    pub(crate) fn to_text(self) -> String {
        match self {
            Self::Null => String::new(),
            Self::Boolean(value) => value.to_string(),
            Self::Int64(value) => value.to_string(),
            Self::Float64(value) => float(value),
            Self::Timestamp(us) => crate::time::format_us(us),
            Self::Utf8(text) => text.to_owned(),
            Self::Binary(bytes) => hex(bytes),
        }
    }
}

/// The shortest text that reads back as the same float; without an exponent where that is readable.
pub(crate) fn float(value: f64) -> String {
    if value.is_infinite() {
        return if value > 0.0 { "Infinity" } else { "-Infinity" }.to_owned();
    }
    format!("{value:?}")
}

/// Lower-case hexadecimal digits, as Arrow's own writers do.
pub(crate) fn hex(bytes: &[u8]) -> String {
    let digit = |nibble: u8| char::from_digit(u32::from(nibble), 16).expect("a nibble is below 16");
    bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]).collect()
}
