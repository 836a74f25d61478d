//! Columns with columns inside of them: how they lie in the flat lists of fields and columns.
//!
//! A field or column is followed by its children, each by its own (pre-order). Numbers of columns and names that an author
//! gives count the outermost only.

use super::{ColumnReader, Row, Validity};
use crate::bindings::millpond::plugin::types::{Column, ColumnData, DataType, Failure, Field};

/// How many fields the first field of `fields` is, its children and theirs included.
fn span(fields: &[Field]) -> usize {
    let (mut span, mut missing) = (0, 1);
    while let (Some(field), 1..) = (fields.get(span), missing) {
        missing += field.children as usize;
        missing -= 1;
        span += 1;
    }
    span
}

/// Where the outermost fields are in a flat list.
pub(crate) fn top_level(fields: &[Field]) -> impl Iterator<Item = usize> {
    let mut next = 0;
    std::iter::from_fn(move || {
        let at = next;
        next += span(fields.get(at..)?).max(1);
        (at < fields.len()).then_some(at)
    })
}

/// The names of the outermost fields.
pub(crate) fn names(fields: &[Field]) -> Vec<String> {
    top_level(fields).map(|at| fields[at].name.clone()).collect()
}

/// The fields with other names for the outermost ones, one for each.
pub(crate) fn renamed(mut fields: Vec<Field>, names: &[String]) -> Vec<Field> {
    let places: Vec<usize> = top_level(&fields).collect();
    for (at, name) in places.into_iter().zip(names) {
        fields[at].name.clone_from(name);
    }
    fields
}

/// Appends the field of a struct; so many children have to follow.
#[doc(hidden)]
pub fn struct_field(name: &str, nullable: bool, children: usize, fields: &mut Vec<Field>) {
    fields.push(Field { name: name.to_owned(), data_type: DataType::Struct, nullable, children: children as u32 });
}

/// Appends a field without children.
#[doc(hidden)]
pub fn leaf_field(name: &str, data_type: DataType, nullable: bool, fields: &mut Vec<Field>) {
    fields.push(Field { name: name.to_owned(), data_type, nullable, children: 0 });
}

/// Takes the struct column itself; its children are read next.
#[doc(hidden)]
pub fn read_struct(reader: &mut ColumnReader<'_>, nullable: bool) -> Result<Validity, Failure> {
    let (taken, validity) = reader.next(nullable)?;
    taken.structure()?;
    Ok(validity)
}

/// Appends the struct column itself; its children have to follow.
#[doc(hidden)]
pub fn write_struct(validity: Validity, out: &mut Vec<Column>) {
    out.push(Column { data: ColumnData::Struct, validity });
}

/// Compares all columns of two rows, the first that differs decides.
pub(super) fn order_all<T: Row>(columns: &T::Columns, left: usize, right: usize) -> std::cmp::Ordering {
    let by = |column| T::order_at(columns, column, left, right);
    (0..T::WIDTH).map(by).find(|order| order.is_ne()).unwrap_or(std::cmp::Ordering::Equal)
}
