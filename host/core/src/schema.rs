//! The column types that may cross the boundary, and how schemas are shown.

use arrow::datatypes::{DataType, Schema, TimeUnit};

/// The Arrow type of a `timestamp` column: microseconds since the Unix epoch, UTC.
pub const TIMESTAMP: DataType = DataType::Timestamp(TimeUnit::Microsecond, None);

/// The contract's name for an Arrow type; `None` if such a column cannot cross the boundary.
#[must_use]
pub fn type_name(data_type: &DataType) -> Option<&'static str> {
    match data_type {
        DataType::Boolean => Some("boolean"),
        DataType::Int64 => Some("int64"),
        DataType::Float64 => Some("float64"),
        DataType::Utf8 => Some("utf8"),
        DataType::Binary => Some("binary"),
        DataType::Timestamp(TimeUnit::Microsecond, None) => Some("timestamp"),
        _ => None,
    }
}

/// A schema in one line: `word: utf8, count: int64?` (`?` = nullable).
#[must_use]
pub fn describe(schema: &Schema) -> String {
    let columns = schema.fields().iter().map(|field| {
        let name = type_name(field.data_type()).map_or_else(|| field.data_type().to_string(), str::to_owned);
        format!("{}: {name}{}", field.name(), if field.is_nullable() { "?" } else { "" })
    });
    columns.collect::<Vec<_>>().join(", ")
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
