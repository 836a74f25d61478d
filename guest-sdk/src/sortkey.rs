//! What rows are sorted by: their own columns, or keys that a closure makes of each row.
//!
//! The host sorts, by columns. An order over a row's own columns (`sort_by`) is known when the plan is made: its
//! closure is called once, with a [`ColumnOf`] in the place of each value. A computed key (`sort_by_computed`) is written into
//! hidden columns behind the row's own. The order of values is the same here and there: null first, false before true,
//! NaN last, text and bytes by their bytes. Only an enum is text in a column of its own and the number of its variant in a computed key.

use std::cmp::{Ordering, Reverse};
use std::fmt;
use std::marker::PhantomData;
use std::ops::Neg;

use crate::bindings::millpond::plugin::dataflow::Ordering as PlanOrdering;
use crate::bindings::millpond::plugin::types::{Column, DataType};
use crate::row::{Date, Decimal, Ordered, Row, Single, TimeDelta, Timestamp};

/// A column of a row, standing for its values in [`sort_by`](crate::DStream::sort_by) and
/// [`top_by`](crate::DStream::top_by). It has no value to compute with: for that use
/// [`sort_by_computed`](crate::DStream::sort_by_computed) and [`top_by_computed`](crate::DStream::top_by_computed).
pub struct ColumnOf<T> {
    column: u32,
    of: PhantomData<fn() -> T>,
}

impl<T> ColumnOf<T> {
    pub(crate) fn new(column: usize) -> Self {
        Self { column: column as u32, of: PhantomData }
    }
}

/// Column `column`, of values of `T`.
#[doc(hidden)]
#[must_use]
pub fn pick<T>(column: usize) -> ColumnOf<T> {
    ColumnOf::new(column)
}

impl<T> Clone for ColumnOf<T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for ColumnOf<T> {}

/// Largest first: `-n` is [`Reverse`]`(n)`, for columns of any type.
impl<T> Neg for ColumnOf<T> {
    type Output = Reverse<Self>;

    fn neg(self) -> Reverse<Self> {
        Reverse(self)
    }
}

impl<T> fmt::Debug for ColumnOf<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "column {}", self.column)
    }
}

/// An order over a row's columns: a column, [`Reverse`] of an order (largest first, the whole order round; of a column `-column`
/// does it too), or a tuple of
/// up to four (the first decides, the next breaks ties).
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not an order over the row's columns",
    label = "not an order",
    note = "return columns of the row, std::cmp::Reverse of one, or a tuple of up to four: `|(word, n)| (Reverse(n), word)`",
    note = "to sort by a computed value, use sort_by_computed or top_by_computed and name the key's type: `sort_by_computed::<i64>(|word| word.len() as i64)`"
)]
pub trait SortOrder {
    /// Appends the columns, each with its direction.
    fn orderings(&self, descending: bool, out: &mut Vec<PlanOrdering>);
}

impl<T> SortOrder for ColumnOf<T> {
    fn orderings(&self, descending: bool, out: &mut Vec<PlanOrdering>) {
        out.push(PlanOrdering { column: self.column, descending });
    }
}

impl<O: SortOrder> SortOrder for Reverse<O> {
    fn orderings(&self, descending: bool, out: &mut Vec<PlanOrdering>) {
        self.0.orderings(!descending, out);
    }
}

/// A computed value to sort by.
///
/// Numbers of all types and [`Decimal`], `bool`, `String` (closures return a `&str`), `Vec<u8>` (a `&[u8]`), [`Timestamp`], [`Date`],
/// [`TimeDelta`], enums with `#[derive(Row)]` in the order of their variants, `Option` of these (none first), [`Reverse`] of
/// any key (the whole order round), and tuples of keys up to four (the first decides, the next breaks ties).
///
/// A column is ordered by its values, also in `sort_by`; that of an enum is text, its variants' names. Computed keys are how to sort by
/// the order of the variants.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be a sort key",
    label = "not a sort key",
    note = "sort keys are numbers, bool, String, Vec<u8>, times, enums, Option of these, std::cmp::Reverse of a key, and tuples of keys up to four"
)]
pub trait SortKey: 'static {
    /// What a closure returns: itself, or a borrowed view for text.
    type Of<'a>;

    /// Where keys of this type are kept.
    type Columns: SortColumns;

    /// Appends a key.
    fn push(key: &Self::Of<'_>, columns: &mut Self::Columns);

    /// Compares a key with a kept one, directions included.
    fn compare(key: &Self::Of<'_>, columns: &Self::Columns, row: usize) -> Ordering;
}

/// A closure from a view of `T` to a sort key. Implemented by every fitting closure.
#[diagnostic::on_unimplemented(
    message = "this closure does not make the sort key `{K}` from a view of a `{T}`",
    note = "for a String in the key it returns a `&str`"
)]
pub trait SortKeyFn<'a, T: Row, K: SortKey>: Fn(T::Ref<'a>) -> K::Of<'a> {}

