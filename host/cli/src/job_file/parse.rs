//! TOML text into a [`Table`] whose entries know their lines.

use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use toml::Spanned;
use toml::de::{DeInteger, DeTable, DeValue};

use super::tree::{Entry, Place, Table, Value};
use crate::error::Error;

/// Reads the text of a job file.
///
/// **Errors**: MP0102 with line and column when the text is not TOML.
pub(super) fn parse_document(path: &Path, text: &str) -> Result<Table, Error> {
    let path: Arc<Path> = path.into();
    let table = DeTable::parse(text).map_err(|error| syntax_error(&path, text, &error))?;
    let lines = LineIndex::new(text);
    let place = |span: Range<usize>| Place::File { path: Arc::clone(&path), line: lines.line(span.start) };
    convert_table(table.get_ref(), &place)
}

/// Reads the value of a `--set`: TOML if it is TOML, else the bare text.
pub(super) fn parse_value(text: &str, place: &Place) -> Value {
    let Ok(parsed) = DeValue::parse(text.trim()) else { return Value::Text(text.to_owned()) };
    convert(&parsed, &|_| place.clone()).unwrap_or_else(|_| Value::Text(text.to_owned()))
}

/// Splits a dotted key (`sources."my lines".path`) as TOML does; `None` if it is not one.
pub(super) fn parse_key(text: &str) -> Option<Vec<String>> {
    if text.contains(['\n', '\r', '=', '#']) {
        return None;
    }
    let line = format!("{text} = 0");
    let document = DeTable::parse(&line).ok()?;
    let mut table = document.get_ref();
    let mut path = Vec::new();
    loop {
        let (key, value) = table.iter().next()?;
        path.push(key.get_ref().to_string());
        match value.get_ref() {
            DeValue::Table(inner) => table = inner,
            _ => return Some(path),
        }
    }
}

fn convert_table(table: &DeTable<'_>, place: &dyn Fn(Range<usize>) -> Place) -> Result<Table, Error> {
    let entries = table.iter().map(|(key, value)| {
        // The key's line is where a reader looks, also when a list goes on over several lines.
        let entry = Entry { value: convert(value, place)?, place: place(key.span()) };
        Ok((key.get_ref().to_string(), entry))
    });
    entries.collect()
}

fn convert(value: &Spanned<DeValue<'_>>, place: &dyn Fn(Range<usize>) -> Place) -> Result<Value, Error> {
    Ok(match value.get_ref() {
        DeValue::String(text) => Value::Text(text.to_string()),
        DeValue::Integer(number) => integer(number, &place(value.span()))?,
        DeValue::Float(number) => Value::Float(number.as_str().parse().unwrap_or(f64::NAN)),
        DeValue::Boolean(fact) => Value::Boolean(*fact),
        DeValue::Datetime(time) => Value::Datetime(time.to_string()),
        DeValue::Array(items) => Value::Array(items.iter().map(|item| convert(item, place)).collect::<Result<_, _>>()?),
        DeValue::Table(table) => Value::Table(convert_table(table, place)?),
    })
}

fn integer(number: &DeInteger<'_>, place: &Place) -> Result<Value, Error> {
    let parsed = i64::from_str_radix(number.as_str(), number.radix());
    parsed.map(Value::Integer).map_err(|_| Error::NotToml {
        place: place.clone(),
        column: 0,
        message: format!("the number {number} does not fit 64 bits"),
    })
}

fn syntax_error(path: &Arc<Path>, text: &str, error: &toml::de::Error) -> Error {
    let lines = LineIndex::new(text);
    let (line, column) = match error.span() {
        Some(span) => (lines.line(span.start), lines.column(text, span.start)),
        None => (0, 0),
    };
    Error::NotToml {
        place: Place::File { path: Arc::clone(path), line },
        column,
        message: error.message().trim().replace('\n', "; "),
    }
}

/// Where each line starts.
pub(super) struct LineIndex {
    starts: Vec<usize>,
}

impl LineIndex {
    pub(super) fn new(text: &str) -> Self {
        let ends = text.bytes().enumerate().filter(|(_, byte)| *byte == b'\n').map(|(at, _)| at + 1);
        Self { starts: std::iter::once(0).chain(ends).collect() }
    }

    /// The line of a byte, from 1.
    pub(super) fn line(&self, offset: usize) -> usize {
        self.starts.partition_point(|start| *start <= offset)
    }

    /// The column of a byte in characters, from 1.
    fn column(&self, text: &str, offset: usize) -> usize {
        let start = self.starts[self.line(offset) - 1];
        text.get(start..offset).map_or(1, |before| before.chars().count() + 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn key_path_may_have_quoted_parts() {
        assert_eq!(parse_key("sources.\"my.lines\".path").unwrap(), ["sources", "my.lines", "path"]);
        assert_eq!(parse_key("job"), Some(vec!["job".to_owned()]));
        for malformed in ["", ".", "a.", "a b", "[a]", "a=1\nb", "a # b"] {
            assert_eq!(parse_key(malformed), None, "{malformed:?}");
        }
    }

    #[test]
    fn set_value_is_toml_or_bare_text() {
        let place = Place::Set { text: "x".into() };
        assert_eq!(parse_value("10", &place), Value::Integer(10));
        assert_eq!(parse_value("true", &place), Value::Boolean(true));
        assert_eq!(parse_value("\"10\"", &place), Value::Text("10".into()));
        assert_eq!(parse_value("/data/*.txt", &place), Value::Text("/data/*.txt".into()));
        assert_eq!(parse_value("10s", &place), Value::Text("10s".into()));
        assert_eq!(parse_value("", &place), Value::Text(String::new()));
        assert_eq!(parse_value("a b = c", &place), Value::Text("a b = c".into()));
        assert_eq!(parse_value("[1, 2]", &place), Value::Array(vec![Value::Integer(1), Value::Integer(2)]));
    }

    #[test]
    fn entries_know_their_lines() {
        let table = parse_document(Path::new("m.toml"), "# top\n[job]\n\nname = \"x\"\nlist = [\n 1,\n]\n").unwrap();
        let Value::Table(job) = &table["job"].value else { panic!("job must be a table") };
        assert_eq!(table["job"].place.to_string(), "m.toml:2");
        assert_eq!(job["name"].place.to_string(), "m.toml:4");
        assert_eq!(job["list"].place.to_string(), "m.toml:5");
    }
}
