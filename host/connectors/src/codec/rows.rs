//! Rows built cell by cell, and kept only when every cell is right.
//!
//! CSV and JSON find out in the middle of a row that it is bad. So a row is *staged* first, and appended to the columns as
//! a whole or not at all.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, BinaryBuilder, BooleanBuilder, Float64Builder, Int64Builder, StringBuilder, TimestampMicrosecondBuilder,
};
use arrow::datatypes::{DataType, Schema};
use millpond_core::schema::type_name;

use super::decoder::quote;

/// A cell of the row in the making.
#[derive(Clone, Copy)]
enum Staged {
    Null,
    Boolean(bool),
    Int64(i64),
    Float64(f64),
    Timestamp(i64),
    /// A range of the scratch buffer.
    Bytes(usize, usize),
}

enum Builder {
    Boolean(BooleanBuilder),
    Int64(Int64Builder),
    Float64(Float64Builder),
    Timestamp(TimestampMicrosecondBuilder),
    Utf8(StringBuilder),
    Binary(BinaryBuilder),
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
            let (kind, builder) = match field.data_type() {
                DataType::Boolean => (Kind::Boolean, Builder::Boolean(BooleanBuilder::new())),
                DataType::Int64 => (Kind::Int64, Builder::Int64(Int64Builder::new())),
                DataType::Float64 => (Kind::Float64, Builder::Float64(Float64Builder::new())),
                DataType::Utf8 => (Kind::Utf8, Builder::Utf8(StringBuilder::new())),
                DataType::Binary => (Kind::Binary, Builder::Binary(BinaryBuilder::new())),
                other => {
                    assert_eq!(type_name(other), Some("timestamp"), "the codec checked the types");
                    (Kind::Timestamp, Builder::Timestamp(TimestampMicrosecondBuilder::new()))
                }
            };
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

    pub(super) fn stage_boolean(&mut self, column: usize, value: bool) {
        self.columns[column].staged = Staged::Boolean(value);
    }

    pub(super) fn stage_int64(&mut self, column: usize, value: i64) {
        self.columns[column].staged =
            if self.columns[column].kind == Kind::Timestamp { Staged::Timestamp(value) } else { Staged::Int64(value) };
    }

    pub(super) fn stage_float64(&mut self, column: usize, value: f64) {
        self.columns[column].staged = Staged::Float64(value);
    }

    /// A cell from text: parsed as the column wants it.
    pub(super) fn stage_text(&mut self, column: usize, text: &str) -> Result<(), String> {
        let kind = self.columns[column].kind;
        let trimmed = text.trim();
        let staged = match kind {
            Kind::Boolean if trimmed.eq_ignore_ascii_case("true") => Some(Staged::Boolean(true)),
            Kind::Boolean if trimmed.eq_ignore_ascii_case("false") => Some(Staged::Boolean(false)),
            Kind::Boolean => None,
            Kind::Int64 => trimmed.parse().ok().map(Staged::Int64),
            Kind::Float64 => trimmed.parse().ok().map(Staged::Float64),
            Kind::Timestamp => crate::time::parse_us(trimmed).map(Staged::Timestamp),
            Kind::Utf8 => Some(self.store(text.bytes())),
            Kind::Binary => from_hex(trimmed).map(|bytes| self.store(bytes.into_iter())),
        };
        self.columns[column].staged = staged.ok_or_else(|| self.wrong(column, &format!("`{}`", quote(text))))?;
        Ok(())
    }

    fn store(&mut self, bytes: impl Iterator<Item = u8>) -> Staged {
        let start = self.scratch.len();
        self.scratch.extend(bytes);
        Staged::Bytes(start, self.scratch.len())
    }

    /// What to say of a cell that is not what the column wants.
    pub(super) fn wrong(&self, column: usize, found: &str) -> String {
        let Column { name, kind, .. } = &self.columns[column];
        let wanted = match kind {
            Kind::Boolean => "true or false",
            Kind::Int64 => "a whole number of 64 bits",
            Kind::Float64 => "a number",
            Kind::Timestamp => "an RFC 3339 time (2023-11-14T22:13:20Z) or whole microseconds",
            Kind::Utf8 => "text",
            Kind::Binary => "bytes as hexadecimal digits",
        };
        format!("column `{name}`: expected {wanted}, found {found}")
    }

    /// Appends the row, if every cell that must be there is.
    pub(super) fn commit(&mut self) -> Result<(), String> {
        let missing = |column: &&Column| matches!(column.staged, Staged::Null) && !column.nullable;
        if let Some(column) = self.columns.iter().find(missing) {
            return Err(format!("column `{}`: the value is missing or null, and the plan wants one", column.name));
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

impl Column {
    fn append(&mut self, scratch: &[u8]) {
        match (&mut self.builder, self.staged) {
            (Builder::Boolean(builder), Staged::Boolean(value)) => builder.append_value(value),
            (Builder::Int64(builder), Staged::Int64(value)) => builder.append_value(value),
            (Builder::Float64(builder), Staged::Float64(value)) => builder.append_value(value),
            (Builder::Timestamp(builder), Staged::Timestamp(value)) => builder.append_value(value),
            (Builder::Utf8(builder), Staged::Bytes(start, end)) => {
                builder.append_value(std::str::from_utf8(&scratch[start..end]).expect("it was staged from a str"));
            }
            (Builder::Binary(builder), Staged::Bytes(start, end)) => builder.append_value(&scratch[start..end]),
            (builder, _) => builder.append_null(),
        }
    }
}

impl Builder {
    fn append_null(&mut self) {
        match self {
            Self::Boolean(builder) => builder.append_null(),
            Self::Int64(builder) => builder.append_null(),
            Self::Float64(builder) => builder.append_null(),
            Self::Timestamp(builder) => builder.append_null(),
            Self::Utf8(builder) => builder.append_null(),
            Self::Binary(builder) => builder.append_null(),
        }
    }

    fn finish(self) -> ArrayRef {
        match self {
            Self::Boolean(mut builder) => Arc::new(builder.finish()),
            Self::Int64(mut builder) => Arc::new(builder.finish()),
            Self::Float64(mut builder) => Arc::new(builder.finish()),
            Self::Timestamp(mut builder) => Arc::new(builder.finish()),
            Self::Utf8(mut builder) => Arc::new(builder.finish()),
            Self::Binary(mut builder) => Arc::new(builder.finish()),
        }
    }
}

fn from_hex(text: &str) -> Option<Vec<u8>> {
    let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    let pairs = text.as_bytes().chunks(2);
    pairs.map(|pair| Some(digit(pair[0])? << 4 | digit(*pair.get(1)?)?)).collect()
}