impl<'a, T: Row, K: SortKey, F: Fn(T::Ref<'a>) -> K::Of<'a>> SortKeyFn<'a, T, K> for F {}

/// One hidden column.
#[doc(hidden)]
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct HiddenColumn {
    /// Its type.
    pub data_type: DataType,
    /// Whether keys may be null.
    pub nullable: bool,
    /// Largest first.
    pub descending: bool,
}

/// Columns of computed keys.
#[doc(hidden)]
pub trait SortColumns: Default + 'static {
    /// Appends the columns' types and directions.
    fn describe(descending: bool, out: &mut Vec<HiddenColumn>);
    /// Compares two kept keys, directions included.
    fn compare(&self, left: usize, right: usize) -> Ordering;
    /// Appends a kept key to other columns.
    fn copy(&self, row: usize, to: &mut Self);
    /// Appends the finished columns.
    fn write(self, out: &mut Vec<Column>);
}

/// One column of keys, in its own order.
#[doc(hidden)]
pub struct Plain<T: Row>(T::Columns);

impl<T: Row> Default for Plain<T> {
    fn default() -> Self {
        Self(T::Columns::default())
    }
}

impl<T: OneColumn> Plain<T> {
    /// Appends a key.
    #[inline]
    pub fn push(&mut self, key: T::Ref<'_>) {
        T::push(&mut self.0, key);
    }

    /// Compares a key with a kept one.
    #[inline]
    pub fn compare_with(&self, key: T::Ref<'_>, row: usize) -> Ordering {
        T::order(key, T::get(&self.0, row))
    }
}

/// A row type of one ordered column, nullable or not.
#[doc(hidden)]
pub trait OneColumn: Ordered {
    /// The column's type.
    const COLUMN_TYPE: DataType;
    /// Whether it may be null.
    const NULLABLE: bool;
}

impl<T: OneColumn> SortColumns for Plain<T> {
    fn describe(descending: bool, out: &mut Vec<HiddenColumn>) {
        out.push(HiddenColumn { data_type: T::COLUMN_TYPE, nullable: T::NULLABLE, descending });
    }

    #[inline]
    fn compare(&self, left: usize, right: usize) -> Ordering {
        T::order(T::get(&self.0, left), T::get(&self.0, right))
    }

    fn copy(&self, row: usize, to: &mut Self) {
        T::push(&mut to.0, T::get(&self.0, row));
    }

    fn write(self, out: &mut Vec<Column>) {
        T::write(self.0, out);
    }
}

/// A key that is a column as it stands.
macro_rules! plain_key {
    ($({$($generics:tt)*} $type:ty, $column_type:expr, $nullable:literal;)*) => {$(
        impl<$($generics)*> OneColumn for $type {
            const COLUMN_TYPE: DataType = $column_type;
            const NULLABLE: bool = $nullable;
        }

        impl<$($generics)*> SortKey for $type {
            type Of<'a> = <$type as Row>::Ref<'a>;
            type Columns = Plain<$type>;

            #[inline]
            fn push(key: &Self::Of<'_>, columns: &mut Plain<$type>) {
                columns.push(*key);
            }

            #[inline]
            fn compare(key: &Self::Of<'_>, columns: &Plain<$type>, row: usize) -> Ordering {
                columns.compare_with(*key, row)
            }
        }
    )*};
}

