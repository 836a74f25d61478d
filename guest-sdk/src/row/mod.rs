//! Rows: what a stream carries, and how a row lies in columns.
//!
//! A row type names three things: itself (owned), its `Ref` (what closures see: a cheap view straight into the columns),
//! and its `Columns` (storage that grows row by row). Columns are input buffers, output builders and the key storage of
//! the combine all in one: a batch that comes in is moved into them without a copy, and moved out again.
//!
//! Nested rows lie flat: a tuple or struct has the columns of its parts, one after the other. Where that cannot be (in a list
//! or map, or if it may be absent) it is one column of its own, a struct, with the parts as children. Tests: `tests.rs`.

mod decimal;
mod list;
mod map;
mod names;
mod nested;
mod option;
mod primitive;
mod reader;
#[cfg(test)]
mod tests;
mod text;
mod tuple;

use std::cmp::Ordering;
use std::fmt;

pub use decimal::{Decimal, DecimalError};
pub(crate) use list::ListColumns;
pub use list::ListRef;
pub use map::MapRef;
pub use names::{NameColumn, Names, hash_name, order_names};
pub use nested::{leaf_field, read_struct, struct_field, write_struct};
pub(crate) use nested::{names, renamed, top_level};
pub use primitive::{Date, TimeDelta, Timestamp};
pub use reader::ColumnReader;

use crate::bindings::millpond::plugin::types::{Batch, Column, DataType, Failure, Field};
use crate::bitmap::Bitmap;
use crate::failure::bad_input;
use crate::hash::Digest;

/// The bitmap of a nullable column, least significant bit first: 1 = the row has a value. `None` = every row has one.
#[doc(hidden)]
pub type Validity = Option<Vec<u8>>;

