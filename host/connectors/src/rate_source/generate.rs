//! Rows from numbers: what stands in a cell depends on the seed, the column's place and the row's number, and on nothing else.
//!
//! | column | value |
//! |---|---|
//! | boolean | half of them true |
//! | int8 to int64, uint8 to uint64, date, duration, decimal | 0 up to `keys`, not included, as far as the type goes; an int64 column `sequence` has the row's number |
//! | float32, float64 | 0 up to 1, not included |
//! | utf8 | `words` words, each of `k0`, `k1` ... up to `keys` |
//! | binary | 8 bytes, `keys` different ones |
//! | timestamp | 2024-01-01T00:00:00Z, and one millisecond more with each row |
//! | struct, list, map | its fields; 0 to 3 items; one entry or none |
//!
//! A column that may be null is so in one row of ten, by chance. The chance is that of SplitMix64 (Steele, Lea, Flood: Fast
//! splittable pseudorandom number generators, 2014), which can start at any number.

use std::ops::Range;
use std::sync::Arc;

use arrow::array::{
    ArrayRef, ArrowPrimitiveType, BinaryArray, BooleanArray, Float32Array, Float64Array, Int64Array, ListArray,
    MapArray, PrimitiveArray, StringArray, StructArray, TimestampMicrosecondArray,
};
use arrow::buffer::{Buffer, NullBuffer, OffsetBuffer, ScalarBuffer};
use arrow::datatypes::{
    DataType, Date32Type, Decimal128Type, DurationMicrosecondType, Field, FieldRef, Int8Type, Int16Type, Int32Type,
    Int64Type, SchemaRef, TimeUnit, UInt8Type, UInt16Type, UInt32Type, UInt64Type,
};
use millpond_core::schema::{TIMESTAMP, describe, type_name};

use super::RateSourceOptions;
use crate::{Error, Result};

/// 2024-01-01T00:00:00Z, microseconds.
const FIRST_US: i64 = 1_704_067_200_000_000;

/// The longest word and a space: `k`, 20 digits, the space.
const WORD_BYTES_MAX: u64 = 22;

/// A list has at most so many items.
const ITEMS_MAX: u64 = 3;

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
        let items = self.schema.fields().iter().map(|field| items_of(field.data_type())).max().unwrap_or(1);
        (i32::MAX as u64 / (self.words * WORD_BYTES_MAX) / items).max(1)
    }

    /// The columns of the rows with these numbers.
    pub(super) fn columns(&self, rows: Range<u64>) -> Vec<ArrayRef> {
        let places: Vec<u64> = rows.collect();
        let fields = self.schema.fields().iter().enumerate();
        fields
            .map(|(column, field)| match self.sequence == Some(column) {
                true => Arc::new(Int64Array::from_iter_values(places.iter().map(|row| row.cast_signed()))) as ArrayRef,
                false => self.column(field, Chance::of(self.seed, column as u64), &places),
            })
            .collect()
    }

    /// A column, perhaps one inside of another. What stands in it is a function of `chance` and of each place.
    fn column(&self, field: &Field, chance: Chance, places: &[u64]) -> ArrayRef {
        let nulls = field.is_nullable().then(|| {
            let chance = Chance(mix(chance.0));
            places.iter().map(|place| !chance.at(*place).is_multiple_of(NULL_EVERY)).collect::<NullBuffer>()
        });
        let at = places.iter().map(|place| chance.at(*place));
        let key = |random: u64| below(random, self.keys);
        match field.data_type() {
            DataType::Boolean => Arc::new(BooleanArray::new(at.map(|random| random & 1 == 1).collect(), nulls)),
            DataType::Int8 => whole::<Int8Type>(at, self.keys, nulls),
            DataType::Int16 => whole::<Int16Type>(at, self.keys, nulls),
            DataType::Int32 => whole::<Int32Type>(at, self.keys, nulls),
            DataType::Int64 => whole::<Int64Type>(at, self.keys, nulls),
            DataType::UInt8 => whole::<UInt8Type>(at, self.keys, nulls),
            DataType::UInt16 => whole::<UInt16Type>(at, self.keys, nulls),
            DataType::UInt32 => whole::<UInt32Type>(at, self.keys, nulls),
            DataType::UInt64 => whole::<UInt64Type>(at, self.keys, nulls),
            DataType::Date32 => whole::<Date32Type>(at, self.keys, nulls),
            DataType::Duration(TimeUnit::Microsecond) => whole::<DurationMicrosecondType>(at, self.keys, nulls),
            DataType::Decimal128(precision, _) => {
                // As many digits as there are: `keys` of them at most.
                let keys = 10_u64.checked_pow(u32::from(*precision)).map_or(self.keys, |most| most.min(self.keys));
                let values = at.map(|random| i128::from(below(random, keys))).collect();
                let decimals = PrimitiveArray::<Decimal128Type>::new(values, nulls);
                Arc::new(decimals.with_data_type(field.data_type().clone()))
            }
            DataType::Float32 => {
                let share = |random: u64| (random >> 40) as f32 / (1_u64 << 24) as f32;
                Arc::new(Float32Array::new(at.map(share).collect(), nulls))
            }
            // 53 bits are what a float holds exactly.
            DataType::Float64 => {
                let share = |random: u64| (random >> 11) as f64 / (1_u64 << 53) as f64;
                Arc::new(Float64Array::new(at.map(share).collect(), nulls))
            }
            DataType::Binary => {
                let bytes: Vec<u8> = at.flat_map(|random| mix(key(random)).to_be_bytes()).collect();
                let offsets = OffsetBuffer::from_lengths(places.iter().map(|_| 8));
                Arc::new(BinaryArray::new(offsets, Buffer::from_vec(bytes), nulls))
            }
            data_type if *data_type == TIMESTAMP => {
                let value = |place: &u64| FIRST_US.wrapping_add(place.cast_signed().wrapping_mul(1000));
                Arc::new(TimestampMicrosecondArray::new(places.iter().map(value).collect(), nulls))
            }
            DataType::Struct(fields) => {
                let children = (1..).zip(fields).map(|(child, field)| self.column(field, chance.child(child), places));
                Arc::new(StructArray::new(fields.clone(), children.collect(), nulls))
            }
            DataType::List(item) => {
                let (offsets, items) = spread(chance, places, nulls.as_ref(), ITEMS_MAX);
                let items = self.column(item, chance.child(1), &items);
                Arc::new(ListArray::new(Arc::clone(item), offsets, items, nulls))
            }
            DataType::Map(entries, _) => self.map(entries, chance, places, nulls),
            _ => Arc::new(self.texts(chance, places, nulls)),
        }
    }

    /// At most one entry each, so that no key comes twice.
    fn map(&self, entries: &FieldRef, chance: Chance, places: &[u64], nulls: Option<NullBuffer>) -> ArrayRef {
        let (offsets, items) = spread(chance, places, nulls.as_ref(), 1);
        let DataType::Struct(fields) = entries.data_type() else { unreachable!("entries of a map are structs") };
        let children = (1..).zip(fields).map(|(child, field)| self.column(field, chance.child(child), &items));
        let entry = StructArray::new(fields.clone(), children.collect(), None);
        Arc::new(MapArray::new(Arc::clone(entries), offsets, entry, nulls, false))
    }

    fn texts(&self, chance: Chance, places: &[u64], nulls: Option<NullBuffer>) -> StringArray {
        let mut bytes: Vec<u8> = Vec::with_capacity(places.len() * 8);
        let mut offsets: Vec<i32> = Vec::with_capacity(places.len() + 1);
        offsets.push(0);
        for place in places {
            for word in 0..self.words {
                if word > 0 {
                    bytes.push(b' ');
                }
                // Words of a row are neighbours in one sequence.
                let place = place.wrapping_mul(self.words).wrapping_add(word);
                push_word(&mut bytes, below(chance.at(place), self.keys));
            }
            offsets.push(i32::try_from(bytes.len()).expect("a split has no more rows than fit"));
        }
        StringArray::new(OffsetBuffer::new(ScalarBuffer::from(offsets)), Buffer::from_vec(bytes), nulls)
    }
}

