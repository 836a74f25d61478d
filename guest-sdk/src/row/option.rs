//! Nullable columns: `Option` of a row. One of several columns is a struct column here.

use std::cmp::Ordering;

use super::nested::order_all;
use super::{ColumnReader, Element, Key, Ordered, Row, Validity, Value};
use crate::bindings::millpond::plugin::types::{Column, Failure, Field};
use crate::bitmap::Bitmap;
use crate::hash;
use crate::sortkey::ColumnOf;

/// A nullable column: the values, and which rows have one.
#[derive(Clone, Debug, Default)]
pub struct OptionColumns<C> {
    values: C,
    present: Bitmap,
}

impl<T: Value> Row for Option<T> {
    type Ref<'a> = Option<T::Ref<'a>>;
    type Columns = OptionColumns<T::Columns>;
    type Picks = ColumnOf<Option<T>>;
    const WIDTH: usize = 1;

    fn column_fields(name: &str, _nullable: bool, fields: &mut Vec<Field>) {
        T::column_fields(name, true, fields);
    }

    fn leaf_names(leaves: &mut Vec<&'static [&'static str]>) {
        T::leaf_names(leaves);
    }

    fn read_column(reader: &mut ColumnReader<'_>, _nullable: bool) -> Result<(Self::Columns, Validity), Failure> {
        let rows = reader.rows();
        let (values, validity) = T::read_column(reader, true)?;
        let present = validity.and_then(|bytes| Bitmap::try_from_bytes(bytes, rows));
        Ok((OptionColumns { values, present: present.unwrap_or_else(|| Bitmap::all_set(rows)) }, None))
    }

    fn write_column(columns: Self::Columns, _validity: Validity, out: &mut Vec<Column>) {
        let validity = (!columns.present.is_all_set()).then(|| columns.present.into_bytes());
        T::write_column(columns.values, validity, out);
    }

    #[inline]
    fn get(columns: &Self::Columns, row: usize) -> Self::Ref<'_> {
        columns.present.get(row).then(|| T::get(&columns.values, row))
    }

    #[inline]
    fn push(columns: &mut Self::Columns, row: Self::Ref<'_>) {
        columns.present.push(row.is_some());
        match row {
            Some(value) => T::push(&mut columns.values, value),
            None => T::push_empty(&mut columns.values),
        }
    }

    fn push_empty(columns: &mut Self::Columns) {
        Self::push(columns, None);
    }

    fn clear(columns: &mut Self::Columns) {
        T::clear(&mut columns.values);
        columns.present.clear();
    }

    fn byte_len(columns: &Self::Columns) -> usize {
        T::byte_len(&columns.values) + columns.present.byte_len()
    }

    #[inline]
    fn order_at(columns: &Self::Columns, _column: usize, left: usize, right: usize) -> Ordering {
        match (columns.present.get(left), columns.present.get(right)) {
            (true, true) => order_all::<T>(&columns.values, left, right),
            (left, right) => left.cmp(&right),
        }
    }

    fn picks(first: usize) -> ColumnOf<Self> {
        ColumnOf::new(first)
    }

    fn from_ref(row: Self::Ref<'_>) -> Self {
        row.map(T::from_ref)
    }

    #[inline]
    fn to_ref(&self) -> Self::Ref<'_> {
        self.as_ref().map(T::to_ref)
    }
}

impl<T: Value + Key> Key for Option<T> {
    #[inline]
    fn hash(row: Self::Ref<'_>, hash: u64) -> u64 {
        match row {
            Some(value) => T::hash(value, hash::word(hash, 1)),
            None => hash::word(hash, 0),
        }
    }

    #[inline]
    fn same_at(columns: &Self::Columns, row: usize, key: Self::Ref<'_>) -> bool {
        match key {
            Some(value) => columns.present.get(row) && T::same_at(&columns.values, row, value),
            None => !columns.present.get(row),
        }
    }
}

impl<T: Value + Ordered> Ordered for Option<T> {
    #[inline]
    fn order(left: Self::Ref<'_>, right: Self::Ref<'_>) -> Ordering {
        match (left, right) {
            (Some(left), Some(right)) => T::order(left, right),
            _ => left.is_some().cmp(&right.is_some()),
        }
    }
}

impl<T: Value> Element for Option<T> {}
