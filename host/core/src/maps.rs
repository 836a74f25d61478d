//! Maps whose rows have a key twice: none may, and nothing in Arrow's layout forbids it.
//!
//! Whoever takes maps from outside of the host asks here. Keys are the same if they compare equal: `0.0` equals `-0.0`, and NaN equals NaN.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, DynComparator, MapArray, PrimitiveArray, RecordBatch, make_comparator};
use arrow::compute::SortOptions;
use arrow::datatypes::{ArrowPrimitiveType, DataType, Float32Type, Float64Type};
use arrow::error::ArrowError;
use arrow::util::display::array_value_to_string;

/// So many characters of a key are shown. A guess: enough to find it.
const KEY_CHARS_SHOWN: usize = 60;

/// A key that a row of a map has twice.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RepeatedKey {
    /// The row of the map's column.
    pub row: usize,
    /// The key as text, shortened.
    pub key: String,
}

/// The first row of a map that has a key twice. Rows that are null are not looked at.
///
/// **Errors**: keys of a type that cannot be compared, which no schema of the contract has.
/// **Cost**: one comparison an entry where the keys of each row ascend, as the Rust SDK writes them; a sort of a row's keys otherwise.
pub fn repeated_key(map: &MapArray) -> Result<Option<RepeatedKey>, ArrowError> {
    let keys = comparable(map.keys());
    let order = make_comparator(&keys, &keys, SortOptions::default())?;
    for (row, ends) in map.value_offsets().windows(2).enumerate() {
        let entries = ends[0].cast_unsigned() as usize..ends[1].cast_unsigned() as usize;
        if entries.len() > 1
            && map.is_valid(row)
            && let Some(entry) = repeated(&order, entries)
        {
            let key = array_value_to_string(map.keys(), entry)?;
            return Ok(Some(RepeatedKey { row, key: key.chars().take(KEY_CHARS_SHOWN).collect() }));
        }
    }
    Ok(None)
}

/// As [`repeated_key`], for all maps of a batch, those in lists, structs and other maps too; with the name of the batch's column.
///
/// **Errors**: as `repeated_key`.
pub fn repeated_key_of(rows: &RecordBatch) -> Result<Option<(String, RepeatedKey)>, ArrowError> {
    for (field, column) in rows.schema_ref().fields().iter().zip(rows.columns()) {
        if let Some(found) = repeated_inside(column)? {
            return Ok(Some((field.name().clone(), found)));
        }
    }
    Ok(None)
}

fn repeated_inside(column: &ArrayRef) -> Result<Option<RepeatedKey>, ArrowError> {
    match column.data_type() {
        DataType::Struct(_) => {
            for column in column.as_struct().columns() {
                if let Some(found) = repeated_inside(column)? {
                    return Ok(Some(found));
                }
            }
            Ok(None)
        }
        DataType::List(_) => repeated_inside(column.as_list::<i32>().values()),
        DataType::Map(..) => {
            let map = column.as_map();
            match repeated_key(map)? {
                None => repeated_inside(map.values()),
                found => Ok(found),
            }
        }
        _ => Ok(None),
    }
}

/// An entry whose key another one of these has, too.
fn repeated(order: &DynComparator, entries: std::ops::Range<usize>) -> Option<usize> {
    let mut neighbours = entries.clone().zip(entries.clone().skip(1));
    if neighbours.all(|(left, right)| order(left, right).is_lt()) {
        return None;
    }
    let mut sorted: Vec<usize> = entries.collect();
    sorted.sort_unstable_by(|left, right| order(*left, *right));
    sorted.windows(2).find(|pair| order(pair[0], pair[1]).is_eq()).map(|pair| pair[0].max(pair[1]))
}

