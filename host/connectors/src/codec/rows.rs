//! Rows built cell by cell, and kept only when every cell is right.
//!
//! CSV and JSON find out in the middle of a row that it is bad. So a row is *staged* first, and appended to the columns as
//! a whole or not at all.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, BinaryBuilder, BooleanBuilder, Decimal128Builder, Float64Builder, Int64Builder, StringBuilder,
    TimestampMicrosecondBuilder, UInt64Builder,
};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field, Schema};
use millpond_core::schema::type_name;

use super::decimal;
use super::decoder::quote;
use super::nested::NestedColumn;

/// A value as JSON has it.
#[derive(Clone, Copy, Debug)]
pub(super) enum Scalar<'a> {
    Boolean(bool),
    Signed(i64),
    Unsigned(u64),
    Float(f64),
    Text(&'a str),
}

/// A value as a column has it.
#[derive(Clone, Debug)]
pub(super) enum Cell<'a> {
    Null,
    Boolean(bool),
    Int64(i64),
    UInt64(u64),
    Float64(f64),
    Decimal(i128),
    Text(&'a str),
    Bytes(Vec<u8>),
}

/// A cell of the row in the making.
#[derive(Clone, Copy)]
enum Staged {
    Null,
    Boolean(bool),
    Int64(i64),
    UInt64(u64),
    Float64(f64),
    /// In bytes, as an i128 would make all cells larger.
    Decimal([u8; 16]),
    /// A range of the scratch buffer.
    Bytes(usize, usize),
    /// The nested column has it.
    Nested,
}

pub(super) enum Builder {
    Boolean(BooleanBuilder),
    Int64(Int64Builder),
    Float64(Float64Builder),
    Timestamp(TimestampMicrosecondBuilder),
    Utf8(StringBuilder),
    Binary(BinaryBuilder),
    UInt64(UInt64Builder),
    Decimal(Decimal128Builder),
    /// Built as another type, and made this one at the end.
    Cast(Box<Self>, DataType),
    Nested(Box<NestedColumn>),
}

/// What a column wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Boolean,
    Int64,
    Float64,
    Timestamp,
    Utf8,
    Binary,
    /// A signed integer of so many bits, less than 64.
    Signed(u32),
    /// An unsigned integer of so many bits.
    Unsigned(u32),
    Float32,
    Date,
    Duration,
    /// Digits, and how many of them are behind the point.
    Decimal(u8, u8),
    /// Columns inside of it; only JSON has them.
    Nested,
}

struct Column {
    name: String,
    kind: Kind,
    nullable: bool,
    staged: Staged,
    builder: Builder,
}

/// The columns in the making.
pub(super) struct RowBuilder {
    columns: Vec<Column>,
    scratch: Vec<u8>,
    rows: usize,
}

impl RowBuilder {
    /// # Panics
    /// If the schema has a type that may not cross the boundary: `Codec::try_new` refuses those.
    pub(super) fn new(schema: &Schema) -> Self {
        let columns = schema.fields().iter().map(|field| {
            let (kind, builder) = Builder::new(field, field.name());
            let (name, nullable) = (field.name().clone(), field.is_nullable());
            Column { name, kind, nullable, staged: Staged::Null, builder }
        });
        Self { columns: columns.collect(), scratch: Vec::new(), rows: 0 }
    }

    pub(super) fn kind(&self, column: usize) -> Kind {
        self.columns[column].kind
    }

    pub(super) fn nullable(&self, column: usize) -> bool {
        self.columns[column].nullable
    }

    pub(super) fn columns(&self) -> usize {
        self.columns.len()
    }

    /// Starts a row: every cell is null.
    pub(super) fn begin(&mut self) {
        self.scratch.clear();
        self.columns.iter_mut().for_each(|column| column.staged = Staged::Null);
    }

    pub(super) fn stage_null(&mut self, column: usize) {
        self.columns[column].staged = Staged::Null;
    }

    /// A cell from JSON.
    pub(super) fn stage_json(&mut self, column: usize, value: Scalar<'_>) -> Result<(), String> {
        let kind = self.columns[column].kind;
        let cell = kind.of_json(value).ok_or_else(|| self.wrong(column, &value.shown()))?;
        self.stage(column, &cell);
        Ok(())
    }

