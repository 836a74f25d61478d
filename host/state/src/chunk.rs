//! Rows as bytes and back: Arrow IPC streams, and keys joined with their values.
//!
//! Inside this crate a chunk of keyed state is one `RecordBatch` whose first column, `key`, holds the keys and whose other
//! columns are the values; the port's [`KeyedChunk`] is split off at the edge. So keys and values are written, filtered,
//! gathered and concatenated in one go, and a file of such chunks is readable by any Arrow tool.

use std::sync::Arc;

use arrow::array::{Array, AsArray, BinaryArray, RecordBatch};
use arrow::compute::concat_batches;
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use arrow::error::ArrowError;
use arrow::ipc::MetadataVersion;
use arrow::ipc::reader::StreamReader;
use arrow::ipc::writer::{IpcWriteOptions, StreamWriter};
use millpond_core::store::KeyedChunk;

use crate::codec::Damage;

/// Rows of a chunk that recovery and snapshots hand on: large enough that the cost per chunk vanishes, small enough that
/// 32-bit offsets never overflow (see [`CHUNK_BYTES`]).
pub(crate) const CHUNK_ROWS: usize = 64 * 1024;

/// A chunk is closed when it has so many bytes, whatever its rows.
const CHUNK_BYTES: usize = 16 << 20;

/// Appends `rows` as one Arrow IPC stream.
pub(crate) fn encode_rows(rows: &RecordBatch, out: &mut Vec<u8>) -> Result<(), ArrowError> {
    let mut writer = StreamWriter::try_new_with_options(out, rows.schema_ref(), options()?)?;
    writer.write(rows)?;
    writer.finish()
}

/// IPC options: 8-byte alignment, because pages are small and padding to 64 would be a large part of them.
pub(crate) fn options() -> Result<IpcWriteOptions, ArrowError> {
    IpcWriteOptions::try_new(8, false, MetadataVersion::V5)
}

/// Reads what [`encode_rows`] wrote. The bytes' checksum has been compared before.
pub(crate) fn decode_rows(bytes: &[u8]) -> Result<RecordBatch, Damage> {
    let failed = |error: ArrowError| Damage(format!("rows cannot be decoded: {error}"));
    let mut reader = StreamReader::try_new(bytes, None).map_err(failed)?;
    reader.next().ok_or_else(|| Damage::new("an Arrow stream without rows"))?.map_err(failed)
}

/// As [`decode_rows`], for rows that [`join`] made.
pub(crate) fn decode_keyed(bytes: &[u8]) -> Result<RecordBatch, Damage> {
    let rows = decode_rows(bytes)?;
    check_keyed(&rows)?;
    Ok(rows)
}

/// Checks that rows that were read have a key column, so that [`keys_of`] may rely on it.
pub(crate) fn check_keyed(rows: &RecordBatch) -> Result<(), Damage> {
    let keys = rows.columns().first().and_then(|column| column.as_binary_opt::<i32>());
    match keys {
        Some(keys) if keys.null_count() == 0 => Ok(()),
        _ => Err(Damage::new("keyed rows without a key column")),
    }
}

/// The key column alone, for deletions.
pub(crate) fn keys_only(keys: &BinaryArray) -> RecordBatch {
    let schema = Schema::new(vec![Field::new("key", DataType::Binary, false)]);
    RecordBatch::try_new(Arc::new(schema), vec![Arc::new(keys.clone())])
        .expect("one column without nulls fits its schema")
}

/// Keys and values in one batch. They have the same number of rows, and no key is null: the commit has checked it.
pub(crate) fn join(keys: &BinaryArray, values: &RecordBatch) -> Result<RecordBatch, ArrowError> {
    let schema = values.schema_ref();
    let key = Arc::new(Field::new("key", DataType::Binary, false));
    let fields: Vec<_> = std::iter::once(key).chain(schema.fields().iter().map(Arc::clone)).collect();
    let joined = Schema::new_with_metadata(fields, schema.metadata().clone());
    let columns = std::iter::once(Arc::new(keys.clone()) as _).chain(values.columns().iter().map(Arc::clone)).collect();
    RecordBatch::try_new(Arc::new(joined), columns)
}

/// The keys of a joined batch.
pub(crate) fn keys_of(rows: &RecordBatch) -> &BinaryArray {
    rows.column(0).as_binary::<i32>()
}

/// The port's view of a joined batch.
pub(crate) fn split(mut rows: RecordBatch) -> KeyedChunk {
    let keys = rows.column(0).as_binary::<i32>().clone();
    let values = if rows.num_columns() == 1 {
        let options = arrow::array::RecordBatchOptions::new().with_row_count(Some(rows.num_rows()));
        let schema = Schema::new_with_metadata(Vec::<Field>::new(), rows.schema_ref().metadata().clone());
        RecordBatch::try_new_with_options(Arc::new(schema), vec![], &options).expect("no columns fit any row count")
    } else {
        rows.remove_column(0);
        rows
    };
    KeyedChunk { keys, values }
}

