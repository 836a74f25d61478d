//! The rules of a plan, one function each.

mod keyed;
mod state;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use arrow::datatypes::{DataType, FieldRef, Schema};
use millpond_core::plan::{ColumnMerge, Merge, Sort, Window};
use millpond_core::{Node, Operator, Plan, schema};

use crate::error::{Error, Result};

/// `wit/dataflow.wit`.
const NODES_MAX: usize = 1024;
/// `wit/dataflow.wit`, in bytes.
const NAME_BYTES_MAX: usize = 128;
/// `wit/dataflow.wit`.
const PARTITIONS_MAX: u32 = 1024;
/// `wit/dataflow.wit`.
const BATCHES_MAX: usize = 16;
/// `wit/dataflow.wit`.
const ACCUMULATORS_MAX: usize = 256;
/// `wit/dataflow.wit`.
const BROADCASTS_MAX: usize = 256;
/// `wit/types.wit`, in bytes.
const COLUMN_NAME_BYTES_MAX: usize = 256;

pub(super) fn check(plan: &Plan) -> Result<()> {
    shape(plan)?;
    names(plan)?;
    accumulators(plan)?;
    broadcasts(plan)?;
    for (index, node) in plan.nodes.iter().enumerate() {
        columns(node, &node.schema)?;
        inputs(plan, index, node)?;
        let inputs: Vec<&Node> = node.inputs.iter().map(|input| &plan.nodes[input.index()]).collect();
        operator(plan, node, &inputs)?;
    }
    Ok(())
}

fn shape(plan: &Plan) -> Result<()> {
    let wrong = |reason: String| Err(Error::PlanShape { reason });
    if plan.nodes.is_empty() {
        return wrong("has no nodes: the job must make at least one stream and give it to a sink".to_owned());
    }
    if plan.nodes.len() > NODES_MAX {
        return wrong(format!("has {} nodes, more than {NODES_MAX}", plan.nodes.len()));
    }
    if !plan.nodes.iter().any(|node| matches!(node.operator, Operator::Sink(_))) {
        return wrong("has no sink, so nothing would ever come out: end a stream with `.sink(\"name\")`".to_owned());
    }
    Ok(())
}

fn names(plan: &Plan) -> Result<()> {
    let mut seen = BTreeMap::new();
    let mut sinks = BTreeSet::new();
    let mut sources = BTreeSet::new();
    for (index, node) in plan.nodes.iter().enumerate() {
        let wrong = |reason: String| Err(Error::NodeName { index, name: node.name.clone(), reason });
        if node.name.is_empty() || node.name.len() > NAME_BYTES_MAX {
            return wrong(format!("a name has 1 to {NAME_BYTES_MAX} bytes"));
        }
        if node.name.chars().any(char::is_control) {
            return wrong("a name has no control characters".to_owned());
        }
        if let Some(first) = seen.insert(node.name.as_str(), index) {
            return wrong(format!("so is node {first}"));
        }
        match &node.operator {
            Operator::Sink(name) if !sinks.insert(name) => {
                return wrong(format!("the sink `{name}` is used twice; unite the streams first, or use two sinks"));
            }
            Operator::Source(name) if !sources.insert(name) => {
                return wrong(format!("the source `{name}` is used twice; make one stream of it and use that twice"));
            }
            _ => {}
        }
    }
    Ok(())
}

fn accumulators(plan: &Plan) -> Result<()> {
    let all = &plan.accumulators;
    if all.len() > ACCUMULATORS_MAX {
        return Err(Error::PlanShape {
            reason: format!("has {} accumulators, more than {ACCUMULATORS_MAX}", all.len()),
        });
    }
    for (index, accumulator) in all.iter().enumerate() {
        let name = &accumulator.name;
        let wrong = |reason| Err(Error::AccumulatorName { index, name: name.clone(), reason });
        if name.is_empty() || name.len() > NAME_BYTES_MAX {
            return wrong(format!("a name has 1 to {NAME_BYTES_MAX} bytes"));
        }
        if name.chars().any(char::is_control) {
            return wrong("a name has no control characters".to_owned());
        }
        if let Some(first) = all[..index].iter().position(|other| other.name == *name) {
            return wrong(format!("so is accumulator {first}"));
        }
    }
    Ok(())
}