    /// A list or object from JSON, for a column that has columns inside.
    pub(super) fn stage_nested(&mut self, column: usize, value: &serde_json::Value) -> Result<(), String> {
        let Column { builder, staged, .. } = &mut self.columns[column];
        if value.is_null() {
            *staged = Staged::Null;
        } else if let Builder::Nested(nested) = builder {
            nested.stage(value)?;
            *staged = Staged::Nested;
        }
        Ok(())
    }

    /// A cell from text: parsed as the column wants it.
    pub(super) fn stage_text(&mut self, column: usize, text: &str) -> Result<(), String> {
        let kind = self.columns[column].kind;
        let cell = kind.of_text(text).ok_or_else(|| self.wrong(column, &format!("`{}`", quote(text))))?;
        self.stage(column, &cell);
        Ok(())
    }

    fn stage(&mut self, column: usize, cell: &Cell<'_>) {
        self.columns[column].staged = match cell {
            Cell::Null => Staged::Null,
            Cell::Boolean(value) => Staged::Boolean(*value),
            Cell::Int64(value) => Staged::Int64(*value),
            Cell::UInt64(value) => Staged::UInt64(*value),
            Cell::Float64(value) => Staged::Float64(*value),
            Cell::Decimal(value) => Staged::Decimal(value.to_ne_bytes()),
            Cell::Text(text) => self.store(text.as_bytes()),
            Cell::Bytes(bytes) => self.store(bytes),
        };
    }

    fn store(&mut self, bytes: &[u8]) -> Staged {
        let start = self.scratch.len();
        self.scratch.extend_from_slice(bytes);
        Staged::Bytes(start, self.scratch.len())
    }

    /// What to say of a cell that is not what the column wants.
    pub(super) fn wrong(&self, column: usize, found: &str) -> String {
        let Column { name, kind, builder, .. } = &self.columns[column];
        match builder {
            Builder::Nested(nested) => nested.wrong(found),
            _ => kind.wrong(name, found),
        }
    }

    /// Appends the row, if every cell that must be there is.
    pub(super) fn commit(&mut self) -> Result<(), String> {
        let missing = |column: &&Column| matches!(column.staged, Staged::Null) && !column.nullable;
        if let Some(column) = self.columns.iter().find(missing) {
            return Err(missing_value(&column.name));
        }
        let scratch = &self.scratch;
        self.columns.iter_mut().for_each(|column| column.append(scratch));
        self.rows += 1;
        Ok(())
    }

    pub(super) fn finish(self) -> (Vec<ArrayRef>, usize) {
        (self.columns.into_iter().map(|column| column.builder.finish()).collect(), self.rows)
    }
}

/// What to say of a value that is not there.
pub(super) fn missing_value(name: &str) -> String {
    format!("column `{name}`: the value is missing or null, and the plan wants one")
}

