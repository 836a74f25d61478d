//! Reduce over a sliding window, kept incrementally.
//!
//! Each batch is reduced on its own as it comes (its *pane*). At a slide, without an inverse the panes of the window are merged
//! anew; with one, panes that leave are taken off running totals and new ones are added. Either way the same rows come
//! out: a key is there while a pane of the window holds it, because totals count the panes of each key.
//!
//! Durable are the panes; totals are made again from them, except where empty keys are kept, as those are in no pane.
//! Source: `PairDStreamFunctions.reduceByKeyAndWindow`, `ReducedWindowedDStream`.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, Int64Array, RecordBatch, UInt32Array};
use arrow::compute::{concat_batches, take_record_batch};
use arrow::datatypes::{DataType, Field, Int64Type, Schema, SchemaRef};
use millpond_core::batch::partitions;
use millpond_core::plan::{Merge, ReduceWindow, Sort};
use millpond_core::store::NodeState;
use millpond_core::{
    BatchTime, Node, NodeId, PartitionBatch, PartitionId, StateChange, StateDelta, TaskInfo, UserFunction,
};

use super::reduce::{self, Merged, Merger, overflow, value_schema};
use super::window::memory;
use super::{BatchContext, NodeRef, Restore, Rows, Stateful, TimedPool};
use crate::columns;
use crate::error::{Error, Result};
use crate::key::Keys;
use crate::shuffle::{self, Keyed, concat};
use crate::state::KeyedState;

/// The column after the values in totals: in how many panes of the window the key is.
const PANES: &str = "\u{0}panes";

/// State of a reduce-window node.
pub(crate) struct ReduceWindowOperator {
    id: NodeId,
    node: Node,
    settings: ReduceWindow,
    top: Option<Sort>,
    partitions: Vec<Partition>,
    deltas: Vec<StateDelta>,
}

struct Partition {
    /// Panes that a window to come may need, oldest first.
    panes: VecDeque<Pane>,
    /// With an inverse: what the panes up to `added_up_to` and after the window's edge come to.
    totals: Option<KeyedState>,
    /// The last slide; `i64::MIN` = there was none.
    added_up_to: BatchTime,
    /// Memory of the panes.
    bytes: u64,
}

/// What one batch came to: one row a key, and the hashes of the keys.
struct Pane {
    time: BatchTime,
    rows: RecordBatch,
    hashes: Vec<u64>,
}

impl Pane {
    fn bytes(&self) -> u64 {
        memory(&self.rows) + self.hashes.len() as u64 * 8
    }
}

impl ReduceWindowOperator {
    /// `top`: the order whose first rows are all that anyone downstream looks at.
    pub(crate) fn new(id: NodeId, node: &Node, settings: &ReduceWindow, top: Option<Sort>, parallelism: usize) -> Self {
        let count = if node.key_columns == 0 { 1 } else { parallelism };
        let schema = totals_schema(&node.schema);
        let totals = || settings.invertible.then(|| KeyedState::new(&node.name, &schema, node.key_columns));
        let partition =
            |_| Partition { panes: VecDeque::new(), totals: totals(), added_up_to: BatchTime(i64::MIN), bytes: 0 };
        Self {
            id,
            node: node.clone(),
            settings: settings.clone(),
            top,
            partitions: (0..count).map(partition).collect(),
            deltas: Vec::new(),
        }
    }

    pub(crate) fn run(&mut self, context: &BatchContext<'_>, node: NodeRef<'_>, input: Rows) -> Result<Option<Rows>> {
        let reduced = reduce::merged(context, node, input, &self.settings.merge)?;
        let time = context.batch_time;
        for (partition, (PartitionBatch { rows, .. }, hashes)) in self.partitions.iter_mut().zip(reduced) {
            if rows.num_rows() > 0 {
                let change = StateChange::AppendPane { time, rows: rows.clone() };
                self.deltas.push(StateDelta { node: self.node.name.clone(), change });
                partition.push(Pane { time, rows, hashes });
            }
        }
        if !context.is_slide(self.settings.window.slide_ms) {
            return Ok(None);
        }
        let edge = time.minus_ms(self.settings.window.length_ms);
        let count = self.partitions.len();
        let (settings, top) = (&self.settings, self.top.as_ref());
        let items: Vec<_> = self.partitions.iter_mut().zip((0..).map(PartitionId)).collect();
        let mut output = context.pool.run(items, |(panes, partition)| {
            let task = context.task(partition, count);
            let slide = Slide { node, settings, top, function: context.function, task };
            let (rows, hashes) = panes.slide(&slide, edge, time)?;
            Ok((PartitionBatch { partition, rows }, hashes))
        })?;
        self.deltas.push(StateDelta { node: self.node.name.clone(), change: StateChange::DropPanes { up_to: edge } });
        if settings.zero_when_empty {
            reduce::zeros_when_empty(&self.node, &mut output)?;
        }
        Ok(Some(Rows::hashed(output)))
    }
}

