//! Rows: what a stream carries, and how a row lies in columns.
//!
//! A row type names three things: itself (owned), its `Ref` (what closures see: a cheap view straight into the columns),
//! and its `Columns` (storage that grows row by row). Columns are input buffers, output builders and the key storage of
//! the combine all in one: a batch that comes in is moved into them without a copy, and moved out again.
//!
//! Nested rows lie flat: a tuple or struct has the columns of its parts, one after the other. Tests: `tests.rs`.

mod option;
mod primitive;
mod reader;
#[cfg(test)]
mod tests;
mod text;
mod tuple;

use std::cmp::Ordering;
use std::fmt;

pub use primitive::Timestamp;
pub use reader::ColumnReader;

use crate::bindings::millpond::plugin::types::{Batch, Column, DataType, Failure, Field};
use crate::hash::Digest;

/// A type whose values can be rows of a stream.
///
/// | type | column | view in closures |
/// |---|---|---|
/// | `String` | utf8 | `&str` |
/// | `Vec<u8>` | binary | `&[u8]` |
/// | `i64`, `f64`, `bool`, [`Timestamp`] | one | itself |
/// | `Option<T>` of these | the same, nullable | `Option` of the view |
/// | tuples up to eight | those of the parts: `_1`, `_2`, `_2._1` ... | tuple of views |
/// | `#[derive(Row)]` struct `Visit` | its fields' | `VisitRef<'_>` |
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
    note = "rows are String, Vec<u8>, i64, f64, bool, Timestamp, Option of these, tuples of rows up to eight, and structs with #[derive(Row)]",
    note = "for other integers use i64, for `&str` use String: closures see it as `&str` anyway"
)]
pub trait Row: Sized + 'static {
    /// What closures see of a row: borrowed from the columns, cheap to copy.
    type Ref<'a>: Copy + fmt::Debug + PartialEq;

    /// Growing columns of such rows.
    type Columns: Default + Send + 'static;

    /// A [`ColumnOf`](crate::ColumnOf) for each value, in the shape of the row: what `sort_by` closures see.
    type Picks: Copy;

    /// How many columns a row takes.
    const WIDTH: usize;

    /// How many leading columns are the key: a pair's first part, otherwise none.
    const KEY_COLUMNS: usize = 0;

    /// Appends the columns' names and types. `name` is what the row is called in the row around it; empty outside.
    fn fields(name: &str, fields: &mut Vec<Field>);

    /// Takes and checks the row's columns.
    ///
    /// # Errors
    /// `bad-input` if a column is missing, has another type or is malformed.
    fn read(reader: &mut ColumnReader<'_>) -> Result<Self::Columns, Failure>;

    /// Appends the finished columns.
    fn write(columns: Self::Columns, out: &mut Vec<Column>);

    /// Row `row`. Panics past the last row.
    fn get(columns: &Self::Columns, row: usize) -> Self::Ref<'_>;

    /// Appends a row.
    fn push(columns: &mut Self::Columns, row: Self::Ref<'_>);

    /// Appends a row whose value nobody will look at (the slot of a null).
    fn push_empty(columns: &mut Self::Columns);

    /// The row that is this text, if rows are text.
    #[doc(hidden)]
    #[inline]
    fn of_text(_text: &str) -> Option<Self::Ref<'_>> {
        None
    }

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
    note = "keys are String, Vec<u8>, i64, f64, bool, Timestamp, Option of these, tuples of keys up to eight, and structs with #[derive(Row)]"
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

/// A row of exactly one column that is not nullable: what `Option` may hold.
#[diagnostic::on_unimplemented(
    message = "`Option<{Self}>` cannot be a row of a stream",
    label = "only a single column can be optional",
    note = "make the parts optional instead: `(Option<A>, Option<B>)`, or a struct with optional fields"
)]
pub trait Value: Ordered {
    /// The column's type.
    const DATA_TYPE: DataType;
}

/// Values that have a smallest and a largest, as the host knows it.
#[diagnostic::on_unimplemented(
    message = "`{Self}` has no min and max",
    label = "not comparable",
    note = "min and max work on i64, f64, String and Timestamp; for anything else use reduce_by_key with a closure"
)]
pub trait Comparable: Ordered {
    /// The order of min and max: as [`Ordered::order`], but `-0.0` comes before `0.0`, so that no answer depends on which came
    /// first. The host's min and max have the same.
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

/// Numbers that can be summed: i64, f64 and tuples of them.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be summed",
    label = "not a number",
    note = "sums work on i64, f64 and tuples of them; make the value a number first, with map_values"
)]
pub trait Sum: Row {
    /// Nothing.
    const ZERO: Self;

    /// Whether taking off what was added leaves nothing behind: true for whole numbers.
    const EXACT: bool;

    /// Adds; `false` if an i64 overflowed, and then `self` means nothing.
    fn add(&mut self, value: Self::Ref<'_>) -> bool;

    /// Puts a value into row `row` of the columns, in the place of the one there.
    fn set_at(columns: &mut Self::Columns, row: usize, value: Self::Ref<'_>);
}

/// A number with a mean.
#[diagnostic::on_unimplemented(
    message = "`{Self}` has no mean",
    label = "not a number",
    note = "means work on i64 and f64"
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
    let mut reader = ColumnReader::try_new(batch, fields)?;
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
        ColumnData::Utf8(data) | ColumnData::Binary(data) => data.bytes.len(),
        ColumnData::Boolean(bits) => bits.len(),
        ColumnData::Int64(values) | ColumnData::Timestamp(values) => values.len() * 8,
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
    if fits { Ok(Batch { rows, columns }) } else { Err(too_large("bytes in a column")) }
}

/// The name of part `part` of the row called `name`.
#[doc(hidden)]
#[must_use]
pub fn part_name(name: &str, part: &str) -> String {
    if name.is_empty() { part.to_owned() } else { format!("{name}.{part}") }
}
