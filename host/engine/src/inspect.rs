//! Committed state as rows, for tests of jobs and for tools.

use std::sync::Arc;

use arrow::array::{Array, RecordBatch};
use arrow::compute::concat_batches;
use arrow::datatypes::{Field, Schema};
use millpond_core::store::NodeState;
use millpond_core::{Node, Operator};

use crate::StreamGraph;
use crate::error::{Error, Result};
use crate::key;

/// Keyed state of a node of this graph as rows: the key's columns, then what is kept for the key. `None` if there is none.
///
/// **Shape**: of `update-state` and `map-with-state` the state's own columns; of windows and sessions the totals, and what else they keep.
/// **Order**: none in particular.
///
/// # Errors
/// `StateContent` when the state is not this node's.
pub fn state_rows(graph: &StreamGraph, node: &Node, state: &NodeState) -> Result<Option<RecordBatch>> {
    // Behind the state's columns stands when the key was last touched.
    let (key_fields, hidden) = match &node.operator {
        Operator::MapWithState(settings) => {
            let key_columns = graph.plan().nodes[node.inputs[0].index()].key_columns;
            (&settings.state.fields()[..key_columns], 1)
        }
        _ => (&node.schema.fields()[..node.key_columns], 0),
    };
    let mut batches = Vec::new();
    for chunk in &state.keyed {
        let bytes = (0..chunk.keys.len()).map(|row| chunk.keys.value(row));
        let mut columns = key::decode(&node.name, key_fields, bytes)?;
        let shown = chunk.values.num_columns().saturating_sub(hidden);
        columns.extend(chunk.values.columns()[..shown].iter().cloned());
        let values = chunk.values.schema();
        let fields: Vec<Arc<Field>> = key_fields.iter().chain(&values.fields()[..shown]).cloned().collect();
        let batch = RecordBatch::try_new(Arc::new(Schema::new(fields)), columns);
        let content = |error: arrow::error::ArrowError| Error::StateContent {
            node: node.name.clone(),
            reason: error.to_string(),
        };
        batches.push(batch.map_err(content)?);
    }
    let Some(first) = batches.first() else { return Ok(None) };
    Ok(Some(concat_batches(&first.schema(), &batches).expect("chunks of one node have one schema")))
}
