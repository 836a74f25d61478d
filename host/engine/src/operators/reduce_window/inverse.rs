//! Totals of a sliding window with an inverse: panes that leave are taken off, new ones are added.
//!
//! Totals count the panes of each key, so a key goes with its last pane. Cost of a slide: the rows that leave and those that
//! come. Source: `ReducedWindowedDStream`.

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, Int64Array, PrimitiveArray, RecordBatch, UInt32Array};
use arrow::compute::take_record_batch;
use arrow::datatypes::{ArrowNativeTypeOp, ArrowPrimitiveType, DataType, Field, Int64Type, Schema};
use millpond_core::plan::Merge;

use super::{Merged, Pane, Slide};
use crate::columns;
use crate::error::{Error, Result};
use crate::key::Keys;
use crate::operators::reduce::overflow;
use crate::primitive::{Ordinal, with_primitive};
use crate::state::KeyedState;

/// The column after the values in totals: in how many panes of the window the key is.
const PANES: &str = "\u{0}panes";

/// Totals have the node's columns and the pane count.
pub(super) fn totals_schema(schema: &Schema) -> Schema {
    let mut fields = schema.fields().to_vec();
    fields.push(Arc::new(Field::new(PANES, DataType::Int64, false)));
    Schema::new(fields)
}

impl Slide<'_> {
    /// Takes panes off the totals.
    pub(super) fn take_off(&self, totals: &mut KeyedState, panes: &[&Pane]) -> Result<()> {
        if panes.is_empty() {
            return Ok(());
        }
        let Merged { rows, hashes, counts } = self.merged(panes)?;
        let (slots, _) = self.slots(totals, &rows, &hashes)?;
        let before = totals.values(&slots)?;
        let values = self.values(&rows)?;
        let old = self.without_panes(&before)?;
        let new = match &self.settings.merge {
            Merge::Columns(_) => self.combine(&rows, &old, &values, Sign::Minus)?,
            Merge::Custom => {
                self.function.subtract(self.node.id, &self.task, &old, &values).map_err(Error::user_code)?
            }
        };
        let panes_left: Vec<i64> =
            panes_of(&before).iter().zip(&counts).map(|(panes, leaving)| panes - i64::from(*leaving)).collect();
        let (gone, kept): (Vec<usize>, Vec<usize>) =
            (0..slots.len()).partition(|row| panes_left[*row] <= 0 && !self.settings.keep_empty_keys);
        let pairs: Vec<(u32, u32)> = kept.into_iter().map(|row| (row as u32, slots[row])).collect();
        totals.put(&self.with_panes(totals, &new, panes_left)?, &pairs);
        gone.into_iter().for_each(|row| totals.remove(slots[row], true));
        Ok(())
    }

    /// Adds panes to the totals.
    pub(super) fn add(&self, totals: &mut KeyedState, panes: &[&Pane]) -> Result<()> {
        if panes.is_empty() {
            return Ok(());
        }
        let Merged { rows, hashes, counts } = self.merged(panes)?;
        let (slots, new_keys) = self.slots(totals, &rows, &hashes)?;
        let values = self.values(&rows)?;
        let known: Vec<u32> = (0u32..).zip(&new_keys).filter(|(_, new)| !**new).map(|(row, _)| row).collect();
        let fresh: Vec<u32> = (0u32..).zip(&new_keys).filter(|(_, new)| **new).map(|(row, _)| row).collect();
        let counts: Vec<i64> = counts.into_iter().map(i64::from).collect();

        let pairs: Vec<(u32, u32)> = fresh.iter().map(|row| (*row, slots[*row as usize])).collect();
        totals.put(&self.with_panes(totals, &values, counts.clone())?, &pairs);
        if known.is_empty() {
            return Ok(());
        }
        let known_slots: Vec<u32> = known.iter().map(|row| slots[*row as usize]).collect();
        let before = totals.values(&known_slots)?;
        let old = self.without_panes(&before)?;
        let take = |batch: &RecordBatch| {
            take_record_batch(batch, &UInt32Array::from(known.clone())).map_err(Error::arrow(self.node.name()))
        };
        let (known_rows, known_values) = (take(&rows)?, take(&values)?);
        let merged = match &self.settings.merge {
            Merge::Columns(_) => self.combine(&known_rows, &old, &known_values, Sign::Plus)?,
            Merge::Custom => self.merger().call_pairs(&old, &known_values)?,
        };
        let panes = panes_of(&before).iter().zip(&known).map(|(panes, row)| panes + counts[*row as usize]).collect();
        let pairs: Vec<(u32, u32)> = (0u32..).zip(known_slots).collect();
        totals.put(&self.with_panes(totals, &merged, panes)?, &pairs);
        Ok(())
    }

    /// The slot of each row's key, and whether it is new.
    fn slots(&self, totals: &mut KeyedState, rows: &RecordBatch, hashes: &[u64]) -> Result<(Vec<u32>, Vec<bool>)> {
        let node = self.node.node;
        let keys = Keys::of(&node.name, &node.schema, node.key_columns, rows)?;
        Ok(totals.insert_all(&keys, hashes))
    }

    fn without_panes(&self, totals: &RecordBatch) -> Result<RecordBatch> {
        let columns = totals.columns()[..totals.num_columns() - 1].to_vec();
        columns::batch(self.node.name(), &self.value_schema(), columns, totals.num_rows())
    }

    fn with_panes(&self, totals: &KeyedState, values: &RecordBatch, panes: Vec<i64>) -> Result<RecordBatch> {
        let mut columns = values.columns().to_vec();
        columns.push(Arc::new(Int64Array::from(panes)));
        columns::batch(self.node.name(), totals.value_schema(), columns, values.num_rows())
    }

    /// Columns of two batches, row by row: their sums, or what is left. The graph lets only sums of whole numbers be inverted.
    fn combine(
        &self,
        keyed_rows: &RecordBatch,
        left: &RecordBatch,
        right: &RecordBatch,
        sign: Sign,
    ) -> Result<RecordBatch> {
        let mut combined: Vec<ArrayRef> = Vec::with_capacity(left.num_columns());
        for (index, (left, right)) in left.columns().iter().zip(right.columns()).enumerate() {
            let column = with_primitive!(
                left.data_type(),
                T => combine_column::<T>(left, right, sign),
                else unreachable!("the graph lets no sum of {} through", left.data_type())
            );
            combined.push(
                column.map_err(|row| overflow(self.node.node, keyed_rows, self.node.node.key_columns + index, row))?,
            );
        }
        columns::batch(self.node.name(), &self.value_schema(), combined, left.num_rows())
    }
}

/// What is done with what comes or leaves.
#[derive(Clone, Copy)]
enum Sign {
    Plus,
    Minus,
}

/// Row by row; the row that leaves its range otherwise.
fn combine_column<T: ArrowPrimitiveType<Native: Ordinal>>(
    left: &ArrayRef,
    right: &ArrayRef,
    sign: Sign,
) -> Result<ArrayRef, usize> {
    let (data_type, left, right) =
        (left.data_type(), left.as_primitive::<T>().values(), right.as_primitive::<T>().values());
    let column = left.iter().zip(right).enumerate().map(|(row, (left, right))| {
        let combined = match sign {
            Sign::Plus => left.add_checked(*right),
            Sign::Minus => left.sub_checked(*right),
        };
        combined.ok().filter(|combined| combined.fits(data_type)).ok_or(row)
    });
    let column = column.collect::<Result<Vec<_>, _>>()?;
    Ok(Arc::new(PrimitiveArray::<T>::new(column.into(), None).with_data_type(data_type.clone())))
}

fn panes_of(totals: &RecordBatch) -> &[i64] {
    totals.column(totals.num_columns() - 1).as_primitive::<Int64Type>().values()
}
