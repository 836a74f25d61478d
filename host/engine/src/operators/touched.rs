//! The keys of keyed state that a batch touches, each with its rows as a group: what `update_state` and `map_with_state` have in
//! common.

use std::sync::Arc;

use arrow::array::{BooleanArray, RecordBatch, UInt32Array};
use arrow::compute::{concat, take_arrays, take_record_batch};
use arrow::datatypes::Schema;
use millpond_core::plan::ColumnMerge;
use millpond_core::schema::has_floats;
use millpond_core::{Node, StateDelta, UpdateInput};

use super::reduce::{merge_columns, value_schema};
use crate::columns;
use crate::error::{Error, Result};
use crate::gather::gather;
use crate::group::{Groups, order_by_group};
use crate::key::Keys;
use crate::key_table::NO_MARK;
use crate::shuffle::Keyed;
use crate::state::KeyedState;

/// The keys that the plugin is called for, one group each.
pub(crate) struct Touched {
    pub(crate) slots: Vec<u32>,
    /// The groups that have rows, which come first.
    groups: Groups,
    /// Whether the key had state before.
    pub(crate) present: Vec<bool>,
    /// Of the batch's rows.
    keys: Keys,
}

/// A reduce whose rows are merged here: the groups are there already.
#[derive(Clone, Copy)]
pub(crate) struct Merged<'a> {
    pub(crate) node: &'a Node,
    pub(crate) merges: &'a [ColumnMerge],
}

/// What a call is given, and where its rows were.
pub(crate) struct Grouped {
    pub(crate) input: UpdateInput,
    /// The rows in the order of their groups; `None` = each row is a group of its own.
    pub(crate) order: Option<Vec<u32>>,
}

impl Touched {
    /// Finds or makes the slot of every key in the batch and sorts rows into groups, one a slot. `end` must follow.
    pub(crate) fn begin(keyed: Keyed<'_>, state: &mut KeyedState, rows: &RecordBatch, hashes: &[u64]) -> Result<Self> {
        let keys = Keys::of(keyed.node, keyed.schema, keyed.key_columns, rows)?;
        // Whether a key has come before is hard to foresee, so no branch asks for it: every row is written down as if its key were new, and
        // the next one over it if it was not.
        let count = rows.num_rows();
        let (mut slots, mut present, mut first_row) = (vec![0; count], vec![false; count], vec![0; count]);
        let mut group_of_row = Vec::with_capacity(count);
        let mut groups = 0;
        // The mark of a key is its group in the batch at hand.
        state.insert_each(&keys, hashes, |row, slot, is_new, group| {
            let is_first = *group == NO_MARK;
            *group = if is_first { groups as u32 } else { *group };
            group_of_row.push(*group);
            (slots[groups], present[groups], first_row[groups]) = (slot, !is_new, row);
            groups += usize::from(is_first);
        });
        slots.truncate(groups);
        present.truncate(groups);
        first_row.truncate(groups);
        Ok(Self { slots, groups: Groups { group_of_row, first_row }, present, keys })
    }

    /// Adds a key that has state as a group without rows, unless it is there.
    pub(crate) fn add(&mut self, slot: u32, state: &mut KeyedState) {
        if !Self::has(slot, state) {
            state.set_mark(slot, self.slots.len() as u32);
            self.slots.push(slot);
            self.present.push(true);
        }
    }

    /// Whether a slot has a group.
    pub(crate) fn has(slot: u32, state: &KeyedState) -> bool {
        state.table().mark(slot) != NO_MARK
    }

    /// All keys are there.
    pub(crate) fn end(&self, state: &mut KeyedState) {
        self.slots.iter().for_each(|slot| state.set_mark(*slot, NO_MARK));
    }

    /// How many groups have rows; they come first.
    pub(crate) fn with_rows(&self) -> usize {
        self.groups.len()
    }