plain_key!(
    {} i64, DataType::Int64, false;
    {} i8, DataType::Int8, false;
    {} i16, DataType::Int16, false;
    {} i32, DataType::Int32, false;
    {} u8, DataType::Uint8, false;
    {} u16, DataType::Uint16, false;
    {} u32, DataType::Uint32, false;
    {} u64, DataType::Uint64, false;
    {} f32, DataType::Float32, false;
    {} Date, DataType::Date, false;
    {} TimeDelta, DataType::Duration, false;
    {const PRECISION: u8, const SCALE: u8} Decimal<PRECISION, SCALE>, <Self as Single>::DATA_TYPE, false;
    {} f64, DataType::Float64, false;
    {} bool, DataType::Boolean, false;
    {} String, DataType::Utf8, false;
    {} Vec<u8>, DataType::Binary, false;
    {} Timestamp, DataType::Timestamp, false;
);

impl<T: Single> OneColumn for Option<T> {
    const COLUMN_TYPE: DataType = T::DATA_TYPE;
    const NULLABLE: bool = true;
}

impl<T: Single> SortKey for Option<T> {
    type Of<'a> = Option<T::Ref<'a>>;
    type Columns = Plain<Option<T::SortAs>>;

    #[inline]
    fn push(key: &Self::Of<'_>, columns: &mut Self::Columns) {
        columns.push(key.map(T::sort_as));
    }

    #[inline]
    fn compare(key: &Self::Of<'_>, columns: &Self::Columns, row: usize) -> Ordering {
        columns.compare_with(key.map(T::sort_as), row)
    }
}

impl<C: SortColumns> SortColumns for Reverse<C> {
    fn describe(descending: bool, out: &mut Vec<HiddenColumn>) {
        C::describe(!descending, out);
    }

    #[inline]
    fn compare(&self, left: usize, right: usize) -> Ordering {
        self.0.compare(right, left)
    }

    fn copy(&self, row: usize, to: &mut Self) {
        self.0.copy(row, &mut to.0);
    }

    fn write(self, out: &mut Vec<Column>) {
        self.0.write(out);
    }
}

impl<K: SortKey> SortKey for Reverse<K> {
    type Of<'a> = Reverse<K::Of<'a>>;
    type Columns = Reverse<K::Columns>;

    #[inline]
    fn push(key: &Self::Of<'_>, columns: &mut Self::Columns) {
        K::push(&key.0, &mut columns.0);
    }

    #[inline]
    fn compare(key: &Self::Of<'_>, columns: &Self::Columns, row: usize) -> Ordering {
        K::compare(&key.0, &columns.0, row).reverse()
    }
}

macro_rules! tuples {
    ($(($($part:ident $index:tt),+))*) => {$(
        impl<$($part: SortOrder),+> SortOrder for ($($part,)+) {
            fn orderings(&self, descending: bool, out: &mut Vec<PlanOrdering>) {
                $(self.$index.orderings(descending, out);)+
            }
        }

        impl<$($part: SortColumns),+> SortColumns for ($($part,)+) {
            fn describe(descending: bool, out: &mut Vec<HiddenColumn>) {
                $($part::describe(descending, out);)+
            }

            #[inline]
            fn compare(&self, left: usize, right: usize) -> Ordering {
                Ordering::Equal$(.then_with(|| self.$index.compare(left, right)))+
            }

            fn copy(&self, row: usize, to: &mut Self) {
                $(self.$index.copy(row, &mut to.$index);)+
            }

            fn write(self, out: &mut Vec<Column>) {
                $(self.$index.write(out);)+
            }
        }

        impl<$($part: SortKey),+> SortKey for ($($part,)+) {
            type Of<'a> = ($($part::Of<'a>,)+);
            type Columns = ($($part::Columns,)+);

            #[inline]
            fn push(key: &Self::Of<'_>, columns: &mut Self::Columns) {
                $($part::push(&key.$index, &mut columns.$index);)+
            }

            #[inline]
            fn compare(key: &Self::Of<'_>, columns: &Self::Columns, row: usize) -> Ordering {
                Ordering::Equal$(.then_with(|| $part::compare(&key.$index, &columns.$index, row)))+
            }
        }
    )*};
}

tuples!((A 0) (A 0, B 1) (A 0, B 1, C 2) (A 0, B 1, C 2, D 3));
