//! The contract's plain types as the host's, and back. Speed does not matter here.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, BinaryArray, BooleanArray, Date32Array, Decimal128Array, DurationMicrosecondArray,
    Float32Array, Float64Array, Int8Array, Int16Array, Int32Array, Int64Array, ListArray, MapArray, RecordBatch,
    RecordBatchOptions, StringArray, StructArray, TimestampMicrosecondArray, UInt8Array, UInt16Array, UInt32Array,
    UInt64Array,
};
use arrow::buffer::{BooleanBuffer, NullBuffer, OffsetBuffer, ScalarBuffer};
use arrow::datatypes::{
    DataType, Date32Type, Decimal128Type, DurationMicrosecondType, Field, Float32Type, Float64Type, Int8Type,
    Int16Type, Int32Type, Int64Type, Schema, SchemaRef, TimestampMicrosecondType, UInt8Type, UInt16Type, UInt32Type,
    UInt64Type,
};
use millpond::runtime as wire;
use millpond_core::accumulator::Update;
use millpond_core::maps::{RepeatedKey, repeated_key};
use millpond_core::schema::{DURATION, TIMESTAMP, list_of};
use millpond_core::{Accumulator, AccumulatorKind, Broadcast, Node, NodeId, Number, Operator, Plan, plan};

/// A batch as the contract has it.
pub(crate) fn to_wire(batch: &RecordBatch) -> wire::Batch {
    let mut columns = Vec::new();
    batch.columns().iter().for_each(|column| column_to_wire(column, true, &mut columns));
    wire::Batch { rows: u32::try_from(batch.num_rows()).expect("a test's batch is small"), columns }
}

/// Appends a column, then its children.
fn column_to_wire(array: &dyn Array, nullable: bool, out: &mut Vec<wire::Column>) {
    let variable = |rows: Vec<&[u8]>| {
        let mut data = wire::VarData { offsets: vec![0], bytes: Vec::new() };
        for row in rows {
            data.bytes.extend_from_slice(row);
            data.offsets.push(u32::try_from(data.bytes.len()).expect("a test's batch is small"));
        }
        data
    };
    let data = match array.data_type() {
        DataType::Boolean => wire::ColumnData::Boolean(bitmap(array.as_boolean().values())),
        DataType::Int64 => wire::ColumnData::Int64(array.as_primitive::<Int64Type>().values().to_vec()),
        DataType::Float64 => wire::ColumnData::Float64(array.as_primitive::<Float64Type>().values().to_vec()),
        DataType::Utf8 => {
            let text = array.as_string::<i32>();
            wire::ColumnData::Utf8(variable((0..text.len()).map(|row| text.value(row).as_bytes()).collect()))
        }
        DataType::Binary => {
            let bytes = array.as_binary::<i32>();
            wire::ColumnData::Binary(variable((0..bytes.len()).map(|row| bytes.value(row)).collect()))
        }
        DataType::Decimal128(..) => {
            let halves = |value: &i128| [value.cast_unsigned() as u64, (value.cast_unsigned() >> 64) as u64];
            let values = array.as_primitive::<Decimal128Type>().values();
            wire::ColumnData::Decimal(values.iter().flat_map(halves).collect())
        }
        DataType::Int8 => wire::ColumnData::Int8(array.as_primitive::<Int8Type>().values().to_vec()),
        DataType::Int16 => wire::ColumnData::Int16(array.as_primitive::<Int16Type>().values().to_vec()),
        DataType::Int32 => wire::ColumnData::Int32(array.as_primitive::<Int32Type>().values().to_vec()),
        DataType::UInt8 => wire::ColumnData::Uint8(array.as_primitive::<UInt8Type>().values().to_vec()),
        DataType::UInt16 => wire::ColumnData::Uint16(array.as_primitive::<UInt16Type>().values().to_vec()),
        DataType::UInt32 => wire::ColumnData::Uint32(array.as_primitive::<UInt32Type>().values().to_vec()),
        DataType::UInt64 => wire::ColumnData::Uint64(array.as_primitive::<UInt64Type>().values().to_vec()),
        DataType::Float32 => wire::ColumnData::Float32(array.as_primitive::<Float32Type>().values().to_vec()),
        DataType::Date32 => wire::ColumnData::Date(array.as_primitive::<Date32Type>().values().to_vec()),
        DataType::Duration(_) => {
            wire::ColumnData::Duration(array.as_primitive::<DurationMicrosecondType>().values().to_vec())
        }
        DataType::Struct(_) => wire::ColumnData::Struct,
        DataType::List(_) => wire::ColumnData::List(offsets_from_0(array.as_list::<i32>().offsets())),
        DataType::Map(..) => wire::ColumnData::Map(offsets_from_0(array.as_map().offsets())),
        _ => wire::ColumnData::Timestamp(array.as_primitive::<TimestampMicrosecondType>().values().to_vec()),
    };
    // Where a struct is null its fields may be null too, also those that never are.
    let validity = array.nulls().filter(|nulls| nullable && nulls.null_count() > 0);
    out.push(wire::Column { data, validity: validity.map(|nulls| bitmap(nulls.inner())) });
    match array.data_type() {
        DataType::Struct(fields) => {
            let columns = fields.iter().zip(array.as_struct().columns());
            columns.for_each(|(field, column)| column_to_wire(column, field.is_nullable(), out));
        }
        DataType::List(item) => {
            let list = array.as_list::<i32>();
            column_to_wire(&*used(list.offsets(), list.values().as_ref()), item.is_nullable(), out);
        }
        DataType::Map(..) => {
            let map = array.as_map();
            column_to_wire(&*used(map.offsets(), map.entries()), false, out);
        }
        _ => {}
    }
}

