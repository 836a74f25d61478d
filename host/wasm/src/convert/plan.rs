//! A component's plan and signature as the core's nouns.
//!
//! Sizes and names are checked here, because everything after relies on them; the graph itself (inputs, keys, windows) is
//! the engine's to check.

use std::collections::BTreeSet;
use std::fmt::Display;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::{DataType, Field, Fields, Schema, SchemaRef};
use millpond_core::plan::{
    ColumnMerge, Join, JoinKind, MapWithState, Merge, Ordering, Reduce, ReduceSession, ReduceWindow, Sort, Window,
};
use millpond_core::schema::{COLUMNS_MAX, DEPTH_MAX, DURATION, TIMESTAMP, is_decimal, is_nested, list_of, map_of};
use millpond_core::{Accumulator, AccumulatorKind, Broadcast, Node, NodeId, Operator, Plan};

use super::lift;
use crate::bindings::job::millpond::plugin::{dataflow, types};
use crate::error::{Error, Place, Result, is_printable, printable};

const NODES_MAX: usize = 1024;
pub(crate) const ACCUMULATORS_MAX: usize = 256;
const BROADCASTS_MAX: usize = 256;
const NODE_NAME_BYTES_MAX: usize = 128;
const COLUMN_NAME_BYTES_MAX: usize = 256;
/// Only for pictures: what is longer is cut.
const LABEL_BYTES_MAX: usize = 256;

/// A job's plan.
pub(crate) fn plan(place: &Place, raw: dataflow::Plan) -> Result<Plan> {
    size(place, || "the plan".into(), "nodes", raw.nodes.len(), NODES_MAX)?;
    let nodes = raw.nodes.into_iter().enumerate().map(|(number, raw)| node(place, number, raw));
    let nodes = nodes.collect::<Result<_>>()?;
    let accumulators = accumulators(place, raw.accumulators)?;
    Ok(Plan { nodes, accumulators, broadcasts: broadcasts(place, raw.broadcasts)? })
}

fn accumulators(place: &Place, raw: Vec<dataflow::Accumulator>) -> Result<Vec<Accumulator>> {
    if raw.len() > ACCUMULATORS_MAX {
        let (place, subject) = (Box::new(place.clone()), "the plan".into());
        let (found, max) = (raw.len(), ACCUMULATORS_MAX);
        return Err(Error::PlanSize { place, subject, what: "accumulators", found, min: 0, max });
    }
    let accumulator = |(number, raw): (usize, dataflow::Accumulator)| {
        name(place, || format!("accumulator {number}"), "accumulator's name", &raw.name, NODE_NAME_BYTES_MAX)?;
        Ok(Accumulator { kind: accumulator_kind(raw.kind), name: raw.name })
    };
    raw.into_iter().enumerate().map(accumulator).collect()
}

fn broadcasts(place: &Place, raw: Vec<dataflow::Broadcast>) -> Result<Vec<Broadcast>> {
    if raw.len() > BROADCASTS_MAX {
        let (place, subject) = (Box::new(place.clone()), "the plan".into());
        return Err(Error::PlanSize {
            place,
            subject,
            what: "broadcasts",
            found: raw.len(),
            min: 0,
            max: BROADCASTS_MAX,
        });
    }
    let broadcast = |(number, raw): (usize, dataflow::Broadcast)| {
        name(place, || format!("broadcast {number}"), "name in the job file", &raw.name, NODE_NAME_BYTES_MAX)?;
        let schema = schema(place, || format!("broadcast `{}`", raw.name), raw.schema)?;
        Ok(Broadcast { schema, name: raw.name })
    };
    raw.into_iter().enumerate().map(broadcast).collect()
}

fn accumulator_kind(raw: dataflow::AccumulatorKind) -> AccumulatorKind {
    use dataflow::AccumulatorKind as Raw;
    match raw {
        Raw::Counter => AccumulatorKind::Counter,
        Raw::SumInt64 => AccumulatorKind::SumInt64,
        Raw::SumFloat64 => AccumulatorKind::SumFloat64,
        Raw::MinInt64 => AccumulatorKind::MinInt64,
        Raw::MinFloat64 => AccumulatorKind::MinFloat64,
        Raw::MaxInt64 => AccumulatorKind::MaxInt64,
        Raw::MaxFloat64 => AccumulatorKind::MaxFloat64,
    }
}

