//! Columns seen cell by cell, for everything that writes rows as text.

use std::io::{self, Write};

use arrow::array::{
    Array, AsArray, BinaryArray, BooleanArray, Float64Array, Int64Array, ListArray, MapArray, RecordBatch, StringArray,
    StructArray, TimestampMicrosecondArray,
};
use arrow::datatypes::{
    DataType, Date32Type, Decimal128Type, DurationMicrosecondType, Float32Type, Float64Type, Int8Type, Int16Type,
    Int32Type, Int64Type, TimestampMicrosecondType, UInt8Type, UInt16Type, UInt32Type, UInt64Type,
};
use millpond_core::schema::{TIMESTAMP, type_name};

use super::decimal;

/// A column.
pub(crate) enum Values<'a> {
    Boolean(&'a BooleanArray),
    Int64(&'a Int64Array),
    Float64(&'a Float64Array),
    Timestamp(&'a TimestampMicrosecondArray),
    Utf8(&'a StringArray),
    Binary(&'a BinaryArray),
    /// Any other column of values of a fixed size.
    Primitive(&'a dyn Array),
    /// Each field with its name as JSON text.
    Struct(&'a StructArray, Vec<(String, Values<'a>)>),
    List(&'a ListArray, Box<Values<'a>>),
    /// Keys and values.
    Map(&'a MapArray, Box<[Values<'a>; 2]>),
}

/// A cell.
#[derive(Clone, Copy)]
pub(crate) enum Value<'a> {
    Null,
    Boolean(bool),
    Int64(i64),
    UInt64(u64),
    Float32(f32),
    Float64(f64),
    /// Days since the Unix epoch.
    Date(i32),
    /// Microseconds.
    Duration(i64),
    /// In units of the last digit, and how many digits are behind the point.
    Decimal(i128, u8),
    /// Microseconds since the Unix epoch.
    Timestamp(i64),
    Utf8(&'a str),
    Binary(&'a [u8]),
    /// A row of a column that has columns inside.
    Nested(&'a Values<'a>, usize),
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
            DataType::Struct(fields) => {
                let column = column.as_struct();
                let fields = fields
                    .iter()
                    .zip(column.columns())
                    .map(|(field, column)| Some((json_text(field.name()), Self::of_column(column.as_ref())?)));
                Self::Struct(column, fields.collect::<Option<_>>()?)
            }
            DataType::List(_) => {
                let column = column.as_list::<i32>();
                Self::List(column, Box::new(Self::of_column(column.values().as_ref())?))
            }
            DataType::Map(..) => {
                let column = column.as_map();
                let entries = [column.keys(), column.values()].map(|column| Self::of_column(column.as_ref()));
                let [Some(keys), Some(values)] = entries else { return None };
                Self::Map(column, Box::new([keys, values]))
            }
            data_type => type_name(data_type).map(|_| Self::Primitive(column))?,
        })
    }

    /// The cell of a row.
    pub(crate) fn get(&self, row: usize) -> Value<'_> {
        match self {
            Self::Primitive(array) if array.is_valid(row) => primitive(*array, row),
            Self::Struct(array, _) if array.is_valid(row) => Value::Nested(self, row),
            Self::List(array, _) if array.is_valid(row) => Value::Nested(self, row),
            Self::Map(array, _) if array.is_valid(row) => Value::Nested(self, row),
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
            Self::UInt64(value) => value.to_string(),
            Self::Float32(value) if value.is_infinite() => float(value.into()),
            Self::Float32(value) => format!("{value:?}"),
            Self::Float64(value) => float(value),
            Self::Date(days) => crate::time::format_date(days.into()),
            Self::Duration(us) => crate::time::format_duration_us(us),
            Self::Decimal(units, scale) => decimal::format(units, scale),
            Self::Timestamp(us) => crate::time::format_us(us),
            Self::Utf8(text) => text.to_owned(),
            Self::Binary(bytes) => hex(bytes),
            Self::Nested(..) => self.to_json(),
        }
    }

    fn to_json(self) -> String {
        let mut json = Vec::new();
        self.write_json(&mut json).expect("memory can be written");
        String::from_utf8(json).expect("JSON is UTF-8")
    }

    /// The cell as JSON. Structs and maps are objects, lists are arrays.
    pub(crate) fn write_json(self, out: &mut impl Write) -> io::Result<()> {
        match self {
            Self::Null => out.write_all(b"null"),
            Self::Boolean(value) => write!(out, "{value}"),
            Self::Int64(value) => write!(out, "{value}"),
            Self::UInt64(value) => write!(out, "{value}"),
            Self::Float32(value) if value.is_finite() => write!(out, "{value:?}"),
            Self::Float64(value) if value.is_finite() => out.write_all(float(value).as_bytes()),
            // JSON has no such numbers; the decoder knows these texts.
            Self::Float64(value) => write!(out, "\"{}\"", float(value)),
            // As text: many a reader would make a double of a decimal number.
            Self::Float32(_) | Self::Date(_) | Self::Duration(_) | Self::Decimal(..) => {
                write!(out, "\"{}\"", self.to_text())
            }
            Self::Timestamp(us) => write!(out, "\"{}\"", crate::time::format_us(us)),
            Self::Utf8(text) => Ok(serde_json::to_writer(out, text)?),
            Self::Binary(bytes) => write!(out, "\"{}\"", hex(bytes)),
            Self::Nested(values, row) => values.write_nested(row, out),
        }
    }
}

impl Values<'_> {
    fn write_nested(&self, row: usize, out: &mut impl Write) -> io::Result<()> {
        match self {
            Self::Struct(_, fields) => {
                for (index, (name, values)) in fields.iter().enumerate() {
                    out.write_all(if index == 0 { b"{" } else { b"," })?;
                    write!(out, "{name}:")?;
                    values.get(row).write_json(out)?;
                }
                out.write_all(b"}")
            }
            Self::List(list, values) => {
                out.write_all(b"[")?;
                let rows = range(list.value_offsets(), row);
                for at in rows.clone() {
                    out.write_all(if at == rows.start { b"" } else { b"," })?;
                    values.get(at).write_json(out)?;
                }
                out.write_all(b"]")
            }
            Self::Map(map, entries) => {
                out.write_all(b"{")?;
                let rows = range(map.value_offsets(), row);
                for at in rows.clone() {
                    out.write_all(if at == rows.start { b"" } else { b"," })?;
                    write!(out, "{}:", json_text(&entries[0].get(at).to_text()))?;
                    entries[1].get(at).write_json(out)?;
                }
                out.write_all(b"}")
            }
            _ => self.get(row).write_json(out),
        }
    }
}

