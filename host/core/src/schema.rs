//! The column types that may cross the boundary, and how schemas are shown.
//!
//! Names of what is inside a list or map are fixed here, so that two types are equal exactly if `==` says so; names of a struct's
//! fields are part of its type.

mod difference;

use std::sync::Arc;

use arrow::datatypes::{DECIMAL128_MAX_PRECISION, DataType, Field, Fields, Schema, TimeUnit};

pub use difference::{difference, difference_of_texts};

/// The Arrow type of a `timestamp` column: microseconds since the Unix epoch, UTC.
pub const TIMESTAMP: DataType = DataType::Timestamp(TimeUnit::Microsecond, None);

/// The Arrow type of a `duration` column: microseconds.
pub const DURATION: DataType = DataType::Duration(TimeUnit::Microsecond);

/// How many columns a schema may have, those inside of others included. As `wit/types.wit` says.
pub const COLUMNS_MAX: usize = 1024;

/// How many levels of columns there may be; a schema without nested columns has one. As `wit/types.wit` says.
pub const DEPTH_MAX: usize = 16;

/// The Arrow type of a list of such values.
#[must_use]
pub fn list_of(item: DataType, nullable: bool) -> DataType {
    DataType::List(Arc::new(Field::new("item", item, nullable)))
}

/// The Arrow type of a map.
#[must_use]
pub fn map_of(key: DataType, value: DataType, nullable: bool) -> DataType {
    let entry = Fields::from(vec![Field::new("key", key, false), Field::new("value", value, nullable)]);
    DataType::Map(Arc::new(Field::new("entries", DataType::Struct(entry), false)), false)
}

/// The key and the value of a map's entries.
#[must_use]
pub fn map_entry(entries: &Field) -> Option<(&Arc<Field>, &Arc<Field>)> {
    match entries.data_type() {
        DataType::Struct(entry) if entry.len() == 2 => Some((&entry[0], &entry[1])),
        _ => None,
    }
}

/// Whether there are decimals of this precision and scale.
#[must_use]
pub fn is_decimal(precision: u8, scale: i8) -> bool {
    (1..=DECIMAL128_MAX_PRECISION).contains(&precision) && u8::try_from(scale).is_ok_and(|scale| scale <= precision)
}

/// Whether values of this type can be summed.
#[must_use]
pub fn is_number(data_type: &DataType) -> bool {
    data_type.is_numeric() || *data_type == DURATION
}

/// Whether values of this type are floats, or have floats inside.
#[must_use]
pub fn has_floats(data_type: &DataType) -> bool {
    data_type.is_floating() || children(data_type).iter().any(|field| has_floats(field.data_type()))
}

/// Whether columns of this type have columns inside.
#[must_use]
pub fn is_nested(data_type: &DataType) -> bool {
    matches!(data_type, DataType::Struct(_) | DataType::List(_) | DataType::Map(..))
}

/// Whether columns of this type can be keys.
#[must_use]
pub fn is_key(data_type: &DataType) -> bool {
    match data_type {
        DataType::Struct(fields) => fields.iter().all(|field| is_key(field.data_type())),
        other => !is_nested(other),
    }
}

/// The columns inside of a column, as the contract lists them.
#[must_use]
pub fn children(data_type: &DataType) -> &[Arc<Field>] {
    match data_type {
        DataType::Struct(fields) => fields,
        DataType::List(child) | DataType::Map(child, _) => std::slice::from_ref(child),
        _ => &[],
    }
}

/// How many columns these are, those inside of others included.
#[must_use]
pub fn column_count(fields: &[Arc<Field>]) -> usize {
    fields.iter().map(|field| 1 + column_count(children(field.data_type()))).sum()
}

/// How many levels of columns these are.
#[must_use]
pub fn depth(fields: &[Arc<Field>]) -> usize {
    fields.iter().map(|field| 1 + depth(children(field.data_type()))).max().unwrap_or(0)
}

