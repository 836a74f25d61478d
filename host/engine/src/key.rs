//! Keys as bytes: what hash tables, the shuffle, the state store and tie-breaks work on.
//!
//! A row's key columns become one byte string. The encoding is injective, and its byte order is the order of the
//! values (null first, false before true, NaN last, text and binary by bytes). It is stored in state, so it never changes:
//!
//! ```text
//! nullable column    00 = null (nothing follows) | 01, then the value
//! boolean            00 | 01
//! int64, timestamp   8 bytes big-endian, sign bit flipped
//! float64            8 bytes big-endian; negative: all bits flipped, else sign bit flipped; -0.0 as 0.0, one NaN
//! utf8, binary       last column of the key: the bytes as they are
//!                    else: 00 -> 00 FF, then 00 00 as the end
//! ```
//!
//! A single text column is therefore its own key, and is borrowed instead of copied.
//! The hash is XXH3 (64 bits, seed 0) of those bytes: it decides the partition, for ever.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, BinaryBuilder, BooleanBuilder, Float64Builder, Int64Builder, RecordBatch, StringBuilder,
    TimestampMicrosecondBuilder,
};
use arrow::buffer::{Buffer, ScalarBuffer};
use arrow::datatypes::{DataType, Field, Float64Type, Int64Type, Schema, TimestampMicrosecondType};
use xxhash_rust::xxh3::xxh3_64;

use crate::error::{Error, OFFSETS_MAX, Result};

/// Encoded keys of the rows of a batch.
#[derive(Clone, Debug)]
pub(crate) struct Keys {
    offsets: ScalarBuffer<i32>,
    bytes: Buffer,
}

impl Keys {
    /// The key of each row: its first `key_columns` columns, as `schema` declares them.
    pub(crate) fn of(node: &str, schema: &Schema, key_columns: usize, rows: &RecordBatch) -> Result<Self> {
        Self::encode(node, &schema.fields()[..key_columns], &rows.columns()[..key_columns], rows.num_rows())
    }

    /// Encodes the key of each row. Without columns every row has the empty key.
    fn encode(node: &str, fields: &[Arc<Field>], columns: &[ArrayRef], rows: usize) -> Result<Self> {
        if let ([only], [field]) = (columns, fields)
            && !field.is_nullable()
            && let Some(text) = only.as_string_opt::<i32>()
        {
            // Already what the encoding would give.
            return Ok(Self { offsets: text.offsets().inner().clone(), bytes: text.values().clone() });
        }
        let mut bytes = Vec::with_capacity(rows * 10 * columns.len());
        let mut offsets = Vec::with_capacity(rows + 1);
        let encoders = ColumnEncoder::of_key(fields, columns);
        offsets.push(0);
        for row in 0..rows {
            for encoder in &encoders {
                encoder.append(row, &mut bytes);
            }
            offsets.push(offset(node, bytes.len())?);
        }
        Ok(Self { offsets: offsets.into(), bytes: Buffer::from_vec(bytes) })
    }

    pub(crate) fn len(&self) -> usize {
        self.offsets.len().saturating_sub(1)
    }

    pub(crate) fn get(&self, row: usize) -> &[u8] {
        &self.bytes[self.offsets[row] as usize..self.offsets[row + 1] as usize]
    }

    pub(crate) fn hashes(&self) -> Vec<u64> {
        (0..self.len()).map(|row| hash(self.get(row))).collect()
    }
}

/// Hash of an encoded key.
pub(crate) fn hash(key: &[u8]) -> u64 {
    xxh3_64(key)
}

/// The partition that a key belongs to: the high bits of the hash, scaled, so that hash tables can use the low ones.
pub(crate) fn partition_of(hash: u64, partitions: usize) -> usize {
    ((u128::from(hash) * partitions as u128) >> 64) as usize
}

fn offset(node: &str, length: usize) -> Result<i32> {
    i32::try_from(length).map_err(|_| Error::TooLarge {
        node: node.to_owned(),
        what: "the keys".to_owned(),
        size: length as u64,
        limit: OFFSETS_MAX,
    })
}

/// Appends one column's values to byte strings.
pub(crate) struct ColumnEncoder<'a> {
    column: &'a ArrayRef,
    nullable: bool,
    /// Text and binary are escaped and terminated, as something follows or the order is turned round.
    terminated: bool,
    descending: bool,
}