/// A value of a column of fixed size that is not null.
fn primitive(array: &dyn Array, row: usize) -> Value<'_> {
    match array.data_type() {
        DataType::Int8 => Value::Int64(array.as_primitive::<Int8Type>().value(row).into()),
        DataType::Int16 => Value::Int64(array.as_primitive::<Int16Type>().value(row).into()),
        DataType::Int32 => Value::Int64(array.as_primitive::<Int32Type>().value(row).into()),
        DataType::UInt8 => Value::UInt64(array.as_primitive::<UInt8Type>().value(row).into()),
        DataType::UInt16 => Value::UInt64(array.as_primitive::<UInt16Type>().value(row).into()),
        DataType::UInt32 => Value::UInt64(array.as_primitive::<UInt32Type>().value(row).into()),
        DataType::UInt64 => Value::UInt64(array.as_primitive::<UInt64Type>().value(row)),
        DataType::Float32 => Value::Float32(array.as_primitive::<Float32Type>().value(row)),
        DataType::Date32 => Value::Date(array.as_primitive::<Date32Type>().value(row)),
        DataType::Duration(_) => Value::Duration(array.as_primitive::<DurationMicrosecondType>().value(row)),
        DataType::Decimal128(_, scale) => {
            Value::Decimal(array.as_primitive::<Decimal128Type>().value(row), scale.unsigned_abs())
        }
        _ => Value::Null,
    }
}

/// Which rows of its child a row of a list or map is. Arrow's offsets are never negative.
fn range(offsets: &[i32], row: usize) -> std::ops::Range<usize> {
    offsets[row].unsigned_abs() as usize..offsets[row + 1].unsigned_abs() as usize
}

/// Text in quotes, as JSON has it.
pub(crate) fn json_text(text: &str) -> String {
    serde_json::Value::from(text).to_string()
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
