//! Rows of one fixed-size column: i64, f64, bool and timestamps.

use std::cmp::Ordering;
use std::fmt;

use super::{ColumnReader, Comparable, Element, Key, Number, Ordered, Row, Single, Sum, Validity, Value};
use crate::bindings::millpond::plugin::types::{Column, ColumnData, DataType, Failure, Field};
use crate::bitmap::Bitmap;
use crate::hash::{self, Digest};
use crate::sortkey::ColumnOf;

/// An instant. **Units**: microseconds since the Unix epoch, UTC.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(pub i64);

impl Timestamp {
    /// An instant from milliseconds since the Unix epoch; saturates.
    #[must_use]
    pub fn from_millis(ms: i64) -> Self {
        Self(ms.saturating_mul(1000))
    }

    /// Whole milliseconds since the Unix epoch, rounded down.
    #[must_use]
    pub fn millis(self) -> i64 {
        self.0.div_euclid(1000)
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} us", self.0)
    }
}

/// Columns of values of fixed size.
#[derive(Clone, Debug, Default)]
pub struct FixedColumn<T> {
    values: Vec<T>,
}

/// A column of booleans.
#[derive(Clone, Debug, Default)]
pub struct BoolColumn {
    bits: Bitmap,
}

/// A field without children.
pub(super) fn single_field(name: &str, data_type: DataType, nullable: bool) -> Field {
    Field { name: name.to_owned(), data_type, nullable, children: 0 }
}

macro_rules! fixed {
    ($type:ty, $raw:ty, $data_type:ident, $take:ident, |$raw_value:ident| $from_raw:expr, |$value:ident| $into_raw:expr) => {
        impl Row for $type {
            type Ref<'a> = $type;
            type Columns = FixedColumn<$raw>;
            type Picks = ColumnOf<$type>;
            const WIDTH: usize = 1;

            fn column_fields(name: &str, nullable: bool, fields: &mut Vec<Field>) {
                fields.push(single_field(name, DataType::$data_type, nullable));
            }

            fn read_column(
                reader: &mut ColumnReader<'_>,
                nullable: bool,
            ) -> Result<(Self::Columns, Validity), Failure> {
                let (taken, validity) = reader.next(nullable)?;
                Ok((FixedColumn { values: taken.$take()? }, validity))
            }

            fn write_column(columns: Self::Columns, validity: Validity, out: &mut Vec<Column>) {
                out.push(Column { data: ColumnData::$data_type(columns.values), validity });
            }

            #[inline]
            fn get(columns: &Self::Columns, row: usize) -> Self {
                let $raw_value = columns.values[row];
                $from_raw
            }

            #[inline]
            fn push(columns: &mut Self::Columns, $value: Self) {
                columns.values.push($into_raw);
            }

            #[inline]
            fn push_empty(columns: &mut Self::Columns) {
                columns.values.push(<$raw>::default());
            }

            fn clear(columns: &mut Self::Columns) {
                columns.values.clear();
            }

            fn byte_len(columns: &Self::Columns) -> usize {
                columns.values.len() * size_of::<$raw>()
            }

            #[inline]
            fn order_at(columns: &Self::Columns, _column: usize, left: usize, right: usize) -> Ordering {
                Self::order(<Self as Row>::get(columns, left), <Self as Row>::get(columns, right))
            }

            fn picks(first: usize) -> ColumnOf<Self> {
                ColumnOf::new(first)
            }

            #[inline]
            fn from_ref(row: Self) -> Self {
                row
            }

            #[inline]
            fn to_ref(&self) -> Self {
                *self
            }
        }

        impl Value for $type {}

        impl Single for $type {
            const DATA_TYPE: DataType = DataType::$data_type;
        }
    };
}

fixed!(i64, i64, Int64, int64, |raw| raw, |value| value);
fixed!(f64, f64, Float64, float64, |raw| raw, |value| value);
fixed!(Timestamp, i64, Timestamp, timestamp, |raw| Timestamp(raw), |value| value.0);

impl Row for bool {
    type Ref<'a> = bool;
    type Columns = BoolColumn;
    type Picks = ColumnOf<bool>;
    const WIDTH: usize = 1;

    fn column_fields(name: &str, nullable: bool, fields: &mut Vec<Field>) {
        fields.push(single_field(name, DataType::Boolean, nullable));
    }

    fn read_column(reader: &mut ColumnReader<'_>, nullable: bool) -> Result<(BoolColumn, Validity), Failure> {
        let (taken, validity) = reader.next(nullable)?;
        Ok((BoolColumn { bits: taken.boolean()? }, validity))
    }