fn offsets_from_0(offsets: &OffsetBuffer<i32>) -> Vec<u32> {
    offsets.iter().map(|offset| (offset - offsets[0]).cast_unsigned()).collect()
}

/// The rows of a child that its parent uses.
fn used(offsets: &OffsetBuffer<i32>, values: &dyn Array) -> ArrayRef {
    let (first, last) = (offsets[0].cast_unsigned() as usize, offsets[offsets.len() - 1].cast_unsigned() as usize);
    values.slice(first, last - first)
}

/// Bits from bit 0.
pub(crate) fn bitmap(bits: &BooleanBuffer) -> Vec<u8> {
    let mut bytes = vec![0; bits.len().div_ceil(8)];
    bits.iter().enumerate().filter(|(_, bit)| *bit).for_each(|(at, _)| bytes[at / 8] |= 1 << (at % 8));
    bytes
}

/// A batch of this schema as Arrow has it, or what is wrong with it.
pub(crate) fn from_wire(schema: &SchemaRef, batch: wire::Batch) -> Result<RecordBatch, String> {
    let rows = batch.rows as usize;
    let mut columns = batch.columns.into_iter();
    let arrays = schema.fields().iter().map(|field| column_from_wire(field, rows, &mut columns));
    let arrays = arrays.collect::<Result<Vec<_>, _>>()?;
    let options = RecordBatchOptions::new().with_row_count(Some(rows));
    RecordBatch::try_new_with_options(Arc::clone(schema), arrays, &options).map_err(|error| error.to_string())
}

