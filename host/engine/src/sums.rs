//! Sums of groups that do not depend on the order of rows, also where a partial sum leaves the range of its type.
//!
//! Values are added in their own type, and whether any addition overflowed is noted on the way. Only then are all added again in a type that
//! holds the sum of as many values as there can be. So what counts is the sum, not the way to it: `MAX, 1, -5` has one in any order.
//! Floats are added in the order of the rows, as ever.

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, PrimitiveArray};
use arrow::datatypes::{ArrowPrimitiveType, i256};

use crate::primitive::{Ordinal, with_primitive};

/// A value that can be summed.
pub(crate) trait Addend: Ordinal {
    /// What the sum of 2^32 values, more than a column has, fits into.
    type Wide: Copy + Default;

    /// The sum, and whether it left the type's range and means nothing.
    fn plus(self, other: Self) -> (Self, bool);

    /// The sum with one more value.
    fn add_to(self, sum: Self::Wide) -> Self::Wide;

    /// The sum, if it is in the type's range.
    fn narrow(sum: Self::Wide) -> Option<Self>;
}

macro_rules! integers {
    ($($type:ty),*) => {$(
        impl Addend for $type {
            type Wide = i128;

            #[inline]
            fn plus(self, other: Self) -> (Self, bool) {
                self.overflowing_add(other)
            }

            fn add_to(self, sum: i128) -> i128 {
                sum + i128::from(self)
            }

            fn narrow(sum: i128) -> Option<Self> {
                sum.try_into().ok()
            }
        }
    )*};
}

integers!(i8, i16, i32, i64, u8, u16, u32, u64);

impl Addend for i128 {
    type Wide = i256;

    #[inline]
    fn plus(self, other: Self) -> (Self, bool) {
        self.overflowing_add(other)
    }

    fn add_to(self, sum: i256) -> i256 {
        sum.wrapping_add(i256::from_i128(self))
    }

    fn narrow(sum: i256) -> Option<Self> {
        sum.to_i128()
    }
}

macro_rules! floats {
    ($($type:ty),*) => {$(
        impl Addend for $type {
            type Wide = Self;

            #[inline]
            fn plus(self, other: Self) -> (Self, bool) {
                (self + other, false)
            }

            fn add_to(self, sum: Self) -> Self {
                sum + self
            }

            fn narrow(sum: Self) -> Option<Self> {
                Some(sum)
            }
        }
    )*};
}

floats!(f32, f64);

/// The sum of each group's values, of a column without nulls; otherwise the first group whose sum is outside of the type's range.
/// Cost: one pass, and a second one if anything overflowed.
pub(crate) fn sums(column: &ArrayRef, group_of_row: &[u32], groups: usize) -> Result<ArrayRef, usize> {
    with_primitive!(
        column.data_type(),
        T => sums_of::<T>(column, group_of_row, groups),
        else unreachable!("the graph lets no sum of {} through", column.data_type())
    )
}

fn sums_of<T: ArrowPrimitiveType<Native: Addend>>(
    column: &ArrayRef,
    group_of_row: &[u32],
    groups: usize,
) -> Result<ArrayRef, usize> {
    let (data_type, values) = (column.data_type(), column.as_primitive::<T>().values());
    let mut sums = vec![T::Native::default(); groups];
    let mut has_overflowed = false;
    for (group, value) in group_of_row.iter().zip(values) {
        let sum = &mut sums[*group as usize];
        let overflows;
        (*sum, overflows) = sum.plus(*value);
        has_overflowed |= overflows;
    }
    if has_overflowed {
        let mut wide = vec![<T::Native as Addend>::Wide::default(); groups];
        for (group, value) in group_of_row.iter().zip(values) {
            let sum = &mut wide[*group as usize];
            *sum = value.add_to(*sum);
        }
        let narrow = wide.into_iter().enumerate().map(|(group, sum)| T::Native::narrow(sum).ok_or(group));
        sums = narrow.collect::<Result<_, _>>()?;
    }
    if let Some(group) = sums.iter().position(|sum| !sum.fits(data_type)) {
        return Err(group);
    }
    Ok(Arc::new(PrimitiveArray::<T>::new(sums.into(), None).with_data_type(data_type.clone())))
}

#[cfg(test)]
mod tests {
    use arrow::array::Array;
    use arrow::compute::cast;
    use arrow::datatypes::{DataType, Decimal128Type, DecimalType, Int64Type};
    use millpond_core::schema::DURATION;
    use proptest::prelude::*;

    use super::*;

