//! Lists: a column of where each row begins among all values, and the column of all values.

use std::cmp::Ordering;
use std::fmt;

use super::nested::order_all;
use super::{ColumnReader, Element, Row, Validity, Value};
use crate::bindings::millpond::plugin::types::{Column, ColumnData, DataType, Failure, Field};
use crate::sortkey::ColumnOf;

/// A column of lists: the values of all rows, and where each row ends.
#[derive(Clone, Debug)]
pub struct ListColumns<C> {
    pub(super) offsets: Vec<u32>,
    pub(super) values: C,
    /// How many values there are; offsets are shorter numbers.
    pub(super) len: usize,
}

impl<C: Default> Default for ListColumns<C> {
    fn default() -> Self {
        Self { offsets: vec![0], values: C::default(), len: 0 }
    }
}

impl<C> ListColumns<C> {
    /// Appends a value to the row that [`end_row`](Self::end_row) will end.
    #[inline]
    pub(crate) fn push_value<V: Row<Columns = C>>(&mut self, value: V::Ref<'_>) {
        V::push(&mut self.values, value);
        self.len += 1;
    }

    /// Ends a row: it has the values since the one before.
    // An offset that does not fit is cut short here and refused when the batch is finished: no check per row.
    #[inline]
    pub(crate) fn end_row(&mut self) {
        self.offsets.push(self.len as u32);
    }

    #[inline]
    pub(super) fn range(&self, row: usize) -> std::ops::Range<usize> {
        self.offsets[row] as usize..self.offsets[row + 1] as usize
    }
}

/// View of a `Vec<V>`: the values of a row's list, straight out of the columns.
///
/// ```
/// use millpond::{ListRef, Row};
///
/// fn longest<'a>(words: ListRef<'a, String>) -> Option<&'a str> {
///     words.iter().max_by_key(|word| word.len())
/// }
/// let words = vec!["a".to_owned(), "mill".to_owned()];
/// assert_eq!(longest(words.to_ref()), Some("mill"));
/// assert_eq!(words.to_ref().get(0), Some("a"));
/// ```
pub struct ListRef<'a, V: Row>(Values<'a, V>);

enum Values<'a, V: Row> {
    /// Rows `start..end` of columns.
    Columns { columns: &'a V::Columns, start: usize, end: usize },
    /// Owned values.
    Slice(&'a [V]),
}

impl<'a, V: Row> ListRef<'a, V> {
    pub(crate) fn of_columns(columns: &'a V::Columns, range: std::ops::Range<usize>) -> Self {
        Self(Values::Columns { columns, start: range.start, end: range.end })
    }

    /// How many values there are.
    #[must_use]
    #[inline]
    pub fn len(&self) -> usize {
        match self.0 {
            Values::Columns { start, end, .. } => end - start,
            Values::Slice(values) => values.len(),
        }
    }

    /// Whether there are none.
    #[must_use]
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Value `index`, from 0.
    #[must_use]
    #[inline]
    pub fn get(&self, index: usize) -> Option<V::Ref<'a>> {
        match self.0 {
            Values::Columns { columns, start, end } => (index < end - start).then(|| V::get(columns, start + index)),
            Values::Slice(values) => values.get(index).map(V::to_ref),
        }
    }

    /// The values, in order.
    #[inline]
    pub fn iter(&self) -> ListIter<'a, V> {
        ListIter { list: *self, next: 0, end: self.len() }
    }

    /// The values as they are, owned.
    #[must_use]
    pub fn to_vec(&self) -> Vec<V> {
        self.iter().map(V::from_ref).collect()
    }
}

impl<V: Row> Clone for ListRef<'_, V> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<V: Row> Copy for ListRef<'_, V> {}

impl<V: Row> Clone for Values<'_, V> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<V: Row> Copy for Values<'_, V> {}

impl<V: Row> fmt::Debug for ListRef<'_, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

impl<V: Row> PartialEq for ListRef<'_, V> {
    fn eq(&self, other: &Self) -> bool {
        self.len() == other.len() && self.iter().eq(other.iter())
    }
}

impl<'a, V: Row> From<&'a [V]> for ListRef<'a, V> {
    fn from(values: &'a [V]) -> Self {
        Self(Values::Slice(values))
    }
}

impl<'a, V: Row> From<&'a Vec<V>> for ListRef<'a, V> {
    fn from(values: &'a Vec<V>) -> Self {
        Self(Values::Slice(values))
    }
}

