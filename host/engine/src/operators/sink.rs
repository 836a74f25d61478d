//! The last node of a stream: picks the rows that the sink's output mode asks for.
//!
//! In mode `update` the rows that came out last are kept by key, in memory and in the job's state, so that a restart does not
//! repeat rows that did not change.

use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use millpond_core::store::NodeState;
use millpond_core::{Node, PartitionBatch, StateDelta};

use super::update_state::kept;
use super::{NodeRef, Restore, Rows, Stateful};
use crate::columns;
use crate::error::Result;
use crate::key::Keys;
use crate::shuffle::rename;
use crate::state::KeyedState;

/// Rows under the sink's own column names.
pub(crate) fn renamed(node: NodeRef<'_>, input: Rows) -> Result<Vec<PartitionBatch>> {
    let rename = |batch: PartitionBatch| {
        Ok(PartitionBatch { partition: batch.partition, rows: rename(node.name(), &node.node.schema, &batch.rows)? })
    };
    input.partitions.into_iter().map(rename).collect()
}

/// What came out last, by key.
pub(crate) struct UpdateFilter {
    state: KeyedState,
    schema: SchemaRef,
    key_columns: usize,
    name: String,
}

impl UpdateFilter {
    pub(crate) fn new(node: &Node, key_columns: usize) -> Self {
        Self {
            state: KeyedState::new(&node.name, &node.schema, key_columns),
            schema: Arc::clone(&node.schema),
            key_columns,
            name: node.name.clone(),
        }
    }

    /// The rows that are not what they were; keys that are gone are forgotten.
    pub(crate) fn changed(&mut self, partitions: Vec<PartitionBatch>) -> Result<Vec<PartitionBatch>> {
        let mut seen = vec![false; self.state.table().slots()];
        let mut output = Vec::with_capacity(partitions.len());
        for batch in partitions {
            let rows = self.changed_rows(&batch.rows, &mut seen)?;
            output.push(PartitionBatch { partition: batch.partition, rows });
        }
        let gone: Vec<u32> =
            self.state.table().occupied().filter(|slot| !seen.get(*slot as usize).copied().unwrap_or(false)).collect();
        gone.into_iter().for_each(|slot| self.state.remove(slot, true));
        Ok(output)
    }

    fn changed_rows(&mut self, rows: &RecordBatch, seen: &mut Vec<bool>) -> Result<RecordBatch> {
        let keys = Keys::of(&self.name, &self.schema, self.key_columns, rows)?;
        let values = rows
            .project(&(self.key_columns..rows.num_columns()).collect::<Vec<_>>())
            .map_err(crate::Error::arrow(&self.name))?;
        let (slots, new) = self.state.insert_all(&keys, &keys.hashes());
        seen.resize(self.state.table().slots(), false);
        slots.iter().for_each(|slot| seen[*slot as usize] = true);
        let before = self.state.values(&slots)?;
        let same = columns::same_rows(&self.name, &before, &values)?;
        let changed: Vec<bool> = new.iter().zip(same).map(|(new, same)| *new || !same).collect();
        let pairs: Vec<(u32, u32)> =
            (0u32..).zip(&slots).filter(|(row, _)| changed[*row as usize]).map(|(row, slot)| (row, *slot)).collect();
        self.state.put(&values, &pairs);
        kept(&self.name, rows, &changed)
    }
}

impl Stateful for UpdateFilter {
    fn restore(&mut self, state: NodeState, _: &Restore<'_>) -> Result<()> {
        state.keyed.iter().for_each(|chunk| self.state.restore(chunk, 0, 1));
        Ok(())
    }

    fn take_deltas(&mut self) -> Result<Vec<StateDelta>> {
        Ok(self.state.take_delta()?.into_iter().collect())
    }

    fn keys(&self) -> u64 {
        // Not state of the job's own: a copy of what came out last.
        0
    }

    fn memory_bytes(&self) -> u64 {
        self.state.memory_bytes() as u64
    }
}
