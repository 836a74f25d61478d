//! [proptest](https://docs.rs/proptest) strategies for rows, those with `#[derive(Row)]` included: feature `proptest`.
//!
//! ```
//! use millpond::Row;
//! use millpond_test::strategies;
//! use proptest::prelude::*;
//!
//! #[derive(Row, Clone, Debug)]
//! struct Visit {
//!     page: String,
//!     bytes: Option<i64>,
//! }
//!
//! proptest! {
//!     fn nothing_panics(visits in strategies::rows::<Visit>(0..20)) {
//!         prop_assert!(visits.len() < 20);
//!     }
//! }
//! nothing_panics();
//! ```

use std::fmt::Debug;
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, ArrowPrimitiveType, BinaryArray, BooleanArray, Float32Array, Float64Array, ListArray, MapArray,
    PrimitiveArray, RecordBatch, StringArray, StructArray,
};
use arrow::buffer::{NullBuffer, OffsetBuffer};
use arrow::datatypes::{
    DataType, Date32Type, Decimal128Type, DurationMicrosecondType, Field, Int8Type, Int16Type, Int32Type, Int64Type,
    TimestampMicrosecondType, UInt8Type, UInt16Type, UInt32Type, UInt64Type,
};
use millpond::Row;
use millpond::runtime::batch_to_rows;
use proptest::collection::{SizeRange, vec};
use proptest::prelude::*;
use proptest::sample::select;

use crate::assert::schema_of;
use crate::convert;

/// Rows of any type, so many.
///
/// Values are ordinary ones and those at which code tends to go wrong: empty and long text, characters of several bytes, the
/// ends of number types, infinities, nulls. Every name of an enum is drawn as often. Few keys are drawn often, so that rows of
/// the same key meet.
pub fn rows<T: Row + Debug>(size: impl Into<SizeRange>) -> impl Strategy<Value = Vec<T>> {
    vec(row::<T>(), size)
}

/// One row of any type.
pub fn row<T: Row + Debug>() -> impl Strategy<Value = T> {
    let schema = schema_of::<T>();
    let mut names = Vec::new();
    T::leaf_names(&mut names);
    let mut names = names.into_iter();
    let fields: Vec<BoxedStrategy<Cell>> = schema.fields().iter().map(|field| cell(field, &mut names)).collect();
    debug_assert!(names.next().is_none(), "every column without children has its names");
    fields.prop_filter_map("values that the row's type cannot hold", move |cells| {
        let columns = schema.fields().iter().zip(&cells).map(|(field, cell)| array(field.data_type(), &[cell]));
        let batch = RecordBatch::try_new(Arc::clone(&schema), columns.collect()).ok()?;
        batch_to_rows::<T>(convert::to_wire(&batch)).ok()?.pop()
    })
}

/// For each column without children, the names that it may have; none if it may have any value.
type Names = std::vec::IntoIter<&'static [&'static str]>;

/// A value of any type.
#[derive(Clone, Debug)]
enum Cell {
    Null,
    Bool(bool),
    /// Also times, and decimals in units of their last digit.
    Int(i128),
    Float(f64),
    Text(String),
    Bytes(Vec<u8>),
    /// A struct's fields, a list's values, a map's entries.
    Many(Vec<Cell>),
    /// A null struct, and what its fields have all the same: their columns need not be nullable, and an enum's slot is a name.
    Absent(Vec<Cell>),
}

fn cell(field: &Field, names: &mut Names) -> BoxedStrategy<Cell> {
    let value = value(field.data_type(), names);
    if !field.is_nullable() {
        return value;
    }
    let is_struct = matches!(field.data_type(), DataType::Struct(_));
    let null = value.clone().prop_map(move |value| match value {
        Cell::Many(fields) if is_struct => Cell::Absent(fields),
        _ => Cell::Null,
    });
    prop_oneof![1 => null, 3 => value].boxed()
}

/// How many values a list has, at most.
const LIST_MAX: usize = 4;

/// 0001-01-01 and 9999-12-31, which is as far as text goes, in days.
const DAYS: (i128, i128) = (-719_162, 2_932_896);

