//! Tuples: the columns of their parts, one after the other. A pair's first part is its key.

use std::cmp::Ordering;

use super::{
    ColumnReader, Element, Key, Row, Sum, Validity, Value, part_name, read_struct, struct_field, write_struct,
};
use crate::bindings::millpond::plugin::types::{Column, Failure, Field};

/// No columns at all: the key of rows that have none.
impl Row for () {
    type Ref<'a> = ();
    type Columns = ();
    type Picks = ();
    const WIDTH: usize = 0;

    fn fields(_name: &str, _fields: &mut Vec<Field>) {}

    fn read(_reader: &mut ColumnReader<'_>) -> Result<(), Failure> {
        Ok(())
    }

    fn write(_columns: (), _out: &mut Vec<Column>) {}

    // Never asked for by a row that can be planned: the contract has no column of nothing.
    fn column_fields(name: &str, nullable: bool, fields: &mut Vec<Field>) {
        struct_field(name, nullable, 0, fields);
    }

    fn leaf_names(_leaves: &mut Vec<&'static [&'static str]>) {}

    fn read_column(reader: &mut ColumnReader<'_>, nullable: bool) -> Result<((), Validity), Failure> {
        Ok(((), read_struct(reader, nullable)?))
    }

    fn write_column(_columns: (), validity: Validity, out: &mut Vec<Column>) {
        write_struct(validity, out);
    }

    #[inline]
    fn get(_columns: &(), _row: usize) {}

    #[inline]
    fn push(_columns: &mut (), _row: ()) {}

    fn push_empty(_columns: &mut ()) {}

    fn clear(_columns: &mut ()) {}

    fn byte_len(_columns: &()) -> usize {
        0
    }

    fn order_at(_columns: &(), _column: usize, _left: usize, _right: usize) -> Ordering {
        Ordering::Equal
    }

    fn picks(_first: usize) {}

    fn from_ref(_row: ()) {}

    fn to_ref(&self) {}
}

impl Key for () {
    #[inline]
    fn hash(_row: (), hash: u64) -> u64 {
        hash
    }

    #[inline]
    fn same_at(_columns: &(), _row: usize, _key: ()) -> bool {
        true
    }
}

