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
//! other integers     as many bytes as they have, big-endian; sign bit of signed ones flipped
//! float32            4 bytes, as float64
//! date, duration     as the integers of 4 and 8 bytes that they are
//! decimal            as an integer of 16 bytes
//! struct             its fields, one after the other, none of them as the last column of the key
//! list               01 before each value, then 00 as the end
//! map                as a list of structs of key and value
//! ```
//!
//! Lists and maps are in no key; they are encoded to break ties of a sort, and as values of hot state. The latter keeps floats as
//! they are, -0.0 and every NaN, which is the only difference.
//!
//! A single text column is therefore its own key, and is borrowed instead of copied.
//! The hash is XXH3 (64 bits, seed 0) of those bytes: it decides the partition, for ever.

mod decode;
mod encode;

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch};
use arrow::buffer::{Buffer, NullBuffer, ScalarBuffer};
use arrow::datatypes::{DataType, Field, Schema};
pub(crate) use decode::decode;
pub(crate) use encode::{ColumnEncoder, float, integer};
use xxhash_rust::xxh3::xxh3_64;

use crate::columns::integers;
use crate::error::{Error, OFFSETS_MAX, Result};
use crate::gather;
use crate::key_table::{Inline, inline_of};

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
        if let ([only], [field]) = (columns, fields)
            && !field.is_nullable()
            && matches!(field.data_type(), DataType::Int64 | DataType::Timestamp(..))
        {
            // The same for every row, so it needs no encoder.
            let end = offset(node, rows.saturating_mul(8))?;
            let bytes: Vec<[u8; 8]> = integers(only).iter().map(|value| integer(*value)).collect();
            let offsets: Vec<i32> = (0..=end).step_by(8).collect();
            return Ok(Self { offsets: offsets.into(), bytes: Buffer::from_vec(bytes.into_flattened()) });
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

    /// Appends a key.
    #[inline]
    pub(crate) fn append(&self, row: usize, out: &mut Vec<u8>) {
        gather::append(&self.bytes, self.offsets[row] as usize, self.offsets[row + 1] as usize, out);
    }

    /// The key as it is in the record of a table, if it is short.
    #[inline]
    pub(crate) fn inline(&self, row: usize) -> Option<Inline> {
        inline_of(&self.bytes, self.offsets[row] as usize, self.offsets[row + 1] as usize)
    }

    pub(crate) fn hashes(&self) -> Vec<u64> {
        (0..self.len()).map(|row| hash(self.get(row))).collect()
    }
}

/// Which rows have a null in their key, if any: those are null here. A null inside of a struct is one, too.
pub(crate) fn null_keys(rows: &RecordBatch, key_columns: usize) -> Option<NullBuffer> {
    nulls_in(&rows.columns()[..key_columns]).filter(|nulls| nulls.null_count() > 0)
}

fn nulls_in(columns: &[ArrayRef]) -> Option<NullBuffer> {
    let nulls = columns.iter().map(|column| {
        let inside = column.as_struct_opt().and_then(|columns| nulls_in(columns.columns()));
        NullBuffer::union(column.logical_nulls().as_ref(), inside.as_ref())
    });
    nulls.fold(None, |all, nulls| NullBuffer::union(all.as_ref(), nulls.as_ref()))
}

/// Hash of an encoded key.
pub(crate) fn hash(key: &[u8]) -> u64 {
    xxh3_64(key)
}

/// The partition that a key belongs to: the high bits of the hash, scaled. (Tables of keys mix the upper half before they use it.)
pub(crate) fn partition_of(hash: u64, partitions: usize) -> usize {
    ((u128::from(hash) * partitions as u128) >> 64) as usize
}

fn offset(node: &str, length: usize) -> Result<i32> {
    i32::try_from(length).map_err(|_| Error::TooLarge {
        node: node.to_owned(),
        what: "the keys".to_owned(),
        size: length as u64,
        unit: "bytes",
        limit: OFFSETS_MAX,
    })
}

