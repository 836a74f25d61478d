//! All rows of a sliding window, at every slide, oldest batch first.
//!
//! Memory: the rows of the window; what leaves is dropped at each slide. Source:
//! `org.apache.spark.streaming.dstream.WindowedDStream`.

use std::collections::VecDeque;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use millpond_core::batch::partitions;
use millpond_core::plan::Window;
use millpond_core::store::NodeState;
use millpond_core::{BatchTime, PartitionBatch, StateChange, StateDelta};

use super::{BatchContext, NodeRef, Restore, Rows, Stateful};
use crate::error::Result;
use crate::shuffle::{concat, rename};

/// State of a window node.
pub(crate) struct WindowOperator {
    name: String,
    schema: SchemaRef,
    window: Window,
    batches: VecDeque<(BatchTime, Vec<PartitionBatch>)>,
    bytes: u64,
    deltas: Vec<StateDelta>,
}

impl WindowOperator {
    pub(crate) fn new(name: &str, schema: &SchemaRef, window: Window) -> Self {
        Self {
            name: name.to_owned(),
            schema: Arc::clone(schema),
            window,
            batches: VecDeque::new(),
            bytes: 0,
            deltas: Vec::new(),
        }
    }

    pub(crate) fn run(&mut self, context: &BatchContext<'_>, node: NodeRef<'_>, input: Rows) -> Result<Option<Rows>> {
        let rename = |batch: PartitionBatch| {
            Ok(PartitionBatch { partition: batch.partition, rows: rename(node.name(), &self.schema, &batch.rows)? })
        };
        let batch = input.partitions.into_iter().map(rename).collect::<Result<Vec<_>>>()?;
        if batch.iter().any(|partition| partition.rows.num_rows() > 0) {
            let append = |batch: &PartitionBatch| StateDelta {
                node: self.name.clone(),
                change: StateChange::AppendPane { time: context.batch_time, rows: batch.rows.clone() },
            };
            self.deltas.extend(batch.iter().map(append));
            self.bytes += memory_of(&batch);
            self.batches.push_back((context.batch_time, batch));
        }
        if !context.is_slide(self.window.slide_ms) {
            return Ok(None);
        }
        self.drop_up_to(context.batch_time.minus_ms(self.window.length_ms));
        let width = self.batches.iter().map(|(_, batch)| batch.len()).max().unwrap_or(0);
        let rows = context.pool.run((0..width).collect(), |partition| {
            let batches = self.batches.iter().filter_map(|(_, batch)| batch.get(partition));
            concat(&self.name, &self.schema, batches.map(|batch| &batch.rows))
        })?;
        Ok(Some(Rows::new(partitions(rows))))
    }

    fn drop_up_to(&mut self, up_to: BatchTime) {
        let before = self.batches.len();
        while self.batches.front().is_some_and(|(time, _)| *time <= up_to) {
            let left = self.batches.pop_front();
            self.bytes -= left.map_or(0, |(_, batch)| memory_of(&batch));
        }
        if self.batches.len() < before {
            self.deltas.push(StateDelta { node: self.name.clone(), change: StateChange::DropPanes { up_to } });
        }
    }
}

impl Stateful for WindowOperator {
    fn restore(&mut self, state: NodeState, _: &Restore<'_>) -> Result<()> {
        let restored = state.panes.into_iter().map(|(time, batches)| (time, partitions(batches)));
        self.batches = restored.collect();
        self.bytes = self.batches.iter().map(|(_, batch)| memory_of(batch)).sum();
        Ok(())
    }

    fn take_deltas(&mut self) -> Result<Vec<StateDelta>> {
        Ok(std::mem::take(&mut self.deltas))
    }

    fn keys(&self) -> u64 {
        0
    }

    fn memory_bytes(&self) -> u64 {
        self.bytes
    }
}

fn memory_of(batch: &[PartitionBatch]) -> u64 {
    batch.iter().map(|partition| memory(&partition.rows)).sum()
}

/// Memory of a batch's own rows.
pub(crate) fn memory(rows: &RecordBatch) -> u64 {
    rows.columns().iter().map(|column| column.to_data().get_slice_memory_size().unwrap_or(0) as u64).sum()
}
