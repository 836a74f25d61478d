//! Merges rows of equal keys within a batch.
//!
//! Rows are shuffled by key, grouped, and merged: column by column in the host, or by the plugin. Every row is an
//! accumulator, so rows that a stage has combined and rows that it has not are treated alike.
//! Source: `PairDStreamFunctions.reduceByKey`.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, PrimitiveArray, RecordBatch, UInt32Array};
use arrow::compute::{concat, concat_batches, take, take_record_batch};
use arrow::datatypes::{ArrowNativeTypeOp, DataType, Fields, Float32Type, Float64Type, Schema, SchemaRef};
use arrow::util::display::array_value_to_string;
use millpond_core::plan::{ColumnMerge, Merge, Reduce};
use millpond_core::schema::type_name;
use millpond_core::{Node, PartitionBatch, TaskInfo, UserFunction};

use super::{BatchContext, NodeRef, Rows};
use crate::columns::{self, ByteRows};
use crate::error::{Error, Result};
use crate::group::{Groups, order_by_group};
use crate::key::{self, Keys};
use crate::primitive::with_primitive;
use crate::shuffle::{self, Keyed};
use crate::sums::sums;

pub(crate) fn run(context: &BatchContext<'_>, node: NodeRef<'_>, input: Rows, reduce: &Reduce) -> Result<Rows> {
    let mut merged = merged(context, node, input, &reduce.merge)?;
    if reduce.zero_when_empty {
        zeros_when_empty(node.node, &mut merged)?;
    }
    Ok(Rows::hashed(merged))
}

/// One row a key, in the partition that the key belongs to, and the hashes of the keys.
pub(crate) fn merged(
    context: &BatchContext<'_>,
    node: NodeRef<'_>,
    input: Rows,
    merge: &Merge,
) -> Result<Vec<(PartitionBatch, Vec<u64>)>> {
    let keyed = Keyed { node: node.name(), schema: &node.node.schema, key_columns: node.node.key_columns };
    let count = if keyed.key_columns == 0 { 1 } else { context.parallelism };
    context.run_by_key(
        keyed,
        input,
        true,
        |partitions| vec![(); partitions],
        |(), partition, rows, hashes| {
            let task = context.task(partition, count);
            let merged = Merger { node, merge, function: context.function, task }.merge(&rows, hashes)?;
            Ok((PartitionBatch { partition, rows: merged.rows }, merged.hashes))
        },
    )
}

/// Puts one row of zeros, what a count of nothing is, into the only partition of a reduce without a key if that is empty.
pub(crate) fn zeros_when_empty(node: &Node, partitions: &mut [(PartitionBatch, Vec<u64>)]) -> Result<()> {
    if let [(only, hashes)] = partitions
        && only.rows.num_rows() == 0
    {
        only.rows = zeros(node)?;
        *hashes = vec![key::hash(&[])];
    }
    Ok(())
}

fn zeros(node: &Node) -> Result<RecordBatch> {
    let zero = |data_type: &DataType| -> ArrayRef {
        with_primitive!(
            data_type,
            T => Arc::new(PrimitiveArray::<T>::from_value(Default::default(), 1).with_data_type(data_type.clone())),
            else arrow::array::new_empty_array(data_type)
        )
    };
    let columns = node.schema.fields().iter().map(|field| zero(field.data_type())).collect();
    columns::batch(&node.name, &node.schema, columns, 1)
}

/// Merges the rows of one partition.
pub(crate) struct Merger<'a> {
    pub(crate) node: NodeRef<'a>,
    pub(crate) merge: &'a Merge,
    pub(crate) function: &'a dyn UserFunction,
    pub(crate) task: TaskInfo,
}

/// Rows of which no two have the same key.
pub(crate) struct Merged {
    pub(crate) rows: RecordBatch,
    /// Of each row's key.
    pub(crate) hashes: Vec<u64>,
    /// How many rows went into each.
    pub(crate) counts: Vec<u32>,
}

