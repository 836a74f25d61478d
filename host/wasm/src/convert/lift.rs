//! What a guest returned, checked and made Arrow arrays. Nothing of it is believed.
//!
//! How many bytes a call may return is limited before they are copied out of the guest (`Store::set_hostcall_fuel`); here
//! they lie in the host's own vectors. Each check names the column, the row and the figure. A vector becomes an Arrow
//! buffer without another copy.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, BinaryArray, BooleanArray, Float64Array, Int64Array, RecordBatch, RecordBatchOptions, StringArray,
    TimestampMicrosecondArray,
};
use arrow::buffer::{BooleanBuffer, Buffer, NullBuffer, OffsetBuffer, ScalarBuffer};
use arrow::datatypes::{DataType, Field, SchemaRef};
use millpond_core::schema::type_name;
use millpond_core::{Rejection, StageOutput};

use crate::bindings::job::millpond::plugin::types::{self, ColumnDataResult};
use crate::error::{Error, Place, Result, is_printable, printable};

/// How much of a rejection's reason is kept, as the contract says.
const REASON_BYTES_MAX: usize = 1024;

/// What is wrong with an answer, before the place of the call is known.
#[derive(Debug, PartialEq, Eq)]
enum Fault {
    Malformed(String),
    NotUtf8(String),
    Schema(String),
}

impl Fault {
    fn at(self, place: &Place) -> Error {
        let place = Box::new(place.clone());
        match self {
            Self::Malformed(reason) => Error::Malformed { place, reason },
            Self::NotUtf8(reason) => Error::NotUtf8 { place, reason },
            Self::Schema(reason) => Error::Schema { place, reason },
        }
    }
}

/// A batch of `schema`; with `rows`, of exactly so many rows.
pub(crate) fn batch(
    place: &Place,
    schema: &SchemaRef,
    rows: Option<usize>,
    raw: types::BatchResult,
) -> Result<RecordBatch> {
    record_batch(schema, rows, raw).map_err(|fault| fault.at(place))
}

/// What a stage returned for an input of `input_rows` rows.
pub(crate) fn stage_output(
    place: &Place,
    schema: &SchemaRef,
    input_rows: usize,
    raw: types::StageOutput,
) -> Result<StageOutput> {
    let rejected = rejections(input_rows, raw.rejected).map_err(|fault| fault.at(place))?;
    Ok(StageOutput { batch: batch(place, schema, None, raw.batch)?, rejected })
}

/// A bitmap of `len` flags without nulls.
pub(crate) fn flags(place: &Place, name: &str, len: usize, bytes: Vec<u8>) -> Result<BooleanArray> {
    let bits = bitmap(name, len, bytes).map_err(|fault| fault.at(place))?;
    Ok(BooleanArray::new(bits, None))
}

fn record_batch(schema: &SchemaRef, rows: Option<usize>, raw: types::BatchResult) -> Result<RecordBatch, Fault> {
    let fields = schema.fields();
    if raw.columns.len() != fields.len() {
        let (found, expected) = (raw.columns.len(), fields.len());
        return Err(Fault::Schema(format!("it returned {found} columns, and declared {expected}")));
    }
    let found = raw.rows as usize;
    if let Some(expected) = rows.filter(|expected| *expected != found) {
        return Err(Fault::Malformed(format!(
            "the batch has {found} rows, and {expected} are needed: one for each input row or group"
        )));
    }
    let columns = fields.iter().zip(raw.columns).map(|(field, raw)| column(field, found, raw));
    let columns = columns.collect::<Result<Vec<_>, _>>()?;
    let options = RecordBatchOptions::new().with_row_count(Some(found));
    RecordBatch::try_new_with_options(Arc::clone(schema), columns, &options)
        .map_err(|error| Fault::Malformed(error.to_string()))
}

fn column(field: &Field, rows: usize, raw: types::ColumnResult) -> Result<ArrayRef, Fault> {
    let nulls = validity(field, rows, raw.validity)?;
    let array: ArrayRef = match (field.data_type(), raw.data) {
        (DataType::Boolean, ColumnDataResult::Boolean(bytes)) => {
            Arc::new(BooleanArray::new(bitmap(&label(field, "values"), rows, bytes)?, nulls))
        }
        (DataType::Int64, ColumnDataResult::Int64(values)) => {
            Arc::new(Int64Array::new(fixed(field, rows, values)?, nulls))
        }
        (DataType::Float64, ColumnDataResult::Float64(values)) => {
            Arc::new(Float64Array::new(fixed(field, rows, values)?, nulls))
        }
        (DataType::Timestamp(..), ColumnDataResult::Timestamp(values)) => {
            Arc::new(TimestampMicrosecondArray::new(fixed(field, rows, values)?, nulls))
        }
        (DataType::Utf8, ColumnDataResult::Utf8(raw)) => Arc::new(text(field, rows, raw, nulls)?),
        (DataType::Binary, ColumnDataResult::Binary(raw)) => {
            let (offsets, bytes) = variable(field, rows, raw)?;
            Arc::new(BinaryArray::try_new(offsets, bytes, nulls).map_err(|error| malformed(field, &error))?)
        }
        (expected, other) => {
            let (expected, found) = (type_name(expected).unwrap_or("another type"), kind(&other));
            return Err(Fault::Schema(format!("column `{}` is {found}, and was declared {expected}", field.name())));
        }
    };
    Ok(array)
}

