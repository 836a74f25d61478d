//! Rows from numbers: what stands in a cell depends on the seed, the column's place and the row's number, and on nothing else.
//!
//! | column | value |
//! |---|---|
//! | boolean | half of them true |
//! | int64 | 0 up to `keys`, not included; the row's number if it is the column `sequence` |
//! | float64 | 0 up to 1, not included |
//! | utf8 | `words` words, each of `k0`, `k1` ... up to `keys` |
//! | binary | 8 bytes, `keys` different ones |
//! | timestamp | 2024-01-01T00:00:00Z, and one millisecond more with each row |
//!
//! A column that may be null is so in one row of ten, by chance. The chance is that of SplitMix64 (Steele, Lea, Flood: Fast
//! splittable pseudorandom number generators, 2014), which can start at any number.

use std::ops::Range;
use std::sync::Arc;

use arrow::array::{
    ArrayRef, BinaryArray, BooleanArray, Float64Array, Int64Array, StringArray, TimestampMicrosecondArray,
};
use arrow::buffer::{Buffer, NullBuffer, OffsetBuffer, ScalarBuffer};
use arrow::datatypes::{DataType, SchemaRef};
use millpond_core::schema::{TIMESTAMP, describe};

use super::RateSourceOptions;
use crate::{Error, Result};

/// 2024-01-01T00:00:00Z, microseconds.
const FIRST_US: i64 = 1_704_067_200_000_000;

/// The longest word and a space: `k`, 20 digits, the space.
const WORD_BYTES_MAX: u64 = 22;

/// One in so many cells that may be null is.
const NULL_EVERY: u64 = 10;

/// Makes columns.
pub(super) struct Generator {
    pub(super) schema: SchemaRef,
    seed: u64,
    keys: u64,
    words: u64,
    /// The column that has the rows' numbers.
    sequence: Option<usize>,
}

impl Generator {
    pub(super) fn try_new(options: &RateSourceOptions, source_name: &str, schema: &SchemaRef) -> Result<Self> {
        let mismatch = |reason: String| Error::FormatMismatch {
            source_name: source_name.to_owned(),
            reason,
            wanted: describe(schema),
        };
        let sequence = options.sequence.as_ref().map(|name| {
            let found = schema.fields().iter().position(|field| field.name() == name);
            found.filter(|column| *schema.field(*column).data_type() == DataType::Int64).ok_or_else(|| {
                mismatch(format!("sequence = \"{name}\" names no column of type int64: name one, or leave it out"))
            })
        });
        if let Some(field) = schema.fields().iter().find(|field| !can_make(field.data_type())) {
            return Err(mismatch(format!("column `{}` has a type that a rate source cannot make", field.name())));
        }
        Ok(Self {
            schema: SchemaRef::clone(schema),
            seed: options.seed,
            keys: options.keys,
            words: options.words,
            sequence: sequence.transpose()?,
        })
    }

    /// So many rows fit into one record batch: Arrow's string offsets are 32-bit.
    pub(super) fn rows_max(&self) -> u64 {
        i32::MAX as u64 / (self.words * WORD_BYTES_MAX)
    }

    /// The columns of the rows with these numbers.
    pub(super) fn columns(&self, rows: Range<u64>) -> Vec<ArrayRef> {
        (0..self.schema.fields().len()).map(|column| self.column(column, rows.clone())).collect()
    }