fn value(data_type: &DataType, names: &mut Names) -> BoxedStrategy<Cell> {
    match data_type {
        DataType::Struct(fields) => {
            fields.iter().map(|field| cell(field, names)).collect::<Vec<_>>().prop_map(Cell::Many).boxed()
        }
        DataType::List(item) => vec(cell(item, names), 0..LIST_MAX).prop_map(Cell::Many).boxed(),
        // Two entries could have one key, which no map has.
        DataType::Map(entries, _) => vec(cell(entries, names), 0..2).prop_map(Cell::Many).boxed(),
        leaf => match names.next() {
            None | Some([]) => leaf_value(leaf),
            Some(names) => select(names).prop_map(|name| Cell::Text(name.to_owned())).boxed(),
        },
    }
}

/// A value of a type without children.
fn leaf_value(data_type: &DataType) -> BoxedStrategy<Cell> {
    match data_type {
        DataType::Boolean => any::<bool>().prop_map(Cell::Bool).boxed(),
        DataType::Int8 => integers(i8::MIN, i8::MAX),
        DataType::Int16 => integers(i16::MIN, i16::MAX),
        DataType::Int32 => integers(i32::MIN, i32::MAX),
        DataType::Int64 | DataType::Duration(_) => integers(i64::MIN, i64::MAX),
        DataType::UInt8 => integers(u8::MIN, u8::MAX),
        DataType::UInt16 => integers(u16::MIN, u16::MAX),
        DataType::UInt32 => integers(u32::MIN, u32::MAX),
        DataType::UInt64 => integers(u64::MIN, u64::MAX),
        DataType::Decimal128(precision, _) => {
            let most = 10_i128.pow(u32::from(*precision)) - 1;
            integers(-most, most)
        }
        DataType::Date32 => integers(DAYS.0, DAYS.1),
        // Up to the year 9999, which is as far as text goes.
        DataType::Timestamp(..) => (0_i128..253_402_300_800_000_000).prop_map(Cell::Int).boxed(),
        DataType::Float32 => {
            let ends = [f32::MAX, f32::MIN_POSITIVE].map(f64::from);
            prop_oneof![9 => floats(), 1 => select(ends.to_vec())].prop_map(Cell::Float).boxed()
        }
        DataType::Float64 => floats().prop_map(Cell::Float).boxed(),
        DataType::Binary => vec(any::<u8>(), 0..6).prop_map(Cell::Bytes).boxed(),
        _ => texts().prop_map(Cell::Text).boxed(),
    }
}

/// Small ones, any, and those at the ends of this type and of others; what is beyond is the end.
fn integers(min: impl Into<i128>, max: impl Into<i128>) -> BoxedStrategy<Cell> {
    let (min, max) = (min.into(), max.into());
    let ends = [
        i64::MIN.into(),
        i32::MIN.into(),
        i16::MIN.into(),
        i8::MIN.into(),
        i8::MAX.into(),
        u8::MAX.into(),
        u16::MAX.into(),
        u32::MAX.into(),
        i64::MAX.into(),
        min,
        max,
    ];
    prop_oneof![6 => -4_i128..5, 2 => -1000_i128..1000, 1 => select(ends.to_vec()), 1 => min..=max]
        .prop_map(move |value| Cell::Int(value.clamp(min, max)))
        .boxed()
}

fn floats() -> impl Strategy<Value = f64> {
    let odd = [0.0, -0.0, f64::INFINITY, f64::NEG_INFINITY, f64::MAX, f64::MIN_POSITIVE];
    prop_oneof![6 => (-8_i32..9).prop_map(|half| f64::from(half) / 2.0), 1 => select(odd.to_vec()), 2 => any::<f64>()]
}

fn texts() -> impl Strategy<Value = String> {
    prop_oneof![6 => "[a-c]{1,2}", 1 => Just(String::new()), 2 => "[ -~äπ水🦀]{0,8}", 1 => "[a-z]{100,200}"]
}

