//! Keyed state: the plugin's update function is called with the new values and the old state of each key.
//!
//! Rows are shuffled to the partition that holds their key's state, unless they lie there already; there they are grouped by
//! key in arrival order, by the slots of the state. A reduce of columns right before leaves its merge to this node, as the groups are
//! the same. All keys of the partition go to the plugin in one call. What comes out is every key with its
//! state, or, where nothing downstream can tell, only what changed or only what may be among the first rows of a `top_by`.
//! Source: `PairDStreamFunctions.updateStateByKey`, `StateDStream`.

use std::sync::Arc;

use arrow::array::{BooleanArray, RecordBatch};
use arrow::compute::filter_record_batch;
use arrow::datatypes::Schema;
use millpond_core::plan::{ColumnMerge, Sort};
use millpond_core::store::NodeState;
use millpond_core::{Node, PartitionBatch, PartitionId, StateDelta, UserFunction};

use super::touched::{Merged, Touched};
use super::{BatchContext, NodeRef, Restore, Rows, Stateful};
use crate::columns;
use crate::error::{Error, Result};
use crate::shuffle::Keyed;
use crate::state::KeyedState;

/// State of an update-state node.
pub(crate) struct UpdateState {
    calls: Calls,
    /// What a job begins with: keys and their states, until the first batch takes them in.
    initial: Option<RecordBatch>,
    /// Whether it has run, and no commit says so yet.
    has_begun: bool,
    /// Whether it has run before the last commit.
    is_known: bool,
    wanted: Wanted,
    partitions: Vec<Partition>,
}

/// What the plugin is called for, and with.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Calls {
    /// For every key that has state, not only for those with rows.
    pub(crate) every_batch: bool,
    /// With the keys, not only with their rows and states.
    pub(crate) with_keys: bool,
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
}

impl UpdateState {
    pub(crate) fn new(
        node: &Node,
        calls: Calls,
        initial: Option<RecordBatch>,
        wanted: Wanted,
        parallelism: usize,
    ) -> Self {
        let partition = |_| {
            let mut state = KeyedState::new(&node.name, &node.schema, node.key_columns);
            if let Wanted::First(sort) = &wanted {
                state.follow(sort);
            }
            Partition { state, delta: None }
        };
        let partitions = (0..parallelism).map(partition).collect();
        Self { calls, initial, has_begun: false, is_known: false, wanted, partitions }
    }