/// A type whose values can be rows of a stream.
///
/// | type | column | view in closures |
/// |---|---|---|
/// | `String` | utf8 | `&str` |
/// | `Vec<u8>` | binary | `&[u8]` |
/// | `i8` to `i64`, `u8` to `u64`, `f32`, `f64`, `bool` | one | itself |
/// | [`Timestamp`], [`Date`], [`TimeDelta`] | timestamp, date, duration | itself |
/// | [`Decimal<P, S>`](Decimal) | decimal | itself |
/// | `#[derive(Row)]` enum without fields | utf8: the names | itself |
/// | `Option<T>` | the same, nullable; a struct column if `T` has several | `Option` of the view |
/// | tuples up to eight | those of the parts: `_1`, `_2`, `_2._1` ... | tuple of views |
/// | `#[derive(Row)]` struct `Visit` | its fields' | `VisitRef<'_>` |
/// | `Vec<T>` of any of these but `u8` | list | [`ListRef<'_, T>`](ListRef) |
/// | `BTreeMap<K, V>` | map; `K` is a single column | [`MapRef<'_, K, V>`](MapRef) |
///
/// Tuples and structs inside of lists, maps and `Option` are struct columns, and so are those inside of them.
///
/// Use the derive; the methods are plumbing for it and for the operators.
///
/// ```
/// use millpond::{Row, Timestamp};
///
/// #[derive(Row, Debug, PartialEq)]
/// struct Visit {
///     page: String,
///     at: Timestamp,
///     price: Option<f64>,
/// }
///
/// fn is_home(visit: VisitRef<'_>) -> bool {
///     visit.page == "/home"
/// }
/// let visit = Visit { page: "/home".into(), at: Timestamp(0), price: None };
/// assert!(is_home(visit.to_ref()));
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be a row of a stream",
    label = "not a row",
    note = "rows are String, Vec<u8>, integers and floats, bool, Timestamp, Date, TimeDelta, Decimal, Option, Vec and BTreeMap of rows, tuples of rows up to eight, and structs and enums with #[derive(Row)]",
    note = "for usize and isize use u64 and i64, for `&str` use String: closures see it as `&str` anyway"
)]
pub trait Row: Sized + 'static {
    /// What closures see of a row: borrowed from the columns, cheap to copy.
    type Ref<'a>: Copy + fmt::Debug + PartialEq;

    /// Growing columns of such rows.
    type Columns: Default + Send + Sync + 'static;

    /// A [`ColumnOf`](crate::ColumnOf) for each value, in the shape of the row: what `sort_by` closures see.
    type Picks: Copy;

    /// How many columns a row takes.
    const WIDTH: usize;

    /// How many leading columns are the key: a pair's first part, otherwise none.
    const KEY_COLUMNS: usize = 0;

    /// Appends the columns' names and types. `name` is what the row is called in the row around it; empty outside.
    fn fields(name: &str, fields: &mut Vec<Field>) {
        Self::column_fields(if name.is_empty() { "value" } else { name }, false, fields);
    }

    /// Takes and checks the row's columns.
    ///
    /// # Errors
    /// `bad-input` if a column is missing, has another type or is malformed.
    fn read(reader: &mut ColumnReader<'_>) -> Result<Self::Columns, Failure> {
        Ok(Self::read_column(reader, false)?.0)
    }

    /// Appends the finished columns.
    fn write(columns: Self::Columns, out: &mut Vec<Column>) {
        Self::write_column(columns, None, out);
    }

    /// Appends the field that the row is as one column, and that field's children.
    #[doc(hidden)]
    fn column_fields(name: &str, nullable: bool, fields: &mut Vec<Field>);

    /// Appends, for each column without children, the names that are all it may have; none if any value of its type will do.
    /// **Order**: that of the fields.
    #[doc(hidden)]
    fn leaf_names(leaves: &mut Vec<&'static [&'static str]>) {
        leaves.push(&[]);
    }

    /// Takes and checks the row as one column, and which rows are there if it is nullable and some are not.
    #[doc(hidden)]
    fn read_column(reader: &mut ColumnReader<'_>, nullable: bool) -> Result<(Self::Columns, Validity), Failure>;

    /// Appends the row as one finished column, and that column's children.
    #[doc(hidden)]
    fn write_column(columns: Self::Columns, validity: Validity, out: &mut Vec<Column>);

    /// Row `row`. Panics past the last row.
    fn get(columns: &Self::Columns, row: usize) -> Self::Ref<'_>;

    /// Appends a row.
    fn push(columns: &mut Self::Columns, row: Self::Ref<'_>);

    /// Appends a row whose value nobody will look at (the slot of a null).
    fn push_empty(columns: &mut Self::Columns);

    /// Removes all rows, keeps the memory.
    fn clear(columns: &mut Self::Columns);

    /// How many bytes the rows take, approximately.
    fn byte_len(columns: &Self::Columns) -> usize;

    /// Compares column `column` of two rows: null first, false before true, NaN last, text and bytes by their bytes.
    fn order_at(columns: &Self::Columns, column: usize, left: usize, right: usize) -> Ordering;

    /// The picks of a row whose first column is number `first`.
    fn picks(first: usize) -> Self::Picks;

    /// An owned row.
    fn from_ref(row: Self::Ref<'_>) -> Self;

    /// The view of an owned row.
    fn to_ref(&self) -> Self::Ref<'_>;
}

/// A row that can be a key: rows of equal keys are merged, counted, kept in state together.
///
/// `#[derive(Row)]` implements it too. Of floats, `0.0` and `-0.0` are one key, and so are all NaN.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be a key",
    label = "not a key",
    note = "keys are all rows but lists and maps, and what has those inside"
)]
pub trait Key: Row {
    /// Takes the key into a running hash.
    fn hash(row: Self::Ref<'_>, hash: u64) -> u64;

    /// The key in two words.
    #[doc(hidden)]
    #[inline]
    fn digest(row: Self::Ref<'_>) -> Digest {
        Digest::of_hash(Self::hash(row, 0))
    }

    /// Whether row `row` of the columns equals the key.
    fn same_at(columns: &Self::Columns, row: usize, key: Self::Ref<'_>) -> bool;
}

/// A row that is not optional itself: what `Option` may hold.
#[diagnostic::on_unimplemented(
    message = "`Option<{Self}>` cannot be a row of a stream",
    label = "cannot be optional",
    note = "every row but Option itself can be optional; put an Option in an Option into a struct"
)]
pub trait Value: Row {}

