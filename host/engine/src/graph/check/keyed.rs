//! The rules of nodes that bring rows of equal keys together, whose columns are made of their inputs'.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema};
use millpond_core::plan::Join;
use millpond_core::{Node, schema};

use super::mismatch;
use crate::error::{Error, Result};
use crate::operators::group::item_of;
use crate::operators::join::shapes;

pub(super) fn join(node: &Node, inputs: &[&Node], join: &Join) -> Result<()> {
    if join.on == 0 || node.key_columns > join.on {
        return Err(keys(
            node,
            format!("a join needs a key, and its own key is part of that: {} columns of {}", node.key_columns, join.on),
        ));
    }
    same_keys(node, inputs, join.on)?;
    // The node's own key may have fewer columns.
    super::key_types(node, &inputs[0].schema.fields()[..join.on])?;
    let is_key_kept = schema::same_types(&key(node, join.on), &key(inputs[0], join.on));
    if is_key_kept && shapes(node, inputs, join).is_some() {
        return Ok(());
    }
    let rule = if join.kind.is_left_only() {
        "its columns are not those of its left input"
    } else {
        "its columns are not the key, then what else its left input has, then its right one (where it may be absent, as one nullable column: the same one, or a struct)"
    };
    let what = format!("{rule}, which here are {}", described(inputs));
    Err(mismatch(node, &what, &joined(inputs, join), &node.schema))
}

pub(super) fn group(node: &Node, inputs: &[&Node]) -> Result<()> {
    let on = node.key_columns;
    if on == 0 {
        return Err(keys(node, "values are grouped by a key, and it has none".to_owned()));
    }
    same_keys(node, inputs, on)?;
    let lists = &node.schema.fields()[on..];
    let is_list_of =
        |(list, input): (_, &&Node)| item_of(list, input.schema.fields().get(on..).unwrap_or_default()).is_some();
    let is_key_kept = schema::same_types(&key(node, on), &key(inputs[0], on));
    if is_key_kept && lists.len() == inputs.len() && lists.iter().zip(inputs).all(is_list_of) {
        return Ok(());
    }
    let rule =
        "its columns are not the key, then for each input a list of what else that has (of one column, or of structs)";
    let what = format!("{rule}, which here are {}", described(inputs));
    Err(mismatch(node, &what, &grouped(inputs, on), &node.schema))
}

/// All inputs must begin with the same key columns.
fn same_keys(node: &Node, inputs: &[&Node], on: usize) -> Result<()> {
    if let Some(input) = inputs.iter().find(|input| input.schema.fields().len() < on) {
        let reason =
            format!("its key has {on} columns, and its input `{}` has {}", input.name, input.schema.fields().len());
        return Err(keys(node, reason));
    }
    let (first, rest) = (inputs[0], &inputs[1..]);
    match rest.iter().find(|other| !schema::same_types(&key(first, on), &key(other, on))) {
        None => Ok(()),
        Some(other) => {
            let what = format!(
                "the keys of its inputs `{}` and `{}` are of different types: make them the same with a map on one side",
                first.name, other.name
            );
            Err(mismatch(node, &what, &key(first, on), &key(other, on)))
        }
    }
}

fn key(node: &Node, on: usize) -> Schema {
    let fields = node.schema.fields();
    Schema::new(fields[..on.min(fields.len())].to_vec())
}

/// The columns that come out of a join, in their simplest form.
fn joined(inputs: &[&Node], join: &Join) -> Schema {
    let mut fields = key(inputs[0], join.on).fields().to_vec();
    let sides = [(inputs[0], join.kind.left_is_optional()), (inputs[1], join.kind.right_is_optional())];
    let sides = sides.into_iter().take(if join.kind.is_left_only() { 1 } else { 2 });
    for (side, is_optional) in sides {
        let values = &side.schema.fields()[join.on..];
        match values {
            values if !is_optional => fields.extend_from_slice(values),
            [only] if !only.is_nullable() => fields.push(Arc::new(only.as_ref().clone().with_nullable(true))),
            values => fields.push(Arc::new(Field::new_struct(&side.name, values.to_vec(), true))),
        }
    }
    Schema::new(fields)
}

/// The columns that come out of a group, in their simplest form.
fn grouped(inputs: &[&Node], on: usize) -> Schema {
    let list = |input: &&Node| {
        let (data_type, nullable) = match &input.schema.fields()[on..] {
            [only] => (only.data_type().clone(), only.is_nullable()),
            values => (DataType::Struct(values.to_vec().into()), false),
        };
        Arc::new(Field::new(&input.name, schema::list_of(data_type, nullable), false))
    };
    Schema::new(key(inputs[0], on).fields().iter().cloned().chain(inputs.iter().map(list)).collect::<Vec<_>>())
}

fn described(inputs: &[&Node]) -> String {
    let input = |input: &&Node| format!("`{}` ({})", input.name, schema::describe(&input.schema));
    inputs.iter().map(input).collect::<Vec<_>>().join(" and ")
}

fn keys(node: &Node, reason: String) -> Error {
    Error::KeyColumns { node: node.name.clone(), reason }
}
