//! Values to bytes: the encoding that `key.rs` draws.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray};
use arrow::datatypes::{DataType, Field, Float64Type, Int64Type, TimestampMicrosecondType};

use crate::primitive::{Ordinal, with_primitive};

/// Appends one column's values to byte strings.
pub(crate) struct ColumnEncoder<'a> {
    column: &'a ArrayRef,
    nullable: bool,
    form: Form,
    descending: bool,
}

/// How a value is written.
#[derive(Clone, Copy)]
struct Form {
    /// Text and binary are escaped and terminated, as something follows or the order is turned round.
    terminated: bool,
    /// Floats stay as they are.
    exact: bool,
}

impl<'a> ColumnEncoder<'a> {
    pub(super) fn of_key(fields: &[Arc<Field>], columns: &'a [ArrayRef]) -> Vec<Self> {
        let last = columns.len().saturating_sub(1);
        let encoder = |(index, (field, column)): (usize, (&Arc<Field>, &'a ArrayRef))| Self {
            column,
            nullable: field.is_nullable(),
            form: Form { terminated: index != last, exact: false },
            descending: false,
        };
        fields.iter().zip(columns).enumerate().map(encoder).collect()
    }

    /// An encoder for sorting: the bytes of one column never run into the next one's.
    pub(crate) fn for_order(column: &'a ArrayRef, descending: bool) -> Self {
        Self { column, nullable: true, form: Form { terminated: true, exact: false }, descending }
    }

    /// An encoder that loses nothing: what [`decode`](super::decode) makes of a column of such bytes is the column.
    pub(crate) fn exact(column: &'a ArrayRef, nullable: bool) -> Self {
        Self { column, nullable, form: Form { terminated: false, exact: true }, descending: false }
    }

    pub(crate) fn append(&self, row: usize, out: &mut Vec<u8>) {
        let start = out.len();
        value_or_null(self.nullable, self.column, row, self.form, out);
        if self.descending {
            out[start..].iter_mut().for_each(|byte| *byte = !*byte);
        }
    }
}

fn value_or_null(nullable: bool, column: &dyn Array, row: usize, form: Form, out: &mut Vec<u8>) {
    if nullable {
        let null = column.is_null(row);
        out.push(u8::from(!null));
        if null {
            return;
        }
    }
    value(column, row, form, out);
}

fn value(column: &dyn Array, row: usize, form: Form, out: &mut Vec<u8>) {
    match column.data_type() {
        DataType::Boolean => out.push(u8::from(column.as_boolean().value(row))),
        DataType::Int64 => out.extend(integer(column.as_primitive::<Int64Type>().value(row))),
        DataType::Timestamp(..) => out.extend(integer(column.as_primitive::<TimestampMicrosecondType>().value(row))),
        DataType::Float64 if form.exact => out.extend(exact_float(column.as_primitive::<Float64Type>().value(row))),
        DataType::Float64 => out.extend(float(column.as_primitive::<Float64Type>().value(row))),
        DataType::Utf8 => bytes(column.as_string::<i32>().value(row).as_bytes(), form, out),
        DataType::Binary => bytes(column.as_binary::<i32>().value(row), form, out),
        other => with_primitive!(
            other,
            T => column.as_primitive::<T>().value(row).put(form.exact, out),
            else nested(column, row, Form { terminated: true, ..form }, out)
        ),
    }
}

fn nested(column: &dyn Array, row: usize, form: Form, out: &mut Vec<u8>) {
    match column.data_type() {
        DataType::Struct(fields) => {
            for (field, column) in fields.iter().zip(column.as_struct().columns()) {
                value_or_null(field.is_nullable(), column, row, form, out);
            }
        }
        DataType::List(item) => {
            let list = column.as_list::<i32>();
            values(list.value_offsets(), row, item, list.values(), form, out);
        }
        DataType::Map(entries, _) => {
            let map = column.as_map();
            values(map.value_offsets(), row, entries, map.entries(), form, out);
        }
        other => unreachable!("the graph lets no column of type {other} through"),
    }
}

fn values(offsets: &[i32], row: usize, item: &Field, values: &dyn Array, form: Form, out: &mut Vec<u8>) {
    for at in offsets[row]..offsets[row + 1] {
        out.push(1);
        value_or_null(item.is_nullable(), values, at as usize, form, out);
    }
    out.push(0);
}

fn bytes(bytes: &[u8], form: Form, out: &mut Vec<u8>) {
    if !form.terminated {
        out.extend_from_slice(bytes);
        return;
    }
    let mut rest = bytes;
    while let Some(zero) = rest.iter().position(|byte| *byte == 0) {
        out.extend_from_slice(&rest[..=zero]);
        out.push(0xff);
        rest = &rest[zero + 1..];
    }
    out.extend_from_slice(rest);
    out.extend_from_slice(&[0, 0]);
}

/// Eight bytes that sort as the numbers do.
pub(crate) fn integer(value: i64) -> [u8; 8] {
    (value.cast_unsigned() ^ (1 << 63)).to_be_bytes()
}

/// Eight bytes that sort as the numbers do; all NaN are one, and last.
pub(crate) fn float(value: f64) -> [u8; 8] {
    let value = if value.is_nan() {
        f64::NAN
    } else if value == 0.0 {
        0.0
    } else {
        value
    };
    exact_float(value)
}

fn exact_float(value: f64) -> [u8; 8] {
    let bits = value.to_bits();
    let flipped = if bits >> 63 == 1 { !bits } else { bits | (1 << 63) };
    flipped.to_be_bytes()
}