/// The next column with its children.
fn column_from_wire(
    field: &Field,
    rows: usize,
    columns: &mut std::vec::IntoIter<wire::Column>,
) -> Result<ArrayRef, String> {
    let column = columns.next().ok_or_else(|| format!("column `{}` is missing", field.name()))?;
    let bits = |bytes: Vec<u8>| BooleanBuffer::new(bytes.into(), 0, rows);
    let nulls = column.validity.map(|bytes| NullBuffer::new(bits(bytes)));
    let offsets = |offsets: Vec<u32>| {
        let signed: Vec<i32> = offsets.into_iter().map(|offset| offset.cast_signed()).collect();
        OffsetBuffer::new(ScalarBuffer::from(signed))
    };
    let text = |error: arrow::error::ArrowError| error.to_string();
    Ok(match column.data {
        wire::ColumnData::Boolean(bytes) => Arc::new(BooleanArray::new(bits(bytes), nulls)),
        wire::ColumnData::Int64(values) => Arc::new(Int64Array::try_new(values.into(), nulls).map_err(text)?),
        wire::ColumnData::Float64(values) => Arc::new(Float64Array::try_new(values.into(), nulls).map_err(text)?),
        wire::ColumnData::Utf8(data) => {
            Arc::new(StringArray::try_new(offsets(data.offsets), data.bytes.into(), nulls).map_err(text)?)
        }
        wire::ColumnData::Binary(data) => {
            Arc::new(BinaryArray::try_new(offsets(data.offsets), data.bytes.into(), nulls).map_err(text)?)
        }
        wire::ColumnData::Timestamp(values) => {
            Arc::new(TimestampMicrosecondArray::try_new(values.into(), nulls).map_err(text)?)
        }
        wire::ColumnData::Decimal(words) => {
            let value = |pair: &[u64; 2]| (u128::from(pair[1]) << 64 | u128::from(pair[0])).cast_signed();
            let values: Vec<i128> = words.as_chunks::<2>().0.iter().map(value).collect();
            let DataType::Decimal128(precision, scale) = field.data_type() else {
                return Err(unlike(field, "decimal"));
            };
            let array = Decimal128Array::try_new(values.into(), nulls).map_err(text)?;
            let array = array.with_precision_and_scale(*precision, *scale).map_err(text)?;
            array.validate_decimal_precision(*precision).map_err(text)?;
            Arc::new(array)
        }
        wire::ColumnData::Int8(values) => Arc::new(Int8Array::try_new(values.into(), nulls).map_err(text)?),
        wire::ColumnData::Int16(values) => Arc::new(Int16Array::try_new(values.into(), nulls).map_err(text)?),
        wire::ColumnData::Int32(values) => Arc::new(Int32Array::try_new(values.into(), nulls).map_err(text)?),
        wire::ColumnData::Uint8(values) => Arc::new(UInt8Array::try_new(values.into(), nulls).map_err(text)?),
        wire::ColumnData::Uint16(values) => Arc::new(UInt16Array::try_new(values.into(), nulls).map_err(text)?),
        wire::ColumnData::Uint32(values) => Arc::new(UInt32Array::try_new(values.into(), nulls).map_err(text)?),
        wire::ColumnData::Uint64(values) => Arc::new(UInt64Array::try_new(values.into(), nulls).map_err(text)?),
        wire::ColumnData::Float32(values) => Arc::new(Float32Array::try_new(values.into(), nulls).map_err(text)?),
        wire::ColumnData::Date(values) => Arc::new(Date32Array::try_new(values.into(), nulls).map_err(text)?),
        wire::ColumnData::Duration(values) => {
            Arc::new(DurationMicrosecondArray::try_new(values.into(), nulls).map_err(text)?)
        }
        wire::ColumnData::Struct => {
            let DataType::Struct(fields) = field.data_type() else { return Err(unlike(field, "struct")) };
            let children = fields.iter().map(|field| column_from_wire(field, rows, columns));
            let children = children.collect::<Result<Vec<_>, _>>()?;
            Arc::new(StructArray::try_new(fields.clone(), children, nulls).map_err(text)?)
        }
        wire::ColumnData::List(ends) => {
            let DataType::List(item) = field.data_type() else { return Err(unlike(field, "list")) };
            let values = column_from_wire(item, ends.last().map_or(0, |last| *last as usize), columns)?;
            Arc::new(ListArray::try_new(Arc::clone(item), offsets(ends), values, nulls).map_err(text)?)
        }
        wire::ColumnData::Map(ends) => {
            let DataType::Map(entries, sorted) = field.data_type() else { return Err(unlike(field, "map")) };
            let values = column_from_wire(entries, ends.last().map_or(0, |last| *last as usize), columns)?;
            let values = values.as_struct().clone();
            let map = MapArray::try_new(Arc::clone(entries), offsets(ends), values, nulls, *sorted).map_err(text)?;
            // As the host checks what components return.
            if let Some(RepeatedKey { row, key }) = repeated_key(&map).map_err(text)? {
                return Err(format!(
                    "column `{}`, row {row}: the map has the key `{key}` more than once",
                    field.name()
                ));
            }
            Arc::new(map)
        }
    })
}