/// One side of a transform's signature.
pub(crate) fn side(place: &Place, which: &str, fields: Vec<types::Field>) -> Result<SchemaRef> {
    schema(place, || format!("the {which}"), fields)
}

fn node(place: &Place, number: usize, raw: dataflow::Node) -> Result<Node> {
    name(place, || format!("node {number}"), "node's name", &raw.name, NODE_NAME_BYTES_MAX)?;
    let subject = || format!("node `{}`", raw.name);
    if let dataflow::Operator::Source(to) | dataflow::Operator::Transform(to) | dataflow::Operator::Sink(to) =
        &raw.operator
    {
        name(place, subject, "name in the job file", to, NODE_NAME_BYTES_MAX)?;
    }
    let schema = schema(place, subject, raw.schema)?;
    Ok(Node {
        operator: operator(place, &raw.name, &schema, raw.operator)?,
        inputs: raw.inputs.into_iter().map(NodeId).collect(),
        schema,
        key_columns: raw.key_columns as usize,
        name: raw.name,
    })
}

fn operator(place: &Place, node: &str, columns: &SchemaRef, raw: dataflow::Operator) -> Result<Operator> {
    use dataflow::Operator as Raw;
    Ok(match raw {
        Raw::Source(name) => Operator::Source(name),
        Raw::Stage(stage) => Operator::Stage(printable(&stage.label, LABEL_BYTES_MAX)),
        Raw::Transform(name) => Operator::Transform(name),
        Raw::Union => Operator::Union,
        Raw::Reduce(raw) => Operator::Reduce(Reduce { merge: merge(raw.merge), zero_when_empty: raw.zero_when_empty }),
        Raw::Window(raw) => Operator::Window(window(&raw)),
        Raw::ReduceWindow(raw) => Operator::ReduceWindow(ReduceWindow {
            window: window(&raw.window),
            merge: merge(raw.merge),
            invertible: raw.invertible,
            keep_empty_keys: raw.keep_empty_keys,
            zero_when_empty: raw.zero_when_empty,
        }),
        Raw::UpdateState(raw) => {
            let initial = initial(place, columns, raw.initial)?;
            Operator::UpdateState { every_batch: raw.every_batch, with_keys: raw.with_keys, initial }
        }
        Raw::Sort(raw) => Operator::Sort(sort(raw)),
        Raw::Take(rows) => Operator::Take(rows),
        Raw::Sink(name) => Operator::Sink(name),
        Raw::MapWithState(raw) => {
            let state = schema(place, || format!("the state of node `{node}`"), raw.state)?;
            let initial = initial(place, &state, raw.initial)?;
            Operator::MapWithState(MapWithState { state, timeout_ms: raw.timeout_ms, initial })
        }
        Raw::StateSnapshots => Operator::StateSnapshots,
        Raw::ReduceSession(raw) => {
            Operator::ReduceSession(ReduceSession { merge: merge(raw.merge), gap_ms: raw.gap_ms })
        }
        Raw::Repartition(partitions) => Operator::Repartition(partitions),
        Raw::WholeBatch(stage) => Operator::WholeBatch(printable(&stage.label, LABEL_BYTES_MAX)),
        Raw::Join(raw) => Operator::Join(join(raw)),
        Raw::Group => Operator::Group,
        Raw::Broadcast(number) => Operator::Broadcast(number as usize),
    })
}

/// The rows of an initial state.
fn initial(place: &Place, columns: &SchemaRef, raw: Option<types::BatchResult>) -> Result<Option<RecordBatch>> {
    raw.map(|raw| lift::batch(place, columns, None, raw)).transpose()
}

fn merge(raw: dataflow::Merge) -> Merge {
    let column = |merge| match merge {
        dataflow::ColumnMerge::Sum => ColumnMerge::Sum,
        dataflow::ColumnMerge::Min => ColumnMerge::Min,
        dataflow::ColumnMerge::Max => ColumnMerge::Max,
    };
    match raw {
        dataflow::Merge::Columns(columns) => Merge::Columns(columns.into_iter().map(column).collect()),
        dataflow::Merge::Custom => Merge::Custom,
    }
}

