//! Exact decimal numbers.

use std::cmp::Ordering;
use std::fmt;
use std::str::FromStr;

use super::{ColumnReader, Comparable, Element, Key, Number, Ordered, Row, Single, Sum, Validity, Value, single};
use crate::bindings::millpond::plugin::types::{Column, ColumnData, DataType, DecimalType, Failure, Field};
use crate::hash;
use crate::sortkey::ColumnOf;

/// A decimal number of up to `PRECISION` digits (1 to 38), `SCALE` of them behind the point.
///
/// ```
/// use millpond::Decimal;
///
/// let price: Decimal<10, 2> = "12.5".parse()?;
/// assert_eq!(price.to_string(), "12.50");
/// assert_eq!(price.units(), 1250);
/// assert_eq!(Decimal::<3, 2>::from_units(1000), None);
/// # Ok::<(), millpond::DecimalError>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Decimal<const PRECISION: u8, const SCALE: u8>(i128);

/// A text that is no decimal of the type, or has too many digits for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DecimalError {
    text: String,
    precision: u8,
    scale: u8,
}

impl fmt::Display for DecimalError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { text, precision, scale } = self;
        write!(f, "`{text}` is no decimal number of at most {precision} digits, {scale} of them behind the point")
    }
}

impl std::error::Error for DecimalError {}

impl<const PRECISION: u8, const SCALE: u8> Decimal<PRECISION, SCALE> {
    /// The first number that has too many digits.
    const LIMIT: i128 = {
        assert!(PRECISION >= 1 && PRECISION <= 38, "a decimal has 1 to 38 digits");
        assert!(SCALE <= PRECISION, "a decimal has no more digits behind the point than it has");
        10i128.pow(PRECISION as u32)
    };

    /// The number from units of its last digit: 1250 is 12.50 if the scale is 2. `None` if that has too many digits.
    #[must_use]
    pub const fn from_units(units: i128) -> Option<Self> {
        if -Self::LIMIT < units && units < Self::LIMIT { Some(Self(units)) } else { None }
    }

    /// The number in units of its last digit.
    #[must_use]
    pub const fn units(self) -> i128 {
        self.0
    }
}

impl<const PRECISION: u8, const SCALE: u8> fmt::Display for Decimal<PRECISION, SCALE> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let one = 10u128.pow(u32::from(SCALE));
        let (sign, units) = (if self.0 < 0 { "-" } else { "" }, self.0.unsigned_abs());
        match SCALE {
            0 => write!(f, "{sign}{units}"),
            _ => write!(f, "{sign}{}.{:0width$}", units / one, units % one, width = usize::from(SCALE)),
        }
    }
}

impl<const PRECISION: u8, const SCALE: u8> FromStr for Decimal<PRECISION, SCALE> {
    type Err = DecimalError;

    /// Digits with a sign and a point where wanted; fewer digits behind the point than the scale are fine, more are not.
    fn from_str(text: &str) -> Result<Self, DecimalError> {
        let parse = || {
            let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
            let digits = whole.strip_prefix(['-', '+']).unwrap_or(whole);
            let missing = usize::from(SCALE).checked_sub(fraction.len())?;
            let all_digits = [digits, fraction].concat();
            if all_digits.is_empty() || !all_digits.bytes().all(|byte| byte.is_ascii_digit()) {
                return None;
            }
            let zeros = "0".repeat(missing);
            let units: i128 = format!("{all_digits}{zeros}").parse().ok()?;
            Self::from_units(if whole.starts_with('-') { -units } else { units })
        };
        parse().ok_or_else(|| DecimalError { text: text.to_owned(), precision: PRECISION, scale: SCALE })
    }
}

/// A column of decimals: two words each, the lower one first, as they cross the boundary.
#[derive(Clone, Debug, Default)]
pub struct DecimalColumn {
    words: Vec<u64>,
}

impl DecimalColumn {
    #[inline]
    fn get(&self, row: usize) -> i128 {
        (u128::from(self.words[2 * row + 1]) << 64 | u128::from(self.words[2 * row])).cast_signed()
    }
}