fn unlike(field: &Field, found: &str) -> String {
    format!("column `{}` is a {found}, and the plan says {}", field.name(), field.data_type())
}

/// A plan as the host has it.
pub(crate) fn plan(plan: wire::Plan) -> Plan {
    let accumulator = |accumulator: wire::Accumulator| Accumulator {
        name: accumulator.name,
        kind: accumulator_kind(accumulator.kind),
    };
    let broadcast = |broadcast: wire::Broadcast| Broadcast { name: broadcast.name, schema: schema(broadcast.schema) };
    Plan {
        nodes: plan.nodes.into_iter().map(node).collect(),
        accumulators: plan.accumulators.into_iter().map(accumulator).collect(),
        broadcasts: plan.broadcasts.into_iter().map(broadcast).collect(),
    }
}

fn accumulator_kind(kind: wire::AccumulatorKind) -> AccumulatorKind {
    match kind {
        wire::AccumulatorKind::Counter => AccumulatorKind::Counter,
        wire::AccumulatorKind::SumInt64 => AccumulatorKind::SumInt64,
        wire::AccumulatorKind::SumFloat64 => AccumulatorKind::SumFloat64,
        wire::AccumulatorKind::MinInt64 => AccumulatorKind::MinInt64,
        wire::AccumulatorKind::MinFloat64 => AccumulatorKind::MinFloat64,
        wire::AccumulatorKind::MaxInt64 => AccumulatorKind::MaxInt64,
        wire::AccumulatorKind::MaxFloat64 => AccumulatorKind::MaxFloat64,
    }
}

/// What a call had for an accumulator, as the host has it.
pub(crate) fn update(update: wire::Update) -> Update {
    let number = match update.number {
        wire::Number::Int64(value) => Number::Int64(value),
        wire::Number::Float64(value) => Number::Float64(value),
    };
    Update { accumulator: update.accumulator as usize, number }
}

/// Columns as the host has them.
pub(crate) fn schema(fields: Vec<wire::Field>) -> SchemaRef {
    let mut fields = fields.into_iter();
    let columns = std::iter::from_fn(|| field(&mut fields)).collect::<Vec<_>>();
    Arc::new(Schema::new(columns))
}

/// The next field with its children.
fn field(fields: &mut std::vec::IntoIter<wire::Field>) -> Option<Field> {
    let next = fields.next()?;
    let children: Vec<Field> = (0..next.children).map_while(|_| field(fields)).collect();
    Some(Field::new(next.name, data_type(next.data_type, children), next.nullable))
}

fn node(node: wire::Node) -> Node {
    let schema = schema(node.schema);
    Node {
        name: node.name,
        operator: operator(node.operator, &schema),
        inputs: node.inputs.into_iter().map(NodeId).collect(),
        schema,
        key_columns: node.key_columns as usize,
    }
}

fn data_type(data_type: wire::DataType, children: Vec<Field>) -> DataType {
    let only = || children.first().cloned().expect("the SDK gives lists and maps their child");
    match data_type {
        wire::DataType::Decimal(decimal) => DataType::Decimal128(decimal.precision, decimal.scale.cast_signed()),
        wire::DataType::Int8 => DataType::Int8,
        wire::DataType::Int16 => DataType::Int16,
        wire::DataType::Int32 => DataType::Int32,
        wire::DataType::Uint8 => DataType::UInt8,
        wire::DataType::Uint16 => DataType::UInt16,
        wire::DataType::Uint32 => DataType::UInt32,
        wire::DataType::Uint64 => DataType::UInt64,
        wire::DataType::Float32 => DataType::Float32,
        wire::DataType::Date => DataType::Date32,
        wire::DataType::Duration => DURATION,
        wire::DataType::Struct => DataType::Struct(children.into()),
        wire::DataType::List => list_of(only().data_type().clone(), only().is_nullable()),
        wire::DataType::Map => DataType::Map(Arc::new(only()), false),
        wire::DataType::Boolean => DataType::Boolean,
        wire::DataType::Int64 => DataType::Int64,
        wire::DataType::Float64 => DataType::Float64,
        wire::DataType::Utf8 => DataType::Utf8,
        wire::DataType::Binary => DataType::Binary,
        wire::DataType::Timestamp => TIMESTAMP,
    }
}

