//! What a guest returned, checked and made Arrow arrays. Nothing of it is believed.
//!
//! How many bytes a call may return is limited before they are copied out of the guest (`Store::set_hostcall_fuel`); here
//! they lie in the host's own vectors. Each check names the column, the row and the figure. A vector becomes an Arrow
//! buffer without another copy.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, AsArray, BinaryArray, BooleanArray, Decimal128Array, ListArray, MapArray, PrimitiveArray, RecordBatch,
    RecordBatchOptions, StringArray, StructArray,
};
use arrow::buffer::{BooleanBuffer, Buffer, NullBuffer, OffsetBuffer, ScalarBuffer};
use arrow::datatypes::{
    ArrowPrimitiveType, DataType, Date32Type, Decimal128Type, DecimalType, DurationMicrosecondType, Field, Fields,
    Float32Type, Float64Type, Int8Type, Int16Type, Int32Type, Int64Type, SchemaRef, TimestampMicrosecondType,
    UInt8Type, UInt16Type, UInt32Type, UInt64Type,
};
use millpond_core::maps::{RepeatedKey, repeated_key};
use millpond_core::schema::{COLUMNS_MAX, children, column_count, difference_of_texts, type_name};
use millpond_core::text;
use millpond_core::{Rejection, StageOutput};

use crate::bindings::job::millpond::plugin::types::{self, ColumnDataResult};
use crate::error::{Error, Place, Result, is_printable, printable};

/// How much of a rejection's reason is kept, as the contract says.
const REASON_BYTES_MAX: usize = 1024;

/// How much of a key is shown. A guess: enough to find it.
const KEY_BYTES_SHOWN: usize = 200;

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
    let declared = column_count(fields);
    if raw.columns.len() != declared {
        let (found, shown) = (raw.columns.len(), columns_differ(fields, &raw.columns));
        return Err(Fault::Schema(format!("it returned {found} columns, and declared {declared}\n{shown}")));
    }
    let found = raw.rows as usize;
    if let Some(expected) = rows.filter(|expected| *expected != found) {
        return Err(Fault::Malformed(format!(
            "the batch has {found} rows, and {expected} are needed: one for each input row or group"
        )));
    }
    let mut reader = Columns { columns: raw.columns.into_iter() };
    let columns =
        fields.iter().map(|field| reader.column(field, field.name(), found)).collect::<Result<Vec<_>, _>>()?;
    let options = RecordBatchOptions::new().with_row_count(Some(found));
    RecordBatch::try_new_with_options(Arc::clone(schema), columns, &options)
        .map_err(|error| Fault::Malformed(error.to_string()))
}

/// What was declared and what was returned, column by column with those inside, which are listed behind that which they are in.
fn columns_differ(declared: &Fields, returned: &[types::ColumnResult]) -> String {
    let mut kinds = Vec::new();
    declared_kinds(declared, &mut kinds);
    // More than could be declared say no more than that they are too many.
    let returned: Vec<&str> = returned.iter().take(COLUMNS_MAX).map(|column| kind(&column.data)).collect();
    difference_of_texts(("declared", &kinds.join(", ")), ("returned", &returned.join(", ")))
}

fn declared_kinds(fields: &[Arc<Field>], kinds: &mut Vec<String>) {
    for field in fields {
        let name = type_name(field.data_type()).unwrap_or_default();
        kinds.push(name.split(['<', '(']).next().unwrap_or_default().to_owned());
        declared_kinds(children(field.data_type()), kinds);
    }
}

/// The columns of an answer, of which there are as many as the schema has fields.
struct Columns {
    columns: std::vec::IntoIter<types::ColumnResult>,
}