/// Cells of one type as a column.
fn array(data_type: &DataType, cells: &[&Cell]) -> ArrayRef {
    let there = |cell: &&Cell| !matches!(cell, Cell::Null | Cell::Absent(_));
    let nulls = || NullBuffer::from_iter(cells.iter().map(there));
    let many =
        |cell: &&Cell| if let Cell::Many(cells) | Cell::Absent(cells) = *cell { cells.clone() } else { Vec::new() };
    let children: Vec<Vec<Cell>> = cells.iter().map(many).collect();
    let lengths = || OffsetBuffer::<i32>::from_lengths(children.iter().map(Vec::len));
    let flat: Vec<&Cell> = children.iter().flatten().collect();
    match data_type {
        DataType::Struct(fields) => {
            let column = |at: usize| children.iter().map(|row| &row[at]).collect::<Vec<_>>();
            let columns = fields.iter().enumerate().map(|(at, field)| array(field.data_type(), &column(at)));
            Arc::new(StructArray::new(fields.clone(), columns.collect(), Some(nulls())))
        }
        DataType::List(item) => {
            let values = array(item.data_type(), &flat);
            Arc::new(ListArray::new(Arc::clone(item), lengths(), values, Some(nulls())))
        }
        DataType::Map(entries, sorted) => {
            let values = array(entries.data_type(), &flat);
            let values = StructArray::from(values.to_data());
            Arc::new(MapArray::new(Arc::clone(entries), lengths(), values, Some(nulls()), *sorted))
        }
        leaf => leaf_array(leaf, cells),
    }
}

/// Cells of a type without children as a column.
fn leaf_array(data_type: &DataType, cells: &[&Cell]) -> ArrayRef {
    let floats = || cells.iter().map(|cell| if let Cell::Float(value) = cell { Some(*value) } else { None });
    match data_type {
        DataType::Boolean => {
            let values = cells.iter().map(|cell| if let Cell::Bool(value) = cell { Some(*value) } else { None });
            Arc::new(values.collect::<BooleanArray>())
        }
        DataType::Int8 => Arc::new(int_array::<Int8Type>(cells)),
        DataType::Int16 => Arc::new(int_array::<Int16Type>(cells)),
        DataType::Int32 => Arc::new(int_array::<Int32Type>(cells)),
        DataType::Int64 => Arc::new(int_array::<Int64Type>(cells)),
        DataType::UInt8 => Arc::new(int_array::<UInt8Type>(cells)),
        DataType::UInt16 => Arc::new(int_array::<UInt16Type>(cells)),
        DataType::UInt32 => Arc::new(int_array::<UInt32Type>(cells)),
        DataType::UInt64 => Arc::new(int_array::<UInt64Type>(cells)),
        DataType::Decimal128(..) => Arc::new(int_array::<Decimal128Type>(cells).with_data_type(data_type.clone())),
        DataType::Date32 => Arc::new(int_array::<Date32Type>(cells)),
        DataType::Duration(_) => Arc::new(int_array::<DurationMicrosecondType>(cells)),
        DataType::Timestamp(..) => Arc::new(int_array::<TimestampMicrosecondType>(cells)),
        DataType::Float32 => Arc::new(floats().map(|value| value.map(|value| value as f32)).collect::<Float32Array>()),
        DataType::Float64 => Arc::new(floats().collect::<Float64Array>()),
        DataType::Binary => {
            let values = cells.iter().map(|cell| if let Cell::Bytes(value) = cell { Some(value) } else { None });
            Arc::new(values.collect::<BinaryArray>())
        }
        _ => {
            let values = cells.iter().map(|cell| if let Cell::Text(value) = cell { Some(value) } else { None });
            Arc::new(values.collect::<StringArray>())
        }
    }
}

fn int_array<T: ArrowPrimitiveType<Native: TryFrom<i128>>>(cells: &[&Cell]) -> PrimitiveArray<T> {
    let value = |value: i128| <T::Native>::try_from(value).ok().expect("values are drawn from the range of their type");
    cells.iter().map(|cell| if let Cell::Int(int) = cell { Some(value(*int)) } else { None }).collect()
}