fn window(raw: &dataflow::Window) -> Window {
    Window { length_ms: raw.length_ms, slide_ms: raw.slide_ms }
}

fn join(raw: dataflow::Join) -> Join {
    let kind = match raw.kind {
        dataflow::JoinKind::Inner => JoinKind::Inner,
        dataflow::JoinKind::LeftOuter => JoinKind::LeftOuter,
        dataflow::JoinKind::RightOuter => JoinKind::RightOuter,
        dataflow::JoinKind::FullOuter => JoinKind::FullOuter,
        dataflow::JoinKind::LeftSemi => JoinKind::LeftSemi,
        dataflow::JoinKind::LeftAnti => JoinKind::LeftAnti,
    };
    Join { kind, on: raw.on as usize, null_equals_null: raw.null_equals_null }
}

fn sort(raw: dataflow::Sort) -> Sort {
    let order = |raw: dataflow::Ordering| Ordering { column: raw.column as usize, descending: raw.descending };
    Sort {
        order: raw.order.into_iter().map(order).collect(),
        limit: raw.limit,
        hidden_columns: raw.hidden_columns as usize,
    }
}

fn schema(place: &Place, subject: impl Fn() -> String, raw: Vec<types::Field>) -> Result<SchemaRef> {
    size(place, &subject, "columns", raw.len(), COLUMNS_MAX)?;
    let mut reader = FieldReader { place, subject: &subject, fields: raw.into_iter() };
    let mut fields = Vec::new();
    let mut seen = BTreeSet::new();
    while let Some(field) = reader.next(&mut seen, 1)? {
        fields.push(field);
    }
    Ok(Arc::new(Schema::new(fields)))
}

/// Reads fields that are followed by their children.
struct FieldReader<'a> {
    place: &'a Place,
    subject: &'a dyn Fn() -> String,
    fields: std::vec::IntoIter<types::Field>,
}