fn broadcasts(plan: &Plan) -> Result<()> {
    let all = &plan.broadcasts;
    if all.len() > BROADCASTS_MAX {
        return Err(Error::PlanShape { reason: format!("has {} broadcasts, more than {BROADCASTS_MAX}", all.len()) });
    }
    for (index, broadcast) in all.iter().enumerate() {
        let name = &broadcast.name;
        let wrong = |reason| Err(Error::BroadcastName { index, name: name.clone(), reason });
        if name.is_empty() || name.len() > NAME_BYTES_MAX {
            return wrong(format!("a name has 1 to {NAME_BYTES_MAX} bytes"));
        }
        if name.chars().any(char::is_control) {
            return wrong("a name has no control characters".to_owned());
        }
        if let Some(first) = all[..index].iter().position(|other| other.name == *name) {
            return wrong(format!("so is broadcast {first}"));
        }
        // The same rules as for the columns of a node.
        let node = Node {
            name: format!("broadcast {name}"),
            operator: Operator::Broadcast(index),
            inputs: Vec::new(),
            schema: Arc::clone(&broadcast.schema),
            key_columns: 0,
        };
        columns(&node, &node.schema)?;
    }
    for (index, node) in plan.nodes.iter().enumerate() {
        let Operator::Broadcast(number) = node.operator else { continue };
        let Some(broadcast) = all.get(number) else {
            return Err(settings(node, format!("is for broadcast {number}, and the plan has {}", all.len())));
        };
        if !schema::same_types(&broadcast.schema, &node.schema) {
            let what = format!("its columns and those of the broadcast `{}` differ", broadcast.name);
            return Err(mismatch(node, &what, &broadcast.schema, &node.schema));
        }
        if let Some(first) = plan.nodes[..index].iter().find(|first| first.operator == node.operator) {
            return Err(settings(node, format!("is for broadcast `{}`; so is node `{}`", broadcast.name, first.name)));
        }
        if let Some(consumer) = plan.nodes.iter().find(|other| other.inputs.iter().any(|input| input.index() == index))
        {
            let reason =
                format!("takes rows from `{}`, and a broadcast gives none: take those that it gets", node.name);
            return Err(settings(consumer, reason));
        }
    }
    Ok(())
}

fn columns(node: &Node, columns: &Schema) -> Result<()> {
    let wrong = |reason: String| Err(settings(node, reason));
    let fields = columns.fields();
    let count = schema::column_count(fields);
    let shape = |reason: String| Err(Error::PlanShape { reason });
    if fields.is_empty() || count > schema::COLUMNS_MAX {
        let (name, max) = (&node.name, schema::COLUMNS_MAX);
        return shape(format!("has {count} columns at `{name}`; 1 to {max} are possible"));
    }
    let levels = schema::depth(fields);
    if levels > schema::DEPTH_MAX {
        return shape(format!(
            "has columns inside of columns on {levels} levels at `{}`, and {} are possible: let lists, maps and structs in each other be fewer",
            node.name,
            schema::DEPTH_MAX
        ));
    }
    let mut seen = BTreeSet::new();
    for field in fields {
        if field.name().is_empty() || field.name().len() > COLUMN_NAME_BYTES_MAX {
            return wrong(format!(
                "a column is called `{}`; a name has 1 to {COLUMN_NAME_BYTES_MAX} bytes",
                field.name()
            ));
        }
        if !seen.insert(field.name()) {
            return wrong(format!("two columns are called `{}`; `.columns([...])` renames them", field.name()));
        }
        if schema::type_name(field.data_type()).is_none() {
            return wrong(format!(
                "column `{}` has the type {}, which cannot cross the boundary",
                field.name(),
                field.data_type()
            ));
        }
    }
    if node.key_columns > fields.len() {
        let reason = format!("declares {} key columns and has {} columns", node.key_columns, fields.len());
        return Err(Error::KeyColumns { node: node.name.clone(), reason });
    }
    key_types(node, &fields[..node.key_columns])
}

