//! Committed state as rows, for tests of jobs and for tools.

use std::sync::Arc;

use arrow::array::{Array, RecordBatch};
use arrow::compute::concat_batches;
use arrow::datatypes::{Field, Schema};
use millpond_core::Node;
use millpond_core::store::NodeState;

use crate::error::{Error, Result};
use crate::key;

/// Keyed state as rows: the key's columns, then what is kept for the key. `None` if the node has no keyed state.
///
/// **Order**: none in particular.
///
/// # Errors
/// `StateContent` when the state is not this node's.
pub fn state_rows(node: &Node, state: &NodeState) -> Result<Option<RecordBatch>> {
    let key_fields = &node.schema.fields()[..node.key_columns];
    let mut batches = Vec::new();
    for chunk in &state.keyed {
        let bytes = (0..chunk.keys.len()).map(|row| chunk.keys.value(row));
        let mut columns = key::decode(&node.name, key_fields, bytes)?;
        columns.extend(chunk.values.columns().iter().cloned());
        let value_fields = chunk.values.schema();
        let fields: Vec<Arc<Field>> = key_fields.iter().chain(value_fields.fields()).cloned().collect();
        let content = |error: arrow::error::ArrowError| Error::StateContent {
            node: node.name.clone(),
            reason: error.to_string(),
        };
        batches.push(RecordBatch::try_new(Arc::new(Schema::new(fields)), columns).map_err(content)?);
    }
    let Some(first) = batches.first() else { return Ok(None) };
    Ok(Some(concat_batches(&first.schema(), &batches).expect("chunks of one node have one schema")))
}