impl Columns {
    /// The next column, of so many rows, with its children. `name` is the way to it: `user.tags[]`. How deep columns lie is
    /// bounded, as it is by the schema.
    fn column(&mut self, field: &Field, name: &str, rows: usize) -> Result<ArrayRef, Fault> {
        let raw = self.columns.next().ok_or_else(|| Fault::Schema(format!("column `{name}` is missing")))?;
        let nulls = validity(field, name, rows, raw.validity)?;
        let array: ArrayRef = match (field.data_type(), raw.data) {
            (DataType::Boolean, ColumnDataResult::Boolean(bytes)) => {
                Arc::new(BooleanArray::new(bitmap(&label(name, "values"), rows, bytes)?, nulls))
            }
            (DataType::Decimal128(precision, scale), ColumnDataResult::Decimal(words)) => {
                Arc::new(decimals(name, rows, words, nulls, (*precision, *scale))?)
            }
            (DataType::Int8, ColumnDataResult::Int8(values)) => primitive::<Int8Type>(name, rows, values, nulls)?,
            (DataType::Int16, ColumnDataResult::Int16(values)) => primitive::<Int16Type>(name, rows, values, nulls)?,
            (DataType::Int32, ColumnDataResult::Int32(values)) => primitive::<Int32Type>(name, rows, values, nulls)?,
            (DataType::UInt8, ColumnDataResult::Uint8(values)) => primitive::<UInt8Type>(name, rows, values, nulls)?,
            (DataType::UInt16, ColumnDataResult::Uint16(values)) => primitive::<UInt16Type>(name, rows, values, nulls)?,
            (DataType::UInt32, ColumnDataResult::Uint32(values)) => primitive::<UInt32Type>(name, rows, values, nulls)?,
            (DataType::UInt64, ColumnDataResult::Uint64(values)) => primitive::<UInt64Type>(name, rows, values, nulls)?,
            (DataType::Float32, ColumnDataResult::Float32(values)) => {
                primitive::<Float32Type>(name, rows, values, nulls)?
            }
            (DataType::Date32, ColumnDataResult::Date(values)) => primitive::<Date32Type>(name, rows, values, nulls)?,
            (DataType::Duration(_), ColumnDataResult::Duration(values)) => {
                primitive::<DurationMicrosecondType>(name, rows, values, nulls)?
            }
            (DataType::Int64, ColumnDataResult::Int64(values)) => primitive::<Int64Type>(name, rows, values, nulls)?,
            (DataType::Float64, ColumnDataResult::Float64(values)) => {
                primitive::<Float64Type>(name, rows, values, nulls)?
            }
            (DataType::Timestamp(..), ColumnDataResult::Timestamp(values)) => {
                primitive::<TimestampMicrosecondType>(name, rows, values, nulls)?
            }
            (DataType::Utf8, ColumnDataResult::Utf8(raw)) => Arc::new(utf8(name, rows, raw, nulls)?),
            (DataType::Binary, ColumnDataResult::Binary(raw)) => {
                let (offsets, bytes) = variable(name, rows, raw)?;
                Arc::new(BinaryArray::try_new(offsets, bytes, nulls).map_err(|error| malformed(name, &error))?)
            }
            (DataType::Struct(fields), ColumnDataResult::Struct) => {
                Arc::new(self.structure(fields, name, rows, nulls)?)
            }
            (DataType::List(item), ColumnDataResult::List(raw)) => {
                let (offsets, count) = list(name, rows, raw)?;
                let values = self.column(item, &format!("{name}[]"), count)?;
                let array = ListArray::try_new(Arc::clone(item), offsets, values, nulls);
                Arc::new(array.map_err(|error| malformed(name, &error))?)
            }
            (DataType::Map(entries, sorted), ColumnDataResult::Map(raw)) => {
                let (offsets, count) = list(name, rows, raw)?;
                let values = self.column(entries, &format!("{name}[]"), count)?;
                let array = MapArray::try_new(Arc::clone(entries), offsets, values.as_struct().clone(), nulls, *sorted);
                let array = array.map_err(|error| malformed(name, &error))?;
                each_key_once(name, &array)?;
                Arc::new(array)
            }
            (expected, other) => {
                let (expected, found) = (type_name(expected).unwrap_or_else(|| "another type".into()), kind(&other));
                return Err(Fault::Schema(format!("column `{name}` is {found}, and was declared {expected}")));
            }
        };
        Ok(array)
    }