/// Columns of these types can be keys.
fn key_types(node: &Node, key: &[FieldRef]) -> Result<()> {
    if let Some(field) = key.iter().find(|field| !schema::is_key(field.data_type())) {
        let reason = format!(
            "has the key column {}, and lists and maps cannot be keys: make the key of something in them",
            schema::describe(&Schema::new(vec![field.as_ref().clone()]))
        );
        return Err(Error::KeyColumns { node: node.name.clone(), reason });
    }
    Ok(())
}

fn inputs(plan: &Plan, index: usize, node: &Node) -> Result<()> {
    if let Some(input) = node.inputs.iter().find(|input| input.index() >= index) {
        return Err(Error::Cycle { node: node.name.clone(), input: input.0 });
    }
    let count = node.inputs.len();
    let wanted = match node.operator {
        Operator::Source(_) if count != 0 => "no input",
        Operator::Union if count < 2 => "two inputs or more",
        Operator::WholeBatch(_) if !(1..=BATCHES_MAX).contains(&count) => "one input to 16",
        Operator::Join(_) if count != 2 => "two inputs",
        Operator::Group if count == 0 => "one input or more",
        Operator::Source(_) | Operator::Union | Operator::WholeBatch(_) | Operator::Join(_) | Operator::Group => {
            return Ok(());
        }
        _ if count != 1 => "one input",
        _ => return Ok(()),
    };
    let names: Vec<&str> = node.inputs.iter().map(|input| plan.nodes[input.index()].name.as_str()).collect();
    Err(settings(node, format!("takes {wanted}, and the plan gives it {count} ({})", names.join(", "))))
}

fn operator(plan: &Plan, node: &Node, inputs: &[&Node]) -> Result<()> {
    match &node.operator {
        Operator::Source(name) => name_of_part(node, name),
        Operator::Stage(_) | Operator::WholeBatch(_) => Ok(()),
        Operator::Transform(name) => name_of_part(node, name),
        Operator::Sink(name) => name_of_part(node, name).and_then(|()| same_schema(node, inputs)),
        Operator::Repartition(partitions) => repartition(node, *partitions).and_then(|()| same_schema(node, inputs)),
        Operator::Union | Operator::Take(_) | Operator::Broadcast(_) => same_schema(node, inputs),
        Operator::Window(window) => window_lengths(node, *window).and_then(|()| same_schema(node, inputs)),
        Operator::Reduce(reduce) => {
            // Merges by column that are none leave one row of each.
            if reduce.merge == Merge::Custom {
                has_values(node)?;
            }
            merge(node, inputs, &reduce.merge)?;
            zero_when_empty(node, &reduce.merge, reduce.zero_when_empty)
        }
        Operator::ReduceWindow(reduce) => {
            window_lengths(node, reduce.window)?;
            has_values(node)?;
            merge(node, inputs, &reduce.merge)?;
            zero_when_empty(node, &reduce.merge, reduce.zero_when_empty)?;
            inverse(node, &reduce.merge, reduce.invertible, reduce.keep_empty_keys)
        }
        Operator::UpdateState { initial, .. } => {
            state::keyed(node, inputs[0], &node.schema, node.key_columns)?;
            state::initial(node, &node.schema, node.key_columns, initial.as_ref())
        }
        Operator::Sort(order) => sort(node, inputs[0], order),
        Operator::MapWithState(map) => {
            columns(node, &map.state)?;
            state::map_with_state(node, inputs[0], map)
        }
        Operator::StateSnapshots => state::snapshots(plan, node, inputs[0]),
        Operator::ReduceSession(session) => state::reduce_session(node, inputs, session),
        Operator::Join(settings) => keyed::join(node, inputs, settings),
        Operator::Group => keyed::group(node, inputs),
    }
}