#[inline]
fn words(value: i128) -> [u64; 2] {
    [value.cast_unsigned() as u64, (value.cast_unsigned() >> 64) as u64]
}

impl<const PRECISION: u8, const SCALE: u8> Row for Decimal<PRECISION, SCALE> {
    type Ref<'a> = Self;
    type Columns = DecimalColumn;
    type Picks = ColumnOf<Self>;
    const WIDTH: usize = 1;

    fn column_fields(name: &str, nullable: bool, fields: &mut Vec<Field>) {
        fields.push(Field { name: name.to_owned(), data_type: Self::DATA_TYPE, nullable, children: 0 });
    }

    fn read_column(reader: &mut ColumnReader<'_>, nullable: bool) -> Result<(DecimalColumn, Validity), Failure> {
        let (taken, validity) = reader.next(nullable)?;
        Ok((DecimalColumn { words: taken.decimal(Self::DATA_TYPE)? }, validity))
    }

    fn write_column(columns: DecimalColumn, validity: Validity, out: &mut Vec<Column>) {
        out.push(Column { data: ColumnData::Decimal(columns.words), validity });
    }

    #[inline]
    fn get(columns: &DecimalColumn, row: usize) -> Self {
        Self(columns.get(row))
    }

    #[inline]
    fn push(columns: &mut DecimalColumn, row: Self) {
        columns.words.extend(words(row.0));
    }

    fn push_empty(columns: &mut DecimalColumn) {
        columns.words.extend([0, 0]);
    }

    fn clear(columns: &mut DecimalColumn) {
        columns.words.clear();
    }

    fn byte_len(columns: &DecimalColumn) -> usize {
        columns.words.len() * size_of::<u64>()
    }

    fn order_at(columns: &DecimalColumn, _column: usize, left: usize, right: usize) -> Ordering {
        columns.get(left).cmp(&columns.get(right))
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

impl<const PRECISION: u8, const SCALE: u8> Value for Decimal<PRECISION, SCALE> {}
impl<const PRECISION: u8, const SCALE: u8> Element for Decimal<PRECISION, SCALE> {}

single!({const PRECISION: u8, const SCALE: u8} Decimal<PRECISION, SCALE>, {
    assert!(Self::LIMIT > 1);
    DataType::Decimal(DecimalType { precision: PRECISION, scale: SCALE })
});

impl<const PRECISION: u8, const SCALE: u8> Key for Decimal<PRECISION, SCALE> {
    #[inline]
    fn hash(row: Self, hash: u64) -> u64 {
        let [low, high] = words(row.0);
        hash::word(hash::word(hash, low), high)
    }

    #[inline]
    fn same_at(columns: &DecimalColumn, row: usize, key: Self) -> bool {
        columns.get(row) == key.0
    }
}

impl<const PRECISION: u8, const SCALE: u8> Ordered for Decimal<PRECISION, SCALE> {
    #[inline]
    fn order(left: Self, right: Self) -> Ordering {
        left.cmp(&right)
    }
}

impl<const PRECISION: u8, const SCALE: u8> Comparable for Decimal<PRECISION, SCALE> {}

impl<const PRECISION: u8, const SCALE: u8> Sum for Decimal<PRECISION, SCALE> {
    const ZERO: Self = Self(0);
    const EXACT: bool = true;

    #[inline]
    fn add(&mut self, value: Self) -> bool {
        // 128 bits hold one number of 38 digits, and not always two added.
        match self.0.checked_add(value.0).and_then(Self::from_units) {
            Some(sum) => {
                *self = sum;
                true
            }
            None => false,
        }
    }

    #[inline]
    fn set_at(columns: &mut DecimalColumn, row: usize, value: Self) {
        columns.words[2 * row..2 * row + 2].copy_from_slice(&words(value.0));
    }
}

impl<const PRECISION: u8, const SCALE: u8> Number for Decimal<PRECISION, SCALE> {
    #[expect(clippy::cast_precision_loss, reason = "a mean is a double, whatever it is the mean of")]
    fn mean(sum: Self, count: i64) -> f64 {
        sum.0 as f64 / 10f64.powi(i32::from(SCALE)) / count as f64
    }
}
