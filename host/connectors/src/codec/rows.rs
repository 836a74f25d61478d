//! Rows built cell by cell, and kept only when every cell is right.
//!
//! CSV and JSON find out in the middle of a row that it is bad. So a row is *staged* first, and appended to the columns as
//! a whole or not at all.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, BinaryBuilder, BooleanBuilder, Float64Builder, Int64Builder, StringBuilder, TimestampMicrosecondBuilder,
};
use arrow::datatypes::{DataType, Field, Schema};
use millpond_core::schema::type_name;

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
    Float64(f64),
    Text(&'a str),
    Bytes(Vec<u8>),
}

/// A cell of the row in the making.
#[derive(Clone, Copy)]
enum Staged {
    Null,
    Boolean(bool),
    Int64(i64),
    Float64(f64),
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
            Cell::Float64(value) => Staged::Float64(*value),
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
            Staged::Float64(value) => Cell::Float64(value),
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
            other => {
                assert_eq!(type_name(other).as_deref(), Some("timestamp"), "the codec checked the types");
                (Kind::Timestamp, Self::Timestamp(TimestampMicrosecondBuilder::new()))
            }
        }
    }

    /// Appends a cell that the column's kind made.
    pub(super) fn append(&mut self, cell: &Cell<'_>) {
        match (self, cell) {
            (Self::Boolean(builder), Cell::Boolean(value)) => builder.append_value(*value),
            (Self::Int64(builder), Cell::Int64(value)) => builder.append_value(*value),
            (Self::Timestamp(builder), Cell::Int64(value)) => builder.append_value(*value),
            (Self::Float64(builder), Cell::Float64(value)) => builder.append_value(*value),
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
            Self::Nested(nested) => nested.finish(),
        }
    }
}

fn from_hex(text: &str) -> Option<Vec<u8>> {
    let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    let pairs = text.as_bytes().chunks(2);
    pairs.map(|pair| Some(digit(pair[0])? << 4 | digit(*pair.get(1)?)?)).collect()
}