/// Totals have the node's columns and the pane count.
fn totals_schema(schema: &Schema) -> Schema {
    let mut fields = schema.fields().to_vec();
    fields.push(Arc::new(Field::new(PANES, DataType::Int64, false)));
    Schema::new(fields)
}

/// One slide of one partition.
struct Slide<'a> {
    node: NodeRef<'a>,
    settings: &'a ReduceWindow,
    top: Option<&'a Sort>,
    function: &'a dyn UserFunction,
    task: TaskInfo,
}

impl Partition {
    fn push(&mut self, pane: Pane) {
        self.bytes += pane.bytes();
        self.panes.push_back(pane);
    }

    /// Moves the window to `(edge, time]` and gives its rows with the hashes of their keys.
    fn slide(&mut self, slide: &Slide<'_>, edge: BatchTime, time: BatchTime) -> Result<(RecordBatch, Vec<u64>)> {
        let schema = &slide.node.node.schema;
        let leaving: Vec<Pane> = {
            let count = self.panes.iter().take_while(|pane| pane.time <= edge).count();
            self.panes.drain(..count).collect()
        };
        self.bytes -= leaving.iter().map(Pane::bytes).sum::<u64>();
        let added = std::mem::replace(&mut self.added_up_to, time);
        let Some(totals) = &mut self.totals else {
            let merged = slide.merged(&self.panes.iter().collect::<Vec<_>>())?;
            return Ok((merged.rows, merged.hashes));
        };
        // Leaving first: a key whose last pane leaves is gone, so that rows that come now start it afresh.
        slide.take_off(totals, &leaving.iter().filter(|pane| pane.time <= added).collect::<Vec<_>>())?;
        slide.add(totals, &self.panes.iter().filter(|pane| pane.time > added).collect::<Vec<_>>())?;
        if !slide.settings.keep_empty_keys {
            // Not durable: made again from the panes.
            totals.forget_changes();
        }
        let best = slide.top.and_then(|top| totals.best(top));
        let slots = best.unwrap_or_else(|| totals.table().occupied().collect());
        let hashes = slots.iter().map(|slot| totals.table().hash(*slot)).collect();
        let rows = totals.rows(&Arc::new(totals_schema(schema)), &slots)?;
        let columns = rows.columns()[..schema.fields().len()].to_vec();
        Ok((columns::batch(slide.node.name(), schema, columns, rows.num_rows())?, hashes))
    }
}

