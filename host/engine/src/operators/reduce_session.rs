//! Merges the rows of each key into sessions: rows at most one gap apart belong together.
//!
//! A batch is reduced by key first. A key has at most one open session: its value, its first time and its last one. A session comes out
//! once, in the first batch whose time is more than a gap after its last row; `expiry.rs` finds those without looking at all
//! keys.
//!
//! A row's time is its batch's (`times`). With times from the rows themselves a key could have several open sessions; that would change
//! what is kept of a key, and nothing around it.
//! Source: session windows as in Flink (`ProcessingTimeSessionWindows`) and Bytewax (`SessionWindower`); Spark Streaming has none, there
//! they are written with `mapWithState`.

use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, TimestampMicrosecondArray, UInt32Array};
use arrow::compute::take_record_batch;
use arrow::datatypes::Schema;
use millpond_core::plan::ReduceSession;
use millpond_core::store::NodeState;
use millpond_core::{BatchTime, Node, PartitionBatch, StateDelta};

use super::expiry::Expiry;
use super::reduce::{self, Merger, value_schema};
use super::{BatchContext, NodeRef, Restore, Rows, Stateful};
use crate::columns;
use crate::error::{Error, Result};
use crate::key::Keys;
use crate::state::KeyedState;

/// A session's first and last time stand behind its value.
pub(crate) const TIME_COLUMNS: usize = 2;

/// State of a reduce-session node.
pub(crate) struct ReduceSessionOperator {
    settings: ReduceSession,
    /// The node without its times: what a batch is reduced to.
    reduced: Node,
    partitions: Vec<Partition>,
}

struct Partition {
    /// Key, value, first and last time of the open sessions.
    state: KeyedState,
    expiry: Expiry,
}

/// The node that a session node's batches are reduced by: the same without the times.
pub(crate) fn reduced(node: &Node) -> Node {
    let values = node.schema.fields().len().saturating_sub(TIME_COLUMNS);
    Node { schema: Arc::new(Schema::new(node.schema.fields()[..values].to_vec())), ..node.clone() }
}

impl ReduceSessionOperator {
    pub(crate) fn new(node: &Node, settings: &ReduceSession, parallelism: usize) -> Self {
        let partition = |_| Partition {
            state: KeyedState::new(&node.name, &node.schema, node.key_columns),
            expiry: Expiry::default(),
        };
        let partitions = (0..parallelism).map(partition).collect();
        Self { settings: settings.clone(), reduced: reduced(node), partitions }
    }

    pub(crate) fn run(&mut self, context: &BatchContext<'_>, node: NodeRef<'_>, input: Rows) -> Result<Rows> {
        let reduced_node = NodeRef { id: node.id, node: &self.reduced };
        let reduced = reduce::merged(context, reduced_node, input, &self.settings.merge)?;
        let (settings, count) = (&self.settings, self.partitions.len());
        let items: Vec<_> = self.partitions.iter_mut().zip(reduced).collect();
        let output = context.pool.run(items, |(state, (PartitionBatch { partition, rows }, hashes))| {
            let task = context.task(partition, count);
            let merger = Merger { node: reduced_node, merge: &settings.merge, function: context.function, task };
            let (ended, ended_hashes) = state.end(node.node, context.batch_time.minus_ms(settings.gap_ms))?;
            state.add(&merger, &rows, &hashes, context.batch_time)?;
            Ok((PartitionBatch { partition, rows: ended }, ended_hashes))
        })?;
        Ok(Rows::hashed(output))
    }
}

impl Partition {
    /// Closes the sessions whose last row is before `edge`.
    fn end(&mut self, node: &Node, edge: BatchTime) -> Result<(RecordBatch, Vec<u64>)> {
        let state = &self.state;
        let mut ended = self.expiry.expired(edge, |slot| last_time(state, slot));
        ended.sort_unstable();
        let rows = self.state.rows(&node.schema, &ended)?;
        let hashes = ended.iter().map(|slot| self.state.hash(*slot)).collect();
        ended.into_iter().for_each(|slot| self.state.remove(slot, true));
        Ok((rows, hashes))
    }

