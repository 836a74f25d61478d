//! Nullable columns: `Option` of a row of one column.

use std::cmp::Ordering;

use super::primitive::single_field;
use super::{ColumnReader, Key, Ordered, Row, Value};
use crate::bindings::millpond::plugin::types::{Batch, Column, Failure, Field};
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

    fn fields(name: &str, fields: &mut Vec<Field>) {
        fields.push(single_field(name, T::DATA_TYPE, true));
    }

    fn read(reader: &mut ColumnReader<'_>) -> Result<Self::Columns, Failure> {
        let rows = reader.rows();
        let (taken, validity) = reader.next(true)?;
        let present = validity.unwrap_or_else(|| Bitmap::all_set(rows));
        // The value's own reader checks type and length; it sees a batch of this one column.
        let field = [Field { name: taken.name().to_owned(), data_type: T::DATA_TYPE, nullable: false }];
        let batch = Batch { rows: rows as u32, columns: vec![Column { data: taken.into_data(), validity: None }] };
        let values = T::read(&mut ColumnReader::try_new(batch, &field)?)?;
        Ok(OptionColumns { values, present })
    }

    fn write(columns: Self::Columns, out: &mut Vec<Column>) {
        T::write(columns.values, out);
        if let Some(column) = out.last_mut().filter(|_| !columns.present.is_all_set()) {
            column.validity = Some(columns.present.into_bytes());
        }
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
        Self::order(<Self as Row>::get(columns, left), <Self as Row>::get(columns, right))
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

impl<T: Value> Ordered for Option<T> {
    #[inline]
    fn order(left: Self::Ref<'_>, right: Self::Ref<'_>) -> Ordering {
        match (left, right) {
            (Some(left), Some(right)) => T::order(left, right),
            _ => left.is_some().cmp(&right.is_some()),
        }
    }
}