impl<'a> ColumnEncoder<'a> {
    fn of_key(fields: &[Arc<Field>], columns: &'a [ArrayRef]) -> Vec<Self> {
        let last = columns.len().saturating_sub(1);
        let encoder = |(index, (field, column)): (usize, (&Arc<Field>, &'a ArrayRef))| Self {
            column,
            nullable: field.is_nullable(),
            terminated: index != last,
            descending: false,
        };
        fields.iter().zip(columns).enumerate().map(encoder).collect()
    }

    /// An encoder for sorting: the bytes of one column never run into the next one's.
    pub(crate) fn for_order(column: &'a ArrayRef, descending: bool) -> Self {
        Self { column, nullable: true, terminated: true, descending }
    }

    pub(crate) fn append(&self, row: usize, out: &mut Vec<u8>) {
        let start = out.len();
        if self.nullable {
            let null = self.column.is_null(row);
            out.push(u8::from(!null));
            if null {
                self.turn_round(start, out);
                return;
            }
        }
        match self.column.data_type() {
            DataType::Boolean => out.push(u8::from(self.column.as_boolean().value(row))),
            DataType::Int64 => out.extend(integer(self.column.as_primitive::<Int64Type>().value(row))),
            DataType::Timestamp(..) => {
                out.extend(integer(self.column.as_primitive::<TimestampMicrosecondType>().value(row)));
            }
            DataType::Float64 => out.extend(float(self.column.as_primitive::<Float64Type>().value(row))),
            DataType::Utf8 => self.append_bytes(self.column.as_string::<i32>().value(row).as_bytes(), out),
            DataType::Binary => self.append_bytes(self.column.as_binary::<i32>().value(row), out),
            other => unreachable!("the graph lets no column of type {other} through"),
        }
        self.turn_round(start, out);
    }

    fn append_bytes(&self, bytes: &[u8], out: &mut Vec<u8>) {
        if !self.terminated {
            out.extend_from_slice(bytes);
            return;
        }
        let mut rest = bytes;
        while let Some(zero) = rest.iter().position(|byte| *byte == 0) {
            out.extend_from_slice(&rest[..=zero]);
            out.push(0xff);
            rest = &rest[zero + 1..];
        }
        out.extend_from_slice(rest);
        out.extend_from_slice(&[0, 0]);
    }

    fn turn_round(&self, start: usize, out: &mut [u8]) {
        if self.descending {
            out[start..].iter_mut().for_each(|byte| *byte = !*byte);
        }
    }
}

/// Eight bytes that sort as the numbers do.
pub(crate) fn integer(value: i64) -> [u8; 8] {
    (value.cast_unsigned() ^ (1 << 63)).to_be_bytes()
}

/// Eight bytes that sort as the numbers do; all NaN are one, and last.
pub(crate) fn float(value: f64) -> [u8; 8] {
    let value = if value.is_nan() {
        f64::NAN
    } else if value == 0.0 {
        0.0
    } else {
        value
    };
    let bits = value.to_bits();
    let flipped = if bits >> 63 == 1 { !bits } else { bits | (1 << 63) };
    flipped.to_be_bytes()
}

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
            rest = decoder.push(rest, index == last).ok_or_else(|| Error::StateContent {
                node: node.to_owned(),
                reason: format!("{} bytes are no key of columns {fields:?}", key.len()),
            })?;
        }
    }
    Ok(decoders.into_iter().map(ColumnDecoder::finish).collect())
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
            other => unreachable!("the graph lets no column of type {other} through"),
        };
        Self { nullable: field.is_nullable(), builder }
    }

    /// Takes this column's value off the front of a key; gives the rest.
    fn push<'a>(&mut self, key: &'a [u8], last: bool) -> Option<&'a [u8]> {
        let mut key = key;
        if self.nullable {
            let (mark, rest) = key.split_first()?;
            key = rest;
            if *mark == 0 {
                self.push_null();
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
        }
    }

    fn push_null(&mut self) {
        match &mut self.builder {
            Builder::Boolean(builder) => builder.append_null(),
            Builder::Int64(builder) => builder.append_null(),
            Builder::Timestamp(builder) => builder.append_null(),
            Builder::Float64(builder) => builder.append_null(),
            Builder::Utf8(builder) => builder.append_null(),
            Builder::Binary(builder) => builder.append_null(),
        }
    }

    fn finish(self) -> ArrayRef {
        match self.builder {
            Builder::Boolean(mut builder) => Arc::new(builder.finish()),
            Builder::Int64(mut builder) => Arc::new(builder.finish()),
            Builder::Timestamp(mut builder) => Arc::new(builder.finish()),
            Builder::Float64(mut builder) => Arc::new(builder.finish()),
            Builder::Utf8(mut builder) => Arc::new(builder.finish()),
            Builder::Binary(mut builder) => Arc::new(builder.finish()),
        }
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

#[cfg(test)]
mod tests {
    use arrow::array::{BinaryArray, Float64Array, Int64Array, StringArray};
    use proptest::prelude::*;

    use super::*;

    type Row = (Option<String>, i64, Option<f64>, Vec<u8>);

    fn columns(rows: &[Row]) -> (Vec<Arc<Field>>, Vec<ArrayRef>) {
        let fields = vec![
            Arc::new(Field::new("a", DataType::Utf8, true)),
            Arc::new(Field::new("b", DataType::Int64, false)),
            Arc::new(Field::new("c", DataType::Float64, true)),
            Arc::new(Field::new("d", DataType::Binary, false)),
        ];
        let columns: Vec<ArrayRef> = vec![
            Arc::new(rows.iter().map(|row| row.0.clone()).collect::<StringArray>()),
            Arc::new(rows.iter().map(|row| row.1).collect::<Int64Array>()),
            Arc::new(rows.iter().map(|row| row.2).collect::<Float64Array>()),
            Arc::new(rows.iter().map(|row| Some(row.3.as_slice())).collect::<BinaryArray>()),
        ];
        (fields, columns)
    }

    fn rows() -> impl Strategy<Value = Vec<Row>> {
        let text = proptest::option::of("[\\x00ab]{0,4}");
        let number = proptest::option::of(prop_oneof![any::<f64>(), Just(0.0), Just(f64::INFINITY)]);
        let bytes = proptest::collection::vec(0u8..3, 0..4);
        proptest::collection::vec((text, any::<i64>(), number, bytes), 1..20)
    }

    fn order(left: &Row, right: &Row) -> std::cmp::Ordering {
        let float = |value: Option<f64>| value.map(|value| if value == 0.0 { 0.0 } else { value });
        let compare_floats = match (float(left.2), float(right.2)) {
            (Some(left), Some(right)) if left.is_nan() || right.is_nan() => left.is_nan().cmp(&right.is_nan()),
            (Some(left), Some(right)) => left.total_cmp(&right),
            (left, right) => left.is_some().cmp(&right.is_some()),
        };
        left.0.cmp(&right.0).then(left.1.cmp(&right.1)).then(compare_floats).then(left.3.cmp(&right.3))
    }

    proptest! {
        #[test]
        fn byte_order_is_value_order(rows in rows()) {
            let (fields, columns) = columns(&rows);
            let keys = Keys::encode("test", &fields, &columns, rows.len()).unwrap();
            for left in 0..rows.len() {
                for right in 0..rows.len() {
                    prop_assert_eq!(keys.get(left).cmp(keys.get(right)), order(&rows[left], &rows[right]));
                }
            }
        }

        #[test]
        fn decoding_gives_the_columns_back(rows in rows()) {
            let rows: Vec<Row> = rows.into_iter().map(|mut row| {
                row.2 = row.2.map(|value| if value == 0.0 { 0.0 } else if value.is_nan() { f64::NAN } else { value });
                row
            }).collect();
            let (fields, columns) = columns(&rows);
            let keys = Keys::encode("test", &fields, &columns, rows.len()).unwrap();
            let back = decode("test", &fields, (0..rows.len()).map(|row| keys.get(row))).unwrap();
            prop_assert_eq!(back, columns);
        }

        #[test]
        fn every_hash_has_a_partition(hash in any::<u64>(), partitions in 1usize..100) {
            prop_assert!(partition_of(hash, partitions) < partitions);
        }
    }

    #[test]
    fn a_text_key_is_borrowed() {
        let column: ArrayRef = Arc::new(StringArray::from(vec!["a", "", "b\0c"]).slice(1, 2));
        let keys = Keys::encode("test", &[Arc::new(Field::new("k", DataType::Utf8, false))], &[column], 2).unwrap();
        assert_eq!((keys.get(0), keys.get(1)), (&b""[..], &b"b\0c"[..]));
        assert_eq!(keys.len(), 2);
    }

    #[test]
    fn hash_and_partition_are_frozen() {
        // State on disk depends on these numbers: never change them.
        assert_eq!(hash(b"streaming"), xxh3_64(b"streaming"));
        assert_eq!(hash(b""), 0x2d06_8005_38d3_94c2);
        assert_eq!(partition_of(0x2d06_8005_38d3_94c2, 8), 1);
    }

    #[test]
    fn damaged_key_is_an_error_and_no_panic() {
        let fields = [Arc::new(Field::new("a", DataType::Int64, false))];
        assert!(decode("test", &fields, [&b"short"[..]].into_iter()).is_err());
    }
}