/// A row that a list may hold: every one but `u8`, as a `Vec<u8>` is bytes.
#[diagnostic::on_unimplemented(
    message = "`Vec<{Self}>` cannot be a row of a stream",
    label = "cannot be in a list",
    note = "lists hold any row; for `Vec<u8>` use bytes, which it is"
)]
pub trait Element: Row {}

/// A row of exactly one column that is not nullable and has no children: what a map's keys are.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a single column",
    label = "not a single column",
    note = "single columns are text, bytes, numbers, bool, times and enums"
)]
pub trait Single: Value + Ordered {
    /// The column's type.
    const DATA_TYPE: DataType;

    /// What stands for it in a computed sort key: itself, or of enums the number of the variant.
    #[doc(hidden)]
    type SortAs: Single;

    #[doc(hidden)]
    fn sort_as<'a>(row: Self::Ref<'a>) -> <Self::SortAs as Row>::Ref<'a>;
}

/// [`Single`] of a type that is sorted as it is.
macro_rules! single {
    ({$($generics:tt)*} $type:ty, $data_type:expr) => {
        impl<$($generics)*> $crate::row::Single for $type {
            const DATA_TYPE: DataType = $data_type;
            type SortAs = Self;

            #[inline]
            fn sort_as<'a>(row: Self::Ref<'a>) -> Self::Ref<'a> {
                row
            }
        }
    };
}

pub(crate) use single;

/// Values that have a smallest and a largest.
#[diagnostic::on_unimplemented(
    message = "`{Self}` has no min and max",
    label = "not comparable",
    note = "min and max work on numbers, String, times and enums; for anything else use reduce_by_key with a closure"
)]
pub trait Comparable: Ordered {
    /// Whether the host's order of such a column is this one, so that it merges values by itself.
    #[doc(hidden)]
    const IN_HOST: bool = true;

    /// The order of min and max: as [`Ordered::order`], but `-0.0` comes before `0.0`, so that no answer depends on which came
    /// first, and enums are in the order of their variants. The host's min and max have the same.
    #[inline]
    fn extreme_order(left: Self::Ref<'_>, right: Self::Ref<'_>) -> Ordering {
        Self::order(left, right)
    }
}

/// Values with an order: what min, max and sorting use. Text and bytes by their bytes, NaN last, null first.
pub trait Ordered: Row {
    /// Which comes first.
    fn order(left: Self::Ref<'_>, right: Self::Ref<'_>) -> Ordering;
}

/// Numbers that can be summed: integers, floats, decimals, lengths of time and tuples of them.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be summed",
    label = "not a number",
    note = "sums work on numbers, TimeDelta and tuples of them; make the value a number first, with map_values"
)]
pub trait Sum: Row {
    /// Nothing.
    const ZERO: Self;

    /// Whether taking off what was added leaves nothing behind: true for whole numbers.
    const EXACT: bool;