    fn types() -> impl Strategy<Value = DataType> {
        use DataType::{Int8, Int16, Int32, Int64, UInt8, UInt16, UInt32, UInt64};
        proptest::sample::select(vec![Int8, Int16, Int32, Int64, UInt8, UInt16, UInt32, UInt64, DURATION])
    }

    /// The least and the largest value.
    fn range(data_type: &DataType) -> (i128, i128) {
        let bits = match data_type {
            DataType::Int8 | DataType::UInt8 => 8,
            DataType::Int16 | DataType::UInt16 => 16,
            DataType::Int32 | DataType::UInt32 => 32,
            _ => 64,
        };
        if data_type.is_unsigned_integer() { (0, (1 << bits) - 1) } else { (-(1 << (bits - 1)), (1 << (bits - 1)) - 1) }
    }

    /// A column of whole numbers that fit it.
    fn column(values: &[i128], data_type: &DataType) -> ArrayRef {
        let native = |values: &[i128]| -> ArrayRef {
            match data_type {
                DataType::UInt64 => {
                    Arc::new(arrow::array::UInt64Array::from_iter_values(values.iter().map(|n| *n as u64)))
                }
                _ => Arc::new(arrow::array::Int64Array::from_iter_values(values.iter().map(|n| *n as i64))),
            }
        };
        cast(&native(values), data_type).unwrap()
    }

    fn back(sums: &ArrayRef) -> Vec<i128> {
        match sums.data_type() {
            DataType::UInt64 => {
                sums.as_primitive::<arrow::datatypes::UInt64Type>().values().iter().map(|n| i128::from(*n)).collect()
            }
            _ => {
                let sums = cast(sums, &DataType::Int64).unwrap();
                sums.as_primitive::<Int64Type>().values().iter().map(|n| i128::from(*n)).collect()
            }
        }
    }

    proptest! {
        /// Values near the ends of the range, so that most partial sums overflow.
        #[test]
        fn sums_are_those_of_wider_numbers_in_any_order(
            (data_type, rows) in types().prop_flat_map(|data_type| {
                let (least, most) = range(&data_type);
                let number = prop_oneof![least..=most, Just(least), Just(most), Just(1.min(most))];
                (Just(data_type), proptest::collection::vec((0u32..4, number), 0..40))
            }),
            order in any::<proptest::sample::Index>(),
        ) {
            let mut model = [0i128; 4];
            rows.iter().for_each(|(group, value)| model[*group as usize] += value);
            let (least, most) = range(&data_type);
            let expected = match model.iter().position(|sum| *sum < least || *sum > most) {
                Some(group) => Err(group),
                None => Ok(model.to_vec()),
            };
            let mut rows = rows;
            for _ in 0..2 {
                let (groups, values): (Vec<u32>, Vec<i128>) = rows.iter().copied().unzip();
                let found = sums(&column(&values, &data_type), &groups, 4);
                if let Ok(found) = &found {
                    prop_assert_eq!(found.data_type(), &data_type);
                }
                prop_assert_eq!(found.map(|found| back(&found)), expected.clone());
                let middle = order.index(rows.len().max(1)).min(rows.len());
                rows.rotate_left(middle);
                rows.reverse();
            }
        }

        #[test]
        fn sums_of_decimals_may_leave_their_digits_on_the_way(
            digits in 1u8..=38,
            values in proptest::collection::vec(any::<i128>(), 0..60),
        ) {
            let limit = 10i128.pow(u32::from(digits));
            let values: Vec<i128> = values.into_iter().map(|value| value % limit).collect();
            let model = values.iter().fold(i256::ZERO, |sum, value| sum.wrapping_add(i256::from_i128(*value)));
            let expected = model.to_i128().filter(|sum| Decimal128Type::is_valid_decimal_precision(*sum, digits)).ok_or(0);
            let column = arrow::array::Decimal128Array::from(values.clone()).with_precision_and_scale(digits, 0).unwrap();
            let found = sums(&(Arc::new(column) as ArrayRef), &vec![0; values.len()], 1);
            prop_assert_eq!(found.map(|sums| sums.as_primitive::<Decimal128Type>().value(0)), expected);
        }
    }

    #[test]
    fn floats_are_added_in_the_order_of_the_rows() {
        let column: ArrayRef = Arc::new(arrow::array::Float64Array::from(vec![1e16, 1.0, -1e16, f64::MAX, f64::MAX]));
        let sums = sums(&column, &[0, 0, 0, 1, 1], 2).unwrap();
        assert_eq!(sums.as_primitive::<arrow::datatypes::Float64Type>().values(), &[0.0, f64::INFINITY]);
    }
}
