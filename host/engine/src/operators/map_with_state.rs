//! Keyed state, row by row: the plugin's function is called once for each row, with the key's state in hand, and maps the row.
//!
//! As in `update_state`, rows go to the partition that holds their key's state and all keys of a partition go to the plugin in one
//! call; keys without rows are not visited. With a timeout, keys that no row has touched for so long are behind them in the same call, as
//! groups without rows, and are gone afterwards. `expiry.rs` finds them without looking at all keys.
//!
//! Durable with each state is when a row last touched its key.
//! Source: `PairDStreamFunctions.mapWithState`, `MapWithStateDStream`, `StateImpl`.

use std::sync::Arc;

use arrow::array::{ArrayRef, BooleanArray, Int64Array, RecordBatch, UInt32Array};
use arrow::compute::take_record_batch;
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use millpond_core::store::NodeState;
use millpond_core::{BatchTime, MapOutput, Node, PartitionBatch, PartitionId, StateDelta, UserFunction, plan};

use super::expiry::Expiry;
use super::touched::{Grouped, Touched};
use super::{BatchContext, NodeRef, Restore, Rows, Stateful};
use crate::columns;
use crate::error::{Error, Result};
use crate::shuffle::Keyed;
use crate::state::KeyedState;

/// The column after the state's: when the key was last touched, in milliseconds since the Unix epoch.
const TOUCHED: &str = "\u{0}touched";

/// State of a map-with-state node.
pub(crate) struct MapWithState {
    settings: plan::MapWithState,
    key_columns: usize,
    /// Whether it has run, and no commit says so yet.
    has_begun: bool,
    /// Whether it has run before the last commit.
    is_known: bool,
    partitions: Vec<Partition>,
}

struct Partition {
    state: KeyedState,
    expiry: Expiry,
    /// What changed, made ready for the commit that follows.
    delta: Option<StateDelta>,
}

impl MapWithState {
    /// `key_columns`: of the input, and so of the state.
    pub(crate) fn new(node: &Node, settings: &plan::MapWithState, key_columns: usize, parallelism: usize) -> Self {
        let mut fields = settings.state.fields().to_vec();
        fields.push(Arc::new(Field::new(TOUCHED, DataType::Int64, false)));
        let schema = Schema::new(fields);
        let partition = |_| {
            let mut state = KeyedState::new(&node.name, &schema, key_columns);
            state.hide_last();
            Partition { state, expiry: Expiry::default(), delta: None }
        };
        let partitions = (0..parallelism).map(partition).collect();
        Self { settings: settings.clone(), key_columns, has_begun: false, is_known: false, partitions }
    }

    pub(crate) fn run(
        &mut self,
        context: &BatchContext<'_>,
        node: NodeRef<'_>,
        input_node: &Node,
        input: Rows,
    ) -> Result<Rows> {
        let input_keyed = Keyed { node: node.name(), schema: &input_node.schema, key_columns: self.key_columns };
        self.has_begun = !self.is_known;
        let initial = self.settings.initial.take();
        let is_by_rows = self.settings.timeout_ms.is_none() && initial.is_none() && self.is_small();
        let (partitions, settings, key_columns) = (&mut self.partitions, &self.settings, self.key_columns);
        let initial = initial.as_ref();
        let partitions = context.run_by_key(
            input_keyed,
            input,
            is_by_rows,
            |_| partitions.iter_mut().collect(),
            |state, partition, rows, hashes| {
                let keyed = Keyed { node: node.name(), schema: &settings.state, key_columns };
                let timeout_ms = settings.timeout_ms;
                let call = Call { context, node, input_node, keyed, timeout_ms, initial, partition };
                let rows = state.map(&call, &rows, &hashes)?;
                if context.is_commit && state.delta.is_none() {
                    state.delta = state.state.take_delta()?;
                }
                Ok(PartitionBatch { partition, rows })
            },
        )?;
        Ok(Rows::new(partitions))
    }