    pub(crate) fn run(
        &mut self,
        context: &BatchContext<'_>,
        node: NodeRef<'_>,
        input_node: &Node,
        input: Rows,
        merges: Option<&[ColumnMerge]>,
    ) -> Result<Rows> {
        let keyed = Keyed { node: node.name(), schema: &input_node.schema, key_columns: node.node.key_columns };
        self.has_begun = !self.is_known;
        let (calls, wanted, initial) = (self.calls, &self.wanted, self.initial.take());
        let is_by_rows = !calls.every_batch && initial.is_none() && self.is_small();
        let partitions = &mut self.partitions;
        let partitions = context.run_by_key(
            keyed,
            input,
            is_by_rows,
            |_| partitions.iter_mut().collect(),
            |state, partition, rows, hashes| {
                let initial = initial.as_ref();
                let merged = merges.map(|merges| Merged { node: input_node, merges });
                let update = Update { context, node, input_node, merged, calls, initial, wanted, partition };
                let (rows, hashes) = state.update(&update, &rows, &hashes)?;
                if context.is_commit && state.delta.is_none() {
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
    /// If the input node is a reduce that is left to this one.
    merged: Option<Merged<'a>>,
    calls: Calls,
    initial: Option<&'a RecordBatch>,
    wanted: &'a Wanted,
    partition: PartitionId,
}

impl Partition {
    /// The rows that are wanted, and the hashes of their keys.
    fn update(&mut self, update: &Update<'_>, rows: &RecordBatch, hashes: &[u64]) -> Result<(RecordBatch, Vec<u64>)> {
        let seeded = match update.initial {
            Some(initial) => self.state.seed(initial, update.partition, update.context.parallelism)?,
            None => Vec::new(),
        };
        let mut changed = Vec::new();
        if rows.num_rows() > 0 || update.calls.every_batch {
            let touched = self.touch(update, rows, hashes)?;
            if !touched.slots.is_empty() {
                changed = self.call(update, rows, &touched)?;
            }
        }
        let wanted = match update.wanted {
            Wanted::All => None,
            Wanted::Changed if seeded.is_empty() => Some(changed),
            // The first batch: no key was there before.
            Wanted::Changed => None,
            Wanted::First(_) => self.state.first(),
        };
        let slots = wanted.unwrap_or_else(|| self.state.table().occupied().collect());
        let hashes = slots.iter().map(|slot| self.state.hash(*slot)).collect();
        Ok((self.state.rows(&update.node.node.schema, &slots)?, hashes))
    }

    /// The keys of the batch; if the plugin is called for every key, the others behind them.
    fn touch(&mut self, update: &Update<'_>, rows: &RecordBatch, hashes: &[u64]) -> Result<Touched> {
        let mut touched = Touched::begin(update.keyed(), &mut self.state, rows, hashes)?;
        if update.calls.every_batch {
            for slot in self.state.table().occupied().collect::<Vec<_>>() {
                touched.add(slot, &mut self.state);
            }
        }
        touched.end(&mut self.state);
        Ok(touched)
    }

    /// Calls the plugin and takes over what it answers; gives the slots whose state is not what it was.
    fn call(&mut self, update: &Update<'_>, rows: &RecordBatch, touched: &Touched) -> Result<Vec<u32>> {
        let name = update.node.name();
        let keys = match update.calls.with_keys {
            true => touched.keys(update.keyed(), &self.state, rows)?,
            false => columns::batch(name, &Arc::new(Schema::empty()), Vec::new(), touched.slots.len())?,
        };
        let input =
            touched.input(keys, update.keyed(), &update.input_node.schema, &self.state, rows, update.merged)?.input;
        let task = update.context.task(update.partition, update.context.parallelism);
        let output = update.context.function.update(update.node.id, &task, &input).map_err(Error::user_code)?;
        let mut kept = Vec::with_capacity(touched.slots.len());
        let mut changed = Vec::new();
        for ((group, slot), keep) in touched.slots.iter().enumerate().zip(output.keep.values()) {
            if keep {
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
        let states = self.state.as_values(&output.states)?;
        let is_committed = update.context.is_commit && self.delta.is_none();
        self.delta = touched.put(&mut self.state, &states, &kept, is_committed)?.or(self.delta.take());
        Ok(changed)
    }
}

impl<'a> Update<'a> {
    fn keyed(&self) -> Keyed<'a> {
        let node = self.node.node;
        Keyed { node: &node.name, schema: &node.schema, key_columns: node.key_columns }
    }
}

impl Stateful for UpdateState {
    fn restore(&mut self, state: NodeState, context: &Restore<'_>) -> Result<()> {
        if !context.is_new {
            self.initial = None;
            self.is_known = true;
        }
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

    fn take_begun(&mut self) -> bool {
        self.is_known |= self.has_begun;
        std::mem::take(&mut self.has_begun)
    }

    fn keys(&self) -> u64 {
        self.partitions.iter().map(|partition| partition.state.len() as u64).sum()
    }

    fn memory_bytes(&self) -> u64 {
        let bytes = |partition: &Partition| partition.state.memory_bytes();
        self.partitions.iter().map(|partition| bytes(partition) as u64).sum()
    }
}

/// Rows of a batch for which `keep` holds.
pub(crate) fn kept(name: &str, rows: &RecordBatch, keep: &[bool]) -> Result<RecordBatch> {
    filter_record_batch(rows, &BooleanArray::from(keep.to_vec())).map_err(Error::arrow(name))
}
