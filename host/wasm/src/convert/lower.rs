//! Arrow batches as the contract's columns: borrowed wherever the layout allows.
//!
//! A sliced array is made to begin at 0: offsets are rebased and bitmaps that begin inside a byte are shifted, which copies
//! those (small) buffers once; the bytes and numbers themselves are only ever borrowed. Nested columns become a flat list:
//! a column is followed by its children, of which only the rows that the column uses cross.

use std::borrow::Cow;

use arrow::array::{Array, AsArray, BinaryArray, BooleanArray, RecordBatch, StringArray};
use arrow::buffer::{BooleanBuffer, OffsetBuffer};
use arrow::datatypes::{
    ArrowPrimitiveType, DataType, Date32Type, Decimal128Type, DurationMicrosecondType, Field, Float32Type, Float64Type,
    Int8Type, Int16Type, Int32Type, Int64Type, TimeUnit, TimestampMicrosecondType, UInt8Type, UInt16Type, UInt32Type,
    UInt64Type,
};
use millpond_core::TaskInfo;

use crate::bindings::job::millpond::plugin::types;

/// A batch ready to cross: owns only what had to be rebuilt.
pub(crate) struct Lowered<'a> {
    rows: u32,
    columns: Vec<LoweredColumn<'a>>,
}

struct LoweredColumn<'a> {
    data: LoweredData<'a>,
    validity: Option<Cow<'a, [u8]>>,
}