impl Merger<'_> {
    /// One row a key.
    pub(crate) fn merge(&self, rows: &RecordBatch, hashes: Vec<u64>) -> Result<Merged> {
        let name = self.node.name();
        let schema = &self.node.node.schema;
        let rows = shuffle::rename(name, schema, rows)?;
        let key_columns = self.node.node.key_columns;
        let groups = Groups::by_key(&Keys::of(name, schema, key_columns, &rows)?, &hashes);
        if groups.all_single() {
            return Ok(Merged { counts: vec![1; rows.num_rows()], rows, hashes });
        }
        let hashes = groups.first_row.iter().map(|row| hashes[*row as usize]).collect();
        let first_rows = UInt32Array::from(groups.first_row.clone());
        let mut merged = Vec::with_capacity(rows.num_columns());
        for column in &rows.columns()[..key_columns] {
            merged.push(take(column, &first_rows, None).map_err(Error::arrow(name))?);
        }
        match self.merge {
            Merge::Columns(merges) => merged.extend(merge_columns(self.node.node, merges, &rows, &groups)?),
            Merge::Custom => {
                let (offsets, order) = order_by_group(&groups.group_of_row, groups.len());
                let values =
                    rows.project(&(key_columns..rows.num_columns()).collect::<Vec<_>>()).map_err(Error::arrow(name))?;
                let values = take_record_batch(&values, &UInt32Array::from(order)).map_err(Error::arrow(name))?;
                merged.extend_from_slice(self.call_merge(&offsets, &values)?.columns());
            }
        }
        Ok(Merged { rows: columns::batch(name, schema, merged, groups.len())?, hashes, counts: groups.counts() })
    }

    /// Has the plugin merge groups of value rows.
    pub(crate) fn call_merge(&self, offsets: &[u32], values: &RecordBatch) -> Result<RecordBatch> {
        self.function.merge(self.node.id, &self.task, offsets, values).map_err(Error::user_code)
    }

    /// Merges value rows pair by pair: row `i` of the answer is row `i` of `older` with row `i` of `newer`.
    ///
    /// `key` gives the key columns of a pair, one row, for the error of a sum that overflows.
    pub(crate) fn pairs(
        &self,
        older: &RecordBatch,
        newer: &RecordBatch,
        key: &dyn Fn(usize) -> Result<Vec<ArrayRef>>,
    ) -> Result<RecordBatch> {
        let Merge::Columns(merges) = self.merge else { return self.call_pairs(older, newer) };
        let node = self.node.node;
        let pairs = older.num_rows();
        let groups = Groups::of_pairs(pairs);
        let mut merged = Vec::with_capacity(merges.len());
        for (index, merge) in merges.iter().enumerate() {
            let both = concat(&[older.column(index).as_ref(), newer.column(index).as_ref()])
                .map_err(Error::arrow(&node.name))?;
            let overflow = |row: usize| {
                let key = key(row % pairs)?;
                Ok(overflow_at(node, &key, node.key_columns + index, 0))
            };
            merged.push(merge_column(node, &both, *merge, &groups, &overflow)?);
        }
        columns::batch(&node.name, &older.schema(), merged, pairs)
    }

    /// Has the plugin merge row by row: groups of two.
    pub(crate) fn call_pairs(&self, older: &RecordBatch, newer: &RecordBatch) -> Result<RecordBatch> {
        let rows = older.num_rows() as u32;
        if rows == 0 {
            return Ok(older.clone());
        }
        let both = concat_batches(&older.schema(), [older, newer]).map_err(Error::arrow(self.node.name()))?;
        let order: UInt32Array = (0..rows).flat_map(|row| [row, row + rows]).collect::<Vec<_>>().into();
        let pairs = take_record_batch(&both, &order).map_err(Error::arrow(self.node.name()))?;
        let offsets: Vec<u32> = (0..=rows).map(|row| row * 2).collect();
        self.call_merge(&offsets, &pairs)
    }
}