macro_rules! tuple {
    ($count:literal, $key_columns:expr; $($part:ident $index:tt $name:literal),+) => {
        impl<$($part: Row),+> Row for ($($part,)+) {
            type Ref<'a> = ($($part::Ref<'a>,)+);
            type Columns = ($($part::Columns,)+);
            type Picks = ($($part::Picks,)+);
            const WIDTH: usize = 0 $(+ $part::WIDTH)+;
            const KEY_COLUMNS: usize = $key_columns;

            fn fields(name: &str, fields: &mut Vec<Field>) {
                $($part::fields(&part_name(name, $name), fields);)+
            }

            fn read(reader: &mut ColumnReader<'_>) -> Result<Self::Columns, Failure> {
                Ok(($($part::read(reader)?,)+))
            }

            fn write(columns: Self::Columns, out: &mut Vec<Column>) {
                $($part::write(columns.$index, out);)+
            }

            fn column_fields(name: &str, nullable: bool, fields: &mut Vec<Field>) {
                struct_field(name, nullable, $count, fields);
                $($part::column_fields($name, false, fields);)+
            }

            fn leaf_names(leaves: &mut Vec<&'static [&'static str]>) {
                $($part::leaf_names(leaves);)+
            }

            fn read_column(reader: &mut ColumnReader<'_>, nullable: bool) -> Result<(Self::Columns, Validity), Failure> {
                let validity = read_struct(reader, nullable)?;
                let parts = reader.within(&validity, |reader| Ok(($($part::read_column(reader, false)?.0,)+)))?;
                Ok((parts, validity))
            }

            fn write_column(columns: Self::Columns, validity: Validity, out: &mut Vec<Column>) {
                write_struct(validity, out);
                $($part::write_column(columns.$index, None, out);)+
            }

            #[inline]
            fn get(columns: &Self::Columns, row: usize) -> Self::Ref<'_> {
                ($($part::get(&columns.$index, row),)+)
            }

            #[inline]
            fn push(columns: &mut Self::Columns, row: Self::Ref<'_>) {
                $($part::push(&mut columns.$index, row.$index);)+
            }

            fn push_empty(columns: &mut Self::Columns) {
                $($part::push_empty(&mut columns.$index);)+
            }

            fn clear(columns: &mut Self::Columns) {
                $($part::clear(&mut columns.$index);)+
            }

            fn byte_len(columns: &Self::Columns) -> usize {
                0 $(+ $part::byte_len(&columns.$index))+
            }

            fn order_at(columns: &Self::Columns, column: usize, left: usize, right: usize) -> Ordering {
                let mut first = 0;
                $(
                    if column < first + $part::WIDTH {
                        return $part::order_at(&columns.$index, column - first, left, right);
                    }
                    first += $part::WIDTH;
                )+
                debug_assert!(column < first, "the plan orders by a column of the row");
                Ordering::Equal
            }

            fn picks(first: usize) -> Self::Picks {
                let mut next = first;
                ($({
                    let part = $part::picks(next);
                    next += $part::WIDTH;
                    debug_assert!(next <= first + Self::WIDTH, "parts have no more columns than the whole");
                    part
                },)+)
            }

            #[inline]
            fn from_ref(row: Self::Ref<'_>) -> Self {
                ($($part::from_ref(row.$index),)+)
            }

            #[inline]
            fn to_ref(&self) -> Self::Ref<'_> {
                ($(self.$index.to_ref(),)+)
            }
        }

        impl<$($part: Row),+> Value for ($($part,)+) {}
        impl<$($part: Row),+> Element for ($($part,)+) {}

        impl<$($part: Key),+> Key for ($($part,)+) {
            #[inline]
            fn hash(row: Self::Ref<'_>, hash: u64) -> u64 {
                $(let hash = $part::hash(row.$index, hash);)+
                hash
            }

            #[inline]
            fn same_at(columns: &Self::Columns, row: usize, key: Self::Ref<'_>) -> bool {
                $($part::same_at(&columns.$index, row, key.$index))&&+
            }
        }

        impl<$($part: Sum),+> Sum for ($($part,)+) {
            const ZERO: Self = ($($part::ZERO,)+);
            const EXACT: bool = $($part::EXACT)&&+;

            #[inline]
            fn add(&mut self, value: Self::Ref<'_>) -> bool {
                let mut fits = true;
                $(fits &= self.$index.add(value.$index);)+
                fits
            }

            #[inline]
            fn set_at(columns: &mut Self::Columns, row: usize, value: Self::Ref<'_>) {
                $($part::set_at(&mut columns.$index, row, value.$index);)+
            }
        }
    };
}

tuple!(1, 0; A 0 "_1");
tuple!(2, A::WIDTH; A 0 "_1", B 1 "_2");
tuple!(3, 0; A 0 "_1", B 1 "_2", C 2 "_3");
tuple!(4, 0; A 0 "_1", B 1 "_2", C 2 "_3", D 3 "_4");
tuple!(5, 0; A 0 "_1", B 1 "_2", C 2 "_3", D 3 "_4", E 4 "_5");
tuple!(6, 0; A 0 "_1", B 1 "_2", C 2 "_3", D 3 "_4", E 4 "_5", F 5 "_6");
tuple!(7, 0; A 0 "_1", B 1 "_2", C 2 "_3", D 3 "_4", E 4 "_5", F 5 "_6", G 6 "_7");
tuple!(8, 0; A 0 "_1", B 1 "_2", C 2 "_3", D 3 "_4", E 4 "_5", F 5 "_6", G 6 "_7", H 7 "_8");