    fn structure(
        &mut self,
        fields: &Fields,
        name: &str,
        rows: usize,
        nulls: Option<NullBuffer>,
    ) -> Result<StructArray, Fault> {
        let columns = fields.iter().map(|field| self.column(field, &format!("{name}.{}", field.name()), rows));
        let columns = columns.collect::<Result<Vec<_>, _>>()?;
        StructArray::try_new(fields.clone(), columns, nulls).map_err(|error| malformed(name, &error))
    }
}

fn kind(data: &ColumnDataResult) -> &'static str {
    match data {
        ColumnDataResult::Boolean(_) => "boolean",
        ColumnDataResult::Int64(_) => "int64",
        ColumnDataResult::Float64(_) => "float64",
        ColumnDataResult::Utf8(_) => "utf8",
        ColumnDataResult::Binary(_) => "binary",
        ColumnDataResult::Timestamp(_) => "timestamp",
        ColumnDataResult::Decimal(_) => "decimal",
        ColumnDataResult::Int8(_) => "int8",
        ColumnDataResult::Int16(_) => "int16",
        ColumnDataResult::Int32(_) => "int32",
        ColumnDataResult::Uint8(_) => "uint8",
        ColumnDataResult::Uint16(_) => "uint16",
        ColumnDataResult::Uint32(_) => "uint32",
        ColumnDataResult::Uint64(_) => "uint64",
        ColumnDataResult::Float32(_) => "float32",
        ColumnDataResult::Date(_) => "date",
        ColumnDataResult::Duration(_) => "duration",
        ColumnDataResult::Struct => "struct",
        ColumnDataResult::List(_) => "list",
        ColumnDataResult::Map(_) => "map",
    }
}

fn each_key_once(name: &str, map: &MapArray) -> Result<(), Fault> {
    match repeated_key(map).map_err(|error| malformed(name, &error))? {
        None => Ok(()),
        Some(RepeatedKey { row, key }) => {
            let key = printable(&key, KEY_BYTES_SHOWN);
            Err(Fault::Malformed(format!("column `{name}`, row {row}: the map has the key `{key}` more than once")))
        }
    }
}

fn label(name: &str, part: &str) -> String {
    format!("the {part} of column `{name}`")
}

fn malformed(name: &str, error: &dyn std::fmt::Display) -> Fault {
    Fault::Malformed(format!("column `{name}`: {error}"))
}

fn validity(field: &Field, name: &str, rows: usize, bytes: Option<Vec<u8>>) -> Result<Option<NullBuffer>, Fault> {
    let Some(bytes) = bytes else { return Ok(None) };
    if !field.is_nullable() {
        let reason = format!("column `{name}` came with a validity bitmap, and was declared as never null");
        return Err(Fault::Schema(reason));
    }
    let nulls = NullBuffer::new(bitmap(&label(name, "validity"), rows, bytes)?);
    Ok(Some(nulls).filter(|nulls| nulls.null_count() > 0))
}

fn bitmap(label: &str, len: usize, bytes: Vec<u8>) -> Result<BooleanBuffer, Fault> {
    if bytes.len() != len.div_ceil(8) {
        let (found, expected) = (bytes.len(), len.div_ceil(8));
        return Err(Fault::Malformed(format!("{label} have {found} bytes, and a bitmap of {len} rows has {expected}")));
    }
    Ok(BooleanBuffer::new(Buffer::from_vec(bytes), 0, len))
}

fn primitive<T: ArrowPrimitiveType>(
    name: &str,
    rows: usize,
    values: Vec<T::Native>,
    nulls: Option<NullBuffer>,
) -> Result<ArrayRef, Fault> {
    check_rows(name, rows, values.len())?;
    Ok(Arc::new(PrimitiveArray::<T>::new(values.into(), nulls)))
}

