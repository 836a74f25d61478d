//! The rules of operators that keep a state for each key.

use arrow::array::RecordBatch;
use arrow::datatypes::Schema;
use millpond_core::plan::{MapWithState, ReduceSession};
use millpond_core::schema::{self, TIMESTAMP};
use millpond_core::{Node, Operator, Plan};

use super::{merge, mismatch, settings};
use crate::error::{Error, Result};
use crate::group::Groups;
use crate::key::Keys;
use crate::operators::reduce_session::{TIME_COLUMNS, reduced};

/// `state`: the key's columns, which are those of the input, and then at least one more.
pub(super) fn keyed(node: &Node, input: &Node, state: &Schema, key_columns: usize) -> Result<()> {
    let wrong = |reason| Err(Error::KeyColumns { node: node.name.clone(), reason });
    if key_columns == 0 || key_columns != input.key_columns {
        return wrong(format!(
            "keyed state needs a key, the same as its input's: {key_columns} key columns here, {} in `{}`",
            input.key_columns, input.name
        ));
    }
    if key_columns >= state.fields().len() {
        return wrong("keyed state needs at least one state column after the key".to_owned());
    }
    let key = |schema: &Schema| Schema::new(schema.fields()[..key_columns].to_vec());
    if !schema::same_types(&key(state), &key(&input.schema)) {
        return Err(mismatch(
            node,
            &format!("its key and that of its input `{}` differ", input.name),
            &key(state),
            &key(&input.schema),
        ));
    }
    Ok(())
}

/// An initial state has the state's columns, and each key once.
pub(super) fn initial(node: &Node, state: &Schema, key_columns: usize, rows: Option<&RecordBatch>) -> Result<()> {
    let Some(rows) = rows else { return Ok(()) };
    if !schema::same_types(state, &rows.schema()) {
        let what = "the columns of the initial state are not those of the state";
        return Err(mismatch(node, what, state, &rows.schema()));
    }
    let keys = Keys::of(&node.name, state, key_columns, rows)?;
    let groups = Groups::by_key(&keys, &keys.hashes());
    if let Some(row) =
        (0..rows.num_rows()).find(|row| groups.first_row[groups.group_of_row[*row] as usize] != *row as u32)
    {
        let first = groups.first_row[groups.group_of_row[row] as usize];
        let reason =
            format!("rows {first} and {row} (from 0) of the initial state have the same key; give each key once");
        return Err(settings(node, reason));
    }
    Ok(())
}

pub(super) fn map_with_state(node: &Node, input: &Node, map: &MapWithState) -> Result<()> {
    keyed(node, input, &map.state, input.key_columns)?;
    duration(node, "timeout", map.timeout_ms.unwrap_or(1))?;
    initial(node, &map.state, input.key_columns, map.initial.as_ref())
}

pub(super) fn snapshots(plan: &Plan, node: &Node, input: &Node) -> Result<()> {
    let Operator::MapWithState(map) = &input.operator else {
        let reason =
            format!("takes the states of a map-with-state node, and `{}` is a {}", input.name, input.operator.kind());
        return Err(settings(node, reason));
    };
    if !schema::same_types(&map.state, &node.schema) {
        let what = format!("its columns are not those of the states of `{}`", input.name);
        return Err(mismatch(node, &what, &node.schema, &map.state));
    }
    // The graph is checked node by node, so the input has its one input.
    let key_columns = plan.nodes[input.inputs[0].index()].key_columns;
    if node.key_columns != key_columns {
        let reason =
            format!("has {} key columns, and the states of `{}` have {key_columns}", node.key_columns, input.name);
        return Err(Error::KeyColumns { node: node.name.clone(), reason });
    }
    Ok(())
}

pub(super) fn reduce_session(node: &Node, inputs: &[&Node], session: &ReduceSession) -> Result<()> {
    duration(node, "gap", session.gap_ms)?;
    let fields = node.schema.fields();
    let times = &fields[fields.len().saturating_sub(TIME_COLUMNS)..];
    let is_time =
        |field: &std::sync::Arc<arrow::datatypes::Field>| *field.data_type() == TIMESTAMP && !field.is_nullable();
    if times.len() < TIME_COLUMNS || !times.iter().all(is_time) {
        let reason = "its last two columns are a session's start and end, two timestamps that are never null";
        return Err(settings(node, reason.to_owned()));
    }
    if node.key_columns == 0 {
        let reason = "sessions are those of a key, and its rows have none".to_owned();
        return Err(Error::KeyColumns { node: node.name.clone(), reason });
    }
    merge(&reduced(node), inputs, &session.merge)
}

fn duration(node: &Node, what: &str, ms: u64) -> Result<()> {
    if ms == 0 || i64::try_from(ms).is_err() {
        return Err(settings(node, format!("has a {what} of {ms} ms; it is at least 1 ms, and shorter than time")));
    }
    Ok(())
}