/// The value columns of a reduce, merged: a row a group. `rows` has the node's columns.
pub(crate) fn merge_columns(
    node: &Node,
    merges: &[ColumnMerge],
    rows: &RecordBatch,
    groups: &Groups,
) -> Result<Vec<ArrayRef>> {
    let merged = (node.key_columns..).zip(merges).map(|(index, merge)| {
        let overflow = |row| Ok(overflow(node, rows, index, row));
        merge_column(node, rows.column(index), *merge, groups, &overflow)
    });
    merged.collect()
}

/// `overflow` makes the error for a sum that is outside of its range; it is given a row of the sum's group.
fn merge_column(
    node: &Node,
    column: &ArrayRef,
    merge: ColumnMerge,
    groups: &Groups,
    overflow: &dyn Fn(usize) -> Result<Error>,
) -> Result<ArrayRef> {
    match merge {
        ColumnMerge::Sum => match sums(column, &groups.group_of_row, groups.len()) {
            Ok(sums) => Ok(sums),
            Err(group) => Err(overflow(groups.first_row[group] as usize)?),
        },
        ColumnMerge::Min | ColumnMerge::Max => {
            let best = UInt32Array::from(best_rows(column, merge, groups));
            take(column, &best, None).map_err(Error::arrow(&node.name))
        }
    }
}

/// The error for a sum that left its range at a row.
pub(crate) fn overflow(node: &Node, rows: &RecordBatch, column: usize, row: usize) -> Error {
    overflow_at(node, &rows.columns()[..node.key_columns], column, row)
}

fn overflow_at(node: &Node, key: &[ArrayRef], column: usize, row: usize) -> Error {
    let key: Vec<String> = key.iter().map(|column| array_value_to_string(column, row).unwrap_or_default()).collect();
    let field = node.schema.field(column);
    let data_type = type_name(field.data_type()).unwrap_or_default();
    let (node, column, key) = (node.name.clone(), field.name().clone(), format!("({})", key.join(", ")));
    Error::SumOverflow { node, column, data_type, key }
}

fn best_rows(column: &ArrayRef, merge: ColumnMerge, groups: &Groups) -> Vec<u32> {
    match column.data_type() {
        DataType::Float64 => {
            let values = column.as_primitive::<Float64Type>().values();
            // NaN last, and -0.0 before 0.0, so that the answer does not depend on which came first.
            let nan_last =
                |left: f64, right: f64| left.is_nan().cmp(&right.is_nan()).then_with(|| left.total_cmp(&right));
            best(merge, groups, |left, right| nan_last(values[left as usize], values[right as usize]))
        }
        DataType::Utf8 => {
            let values = ByteRows::of(column);
            best(merge, groups, |left, right| values.row(left as usize).cmp(values.row(right as usize)))
        }
        DataType::Float32 => {
            let values = column.as_primitive::<Float32Type>().values();
            let nan_last =
                |left: f32, right: f32| left.is_nan().cmp(&right.is_nan()).then_with(|| left.total_cmp(&right));
            best(merge, groups, |left, right| nan_last(values[left as usize], values[right as usize]))
        }
        other => with_primitive!(
            other,
            T => {
                let values = column.as_primitive::<T>().values();
                best(merge, groups, |left, right| values[left as usize].compare(values[right as usize]))
            },
            else unreachable!("the graph lets no minimum of {other} through")
        ),
    }
}

fn best(merge: ColumnMerge, groups: &Groups, compare: impl Fn(u32, u32) -> std::cmp::Ordering) -> Vec<u32> {
    let wanted = if merge == ColumnMerge::Min { std::cmp::Ordering::Less } else { std::cmp::Ordering::Greater };
    let mut best = groups.first_row.clone();
    for (row, group) in (0u32..).zip(&groups.group_of_row) {
        let best = &mut best[*group as usize];
        if compare(row, *best) == wanted {
            *best = row;
        }
    }
    best
}

/// The value columns of a keyed schema.
pub(crate) fn value_schema(schema: &Schema, key_columns: usize) -> SchemaRef {
    Arc::new(Schema::new(Fields::from(&schema.fields()[key_columns..])))
}