enum LoweredData<'a> {
    Boolean(Cow<'a, [u8]>),
    Int64(&'a [i64]),
    Float64(&'a [f64]),
    Utf8(Cow<'a, [u32]>, &'a [u8]),
    Binary(Cow<'a, [u32]>, &'a [u8]),
    Timestamp(&'a [i64]),
    Decimal(&'a [u64]),
    Int8(&'a [i8]),
    Int16(&'a [i16]),
    Int32(&'a [i32]),
    Uint8(&'a [u8]),
    Uint16(&'a [u16]),
    Uint32(&'a [u32]),
    Uint64(&'a [u64]),
    Float32(&'a [f32]),
    Date(&'a [i32]),
    Duration(&'a [i64]),
    Struct,
    List(Cow<'a, [u32]>),
    Map(Cow<'a, [u32]>),
}

/// Rows `start..start + len` of an array.
#[derive(Clone, Copy)]
struct Rows {
    start: usize,
    len: usize,
}

/// Why a batch cannot cross.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum LowerError {
    /// It has more rows than 32 bits count.
    TooManyRows(usize),
    /// A column's type is not one of the contract's: the engine let something through that it should not.
    UnsupportedType { column: String, data_type: String },
}

impl<'a> Lowered<'a> {
    pub(crate) fn try_new(batch: &'a RecordBatch) -> Result<Self, LowerError> {
        let rows = u32::try_from(batch.num_rows()).map_err(|_| LowerError::TooManyRows(batch.num_rows()))?;
        let mut columns = Vec::with_capacity(batch.num_columns());
        for (field, array) in batch.schema_ref().fields().iter().zip(batch.columns()) {
            let all = Rows { start: 0, len: array.len() };
            column(field, array, all, &mut columns).ok_or_else(|| LowerError::UnsupportedType {
                column: field.name().clone(),
                data_type: array.data_type().to_string(),
            })?;
        }
        Ok(Self { rows, columns })
    }

    /// The columns as the bindings want them. Keep them while the batch of [`Lowered::batch`] is in use.
    pub(crate) fn columns(&self) -> Vec<types::ColumnParam<'_>> {
        self.columns.iter().map(LoweredColumn::param).collect()
    }

    pub(crate) fn batch<'b>(&self, columns: &'b [types::ColumnParam<'b>]) -> types::BatchParam<'b> {
        types::BatchParam { rows: self.rows, columns }
    }
}

impl LoweredColumn<'_> {
    fn param(&self) -> types::ColumnParam<'_> {
        types::ColumnParam { data: self.data.param(), validity: self.validity.as_deref() }
    }
}

impl LoweredData<'_> {
    fn param(&self) -> types::ColumnDataParam<'_> {
        match self {
            Self::Boolean(bits) => types::ColumnDataParam::Boolean(bits),
            Self::Int64(values) => types::ColumnDataParam::Int64(values),
            Self::Float64(values) => types::ColumnDataParam::Float64(values),
            Self::Utf8(offsets, bytes) => types::ColumnDataParam::Utf8(types::VarDataParam { offsets, bytes }),
            Self::Binary(offsets, bytes) => types::ColumnDataParam::Binary(types::VarDataParam { offsets, bytes }),
            Self::Timestamp(values) => types::ColumnDataParam::Timestamp(values),
            Self::Decimal(words) => types::ColumnDataParam::Decimal(words),
            Self::Int8(values) => types::ColumnDataParam::Int8(values),
            Self::Int16(values) => types::ColumnDataParam::Int16(values),
            Self::Int32(values) => types::ColumnDataParam::Int32(values),
            Self::Uint8(values) => types::ColumnDataParam::Uint8(values),
            Self::Uint16(values) => types::ColumnDataParam::Uint16(values),
            Self::Uint32(values) => types::ColumnDataParam::Uint32(values),
            Self::Uint64(values) => types::ColumnDataParam::Uint64(values),
            Self::Float32(values) => types::ColumnDataParam::Float32(values),
            Self::Date(values) => types::ColumnDataParam::Date(values),
            Self::Duration(values) => types::ColumnDataParam::Duration(values),
            Self::Struct => types::ColumnDataParam::Struct,
            Self::List(offsets) => types::ColumnDataParam::List(offsets),
            Self::Map(offsets) => types::ColumnDataParam::Map(offsets),
        }
    }
}

/// Appends these rows of a column, and then its children. `None` if its type is not one of the contract's.
fn column<'a>(field: &Field, array: &'a dyn Array, rows: Rows, out: &mut Vec<LoweredColumn<'a>>) -> Option<()> {
    // Where a struct is null its fields may be null too, also those that never are.
    let nulls = array.nulls().filter(|nulls| field.is_nullable() && nulls.null_count() > 0);
    let validity = nulls.map(|nulls| bitmap(nulls.inner(), rows));
    let push = |data| out.push(LoweredColumn { data, validity });
    match array.data_type() {
        DataType::Boolean => push(LoweredData::Boolean(bitmap(array.as_boolean().values(), rows))),
        DataType::Int64 => push(LoweredData::Int64(fixed::<Int64Type>(array, rows))),
        DataType::Float64 => push(LoweredData::Float64(fixed::<Float64Type>(array, rows))),
        DataType::Timestamp(TimeUnit::Microsecond, None) => {
            push(LoweredData::Timestamp(fixed::<TimestampMicrosecondType>(array, rows)));
        }
        DataType::Decimal128(..) => {
            // 128 bits as two words of 64: the same memory on a little-endian machine, which a host of WebAssembly is.
            let words: &[u64] = array.as_primitive::<Decimal128Type>().values().inner().typed_data();
            push(LoweredData::Decimal(&words[2 * rows.start..2 * (rows.start + rows.len)]));
        }
        DataType::Int8 => push(LoweredData::Int8(fixed::<Int8Type>(array, rows))),
        DataType::Int16 => push(LoweredData::Int16(fixed::<Int16Type>(array, rows))),
        DataType::Int32 => push(LoweredData::Int32(fixed::<Int32Type>(array, rows))),
        DataType::UInt8 => push(LoweredData::Uint8(fixed::<UInt8Type>(array, rows))),
        DataType::UInt16 => push(LoweredData::Uint16(fixed::<UInt16Type>(array, rows))),
        DataType::UInt32 => push(LoweredData::Uint32(fixed::<UInt32Type>(array, rows))),
        DataType::UInt64 => push(LoweredData::Uint64(fixed::<UInt64Type>(array, rows))),
        DataType::Float32 => push(LoweredData::Float32(fixed::<Float32Type>(array, rows))),
        DataType::Date32 => push(LoweredData::Date(fixed::<Date32Type>(array, rows))),
        DataType::Duration(TimeUnit::Microsecond) => {
            push(LoweredData::Duration(fixed::<DurationMicrosecondType>(array, rows)))
        }
        DataType::Utf8 => {
            let array: &StringArray = array.as_string();
            let (offsets, bytes) = variable(array.offsets(), array.value_data(), rows);
            push(LoweredData::Utf8(offsets, bytes));
        }
        DataType::Binary => {
            let array: &BinaryArray = array.as_binary();
            let (offsets, bytes) = variable(array.offsets(), array.value_data(), rows);
            push(LoweredData::Binary(offsets, bytes));
        }
        DataType::Struct(fields) => {
            push(LoweredData::Struct);
            for (field, array) in fields.iter().zip(array.as_struct().columns()) {
                column(field, array, rows, out)?;
            }
        }
        DataType::List(item) => {
            let array = array.as_list::<i32>();
            let (offsets, values) = list(array.offsets(), rows);
            push(LoweredData::List(offsets));
            column(item, array.values(), values, out)?;
        }
        DataType::Map(entries, _) => {
            let array = array.as_map();
            let (offsets, values) = list(array.offsets(), rows);
            push(LoweredData::Map(offsets));
            column(entries, array.entries(), values, out)?;
        }
        _ => return None,
    }
    Some(())
}

fn fixed<T: ArrowPrimitiveType>(array: &dyn Array, rows: Rows) -> &[T::Native] {
    &array.as_primitive::<T>().values()[rows.start..rows.start + rows.len]
}

/// The bytes of a bitmap that begins at bit 0.
fn bitmap(bits: &BooleanBuffer, rows: Rows) -> Cow<'_, [u8]> {
    let bytes = rows.len.div_ceil(8);
    let start = bits.offset() + rows.start;
    if start.is_multiple_of(8) {
        Cow::Borrowed(&bits.values()[start / 8..start / 8 + bytes])
    } else {
        Cow::Owned(bits.slice(rows.start, rows.len).sliced().as_slice()[..bytes].to_vec())
    }
}

/// Offsets from 0, and the bytes that they are into.
fn variable<'a>(offsets: &'a OffsetBuffer<i32>, bytes: &'a [u8], rows: Rows) -> (Cow<'a, [u32]>, &'a [u8]) {
    let (offsets, used) = list(offsets, rows);
    (offsets, &bytes[used.start..used.start + used.len])
}

/// Offsets from 0, and the rows that they are into.
fn list(offsets: &OffsetBuffer<i32>, rows: Rows) -> (Cow<'_, [u32]>, Rows) {
    // Arrow's offsets are never negative, so their bits mean the same without a sign.
    let unsigned: &[u32] = offsets.inner().inner().typed_data();
    let unsigned = &unsigned[rows.start..=rows.start + rows.len];
    let (first, last) = (unsigned[0], unsigned[rows.len]);
    let used = Rows { start: first as usize, len: (last - first) as usize };
    match first {
        0 => (Cow::Borrowed(unsigned), used),
        first => (unsigned.iter().map(|offset| offset - first).collect(), used),
    }
}

/// A bitmap without nulls, for `present`.
pub(crate) fn flags(flags: &BooleanArray) -> Cow<'_, [u8]> {
    bitmap(flags.values(), Rows { start: 0, len: flags.len() })
}

pub(crate) fn task(task: &TaskInfo) -> types::TaskInfo {
    types::TaskInfo {
        batch_time_ms: task.batch_time.0,
        partition: task.partition.0,
        partitions: task.partitions,
        attempt: task.attempt,
    }
}