    /// Every key with its state, after this batch: what a state-snapshots node gives.
    pub(crate) fn snapshots(&self, context: &BatchContext<'_>, node: NodeRef<'_>) -> Result<Rows> {
        let snapshot = |(state, partition): (&Partition, PartitionId)| {
            let slots: Vec<u32> = state.state.table().occupied().collect();
            let hashes = slots.iter().map(|slot| state.state.hash(*slot)).collect();
            let mut columns = state.state.key_columns(&slots)?;
            columns.extend_from_slice(state.state.visible_values(&slots)?.columns());
            let rows = columns::batch(node.name(), &node.node.schema, columns, slots.len())?;
            Ok((PartitionBatch { partition, rows }, hashes))
        };
        let items = self.partitions.iter().zip((0..).map(PartitionId)).collect();
        Ok(Rows::hashed(context.pool.run(items, snapshot)?))
    }
}

/// One partition's share of a batch.
struct Call<'a> {
    context: &'a BatchContext<'a>,
    node: NodeRef<'a>,
    input_node: &'a Node,
    /// The state's columns.
    keyed: Keyed<'a>,
    timeout_ms: Option<u64>,
    initial: Option<&'a RecordBatch>,
    partition: PartitionId,
}

impl Partition {
    /// The mapped rows: in the order in which their rows came, then those of keys that time out.
    fn map(&mut self, call: &Call<'_>, rows: &RecordBatch, hashes: &[u64]) -> Result<RecordBatch> {
        self.seed(call)?;
        let touched = self.touch(call, rows, hashes)?;
        if touched.slots.is_empty() {
            return Ok(RecordBatch::new_empty(Arc::clone(&call.node.node.schema)));
        }
        let keys = touched.keys(call.keyed, &self.state, rows)?;
        let Grouped { input, order } =
            touched.input(keys, call.keyed, &call.input_node.schema, &self.state, rows, None)?;
        let task = call.context.task(call.partition, call.context.parallelism);
        let output = call.context.function.map_with_state(call.node.id, &task, &input).map_err(Error::user_code)?;
        self.take_over(call, &touched, &output)?;
        match order {
            None => Ok(output.rows),
            Some(order) => {
                let arrived = arrival_order(&order, &output.mapped);
                take_record_batch(&output.rows, &arrived).map_err(Error::arrow(call.node.name()))
            }
        }
    }

    /// In the job's first batch: takes in the initial state, as if this batch had touched it.
    fn seed(&mut self, call: &Call<'_>) -> Result<()> {
        let Some(initial) = call.initial else { return Ok(()) };
        let time = call.context.batch_time;
        let mut columns = initial.columns().to_vec();
        columns.push(touched_column(time, initial.num_rows()));
        let mut fields = initial.schema().fields().to_vec();
        fields.push(Arc::new(Field::new(TOUCHED, DataType::Int64, false)));
        let schema: SchemaRef = Arc::new(Schema::new(fields));
        let initial = columns::batch(call.node.name(), &schema, columns, initial.num_rows())?;
        let slots = self.state.seed(&initial, call.partition, call.context.parallelism)?;
        if call.timeout_ms.is_some() {
            self.expiry.touch(slots, time);
        }
        Ok(())
    }

    /// The keys of the batch, and behind them those that time out.
    fn touch(&mut self, call: &Call<'_>, rows: &RecordBatch, hashes: &[u64]) -> Result<Touched> {
        let mut touched = Touched::begin(call.keyed, &mut self.state, rows, hashes)?;
        if let Some(timeout_ms) = call.timeout_ms {
            let time = call.context.batch_time;
            let state = &self.state;
            let expired = self.expiry.expired(time.minus_ms(timeout_ms), |slot| {
                // Any row renews its key, and all rows of the batch come first.
                if Touched::has(slot, state) { Some(time) } else { last_touched(state, slot) }
            });
            for slot in expired {
                touched.add(slot, &mut self.state);
            }
        }
        touched.end(&mut self.state);
        Ok(touched)
    }

