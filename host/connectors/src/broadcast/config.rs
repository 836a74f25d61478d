//! The options of `[broadcasts.NAME]`.

use arrow::datatypes::Schema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::codec::{CsvOptions, Format};
use crate::spec::{delimiter, from_table};
use crate::{RecordFormatSpec, SpecError};

/// Options of a broadcast's value: exactly one of `path`, `rows` and `entries`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct BroadcastSpec {
    /// A file, relative to the job file. It is read again before a batch when it has changed.
    #[serde(default)]
    path: Option<String>,
    /// `"text"` (a line is a row of one column), `"csv"` or `"json"` (JSON lines). Default: `"text"`. With `path` only.
    #[serde(default)]
    format: Option<RecordFormatSpec>,
    /// CSV only: the first line names the columns. Default: `true`.
    #[serde(default)]
    header: Option<bool>,
    /// CSV only: the character between fields. Default: `","`.
    #[serde(default)]
    delimiter: Option<String>,
    /// The rows themselves: each a table (columns by name), a list (columns by position), or, of a single column, a value.
    #[serde(default)]
    rows: Option<Value>,
    /// Rows of two columns as a table: key and value.
    #[serde(default)]
    entries: Option<Value>,
}

/// Where a value is.
pub(super) enum Place<'a> {
    Rows(Rows<'a>),
    File { path: &'a str, format: Format },
}

/// Rows in the job file.
pub(super) enum Rows<'a> {
    List(&'a [Value]),
    Entries(&'a Map<String, Value>),
}

impl BroadcastSpec {
    /// The keys that a table may have.
    pub const KEYS: &'static [&'static str] = &["path", "format", "header", "delimiter", "rows", "entries"];

    /// Checks a table's options.
    pub fn parse(table: Value) -> Result<Self, SpecError> {
        let options: Self = from_table(table)?;
        options.check()?;
        Ok(options)
    }

    fn check(&self) -> Result<(), SpecError> {
        let wrong =
            |key: &str, message: &str| Err(SpecError { key: Some(key.to_owned()), message: message.to_owned() });
        let places = [self.path.is_some(), self.rows.is_some(), self.entries.is_some()];
        if places.iter().filter(|there| **there).count() != 1 {
            let message = "a broadcast has exactly one of path (a file), rows (a list of rows) and entries (a table of keys and values)";
            return Err(SpecError { key: None, message: message.to_owned() });
        }
        if self.path.as_ref().is_some_and(String::is_empty) {
            return wrong("path", "the path is empty: name a file");
        }
        if self.rows.as_ref().is_some_and(|rows| !rows.is_array()) {
            return wrong("rows", "is not a list: it must be a list of rows, such as [[\"EUR\", 1.0], [\"USD\", 0.9]]");
        }
        if self.entries.as_ref().is_some_and(|entries| !entries.is_object()) {
            return wrong("entries", "is not a table: it must be a table, such as { EUR = 1.0, USD = 0.9 }");
        }
        let csv = self.format == Some(RecordFormatSpec::Csv);
        for (key, set, fits) in [
            ("format", self.format.is_some(), self.path.is_some()),
            ("header", self.header.is_some(), csv),
            ("delimiter", self.delimiter.is_some(), csv),
        ] {
            if set && !fits {
                return wrong(
                    key,
                    if key == "format" { "goes with `path` only" } else { "is only for format = \"csv\"" },
                );
            }
        }
        delimiter(self.delimiter.as_deref()).map(drop)
    }

    /// # Panics
    /// If the options were not checked: [`Self::parse`] did.
    pub(super) fn place(&self) -> Place<'_> {
        if let Some(path) = &self.path {
            let format = match self.format.unwrap_or_default() {
                RecordFormatSpec::Text => Format::Text,
                RecordFormatSpec::Json => Format::Json,
                RecordFormatSpec::Csv => Format::Csv(CsvOptions {
                    header: self.header.unwrap_or(true),
                    delimiter: delimiter(self.delimiter.as_deref()).expect("it was checked when the options were read"),
                    multiline: false,
                }),
            };
            return Place::File { path, format };
        }
        match (&self.rows, &self.entries) {
            (Some(Value::Array(rows)), _) => Place::Rows(Rows::List(rows)),
            (_, Some(Value::Object(entries))) => Place::Rows(Rows::Entries(entries)),
            _ => unreachable!("it was checked when the options were read"),
        }
    }
}

impl Rows<'_> {
    /// The rows as JSON lines with the columns' names.
    pub(super) fn json_lines(&self, schema: &Schema) -> Result<String, String> {
        let rows: Vec<Value> = match self {
            Self::List(rows) => {
                rows.iter().enumerate().map(|(at, row)| object(schema, at + 1, row)).collect::<Result<_, _>>()?
            }
            Self::Entries(entries) => {
                let pairs = entries.iter().map(|(key, value)| Value::Array(vec![key.as_str().into(), value.clone()]));
                pairs.enumerate().map(|(at, pair)| object(schema, at + 1, &pair)).collect::<Result<_, _>>()?
            }
        };
        Ok(rows.iter().map(|row| format!("{row}\n")).collect())
    }
}

fn object(schema: &Schema, number: usize, row: &Value) -> Result<Value, String> {
    let names = || schema.fields().iter().map(|field| field.name().clone());
    let values = match row {
        Value::Object(_) => return Ok(row.clone()),
        Value::Array(values) => values.clone(),
        single => vec![single.clone()],
    };
    if values.len() != schema.fields().len() {
        let names: Vec<String> = names().collect();
        return Err(format!(
            "row {number} has {} values, and the plan wants {}: {}",
            values.len(),
            names.len(),
            names.join(", ")
        ));
    }
    Ok(Value::Object(names().zip(values).collect()))
}
