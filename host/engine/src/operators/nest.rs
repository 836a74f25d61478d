//! Several columns as one: what the optional side of a join and the items of a group's lists are.
//!
//! A single column stays as it is, if the plan says so. Otherwise the columns are the fields of a struct, in their order; a field
//! that is a struct itself, never null, and no column of its own stands for as many columns as it has fields.

use std::slice::Iter;
use std::sync::Arc;

use arrow::array::{Array, ArrayData, ArrayRef, StructArray, make_array};
use arrow::buffer::NullBuffer;
use arrow::datatypes::{DataType, Field, FieldRef, Fields};

use crate::error::{Error, Result};

/// How columns become one.
#[derive(Debug)]
pub(crate) enum Nest {
    /// It is the next of them.
    Column,
    /// They are its fields.
    Struct(Fields, Vec<Self>),
}

impl Nest {
    /// How columns of these types become `whole`, which is nullable because a row may have none of them; `None` if they cannot.
    pub(crate) fn optional(whole: &Field, columns: &[FieldRef]) -> Option<Self> {
        match columns {
            // Where null is a value already, nothing could be told from it.
            [only] if !only.is_nullable() && only.data_type() == whole.data_type() => {
                whole.is_nullable().then_some(Self::Column)
            }
            _ => Self::structure(whole, columns).filter(|_| whole.is_nullable()),
        }
    }

    /// How columns of these types become `whole`, of which every row has them; `None` if they cannot.
    pub(crate) fn item(whole: &Field, columns: &[FieldRef]) -> Option<Self> {
        match columns {
            [only] if is_same(only, whole) => Some(Self::Column),
            _ => Self::structure(whole, columns).filter(|_| !whole.is_nullable()),
        }
    }

    fn structure(whole: &Field, columns: &[FieldRef]) -> Option<Self> {
        let DataType::Struct(fields) = whole.data_type() else { return None };
        let mut left = columns.iter();
        let nest = Self::fields(fields, &mut left)?;
        (left.len() == 0 && !columns.is_empty()).then_some(nest)
    }

    fn fields(fields: &Fields, left: &mut Iter<'_, FieldRef>) -> Option<Self> {
        let nested = fields.iter().map(|field| {
            if left.as_slice().first().is_some_and(|next| is_same(next, field)) {
                left.next();
                return Some(Self::Column);
            }
            match field.data_type() {
                DataType::Struct(fields) if !field.is_nullable() => Self::fields(fields, left),
                _ => None,
            }
        });
        Some(Self::Struct(fields.clone(), nested.collect::<Option<_>>()?))
    }

    /// The columns as one column `whole`. `present` says which rows have values, where not all have: in the others the columns are
    /// null, too.
    pub(crate) fn build(
        &self,
        node: &str,
        whole: &Field,
        columns: &[ArrayRef],
        present: Option<&NullBuffer>,
    ) -> Result<ArrayRef> {
        let mut columns = columns.iter();
        match self {
            Self::Column => self.part(node, whole, &mut columns, present.is_some()),
            Self::Struct(fields, nested) => {
                let parts = Self::parts(node, fields, nested, &mut columns, present.is_some())?;
                structure(node, fields, parts, present.cloned())
            }
        }
    }

    fn parts(
        node: &str,
        fields: &Fields,
        nested: &[Self],
        columns: &mut Iter<'_, ArrayRef>,
        masked: bool,
    ) -> Result<Vec<ArrayRef>> {
        fields.iter().zip(nested).map(|(field, nest)| nest.part(node, field, columns, masked)).collect()
    }

    fn part(&self, node: &str, field: &Field, columns: &mut Iter<'_, ArrayRef>, masked: bool) -> Result<ArrayRef> {
        match self {
            Self::Column => {
                let column = columns.next().expect("the plan was checked: there is a column for each field");
                if masked { unmasked(node, field, column) } else { Ok(Arc::clone(column)) }
            }
            Self::Struct(fields, nested) => {
                structure(node, fields, Self::parts(node, fields, nested, columns, masked)?, None)
            }
        }
    }
}

fn structure(node: &str, fields: &Fields, parts: Vec<ArrayRef>, nulls: Option<NullBuffer>) -> Result<ArrayRef> {
    Ok(Arc::new(StructArray::try_new(fields.clone(), parts, nulls).map_err(Error::arrow(node))?))
}

fn is_same(left: &Field, right: &Field) -> bool {
    left.data_type() == right.data_type() && left.is_nullable() == right.is_nullable()
}