impl<'a, V: Row> IntoIterator for ListRef<'a, V> {
    type Item = V::Ref<'a>;
    type IntoIter = ListIter<'a, V>;

    fn into_iter(self) -> ListIter<'a, V> {
        self.iter()
    }
}

impl<'a, V: Row> IntoIterator for &ListRef<'a, V> {
    type Item = V::Ref<'a>;
    type IntoIter = ListIter<'a, V>;

    fn into_iter(self) -> ListIter<'a, V> {
        self.iter()
    }
}

/// The values of a list.
pub struct ListIter<'a, V: Row> {
    list: ListRef<'a, V>,
    next: usize,
    end: usize,
}

impl<V: Row> Clone for ListIter<'_, V> {
    fn clone(&self) -> Self {
        Self { ..*self }
    }
}

impl<V: Row> fmt::Debug for ListIter<'_, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.clone()).finish()
    }
}

impl<'a, V: Row> Iterator for ListIter<'a, V> {
    type Item = V::Ref<'a>;

    #[inline]
    fn next(&mut self) -> Option<V::Ref<'a>> {
        if self.next == self.end {
            return None;
        }
        self.next += 1;
        self.list.get(self.next - 1)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.end - self.next, Some(self.end - self.next))
    }
}

impl<V: Row> DoubleEndedIterator for ListIter<'_, V> {
    #[inline]
    fn next_back(&mut self) -> Option<Self::Item> {
        if self.next == self.end {
            return None;
        }
        self.end -= 1;
        self.list.get(self.end)
    }
}

impl<V: Row> ExactSizeIterator for ListIter<'_, V> {}

impl<V: Element> Row for Vec<V> {
    type Ref<'a> = ListRef<'a, V>;
    type Columns = ListColumns<V::Columns>;
    type Picks = ColumnOf<Vec<V>>;
    const WIDTH: usize = 1;

    fn column_fields(name: &str, nullable: bool, fields: &mut Vec<Field>) {
        fields.push(Field { name: name.to_owned(), data_type: DataType::List, nullable, children: 1 });
        V::column_fields("item", false, fields);
    }

    fn leaf_names(leaves: &mut Vec<&'static [&'static str]>) {
        V::leaf_names(leaves);
    }

    fn read_column(reader: &mut ColumnReader<'_>, nullable: bool) -> Result<(Self::Columns, Validity), Failure> {
        let (taken, validity) = reader.next(nullable)?;
        let offsets = taken.list()?;
        let len = offsets.last().map_or(0, |last| *last as usize);
        let values = reader.of_rows(len, |reader| Ok(V::read_column(reader, false)?.0))?;
        Ok((ListColumns { offsets, values, len }, validity))
    }

    fn write_column(columns: Self::Columns, validity: Validity, out: &mut Vec<Column>) {
        out.push(Column { data: ColumnData::List(columns.offsets), validity });
        V::write_column(columns.values, None, out);
    }

    #[inline]
    fn get(columns: &Self::Columns, row: usize) -> ListRef<'_, V> {
        ListRef::of_columns(&columns.values, columns.range(row))
    }

    #[inline]
    fn push(columns: &mut Self::Columns, row: ListRef<'_, V>) {
        row.iter().for_each(|value| columns.push_value::<V>(value));
        columns.end_row();
    }

    fn push_empty(columns: &mut Self::Columns) {
        columns.end_row();
    }

    fn clear(columns: &mut Self::Columns) {
        V::clear(&mut columns.values);
        columns.offsets.truncate(1);
        columns.len = 0;
    }

    fn byte_len(columns: &Self::Columns) -> usize {
        V::byte_len(&columns.values) + columns.offsets.len() * size_of::<u32>()
    }

    fn order_at(columns: &Self::Columns, _column: usize, left: usize, right: usize) -> Ordering {
        let (left, right) = (columns.range(left), columns.range(right));
        let by_length = left.len().cmp(&right.len());
        let by_value = |(left, right)| order_all::<V>(&columns.values, left, right);
        left.zip(right).map(by_value).find(|order| order.is_ne()).unwrap_or(by_length)
    }

    fn picks(first: usize) -> ColumnOf<Self> {
        ColumnOf::new(first)
    }

    fn from_ref(row: ListRef<'_, V>) -> Self {
        row.to_vec()
    }

    #[inline]
    fn to_ref(&self) -> ListRef<'_, V> {
        self.into()
    }
}

impl<V: Element> Value for Vec<V> {}
impl<V: Element> Element for Vec<V> {}