#[cfg(test)]
mod tests {
    use arrow::array::{BinaryArray, Float64Array, Int64Array, StringArray};
    use arrow::datatypes::DataType;
    use millpond_core::schema::{list_of, map_of};
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
    fn numbers_alone_are_encoded_as_in_longer_keys() {
        let column: ArrayRef = Arc::new(Int64Array::from(vec![7, i64::MIN, -1, 0, i64::MAX]).slice(1, 4));
        let encode = |nullable| {
            let field = Arc::new(Field::new("k", DataType::Int64, nullable));
            Keys::encode("test", &[field], &[Arc::clone(&column)], 4).unwrap()
        };
        let (alone, marked) = (encode(false), encode(true));
        assert_eq!(alone.len(), 4);
        // A nullable column's value has a mark before it.
        assert!((0..4).all(|row| alone.get(row) == &marked.get(row)[1..]));
        let none = Keys::encode("test", &[Arc::new(Field::new("k", DataType::Int64, false))], &[column.slice(0, 0)], 0);
        assert_eq!(none.unwrap().len(), 0);
    }

    #[test]
    fn hash_and_partition_are_frozen() {
        // State on disk depends on these numbers: never change them.
        assert_eq!(hash(b"streaming"), xxh3_64(b"streaming"));
        assert_eq!(hash(b""), 0x2d06_8005_38d3_94c2);
        assert_eq!(partition_of(0x2d06_8005_38d3_94c2, 8), 1);
    }

    /// A nullable struct as it is in keys, and lists, maps and structs of every kind in each other.
    fn nested() -> (Vec<Arc<Field>>, Vec<ArrayRef>) {
        let json = br#"
            {"s": {"a": "x", "b": 1}, "l": [[0.5], null, []], "m": {"k": {"a": null, "b": -1}}}
            {"s": null, "l": [], "m": {}}
            {"s": {"a": null, "b": 1}, "l": [null], "m": {"k": null, "l": {"a": "", "b": 0}}}
            {"s": {"a": "x\u0000y", "b": 0}, "l": [[0.5]], "m": {"": {"a": "z", "b": 7}}}
            {"s": {"a": "x", "b": 0}, "l": [[-0.0, 1.5], [2.5]], "m": {"k": {"a": null, "b": -2}}}
        "#;
        let pair = DataType::Struct(
            vec![Field::new("a", DataType::Utf8, true), Field::new("b", DataType::Int64, false)].into(),
        );
        let fields = vec![
            Field::new("s", pair.clone(), true),
            Field::new("l", list_of(list_of(DataType::Float64, false), true), false),
            Field::new("m", map_of(DataType::Utf8, pair, true), false),
        ];
        let schema = Arc::new(Schema::new(fields));
        let rows =
            arrow::json::ReaderBuilder::new(Arc::clone(&schema)).build(&json[..]).unwrap().next().unwrap().unwrap();
        (schema.fields().to_vec(), rows.columns().to_vec())
    }

    #[test]
    fn nested_columns_come_back_and_are_ordered_level_by_level() {
        let (fields, columns) = nested();
        for (field, column) in fields.iter().zip(&columns) {
            let encoder = ColumnEncoder::exact(column, field.is_nullable());
            let encoded: Vec<Vec<u8>> = (0..column.len())
                .map(|row| {
                    let mut bytes = Vec::new();
                    encoder.append(row, &mut bytes);
                    bytes
                })
                .collect();
            let back = decode("test", std::slice::from_ref(field), encoded.iter().map(Vec::as_slice)).unwrap();
            assert_eq!(&back[0], column);
        }
        let order = |column: usize| {
            let keys = Keys::encode("test", &fields[column..=column], &columns[column..=column], 5).unwrap();
            let mut rows: Vec<usize> = (0..5).collect();
            rows.sort_by_key(|row| keys.get(*row).to_vec());
            rows
        };
        // Null first; then by the first field, null first; then by the second. Shorter lists first.
        assert_eq!(order(0), [1, 2, 4, 0, 3]);
        assert_eq!(order(1), [1, 2, 4, 3, 0]);
        assert_eq!(order(2), [1, 3, 2, 4, 0]);
    }

    #[test]
    fn nested_encodings_are_frozen() {
        let (fields, columns) = nested();
        let keys = Keys::encode("test", &fields[..1], &columns[..1], 5).unwrap();
        let hex = |row: usize| keys.get(row).iter().map(|byte| format!("{byte:02x}")).collect::<String>();
        assert_eq!(hex(0), "01017800008000000000000001");
        assert_eq!(hex(1), "00");
        assert_eq!(hex(2), "01008000000000000001");
    }

    #[test]
    fn damaged_key_is_an_error_and_no_panic() {
        let fields = [Arc::new(Field::new("a", DataType::Int64, false))];
        assert!(decode("test", &fields, [&b"short"[..]].into_iter()).is_err());
    }
}
