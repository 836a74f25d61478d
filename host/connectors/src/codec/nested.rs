//! Columns with columns inside, from JSON: objects to structs and maps, arrays to lists.
//!
//! The rules are those of `json.rs`, level by level. A value is checked as a whole before any of it is appended.

use std::collections::HashSet;
use std::sync::Arc;

use arrow::array::{ArrayRef, ListArray, MapArray, StructArray};
use arrow::buffer::{NullBuffer, OffsetBuffer};
use arrow::datatypes::{DataType, Field};
use millpond_core::schema::children;
use serde_json::Value;

use super::decoder::quote;
use super::rows::{Builder, Cell, Kind, Scalar, missing_value};

/// A column that has columns inside.
pub(super) struct NestedColumn {
    name: String,
    data_type: DataType,
    nullable: bool,
    children: Vec<Child>,
    valid: Vec<bool>,
    /// Of lists and maps: where each row ends.
    ends: Vec<i32>,
    staged: Option<Parsed>,
}

/// One of the columns inside.
struct Child {
    /// The way to it, for messages.
    name: String,
    /// What a struct calls it.
    key: String,
    data_type: DataType,
    kind: Kind,
    nullable: bool,
    builder: Builder,
}

/// A value that was found to fit.
enum Parsed {
    Null,
    Boolean(bool),
    Int64(i64),
    UInt64(u64),
    Float64(f64),
    Decimal(i128),
    Text(String),
    Bytes(Vec<u8>),
    /// A struct's fields, a list's values, a map's keys and values by turns.
    Many(Vec<Parsed>),
}

impl NestedColumn {
    pub(super) fn new(field: &Field, name: &str) -> Self {
        let data_type = field.data_type().clone();
        let fields: &[Arc<Field>] = match &data_type {
            // The struct in between holds nothing of its own.
            DataType::Map(entries, _) => children(entries.data_type()),
            other => children(other),
        };
        let child = |field: &Arc<Field>| {
            let name = match &data_type {
                DataType::Struct(_) => format!("{name}.{}", field.name()),
                _ => format!("{name}[]"),
            };
            let (kind, builder) = Builder::new(field, &name);
            let (key, data_type) = (field.name().clone(), field.data_type().clone());
            Child { name, key, data_type, kind, nullable: field.is_nullable(), builder }
        };
        Self {
            name: name.to_owned(),
            nullable: field.is_nullable(),
            children: fields.iter().map(child).collect(),
            valid: Vec::new(),
            ends: vec![0],
            staged: None,
            data_type,
        }
    }

    /// Checks a value that is not null, and keeps it for [`append_staged`](Self::append_staged).
    pub(super) fn stage(&mut self, value: &Value) -> Result<(), String> {
        self.staged = Some(self.parse(value)?);
        Ok(())
    }

    pub(super) fn append_staged(&mut self) {
        match self.staged.take() {
            Some(value) => self.append(value),
            None => self.append_nothing(),
        }
    }

    /// What to say of a value that is not what the column wants.
    pub(super) fn wrong(&self, found: &str) -> String {
        let wanted = if matches!(self.data_type, DataType::List(_)) { "a list" } else { "an object" };
        format!("column `{}`: expected {wanted}, found {found}", self.name)
    }

    fn parse(&self, value: &Value) -> Result<Parsed, String> {
        let parts = match (&self.data_type, value) {
            (DataType::Struct(_), Value::Object(object)) => {
                let field = |child: &Child| child.parse(object.get(&child.key).unwrap_or(&Value::Null));
                self.children.iter().map(field).collect::<Result<_, _>>()?
            }
            (DataType::List(_), Value::Array(values)) => {
                values.iter().map(|value| self.children[0].parse(value)).collect::<Result<_, _>>()?
            }
            (DataType::Map(..), Value::Object(object)) => {
                let mut parts = Vec::with_capacity(object.len() * 2);
                let mut seen = HashSet::new();
                for (text, value) in object {
                    let key = self.children[0].parse_key(text)?;
                    // One text is there once in a JSON value; `1` and `01` are two, and one number.
                    if key.identity(&self.children[0].data_type).is_some_and(|identity| !seen.insert(identity)) {
                        let (name, text) = (&self.name, quote(text));
                        return Err(format!(
                            "column `{name}`: the key `{text}` is there twice, written in different ways"
                        ));
                    }
                    parts.push(key);
                    parts.push(self.children[1].parse(value)?);
                }
                parts
            }
            (_, other) => return Err(self.wrong(&shown(other))),
        };
        Ok(Parsed::Many(parts))
    }

    fn append(&mut self, value: Parsed) {
        let Parsed::Many(parts) = value else { return self.append_nothing() };
        self.valid.push(true);
        let mut count = 0;
        let children = self.children.len();
        for (index, part) in parts.into_iter().enumerate() {
            self.children[index % children].append(part);
            count = index + 1;
        }
        if !matches!(self.data_type, DataType::Struct(_)) {
            let start = self.ends.last().copied().unwrap_or(0);
            // An input has less than 2^31 bytes, and each value takes one at least.
            self.ends.push(start + i32::try_from(count / children).unwrap_or(0));
        }
    }

    /// A null, or nothing at all where it can not be null: inside of a struct that is.
    pub(super) fn append_nothing(&mut self) {
        self.valid.push(!self.nullable);
        if matches!(self.data_type, DataType::Struct(_)) {
            self.children.iter_mut().for_each(Child::append_nothing);
        } else {
            self.ends.extend(self.ends.last().copied());
        }
    }

