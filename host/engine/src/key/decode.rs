//! Bytes back to columns.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, AsArray, BinaryBuilder, BooleanBuilder, Float64Builder, Int64Builder, ListArray, MapArray,
    PrimitiveBuilder, StringBuilder, StructArray, TimestampMicrosecondBuilder,
};
use arrow::buffer::{NullBuffer, OffsetBuffer};
use arrow::datatypes::{ArrowPrimitiveType, DataType, Field, Schema};
use arrow::error::ArrowError;

use millpond_core::schema;

use crate::error::{Error, Result};
use crate::primitive::{Ordinal, with_primitive};

/// Rebuilds key columns from encoded keys.
pub(crate) fn decode<'a>(
    node: &str,
    fields: &[Arc<Field>],
    keys: impl ExactSizeIterator<Item = &'a [u8]>,
) -> Result<Vec<ArrayRef>> {
    let mut decoders: Vec<ColumnDecoder> = fields.iter().map(|field| ColumnDecoder::new(field, keys.len())).collect();
    let last = fields.len().saturating_sub(1);
    for key in keys {
        let mut rest = key;
        for (index, decoder) in decoders.iter_mut().enumerate() {
            rest = decoder.take(rest, index == last).ok_or_else(|| Error::StateContent {
                node: node.to_owned(),
                reason: format!(
                    "{} bytes are no key of columns ({})",
                    key.len(),
                    schema::describe(&Schema::new(fields.to_vec()))
                ),
            })?;
        }
    }
    decoders.into_iter().map(|decoder| decoder.finish().map_err(Error::arrow(node))).collect()
}

struct ColumnDecoder {
    nullable: bool,
    builder: Builder,
}

enum Builder {
    Boolean(BooleanBuilder),
    Int64(Int64Builder),
    Timestamp(TimestampMicrosecondBuilder),
    Float64(Float64Builder),
    Utf8(StringBuilder),
    Binary(BinaryBuilder),
    Primitive(Box<dyn PrimitiveDecoder>),
    Nested(Box<Nested>),
}

/// A column with columns inside.
struct Nested {
    data_type: DataType,
    children: Vec<ColumnDecoder>,
    valid: Vec<bool>,
    /// Of lists and maps: where each row ends.
    ends: Vec<i32>,
}

impl ColumnDecoder {
    fn new(field: &Field, rows: usize) -> Self {
        let builder = match field.data_type() {
            DataType::Boolean => Builder::Boolean(BooleanBuilder::with_capacity(rows)),
            DataType::Int64 => Builder::Int64(Int64Builder::with_capacity(rows)),
            DataType::Timestamp(..) => Builder::Timestamp(TimestampMicrosecondBuilder::with_capacity(rows)),
            DataType::Float64 => Builder::Float64(Float64Builder::with_capacity(rows)),
            DataType::Utf8 => Builder::Utf8(StringBuilder::with_capacity(rows, rows * 8)),
            DataType::Binary => Builder::Binary(BinaryBuilder::with_capacity(rows, rows * 8)),
            data_type => with_primitive!(data_type, T => {
                let builder = PrimitiveBuilder::<T>::with_capacity(rows).with_data_type(data_type.clone());
                Builder::Primitive(Box::new(builder))
            }, else Builder::Nested(Box::new(Nested {
                data_type: data_type.clone(),
                children: schema::children(data_type).iter().map(|field| Self::new(field, rows)).collect(),
                valid: Vec::with_capacity(rows),
                ends: vec![0],
            }))),
        };
        Self { nullable: field.is_nullable(), builder }
    }

    /// Takes this column's value off the front of a key; gives the rest.
    fn take<'a>(&mut self, key: &'a [u8], last: bool) -> Option<&'a [u8]> {
        let mut key = key;
        if self.nullable {
            let (mark, rest) = key.split_first()?;
            key = rest;
            if *mark == 0 {
                self.push_nothing();
                return Some(key);
            }
        }
        match &mut self.builder {
            Builder::Boolean(builder) => {
                let (value, rest) = key.split_first()?;
                builder.append_value(*value != 0);
                Some(rest)
            }
            Builder::Int64(builder) => {
                let (value, rest) = key.split_first_chunk()?;
                builder.append_value(integer_back(*value));
                Some(rest)
            }
            Builder::Timestamp(builder) => {
                let (value, rest) = key.split_first_chunk()?;
                builder.append_value(integer_back(*value));
                Some(rest)
            }
            Builder::Float64(builder) => {
                let (value, rest) = key.split_first_chunk()?;
                builder.append_value(float_back(*value));
                Some(rest)
            }
            Builder::Utf8(builder) => {
                let (bytes, rest) = bytes_back(key, last)?;
                builder.append_value(std::str::from_utf8(&bytes).ok()?);
                Some(rest)
            }
            Builder::Binary(builder) => {
                let (bytes, rest) = bytes_back(key, last)?;
                builder.append_value(bytes);
                Some(rest)
            }
            Builder::Primitive(builder) => builder.take(key),
            Builder::Nested(nested) => nested.take(key),
        }
    }

    /// A null, or of a column that is never null (inside of a struct that is) any value.
    fn push_nothing(&mut self) {
        match &mut self.builder {
            Builder::Boolean(builder) => builder.append_option((!self.nullable).then_some(false)),
            Builder::Int64(builder) => builder.append_option((!self.nullable).then_some(0)),
            Builder::Timestamp(builder) => builder.append_option((!self.nullable).then_some(0)),
            Builder::Float64(builder) => builder.append_option((!self.nullable).then_some(0.0)),
            Builder::Utf8(builder) => builder.append_option((!self.nullable).then_some("")),
            Builder::Binary(builder) => builder.append_option((!self.nullable).then_some([])),
            Builder::Primitive(builder) => builder.push_nothing(!self.nullable),
            Builder::Nested(nested) => nested.push_nothing(!self.nullable),
        }
    }

    fn finish(self) -> Result<ArrayRef, ArrowError> {
        Ok(match self.builder {
            Builder::Boolean(mut builder) => Arc::new(builder.finish()),
            Builder::Int64(mut builder) => Arc::new(builder.finish()),
            Builder::Timestamp(mut builder) => Arc::new(builder.finish()),
            Builder::Float64(mut builder) => Arc::new(builder.finish()),
            Builder::Utf8(mut builder) => Arc::new(builder.finish()),
            Builder::Binary(mut builder) => Arc::new(builder.finish()),
            Builder::Primitive(mut builder) => builder.finish_column(),
            Builder::Nested(nested) => return nested.finish(self.nullable),
        })
    }
}

