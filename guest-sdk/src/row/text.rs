//! Rows of one column of variable length: text and bytes.

use std::cmp::Ordering;

use super::primitive::single_field;
use super::{ColumnReader, Comparable, Element, Key, Ordered, Row, Validity, Value, single};
use crate::bindings::millpond::plugin::types::{Column, ColumnData, DataType, Failure, Field, VarData};
use crate::hash::{self, Digest};
use crate::sortkey::ColumnOf;

/// A column of text: all rows in one string, and where each ends.
#[derive(Clone, Debug)]
pub struct TextColumn {
    text: String,
    offsets: Vec<u32>,
}

/// A column of bytes: all rows in one buffer, and where each ends.
#[derive(Clone, Debug)]
pub struct BytesColumn {
    bytes: Vec<u8>,
    offsets: Vec<u32>,
}

impl Default for TextColumn {
    fn default() -> Self {
        Self { text: String::new(), offsets: vec![0] }
    }
}

impl Default for BytesColumn {
    fn default() -> Self {
        Self { bytes: Vec::new(), offsets: vec![0] }
    }
}

impl TextColumn {
    /// The text of all rows, and where each begins; one more than there are rows.
    pub(crate) fn parts(&self) -> (&str, &[u32]) {
        (&self.text, &self.offsets)
    }
}

/// Where row `row` begins and ends.
#[inline]
fn range(offsets: &[u32], row: usize) -> std::ops::Range<usize> {
    offsets[row] as usize..offsets[row + 1] as usize
}

impl Row for String {
    type Ref<'a> = &'a str;
    type Columns = TextColumn;
    type Picks = ColumnOf<String>;
    const WIDTH: usize = 1;

    fn column_fields(name: &str, nullable: bool, fields: &mut Vec<Field>) {
        fields.push(single_field(name, DataType::Utf8, nullable));
    }

    fn read_column(reader: &mut ColumnReader<'_>, nullable: bool) -> Result<(TextColumn, Validity), Failure> {
        let (taken, validity) = reader.next(nullable)?;
        let (offsets, text) = taken.utf8()?;
        Ok((TextColumn { text, offsets }, validity))
    }

    fn write_column(columns: TextColumn, validity: Validity, out: &mut Vec<Column>) {
        let data = VarData { offsets: columns.offsets, bytes: columns.text.into_bytes() };
        out.push(Column { data: ColumnData::Utf8(data), validity });
    }

    #[inline]
    fn get(columns: &TextColumn, row: usize) -> &str {
        &columns.text[range(&columns.offsets, row)]
    }

    // An offset that does not fit is cut short here and refused when the batch is finished: no check per row.
    #[inline]
    fn push(columns: &mut TextColumn, row: &str) {
        columns.text.push_str(row);
        columns.offsets.push(columns.text.len() as u32);
    }

    fn push_empty(columns: &mut TextColumn) {
        <Self as Row>::push(columns, "");
    }

    fn clear(columns: &mut TextColumn) {
        columns.text.clear();
        columns.offsets.truncate(1);
    }

    fn byte_len(columns: &TextColumn) -> usize {
        columns.text.len() + columns.offsets.len() * size_of::<u32>()
    }

    #[inline]
    fn order_at(columns: &Self::Columns, _column: usize, left: usize, right: usize) -> Ordering {
        Self::order(<Self as Row>::get(columns, left), <Self as Row>::get(columns, right))
    }

    fn picks(first: usize) -> ColumnOf<Self> {
        ColumnOf::new(first)
    }

    fn from_ref(row: &str) -> Self {
        row.to_owned()
    }

    #[inline]
    fn to_ref(&self) -> &str {
        self
    }
}

impl Row for Vec<u8> {
    type Ref<'a> = &'a [u8];
    type Columns = BytesColumn;
    type Picks = ColumnOf<Vec<u8>>;
    const WIDTH: usize = 1;

    fn column_fields(name: &str, nullable: bool, fields: &mut Vec<Field>) {
        fields.push(single_field(name, DataType::Binary, nullable));
    }

    fn read_column(reader: &mut ColumnReader<'_>, nullable: bool) -> Result<(BytesColumn, Validity), Failure> {
        let (taken, validity) = reader.next(nullable)?;
        let data = taken.binary()?;
        Ok((BytesColumn { bytes: data.bytes, offsets: data.offsets }, validity))
    }

    fn write_column(columns: BytesColumn, validity: Validity, out: &mut Vec<Column>) {
        let data = VarData { offsets: columns.offsets, bytes: columns.bytes };
        out.push(Column { data: ColumnData::Binary(data), validity });
    }

    #[inline]
    fn get(columns: &BytesColumn, row: usize) -> &[u8] {
        &columns.bytes[range(&columns.offsets, row)]
    }

    #[inline]
    fn push(columns: &mut BytesColumn, row: &[u8]) {
        columns.bytes.extend_from_slice(row);
        columns.offsets.push(columns.bytes.len() as u32);
    }

    fn push_empty(columns: &mut BytesColumn) {
        <Self as Row>::push(columns, &[]);
    }

    fn clear(columns: &mut BytesColumn) {
        columns.bytes.clear();
        columns.offsets.truncate(1);
    }

    fn byte_len(columns: &BytesColumn) -> usize {
        columns.bytes.len() + columns.offsets.len() * size_of::<u32>()
    }

    #[inline]
    fn order_at(columns: &Self::Columns, _column: usize, left: usize, right: usize) -> Ordering {
        Self::order(<Self as Row>::get(columns, left), <Self as Row>::get(columns, right))
    }

    fn picks(first: usize) -> ColumnOf<Self> {
        ColumnOf::new(first)
    }

    fn from_ref(row: &[u8]) -> Self {
        row.to_owned()
    }

    #[inline]
    fn to_ref(&self) -> &[u8] {
        self
    }
}

impl Value for String {}
impl Element for String {}
single!({} String, DataType::Utf8);

impl Value for Vec<u8> {}
impl Element for Vec<u8> {}
single!({} Vec<u8>, DataType::Binary);

impl Key for String {
    #[inline]
    fn hash(row: &str, hash: u64) -> u64 {
        hash::bytes(hash, row.as_bytes())
    }

    #[inline]
    fn digest(row: &str) -> Digest {
        Digest::of_bytes(row.as_bytes())
    }

    #[inline]
    fn same_at(columns: &TextColumn, row: usize, key: &str) -> bool {
        hash::same_bytes(&columns.text.as_bytes()[range(&columns.offsets, row)], key.as_bytes())
    }
}

impl Key for Vec<u8> {
    #[inline]
    fn hash(row: &[u8], hash: u64) -> u64 {
        hash::bytes(hash, row)
    }

    #[inline]
    fn digest(row: &[u8]) -> Digest {
        Digest::of_bytes(row)
    }

    #[inline]
    fn same_at(columns: &BytesColumn, row: usize, key: &[u8]) -> bool {
        hash::same_bytes(&columns.bytes[range(&columns.offsets, row)], key)
    }
}

impl Ordered for String {
    #[inline]
    fn order(left: &str, right: &str) -> Ordering {
        left.cmp(right)
    }
}

impl Comparable for String {}

impl Ordered for Vec<u8> {
    #[inline]
    fn order(left: &[u8], right: &[u8]) -> Ordering {
        left.cmp(right)
    }
}
