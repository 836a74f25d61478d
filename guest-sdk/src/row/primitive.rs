//! Rows of one fixed-size column: numbers, bool and times.

use std::cmp::Ordering;
use std::fmt;

use super::{ColumnReader, Comparable, Element, Key, Number, Ordered, Row, Sum, Validity, Value, single};
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

/// A day of the proleptic Gregorian calendar. **Units**: days since 1970-01-01.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Date(pub i32);

impl Date {
    /// The day that an instant lies in, in UTC.
    #[must_use]
    pub fn of(instant: Timestamp) -> Self {
        // An i64 of microseconds is less than 107,000,000 days.
        Self(instant.0.div_euclid(86_400_000_000) as i32)
    }

    /// The day's first instant, in UTC; saturates.
    #[must_use]
    pub fn start(self) -> Timestamp {
        Timestamp(i64::from(self.0).saturating_mul(86_400_000_000))
    }

    /// Year, month (from 1) and day of the month (from 1).
    ///
    /// **Source**: `civil_from_days` of Howard Hinnant's date algorithms.
    ///
    /// ```
    /// assert_eq!(millpond::Date(19_675).year_month_day(), (2023, 11, 14));
    /// ```
    #[must_use]
    pub fn year_month_day(self) -> (i64, u8, u8) {
        let shifted = i64::from(self.0) + 719_468;
        let era = shifted.div_euclid(146_097);
        let day_of_era = shifted.rem_euclid(146_097);
        let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
        let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let month_from_march = (5 * day_of_year + 2) / 153;
        let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
        let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
        (year_of_era + era * 400 + i64::from(month <= 2), month as u8, day as u8)
    }
}

impl fmt::Display for Date {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (year, month, day) = self.year_month_day();
        write!(f, "{year:04}-{month:02}-{day:02}")
    }
}

/// A length of time; may be negative. **Units**: microseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TimeDelta(pub i64);

impl TimeDelta {
    /// A length from milliseconds; saturates.
    #[must_use]
    pub fn from_millis(ms: i64) -> Self {
        Self(ms.saturating_mul(1000))
    }

    /// Whole milliseconds, rounded down.
    #[must_use]
    pub fn millis(self) -> i64 {
        self.0.div_euclid(1000)
    }
}

impl fmt::Display for TimeDelta {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} us", self.0)
    }
}

/// The time from `other` to `self`; saturates.
impl std::ops::Sub for Timestamp {
    type Output = TimeDelta;

    fn sub(self, other: Self) -> TimeDelta {
        TimeDelta(self.0.saturating_sub(other.0))
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

        single!({} $type, DataType::$data_type);
    };
}

fixed!(i64, i64, Int64, int64, |raw| raw, |value| value);
fixed!(f64, f64, Float64, float64, |raw| raw, |value| value);
fixed!(i8, i8, Int8, int8, |raw| raw, |value| value);
fixed!(i16, i16, Int16, int16, |raw| raw, |value| value);
fixed!(i32, i32, Int32, int32, |raw| raw, |value| value);
fixed!(u8, u8, Uint8, uint8, |raw| raw, |value| value);
fixed!(u16, u16, Uint16, uint16, |raw| raw, |value| value);
fixed!(u32, u32, Uint32, uint32, |raw| raw, |value| value);
fixed!(u64, u64, Uint64, uint64, |raw| raw, |value| value);
fixed!(f32, f32, Float32, float32, |raw| raw, |value| value);
fixed!(Date, i32, Date, date, |raw| Date(raw), |value| value.0);
fixed!(TimeDelta, i64, Duration, duration, |raw| TimeDelta(raw), |value| value.0);
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

single!({} bool, DataType::Boolean);

macro_rules! element {
    ($($type:ty),*) => {$(
        impl Element for $type {}
    )*};
}

// Not u8: a list of those is bytes.
element!(bool, i8, i16, i32, i64, u16, u32, u64, f32, f64, Date, TimeDelta, Timestamp);

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
key!(i8, |value| i64::from(value).cast_unsigned());
key!(i16, |value| i64::from(value).cast_unsigned());
key!(i32, |value| i64::from(value).cast_unsigned());
key!(u8, |value| u64::from(value));
key!(u16, |value| u64::from(value));
key!(u32, |value| u64::from(value));
key!(u64, |value| value);
key!(Date, |value| i64::from(value.0).cast_unsigned());
key!(TimeDelta, |value| value.0.cast_unsigned());
key!(f32, |value| canonical_bits(f64::from(value)));
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

ordered!(i8, i16, i32, i64, u8, u16, u32, u64, bool, Date, TimeDelta, Timestamp);

macro_rules! comparable {
    ($($type:ty),*) => {$(
        impl Comparable for $type {}
    )*};
}

comparable!(i8, i16, i32, i64, u8, u16, u32, u64, Date, TimeDelta, Timestamp);

macro_rules! float {
    ($($type:ty),*) => {$(
        impl Comparable for $type {
            #[inline]
            fn extreme_order(left: Self, right: Self) -> Ordering {
                left.is_nan().cmp(&right.is_nan()).then_with(|| left.total_cmp(&right))
            }
        }

        impl Ordered for $type {
            #[inline]
            fn order(left: Self, right: Self) -> Ordering {
                left.partial_cmp(&right).unwrap_or_else(|| left.is_nan().cmp(&right.is_nan()))
            }
        }

        impl Sum for $type {
            const ZERO: Self = 0.0;
            const EXACT: bool = false;

            #[inline]
            fn add(&mut self, value: Self) -> bool {
                *self += value;
                true
            }

            #[inline]
            fn set_at(columns: &mut Self::Columns, row: usize, value: Self) {
                columns.values[row] = value;
            }
        }
    )*};
}

float!(f32, f64);

macro_rules! whole {
    ($($type:ty),*) => {$(
        impl Sum for $type {
            const ZERO: Self = 0;
            const EXACT: bool = true;

            #[inline]
            fn add(&mut self, value: Self) -> bool {
                let (sum, overflowed) = self.overflowing_add(value);
                *self = sum;
                !overflowed
            }

            #[inline]
            fn set_at(columns: &mut Self::Columns, row: usize, value: Self) {
                columns.values[row] = value;
            }
        }
    )*};
}

whole!(i8, i16, i32, i64, u8, u16, u32, u64);

impl Sum for TimeDelta {
    const ZERO: Self = Self(0);
    const EXACT: bool = true;

    #[inline]
    fn add(&mut self, value: Self) -> bool {
        Sum::add(&mut self.0, value.0)
    }

    #[inline]
    fn set_at(columns: &mut Self::Columns, row: usize, value: Self) {
        columns.values[row] = value.0;
    }
}

macro_rules! number {
    ($($type:ty),*) => {$(
        impl Number for $type {
            #[expect(clippy::cast_precision_loss, reason = "counts stay far below 2^53")]
            fn mean(sum: Self, count: i64) -> f64 {
                f64::from(sum) / count as f64
            }
        }
    )*};
}

number!(i8, i16, i32, u8, u16, u32, f32);

impl Number for u64 {
    #[expect(clippy::cast_precision_loss, reason = "a mean is a double, whatever it is the mean of")]
    fn mean(sum: u64, count: i64) -> f64 {
        sum as f64 / count as f64
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