impl Kind {
    /// A value from JSON; `None` if it is not what the column wants. Types are taken strictly.
    pub(super) fn of_json(self, value: Scalar<'_>) -> Option<Cell<'_>> {
        Some(match (self, value) {
            (Self::Boolean, Scalar::Boolean(value)) => Cell::Boolean(value),
            (Self::Int64 | Self::Timestamp, Scalar::Signed(value)) => Cell::Int64(value),
            (Self::Int64 | Self::Timestamp, Scalar::Unsigned(value)) => Cell::Int64(i64::try_from(value).ok()?),
            // The nearest float is what a float column means by a whole number.
            (Self::Float64, Scalar::Signed(value)) => Cell::Float64(value as f64),
            (Self::Float64, Scalar::Unsigned(value)) => Cell::Float64(value as f64),
            (Self::Float64, Scalar::Float(value)) => Cell::Float64(value),
            (Self::Float64, Scalar::Text(text @ ("NaN" | "Infinity" | "-Infinity"))) => self.of_text(text)?,
            (Self::Timestamp, Scalar::Text(text)) if text.parse::<i64>().is_err() => self.of_text(text)?,
            (Self::Utf8 | Self::Binary, Scalar::Text(text)) => self.of_text(text)?,
            (Self::Signed(bits), Scalar::Signed(value)) => signed(value, bits)?,
            (Self::Unsigned(bits), Scalar::Signed(value)) => unsigned(u64::try_from(value).ok()?, bits)?,
            (Self::Unsigned(bits), Scalar::Unsigned(value)) => unsigned(value, bits)?,
            (Self::Float32, Scalar::Signed(value)) => single(value as f64)?,
            (Self::Float32, Scalar::Unsigned(value)) => single(value as f64)?,
            (Self::Float32, Scalar::Float(value)) => single(value)?,
            (Self::Float32, Scalar::Text(text @ ("NaN" | "Infinity" | "-Infinity"))) => self.of_text(text)?,
            (Self::Date, Scalar::Signed(value)) => Cell::Int64(i32::try_from(value).ok()?.into()),
            (Self::Duration, Scalar::Signed(value)) => Cell::Int64(value),
            (Self::Date | Self::Duration, Scalar::Text(text)) if text.parse::<i64>().is_err() => self.of_text(text)?,
            (Self::Decimal(..), Scalar::Text(text)) => self.of_text(text)?,
            (Self::Decimal(precision, scale), Scalar::Signed(value)) => {
                Cell::Decimal(decimal::parse(&value.to_string(), precision, scale)?)
            }
            (Self::Decimal(precision, scale), Scalar::Unsigned(value)) => {
                Cell::Decimal(decimal::parse(&value.to_string(), precision, scale)?)
            }
            (Self::Decimal(precision, scale), Scalar::Float(value)) => {
                Cell::Decimal(decimal::parse(&exact_text(value)?, precision, scale)?)
            }
            _ => return None,
        })
    }

    /// A value from text; `None` if it is not what the column wants.
    pub(super) fn of_text(self, text: &str) -> Option<Cell<'_>> {
        let trimmed = text.trim();
        match self {
            Self::Boolean if trimmed.eq_ignore_ascii_case("true") => Some(Cell::Boolean(true)),
            Self::Boolean if trimmed.eq_ignore_ascii_case("false") => Some(Cell::Boolean(false)),
            Self::Boolean | Self::Nested => None,
            Self::Int64 => trimmed.parse().ok().map(Cell::Int64),
            Self::Float64 => trimmed.parse().ok().map(Cell::Float64),
            Self::Timestamp => crate::time::parse_us(trimmed).map(Cell::Int64),
            Self::Utf8 => Some(Cell::Text(text)),
            Self::Binary => from_hex(trimmed).map(Cell::Bytes),
            Self::Signed(bits) => signed(trimmed.parse().ok()?, bits),
            Self::Unsigned(bits) => unsigned(trimmed.parse().ok()?, bits),
            Self::Float32 => trimmed.parse::<f32>().ok().map(|value| Cell::Float64(value.into())),
            Self::Date => {
                let days = trimmed.parse::<i64>().ok().or_else(|| crate::time::parse_date(trimmed))?;
                Some(Cell::Int64(i32::try_from(days).ok()?.into()))
            }
            Self::Duration => crate::time::parse_duration_us(trimmed).map(Cell::Int64),
            Self::Decimal(precision, scale) => decimal::parse(trimmed, precision, scale).map(Cell::Decimal),
        }
    }

    /// What to say of a value that the column `name` does not want.
    pub(super) fn wrong(self, name: &str, found: &str) -> String {
        let wanted = match self {
            Self::Boolean => "true or false",
            Self::Int64 => "a whole number of 64 bits",
            Self::Float64 => "a number",
            Self::Timestamp => "an RFC 3339 time (2023-11-14T22:13:20Z) or whole microseconds",
            Self::Utf8 => "text",
            Self::Binary => "bytes as hexadecimal digits",
            Self::Signed(bits) => {
                return format!("column `{name}`: expected a whole number of {bits} bits, found {found}");
            }
            Self::Unsigned(bits) => {
                return format!("column `{name}`: expected a whole number of {bits} bits, not negative, found {found}");
            }
            Self::Float32 => "a number of 32 bits",
            Self::Date => "a date (2023-11-14) or whole days",
            Self::Duration => "a duration (1h30m, 2.5s) or whole microseconds",
            Self::Decimal(precision, scale) => {
                return format!(
                    "column `{name}`: expected a decimal number of at most {precision} digits, {scale} of them behind the \
                     point (as text if it has more than 15), found {found}"
                );
            }
            Self::Nested => "a list or an object",
        };
        format!("column `{name}`: expected {wanted}, found {found}")
    }
}

