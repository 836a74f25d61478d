//! Maps: lists of entries, a column of all keys and a column of all values.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::fmt;

use super::nested::order_all;
use super::{
    ColumnReader, Element, ListColumns, ListRef, Row, Single, Validity, Value, read_struct, struct_field, write_struct,
};
use crate::bindings::millpond::plugin::types::{Column, ColumnData, DataType, Failure, Field};
use crate::sortkey::ColumnOf;

/// View of a `BTreeMap<K, V>`: the entries of a row's map, straight out of the columns.
///
/// What a job writes is in the order of the keys. What comes from outside is in the order in which the outside gave it.
///
/// ```
/// use std::collections::BTreeMap;
///
/// use millpond::{MapRef, Row};
///
/// fn total(counts: MapRef<'_, String, i64>) -> i64 {
///     counts.iter().map(|(_, count)| count).sum()
/// }
/// let counts = BTreeMap::from([("a".to_owned(), 1), ("b".to_owned(), 2)]);
/// assert_eq!(total(counts.to_ref()), 3);
/// assert_eq!(counts.to_ref().get("b"), Some(2));
/// ```
pub struct MapRef<'a, K: Row, V: Row>(Entries<'a, K, V>);

enum Entries<'a, K: Row, V: Row> {
    Columns { keys: ListRef<'a, K>, values: ListRef<'a, V> },
    Map(&'a BTreeMap<K, V>),
}

impl<'a, K: Single, V: Row> MapRef<'a, K, V> {
    /// How many entries there are.
    #[must_use]
    pub fn len(&self) -> usize {
        match self.0 {
            Entries::Columns { keys, .. } => keys.len(),
            Entries::Map(map) => map.len(),
        }
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The value of a key. **Cost**: looks at the entries one by one.
    #[must_use]
    pub fn get(&self, key: K::Ref<'_>) -> Option<V::Ref<'a>> {
        self.iter().find(|(found, _)| K::order(*found, key).is_eq()).map(|(_, value)| value)
    }

    /// Whether a key is there. **Cost**: as [`get`](Self::get).
    #[must_use]
    pub fn contains_key(&self, key: K::Ref<'_>) -> bool {
        self.get(key).is_some()
    }

    /// The entries, in order.
    pub fn iter(&self) -> MapIter<'a, K, V> {
        MapIter(match self.0 {
            Entries::Columns { keys, values } => Iter::Columns(keys.iter(), values.iter()),
            Entries::Map(map) => Iter::Map(map.iter()),
        })
    }

    /// The keys, in order.
    pub fn keys(&self) -> impl Iterator<Item = K::Ref<'a>> {
        self.iter().map(|(key, _)| key)
    }

    /// The values, in the order of their keys.
    pub fn values(&self) -> impl Iterator<Item = V::Ref<'a>> {
        self.iter().map(|(_, value)| value)
    }
}

impl<K: Row, V: Row> Clone for MapRef<'_, K, V> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<K: Row, V: Row> Copy for MapRef<'_, K, V> {}

impl<K: Row, V: Row> Clone for Entries<'_, K, V> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<K: Row, V: Row> Copy for Entries<'_, K, V> {}

impl<K: Single, V: Row> fmt::Debug for MapRef<'_, K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.iter()).finish()
    }
}

/// The same entries in the same order.
impl<K: Single, V: Row> PartialEq for MapRef<'_, K, V> {
    fn eq(&self, other: &Self) -> bool {
        self.len() == other.len() && self.iter().eq(other.iter())
    }
}

impl<'a, K: Row, V: Row> From<&'a BTreeMap<K, V>> for MapRef<'a, K, V> {
    fn from(map: &'a BTreeMap<K, V>) -> Self {
        Self(Entries::Map(map))
    }
}

impl<'a, K: Single, V: Row> IntoIterator for MapRef<'a, K, V> {
    type Item = (K::Ref<'a>, V::Ref<'a>);
    type IntoIter = MapIter<'a, K, V>;

    fn into_iter(self) -> MapIter<'a, K, V> {
        self.iter()
    }
}

/// The entries of a map.
pub struct MapIter<'a, K: Row, V: Row>(Iter<'a, K, V>);

enum Iter<'a, K: Row, V: Row> {
    Columns(super::list::ListIter<'a, K>, super::list::ListIter<'a, V>),
    Map(std::collections::btree_map::Iter<'a, K, V>),
}

