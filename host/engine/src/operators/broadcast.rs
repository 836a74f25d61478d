//! The newest rows of a stream as a broadcast's value.
//!
//! The value is one pane of the node's state, under the time of its batch. Memory: the rows of the value.

use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use millpond_core::batch::{row_count, value_bytes};
use millpond_core::store::NodeState;
use millpond_core::{BatchTime, BoxError, Node, StateChange, StateDelta, UserFunction};

use super::{BatchContext, Restore, Rows, Stateful};
use crate::error::{Error, Result};
use crate::shuffle::{concat, rename};

/// State of a broadcast node.
pub(crate) struct BroadcastOperator {
    node: String,
    schema: SchemaRef,
    number: usize,
    bytes: u64,
    /// The value that the next commit has to keep.
    pending: Option<(BatchTime, RecordBatch)>,
    /// The time of the value that the newest commit has.
    committed: Option<BatchTime>,
}

impl BroadcastOperator {
    pub(crate) fn new(node: &Node, number: usize) -> Self {
        let schema = Arc::clone(&node.schema);
        Self { node: node.name.clone(), schema, number, bytes: 0, pending: None, committed: None }
    }

    pub(crate) fn run(&mut self, context: &BatchContext<'_>, input: &Rows) -> Result<()> {
        if row_count(&input.partitions) == 0 {
            return Ok(());
        }
        let value = concat(&self.node, &self.schema, input.partitions.iter().map(|partition| &partition.rows))?;
        let value = rename(&self.node, &self.schema, &value)?;
        self.set(context.function, &value)?;
        self.pending = Some((context.batch_time, value));
        Ok(())
    }

    fn set(&mut self, function: &dyn UserFunction, value: &RecordBatch) -> Result<()> {
        let outcome: Result<(), BoxError> = function.set_broadcast(self.number, value);
        outcome.map_err(Error::port(format!("node `{}`", self.node)))?;
        self.bytes = value_bytes(value);
        Ok(())
    }
}

impl Stateful for BroadcastOperator {
    fn restore(&mut self, mut state: NodeState, context: &Restore<'_>) -> Result<()> {
        let Some((time, batches)) = state.panes.pop_last() else { return Ok(()) };
        self.committed = Some(time);
        let value = concat(&self.node, &self.schema, &batches)?;
        self.set(context.function, &value)
    }

    fn take_deltas(&mut self) -> Result<Vec<StateDelta>> {
        let Some((time, rows)) = self.pending.take() else { return Ok(Vec::new()) };
        let before = self.committed.replace(time).map(|up_to| StateChange::DropPanes { up_to });
        let changes = before.into_iter().chain([StateChange::AppendPane { time, rows }]);
        Ok(changes.map(|change| StateDelta { node: self.node.clone(), change }).collect())
    }

    fn keys(&self) -> u64 {
        0
    }

    fn memory_bytes(&self) -> u64 {
        self.bytes
    }
}
