//! Keyed state: the plugin's update function is called with the new values and the old state of each key.
//!
//! Rows are shuffled to the partition that holds their key's state, unless they lie there already; there they are grouped by
//! key in arrival order, and all keys of the partition go to the plugin in one call. What comes out is every key with its
//! state, or, where nothing downstream can tell, only what changed or only what may be among the first rows of a `top_by`.
//! Source: `PairDStreamFunctions.updateStateByKey`, `StateDStream`.

use std::sync::Arc;

use arrow::array::{BooleanArray, RecordBatch, UInt32Array};
use arrow::compute::{filter_record_batch, take_record_batch};
use arrow::datatypes::DataType;
use millpond_core::plan::Sort;
use millpond_core::store::NodeState;
use millpond_core::{Node, PartitionBatch, PartitionId, StateDelta, UpdateInput};

use super::reduce::value_schema;
use super::{BatchContext, NodeRef, Restore, Rows, Stateful};
use crate::columns;
use crate::error::{Error, Result};
use crate::group::order_by_group;
use crate::key::Keys;
use crate::shuffle::Keyed;
use crate::state::KeyedState;

/// State of an update-state node.
pub(crate) struct UpdateState {
    every_batch: bool,
    wanted: Wanted,
    partitions: Vec<Partition>,
}

/// Which rows need to come out. What is downstream can never tell the difference.
#[derive(Clone, Debug)]
pub(crate) enum Wanted {
    /// Every key.
    All,
    /// Those that changed in this batch.
    Changed,
    /// Those that may be among the first ones of this order.
    First(Sort),
}

struct Partition {
    state: KeyedState,
    /// What changed, made ready for the commit that follows.
    delta: Option<StateDelta>,
    /// Scratch: of each slot, its group in the batch at hand, or `NO_GROUP`.
    group_of_slot: Vec<u32>,
}

const NO_GROUP: u32 = u32::MAX;

impl UpdateState {
    pub(crate) fn new(node: &Node, every_batch: bool, wanted: Wanted, parallelism: usize) -> Self {
        let partition = |_| Partition {
            state: KeyedState::new(&node.name, &node.schema, node.key_columns),
            delta: None,
            group_of_slot: Vec::new(),
        };
        Self { every_batch, wanted, partitions: (0..parallelism).map(partition).collect() }
    }

    pub(crate) fn run(
        &mut self,
        context: &BatchContext<'_>,
        node: NodeRef<'_>,
        input_node: &Node,
        input: Rows,
    ) -> Result<Rows> {
        let keyed = Keyed { node: node.name(), schema: &input_node.schema, key_columns: node.node.key_columns };
        let (every_batch, wanted) = (self.every_batch, &self.wanted);
        let partitions = &mut self.partitions;
        let partitions = context.run_by_key(
            keyed,
            input,
            |_| partitions.iter_mut().collect(),
            |state, partition, rows, hashes| {
                let update = Update { context, node, input_node, every_batch, wanted, partition };
                let (rows, hashes) = state.update(&update, &rows, &hashes)?;
                if context.is_commit {
                    state.delta = state.state.take_delta()?;
                }
                Ok((PartitionBatch { partition, rows }, hashes))
            },
        )?;
        Ok(Rows::hashed(partitions))
    }
}

/// One partition's share of a batch.
struct Update<'a> {
    context: &'a BatchContext<'a>,
    node: NodeRef<'a>,
    input_node: &'a Node,
    every_batch: bool,
    wanted: &'a Wanted,
    partition: PartitionId,
}

/// The keys that the plugin is called for, one group each.
struct Touched {
    slots: Vec<u32>,
    group_of_row: Vec<u32>,
    /// Of the groups that have rows, which come first: the first row of each.
    first_rows: Vec<u32>,
    /// Whether the key had state before.
    present: Vec<bool>,
}

impl Partition {
    /// The rows that are wanted, and the hashes of their keys.
    fn update(&mut self, update: &Update<'_>, rows: &RecordBatch, hashes: &[u64]) -> Result<(RecordBatch, Vec<u64>)> {
        let touched = self.touch(update, rows, hashes)?;
        let changed = if touched.slots.is_empty() { Vec::new() } else { self.call(update, rows, &touched)? };
        let best = match update.wanted {
            Wanted::All => None,
            Wanted::Changed => Some(changed),
            Wanted::First(sort) => self.state.best(sort),
        };
        let slots = best.unwrap_or_else(|| self.state.table().occupied().collect());
        let hashes = slots.iter().map(|slot| self.state.table().hash(*slot)).collect();
        Ok((self.state.rows(&update.node.node.schema, &slots)?, hashes))
    }

    /// Finds or makes the slot of every key in the batch and sorts rows into groups, one per slot.
    fn touch(&mut self, update: &Update<'_>, rows: &RecordBatch, hashes: &[u64]) -> Result<Touched> {
        let node = update.node.node;
        let keys = Keys::of(&node.name, &node.schema, node.key_columns, rows)?;
        let (slots, new) = self.state.insert_all(&keys, hashes);
        self.group_of_slot.resize(self.state.table().slots(), NO_GROUP);
        let mut touched = Touched {
            slots: Vec::new(),
            group_of_row: Vec::with_capacity(rows.num_rows()),
            first_rows: Vec::new(),
            present: Vec::new(),
        };
        for (row, (slot, new)) in (0u32..).zip(slots.into_iter().zip(new)) {
            let group = self.group(slot, !new, &mut touched);
            touched.group_of_row.push(group);
            if group as usize == touched.first_rows.len() {
                touched.first_rows.push(row);
            }
        }
        if update.every_batch {
            let all: Vec<u32> = self.state.table().occupied().collect();
            for slot in all {
                self.group(slot, true, &mut touched);
            }
        }
        touched.slots.iter().for_each(|slot| self.group_of_slot[*slot as usize] = NO_GROUP);
        Ok(touched)
    }

