//! Reads typed values out of a table, with one way of saying what is wrong.

use std::ops::RangeInclusive;

use millpond_connectors::units;

use super::tree::{Entry, Place, Table, Value};
use crate::error::{Error, did_you_mean};
use crate::text;

/// A table that is being read, and where it stands.
pub(super) struct Reader<'a> {
    /// Its key in the file, such as `sources.lines`; empty for the whole file.
    path: String,
    table: &'a Table,
    /// Where the table begins.
    place: Place,
}

impl<'a> Reader<'a> {
    /// The whole file.
    pub(super) fn root(table: &'a Table, place: Place) -> Self {
        Self { path: String::new(), table, place }
    }

    /// A section that the file does not have.
    pub(super) fn missing(path: &str, empty: &'a Table, place: Place) -> Self {
        Self { path: path.to_owned(), table: empty, place }
    }

    /// The table under a key; `None` if there is none.
    pub(super) fn table(&self, key: &str) -> Result<Option<Reader<'a>>, Error> {
        self.table.get(key).map(|entry| self.entry_as_table(key, entry)).transpose()
    }

    /// All entries, each of which must be a table.
    pub(super) fn tables(&self) -> Result<Vec<(&'a str, Reader<'a>)>, Error> {
        self.table.iter().map(|(key, entry)| Ok((key.as_str(), self.entry_as_table(key, entry)?))).collect()
    }

    fn entry_as_table(&self, key: &str, entry: &'a Entry) -> Result<Reader<'a>, Error> {
        let path = self.key(key);
        match &entry.value {
            Value::Table(table) => Ok(Reader { path, table, place: entry.place.clone() }),
            other => Err(Error::WrongValue {
                place: entry.place.clone(),
                problem: format!("expected a table, found {}", other.kind()),
                allowed: format!("a table [{path}]"),
                key: path,
            }),
        }
    }

    pub(super) fn entries(&self) -> &'a Table {
        self.table
    }

    pub(super) fn place(&self) -> &Place {
        &self.place
    }

    /// The whole key of one of the table's keys.
    pub(super) fn key(&self, key: &str) -> String {
        if self.path.is_empty() { key.to_owned() } else { format!("{}.{key}", self.path) }
    }

    /// Where a key is written, or the table if it is not.
    pub(super) fn place_of(&self, key: &str) -> Place {
        self.table.get(key).map_or(&self.place, |entry| &entry.place).clone()
    }

    /// **Errors**: MP0103 for the first key that is not among the known ones.
    pub(super) fn check_keys(&self, known: &[&str], owner: &str) -> Result<(), Error> {
        let Some((key, entry)) = self.table.iter().find(|(key, _)| !known.contains(&key.as_str())) else {
            return Ok(());
        };
        Err(Error::UnknownKey {
            place: entry.place.clone(),
            key: self.key(key),
            suggestion: did_you_mean(key, known.iter().copied()),
            owner: owner.to_owned(),
            known: known.iter().map(|key| (*key).to_owned()).collect(),
        })
    }

    pub(super) fn wrong(&self, key: &str, problem: impl Into<String>, allowed: impl Into<String>) -> Error {
        Error::WrongValue {
            place: self.place_of(key),
            key: self.key(key),
            problem: problem.into(),
            allowed: allowed.into(),
        }
    }

    pub(super) fn missing_key(&self, key: &str, allowed: impl Into<String>) -> Error {
        Error::MissingKey {
            place: self.place.clone(),
            table: self.path.clone(),
            key: key.to_owned(),
            allowed: allowed.into(),
        }
    }

    /// Something is wrong with the table that is no single key's fault.
    pub(super) fn wrong_as_a_whole(&self, problem: impl Into<String>) -> Error {
        Error::WrongValue {
            place: self.place.clone(),
            key: self.path.clone(),
            problem: problem.into(),
            allowed: String::new(),
        }
    }

    fn wrong_kind(&self, key: &str, expected: &str, found: &Value, allowed: &str) -> Error {
        self.wrong(key, format!("expected {expected}, found {}", found.kind()), allowed)
    }

    pub(super) fn text(&self, key: &str, allowed: &str) -> Result<Option<&'a str>, Error> {
        match self.table.get(key).map(|entry| &entry.value) {
            None => Ok(None),
            Some(Value::Text(text)) => Ok(Some(text)),
            Some(other) => Err(self.wrong_kind(key, "text", other, allowed)),
        }
    }

    pub(super) fn whole_number(&self, key: &str, range: RangeInclusive<u64>) -> Result<Option<u64>, Error> {
        let allowed = format!("a whole number from {} to {}", range.start(), range.end());
        match self.table.get(key).map(|entry| &entry.value) {
            None => Ok(None),
            Some(Value::Integer(number)) => match u64::try_from(*number) {
                Ok(value) if range.contains(&value) => Ok(Some(value)),
                _ => Err(self.wrong(key, format!("{number} is out of range"), allowed)),
            },
            Some(other) => Err(self.wrong_kind(key, "a whole number", other, &allowed)),
        }
    }

    /// A duration in milliseconds.
    pub(super) fn duration_ms(&self, key: &str, range: RangeInclusive<u64>) -> Result<Option<u64>, Error> {
        let [least, most] = [*range.start(), *range.end()].map(text::whole_duration_ms);
        let allowed = format!("text such as \"500ms\", \"10s\" or \"2m\", from {least} to {most}");
        self.measure(key, units::parse_duration_ms, range, &allowed)
    }

    /// A size in bytes; a plain number is bytes.
    pub(super) fn bytes(&self, key: &str, range: RangeInclusive<u64>) -> Result<Option<u64>, Error> {
        let [least, most] = [*range.start(), *range.end()].map(text::whole_bytes);
        let allowed = format!("text such as \"64KiB\" or \"256MiB\", from {least} to {most}");
        if let Some(Value::Integer(number)) = self.table.get(key).map(|entry| &entry.value) {
            let value = u64::try_from(*number).ok().filter(|value| range.contains(value));
            return value.map(Some).ok_or_else(|| self.wrong(key, format!("{number} is out of range"), allowed));
        }
        self.measure(key, units::parse_bytes, range, &allowed)
    }

    fn measure<E: std::fmt::Display>(
        &self,
        key: &str,
        parse: impl Fn(&str) -> Result<u64, E>,
        range: RangeInclusive<u64>,
        allowed: &str,
    ) -> Result<Option<u64>, Error> {
        let Some(text) = self.text(key, allowed)? else { return Ok(None) };
        let value = parse(text).map_err(|problem| self.wrong(key, problem.to_string(), allowed))?;
        if !range.contains(&value) {
            return Err(self.wrong(key, format!("`{text}` is out of range"), allowed));
        }
        Ok(Some(value))
    }

    /// One of a few words.
    pub(super) fn choice<T: Copy>(&self, key: &str, choices: &[(&str, T)]) -> Result<Option<T>, Error> {
        let words: Vec<_> = choices.iter().map(|(word, _)| format!("\"{word}\"")).collect();
        let allowed = words.join(" or ");
        let Some(text) = self.text(key, &allowed)? else { return Ok(None) };
        if let Some((_, value)) = choices.iter().find(|(word, _)| *word == text) {
            return Ok(Some(*value));
        }
        Err(self.wrong(key, unknown_word(text, choices.iter().map(|(word, _)| *word)), allowed))
    }

    /// The table as parameters of a component: text as it is, any other scalar as JSON.
    pub(super) fn params(&self) -> Result<Vec<(String, String)>, Error> {
        let params = self.table.iter().map(|(key, entry)| {
            let value = match &entry.value {
                Value::Text(text) | Value::Datetime(text) => Some(text.clone()),
                Value::Array(_) | Value::Table(_) => None,
                scalar => scalar.to_json().map(|json| json.to_string()),
            };
            let allowed = "text, a finite number, true or false";
            let value = value
                .ok_or_else(|| self.wrong(key, format!("{} cannot be a parameter", entry.value.kind()), allowed))?;
            Ok((key.clone(), value))
        });
        params.collect()
    }
}

/// `unknown value `x`; did you mean `y`?`
pub(super) fn unknown_word<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> String {
    match did_you_mean(word, known) {
        Some(suggestion) => format!("unknown value `{word}`; did you mean `{suggestion}`?"),
        None => format!("unknown value `{word}`"),
    }
}