/// How many items each list has, and the places of all of them.
fn spread(chance: Chance, places: &[u64], nulls: Option<&NullBuffer>, items_max: u64) -> (OffsetBuffer<i32>, Vec<u64>) {
    let mut items = Vec::new();
    let lengths = places.iter().enumerate().map(|(row, place)| {
        let is_null = nulls.is_some_and(|nulls| nulls.is_null(row));
        let length = if is_null { 0 } else { below(chance.at(*place), items_max + 1) };
        items.extend((0..length).map(|item| place.wrapping_mul(items_max).wrapping_add(item)));
        usize::try_from(length).unwrap_or(0)
    });
    (OffsetBuffer::from_lengths(lengths.collect::<Vec<_>>()), items)
}

/// Whole numbers from 0, below `keys` and not above what the type holds.
fn whole<T: ArrowPrimitiveType>(at: impl Iterator<Item = u64>, keys: u64, nulls: Option<NullBuffer>) -> ArrayRef
where
    T::Native: TryFrom<u64>,
{
    // Half of what so many bits can say: signed types hold it, too.
    let bits = u32::try_from(size_of::<T::Native>() * 8).unwrap_or(64);
    let keys = 1_u64.checked_shl(bits - 1).map_or(keys, |most| most.min(keys));
    let values = at.map(|random| T::Native::try_from(below(random, keys)).unwrap_or_default());
    Arc::new(PrimitiveArray::<T>::new(values.collect(), nulls))
}

fn can_make(data_type: &DataType) -> bool {
    match data_type {
        DataType::Struct(fields) => fields.iter().all(|field| can_make(field.data_type())),
        DataType::List(item) => can_make(item.data_type()),
        DataType::Map(entries, _) => can_make(entries.data_type()),
        other => type_name(other).is_some(),
    }
}

/// How many values the innermost column of a row has at most.
fn items_of(data_type: &DataType) -> u64 {
    match data_type {
        DataType::Struct(fields) => fields.iter().map(|field| items_of(field.data_type())).max().unwrap_or(1),
        DataType::List(item) => ITEMS_MAX * items_of(item.data_type()),
        DataType::Map(entries, _) => items_of(entries.data_type()),
        _ => 1,
    }
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

    /// Random numbers of a column inside of this one.
    fn child(self, number: u64) -> Self {
        Self(mix(self.0.wrapping_add(number.wrapping_mul(STEP))) ^ number)
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