/// The contract's name for an Arrow type; `None` if such a column cannot cross the boundary.
#[must_use]
pub fn type_name(data_type: &DataType) -> Option<String> {
    let name = match data_type {
        DataType::Boolean => "boolean",
        DataType::Int64 => "int64",
        DataType::Float64 => "float64",
        DataType::Utf8 => "utf8",
        DataType::Binary => "binary",
        DataType::Timestamp(TimeUnit::Microsecond, None) => "timestamp",
        DataType::Int8 => "int8",
        DataType::Int16 => "int16",
        DataType::Int32 => "int32",
        DataType::UInt8 => "uint8",
        DataType::UInt16 => "uint16",
        DataType::UInt32 => "uint32",
        DataType::UInt64 => "uint64",
        DataType::Float32 => "float32",
        DataType::Date32 => "date",
        DataType::Duration(TimeUnit::Microsecond) => "duration",
        DataType::Decimal128(precision, scale) => {
            return is_decimal(*precision, *scale).then(|| format!("decimal({precision}, {scale})"));
        }
        DataType::List(item) => return Some(format!("list<{}>", nullable_name(item)?)),
        DataType::Struct(fields) if !fields.is_empty() => {
            let fields = fields.iter().map(|field| Some(format!("{}: {}", field.name(), nullable_name(field)?)));
            return Some(format!("struct<{}>", fields.collect::<Option<Vec<_>>>()?.join(", ")));
        }
        DataType::Map(entries, _) => {
            let (key, value) = map_entry(entries).filter(|(key, _)| !is_nested(key.data_type()))?;
            return Some(format!("map<{}, {}>", nullable_name(key)?, nullable_name(value)?));
        }
        _ => return None,
    };
    Some(name.to_owned())
}

fn nullable_name(field: &Field) -> Option<String> {
    Some(format!("{}{}", type_name(field.data_type())?, if field.is_nullable() { "?" } else { "" }))
}

/// A schema in one line: `word: utf8, count: int64?` (`?` = nullable).
#[must_use]
pub fn describe(schema: &Schema) -> String {
    schema.fields().iter().map(|field| column(field)).collect::<Vec<_>>().join(", ")
}

fn column(field: &Field) -> String {
    let name = nullable_name(field).unwrap_or_else(|| field.data_type().to_string());
    format!("{}: {name}", field.name())
}

/// Whether two schemas have the same column types and nullability, whatever the columns are called.
#[must_use]
pub fn same_types(left: &Schema, right: &Schema) -> bool {
    left.fields().len() == right.fields().len()
        && left
            .fields()
            .iter()
            .zip(right.fields())
            .all(|(left, right)| left.data_type() == right.data_type() && left.is_nullable() == right.is_nullable())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nested() -> Schema {
        let user = DataType::Struct(Fields::from(vec![
            Field::new("id", DataType::Int64, false),
            Field::new("tags", list_of(DataType::Utf8, true), false),
        ]));
        Schema::new(vec![
            Field::new("page", DataType::Utf8, false),
            Field::new("user", user, true),
            Field::new("by", map_of(DataType::Utf8, list_of(DataType::Int64, false), true), false),
        ])
    }

    #[test]
    fn nested_columns_are_shown_in_one_line() {
        assert_eq!(
            describe(&nested()),
            "page: utf8, user: struct<id: int64, tags: list<utf8?>>?, by: map<utf8, list<int64>?>"
        );
    }

    #[test]
    fn columns_and_levels_are_counted_with_those_inside() {
        assert_eq!((column_count(nested().fields()), depth(nested().fields())), (10, 4));
        assert_eq!(depth(&[]), 0);
    }

    #[test]
    fn what_has_no_name_cannot_cross() {
        let keyed_by_list = map_of(list_of(DataType::Utf8, false), DataType::Int64, false);
        let nothing = DataType::Struct(Fields::empty());
        for foreign in [DataType::LargeUtf8, list_of(DataType::Date64, false), keyed_by_list, nothing] {
            assert_eq!(type_name(&foreign), None, "{foreign}");
        }
    }

    #[test]
    fn lists_and_maps_are_no_keys() {
        assert!(is_key(&DataType::Utf8));
        assert!(!is_key(&list_of(DataType::Utf8, false)));
        assert!(nested().fields().iter().map(|field| is_key(field.data_type())).eq([true, false, false]));
    }
}
