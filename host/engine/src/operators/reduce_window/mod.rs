//! Reduce over a sliding window, kept incrementally.
//!
//! Each batch is reduced on its own as it comes (its *pane*). What a slide does with panes depends on the merge:
//! with an inverse, panes that leave are taken off running totals and new ones are added (`inverse.rs`); without one, the
//! totals are those of two stacks (`stacks.rs`); and where no pane is in two windows, the panes of the window are
//! merged as they are. The same rows come out each way: a key is there while a pane of the window holds it.
//!
//! Durable are the panes; totals are made again from them, except where empty keys are kept, as those are in no pane.
//! Source: `PairDStreamFunctions.reduceByKeyAndWindow`, `ReducedWindowedDStream`.

mod inverse;
mod stacks;

use std::collections::{BTreeMap, VecDeque};

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use millpond_core::batch::partitions;
use millpond_core::plan::{ReduceWindow, Sort};
use millpond_core::store::NodeState;
use millpond_core::{
    BatchTime, Node, NodeId, PartitionBatch, PartitionId, StateChange, StateDelta, TaskInfo, UserFunction,
};

use self::stacks::Stacks;
use super::reduce::{self, Merged, Merger, value_schema};
use super::window::memory;
use super::{BatchContext, NodeRef, Restore, Rows, Stateful, TimedPool};
use crate::columns;
use crate::error::Result;
use crate::shuffle::{self, Keyed, concat};
use crate::state::KeyedState;

/// State of a reduce-window node.
pub(crate) struct ReduceWindowOperator {
    id: NodeId,
    node: Node,
    settings: ReduceWindow,
    partitions: Vec<Partition>,
    deltas: Vec<StateDelta>,
}

struct Partition {
    /// Panes that a window to come may need, oldest first; with two stacks only those that no slide has taken in yet.
    panes: VecDeque<Pane>,
    totals: Totals,
    /// The last slide; `i64::MIN` = there was none.
    added_up_to: BatchTime,
    /// Memory of the panes.
    bytes: u64,
}

/// What is known of the window besides its panes.
#[expect(clippy::large_enum_variant, reason = "there is one a partition")]
enum Totals {
    /// Nothing: no pane is in two windows.
    None,
    /// What the panes up to `added_up_to` and after the window's edge come to.
    Inverse(KeyedState),
    Stacks(Stacks),
}

impl Totals {
    fn new(node: &Node, settings: &ReduceWindow, top: Option<&Sort>) -> Self {
        if settings.invertible {
            let schema = inverse::totals_schema(&node.schema);
            let mut totals = KeyedState::new(&node.name, &schema, node.key_columns);
            top.into_iter().for_each(|top| totals.follow(top));
            Self::Inverse(totals)
        } else if settings.window.slide_ms < settings.window.length_ms {
            Self::Stacks(Stacks::new(node, top))
        } else {
            Self::None
        }
    }

    fn keyed(&self) -> Option<&KeyedState> {
        match self {
            Self::None => None,
            Self::Inverse(totals) => Some(totals),
            Self::Stacks(stacks) => Some(stacks.totals()),
        }
    }

    fn memory_bytes(&self) -> usize {
        match self {
            Self::None => 0,
            Self::Inverse(totals) => totals.memory_bytes(),
            Self::Stacks(stacks) => stacks.memory_bytes(),
        }
    }
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
    pub(crate) fn new(
        id: NodeId,
        node: &Node,
        settings: &ReduceWindow,
        top: Option<&Sort>,
        parallelism: usize,
    ) -> Self {
        let count = if node.key_columns == 0 { 1 } else { parallelism };
        let partition = |_| Partition {
            panes: VecDeque::new(),
            totals: Totals::new(node, settings, top),
            added_up_to: BatchTime(i64::MIN),
            bytes: 0,
        };
        Self {
            id,
            node: node.clone(),
            settings: settings.clone(),
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
        let settings = &self.settings;
        let span = Span { edge, time, start: context.start };
        let items: Vec<_> = self.partitions.iter_mut().zip((0..).map(PartitionId)).collect();
        let mut output = context.pool.run(items, |(panes, partition)| {
            let task = context.task(partition, count);
            let slide = Slide { node, settings, function: context.function, task };
            let (rows, hashes) = panes.slide(&slide, span)?;
            Ok((PartitionBatch { partition, rows }, hashes))
        })?;
        self.deltas.push(StateDelta { node: self.node.name.clone(), change: StateChange::DropPanes { up_to: edge } });
        if settings.zero_when_empty {
            reduce::zeros_when_empty(&self.node, &mut output)?;
        }
        Ok(Some(Rows::hashed(output)))
    }
}

/// One slide of one partition.
struct Slide<'a> {
    node: NodeRef<'a>,
    settings: &'a ReduceWindow,
    function: &'a dyn UserFunction,
    task: TaskInfo,
}

