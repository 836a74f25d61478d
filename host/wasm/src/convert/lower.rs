//! Arrow batches as the contract's columns: borrowed wherever the layout allows.
//!
//! A sliced array is made to begin at 0: offsets are rebased and bitmaps that begin inside a byte are shifted, which copies
//! those (small) buffers once; the bytes and numbers themselves are only ever borrowed.

use std::borrow::Cow;

use arrow::array::{Array, ArrayRef, AsArray, BinaryArray, BooleanArray, RecordBatch, StringArray};
use arrow::buffer::{BooleanBuffer, OffsetBuffer};
use arrow::datatypes::{DataType, Float64Type, Int64Type, TimeUnit, TimestampMicrosecondType};
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
        let columns = batch.columns().iter().enumerate().map(|(number, array)| {
            column(array).ok_or_else(|| LowerError::UnsupportedType {
                column: batch.schema_ref().field(number).name().clone(),
                data_type: array.data_type().to_string(),
            })
        });
        Ok(Self { rows, columns: columns.collect::<Result<_, _>>()? })
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
        }
    }
}

fn column(array: &ArrayRef) -> Option<LoweredColumn<'_>> {
    let data = match array.data_type() {
        DataType::Boolean => LoweredData::Boolean(bitmap(array.as_boolean().values())),
        DataType::Int64 => LoweredData::Int64(array.as_primitive::<Int64Type>().values()),
        DataType::Float64 => LoweredData::Float64(array.as_primitive::<Float64Type>().values()),
        DataType::Utf8 => {
            let array: &StringArray = array.as_string();
            let (offsets, bytes) = variable(array.offsets(), array.value_data());
            LoweredData::Utf8(offsets, bytes)
        }
        DataType::Binary => {
            let array: &BinaryArray = array.as_binary();
            let (offsets, bytes) = variable(array.offsets(), array.value_data());
            LoweredData::Binary(offsets, bytes)
        }
        DataType::Timestamp(TimeUnit::Microsecond, None) => {
            LoweredData::Timestamp(array.as_primitive::<TimestampMicrosecondType>().values())
        }
        _ => return None,
    };
    let nulls = array.nulls().filter(|nulls| nulls.null_count() > 0);
    Some(LoweredColumn { data, validity: nulls.map(|nulls| bitmap(nulls.inner())) })
}

/// The bytes of a bitmap that begins at bit 0.
fn bitmap(bits: &BooleanBuffer) -> Cow<'_, [u8]> {
    let bytes = bits.len().div_ceil(8);
    if bits.offset().is_multiple_of(8) {
        let start = bits.offset() / 8;
        Cow::Borrowed(&bits.values()[start..start + bytes])
    } else {
        Cow::Owned(bits.sliced().as_slice()[..bytes].to_vec())
    }
}

/// Offsets from 0, and the bytes that they are into.
fn variable<'a>(offsets: &'a OffsetBuffer<i32>, bytes: &'a [u8]) -> (Cow<'a, [u32]>, &'a [u8]) {
    // Arrow's offsets are never negative, so their bits mean the same without a sign.
    let unsigned: &[u32] = offsets.inner().inner().typed_data();
    let unsigned = &unsigned[..offsets.len()];
    let (first, last) = (unsigned[0], unsigned[unsigned.len() - 1]);
    let bytes = &bytes[first as usize..last as usize];
    match first {
        0 => (Cow::Borrowed(unsigned), bytes),
        first => (unsigned.iter().map(|offset| offset - first).collect(), bytes),
    }
}

/// A bitmap without nulls, for `present`.
pub(crate) fn flags(flags: &BooleanArray) -> Cow<'_, [u8]> {
    bitmap(flags.values())
}

pub(crate) fn task(task: &TaskInfo) -> types::TaskInfo {
    types::TaskInfo {
        batch_time_ms: task.batch_time.0,
        partition: task.partition.0,
        partitions: task.partitions,
        attempt: task.attempt,
    }
}