impl Scalar<'_> {
    /// For messages.
    pub(super) fn shown(self) -> String {
        match self {
            Self::Boolean(value) => value.to_string(),
            Self::Signed(value) => value.to_string(),
            Self::Unsigned(value) => value.to_string(),
            Self::Float(value) => value.to_string(),
            Self::Text(text) => format!("the text `{}`", quote(text)),
        }
    }
}

impl Column {
    fn append(&mut self, scratch: &[u8]) {
        let cell = match self.staged {
            Staged::Null => Cell::Null,
            Staged::Boolean(value) => Cell::Boolean(value),
            Staged::Int64(value) => Cell::Int64(value),
            Staged::UInt64(value) => Cell::UInt64(value),
            Staged::Float64(value) => Cell::Float64(value),
            Staged::Decimal(bytes) => Cell::Decimal(i128::from_ne_bytes(bytes)),
            Staged::Bytes(start, end) => return self.builder.append_bytes(&scratch[start..end]),
            Staged::Nested => {
                if let Builder::Nested(nested) = &mut self.builder {
                    nested.append_staged();
                }
                return;
            }
        };
        self.builder.append(&cell);
    }
}

impl Builder {
    /// For a column; `name` is the way to it.
    pub(super) fn new(field: &Field, name: &str) -> (Kind, Self) {
        match field.data_type() {
            DataType::Boolean => (Kind::Boolean, Self::Boolean(BooleanBuilder::new())),
            DataType::Int64 => (Kind::Int64, Self::Int64(Int64Builder::new())),
            DataType::Float64 => (Kind::Float64, Self::Float64(Float64Builder::new())),
            DataType::Utf8 => (Kind::Utf8, Self::Utf8(StringBuilder::new())),
            DataType::Binary => (Kind::Binary, Self::Binary(BinaryBuilder::new())),
            DataType::Struct(_) | DataType::List(_) | DataType::Map(..) => {
                (Kind::Nested, Self::Nested(Box::new(NestedColumn::new(field, name))))
            }
            DataType::Int8 | DataType::Int16 | DataType::Int32 => {
                (Kind::Signed(bits(field)), Self::cast(Self::Int64(Int64Builder::new()), field))
            }
            DataType::UInt8 | DataType::UInt16 | DataType::UInt32 => {
                (Kind::Unsigned(bits(field)), Self::cast(Self::UInt64(UInt64Builder::new()), field))
            }
            DataType::UInt64 => (Kind::Unsigned(64), Self::UInt64(UInt64Builder::new())),
            DataType::Float32 => (Kind::Float32, Self::cast(Self::Float64(Float64Builder::new()), field)),
            DataType::Date32 => (Kind::Date, Self::cast(Self::Int64(Int64Builder::new()), field)),
            DataType::Duration(_) => (Kind::Duration, Self::cast(Self::Int64(Int64Builder::new()), field)),
            DataType::Decimal128(precision, scale) => {
                let builder = Decimal128Builder::new().with_data_type(field.data_type().clone());
                (Kind::Decimal(*precision, scale.unsigned_abs()), Self::Decimal(builder))
            }
            other => {
                assert_eq!(type_name(other).as_deref(), Some("timestamp"), "the codec checked the types");
                (Kind::Timestamp, Self::Timestamp(TimestampMicrosecondBuilder::new()))
            }
        }
    }

    fn cast(builder: Self, field: &Field) -> Self {
        Self::Cast(Box::new(builder), field.data_type().clone())
    }

    /// Appends a cell that the column's kind made.
    pub(super) fn append(&mut self, cell: &Cell<'_>) {
        match (self, cell) {
            (Self::Boolean(builder), Cell::Boolean(value)) => builder.append_value(*value),
            (Self::Int64(builder), Cell::Int64(value)) => builder.append_value(*value),
            (Self::Timestamp(builder), Cell::Int64(value)) => builder.append_value(*value),
            (Self::Float64(builder), Cell::Float64(value)) => builder.append_value(*value),
            (Self::UInt64(builder), Cell::UInt64(value)) => builder.append_value(*value),
            (Self::Decimal(builder), Cell::Decimal(value)) => builder.append_value(*value),
            (Self::Cast(builder, _), cell) => builder.append(cell),
            (builder, Cell::Text(text)) => builder.append_bytes(text.as_bytes()),
            (builder, Cell::Bytes(bytes)) => builder.append_bytes(bytes),
            (builder, _) => builder.append_null(),
        }
    }