fn kind(data: &ColumnDataResult) -> &'static str {
    match data {
        ColumnDataResult::Boolean(_) => "boolean",
        ColumnDataResult::Int64(_) => "int64",
        ColumnDataResult::Float64(_) => "float64",
        ColumnDataResult::Utf8(_) => "utf8",
        ColumnDataResult::Binary(_) => "binary",
        ColumnDataResult::Timestamp(_) => "timestamp",
    }
}

fn label(field: &Field, part: &str) -> String {
    format!("the {part} of column `{}`", field.name())
}

fn malformed(field: &Field, error: &dyn std::fmt::Display) -> Fault {
    Fault::Malformed(format!("column `{}`: {error}", field.name()))
}

fn validity(field: &Field, rows: usize, bytes: Option<Vec<u8>>) -> Result<Option<NullBuffer>, Fault> {
    let Some(bytes) = bytes else { return Ok(None) };
    if !field.is_nullable() {
        let reason = format!("column `{}` came with a validity bitmap, and was declared as never null", field.name());
        return Err(Fault::Schema(reason));
    }
    let nulls = NullBuffer::new(bitmap(&label(field, "validity"), rows, bytes)?);
    Ok(Some(nulls).filter(|nulls| nulls.null_count() > 0))
}

fn bitmap(label: &str, len: usize, bytes: Vec<u8>) -> Result<BooleanBuffer, Fault> {
    if bytes.len() != len.div_ceil(8) {
        let (found, expected) = (bytes.len(), len.div_ceil(8));
        return Err(Fault::Malformed(format!("{label} have {found} bytes, and a bitmap of {len} rows has {expected}")));
    }
    Ok(BooleanBuffer::new(Buffer::from_vec(bytes), 0, len))
}

fn fixed<T: arrow::datatypes::ArrowNativeType>(
    field: &Field,
    rows: usize,
    values: Vec<T>,
) -> Result<ScalarBuffer<T>, Fault> {
    if values.len() != rows {
        let found = values.len();
        return Err(Fault::Malformed(format!(
            "column `{}` has {found} values, and the batch has {rows} rows",
            field.name()
        )));
    }
    Ok(values.into())
}

/// Checks offsets against bytes. What comes out can be sliced at every row.
fn variable(field: &Field, rows: usize, raw: types::VarDataResult) -> Result<(OffsetBuffer<i32>, Buffer), Fault> {
    let types::VarDataResult { offsets, bytes } = raw;
    let name = field.name();
    if Some(offsets.len()) != rows.checked_add(1) {
        let found = offsets.len();
        return Err(Fault::Malformed(format!(
            "column `{name}` has {found} offsets, and {rows} rows need one more than that"
        )));
    }
    if offsets[0] != 0 {
        return Err(Fault::Malformed(format!("the first offset of column `{name}` is {}, and must be 0", offsets[0])));
    }
    if let Some(row) = offsets.windows(2).position(|pair| pair[0] > pair[1]) {
        let (start, end) = (offsets[row], offsets[row + 1]);
        return Err(Fault::Malformed(format!(
            "column `{name}`, row {row}: the offsets go back, from {start} to {end}"
        )));
    }
    let last = offsets[rows];
    if last as usize != bytes.len() {
        let found = bytes.len();
        return Err(Fault::Malformed(format!(
            "the last offset of column `{name}` is {last}, and it has {found} bytes"
        )));
    }
    if i32::try_from(last).is_err() {
        return Err(Fault::Malformed(format!("column `{name}` has {last} bytes, and a column holds less than 2 GiB")));
    }
    // All are below 2^31 and in order, so their bits mean the same with a sign, and `OffsetBuffer::new` does not panic.
    let offsets = OffsetBuffer::new(ScalarBuffer::new(Buffer::from_vec(offsets), 0, rows + 1));
    Ok((offsets, Buffer::from_vec(bytes)))
}

fn text(
    field: &Field,
    rows: usize,
    raw: types::VarDataResult,
    nulls: Option<NullBuffer>,
) -> Result<StringArray, Fault> {
    let (offsets, bytes) = variable(field, rows, raw)?;
    // Checks the bytes as a whole, then that every offset is at a character's start.
    StringArray::try_new(offsets.clone(), bytes.clone(), nulls).map_err(|error| {
        let bad = offsets
            .windows(2)
            .position(|pair| std::str::from_utf8(&bytes[pair[0] as usize..pair[1] as usize]).is_err());
        match bad {
            Some(row) => Fault::NotUtf8(format!("column `{}`, row {row}", field.name())),
            None => malformed(field, &error),
        }
    })
}

fn rejections(input_rows: usize, raw: Vec<types::Rejection>) -> Result<Vec<Rejection>, Fault> {
    if raw.len() > input_rows {
        return Err(Fault::Malformed(format!("it refused {} rows, and was given {input_rows}", raw.len())));
    }
    let mut next = 0;
    for rejection in &raw {
        let row = rejection.row as usize;
        if row >= input_rows {
            return Err(Fault::Malformed(format!("it refused row {row}, and was given {input_rows} rows")));
        }
        if row < next {
            return Err(Fault::Malformed(format!("it refused row {row} after row {}: each once, in order", next - 1)));
        }
        next = row + 1;
    }
    let shown = |rejection: types::Rejection| Rejection { row: rejection.row, reason: shorten(rejection.reason) };
    Ok(raw.into_iter().map(shown).collect())
}

/// A reason as the reports may print it.
fn shorten(reason: String) -> String {
    if reason.len() <= REASON_BYTES_MAX && is_printable(&reason) {
        return reason;
    }
    let mut reason = printable(&reason[..reason.floor_char_boundary(REASON_BYTES_MAX)], usize::MAX);
    reason.truncate(reason.floor_char_boundary(REASON_BYTES_MAX));
    reason
}
