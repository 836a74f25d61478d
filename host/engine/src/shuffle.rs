//! Moves rows to the partition that their key's hash names.

use std::sync::Arc;

use arrow::array::{RecordBatch, UInt32Array};
use arrow::compute::{concat_batches, take_record_batch};
use arrow::datatypes::SchemaRef;
use millpond_core::PartitionBatch;
use millpond_core::batch::partitions;

use crate::columns;
use crate::error::{Error, Result};
use crate::key::{Keys, partition_of};
use crate::operators::TimedPool;

/// Rows of equal keys into one of `targets` partitions, with the hash of each row's key. Within a target rows come by source
/// partition, each in its order.
///
/// Without key columns everything goes into one partition. Cost: one hash a row, two copies of the rows.
pub(crate) fn by_key(
    pool: &TimedPool<'_>,
    node: &str,
    schema: &SchemaRef,
    key_columns: usize,
    input: Vec<PartitionBatch>,
    targets: usize,
) -> Result<Vec<(PartitionBatch, Vec<u64>)>> {
    let targets = if key_columns == 0 { 1 } else { targets };
    let numbered = |rows: Vec<(RecordBatch, Vec<u64>)>| {
        let (rows, hashes): (Vec<_>, Vec<_>) = rows.into_iter().unzip();
        partitions(rows).into_iter().zip(hashes).collect()
    };
    if targets == 1 {
        let rows = concat(node, schema, input.iter().map(|batch| &batch.rows))?;
        let hashes = Keys::of(node, schema, key_columns, &rows)?.hashes();
        return Ok(numbered(vec![(rows, hashes)]));
    }
    let input: Vec<_> = input.into_iter().filter(|batch| batch.rows.num_rows() > 0).collect();
    let pieces = pool.run(input, |batch| split(node, schema, key_columns, &batch.rows, targets))?;
    let merged = pool.run((0..targets).collect(), |target| {
        let rows = concat(node, schema, pieces.iter().map(|pieces| &pieces[target].0))?;
        let hashes: Vec<&[u64]> = pieces.iter().map(|pieces| &pieces[target].1[..]).collect();
        Ok((rows, hashes.concat()))
    })?;
    Ok(numbered(merged))
}

/// All rows in one batch; shares buffers when at most one batch has rows.
pub(crate) fn concat<'a>(
    node: &str,
    schema: &SchemaRef,
    batches: impl IntoIterator<Item = &'a RecordBatch>,
) -> Result<RecordBatch> {
    let batches: Vec<&RecordBatch> = batches.into_iter().filter(|batch| batch.num_rows() > 0).collect();
    match batches[..] {
        [] => Ok(RecordBatch::new_empty(Arc::clone(schema))),
        // Column names may differ between a node and its input; the node's count.
        [only] => rename(node, schema, only),
        _ => concat_batches(schema, batches).map_err(Error::arrow(node)),
    }
}

/// The same rows under a node's own column names.
pub(crate) fn rename(node: &str, schema: &SchemaRef, rows: &RecordBatch) -> Result<RecordBatch> {
    if rows.schema_ref() == schema {
        return Ok(rows.clone());
    }
    columns::batch(node, schema, rows.columns().to_vec(), rows.num_rows())
}

/// The rows of one partition by target, with their hashes.
fn split(
    node: &str,
    schema: &SchemaRef,
    key_columns: usize,
    rows: &RecordBatch,
    targets: usize,
) -> Result<Vec<(RecordBatch, Vec<u64>)>> {
    let hashes = Keys::of(node, schema, key_columns, rows)?.hashes();
    let target_of_row: Vec<u32> = hashes.iter().map(|hash| partition_of(*hash, targets) as u32).collect();
    let (offsets, order) = crate::group::order_by_group(&target_of_row, targets);
    let hashes: Vec<u64> = order.iter().map(|row| hashes[*row as usize]).collect();
    let sorted = take_record_batch(rows, &UInt32Array::from(order)).map_err(Error::arrow(node))?;
    let piece = |target: usize| {
        let (start, end) = (offsets[target] as usize, offsets[target + 1] as usize);
        (sorted.slice(start, end - start), hashes[start..end].to_vec())
    };
    Ok((0..targets).map(piece).collect())
}

#[cfg(test)]
mod tests {
    use arrow::array::{AsArray, Int64Array, StringArray};
    use arrow::datatypes::{DataType, Field, Int64Type, Schema};
    use millpond_core::SystemClock;
    use proptest::prelude::*;

    use super::*;
    use crate::ComputePool;
    use crate::key::hash;

    proptest! {
        #[test]
        fn every_row_arrives_once_where_its_key_belongs(
            input in proptest::collection::vec(proptest::collection::vec(("[a-d]{0,2}", any::<i64>()), 0..30), 0..5),
            targets in 1usize..6,
        ) {
            let fields = vec![Field::new("k", DataType::Utf8, false), Field::new("v", DataType::Int64, false)];
            let schema = Arc::new(Schema::new(fields));
            let batches = input.iter().map(|rows| {
                let keys: StringArray = rows.iter().map(|row| Some(row.0.clone())).collect();
                let values: Int64Array = rows.iter().map(|row| row.1).collect();
                RecordBatch::try_new(Arc::clone(&schema), vec![Arc::new(keys), Arc::new(values)]).unwrap()
            });
            let (pool, clock) = (ComputePool::try_new(2).unwrap(), SystemClock::new());
            let pool = TimedPool::new(&pool, &clock);
            let output = by_key(&pool, "n", &schema, 1, partitions(batches.collect()), targets).unwrap();
            prop_assert_eq!(output.len(), targets);
            for (target, (batch, hashes)) in output.iter().enumerate() {
                let keys = batch.rows.column(0).as_string::<i32>();
                let values = batch.rows.column(1).as_primitive::<Int64Type>();
                let arrived: Vec<(String, i64)> =
                    (0..batch.rows.num_rows()).map(|row| (keys.value(row).to_owned(), values.value(row))).collect();
                let expected: Vec<(String, i64)> = input.iter().flatten()
                    .filter(|(key, _)| partition_of(hash(key.as_bytes()), targets) == target)
                    .cloned().collect();
                let expected_hashes: Vec<u64> = expected.iter().map(|row| hash(row.0.as_bytes())).collect();
                prop_assert_eq!(arrived, expected);
                prop_assert_eq!(hashes, &expected_hashes);
            }
        }
    }
}