    fn append_bytes(&mut self, bytes: &[u8]) {
        match self {
            Self::Utf8(builder) => builder.append_value(std::str::from_utf8(bytes).expect("it was staged from a str")),
            Self::Binary(builder) => builder.append_value(bytes),
            other => other.append_null(),
        }
    }

    pub(super) fn append_null(&mut self) {
        match self {
            Self::Boolean(builder) => builder.append_null(),
            Self::Int64(builder) => builder.append_null(),
            Self::Float64(builder) => builder.append_null(),
            Self::Timestamp(builder) => builder.append_null(),
            Self::Utf8(builder) => builder.append_null(),
            Self::Binary(builder) => builder.append_null(),
            Self::UInt64(builder) => builder.append_null(),
            Self::Decimal(builder) => builder.append_null(),
            Self::Cast(builder, _) => builder.append_null(),
            Self::Nested(nested) => nested.append_nothing(),
        }
    }

    /// Appends a value that nobody looks at.
    pub(super) fn append_default(&mut self) {
        match self {
            Self::Boolean(builder) => builder.append_value(false),
            Self::Int64(builder) => builder.append_value(0),
            Self::Float64(builder) => builder.append_value(0.0),
            Self::Timestamp(builder) => builder.append_value(0),
            Self::Utf8(builder) => builder.append_value(""),
            Self::Binary(builder) => builder.append_value([]),
            Self::UInt64(builder) => builder.append_value(0),
            Self::Decimal(builder) => builder.append_value(0),
            Self::Cast(builder, _) => builder.append_default(),
            Self::Nested(nested) => nested.append_nothing(),
        }
    }

    pub(super) fn finish(self) -> ArrayRef {
        match self {
            Self::Boolean(mut builder) => Arc::new(builder.finish()),
            Self::Int64(mut builder) => Arc::new(builder.finish()),
            Self::Float64(mut builder) => Arc::new(builder.finish()),
            Self::Timestamp(mut builder) => Arc::new(builder.finish()),
            Self::Utf8(mut builder) => Arc::new(builder.finish()),
            Self::Binary(mut builder) => Arc::new(builder.finish()),
            Self::UInt64(mut builder) => Arc::new(builder.finish()),
            Self::Decimal(mut builder) => Arc::new(builder.finish()),
            Self::Cast(builder, data_type) => {
                let values = builder.finish();
                // Arrow makes dates of 32-bit numbers only.
                let values = if data_type == DataType::Date32 { cast(&values, &DataType::Int32) } else { Ok(values) };
                values.and_then(|values| cast(&values, &data_type)).expect("its kind lets through what fits only")
            }
            Self::Nested(nested) => nested.finish(),
        }
    }
}

/// How many bits a column's integers have.
fn bits(field: &Field) -> u32 {
    field.data_type().primitive_width().map_or(64, |bytes| bytes as u32 * 8)
}

fn signed(value: i64, bits: u32) -> Option<Cell<'static>> {
    let limit = 1i64 << (bits - 1);
    (-limit..limit).contains(&value).then_some(Cell::Int64(value))
}

fn unsigned(value: u64, bits: u32) -> Option<Cell<'static>> {
    (bits == 64 || value >> bits == 0).then_some(Cell::UInt64(value))
}

/// The nearest 32-bit float, unless the number is too large for one.
fn single(value: f64) -> Option<Cell<'static>> {
    let nearest = value as f32;
    nearest.is_finite().then_some(Cell::Float64(nearest.into()))
}

/// A JSON number with a point as it was written. It comes as a double, which has 15 digits for certain.
fn exact_text(value: f64) -> Option<String> {
    let text = value.to_string();
    (text.bytes().filter(u8::is_ascii_digit).count() <= 15).then_some(text)
}

fn from_hex(text: &str) -> Option<Vec<u8>> {
    let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    let pairs = text.as_bytes().chunks(2);
    pairs.map(|pair| Some(digit(pair[0])? << 4 | digit(*pair.get(1)?)?)).collect()
}