/// The column, or what is inside of it, without the nulls of rows that are absent as a whole: what is not nullable has no nulls.
fn unmasked(node: &str, field: &Field, column: &ArrayRef) -> Result<ArrayRef> {
    let is_right = column.null_count() == 0 || field.is_nullable() && !matches!(field.data_type(), DataType::Struct(_));
    if is_right {
        return Ok(Arc::clone(column));
    }
    unmasked_data(field, column.to_data()).map(make_array).map_err(Error::arrow(node))
}

fn unmasked_data(field: &Field, data: ArrayData) -> std::result::Result<ArrayData, arrow::error::ArrowError> {
    let children: Vec<ArrayData> = match field.data_type() {
        // Lists and maps of null rows are empty, so nothing inside of them is null because of it.
        DataType::Struct(fields) => {
            let children = fields.iter().zip(data.child_data());
            children.map(|(field, child)| unmasked_data(field, child.clone())).collect::<Result<_, _>>()?
        }
        _ => data.child_data().to_vec(),
    };
    let nulls = data.nulls().filter(|_| field.is_nullable()).cloned();
    data.into_builder().nulls(nulls).child_data(children).build()
}

#[cfg(test)]
mod tests {
    use arrow::array::{AsArray, Int64Array, StringArray};
    use arrow::datatypes::Int64Type;

    use super::*;

    fn field(name: &str, data_type: DataType, nullable: bool) -> Field {
        Field::new(name, data_type, nullable)
    }

    fn columns(types: &[(DataType, bool)]) -> Vec<FieldRef> {
        types.iter().map(|(data_type, nullable)| Arc::new(field("c", data_type.clone(), *nullable))).collect()
    }

    fn structure(fields: Vec<Field>) -> DataType {
        DataType::Struct(fields.into())
    }

    #[test]
    fn one_column_that_is_never_null_is_optional_by_itself() {
        let one = columns(&[(DataType::Int64, false)]);
        assert!(matches!(Nest::optional(&field("v", DataType::Int64, true), &one), Some(Nest::Column)));
        assert!(Nest::optional(&field("v", DataType::Int64, false), &one).is_none());
        assert!(Nest::optional(&field("v", DataType::Utf8, true), &one).is_none());
        let boxed = structure(vec![field("a", DataType::Int64, false)]);
        assert!(matches!(Nest::optional(&field("v", boxed, true), &one), Some(Nest::Struct(..))));
    }

    #[test]
    fn a_column_that_may_be_null_is_told_from_an_absent_one_by_a_struct() {
        let one = columns(&[(DataType::Int64, true)]);
        assert!(Nest::optional(&field("v", DataType::Int64, true), &one).is_none());
        let boxed = structure(vec![field("a", DataType::Int64, true)]);
        assert!(Nest::optional(&field("v", boxed, true), &one).is_some());
        assert!(matches!(Nest::item(&field("v", DataType::Int64, true), &one), Some(Nest::Column)));
    }

    #[test]
    fn fields_take_the_columns_in_their_order_and_all_of_them() {
        let two = columns(&[(DataType::Int64, false), (DataType::Utf8, true)]);
        let fields = |fields| field("v", structure(fields), true);
        let (number, text) = (field("a", DataType::Int64, false), field("b", DataType::Utf8, true));
        assert!(Nest::optional(&fields(vec![number.clone(), text.clone()]), &two).is_some());
        assert!(Nest::optional(&fields(vec![text, number.clone()]), &two).is_none());
        assert!(Nest::optional(&fields(vec![number]), &two).is_none());
        assert!(Nest::optional(&fields(vec![]), &[]).is_none());
    }

    #[test]
    fn structs_within_structs_stand_for_several_columns() {
        let three = columns(&[(DataType::Int64, false), (DataType::Utf8, false), (DataType::Int64, true)]);
        let inner = structure(vec![field("b", DataType::Utf8, false), field("c", DataType::Int64, true)]);
        let whole = field("v", structure(vec![field("a", DataType::Int64, false), field("rest", inner, false)]), true);
        let nest = Nest::optional(&whole, &three).unwrap();
        let arrays: [ArrayRef; 3] = [
            Arc::new(Int64Array::from(vec![Some(1), None])),
            Arc::new(StringArray::from(vec![Some("x"), None])),
            Arc::new(Int64Array::from(vec![Some(2), None])),
        ];
        let array = nest.build("test", &whole, &arrays, Some(&NullBuffer::from(vec![true, false]))).unwrap();
        array.to_data().validate_full().unwrap();
        assert_eq!(array.data_type(), whole.data_type());
        let array = array.as_struct();
        assert_eq!((array.is_null(0), array.is_null(1)), (false, true));
        let first = array.column(0);
        assert_eq!((first.null_count(), first.as_primitive::<Int64Type>().value(0)), (0, 1));
        let rest = array.column(1).as_struct();
        assert_eq!((rest.column(0).null_count(), rest.column(1).null_count()), (0, 1));
    }
}
