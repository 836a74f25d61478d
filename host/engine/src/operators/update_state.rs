//! Keyed state: the plugin's update function is called with the new values and the old state of each key.
//!
//! Rows are shuffled to the partition that holds their key's state; there they are grouped by key in arrival order, and all
//! keys of the partition go to the plugin in one call. What comes out is every key with its state, or, where nothing
//! downstream can tell, only what changed. Source: `PairDStreamFunctions.updateStateByKey`, `StateDStream`.

use std::sync::Arc;

use arrow::array::{BooleanArray, RecordBatch, UInt32Array};
use arrow::compute::{filter_record_batch, take_record_batch};
use millpond_core::store::NodeState;
use millpond_core::{Node, PartitionBatch, PartitionId, StateDelta, UpdateInput};

use super::reduce::value_schema;
use super::{BatchContext, NodeRef, Restore, Rows, Stateful};
use crate::columns;
use crate::error::{Error, Result};
use crate::group::order_by_group;
use crate::key::Keys;
use crate::shuffle;
use crate::state::KeyedState;

/// State of an update-state node.
pub(crate) struct UpdateState {
    every_batch: bool,
    /// Only rows that changed need to come out.
    changes_only: bool,
    partitions: Vec<Partition>,
}

struct Partition {
    state: KeyedState,
    /// Scratch: of each slot, its group in the batch at hand, or `NO_GROUP`.
    group_of_slot: Vec<u32>,
}

const NO_GROUP: u32 = u32::MAX;

impl UpdateState {
    pub(crate) fn new(node: &Node, every_batch: bool, changes_only: bool, parallelism: usize) -> Self {
        let partition = |_| Partition {
            state: KeyedState::new(&node.name, &node.schema, node.key_columns),
            group_of_slot: Vec::new(),
        };
        Self { every_batch, changes_only, partitions: (0..parallelism).map(partition).collect() }
    }

    pub(crate) fn run(
        &mut self,
        context: &BatchContext<'_>,
        node: NodeRef<'_>,
        input_node: &Node,
        input: Rows,
    ) -> Result<Rows> {
        let keys = node.node.key_columns;
        let shuffled = if input.hashed {
            input.partitions
        } else {
            shuffle::by_key(context.pool, node.name(), &input_node.schema, keys, input.partitions, context.parallelism)?
        };
        let (every_batch, changes_only) = (self.every_batch, self.changes_only);
        let items: Vec<_> = self.partitions.iter_mut().zip(shuffled).collect();
        let partitions = context.pool.run(items, |(partition, batch)| {
            let update = Update { context, node, input_node, every_batch, changes_only, partition: batch.partition };
            let rows = partition.update(&update, &batch.rows)?;
            Ok(PartitionBatch { partition: batch.partition, rows })
        })?;
        Ok(Rows { partitions, hashed: true })
    }
}

/// One partition's share of a batch.
struct Update<'a> {
    context: &'a BatchContext<'a>,
    node: NodeRef<'a>,
    input_node: &'a Node,
    every_batch: bool,
    changes_only: bool,
    partition: PartitionId,
}

/// The keys that the plugin is called for, one group each.
struct Touched {
    slots: Vec<u32>,
    group_of_row: Vec<u32>,
    /// Whether the key had state before.
    present: Vec<bool>,
}

impl Partition {
    fn update(&mut self, update: &Update<'_>, rows: &RecordBatch) -> Result<RecordBatch> {
        let touched = self.touch(update, rows)?;
        let changed = if touched.slots.is_empty() { Vec::new() } else { self.call(update, rows, &touched)? };
        let schema = &update.node.node.schema;
        if update.changes_only {
            return self.state.rows(schema, &changed);
        }
        let all: Vec<u32> = self.state.table().occupied().collect();
        self.state.rows(schema, &all)
    }

    /// Finds or makes the slot of every key in the batch and sorts rows into groups, one per slot.
    fn touch(&mut self, update: &Update<'_>, rows: &RecordBatch) -> Result<Touched> {
        let node = update.node.node;
        let keys = Keys::of(&node.name, &node.schema, node.key_columns, rows)?;
        let mut touched =
            Touched { slots: Vec::new(), group_of_row: Vec::with_capacity(rows.num_rows()), present: Vec::new() };
        for (row, hash) in keys.hashes().into_iter().enumerate() {
            let (slot, new) = self.state.insert(hash, keys.get(row));
            let group = self.group(slot, !new, &mut touched);
            touched.group_of_row.push(group);
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
        if self.group_of_slot.len() <= slot as usize {
            self.group_of_slot.resize(slot as usize + 1, NO_GROUP);
        }
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
        if update.changes_only {
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
        let (groups, order) = order_by_group(&touched.group_of_row, touched.slots.len());
        let values =
            rows.project(&(key_columns..rows.num_columns()).collect::<Vec<_>>()).map_err(Error::arrow(name))?;
        let in_order = order.iter().zip(0u32..).all(|(row, place)| *row == place);
        let values = if in_order {
            values
        } else {
            take_record_batch(&values, &UInt32Array::from(order)).map_err(Error::arrow(name))?
        };
        let values = columns::batch(
            name,
            &value_schema(&update.input_node.schema, key_columns),
            values.columns().to_vec(),
            values.num_rows(),
        )?;
        let key_schema =
            update.node.node.schema.project(&(0..key_columns).collect::<Vec<_>>()).map_err(Error::arrow(name))?;
        let keys = self.state.key_columns(&touched.slots)?;
        let keys = columns::batch(name, &Arc::new(key_schema), keys, touched.slots.len())?;
        let states = self.state.values(&touched.slots)?;
        Ok(UpdateInput { keys, groups, values, states, present: BooleanArray::from(touched.present.clone()) })
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
        let deltas = self.partitions.iter_mut().map(|partition| partition.state.take_delta());
        deltas.filter_map(Result::transpose).collect()
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