/// The window of a slide: batches in `(edge, time]`.
#[derive(Clone, Copy)]
struct Span {
    edge: BatchTime,
    time: BatchTime,
    /// The job's start.
    start: BatchTime,
}

impl Partition {
    fn push(&mut self, pane: Pane) {
        self.bytes += pane.bytes();
        self.panes.push_back(pane);
    }

    /// Moves the window there and gives its rows with the hashes of their keys.
    fn slide(&mut self, slide: &Slide<'_>, span: Span) -> Result<(RecordBatch, Vec<u64>)> {
        let schema = &slide.node.node.schema;
        let added = std::mem::replace(&mut self.added_up_to, span.time);
        let leaving: Vec<Pane> = {
            let count = self.panes.iter().take_while(|pane| pane.time <= span.edge).count();
            self.panes.drain(..count).collect()
        };
        self.bytes -= leaving.iter().map(Pane::bytes).sum::<u64>();
        let totals = match &mut self.totals {
            Totals::None => {
                let merged = slide.merged(&self.panes.iter().collect::<Vec<_>>())?;
                return Ok((merged.rows, merged.hashes));
            }
            Totals::Inverse(totals) => {
                // Leaving first: a key whose last pane leaves is gone, so that rows that come now start it afresh.
                slide.take_off(totals, &leaving.iter().filter(|pane| pane.time <= added).collect::<Vec<_>>())?;
                slide.add(totals, &self.panes.iter().filter(|pane| pane.time > added).collect::<Vec<_>>())?;
                if !slide.settings.keep_empty_keys {
                    // Not durable: made again from the panes.
                    totals.forget_changes();
                }
                totals
            }
            Totals::Stacks(stacks) => {
                self.bytes = 0;
                stacks.slide(slide, self.panes.drain(..).collect(), span)?
            }
        };
        let slots = totals.first().unwrap_or_else(|| totals.table().occupied().collect());
        let hashes = slots.iter().map(|slot| totals.hash(*slot)).collect();
        let mut columns = totals.key_columns(&slots)?;
        let values = totals.values(&slots)?;
        columns.extend(values.columns().iter().take(schema.fields().len() - columns.len()).cloned());
        Ok((columns::batch(slide.node.name(), schema, columns, slots.len())?, hashes))
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

    /// The value columns of a pane's rows.
    fn values(&self, rows: &RecordBatch) -> Result<RecordBatch> {
        let columns = rows.columns()[self.node.node.key_columns..].to_vec();
        columns::batch(self.node.name(), &self.value_schema(), columns, rows.num_rows())
    }

    fn value_schema(&self) -> SchemaRef {
        value_schema(&self.node.node.schema, self.node.node.key_columns)
    }
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
            let Totals::Inverse(totals) = &mut partition.totals else { continue };
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
            Slide { node, settings, function: context.function, task }.add(totals, &panes)?;
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
                if let Totals::Inverse(totals) = &mut partition.totals {
                    deltas.extend(totals.take_delta()?);
                }
            }
        }
        Ok(deltas)
    }

    fn keys(&self) -> u64 {
        self.partitions.iter().filter_map(|partition| partition.totals.keyed()).map(|totals| totals.len() as u64).sum()
    }

    fn memory_bytes(&self) -> u64 {
        self.partitions.iter().map(|partition| partition.bytes + partition.totals.memory_bytes() as u64).sum()
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