    fn group(&mut self, slot: u32, present: bool, touched: &mut Touched) -> u32 {
        let group = &mut self.group_of_slot[slot as usize];
        if *group == NO_GROUP {
            *group = touched.slots.len() as u32;
            touched.slots.push(slot);
            touched.present.push(present);
        }
        *group
    }

    /// Calls the plugin and takes over what it answers; gives the slots whose state is not what it was.
    fn call(&mut self, update: &Update<'_>, rows: &RecordBatch, touched: &Touched) -> Result<Vec<u32>> {
        let name = update.node.name();
        let input = self.input(update, rows, touched)?;
        let task = update.context.task(update.partition, update.context.parallelism);
        let output = update.context.function.update(update.node.id, &task, &input).map_err(Error::user_code)?;
        let mut kept = Vec::with_capacity(touched.slots.len());
        let mut changed = Vec::new();
        for (group, slot) in touched.slots.iter().enumerate() {
            if output.keep.value(group) {
                kept.push((group as u32, *slot));
            } else {
                self.state.remove(*slot, touched.present[group]);
            }
        }
        if matches!(update.wanted, Wanted::Changed) {
            let same = columns::same_rows(name, &input.states, &output.states)?;
            let unchanged = |group: u32| touched.present[group as usize] && same[group as usize];
            changed = kept.iter().filter(|(group, _)| !unchanged(*group)).map(|(_, slot)| *slot).collect();
        }
        self.state.put(&output.states, &kept);
        Ok(changed)
    }

    fn input(&self, update: &Update<'_>, rows: &RecordBatch, touched: &Touched) -> Result<UpdateInput> {
        let name = update.node.name();
        let key_columns = update.node.node.key_columns;
        let values =
            rows.project(&(key_columns..rows.num_columns()).collect::<Vec<_>>()).map_err(Error::arrow(name))?;
        let is_single = touched.first_rows.len() == rows.num_rows();
        let (groups, values) = if is_single {
            let rows = rows.num_rows() as u32;
            let without_rows = touched.slots.len() - rows as usize;
            ((0..=rows).chain(std::iter::repeat_n(rows, without_rows)).collect(), values)
        } else {
            let (groups, order) = order_by_group(&touched.group_of_row, touched.slots.len());
            (groups, take_record_batch(&values, &UInt32Array::from(order)).map_err(Error::arrow(name))?)
        };
        let values = columns::batch(
            name,
            &value_schema(&update.input_node.schema, key_columns),
            values.columns().to_vec(),
            values.num_rows(),
        )?;
        let keys = self.keys(update, rows, touched)?;
        let states = self.state.values(&touched.slots)?;
        Ok(UpdateInput { keys, groups, values, states, present: BooleanArray::from(touched.present.clone()) })
    }

    /// The keys of the groups.
    fn keys(&self, update: &Update<'_>, rows: &RecordBatch, touched: &Touched) -> Result<RecordBatch> {
        let name = update.node.name();
        let key_columns: Vec<usize> = (0..update.node.node.key_columns).collect();
        let schema = update.node.node.schema.project(&key_columns).map_err(Error::arrow(name))?;
        // Of several spellings of one number (0.0 and -0.0) the state has the one that counts, so floats are read from it.
        let is_float = schema.fields().iter().any(|field| *field.data_type() == DataType::Float64);
        let keys = if is_float || touched.first_rows.len() < touched.slots.len() {
            self.state.key_columns(&touched.slots)?
        } else {
            let keys = rows.project(&key_columns).map_err(Error::arrow(name))?;
            if touched.first_rows.len() == rows.num_rows() {
                keys.columns().to_vec()
            } else {
                let first_rows = UInt32Array::from(touched.first_rows.clone());
                take_record_batch(&keys, &first_rows).map_err(Error::arrow(name))?.columns().to_vec()
            }
        };
        columns::batch(name, &Arc::new(schema), keys, touched.slots.len())
    }
}

impl Stateful for UpdateState {
    fn restore(&mut self, state: NodeState, context: &Restore<'_>) -> Result<()> {
        let count = self.partitions.len();
        let items: Vec<_> = self.partitions.iter_mut().enumerate().collect();
        context.pool.run(items, |(number, partition)| {
            state.keyed.iter().for_each(|chunk| partition.state.restore(chunk, number, count));
            Ok(())
        })?;
        Ok(())
    }

    fn take_deltas(&mut self) -> Result<Vec<StateDelta>> {
        let mut deltas = Vec::new();
        for partition in &mut self.partitions {
            // Usually made ready in the batch; not where a commit was not foreseen.
            deltas.extend(partition.delta.take());
            deltas.extend(partition.state.take_delta()?);
        }
        Ok(deltas)
    }

    fn keys(&self) -> u64 {
        self.partitions.iter().map(|partition| partition.state.len() as u64).sum()
    }

    fn memory_bytes(&self) -> u64 {
        let bytes = |partition: &Partition| partition.state.memory_bytes() + partition.group_of_slot.capacity() * 4;
        self.partitions.iter().map(|partition| bytes(partition) as u64).sum()
    }
}

/// Rows of a batch for which `keep` holds.
pub(crate) fn kept(name: &str, rows: &RecordBatch, keep: &[bool]) -> Result<RecordBatch> {
    filter_record_batch(rows, &BooleanArray::from(keep.to_vec())).map_err(Error::arrow(name))
}