    fn column(&self, column: usize, rows: Range<u64>) -> ArrayRef {
        let field = self.schema.field(column);
        let chance = Chance::of(self.seed, column as u64);
        let nulls = field.is_nullable().then(|| {
            let chance = Chance(mix(chance.0));
            rows.clone().map(|row| !chance.at(row).is_multiple_of(NULL_EVERY)).collect::<NullBuffer>()
        });
        let key = |row: u64| below(chance.at(row), self.keys);
        match field.data_type() {
            DataType::Boolean => Arc::new(BooleanArray::new(rows.map(|row| chance.at(row) & 1 == 1).collect(), nulls)),
            DataType::Int64 if self.sequence == Some(column) => {
                Arc::new(Int64Array::new(rows.map(u64::cast_signed).collect(), nulls))
            }
            DataType::Int64 => Arc::new(Int64Array::new(rows.map(|row| key(row).cast_signed()).collect(), nulls)),
            // 53 bits are what a float holds exactly.
            DataType::Float64 => {
                let value = |row| (chance.at(row) >> 11) as f64 / (1_u64 << 53) as f64;
                Arc::new(Float64Array::new(rows.map(value).collect(), nulls))
            }
            DataType::Binary => {
                let bytes: Vec<u8> = rows.clone().flat_map(|row| mix(key(row)).to_be_bytes()).collect();
                let offsets = OffsetBuffer::from_lengths(rows.map(|_| 8));
                Arc::new(BinaryArray::new(offsets, Buffer::from_vec(bytes), nulls))
            }
            data_type if *data_type == TIMESTAMP => {
                let value = |row: u64| FIRST_US.wrapping_add(row.cast_signed().wrapping_mul(1000));
                Arc::new(TimestampMicrosecondArray::new(rows.map(value).collect(), nulls))
            }
            _ => Arc::new(self.texts(chance, rows, nulls)),
        }
    }

    fn texts(&self, chance: Chance, rows: Range<u64>, nulls: Option<NullBuffer>) -> StringArray {
        let count = usize::try_from(rows.end - rows.start).unwrap_or(0);
        let mut bytes: Vec<u8> = Vec::with_capacity(count * 8);
        let mut offsets: Vec<i32> = Vec::with_capacity(count + 1);
        offsets.push(0);
        for row in rows {
            for word in 0..self.words {
                if word > 0 {
                    bytes.push(b' ');
                }
                // Words of a row are neighbours in one sequence.
                let place = row.wrapping_mul(self.words).wrapping_add(word);
                push_word(&mut bytes, below(chance.at(place), self.keys));
            }
            offsets.push(i32::try_from(bytes.len()).expect("a split has no more rows than fit"));
        }
        StringArray::new(OffsetBuffer::new(ScalarBuffer::from(offsets)), Buffer::from_vec(bytes), nulls)
    }
}

fn can_make(data_type: &DataType) -> bool {
    let plain = [DataType::Boolean, DataType::Int64, DataType::Float64, DataType::Utf8, DataType::Binary, TIMESTAMP];
    plain.contains(data_type)
}

/// `k` and the number.
fn push_word(bytes: &mut Vec<u8>, number: u64) {
    let (mut digits, mut at, mut rest) = ([0; 20], 20, number);
    loop {
        at -= 1;
        digits[at] = b'0' + (rest % 10) as u8;
        rest /= 10;
        if rest == 0 {
            break;
        }
    }
    bytes.push(b'k');
    bytes.extend_from_slice(&digits[at..]);
}

/// Random numbers of a column.
#[derive(Clone, Copy)]
struct Chance(u64);

/// The step between two states of SplitMix64: 2^64 divided by the golden ratio, odd.
const STEP: u64 = 0x9e37_79b9_7f4a_7c15;

impl Chance {
    fn of(seed: u64, column: u64) -> Self {
        Self(mix(mix(seed.wrapping_add(STEP)).wrapping_add(column.wrapping_mul(STEP))))
    }

    /// The number at a place.
    #[inline]
    fn at(self, place: u64) -> u64 {
        mix(self.0.wrapping_add(place.wrapping_add(1).wrapping_mul(STEP)))
    }
}

/// The output function of SplitMix64.
#[inline]
fn mix(state: u64) -> u64 {
    let state = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let state = (state ^ (state >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    state ^ (state >> 31)
}

/// A random number cut down to 0 up to `limit`, not included (Lemire's multiplication, without the rejection: the bias is far below
/// what made-up data could show).
#[inline]
fn below(random: u64, limit: u64) -> u64 {
    ((u128::from(random) * u128::from(limit)) >> 64) as u64
}