fn check_rows(name: &str, rows: usize, found: usize) -> Result<(), Fault> {
    if found != rows {
        return Err(Fault::Malformed(format!("column `{name}` has {found} values, and there are {rows} rows")));
    }
    Ok(())
}

/// Puts the halves of decimals together; those of null rows may be anything.
fn decimals(
    name: &str,
    rows: usize,
    words: Vec<u64>,
    nulls: Option<NullBuffer>,
    (precision, scale): (u8, i8),
) -> Result<Decimal128Array, Fault> {
    let (pairs, rest) = words.as_chunks::<2>();
    if !rest.is_empty() {
        return Err(Fault::Malformed(format!(
            "column `{name}` has {} words, and a decimal has two: {rows} rows need {}",
            words.len(),
            2 * rows
        )));
    }
    check_rows(name, rows, pairs.len())?;
    let value = |[low, high]: &[u64; 2]| (u128::from(*high) << 64 | u128::from(*low)).cast_signed();
    let values: Vec<i128> = pairs.iter().map(value).collect();
    let fits = |row: usize, value: i128| {
        Decimal128Type::is_valid_decimal_precision(value, precision)
            || nulls.as_ref().is_some_and(|nulls| nulls.is_null(row))
    };
    if let Some(row) = values.iter().enumerate().position(|(row, value)| !fits(row, *value)) {
        return Err(Fault::Malformed(format!(
            "column `{name}`, row {row}: a decimal has more digits than the {precision} of its type"
        )));
    }
    let array = Decimal128Array::new(values.into(), nulls).with_precision_and_scale(precision, scale);
    array.map_err(|error| malformed(name, &error))
}

/// Checks offsets against bytes. What comes out can be sliced at every row.
fn variable(name: &str, rows: usize, raw: types::VarDataResult) -> Result<(OffsetBuffer<i32>, Buffer), Fault> {
    let types::VarDataResult { offsets, bytes } = raw;
    let (offsets, last) = ascending(name, rows, offsets, "bytes")?;
    if last != bytes.len() {
        let found = bytes.len();
        return Err(Fault::Malformed(format!(
            "the last offset of column `{name}` is {last}, and it has {found} bytes"
        )));
    }
    Ok((offsets, Buffer::from_vec(bytes)))
}

/// Checks the offsets of a list or map; how many rows its child has.
fn list(name: &str, rows: usize, offsets: Vec<u32>) -> Result<(OffsetBuffer<i32>, usize), Fault> {
    ascending(name, rows, offsets, "values")
}

/// Checks that offsets begin at 0 and never go back; the last comes beside them.
fn ascending(name: &str, rows: usize, offsets: Vec<u32>, what: &str) -> Result<(OffsetBuffer<i32>, usize), Fault> {
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
    if i32::try_from(last).is_err() {
        return Err(Fault::Malformed(format!("column `{name}` has {last} {what}, and a column holds less than 2^31")));
    }
    // All are below 2^31 and in order, so their bits mean the same with a sign, and `OffsetBuffer::new` does not panic.
    Ok((OffsetBuffer::new(ScalarBuffer::new(Buffer::from_vec(offsets), 0, rows + 1)), last as usize))
}

fn utf8(name: &str, rows: usize, raw: types::VarDataResult, nulls: Option<NullBuffer>) -> Result<StringArray, Fault> {
    let (offsets, bytes) = variable(name, rows, raw)?;
    if let Some(column) = text::column(offsets.clone(), bytes.clone(), nulls.clone()) {
        return Ok(column);
    }
    StringArray::try_new(offsets.clone(), bytes.clone(), nulls).map_err(|error| {
        let bad = offsets
            .windows(2)
            .position(|pair| std::str::from_utf8(&bytes[pair[0] as usize..pair[1] as usize]).is_err());
        match bad {
            Some(row) => Fault::NotUtf8(format!("column `{name}`, row {row}")),
            None => malformed(name, &error),
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