    /// Adds a batch's rows, one a key, to the sessions that are open, and opens new ones.
    fn add(&mut self, merger: &Merger<'_>, rows: &RecordBatch, hashes: &[u64], time: BatchTime) -> Result<()> {
        let Node { name, schema, key_columns, .. } = merger.node.node;
        let keys = Keys::of(name, schema, *key_columns, rows)?;
        let (slots, is_new) = self.state.insert_all(&keys, hashes);
        let values = rows.columns()[*key_columns..].to_vec();
        let values = columns::batch(name, &value_schema(schema, *key_columns), values, rows.num_rows())?;
        let (new, open): (Vec<u32>, Vec<u32>) = (0..slots.len() as u32).partition(|row| is_new[*row as usize]);
        let slots_of = |rows: &[u32]| rows.iter().map(|row| slots[*row as usize]).collect::<Vec<u32>>();
        let take =
            |rows: &[u32]| take_record_batch(&values, &UInt32Array::from(rows.to_vec())).map_err(Error::arrow(name));
        let (new_slots, open_slots) = (slots_of(&new), slots_of(&open));
        let before = self.state.values(&open_slots)?;
        let (before, times) = before.columns().split_at(values.num_columns());
        let before = columns::batch(name, &values.schema(), before.to_vec(), open_slots.len())?;
        let key = |row: usize| self.state.key_columns(&open_slots[row..=row]);
        let merged = merger.pairs(&before, &take(&open)?, &key)?;
        let first_times = Arc::clone(&times[0]);
        self.put(name, &take(&new)?, times_column(time, new.len()), &new_slots, time)?;
        self.put(name, &merged, first_times, &open_slots, time)
    }

    fn put(
        &mut self,
        name: &str,
        values: &RecordBatch,
        first_times: ArrayRef,
        slots: &[u32],
        time: BatchTime,
    ) -> Result<()> {
        let mut columns = values.columns().to_vec();
        columns.push(first_times);
        columns.push(times_column(time, slots.len()));
        let schema = Arc::clone(self.state.value_schema());
        let values = columns::batch(name, &schema, columns, slots.len())?;
        self.state.put(&values, &(0u32..).zip(slots.iter().copied()).collect::<Vec<_>>());
        self.expiry.touch(slots.iter().copied(), time);
        Ok(())
    }
}

/// The time of rows of this batch, in microseconds.
fn times_column(time: BatchTime, rows: usize) -> ArrayRef {
    let column = TimestampMicrosecondArray::from_value(time.0.saturating_mul(1000), rows);
    Arc::new(column)
}

/// The time of a session's last row; `None` if no key is in the slot.
fn last_time(state: &KeyedState, slot: u32) -> Option<BatchTime> {
    let column = state.value_schema().fields().len() - 1;
    let last_us = state.table().is_occupied(slot).then(|| state.integer(column, slot)).flatten();
    last_us.map(|us| BatchTime(us.div_euclid(1000)))
}

impl Stateful for ReduceSessionOperator {
    fn restore(&mut self, state: NodeState, context: &Restore<'_>) -> Result<()> {
        let count = self.partitions.len();
        let items: Vec<_> = self.partitions.iter_mut().enumerate().collect();
        context.pool.run(items, |(number, partition)| {
            state.keyed.iter().for_each(|chunk| partition.state.restore(chunk, number, count));
            for slot in partition.state.table().occupied() {
                let last = last_time(&partition.state, slot);
                last.into_iter().for_each(|time| partition.expiry.touch([slot], time));
            }
            Ok(())
        })?;
        Ok(())
    }

    fn take_deltas(&mut self) -> Result<Vec<StateDelta>> {
        let deltas = self.partitions.iter_mut().map(|partition| partition.state.take_delta());
        Ok(deltas.collect::<Result<Vec<_>>>()?.into_iter().flatten().collect())
    }

    fn keys(&self) -> u64 {
        self.partitions.iter().map(|partition| partition.state.len() as u64).sum()
    }

    fn memory_bytes(&self) -> u64 {
        let bytes = |partition: &Partition| partition.state.memory_bytes() + partition.expiry.memory_bytes();
        self.partitions.iter().map(|partition| bytes(partition) as u64).sum()
    }
}