fn operator(operator: wire::Operator, columns: &SchemaRef) -> Operator {
    match operator {
        wire::Operator::Source(name) => Operator::Source(name),
        wire::Operator::Stage(stage) => Operator::Stage(stage.label),
        wire::Operator::Transform(name) => Operator::Transform(name),
        wire::Operator::Union => Operator::Union,
        wire::Operator::Reduce(reduce) => {
            Operator::Reduce(plan::Reduce { merge: merge(reduce.merge), zero_when_empty: reduce.zero_when_empty })
        }
        wire::Operator::Window(parts) => Operator::Window(window(parts)),
        wire::Operator::ReduceWindow(reduce) => Operator::ReduceWindow(plan::ReduceWindow {
            window: window(reduce.window),
            merge: merge(reduce.merge),
            invertible: reduce.invertible,
            keep_empty_keys: reduce.keep_empty_keys,
            zero_when_empty: reduce.zero_when_empty,
        }),
        wire::Operator::UpdateState(update) => {
            let initial = initial(columns, update.initial);
            Operator::UpdateState { every_batch: update.every_batch, with_keys: update.with_keys, initial }
        }
        wire::Operator::Sort(sort) => {
            let ordering = |ordering: wire::Ordering| plan::Ordering {
                column: ordering.column as usize,
                descending: ordering.descending,
            };
            Operator::Sort(plan::Sort {
                order: sort.order.into_iter().map(ordering).collect(),
                limit: sort.limit,
                hidden_columns: sort.hidden_columns as usize,
            })
        }
        wire::Operator::Take(rows) => Operator::Take(rows),
        wire::Operator::Sink(name) => Operator::Sink(name),
        wire::Operator::MapWithState(map) => {
            let state = schema(map.state);
            let initial = initial(&state, map.initial);
            Operator::MapWithState(plan::MapWithState { state, timeout_ms: map.timeout_ms, initial })
        }
        wire::Operator::StateSnapshots => Operator::StateSnapshots,
        wire::Operator::ReduceSession(session) => {
            Operator::ReduceSession(plan::ReduceSession { merge: merge(session.merge), gap_ms: session.gap_ms })
        }
        wire::Operator::Repartition(partitions) => Operator::Repartition(partitions),
        wire::Operator::WholeBatch(stage) => Operator::WholeBatch(stage.label),
        wire::Operator::Join(parts) => Operator::Join(join(parts)),
        wire::Operator::Group => Operator::Group,
        wire::Operator::Broadcast(number) => Operator::Broadcast(number as usize),
    }
}

fn initial(schema: &SchemaRef, rows: Option<wire::Batch>) -> Option<RecordBatch> {
    rows.map(|rows| from_wire(schema, rows).expect("the SDK makes rows of the state's columns"))
}

fn window(window: wire::Window) -> plan::Window {
    plan::Window { length_ms: window.length_ms, slide_ms: window.slide_ms }
}

fn join(join: wire::Join) -> plan::Join {
    let kind = match join.kind {
        wire::JoinKind::Inner => plan::JoinKind::Inner,
        wire::JoinKind::LeftOuter => plan::JoinKind::LeftOuter,
        wire::JoinKind::RightOuter => plan::JoinKind::RightOuter,
        wire::JoinKind::FullOuter => plan::JoinKind::FullOuter,
        wire::JoinKind::LeftSemi => plan::JoinKind::LeftSemi,
        wire::JoinKind::LeftAnti => plan::JoinKind::LeftAnti,
    };
    plan::Join { kind, on: join.on as usize, null_equals_null: join.null_equals_null }
}

fn merge(merge: wire::Merge) -> plan::Merge {
    let column = |merge: wire::ColumnMerge| match merge {
        wire::ColumnMerge::Sum => plan::ColumnMerge::Sum,
        wire::ColumnMerge::Min => plan::ColumnMerge::Min,
        wire::ColumnMerge::Max => plan::ColumnMerge::Max,
    };
    match merge {
        wire::Merge::Columns(columns) => plan::Merge::Columns(columns.into_iter().map(column).collect()),
        wire::Merge::Custom => plan::Merge::Custom,
    }
}
