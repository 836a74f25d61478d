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
    Array, ArrayRef, BinaryArray, BooleanArray, Float64Array, Int64Array, ListArray, MapArray, RecordBatch,
    StringArray, StructArray, TimestampMicrosecondArray,
};
use arrow::buffer::{NullBuffer, OffsetBuffer};
use arrow::datatypes::{DataType, Field};
use millpond::Row;
use millpond::runtime::batch_to_rows;
use proptest::collection::{SizeRange, vec};
use proptest::prelude::*;

use crate::assert::schema_of;
use crate::convert;

/// Rows of any type, so many.
///
/// Values are ordinary ones and those at which code tends to go wrong: empty and long text, characters of several bytes, the ends of
/// integer types, infinities, nulls. Few keys are drawn often, so that rows of the same key meet.
pub fn rows<T: Row + Debug>(size: impl Into<SizeRange>) -> impl Strategy<Value = Vec<T>> {
    vec(row::<T>(), size)
}

/// One row of any type.
pub fn row<T: Row + Debug>() -> impl Strategy<Value = T> {
    let schema = schema_of::<T>();
    let fields: Vec<BoxedStrategy<Cell>> = schema.fields().iter().map(|field| cell(field)).collect();
    fields.prop_filter_map("values that the row's type cannot hold", move |cells| {
        let columns = schema.fields().iter().zip(&cells).map(|(field, cell)| array(field.data_type(), &[cell]));
        let batch = RecordBatch::try_new(Arc::clone(&schema), columns.collect()).ok()?;
        batch_to_rows::<T>(convert::to_wire(&batch)).ok()?.pop()
    })
}

/// A value of any type.
#[derive(Clone, Debug)]
enum Cell {
    Null,
    Bool(bool),
    /// Also times.
    Int(i64),
    Float(f64),
    Text(String),
    Bytes(Vec<u8>),
    /// A struct's fields, a list's values, a map's entries.
    Many(Vec<Cell>),
}

fn cell(field: &Field) -> BoxedStrategy<Cell> {
    let value = value(field.data_type());
    if field.is_nullable() { prop_oneof![1 => Just(Cell::Null), 3 => value].boxed() } else { value }
}

/// How many values a list has, at most.
const LIST_MAX: usize = 4;

fn value(data_type: &DataType) -> BoxedStrategy<Cell> {
    match data_type {
        DataType::Boolean => any::<bool>().prop_map(Cell::Bool).boxed(),
        DataType::Int64 => integers().prop_map(Cell::Int).boxed(),
        // Up to the year 9999, which is as far as text goes.
        DataType::Timestamp(..) => (0_i64..253_402_300_800_000_000).prop_map(Cell::Int).boxed(),
        DataType::Float64 => floats().prop_map(Cell::Float).boxed(),
        DataType::Binary => vec(any::<u8>(), 0..6).prop_map(Cell::Bytes).boxed(),
        DataType::Struct(fields) => {
            fields.iter().map(|field| cell(field)).collect::<Vec<_>>().prop_map(Cell::Many).boxed()
        }
        DataType::List(item) => vec(cell(item), 0..LIST_MAX).prop_map(Cell::Many).boxed(),
        // Two entries could have one key, which no map has.
        DataType::Map(entries, _) => vec(cell(entries), 0..2).prop_map(Cell::Many).boxed(),
        _ => texts().prop_map(Cell::Text).boxed(),
    }
}

fn integers() -> impl Strategy<Value = i64> {
    let ends = [
        i64::MIN,
        i64::from(i32::MIN),
        i64::from(i16::MIN),
        i64::from(i8::MIN),
        i64::from(i8::MAX),
        i64::from(u8::MAX),
        i64::from(u16::MAX),
        i64::from(u32::MAX),
        i64::MAX,
    ];
    prop_oneof![6 => -4_i64..5, 2 => -1000_i64..1000, 1 => proptest::sample::select(ends.to_vec()), 1 => any::<i64>()]
}

fn floats() -> impl Strategy<Value = f64> {
    let odd = [0.0, -0.0, f64::INFINITY, f64::NEG_INFINITY, f64::MAX, f64::MIN_POSITIVE];
    prop_oneof![6 => (-8_i32..9).prop_map(|half| f64::from(half) / 2.0), 1 => proptest::sample::select(odd.to_vec()), 2 => any::<f64>()]
}

fn texts() -> impl Strategy<Value = String> {
    prop_oneof![6 => "[a-c]{1,2}", 1 => Just(String::new()), 2 => "[ -~äπ水🦀]{0,8}", 1 => "[a-z]{100,200}"]
}

/// Cells of one type as a column.
fn array(data_type: &DataType, cells: &[&Cell]) -> ArrayRef {
    let nulls = || NullBuffer::from_iter(cells.iter().map(|cell| !matches!(cell, Cell::Null)));
    let ints = || cells.iter().map(|cell| if let Cell::Int(value) = cell { Some(*value) } else { None });
    let many = |cell: &&Cell| if let Cell::Many(cells) = *cell { cells.clone() } else { Vec::new() };
    let children: Vec<Vec<Cell>> = cells.iter().map(many).collect();
    let lengths = || OffsetBuffer::<i32>::from_lengths(children.iter().map(Vec::len));
    let flat: Vec<&Cell> = children.iter().flatten().collect();
    match data_type {
        DataType::Boolean => {
            let values = cells.iter().map(|cell| if let Cell::Bool(value) = cell { Some(*value) } else { None });
            Arc::new(values.collect::<BooleanArray>())
        }
        DataType::Int64 => Arc::new(ints().collect::<Int64Array>()),
        DataType::Timestamp(..) => Arc::new(ints().collect::<TimestampMicrosecondArray>()),
        DataType::Float64 => {
            let values = cells.iter().map(|cell| if let Cell::Float(value) = cell { Some(*value) } else { None });
            Arc::new(values.collect::<Float64Array>())
        }
        DataType::Binary => {
            let values = cells.iter().map(|cell| if let Cell::Bytes(value) = cell { Some(value) } else { None });
            Arc::new(values.collect::<BinaryArray>())
        }
        DataType::Struct(fields) => {
            let null = Cell::Null;
            let column = |at: usize| children.iter().map(|row| row.get(at).unwrap_or(&null)).collect::<Vec<_>>();
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
        _ => {
            let values = cells.iter().map(|cell| if let Cell::Text(value) = cell { Some(value) } else { None });
            Arc::new(values.collect::<StringArray>())
        }
    }
}