impl<'a, K: Row, V: Row> Iterator for MapIter<'a, K, V> {
    type Item = (K::Ref<'a>, V::Ref<'a>);

    fn next(&mut self) -> Option<Self::Item> {
        match &mut self.0 {
            Iter::Columns(keys, values) => keys.next().zip(values.next()),
            Iter::Map(entries) => entries.next().map(|(key, value)| (key.to_ref(), value.to_ref())),
        }
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        match &self.0 {
            Iter::Columns(keys, _) => keys.size_hint(),
            Iter::Map(entries) => entries.size_hint(),
        }
    }
}

impl<K: Row, V: Row> ExactSizeIterator for MapIter<'_, K, V> {}

impl<K: Single + Ord, V: Element> Row for BTreeMap<K, V> {
    type Ref<'a> = MapRef<'a, K, V>;
    type Columns = ListColumns<(K::Columns, V::Columns)>;
    type Picks = ColumnOf<BTreeMap<K, V>>;
    const WIDTH: usize = 1;

    fn column_fields(name: &str, nullable: bool, fields: &mut Vec<Field>) {
        fields.push(Field { name: name.to_owned(), data_type: DataType::Map, nullable, children: 1 });
        struct_field("entries", false, 2, fields);
        K::column_fields("key", false, fields);
        V::column_fields("value", false, fields);
    }

    fn leaf_names(leaves: &mut Vec<&'static [&'static str]>) {
        K::leaf_names(leaves);
        V::leaf_names(leaves);
    }

    fn read_column(reader: &mut ColumnReader<'_>, nullable: bool) -> Result<(Self::Columns, Validity), Failure> {
        let (taken, validity) = reader.next(nullable)?;
        let offsets = taken.map()?;
        let len = offsets.last().map_or(0, |last| *last as usize);
        let values = reader.of_rows(len, |reader| {
            read_struct(reader, false)?;
            Ok((K::read_column(reader, false)?.0, V::read_column(reader, false)?.0))
        })?;
        Ok((ListColumns { offsets, values, len }, validity))
    }

    fn write_column(columns: Self::Columns, validity: Validity, out: &mut Vec<Column>) {
        out.push(Column { data: ColumnData::Map(columns.offsets), validity });
        write_struct(None, out);
        K::write_column(columns.values.0, None, out);
        V::write_column(columns.values.1, None, out);
    }

    #[inline]
    fn get(columns: &Self::Columns, row: usize) -> MapRef<'_, K, V> {
        let range = columns.range(row);
        let keys = ListRef::of_columns(&columns.values.0, range.clone());
        MapRef(Entries::Columns { keys, values: ListRef::of_columns(&columns.values.1, range) })
    }

    fn push(columns: &mut Self::Columns, row: MapRef<'_, K, V>) {
        row.iter().for_each(|entry| columns.push_value::<(K, V)>(entry));
        columns.end_row();
    }

    fn push_empty(columns: &mut Self::Columns) {
        columns.end_row();
    }

    fn clear(columns: &mut Self::Columns) {
        <(K, V)>::clear(&mut columns.values);
        columns.offsets.truncate(1);
        columns.len = 0;
    }

    fn byte_len(columns: &Self::Columns) -> usize {
        <(K, V)>::byte_len(&columns.values) + columns.offsets.len() * size_of::<u32>()
    }

    fn order_at(columns: &Self::Columns, _column: usize, left: usize, right: usize) -> Ordering {
        let (left, right) = (columns.range(left), columns.range(right));
        let by_length = left.len().cmp(&right.len());
        let by_entry = |(left, right)| order_all::<(K, V)>(&columns.values, left, right);
        left.zip(right).map(by_entry).find(|order| order.is_ne()).unwrap_or(by_length)
    }

    fn picks(first: usize) -> ColumnOf<Self> {
        ColumnOf::new(first)
    }

    fn from_ref(row: MapRef<'_, K, V>) -> Self {
        row.iter().map(|(key, value)| (K::from_ref(key), V::from_ref(value))).collect()
    }

    #[inline]
    fn to_ref(&self) -> MapRef<'_, K, V> {
        self.into()
    }
}

impl<K: Single + Ord, V: Element> Value for BTreeMap<K, V> {}
impl<K: Single + Ord, V: Element> Element for BTreeMap<K, V> {}