impl<'a> Slide<'a> {
    fn merger(&self) -> Merger<'a> {
        Merger { node: self.node, merge: &self.settings.merge, function: self.function, task: self.task }
    }

    /// One row a key for several panes.
    fn merged(&self, panes: &[&Pane]) -> Result<Merged> {
        if let [only] = panes {
            // A pane has each key once.
            let (rows, hashes) = (only.rows.clone(), only.hashes.clone());
            return Ok(Merged { counts: vec![1; rows.num_rows()], rows, hashes });
        }
        let rows = concat(self.node.name(), &self.node.node.schema, panes.iter().map(|pane| &pane.rows))?;
        let hashes: Vec<&[u64]> = panes.iter().map(|pane| &pane.hashes[..]).collect();
        self.merger().merge(&rows, hashes.concat())
    }

    /// Takes panes off the totals.
    fn take_off(&self, totals: &mut KeyedState, panes: &[&Pane]) -> Result<()> {
        if panes.is_empty() {
            return Ok(());
        }
        let Merged { rows, hashes, counts } = self.merged(panes)?;
        let (slots, _) = self.slots(totals, &rows, &hashes)?;
        let before = totals.values(&slots)?;
        let values = self.values(&rows)?;
        let old = self.without_panes(&before)?;
        let new = match &self.settings.merge {
            Merge::Columns(_) => self.combine(&rows, &old, &values, i64::checked_sub)?,
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
    fn add(&self, totals: &mut KeyedState, panes: &[&Pane]) -> Result<()> {
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
            Merge::Columns(_) => self.combine(&known_rows, &old, &known_values, i64::checked_add)?,
            Merge::Custom => self.merge_pairs(&old, &known_values)?,
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

    fn values(&self, rows: &RecordBatch) -> Result<RecordBatch> {
        let columns = rows.columns()[self.node.node.key_columns..].to_vec();
        columns::batch(self.node.name(), &self.value_schema(), columns, rows.num_rows())
    }

    fn value_schema(&self) -> SchemaRef {
        value_schema(&self.node.node.schema, self.node.node.key_columns)
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

    /// int64 columns of two batches, row by row. The graph lets only sums of int64 be inverted by the host.
    fn combine(
        &self,
        keyed_rows: &RecordBatch,
        left: &RecordBatch,
        right: &RecordBatch,
        with: impl Fn(i64, i64) -> Option<i64>,
    ) -> Result<RecordBatch> {
        let mut combined: Vec<ArrayRef> = Vec::with_capacity(left.num_columns());
        for (index, (left, right)) in left.columns().iter().zip(right.columns()).enumerate() {
            let (left, right) = (left.as_primitive::<Int64Type>().values(), right.as_primitive::<Int64Type>().values());
            let column = left.iter().zip(right).enumerate().map(|(row, (left, right))| {
                with(*left, *right)
                    .ok_or_else(|| overflow(self.node.node, keyed_rows, self.node.node.key_columns + index, row))
            });
            combined.push(Arc::new(Int64Array::from(column.collect::<Result<Vec<_>>>()?)));
        }
        columns::batch(self.node.name(), &self.value_schema(), combined, left.num_rows())
    }

    /// Has the plugin merge row by row: groups of two.
    fn merge_pairs(&self, left: &RecordBatch, right: &RecordBatch) -> Result<RecordBatch> {
        let rows = left.num_rows() as u32;
        let both = concat_batches(&self.value_schema(), [left, right]).map_err(Error::arrow(self.node.name()))?;
        let order: UInt32Array = (0..rows).flat_map(|row| [row, row + rows]).collect::<Vec<_>>().into();
        let pairs = take_record_batch(&both, &order).map_err(Error::arrow(self.node.name()))?;
        let offsets: Vec<u32> = (0..=rows).map(|row| row * 2).collect();
        self.merger().call_merge(&offsets, &pairs)
    }
}

fn panes_of(totals: &RecordBatch) -> &[i64] {
    totals.column(totals.num_columns() - 1).as_primitive::<Int64Type>().values()
}

impl Stateful for ReduceWindowOperator {
    fn restore(&mut self, state: NodeState, context: &Restore<'_>) -> Result<()> {
        let count = self.partitions.len();
        let Some(last_slide) = context.last_slide else {
            // No slide yet: all panes are still to come.
            return self.restore_panes(context, state.panes, BatchTime(i64::MIN));
        };
        // What lies before the edge has left the totals at the last slide, or never was in them.
        let edge = last_slide.minus_ms(self.settings.window.length_ms);
        self.restore_panes(context, state.panes, edge)?;
        let node = NodeRef { id: self.id, node: &self.node };
        let settings = &self.settings;
        for (number, partition) in self.partitions.iter_mut().enumerate() {
            partition.added_up_to = last_slide;
            let Some(totals) = &mut partition.totals else { continue };
            if settings.keep_empty_keys {
                state.keyed.iter().for_each(|chunk| totals.restore(chunk, number, count));
                continue;
            }
            let panes: Vec<&Pane> = partition.panes.iter().filter(|pane| pane.time <= last_slide).collect();
            let task = TaskInfo {
                batch_time: last_slide,
                partition: PartitionId(number as u32),
                partitions: count as u32,
                attempt: 0,
            };
            Slide { node, settings, top: None, function: context.function, task }.add(totals, &panes)?;
            totals.forget_changes();
        }
        Ok(())
    }

    fn last_slide(&self) -> Option<BatchTime> {
        let last_slide = self.partitions.first()?.added_up_to;
        (last_slide.0 != i64::MIN).then_some(last_slide)
    }

    fn take_deltas(&mut self) -> Result<Vec<StateDelta>> {
        let mut deltas = std::mem::take(&mut self.deltas);
        if self.settings.keep_empty_keys {
            for partition in &mut self.partitions {
                if let Some(totals) = &mut partition.totals {
                    deltas.extend(totals.take_delta()?);
                }
            }
        }
        Ok(deltas)
    }

    fn keys(&self) -> u64 {
        self.partitions.iter().filter_map(|partition| partition.totals.as_ref()).map(|totals| totals.len() as u64).sum()
    }

    fn memory_bytes(&self) -> u64 {
        let partition = |partition: &Partition| {
            partition.bytes + partition.totals.as_ref().map_or(0, |totals| totals.memory_bytes() as u64)
        };
        self.partitions.iter().map(partition).sum()
    }
}

impl ReduceWindowOperator {
    /// Takes back the panes that came after `edge`.
    fn restore_panes(
        &mut self,
        context: &Restore<'_>,
        panes: BTreeMap<BatchTime, Vec<RecordBatch>>,
        edge: BatchTime,
    ) -> Result<()> {
        let count = self.partitions.len();
        for (time, batches) in panes.into_iter().filter(|(time, _)| *time > edge) {
            let spread = self.spread(&context.pool, batches, count)?;
            for (partition, (rows, hashes)) in self.partitions.iter_mut().zip(spread) {
                if rows.num_rows() > 0 {
                    partition.push(Pane { time, rows, hashes });
                }
            }
        }
        Ok(())
    }

    fn spread(
        &self,
        pool: &TimedPool<'_>,
        batches: Vec<RecordBatch>,
        count: usize,
    ) -> Result<Vec<(RecordBatch, Vec<u64>)>> {
        let renamed = batches.iter().map(|rows| shuffle::rename(&self.node.name, &self.node.schema, rows));
        let renamed = partitions(renamed.collect::<Result<Vec<_>>>()?);
        let Node { name, schema, key_columns, .. } = &self.node;
        let keyed = Keyed { node: name, schema, key_columns: *key_columns };
        let shuffled = shuffle::by_key(pool, keyed, renamed, count)?;
        pool.run((0..shuffled.partitions()).collect(), |partition| shuffled.fetch(keyed, partition))
    }
}
