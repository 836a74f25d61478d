//! JSON lines to rows: one object per line, columns by name.
//!
//! Unknown fields are passed over, a field that stands twice counts the second time, and so does a map's key; two keys that are
//! written in different ways and are the same number, time or bytes are a bad record. A field that is missing or null is
//! null, and a bad record where the column may not be null. Types are taken strictly: a number in quotes is no number. The
//! exceptions are what JSON cannot say: `"NaN"`, `"Infinity"` and `"-Infinity"` for floats, RFC 3339 text or whole
//! microseconds for times, hexadecimal digits for bytes. Lists are arrays; structs and maps are objects (a map's keys are text
//! in JSON, whatever they are in the column).

use std::collections::HashMap;
use std::fmt;

use arrow::array::ArrayRef;
use arrow::datatypes::Schema;
use serde::de::{Deserialize, DeserializeSeed, Deserializer, Error as _, IgnoredAny, MapAccess, SeqAccess, Visitor};

use super::decoder::utf8;
use super::lines::Line;
use super::rows::{Kind, RowBuilder, Scalar};

/// Rows of JSON lines in the making.
pub(super) struct JsonRows {
    rows: RowBuilder,
    names: HashMap<String, usize>,
}

impl JsonRows {
    pub(super) fn new(schema: &Schema) -> Self {
        let names = schema.fields().iter().enumerate().map(|(column, field)| (field.name().clone(), column));
        Self { rows: RowBuilder::new(schema), names: names.collect() }
    }

    pub(super) fn line(&mut self, line: &Line<'_>) -> Result<(), String> {
        if line.bytes.iter().all(u8::is_ascii_whitespace) {
            return Ok(());
        }
        let text = utf8(line.bytes)?;
        self.rows.begin();
        let mut json = serde_json::Deserializer::from_str(text);
        Object { rows: &mut self.rows, names: &self.names }
            .deserialize(&mut json)
            .and_then(|()| json.end())
            .map_err(|error| explain(&error))?;
        self.rows.commit()
    }

    pub(super) fn finish(self) -> (Vec<ArrayRef>, usize) {
        self.rows.finish()
    }
}

/// serde_json ends its messages with a line number, which is always 1 here and would mislead.
fn explain(error: &serde_json::Error) -> String {
    let text = error.to_string();
    let reason = text.rsplit_once(" at line ").map_or(text.as_str(), |(reason, _)| reason);
    if error.is_data() { reason.to_owned() } else { format!("not a JSON object: {reason} at byte {}", error.column()) }
}

struct Object<'a> {
    rows: &'a mut RowBuilder,
    names: &'a HashMap<String, usize>,
}

impl<'de> DeserializeSeed<'de> for Object<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Object<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON object, one per line")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(column) = map.next_key_seed(Key(self.names))? {
            match column {
                Some(column) => map.next_value_seed(Cell { rows: self.rows, column })?,
                None => drop(map.next_value::<IgnoredAny>()?),
            }
        }
        Ok(())
    }
}

struct Key<'a>(&'a HashMap<String, usize>);

impl<'de> DeserializeSeed<'de> for Key<'_> {
    type Value = Option<usize>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Option<usize>, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for Key<'_> {
    type Value = Option<usize>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a field name")
    }

    fn visit_str<E>(self, name: &str) -> Result<Option<usize>, E> {
        Ok(self.0.get(name).copied())
    }
}

struct Cell<'a> {
    rows: &'a mut RowBuilder,
    column: usize,
}

impl Cell<'_> {
    fn stage<E: serde::de::Error>(self, value: Scalar<'_>) -> Result<(), E> {
        self.rows.stage_json(self.column, value).map_err(E::custom)
    }
}

impl<'de> DeserializeSeed<'de> for Cell<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        if self.rows.kind(self.column) == Kind::Nested {
            let value = serde_json::Value::deserialize(deserializer)?;
            return self.rows.stage_nested(self.column, &value).map_err(D::Error::custom);
        }
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Cell<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value of the column's type")
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        self.rows.stage_null(self.column);
        Ok(())
    }

    fn visit_bool<E: serde::de::Error>(self, value: bool) -> Result<(), E> {
        self.stage(Scalar::Boolean(value))
    }

    fn visit_i64<E: serde::de::Error>(self, value: i64) -> Result<(), E> {
        self.stage(Scalar::Signed(value))
    }

    fn visit_u64<E: serde::de::Error>(self, value: u64) -> Result<(), E> {
        self.stage(Scalar::Unsigned(value))
    }

    fn visit_f64<E: serde::de::Error>(self, value: f64) -> Result<(), E> {
        self.stage(Scalar::Float(value))
    }

    fn visit_str<E: serde::de::Error>(self, value: &str) -> Result<(), E> {
        self.stage(Scalar::Text(value))
    }

    fn visit_map<A: MapAccess<'de>>(self, _: A) -> Result<(), A::Error> {
        Err(A::Error::custom(self.rows.wrong(self.column, "an object")))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, _: A) -> Result<(), A::Error> {
        Err(A::Error::custom(self.rows.wrong(self.column, "a list")))
    }
}