/// A builder of values of a fixed size.
trait PrimitiveDecoder {
    /// Takes a value off the front of a key; gives the rest.
    fn take<'a>(&mut self, key: &'a [u8]) -> Option<&'a [u8]>;
    fn push_nothing(&mut self, valid: bool);
    fn finish_column(&mut self) -> ArrayRef;
}

impl<T: ArrowPrimitiveType<Native: Ordinal>> PrimitiveDecoder for PrimitiveBuilder<T> {
    fn take<'a>(&mut self, key: &'a [u8]) -> Option<&'a [u8]> {
        let (value, rest) = T::Native::take(key)?;
        self.append_value(value);
        Some(rest)
    }

    fn push_nothing(&mut self, valid: bool) {
        self.append_option(valid.then(T::Native::default));
    }

    fn finish_column(&mut self) -> ArrayRef {
        Arc::new(self.finish())
    }
}

impl Nested {
    fn take<'a>(&mut self, key: &'a [u8]) -> Option<&'a [u8]> {
        self.valid.push(true);
        let mut rest = key;
        if matches!(self.data_type, DataType::Struct(_)) {
            for child in &mut self.children {
                rest = child.take(rest, false)?;
            }
            return Some(rest);
        }
        let mut end = *self.ends.last()?;
        loop {
            let (mark, after) = rest.split_first()?;
            rest = after;
            if *mark == 0 {
                self.ends.push(end);
                return Some(rest);
            }
            rest = self.children[0].take(rest, false)?;
            end = end.checked_add(1)?;
        }
    }

    fn push_nothing(&mut self, valid: bool) {
        self.valid.push(valid);
        if matches!(self.data_type, DataType::Struct(_)) {
            self.children.iter_mut().for_each(ColumnDecoder::push_nothing);
        } else {
            self.ends.extend(self.ends.last().copied());
        }
    }

    fn finish(self, nullable: bool) -> Result<ArrayRef, ArrowError> {
        let nulls = nullable.then(|| NullBuffer::from(self.valid)).filter(|nulls| nulls.null_count() > 0);
        let children = self.children.into_iter().map(ColumnDecoder::finish).collect::<Result<Vec<_>, _>>()?;
        Ok(match self.data_type {
            DataType::List(item) => {
                let ends = OffsetBuffer::new(self.ends.into());
                Arc::new(ListArray::try_new(item, ends, Arc::clone(&children[0]), nulls)?)
            }
            DataType::Map(entries, sorted) => {
                let ends = OffsetBuffer::new(self.ends.into());
                Arc::new(MapArray::try_new(entries, ends, children[0].as_struct().clone(), nulls, sorted)?)
            }
            DataType::Struct(fields) => Arc::new(StructArray::try_new(fields, children, nulls)?),
            other => unreachable!("a column of type {other} has no columns inside"),
        })
    }
}

fn integer_back(bytes: [u8; 8]) -> i64 {
    (u64::from_be_bytes(bytes) ^ (1 << 63)).cast_signed()
}

fn float_back(bytes: [u8; 8]) -> f64 {
    let bits = u64::from_be_bytes(bytes);
    f64::from_bits(if bits >> 63 == 1 { bits & !(1 << 63) } else { !bits })
}

fn bytes_back(key: &[u8], last: bool) -> Option<(std::borrow::Cow<'_, [u8]>, &[u8])> {
    if last {
        return Some((key.into(), &[]));
    }
    let mut bytes = Vec::new();
    let mut rest = key;
    loop {
        let zero = rest.iter().position(|byte| *byte == 0)?;
        bytes.extend_from_slice(&rest[..zero]);
        let mark = *rest.get(zero + 1)?;
        rest = &rest[zero + 2..];
        match mark {
            0 => return Some((bytes.into(), rest)),
            0xff => bytes.push(0),
            _ => return None,
        }
    }
}
