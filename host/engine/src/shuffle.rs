//! Moves rows to the partition that their key's hash names.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch};
use arrow::compute::concat_batches;
use arrow::datatypes::{DataType, SchemaRef};
use millpond_core::PartitionBatch;

use crate::columns;
use crate::error::{Error, OFFSETS_MAX, Result};
use crate::gather::{Part, gather};
use crate::group::order_by_group;
use crate::key::{Keys, partition_of};
use crate::operators::TimedPool;

/// A batch on its way to where its keys belong: what goes where is known, and each target fetches its rows by itself.
pub(crate) enum Shuffled {
    /// The rows lie where they belong.
    InPlace(Vec<PartitionBatch>, Arc<Vec<Vec<u64>>>),
    /// Everything goes into one partition.
    Together(Vec<RecordBatch>),
    Spread {
        sources: Vec<Source>,
        targets: usize,
    },
}

/// The rows of one source partition by target.
pub(crate) struct Source {
    rows: RecordBatch,
    hashes: Vec<u64>,
    /// Rows in the order of their targets, and where each target's begin.
    order: Vec<u32>,
    offsets: Vec<u32>,
}

impl Source {
    fn rows_of(&self, target: usize) -> &[u32] {
        &self.order[self.offsets[target] as usize..self.offsets[target + 1] as usize]
    }
}

/// What a shuffle is about: the node that asks for it, the columns of the rows and how many of them are the key.
#[derive(Clone, Copy)]
pub(crate) struct Keyed<'a> {
    pub(crate) node: &'a str,
    pub(crate) schema: &'a SchemaRef,
    pub(crate) key_columns: usize,
}

/// Finds out which of `targets` partitions each row belongs to. Without key columns everything goes into one.
///
/// Cost: one hash a row here, or, where all goes into one partition, when rows are fetched. Fetching copies the rows once, but
/// for one partition made of a single batch it copies nothing.
pub(crate) fn by_key(
    pool: &TimedPool<'_>,
    keyed: Keyed<'_>,
    input: Vec<PartitionBatch>,
    targets: usize,
) -> Result<Shuffled> {
    let input: Vec<RecordBatch> =
        input.into_iter().map(|batch| batch.rows).filter(|rows| rows.num_rows() > 0).collect();
    if targets == 1 || keyed.key_columns == 0 {
        return Ok(Shuffled::Together(input));
    }
    let sources = pool.run(input, |rows| {
        let hashes = Keys::of(keyed.node, keyed.schema, keyed.key_columns, &rows)?.hashes();
        let target_of_row: Vec<u32> = hashes.iter().map(|hash| partition_of(*hash, targets) as u32).collect();
        let (offsets, order) = order_by_group(&target_of_row, targets);
        Ok(Source { rows, hashes, order, offsets })
    })?;
    Ok(Shuffled::Spread { sources, targets })
}

impl Shuffled {
    /// How many partitions there are.
    pub(crate) fn partitions(&self) -> usize {
        match self {
            Self::InPlace(partitions, _) => partitions.len(),
            Self::Together(_) => 1,
            Self::Spread { targets, .. } => *targets,
        }
    }

    /// The rows of one partition, and the hash of each row's key. They come by source partition, each in its order.
    pub(crate) fn fetch(&self, keyed: Keyed<'_>, target: usize) -> Result<(RecordBatch, Vec<u64>)> {
        let Keyed { node, schema, key_columns } = keyed;
        match self {
            Self::InPlace(partitions, hashes) => Ok((partitions[target].rows.clone(), hashes[target].clone())),
            Self::Together(batches) => {
                let rows = concat(node, schema, batches)?;
                let hashes = Keys::of(node, schema, key_columns, &rows)?.hashes();
                Ok((rows, hashes))
            }
            Self::Spread { sources, .. } => {
                let parts: Vec<Part<'_>> =
                    sources.iter().map(|source| (&source.rows, source.rows_of(target))).collect();
                let mut hashes = Vec::with_capacity(parts.iter().map(|(_, rows)| rows.len()).sum());
                for (source, (_, rows)) in sources.iter().zip(&parts) {
                    hashes.extend(rows.iter().map(|row| source.hashes[*row as usize]));
                }
                Ok((gather(node, schema, &parts)?, hashes))
            }
        }
    }
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
        _ => {
            check_offsets(node, schema, &batches)?;
            concat_batches(schema, batches).map_err(Error::arrow(node))
        }
    }
}

/// Whether the batches' columns fit one column each. Arrow would find out only when most of the memory is taken.
fn check_offsets(node: &str, schema: &SchemaRef, batches: &[&RecordBatch]) -> Result<()> {
    for (index, field) in schema.fields().iter().enumerate() {
        let arrays: Vec<ArrayRef> = batches.iter().map(|batch| Arc::clone(batch.column(index))).collect();
        if let Some((size, unit)) = past_offsets(&arrays) {
            let (node, what) = (node.to_owned(), format!("column `{}`", field.name()));
            return Err(Error::TooLarge { node, what, size, unit, limit: OFFSETS_MAX });
        }
    }
    Ok(())
}