fn name_of_part(node: &Node, name: &str) -> Result<()> {
    if name.is_empty() || name.len() > NAME_BYTES_MAX {
        return Err(settings(node, format!("is for `{name}`; a name has 1 to {NAME_BYTES_MAX} bytes")));
    }
    Ok(())
}

fn same_schema(node: &Node, inputs: &[&Node]) -> Result<()> {
    for input in inputs {
        if !schema::same_types(&input.schema, &node.schema) {
            return Err(mismatch(
                node,
                &format!("its columns and those of its input `{}` differ", input.name),
                &node.schema,
                &input.schema,
            ));
        }
        if node.key_columns > input.key_columns && !matches!(node.operator, Operator::Sink(_)) {
            let reason = format!(
                "has {} key columns, and its input `{}` has {}",
                node.key_columns, input.name, input.key_columns
            );
            return Err(Error::KeyColumns { node: node.name.clone(), reason });
        }
    }
    Ok(())
}

fn repartition(node: &Node, partitions: u32) -> Result<()> {
    if (1..=PARTITIONS_MAX).contains(&partitions) {
        return Ok(());
    }
    Err(settings(node, format!("asks for {partitions} partitions; 1 to {PARTITIONS_MAX} are possible")))
}

fn has_values(node: &Node) -> Result<()> {
    if node.key_columns == node.schema.fields().len() {
        return Err(settings(node, "has no value columns to merge".to_owned()));
    }
    Ok(())
}

fn merge(node: &Node, inputs: &[&Node], merge: &Merge) -> Result<()> {
    same_schema(node, inputs)?;
    if node.key_columns != inputs[0].key_columns {
        let reason = format!(
            "has {} key columns, and its input `{}` has {}",
            node.key_columns, inputs[0].name, inputs[0].key_columns
        );
        return Err(Error::KeyColumns { node: node.name.clone(), reason });
    }
    let values = &node.schema.fields()[node.key_columns..];
    let Merge::Columns(merges) = merge else { return Ok(()) };
    if merges.len() != values.len() {
        return Err(settings(
            node,
            format!("merges {} columns, and there are {} value columns", merges.len(), values.len()),
        ));
    }
    for (field, merge) in values.iter().zip(merges) {
        let fits = match (merge, field.data_type()) {
            (_, _) if field.is_nullable() => false,
            (ColumnMerge::Sum, data_type) => schema::is_number(data_type),
            (ColumnMerge::Min | ColumnMerge::Max, data_type) => {
                !matches!(data_type, DataType::Boolean | DataType::Binary) && !schema::is_nested(data_type)
            }
        };
        if !fits {
            let merge = format!("{merge:?}").to_lowercase();
            return Err(settings(
                node,
                format!(
                    "cannot take the {merge} of column {}",
                    schema::describe(&Schema::new(vec![field.as_ref().clone()]))
                ),
            ));
        }
    }
    Ok(())
}

fn zero_when_empty(node: &Node, merge: &Merge, wanted: bool) -> Result<()> {
    let sums = matches!(merge, Merge::Columns(merges) if merges.iter().all(|merge| *merge == ColumnMerge::Sum));
    if wanted && !(node.key_columns == 0 && sums) {
        return Err(settings(node, "zero-when-empty needs a reduce without key columns, of sums only".to_owned()));
    }
    Ok(())
}

fn inverse(node: &Node, merge: &Merge, invertible: bool, keep_empty_keys: bool) -> Result<()> {
    if keep_empty_keys && !invertible {
        return Err(settings(node, "keep-empty-keys needs invertible".to_owned()));
    }
    let Merge::Columns(merges) = merge else { return Ok(()) };
    let exact_sums = node.schema.fields()[node.key_columns..]
        .iter()
        .zip(merges)
        .all(|(field, merge)| *merge == ColumnMerge::Sum && !schema::has_floats(field.data_type()));
    if invertible && !exact_sums {
        // Taking a float off a float does not give back the sum without it.
        return Err(settings(
            node,
            "only sums without floats can be inverted by the host; leave invertible out".to_owned(),
        ));
    }
    Ok(())
}