    /// Puts answers of the plugin into the state: row `row` of `states`, which has all of its values, into slot `slot` for each pair. Gives the delta if
    /// the batch `is_committed` and nothing else has to be: as a rule all that a commit has to write are these answers, in their order, and keys
    /// that lie side by side in the batch.
    pub(crate) fn put(
        &self,
        state: &mut KeyedState,
        states: &RecordBatch,
        rows_to_slots: &[(u32, u32)],
        is_committed: bool,
    ) -> Result<Option<StateDelta>> {
        if !is_committed || !state.is_clean() {
            state.put(states, rows_to_slots);
            return Ok(None);
        }
        state.put_unmarked(states, rows_to_slots);
        let keys = state.binary(rows_to_slots.iter(), |(group, _), key| self.append_key(*group, state, key))?;
        if rows_to_slots.len() == states.num_rows() {
            return state.delta_of(keys, states.clone());
        }
        let rows: UInt32Array = rows_to_slots.iter().map(|(row, _)| *row).collect();
        let states = take_record_batch(states, &rows).map_err(Error::arrow(state.node()))?;
        state.delta_of(keys, states)
    }

    /// Appends the key of a group.
    fn append_key(&self, group: u32, state: &KeyedState, key: &mut Vec<u8>) {
        match self.groups.first_row.get(group as usize) {
            Some(row) => self.keys.append(*row as usize, key),
            None => state.table().append_key(self.slots[group as usize], key),
        }
    }

    /// What the plugin is called with.
    ///
    /// `keys`: of the groups, one row each.
    /// `merged`: the reduce that `rows` go into first, so that each group with rows has one.
    pub(crate) fn input(
        &self,
        keys: RecordBatch,
        keyed: Keyed<'_>,
        input_schema: &Schema,
        state: &KeyedState,
        rows: &RecordBatch,
        merged: Option<Merged<'_>>,
    ) -> Result<Grouped> {
        let Keyed { node, key_columns, .. } = keyed;
        let is_single = self.with_rows() == rows.num_rows();
        let one_each = || {
            let rows = self.with_rows() as u32;
            (0..=rows).chain(std::iter::repeat_n(rows, self.slots.len() - self.with_rows())).collect()
        };
        let (groups, values, order) = if is_single {
            (one_each(), rows.columns()[key_columns..].to_vec(), None)
        } else if let Some(Merged { node, merges }) = merged {
            (one_each(), merge_columns(node, merges, rows, &self.groups)?, None)
        } else {
            let (groups, order) = order_by_group(&self.groups.group_of_row, self.slots.len());
            let order = UInt32Array::from(order);
            let values = take_arrays(&rows.columns()[key_columns..], &order, None).map_err(Error::arrow(node))?;
            (groups, values, Some(order.values().to_vec()))
        };
        let count = if is_single || order.is_some() { rows.num_rows() } else { self.with_rows() };
        let values = columns::batch(node, &value_schema(input_schema, key_columns), values, count)?;
        let states = state.visible_values(&self.slots)?;
        let present = BooleanArray::from(self.present.clone());
        Ok(Grouped { input: UpdateInput { keys, groups, values, states, present }, order })
    }

    /// The keys of the groups, one row each.
    pub(crate) fn keys(&self, keyed: Keyed<'_>, state: &KeyedState, rows: &RecordBatch) -> Result<RecordBatch> {
        let Keyed { node, schema, key_columns } = keyed;
        let key_columns: Vec<usize> = (0..key_columns).collect();
        let schema = schema.project(&key_columns).map_err(Error::arrow(node))?;
        // Of several spellings of one number (0.0 and -0.0) the state has the one that counts, so floats are read from it.
        if schema.fields().iter().any(|field| has_floats(field.data_type())) {
            return columns::batch(node, &Arc::new(schema), state.key_columns(&self.slots)?, self.slots.len());
        }
        let schema = Arc::new(schema);
        let mut keys = if self.with_rows() < rows.num_rows() {
            gather(node, &schema, &[(rows, &self.groups.first_row)])?.columns().to_vec()
        } else {
            rows.columns()[..schema.fields().len()].to_vec()
        };
        if self.with_rows() < self.slots.len() {
            // Only of these: keys in the state lie anywhere in memory.
            let others = state.key_columns(&self.slots[self.with_rows()..])?;
            let both = keys.iter().zip(&others).map(|(keys, others)| concat(&[keys.as_ref(), others.as_ref()]));
            keys = both.collect::<Result<_, _>>().map_err(Error::arrow(node))?;
        }
        columns::batch(node, &schema, keys, self.slots.len())
    }
}
