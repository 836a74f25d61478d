//! Rows of several batches, put together into one.
//!
//! Columns of numbers and of bytes without nulls, which is what most keys and values are, are copied here, source by source; Arrow's
//! `interleave`, which does the rest, is told of each row where it comes from.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BinaryArray, PrimitiveArray, RecordBatch};
use arrow::buffer::{Buffer, OffsetBuffer, ScalarBuffer};
use arrow::compute::interleave;
use arrow::datatypes::{ArrowPrimitiveType, DataType, SchemaRef};
use arrow::error::ArrowError;
use millpond_core::text;

use crate::columns;
use crate::error::{Error, Result};
use crate::primitive::with_primitive;

/// Short values are copied in one go of so many bytes.
const COPIED: usize = 16;

/// A batch, and which of its rows are wanted, in this order.
pub(crate) type Part<'a> = (&'a RecordBatch, &'a [u32]);

/// The rows of all parts, under the schema's names.
pub(crate) fn gather(node: &str, schema: &SchemaRef, parts: &[Part<'_>]) -> Result<RecordBatch> {
    let rows = parts.iter().map(|(_, rows)| rows.len()).sum();
    if rows == 0 {
        return Ok(RecordBatch::new_empty(Arc::clone(schema)));
    }
    let mut columns = Vec::with_capacity(schema.fields().len());
    for (index, field) in schema.fields().iter().enumerate() {
        let parts: Vec<(&ArrayRef, &[u32])> = parts.iter().map(|(batch, rows)| (batch.column(index), *rows)).collect();
        let has_nulls = parts.iter().any(|(column, _)| column.null_count() > 0);
        let gathered: Result<ArrayRef, ArrowError> = match field.data_type() {
            _ if has_nulls => interleaved(&parts),
            DataType::Utf8 => texts(&parts, rows),
            DataType::Binary => binaries(&parts, rows),
            data_type => {
                with_primitive!(data_type, T => Ok(numbers::<T>(&parts, rows, data_type)), else interleaved(&parts))
            }
        };
        columns.push(gathered.map_err(Error::arrow(node))?);
    }
    columns::batch(node, schema, columns, rows)
}

fn interleaved(parts: &[(&ArrayRef, &[u32])]) -> Result<ArrayRef, ArrowError> {
    let columns: Vec<&dyn Array> = parts.iter().map(|(column, _)| column.as_ref()).collect();
    let places =
        parts.iter().enumerate().flat_map(|(part, (_, rows))| rows.iter().map(move |row| (part, *row as usize)));
    interleave(&columns, &places.collect::<Vec<_>>())
}

fn numbers<T: ArrowPrimitiveType>(parts: &[(&ArrayRef, &[u32])], rows: usize, data_type: &DataType) -> ArrayRef {
    let mut gathered = Vec::with_capacity(rows);
    for (column, rows) in parts {
        let values = column.as_primitive::<T>().values();
        gathered.extend(rows.iter().map(|row| values[*row as usize]));
    }
    Arc::new(PrimitiveArray::<T>::new(gathered.into(), None).with_data_type(data_type.clone()))
}

fn texts(parts: &[(&ArrayRef, &[u32])], rows: usize) -> Result<ArrayRef, ArrowError> {
    let sources = parts.iter().map(|(column, rows)| {
        let column = column.as_string::<i32>();
        (column.value_offsets(), column.values().as_slice(), *rows)
    });
    let (offsets, bytes) = bytes(sources, rows)?;
    let gathered = text::column(offsets, bytes, None).expect("rows of text are text");
    Ok(Arc::new(gathered))
}

fn binaries(parts: &[(&ArrayRef, &[u32])], rows: usize) -> Result<ArrayRef, ArrowError> {
    let sources = parts.iter().map(|(column, rows)| {
        let column = column.as_binary::<i32>();
        (column.value_offsets(), column.values().as_slice(), *rows)
    });
    let (offsets, bytes) = bytes(sources, rows)?;
    Ok(Arc::new(BinaryArray::new(offsets, bytes, None)))
}

/// Lays rows end to end. A source is its offsets, its bytes, and which rows are wanted.
fn bytes<'a>(
    sources: impl Iterator<Item = (&'a [i32], &'a [u8], &'a [u32])> + Clone,
    rows: usize,
) -> Result<(OffsetBuffer<i32>, Buffer), ArrowError> {
    let mut ends = Vec::with_capacity(rows + 1);
    ends.push(0);
    let mut end = 0_i64;
    for (offsets, _, rows) in sources.clone() {
        ends.extend(rows.iter().map(|row| {
            end += i64::from(offsets[*row as usize + 1] - offsets[*row as usize]);
            end as i32
        }));
    }
    if i32::try_from(end).is_err() {
        return Err(ArrowError::OffsetOverflowError(end as usize));
    }
    let mut gathered = Vec::with_capacity(end as usize + COPIED);
    for (offsets, bytes, rows) in sources {
        for row in rows {
            append(bytes, offsets[*row as usize] as usize, offsets[*row as usize + 1] as usize, &mut gathered);
        }
    }
    Ok((OffsetBuffer::new(ScalarBuffer::from(ends)), Buffer::from_vec(gathered)))
}

/// Appends `bytes[start..end]`.
#[inline]
pub(crate) fn append(bytes: &[u8], start: usize, end: usize, out: &mut Vec<u8>) {
    // A copy of so many bytes is two instructions, any other a call; so a short row is copied with what stands behind it.
    match bytes.get(start..start + COPIED).and_then(<[u8]>::first_chunk::<COPIED>) {
        Some(chunk) if end - start <= COPIED => {
            let length = out.len() + end - start;
            out.extend_from_slice(chunk);
            out.truncate(length);
        }
        _ => out.extend_from_slice(&bytes[start..end]),
    }
}

#[cfg(test)]
mod tests {
    use arrow::array::{BooleanArray, Float64Array, Int64Array, StringArray};
    use arrow::compute::interleave_record_batch;
    use arrow::datatypes::{Field, Schema};
    use millpond_core::Classify;
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn gathered_rows_are_interleaved_ones(
            sources in proptest::collection::vec(
                (proptest::collection::vec(("[a\u{e9}]{0,20}", any::<i64>(), proptest::option::of(any::<bool>())), 1..20), 0..4usize),
                0..4,
            ),
            picks in proptest::collection::vec(proptest::collection::vec(any::<proptest::sample::Index>(), 0..30), 4),
        ) {
            let schema = Arc::new(Schema::new(vec![
                Field::new("text", DataType::Utf8, false),
                Field::new("bytes", DataType::Binary, false),
                Field::new("number", DataType::Int64, true),
                Field::new("float", DataType::Float64, false),
                Field::new("flag", DataType::Boolean, true),
            ]));
            let batches: Vec<RecordBatch> = sources.iter().map(|(rows, cut)| {
                let flags: Vec<Option<bool>> = rows.iter().map(|row| row.2).collect();
                let columns: Vec<ArrayRef> = vec![
                    Arc::new(rows.iter().map(|row| Some(&row.0)).collect::<StringArray>()),
                    Arc::new(rows.iter().map(|row| Some(row.0.as_bytes())).collect::<BinaryArray>()),
                    Arc::new(rows.iter().map(|row| row.2.map(|_| row.1)).collect::<Int64Array>()),
                    Arc::new(rows.iter().map(|row| row.1 as f64).collect::<Float64Array>()),
                    Arc::new(BooleanArray::from(flags)),
                ];
                // What is cut off in front is not a row.
                let cut = (*cut).min(rows.len() - 1);
                RecordBatch::try_new(Arc::clone(&schema), columns).unwrap().slice(cut, rows.len() - cut)
            }).collect();
            let picks: Vec<Vec<u32>> = batches.iter().zip(&picks)
                .map(|(batch, picks)| picks.iter().map(|pick| pick.index(batch.num_rows()) as u32).collect())
                .collect();
            let parts: Vec<Part<'_>> = batches.iter().zip(&picks).map(|(batch, rows)| (batch, rows.as_slice())).collect();
            let places: Vec<(usize, usize)> = picks.iter().enumerate()
                .flat_map(|(part, rows)| rows.iter().map(move |row| (part, *row as usize)))
                .collect();
            let expected = match batches.is_empty() {
                true => RecordBatch::new_empty(Arc::clone(&schema)),
                false => interleave_record_batch(&batches.iter().collect::<Vec<_>>(), &places).unwrap(),
            };
            prop_assert_eq!(gather("n", &schema, &parts).unwrap(), expected);
        }
    }

    #[test]
    fn more_bytes_than_offsets_can_tell_are_refused_before_memory_is_taken() {
        let column: ArrayRef = Arc::new(StringArray::from(vec!["x".repeat(1 << 26)]));
        let schema = Arc::new(Schema::new(vec![Field::new("text", DataType::Utf8, false)]));
        let batch = RecordBatch::try_new(Arc::clone(&schema), vec![column]).unwrap();
        let error = gather("all", &schema, &[(&batch, &[0; 32])]).unwrap_err();
        assert_eq!(error.code().0, "MP0805", "{error}");
    }
}
