//! One body of code for all columns of values of a fixed size but booleans: numbers, times and decimals.

use arrow::datatypes::{DataType, Decimal128Type, DecimalType};

use crate::key;

/// The body with `$name` as the Arrow type of a data type, or another one if that is none of these.
macro_rules! with_primitive {
    ($data_type:expr, $name:ident => $body:expr, else $other:expr) => {
        match $data_type {
            arrow::datatypes::DataType::Int8 => with_primitive!(@ Int8Type $name $body),
            arrow::datatypes::DataType::Int16 => with_primitive!(@ Int16Type $name $body),
            arrow::datatypes::DataType::Int32 => with_primitive!(@ Int32Type $name $body),
            arrow::datatypes::DataType::Int64 => with_primitive!(@ Int64Type $name $body),
            arrow::datatypes::DataType::UInt8 => with_primitive!(@ UInt8Type $name $body),
            arrow::datatypes::DataType::UInt16 => with_primitive!(@ UInt16Type $name $body),
            arrow::datatypes::DataType::UInt32 => with_primitive!(@ UInt32Type $name $body),
            arrow::datatypes::DataType::UInt64 => with_primitive!(@ UInt64Type $name $body),
            arrow::datatypes::DataType::Float32 => with_primitive!(@ Float32Type $name $body),
            arrow::datatypes::DataType::Float64 => with_primitive!(@ Float64Type $name $body),
            arrow::datatypes::DataType::Date32 => with_primitive!(@ Date32Type $name $body),
            arrow::datatypes::DataType::Timestamp(..) => with_primitive!(@ TimestampMicrosecondType $name $body),
            arrow::datatypes::DataType::Duration(_) => with_primitive!(@ DurationMicrosecondType $name $body),
            arrow::datatypes::DataType::Decimal128(..) => with_primitive!(@ Decimal128Type $name $body),
            _ => $other,
        }
    };
    (@ $type:ident $name:ident $body:expr) => {{
        type $name = arrow::datatypes::$type;
        $body
    }};
}

pub(crate) use with_primitive;

/// A value whose bytes sort as the values do.
pub(crate) trait Ordinal: Copy + Default {
    /// Appends the bytes. Floats that are equal have the same, unless they are to stay exactly as they are.
    fn put(self, exact: bool, out: &mut Vec<u8>);

    /// Takes a value off the front of bytes.
    fn take(bytes: &[u8]) -> Option<(Self, &[u8])>;

    /// A number that is the larger the later the value comes. Values that are equal have the same, and so do decimals beyond
    /// what 64 bits hold.
    fn rank(self) -> u64;

    /// Whether a column of this type may hold the value.
    fn fits(self, _data_type: &DataType) -> bool {
        true
    }
}

macro_rules! signed {
    ($($type:ty, $unsigned:ty, |$value:ident| $as_i64:expr $(=> $fits:item)?;)*) => {$(
        impl Ordinal for $type {
            fn put(self, _exact: bool, out: &mut Vec<u8>) {
                out.extend((self.cast_unsigned() ^ (1 << (<$type>::BITS - 1))).to_be_bytes());
            }

            fn take(bytes: &[u8]) -> Option<(Self, &[u8])> {
                let (value, rest) = bytes.split_first_chunk()?;
                Some(((<$unsigned>::from_be_bytes(*value) ^ (1 << (<$type>::BITS - 1))).cast_signed(), rest))
            }

            fn rank(self) -> u64 {
                let $value = self;
                let value: i64 = $as_i64;
                value.cast_unsigned() ^ (1 << 63)
            }

            $($fits)?
        }
    )*};
}

signed!(
    i8, u8, |value| value.into();
    i16, u16, |value| value.into();
    i32, u32, |value| value.into();
    i64, u64, |value| value;
    i128, u128, |value| value.clamp(i64::MIN.into(), i64::MAX.into()) as i64 => fn fits(self, data_type: &DataType) -> bool {
        !matches!(data_type, DataType::Decimal128(digits, _) if !Decimal128Type::is_valid_decimal_precision(self, *digits))
    };
);

macro_rules! unsigned {
    ($($type:ty),*) => {$(
        impl Ordinal for $type {
            fn put(self, _exact: bool, out: &mut Vec<u8>) {
                out.extend(self.to_be_bytes());
            }

            fn take(bytes: &[u8]) -> Option<(Self, &[u8])> {
                let (value, rest) = bytes.split_first_chunk()?;
                Some((Self::from_be_bytes(*value), rest))
            }

            fn rank(self) -> u64 {
                self.into()
            }
        }
    )*};
}

unsigned!(u8, u16, u32, u64);

macro_rules! float {
    ($($type:ty, $bits:ty);*) => {$(
        impl Ordinal for $type {
            fn put(self, exact: bool, out: &mut Vec<u8>) {
                let value = match self {
                    value if exact => value,
                    value if value.is_nan() => <$type>::NAN,
                    // -0.0 too.
                    0.0 => 0.0,
                    value => value,
                };
                let (bits, sign) = (value.to_bits(), 1 << (<$bits>::BITS - 1));
                out.extend((if bits & sign == 0 { bits | sign } else { !bits }).to_be_bytes());
            }

            fn take(bytes: &[u8]) -> Option<(Self, &[u8])> {
                let (value, rest) = bytes.split_first_chunk()?;
                let (bits, sign) = (<$bits>::from_be_bytes(*value), 1 << (<$bits>::BITS - 1));
                Some((Self::from_bits(if bits & sign == 0 { !bits } else { bits & !sign }), rest))
            }

            fn rank(self) -> u64 {
                u64::from_be_bytes(key::float(self.into()))
            }
        }
    )*};
}

float!(f32, u32; f64, u64);