    fn write_column(columns: BoolColumn, validity: Validity, out: &mut Vec<Column>) {
        out.push(Column { data: ColumnData::Boolean(columns.bits.into_bytes()), validity });
    }

    #[inline]
    fn get(columns: &BoolColumn, row: usize) -> bool {
        columns.bits.get(row)
    }

    #[inline]
    fn push(columns: &mut BoolColumn, row: bool) {
        columns.bits.push(row);
    }

    fn push_empty(columns: &mut BoolColumn) {
        columns.bits.push(false);
    }

    fn clear(columns: &mut BoolColumn) {
        columns.bits.clear();
    }

    fn byte_len(columns: &BoolColumn) -> usize {
        columns.bits.byte_len()
    }

    #[inline]
    fn order_at(columns: &Self::Columns, _column: usize, left: usize, right: usize) -> Ordering {
        Self::order(<Self as Row>::get(columns, left), <Self as Row>::get(columns, right))
    }

    fn picks(first: usize) -> ColumnOf<Self> {
        ColumnOf::new(first)
    }

    #[inline]
    fn from_ref(row: bool) -> bool {
        row
    }

    #[inline]
    fn to_ref(&self) -> bool {
        *self
    }
}

impl Value for bool {}

impl Single for bool {
    const DATA_TYPE: DataType = DataType::Boolean;
}

impl Element for bool {}
impl Element for i64 {}
impl Element for f64 {}
impl Element for Timestamp {}

macro_rules! key {
    ($type:ty, |$value:ident| $word:expr) => {
        impl Key for $type {
            #[inline]
            fn hash($value: Self, hash: u64) -> u64 {
                hash::word(hash, $word)
            }

            #[inline]
            fn digest($value: Self) -> Digest {
                Digest::of_word($word)
            }

            #[inline]
            fn same_at(columns: &Self::Columns, row: usize, key: Self) -> bool {
                let left = {
                    let $value = Self::get(columns, row);
                    $word
                };
                let $value = key;
                left == $word
            }
        }
    };
}

key!(i64, |value| value.cast_unsigned());
key!(f64, |value| canonical_bits(value));
key!(bool, |value| u64::from(value));
key!(Timestamp, |value| value.0.cast_unsigned());

/// One zero and one NaN, as the host's keys have them.
#[inline]
fn canonical_bits(value: f64) -> u64 {
    if value == 0.0 {
        0
    } else if value.is_nan() {
        f64::NAN.to_bits()
    } else {
        value.to_bits()
    }
}

macro_rules! ordered {
    ($($type:ty),*) => {$(
        impl Ordered for $type {
            #[inline]
            fn order(left: Self, right: Self) -> Ordering {
                left.cmp(&right)
            }
        }
    )*};
}

ordered!(i64, bool, Timestamp);

impl Comparable for i64 {}
impl Comparable for f64 {
    #[inline]
    fn extreme_order(left: f64, right: f64) -> Ordering {
        left.is_nan().cmp(&right.is_nan()).then_with(|| left.total_cmp(&right))
    }
}
impl Comparable for Timestamp {}

impl Ordered for f64 {
    #[inline]
    fn order(left: f64, right: f64) -> Ordering {
        left.partial_cmp(&right).unwrap_or_else(|| left.is_nan().cmp(&right.is_nan()))
    }
}

impl Sum for i64 {
    const ZERO: Self = 0;
    const EXACT: bool = true;

    #[inline]
    fn add(&mut self, value: i64) -> bool {
        let (sum, overflowed) = self.overflowing_add(value);
        *self = sum;
        !overflowed
    }

    #[inline]
    fn set_at(columns: &mut Self::Columns, row: usize, value: i64) {
        columns.values[row] = value;
    }
}

impl Sum for f64 {
    const ZERO: Self = 0.0;
    const EXACT: bool = false;

    #[inline]
    fn add(&mut self, value: f64) -> bool {
        *self += value;
        true
    }

    #[inline]
    fn set_at(columns: &mut Self::Columns, row: usize, value: f64) {
        columns.values[row] = value;
    }
}

impl Number for i64 {
    #[expect(clippy::cast_precision_loss, reason = "a mean is a double, whatever it is the mean of")]
    fn mean(sum: i64, count: i64) -> f64 {
        sum as f64 / count as f64
    }
}

impl Number for f64 {
    #[expect(clippy::cast_precision_loss, reason = "counts stay far below 2^53")]
    fn mean(sum: f64, count: i64) -> f64 {
        sum / count as f64
    }
}