/// How much the arrays, of one type, would have together, if that is more than offsets can tell: bytes of text, values of lists.
fn past_offsets(arrays: &[ArrayRef]) -> Option<(u64, &'static str)> {
    let offsets_of = |array: &ArrayRef| -> Option<(i32, i32)> {
        let offsets = match array.data_type() {
            DataType::Utf8 => array.as_string::<i32>().value_offsets(),
            DataType::Binary => array.as_binary::<i32>().value_offsets(),
            DataType::List(_) => array.as_list::<i32>().value_offsets(),
            DataType::Map(..) => array.as_map().value_offsets(),
            _ => return None,
        };
        Some((offsets[0], offsets[offsets.len() - 1]))
    };
    let size = arrays.iter().filter_map(offsets_of).map(|(first, last)| u64::from(last.abs_diff(first))).sum();
    if size > OFFSETS_MAX {
        let is_text = |array: &ArrayRef| matches!(array.data_type(), DataType::Utf8 | DataType::Binary);
        return Some((size, if arrays.iter().all(is_text) { "bytes" } else { "values" }));
    }
    let children = |array: &ArrayRef| -> Vec<ArrayRef> {
        let (first, last) = offsets_of(array).unwrap_or_default();
        let (first, length) = (first as usize, (last - first) as usize);
        match array.data_type() {
            DataType::List(_) => vec![array.as_list::<i32>().values().slice(first, length)],
            DataType::Map(..) => array.as_map().entries().slice(first, length).columns().to_vec(),
            DataType::Struct(_) => array.as_struct().columns().to_vec(),
            _ => Vec::new(),
        }
    };
    let nested: Vec<Vec<ArrayRef>> = arrays.iter().map(children).collect();
    let width = nested.first().map_or(0, Vec::len);
    (0..width).find_map(|at| past_offsets(&nested.iter().map(|children| Arc::clone(&children[at])).collect::<Vec<_>>()))
}

/// The same rows under a node's own column names.
pub(crate) fn rename(node: &str, schema: &SchemaRef, rows: &RecordBatch) -> Result<RecordBatch> {
    if rows.schema_ref() == schema {
        return Ok(rows.clone());
    }
    columns::batch(node, schema, rows.columns().to_vec(), rows.num_rows())
}

#[cfg(test)]
mod tests {
    use arrow::array::{AsArray, Int64Array, ListArray, StringArray};
    use arrow::buffer::OffsetBuffer;
    use arrow::datatypes::{DataType, Field, Int64Type, Schema};
    use millpond_core::batch::partitions;
    use millpond_core::{Classify, SystemClock};
    use proptest::prelude::*;

    use super::*;
    use crate::ComputePool;
    use crate::key::hash;

    #[test]
    fn columns_that_do_not_fit_one_are_refused_before_memory_is_taken() {
        let schema = Arc::new(Schema::new(vec![
            Field::new("n", DataType::Int64, false),
            Field::new("text", DataType::Utf8, false),
        ]));
        let numbers = Int64Array::from(vec![1, 2]);
        let text = StringArray::from(vec!["x".repeat(1 << 26), String::new()]);
        let rows = RecordBatch::try_new(Arc::clone(&schema), vec![Arc::new(numbers), Arc::new(text)]).unwrap();
        let error = concat("all", &schema, std::iter::repeat_n(&rows, 32)).unwrap_err();
        assert_eq!(error.code().0, "MP0805");
        let expected = "node `all`: column `text` of one partition would be 2147483648 bytes, more than the 2147483647";
        assert!(error.to_string().starts_with(expected), "{error}");
        // So do the texts of lists.
        let lists =
            Arc::new(Schema::new(vec![Field::new_list("lists", Field::new_list_field(DataType::Utf8, false), false)]));
        let offsets = OffsetBuffer::from_lengths([2]);
        let item = Arc::new(Field::new_list_field(DataType::Utf8, false));
        let list = ListArray::new(item, offsets, Arc::clone(rows.column(1)), None);
        let list = RecordBatch::try_new(Arc::clone(&lists), vec![Arc::new(list)]).unwrap();
        let error = concat("all", &lists, std::iter::repeat_n(&list, 32)).unwrap_err();
        assert!(error.to_string().contains("column `lists` of one partition would be 2147483648 bytes"), "{error}");
        // What was cut off does not count.
        let ends: Vec<RecordBatch> = (0..40).map(|_| rows.slice(1, 1)).collect();
        assert_eq!(concat("all", &schema, &ends).unwrap().num_rows(), 40);
    }

    #[test]
    fn offsets_that_arrow_finds_too_large_are_the_same_error() {
        let error = Error::arrow("all")(arrow::error::ArrowError::OffsetOverflowError(3_000_000_000));
        assert_eq!(error.code().0, "MP0805");
        assert!(error.to_string().contains("a column of one partition would be 3000000000 bytes"), "{error}");
    }

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
            let keyed = Keyed { node: "n", schema: &schema, key_columns: 1 };
            let output = by_key(&pool, keyed, partitions(batches.collect()), targets).unwrap();
            prop_assert_eq!(output.partitions(), targets);
            for target in 0..targets {
                let (rows, hashes) = output.fetch(keyed, target).unwrap();
                let keys = rows.column(0).as_string::<i32>();
                let values = rows.column(1).as_primitive::<Int64Type>();
                let arrived: Vec<(String, i64)> =
                    (0..rows.num_rows()).map(|row| (keys.value(row).to_owned(), values.value(row))).collect();
                let expected: Vec<(String, i64)> = input.iter().flatten()
                    .filter(|(key, _)| partition_of(hash(key.as_bytes()), targets) == target)
                    .cloned().collect();
                let expected_hashes: Vec<u64> = expected.iter().map(|row| hash(row.0.as_bytes())).collect();
                prop_assert_eq!(arrived, expected);
                prop_assert_eq!(hashes, expected_hashes);
            }
        }
    }
}