    /// Adds; `false` if the sum leaves the range of its type, and then `self` means nothing.
    fn add(&mut self, value: Self::Ref<'_>) -> bool;

    /// Puts a value into row `row` of the columns, in the place of the one there.
    fn set_at(columns: &mut Self::Columns, row: usize, value: Self::Ref<'_>);
}

/// A number with a mean.
#[diagnostic::on_unimplemented(
    message = "`{Self}` has no mean",
    label = "not a number",
    note = "means work on numbers"
)]
pub trait Number: Sum {
    /// Divides a sum by how many there were.
    fn mean(sum: Self::Ref<'_>, count: i64) -> f64;
}

/// The schema of a row: its fields with their default names.
pub(crate) fn fields<T: Row>(name: &str) -> Vec<Field> {
    let mut fields = Vec::with_capacity(T::WIDTH);
    T::fields(name, &mut fields);
    fields
}

/// Checks a batch against its schema and turns it into columns.
pub(crate) fn read_batch<T: Row>(batch: Batch, fields: &[Field]) -> Result<(usize, T::Columns), Failure> {
    read_all::<T>(ColumnReader::try_new(batch, fields)?)
}

/// The same for states, of which those that are not present may hold any values.
pub(crate) fn read_states<T: Row>(
    batch: Batch,
    fields: &[Field],
    present: Vec<u8>,
) -> Result<(usize, T::Columns, Bitmap), Failure> {
    let keys = batch.rows as usize;
    let present = Bitmap::try_from_bytes(present, keys)
        .ok_or_else(|| bad_input(format!("`present` does not have one bit for each of {keys} keys")))?;
    let (_, columns) = read_all::<T>(ColumnReader::try_new(batch, fields)?.only_meant(present.clone()))?;
    Ok((keys, columns, present))
}

fn read_all<T: Row>(mut reader: ColumnReader<'_>) -> Result<(usize, T::Columns), Failure> {
    let columns = T::read(&mut reader)?;
    reader.finish()?;
    Ok((reader.rows(), columns))
}

/// Finishes columns into a batch.
pub(crate) fn write_batch<T: Row>(rows: usize, columns: T::Columns) -> Result<Batch, Failure> {
    let mut out = Vec::with_capacity(T::WIDTH);
    T::write(columns, &mut out);
    finish_batch(rows, out)
}

/// How large a batch's columns are, validity and offsets left out.
pub(crate) fn batch_bytes(batch: &Batch) -> usize {
    use crate::bindings::millpond::plugin::types::ColumnData;
    let bytes = |column: &Column| match &column.data {
        ColumnData::Struct => 0,
        ColumnData::Int8(values) => values.len(),
        ColumnData::Uint8(values) => values.len(),
        ColumnData::Int16(values) => values.len() * 2,
        ColumnData::Uint16(values) => values.len() * 2,
        ColumnData::Int32(values) | ColumnData::Date(values) => values.len() * 4,
        ColumnData::Uint32(values) => values.len() * 4,
        ColumnData::Float32(values) => values.len() * 4,
        ColumnData::Uint64(values) | ColumnData::Decimal(values) => values.len() * 8,
        ColumnData::List(offsets) | ColumnData::Map(offsets) => offsets.len() * 4,
        ColumnData::Utf8(data) | ColumnData::Binary(data) => data.bytes.len(),
        ColumnData::Boolean(bits) => bits.len(),
        ColumnData::Int64(values) | ColumnData::Timestamp(values) | ColumnData::Duration(values) => values.len() * 8,
        ColumnData::Float64(values) => values.len() * 8,
    };
    batch.columns.iter().map(bytes).sum()
}

/// Puts finished columns into a batch.
pub(crate) fn finish_batch(rows: usize, columns: Vec<Column>) -> Result<Batch, Failure> {
    use crate::bindings::millpond::plugin::types::ColumnData;
    let too_large = |what: &str| {
        crate::failure::user(format!(
            "the output of one call has too many {what}: at most 4294967295 are possible; use smaller partitions"
        ))
    };
    let rows = u32::try_from(rows).map_err(|_| too_large("rows"))?;
    let fits = columns.iter().all(|column| match &column.data {
        ColumnData::Utf8(data) | ColumnData::Binary(data) => u32::try_from(data.bytes.len()).is_ok(),
        _ => true,
    });
    // Offsets that did not fit were cut short, and then they go back.
    let lists_fit = columns.iter().all(|column| match &column.data {
        ColumnData::List(offsets) | ColumnData::Map(offsets) => offsets.is_sorted(),
        _ => true,
    });
    match (fits, lists_fit) {
        (true, true) => Ok(Batch { rows, columns }),
        (false, _) => Err(too_large("bytes in a column")),
        (_, false) => Err(too_large("values in the lists of a column")),
    }
}

/// The name of part `part` of the row called `name`.
#[doc(hidden)]
#[must_use]
pub fn part_name(name: &str, part: &str) -> String {
    if name.is_empty() { part.to_owned() } else { format!("{name}.{part}") }
}