    pub(super) fn finish(self) -> ArrayRef {
        let nulls = self.nullable.then(|| NullBuffer::from(self.valid)).filter(|nulls| nulls.null_count() > 0);
        let children: Vec<ArrayRef> = self.children.into_iter().map(|child| child.builder.finish()).collect();
        let ends = OffsetBuffer::new(self.ends.into());
        match self.data_type {
            DataType::List(item) => Arc::new(ListArray::new(item, ends, Arc::clone(&children[0]), nulls)),
            DataType::Map(entries, sorted) => {
                let DataType::Struct(entry) = entries.data_type() else { unreachable!("the codec checked the types") };
                let values = StructArray::new(entry.clone(), children, None);
                Arc::new(MapArray::new(entries, ends, values, nulls, sorted))
            }
            DataType::Struct(fields) => Arc::new(StructArray::new(fields, children, nulls)),
            other => unreachable!("a column of type {other} has no columns inside"),
        }
    }
}

impl Child {
    fn parse(&self, value: &Value) -> Result<Parsed, String> {
        let scalar = match value {
            Value::Null if self.nullable => return Ok(Parsed::Null),
            Value::Null => return Err(missing_value(&self.name)),
            value => match &self.builder {
                Builder::Nested(nested) => return nested.parse(value),
                _ => Scalar::of(value),
            },
        };
        let wrong = || self.kind.wrong(&self.name, &shown(value));
        Ok(Parsed::of(self.kind.of_json(scalar.ok_or_else(wrong)?).ok_or_else(wrong)?))
    }

    /// A key of a map, which JSON has as text whatever it is.
    fn parse_key(&self, text: &str) -> Result<Parsed, String> {
        let cell = self.kind.of_text(text);
        cell.map(Parsed::of).ok_or_else(|| self.kind.wrong(&self.name, &format!("the key `{}`", quote(text))))
    }

    fn append(&mut self, value: Parsed) {
        let cell = match &value {
            Parsed::Null => return self.append_nothing(),
            Parsed::Boolean(value) => Cell::Boolean(*value),
            Parsed::Int64(value) => Cell::Int64(*value),
            Parsed::UInt64(value) => Cell::UInt64(*value),
            Parsed::Float64(value) => Cell::Float64(*value),
            Parsed::Decimal(value) => Cell::Decimal(*value),
            Parsed::Text(text) => Cell::Text(text),
            Parsed::Bytes(bytes) => Cell::Bytes(bytes.clone()),
            Parsed::Many(_) => {
                if let Builder::Nested(nested) = &mut self.builder {
                    nested.append(value);
                }
                return;
            }
        };
        self.builder.append(&cell);
    }

    fn append_nothing(&mut self) {
        if self.nullable { self.builder.append_null() } else { self.builder.append_default() }
    }
}

impl Parsed {
    /// As a map's key of this type: bytes that are the same for the same key. `None` of text, which is the same only if it is written so.
    fn identity(&self, data_type: &DataType) -> Option<Vec<u8>> {
        let float = |value: f64| if value.is_nan() { f64::NAN } else { value + 0.0 }.to_bits();
        let number = match self {
            Self::Boolean(value) => i128::from(*value),
            Self::Int64(value) => i128::from(*value),
            Self::UInt64(value) => i128::from(*value),
            // What is two float64 may be one float32.
            Self::Float64(value) if *data_type == DataType::Float32 => i128::from(float(f64::from(*value as f32))),
            Self::Float64(value) => i128::from(float(*value)),
            Self::Decimal(value) => *value,
            Self::Bytes(bytes) => return Some(bytes.clone()),
            Self::Null | Self::Text(_) | Self::Many(_) => return None,
        };
        Some(number.to_le_bytes().to_vec())
    }

    fn of(cell: Cell<'_>) -> Self {
        match cell {
            Cell::Null => Self::Null,
            Cell::Boolean(value) => Self::Boolean(value),
            Cell::Int64(value) => Self::Int64(value),
            Cell::UInt64(value) => Self::UInt64(value),
            Cell::Float64(value) => Self::Float64(value),
            Cell::Decimal(value) => Self::Decimal(value),
            Cell::Text(text) => Self::Text(text.to_owned()),
            Cell::Bytes(bytes) => Self::Bytes(bytes),
        }
    }
}

impl<'a> Scalar<'a> {
    /// A JSON value that has no values inside and is not null.
    fn of(value: &'a Value) -> Option<Self> {
        Some(match value {
            Value::Bool(value) => Self::Boolean(*value),
            Value::Number(number) => match (number.as_i64(), number.as_u64()) {
                (Some(value), _) => Self::Signed(value),
                (None, Some(value)) => Self::Unsigned(value),
                _ => Self::Float(number.as_f64()?),
            },
            Value::String(text) => Self::Text(text),
            Value::Null | Value::Array(_) | Value::Object(_) => return None,
        })
    }
}

/// A value in messages.
fn shown(value: &Value) -> String {
    match value {
        Value::Null => "null".to_owned(),
        Value::Array(_) => "a list".to_owned(),
        Value::Object(_) => "an object".to_owned(),
        other => Scalar::of(other).map_or_else(String::new, Scalar::shown),
    }
}