fn sort(node: &Node, input: &Node, sort: &Sort) -> Result<()> {
    let columns = input.schema.fields().len();
    if sort.hidden_columns >= columns {
        return Err(settings(node, format!("hides {} of {columns} columns", sort.hidden_columns)));
    }
    let visible = Schema::new(input.schema.fields()[..columns - sort.hidden_columns].to_vec());
    if !schema::same_types(&visible, &node.schema) {
        return Err(mismatch(
            node,
            &format!("its columns are not those of `{}` without the hidden ones", input.name),
            &node.schema,
            &visible,
        ));
    }
    if let Some(order) = sort.order.iter().find(|order| order.column >= columns) {
        return Err(settings(node, format!("orders by column {}, and its input has {columns}", order.column)));
    }
    if node.key_columns > input.key_columns {
        let reason =
            format!("has {} key columns, and its input `{}` has {}", node.key_columns, input.name, input.key_columns);
        return Err(Error::KeyColumns { node: node.name.clone(), reason });
    }
    Ok(())
}

fn window_lengths(node: &Node, window: Window) -> Result<()> {
    let reason = if window.length_ms == 0 || window.slide_ms == 0 {
        "a window's length and slide are at least one batch interval"
    } else if i64::try_from(window.length_ms.max(window.slide_ms)).is_err() {
        "the window is longer than time"
    } else {
        return Ok(());
    };
    Err(Error::WindowInterval { node: node.name.clone(), reason: reason.to_owned() })
}

/// How often each node gives a batch.
pub(super) fn slides(plan: &Plan, batch_interval_ms: u64) -> Result<Vec<u64>> {
    let mut slides: Vec<u64> = Vec::with_capacity(plan.nodes.len());
    for node in &plan.nodes {
        let wrong = |reason| Err(Error::WindowInterval { node: node.name.clone(), reason });
        let inputs: Vec<(&str, u64)> =
            node.inputs.iter().map(|input| (plan.nodes[input.index()].name.as_str(), slides[input.index()])).collect();
        let slide = match (&node.operator, inputs.as_slice()) {
            (Operator::Window(window), [(_, parent)]) => window_slide(node, *window, *parent, batch_interval_ms)?,
            (Operator::ReduceWindow(reduce), [(_, parent)]) => {
                window_slide(node, reduce.window, *parent, batch_interval_ms)?
            }
            (_, []) => batch_interval_ms,
            (_, [(first, slide), rest @ ..]) => {
                if let Some((other, different)) = rest.iter().find(|(_, other)| other != slide) {
                    return wrong(format!(
                        "`{first}` gives rows every {slide} ms and `{other}` every {different} ms: they cannot be put together; use the same slide"
                    ));
                }
                *slide
            }
        };
        slides.push(slide);
    }
    Ok(slides)
}

fn window_slide(node: &Node, window: Window, parent_ms: u64, batch_interval_ms: u64) -> Result<u64> {
    for (what, ms) in [("length", window.length_ms), ("slide", window.slide_ms)] {
        if ms % parent_ms != 0 {
            let of =
                if parent_ms == batch_interval_ms { "the batch interval" } else { "the slide of the window above it" };
            let near = (ms / parent_ms).max(1) * parent_ms;
            let reason = format!(
                "the window's {what} of {ms} ms is no multiple of {of}, {parent_ms} ms; use {near} ms or {} ms",
                near + parent_ms
            );
            return Err(Error::WindowInterval { node: node.name.clone(), reason });
        }
    }
    Ok(window.slide_ms)
}

fn settings(node: &Node, reason: String) -> Error {
    Error::OperatorSettings { node: node.name.clone(), operator: node.operator.kind(), reason }
}

fn mismatch(node: &Node, what: &str, expected: &Schema, found: &Schema) -> Error {
    Error::SchemaMismatch {
        node: node.name.clone(),
        what: what.to_owned(),
        difference: schema::difference(("expected", expected), ("found", found)),
    }
}
