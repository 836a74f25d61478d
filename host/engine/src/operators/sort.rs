//! Orders the rows of a batch, perhaps keeping only the first; one partition comes out.
//!
//! Ties are broken by the bytes of the whole encoded row, so the answer does not depend on how rows were partitioned.
//! Cost: one encoding of the sort columns a row, a selection when there is a limit, and a sort of what is kept.
//! Source: `RDD.sortBy` and `RDD.top` inside `DStream.transform`.

use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, UInt32Array};
use arrow::compute::take_record_batch;
use millpond_core::batch::partitions;
use millpond_core::plan::Sort;

use super::{NodeRef, Rows};
use crate::columns;
use crate::error::{Error, Result};
use crate::key::ColumnEncoder;
use crate::shuffle::concat;

pub(crate) fn run(node: NodeRef<'_>, input: &Rows, sort: &Sort) -> Result<Rows> {
    // All input partitions have the same columns.
    let Some(first) = input.partitions.iter().find(|batch| batch.rows.num_rows() > 0) else {
        return Ok(Rows::new(partitions(vec![RecordBatch::new_empty(Arc::clone(&node.node.schema))])));
    };
    let schema = first.rows.schema();
    let rows = concat(node.name(), &schema, input.partitions.iter().map(|batch| &batch.rows))?;
    let order = order(&rows, sort);
    let visible = &rows.columns()[..rows.num_columns() - sort.hidden_columns];
    let visible = columns::batch(node.name(), &node.node.schema, visible.to_vec(), rows.num_rows())?;
    let sorted = take_record_batch(&visible, &UInt32Array::from(order)).map_err(Error::arrow(node.name()))?;
    Ok(Rows::new(partitions(vec![sorted])))
}

/// Numbers of the rows that stay, in their new order.
fn order(rows: &RecordBatch, sort: &Sort) -> Vec<u32> {
    let encoders: Vec<ColumnEncoder> =
        sort.order.iter().map(|order| ColumnEncoder::for_order(rows.column(order.column), order.descending)).collect();
    let keys = Encoded::new(&encoders, rows.num_rows());
    let limit = sort.limit.map_or(rows.num_rows(), |limit| usize::try_from(limit).unwrap_or(usize::MAX));
    let visible = &rows.columns()[..rows.num_columns() - sort.hidden_columns];
    let mut order: Vec<u32> = (0..rows.num_rows() as u32).collect();
    if limit == 0 {
        return Vec::new();
    }
    if limit < order.len() {
        // Everything that ties with the last row kept stays until ties are broken.
        let (_, last, _) = order.select_nth_unstable_by(limit - 1, |left, right| keys.get(*left).cmp(keys.get(*right)));
        let last = *last;
        order.retain(|row| keys.get(*row) <= keys.get(last));
    }
    order.sort_unstable_by(|left, right| keys.get(*left).cmp(keys.get(*right)));
    break_ties(&mut order, &keys, visible);
    order.truncate(limit);
    order
}

fn break_ties(order: &mut [u32], keys: &Encoded, visible: &[ArrayRef]) {
    let encoders: Vec<ColumnEncoder> = visible.iter().map(|column| ColumnEncoder::for_order(column, false)).collect();
    let encode = |row: u32| {
        let mut bytes = Vec::new();
        encoders.iter().for_each(|encoder| encoder.append(row as usize, &mut bytes));
        bytes
    };
    for ties in order.chunk_by_mut(|left, right| keys.get(*left) == keys.get(*right)).filter(|ties| ties.len() > 1) {
        ties.sort_by_cached_key(|row| encode(*row));
    }
}

/// Byte strings that sort as the rows do.
struct Encoded {
    ends: Vec<usize>,
    bytes: Vec<u8>,
}

impl Encoded {
    fn new(encoders: &[ColumnEncoder<'_>], rows: usize) -> Self {
        let mut bytes = Vec::with_capacity(rows * 10 * encoders.len());
        let mut ends = Vec::with_capacity(rows + 1);
        ends.push(0);
        for row in 0..rows {
            encoders.iter().for_each(|encoder| encoder.append(row, &mut bytes));
            ends.push(bytes.len());
        }
        Self { ends, bytes }
    }

    fn get(&self, row: u32) -> &[u8] {
        &self.bytes[self.ends[row as usize]..self.ends[row as usize + 1]]
    }
}

#[cfg(test)]
mod tests {
    use std::cmp::Reverse;

    use arrow::array::{AsArray, Int64Array, StringArray};
    use arrow::datatypes::{DataType, Field, Int64Type, Schema};
    use millpond_core::plan::Ordering;
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn sorting_is_that_of_the_values(
            rows in proptest::collection::vec(("[a-c\\x00]{0,3}", -3i64..3), 0..60),
            limit in proptest::option::of(0u64..70),
        ) {
            let schema = Arc::new(Schema::new(vec![
                Field::new("word", DataType::Utf8, false), Field::new("n", DataType::Int64, false), Field::new("hidden", DataType::Int64, false),
            ]));
            let words: StringArray = rows.iter().map(|row| Some(row.0.clone())).collect();
            let numbers: Int64Array = rows.iter().map(|row| row.1).collect();
            let batch = RecordBatch::try_new(schema, vec![Arc::new(words), Arc::new(numbers.clone()), Arc::new(numbers)]).unwrap();
            let order_by = vec![Ordering { column: 2, descending: true }];
            let order = order(&batch, &Sort { order: order_by, limit, hidden_columns: 1 });
            let found: Vec<(String, i64)> = order.iter().map(|row| {
                let row = *row as usize;
                (batch.column(0).as_string::<i32>().value(row).to_owned(), batch.column(1).as_primitive::<Int64Type>().value(row))
            }).collect();
            let mut expected = rows;
            expected.sort_by_key(|(word, number)| (Reverse(*number), word.clone()));
            expected.truncate(limit.map_or(usize::MAX, |limit| limit as usize));
            prop_assert_eq!(found, expected);
        }
    }
}