    /// Puts new states in place.
    fn take_over(&mut self, call: &Call<'_>, touched: &Touched, output: &MapOutput) -> Result<()> {
        let has_timeout = call.timeout_ms.is_some();
        let mut put = Vec::with_capacity(touched.with_rows());
        let answers = output.keep.values().iter().zip(output.written.values());
        for ((group, slot), (keep, is_written)) in touched.slots.iter().enumerate().zip(answers) {
            let is_timing_out = group >= touched.with_rows();
            if is_timing_out || !keep {
                self.state.remove(*slot, touched.present[group]);
            } else if has_timeout || is_written {
                put.push((group as u32, *slot));
            }
        }
        let time = call.context.batch_time;
        let mut columns = output.states.columns().to_vec();
        columns.push(touched_column(time, touched.slots.len()));
        let schema = Arc::clone(self.state.value_schema());
        let states = columns::batch(call.node.name(), &schema, columns, touched.slots.len())?;
        let is_committed = call.context.is_commit && self.delta.is_none();
        self.delta = touched.put(&mut self.state, &states, &put, is_committed)?.or(self.delta.take());
        if has_timeout {
            // A key that was there before is listed: touching it again changes nothing.
            let new = put.into_iter().filter(|(group, _)| !touched.present[*group as usize]);
            self.expiry.touch(new.map(|(_, slot)| slot), time);
        }
        Ok(())
    }
}

fn touched_column(time: BatchTime, rows: usize) -> ArrayRef {
    Arc::new(Int64Array::from_value(time.0, rows))
}

/// When a row last touched the key of a slot; `None` if no key is in it.
fn last_touched(state: &KeyedState, slot: u32) -> Option<BatchTime> {
    let column = state.value_schema().fields().len() - 1;
    state.table().is_occupied(slot).then(|| state.integer(column, slot).map(BatchTime)).flatten()
}

/// The mapped rows in the order in which the rows came that they were made of, those of keys that time out behind them.
///
/// `order`: the rows in the order of the calls. `mapped`: which calls gave a row.
fn arrival_order(order: &[u32], mapped: &BooleanArray) -> UInt32Array {
    let mut mapped_at = vec![u32::MAX; order.len()];
    let mut next = 0;
    for (row, is_mapped) in order.iter().zip(mapped.values()) {
        if is_mapped {
            mapped_at[*row as usize] = next;
            next += 1;
        }
    }
    let timing_out = (order.len()..mapped.len()).filter(|call| mapped.value(*call)).zip(next..).map(|(_, at)| at);
    mapped_at.into_iter().filter(|at| *at != u32::MAX).chain(timing_out).collect()
}

impl Stateful for MapWithState {
    fn restore(&mut self, state: NodeState, context: &Restore<'_>) -> Result<()> {
        if !context.is_new {
            self.settings.initial = None;
            self.is_known = true;
        }
        let (count, has_timeout) = (self.partitions.len(), self.settings.timeout_ms.is_some());
        let items: Vec<_> = self.partitions.iter_mut().enumerate().collect();
        context.pool.run(items, |(number, partition)| {
            state.keyed.iter().for_each(|chunk| partition.state.restore(chunk, number, count));
            if has_timeout {
                for slot in partition.state.table().occupied() {
                    let touched = last_touched(&partition.state, slot);
                    touched.into_iter().for_each(|time| partition.expiry.touch([slot], time));
                }
            }
            Ok(())
        })?;
        Ok(())
    }

    fn take_deltas(&mut self) -> Result<Vec<StateDelta>> {
        let mut deltas = Vec::new();
        for partition in &mut self.partitions {
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
        let bytes = |partition: &Partition| partition.state.memory_bytes() + partition.expiry.memory_bytes();
        self.partitions.iter().map(|partition| bytes(partition) as u64).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mapped_rows_come_in_the_order_of_their_rows() {
        // Rows 0 2 | 1 3 by key, and two keys that time out; rows 2 and 3 and the second of those give a row.
        let mapped = BooleanArray::from(vec![false, true, false, true, false, true]);
        assert_eq!(arrival_order(&[0, 2, 1, 3], &mapped).values(), &[0, 1, 2]);
        // Row 3 was called before rows 1 and 2.
        let mapped = BooleanArray::from(vec![true, true, true, true]);
        assert_eq!(arrival_order(&[0, 3, 1, 2], &mapped).values(), &[0, 2, 3, 1]);
    }
}