/// Keys of which those that are the same compare equal: Arrow's order tells zeros and NaN of different bits apart.
fn comparable(keys: &ArrayRef) -> ArrayRef {
    fn floats<T: ArrowPrimitiveType>(keys: &ArrayRef, same: impl Fn(T::Native) -> T::Native) -> ArrayRef {
        let floats: PrimitiveArray<T> = keys.as_primitive::<T>().unary(same);
        Arc::new(floats)
    }
    match keys.data_type() {
        DataType::Float64 => floats::<Float64Type>(keys, |key| if key.is_nan() { f64::NAN } else { key + 0.0 }),
        DataType::Float32 => floats::<Float32Type>(keys, |key| if key.is_nan() { f32::NAN } else { key + 0.0 }),
        _ => Arc::clone(keys),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use arrow::array::{Float64Array, Int64Array, ListArray, StringArray, StructArray};
    use arrow::buffer::{NullBuffer, OffsetBuffer};
    use arrow::datatypes::{Field, Schema};
    use proptest::prelude::*;

    use super::*;
    use crate::schema::{list_of, map_of};

    /// A map column with these keys in its rows.
    fn map_of_keys(keys: ArrayRef, lengths: &[usize], nulls: Option<NullBuffer>) -> MapArray {
        let DataType::Map(entries, _) = map_of(keys.data_type().clone(), DataType::Int64, false) else {
            unreachable!("it is a map")
        };
        let DataType::Struct(fields) = entries.data_type().clone() else { unreachable!("entries are structs") };
        let values = Int64Array::from_iter_values(0..keys.len() as i64);
        let values = StructArray::new(fields, vec![keys, Arc::new(values)], None);
        MapArray::new(entries, OffsetBuffer::from_lengths(lengths.iter().copied()), values, nulls, false)
    }

    fn texts(rows: &[&[&str]], nulls: Option<NullBuffer>) -> MapArray {
        let lengths: Vec<usize> = rows.iter().map(|row| row.len()).collect();
        map_of_keys(Arc::new(StringArray::from(rows.concat())), &lengths, nulls)
    }

    #[test]
    fn the_first_row_with_a_key_twice_is_named() {
        assert_eq!(repeated_key(&texts(&[&["a", "b"], &[], &["b", "a"], &["a"]], None)).unwrap(), None);
        let found = repeated_key(&texts(&[&["a", "b"], &["c", "a", "c"], &["d", "d"]], None)).unwrap();
        assert_eq!(found, Some(RepeatedKey { row: 1, key: "c".to_owned() }));
    }

    #[test]
    fn rows_that_are_null_may_hold_anything() {
        let nulls = NullBuffer::from(vec![false, true]);
        assert_eq!(repeated_key(&texts(&[&["a", "a"], &["a"]], Some(nulls))).unwrap(), None);
    }

    #[test]
    fn a_long_key_is_shortened() {
        let long = "ä".repeat(100);
        let found = repeated_key(&texts(&[&[&long, &long]], None)).unwrap().unwrap();
        assert_eq!(found.key, "ä".repeat(KEY_CHARS_SHOWN));
    }

    #[test]
    fn floats_that_are_one_key_are_one() {
        let floats =
            |keys: Vec<f64>| repeated_key(&map_of_keys(Arc::new(Float64Array::from(keys)), &[2], None)).unwrap();
        assert_eq!(floats(vec![0.0, 1.0]), None);
        assert!(floats(vec![0.0, -0.0]).is_some());
        assert!(floats(vec![f64::NAN, -f64::NAN]).is_some());
    }

    #[test]
    fn maps_inside_of_other_columns_are_found() {
        let map = texts(&[&["a", "a"]], None);
        let field = Arc::new(Field::new("m", map.data_type().clone(), false));
        let inner = StructArray::new(vec![field].into(), vec![Arc::new(map)], None);
        let DataType::List(item) = list_of(inner.data_type().clone(), false) else { unreachable!("it is a list") };
        let list = ListArray::new(item, OffsetBuffer::from_lengths([1]), Arc::new(inner), None);
        let schema = Schema::new(vec![Field::new("deep", list.data_type().clone(), false)]);
        let rows = RecordBatch::try_new(Arc::new(schema), vec![Arc::new(list)]).unwrap();
        let (column, found) = repeated_key_of(&rows).unwrap().unwrap();
        assert_eq!((column.as_str(), found.key.as_str()), ("deep", "a"));
    }

    proptest! {
        #[test]
        fn repeated_keys_are_those_of_a_set(rows in proptest::collection::vec(proptest::collection::vec(-5i64..5, 0..6), 0..8)) {
            let lengths: Vec<usize> = rows.iter().map(Vec::len).collect();
            let keys: ArrayRef = Arc::new(Int64Array::from(rows.concat()));
            let found = repeated_key(&map_of_keys(keys, &lengths, None)).unwrap();
            let expected = rows.iter().position(|row| row.iter().collect::<BTreeSet<_>>().len() < row.len());
            prop_assert_eq!(found.as_ref().map(|found| found.row), expected);
            if let Some(RepeatedKey { row, key }) = found {
                prop_assert!(rows[row].iter().filter(|found| found.to_string() == key).count() > 1);
            }
        }
    }
}