impl FieldReader<'_> {
    /// The next field with its children; `siblings` are the names before it. `None` at the end.
    fn next(&mut self, siblings: &mut BTreeSet<String>, level: usize) -> Result<Option<Field>> {
        let Some(raw) = self.fields.next() else { return Ok(None) };
        name(self.place, self.subject, "column", &raw.name, COLUMN_NAME_BYTES_MAX)?;
        if !siblings.insert(raw.name.clone()) {
            return Err(bad_name(self.place, (self.subject)(), "column", &raw.name, "is there twice"));
        }
        let data_type = self.data_type(&raw, level)?;
        Ok(Some(Field::new(raw.name, data_type, raw.nullable)))
    }

    /// The only child of a list or map, whose name is not looked at.
    fn child(&mut self, parent: &str, level: usize) -> Result<(DataType, bool)> {
        let raw = self.fields.next().ok_or_else(|| self.ends_early(parent))?;
        let inner = types::Field { name: format!("{parent}[]"), ..raw };
        Ok((self.data_type(&inner, level)?, inner.nullable))
    }

    /// The type of a field whose children follow.
    fn data_type(&mut self, raw: &types::Field, level: usize) -> Result<DataType> {
        if level > DEPTH_MAX {
            return Err(Error::PlanDepth {
                place: Box::new(self.place.clone()),
                subject: (self.subject)(),
                column: printable(&raw.name, LABEL_BYTES_MAX),
                levels: level,
                max: DEPTH_MAX,
            });
        }
        if raw.children != wanted_children(raw) {
            let wanted = if matches!(raw.data_type, types::DataType::Struct) {
                "at least 1".into()
            } else {
                wanted_children(raw).to_string()
            };
            return Err(self.wrong(
                &raw.name,
                format!("it declares {} children, and a {} has {wanted}", raw.children, kind(raw.data_type)),
            ));
        }
        Ok(match raw.data_type {
            types::DataType::Boolean => DataType::Boolean,
            types::DataType::Int64 => DataType::Int64,
            types::DataType::Float64 => DataType::Float64,
            types::DataType::Utf8 => DataType::Utf8,
            types::DataType::Binary => DataType::Binary,
            types::DataType::Timestamp => TIMESTAMP,
            types::DataType::Int8 => DataType::Int8,
            types::DataType::Int16 => DataType::Int16,
            types::DataType::Int32 => DataType::Int32,
            types::DataType::Uint8 => DataType::UInt8,
            types::DataType::Uint16 => DataType::UInt16,
            types::DataType::Uint32 => DataType::UInt32,
            types::DataType::Uint64 => DataType::UInt64,
            types::DataType::Float32 => DataType::Float32,
            types::DataType::Date => DataType::Date32,
            types::DataType::Duration => DURATION,
            types::DataType::Decimal(raw_type) => self.decimal(&raw.name, raw_type)?,
            types::DataType::Struct => {
                let mut fields = Vec::new();
                let mut seen = BTreeSet::new();
                for _ in 0..raw.children {
                    let field = self.next(&mut seen, level + 1)?;
                    fields.push(field.ok_or_else(|| self.ends_early(&raw.name))?);
                }
                DataType::Struct(Fields::from(fields))
            }
            types::DataType::List => {
                let (item, nullable) = self.child(&raw.name, level + 1)?;
                list_of(item, nullable)
            }
            types::DataType::Map => self.map(&raw.name, level)?,
        })
    }

    fn decimal(&self, column: &str, raw: types::DecimalType) -> Result<DataType> {
        let types::DecimalType { precision, scale } = raw;
        match i8::try_from(scale) {
            Ok(signed) if is_decimal(precision, signed) => Ok(DataType::Decimal128(precision, signed)),
            _ => Err(self.wrong(
                column,
                format!("a decimal has 1 to 38 digits, and no more of them behind the point; this one has {precision} and {scale}"),
            )),
        }
    }

    fn map(&mut self, column: &str, level: usize) -> Result<DataType> {
        let (entries, nullable) = self.child(column, level + 1)?;
        let DataType::Struct(entry) = entries else {
            return Err(self.wrong(column, "the child of a map is a struct of key and value".to_owned()));
        };
        match &entry[..] {
            [key, value] if !nullable && !key.is_nullable() && !is_nested(key.data_type()) => {
                Ok(map_of(key.data_type().clone(), value.data_type().clone(), value.is_nullable()))
            }
            _ => Err(self.wrong(
                column,
                "the child of a map is a struct of two fields that is never null, and its key is never null and has no children"
                    .to_owned(),
            )),
        }
    }

    fn ends_early(&self, column: &str) -> Error {
        self.wrong(column, "the schema ends before its children".to_owned())
    }

    fn wrong(&self, column: &str, reason: String) -> Error {
        Error::PlanSchema {
            place: Box::new(self.place.clone()),
            subject: (self.subject)(),
            column: printable(column, LABEL_BYTES_MAX),
            reason,
        }
    }
}

/// How many children a field of this type has; of a struct, as many as it says.
fn wanted_children(raw: &types::Field) -> u32 {
    match raw.data_type {
        types::DataType::Struct => raw.children.max(1),
        types::DataType::List | types::DataType::Map => 1,
        _ => 0,
    }
}

fn kind(data_type: types::DataType) -> &'static str {
    match data_type {
        types::DataType::Struct => "struct",
        types::DataType::List => "list",
        types::DataType::Map => "map",
        _ => "column without columns inside",
    }
}

fn size(place: &Place, subject: impl Fn() -> String, what: &'static str, found: usize, max: usize) -> Result<()> {
    if (1..=max).contains(&found) {
        return Ok(());
    }
    Err(Error::PlanSize { place: Box::new(place.clone()), subject: subject(), what, found, min: 1, max })
}

fn name(place: &Place, subject: impl Fn() -> String, what: &'static str, name: &str, bytes_max: usize) -> Result<()> {
    if name.is_empty() {
        return Err(bad_name(place, subject(), what, name, "is empty"));
    }
    if name.len() > bytes_max {
        let reason = format!("has {} bytes, and may have {bytes_max}", name.len());
        return Err(bad_name(place, subject(), what, name, reason));
    }
    if !is_printable(name) {
        return Err(bad_name(place, subject(), what, name, "has control characters"));
    }
    Ok(())
}

fn bad_name(place: &Place, subject: String, what: &'static str, name: &str, reason: impl Display) -> Error {
    let (place, name, reason) = (Box::new(place.clone()), printable(name, 40), reason.to_string());
    Error::PlanName { place, subject, what, name, reason }
}
