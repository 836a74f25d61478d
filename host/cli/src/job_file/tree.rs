//! A job file as a tree of values that remember where each was written: a line of the file, or a `--set`.
//!
//! The typed model (`sections`) reads this tree and never the TOML text, so that a value from `--set` and one from the file go
//! through the same checks and their errors point at the right place.

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;
use std::sync::Arc;

/// Where something was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// A line of the job file, from 1; 0 = the file as a whole.
    File {
        /// The file, as the user named it.
        path: Arc<Path>,
        /// The line.
        line: usize,
    },
    /// An option of the command line.
    Set {
        /// What follows `--set`.
        text: Arc<str>,
    },
}

impl Place {
    /// The file as a whole.
    #[must_use]
    pub fn whole(path: &Path) -> Self {
        Self::File { path: path.into(), line: 0 }
    }

    /// Whether this is an option of the command line.
    #[must_use]
    pub fn is_set(&self) -> bool {
        matches!(self, Self::Set { .. })
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File { path, line: 0 } => write!(f, "{}", path.display()),
            Self::File { path, line } => write!(f, "{}:{line}", path.display()),
            Self::Set { text } => write!(f, "--set {text}"),
        }
    }
}

/// A value and its place.
#[derive(Clone, Debug)]
pub struct Entry {
    /// What was written.
    pub value: Value,
    /// Where.
    pub place: Place,
}

/// The tables and values of a job file.
pub type Table = BTreeMap<String, Entry>;

/// A TOML value.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// Text.
    Text(String),
    /// A whole number.
    Integer(i64),
    /// A number.
    Float(f64),
    /// `true` or `false`.
    Boolean(bool),
    /// A date or a time, as written.
    Datetime(String),
    /// A list.
    Array(Vec<Value>),
    /// A table.
    Table(Table),
}

impl PartialEq for Entry {
    fn eq(&self, other: &Self) -> bool {
        self.value == other.value
    }
}

impl Value {
    /// What it is, for messages: `a whole number`.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Text(_) => "text",
            Self::Integer(_) => "a whole number",
            Self::Float(_) => "a number",
            Self::Boolean(_) => "true or false",
            Self::Datetime(_) => "a date or time",
            Self::Array(_) => "a list",
            Self::Table(_) => "a table",
        }
    }

    /// The value as JSON; `None` for a number that JSON has no form for (`nan`, `inf`). Dates become text.
    #[must_use]
    pub fn to_json(&self) -> Option<serde_json::Value> {
        use serde_json::Value as Json;
        Some(match self {
            Self::Text(text) | Self::Datetime(text) => Json::String(text.clone()),
            Self::Integer(number) => Json::from(*number),
            Self::Float(number) => Json::Number(serde_json::Number::from_f64(*number)?),
            Self::Boolean(fact) => Json::Bool(*fact),
            Self::Array(items) => Json::Array(items.iter().map(Self::to_json).collect::<Option<_>>()?),
            Self::Table(table) => Json::Object(
                table.iter().map(|(key, entry)| Some((key.clone(), entry.value.to_json()?))).collect::<Option<_>>()?,
            ),
        })
    }
}