/// How many bytes the rows take, without the spare room of shared buffers.
pub(crate) fn rows_bytes(rows: &RecordBatch) -> usize {
    rows.columns().iter().map(|column| column.to_data().get_slice_memory_size().unwrap_or(0)).sum()
}

/// Gathers small batches into large ones, one under way per schema.
#[derive(Default)]
pub(crate) struct Coalescer {
    open: Vec<OpenChunk>,
}

struct OpenChunk {
    schema: SchemaRef,
    parts: Vec<RecordBatch>,
    rows: usize,
    bytes: usize,
}

impl Coalescer {
    /// Takes a batch; gives back a large one when it is full.
    pub(crate) fn push(&mut self, rows: RecordBatch) -> Result<Option<RecordBatch>, ArrowError> {
        if rows.num_rows() == 0 {
            return Ok(None);
        }
        let at = match self.open.iter().position(|open| same_schema(&open.schema, rows.schema_ref())) {
            Some(at) => at,
            None => {
                self.open.push(OpenChunk { schema: rows.schema(), parts: Vec::new(), rows: 0, bytes: 0 });
                self.open.len() - 1
            }
        };
        let open = &mut self.open[at];
        open.rows += rows.num_rows();
        open.bytes += rows_bytes(&rows);
        open.parts.push(rows);
        if open.rows >= CHUNK_ROWS || open.bytes >= CHUNK_BYTES {
            return self.open.swap_remove(at).close().map(Some);
        }
        Ok(None)
    }

    /// What is left.
    pub(crate) fn finish(&mut self) -> Result<Vec<RecordBatch>, ArrowError> {
        self.open.drain(..).map(OpenChunk::close).collect()
    }
}

impl OpenChunk {
    fn close(mut self) -> Result<RecordBatch, ArrowError> {
        if self.parts.len() == 1 {
            return Ok(self.parts.remove(0));
        }
        concat_batches(&self.schema, &self.parts)
    }
}

/// Whether two schemas are equal; most often they are the same object.
pub(crate) fn same_schema(left: &SchemaRef, right: &SchemaRef) -> bool {
    Arc::ptr_eq(left, right) || left == right
}

#[cfg(test)]
mod tests {
    use arrow::array::{ArrayRef, BooleanArray, Float64Array, Int64Array, RecordBatchOptions, StringArray};
    use proptest::prelude::*;

    use super::*;

    fn round_trip(rows: &RecordBatch) -> RecordBatch {
        let mut bytes = Vec::new();
        encode_rows(rows, &mut bytes).unwrap();
        decode_rows(&bytes).unwrap()
    }

    proptest! {
        #[test]
        fn rows_survive_the_round_trip(rows in prop::collection::vec(any::<(Option<i64>, Option<String>, bool, Option<f64>)>(), 0..50)) {
            let columns: Vec<(&str, ArrayRef, bool)> = vec![
                ("a", Arc::new(rows.iter().map(|row| row.0).collect::<Int64Array>()), true),
                ("b", Arc::new(rows.iter().map(|row| row.1.as_deref()).collect::<StringArray>()), true),
                ("c", Arc::new(rows.iter().map(|row| Some(row.2)).collect::<BooleanArray>()), false),
                ("d", Arc::new(rows.iter().map(|row| row.3.filter(|v| !v.is_nan())).collect::<Float64Array>()), true),
            ];
            let batch = RecordBatch::try_from_iter_with_nullable(columns).unwrap();
            prop_assert_eq!(&round_trip(&batch), &batch);
            let half = batch.slice(rows.len() / 2, rows.len() - rows.len() / 2);
            prop_assert_eq!(round_trip(&half), half);
        }
    }

    #[test]
    fn rows_without_columns_keep_their_count() {
        let options = RecordBatchOptions::new().with_row_count(Some(3));
        let rows = RecordBatch::try_new_with_options(Arc::new(Schema::empty()), vec![], &options).unwrap();
        assert_eq!(round_trip(&rows).num_rows(), 3);
        let keys = BinaryArray::from_vec(vec![b"a", b"b", b"c"]);
        let chunk = split(join(&keys, &rows).unwrap());
        assert_eq!((chunk.keys, chunk.values), (keys, rows));
    }

    #[test]
    fn coalescer_keeps_schemas_apart() {
        let one = keys_only(&BinaryArray::from_vec(vec![b"a"]));
        let other = join(&BinaryArray::from_vec(vec![b"b"]), &one).unwrap();
        let mut coalescer = Coalescer::default();
        for rows in [&one, &other, &one] {
            assert!(coalescer.push(rows.clone()).unwrap().is_none());
        }
        let rows: Vec<usize> = coalescer.finish().unwrap().iter().map(RecordBatch::num_rows).collect();
        assert_eq!(rows, [2, 1]);
    }
}
