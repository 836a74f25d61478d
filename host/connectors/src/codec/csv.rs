//! CSV (RFC 4180) to rows.
//!
//! - With a header, columns are found by name and may stand in any order among others; without, by position.
//! - A field in quotes is text as it stands, `""` is a quote in it. An empty field without quotes is null where the column
//!   may be null, and otherwise empty text. Spaces around numbers, booleans and times do not matter.
//! - Times are RFC 3339 or whole microseconds; bytes are hexadecimal digits.
//! - Empty lines are passed over (with one nullable column they are nulls).
//! - A record ends at its line end, so that a file may be cut anywhere: a quote open there makes a bad record. With
//!   `multiline` quoted fields may hold line ends, and the file is read as one piece. When a quote is never closed (or only
//!   after more than the longest line allowed), the line that opened it is a bad record and the lines since are records of
//!   their own.

use std::ops::Range;

use arrow::array::ArrayRef;
use arrow::datatypes::{Schema, SchemaRef};
use millpond_core::schema::describe;

use super::decoder::{BadRecords, CsvOptions, utf8};
use super::lines::Line;
use super::rows::{Kind, RowBuilder};
use crate::Error;

/// How often a record whose quote is open is parsed before it is given up. A record needs one try unless unquoted fields
/// hold single quotes; without a bound, a hostile file would cost time with the square of its size.
const TRIES_MAX: usize = 16;

/// A line of a record whose quote is open, its index and its first byte.
type HeldLine = (Vec<u8>, u64, u64);

/// Rows of a CSV file in the making.
pub(super) struct CsvRows {
    schema: SchemaRef,
    options: CsvOptions,
    name: String,
    record_bytes_max: usize,
    rows: RowBuilder,
    fields: Fields,
    /// For each column of the plan, the field it is in.
    places: Option<Vec<usize>>,
    width: usize,
    /// Lines of a record whose quote is open, with their index and start.
    open: Vec<HeldLine>,
    open_bytes: usize,
    tries: usize,
    failure: Option<Error>,
}

enum Parsed {
    Complete,
    QuoteOpen,
}

impl CsvRows {
    pub(super) fn new(schema: &SchemaRef, options: &CsvOptions, record_bytes_max: usize, name: String) -> Self {
        let width = schema.fields().len();
        Self {
            schema: SchemaRef::clone(schema),
            name,
            record_bytes_max,
            rows: RowBuilder::new(schema),
            fields: Fields::default(),
            places: (!options.header).then(|| (0..width).collect()),
            width,
            open: Vec::new(),
            open_bytes: 0,
            tries: 0,
            failure: None,
            options: options.clone(),
        }
    }

    pub(super) fn line(&mut self, line: &Line<'_>, bad: &mut BadRecords) -> Result<(), String> {
        if self.open.is_empty() {
            return match self.record(line.bytes)? {
                Parsed::Complete => Ok(()),
                Parsed::QuoteOpen if self.options.multiline => {
                    self.hold(line);
                    Ok(())
                }
                Parsed::QuoteOpen => Err(OPEN_QUOTE.to_owned()),
            };
        }
        self.hold(line);
        self.try_open_record(bad);
        Ok(())
    }

    /// The input is over: whatever waits for its closing quote will never get it.
    pub(super) fn end(&mut self, bad: &mut BadRecords) {
        self.give_up(bad);
    }

    pub(super) fn finish(self) -> Result<(Vec<ArrayRef>, usize), Error> {
        match self.failure {
            Some(error) => Err(error),
            None => Ok(self.rows.finish()),
        }
    }

    /// Takes the line that names the columns.
    pub(super) fn header(&mut self, line: &[u8]) {
        let line = line.strip_prefix(b"\xef\xbb\xbf").unwrap_or(line);
        let text = String::from_utf8_lossy(line);
        let parsed = self.fields.parse(&text, self.options.delimiter);
        let names: Vec<&str> = self.fields.iter().map(|(name, _)| name).collect();
        self.width = names.len();
        let wanted = self.schema.fields().iter().map(|field| field.name());
        if let Some(column) = wanted.into_iter().find(|wanted| is_twice(&names, wanted)).cloned() {
            self.places = Some(Vec::new());
            let header = names.join(", ");
            self.failure = Some(Error::ColumnTwice { place: self.name.clone(), column, header });
            return;
        }
        let find = |schema: &Schema| -> Result<Vec<usize>, String> {
            let fields = schema.fields().iter();
            let place = |wanted: &String| {
                let exact = names.iter().position(|name| name == wanted);
                exact.or_else(|| names.iter().position(|name| name.trim() == wanted)).ok_or_else(|| wanted.clone())
            };
            fields.map(|field| place(field.name())).collect()
        };
        match find(&self.schema) {
            Ok(places) if matches!(parsed, Ok(Parsed::Complete)) => self.places = Some(places),
            Ok(_) => self.fail(String::new(), text.into_owned()),
            Err(column) => {
                let header = names.join(", ");
                self.fail(column, header);
            }
        }
    }

    fn fail(&mut self, column: String, header: String) {
        // Nothing of this file can be decoded, but its lines still come: they are counted off against no column.
        self.places = Some(Vec::new());
        let column = if column.is_empty() { self.schema.field(0).name().clone() } else { column };
        let wanted = describe(&self.schema);
        self.failure = Some(Error::ColumnMissing { place: self.name.clone(), column, header, wanted });
    }

    fn record(&mut self, bytes: &[u8]) -> Result<Parsed, String> {
        if self.failure.is_some() {
            return Ok(Parsed::Complete);
        }
        let Some(places) = &self.places else {
            if !bytes.is_empty() {
                self.header(bytes);
            }
            return Ok(Parsed::Complete);
        };
        let one_nullable = self.width == 1 && self.rows.columns() == 1 && self.rows.nullable(0);
        if bytes.is_empty() && !one_nullable {
            return Ok(Parsed::Complete);
        }
        let text = utf8(bytes)?;
        if let Parsed::QuoteOpen = self.fields.parse(text, self.options.delimiter)? {
            return Ok(Parsed::QuoteOpen);
        }
        let found = self.fields.ends.len();
        if found != self.width {
            return Err(format!("the row has {found} fields, expected {}", self.width));
        }
        self.rows.begin();
        for (column, place) in places.iter().enumerate() {
            let (text, quoted) = self.fields.get(*place);
            let text_column = matches!(self.rows.kind(column), Kind::Utf8 | Kind::Binary);
            let absent = text.is_empty() && !quoted && (self.rows.nullable(column) || !text_column);
            if !absent {
                self.rows.stage_text(column, text)?;
            }
        }
        self.rows.commit()?;
        Ok(Parsed::Complete)
    }

    fn hold(&mut self, line: &Line<'_>) {
        let mut bytes = line.bytes.to_vec();
        if line.carriage_return {
            bytes.push(b'\r');
        }
        self.open_bytes += bytes.len() + 1;
        self.open.push((bytes, line.index, line.byte));
    }

    /// Tries the lines held so far as one record; gives up when they are too many bytes or too many tries.
    fn try_open_record(&mut self, bad: &mut BadRecords) {
        // Inside quotes an even number of quotes leaves the field open, so most lines need no try.
        let quotes = self.open.last().map_or(0, |(line, ..)| memchr::memchr_iter(b'"', line).count());
        if quotes % 2 == 1 {
            self.tries += 1;
            let lines: Vec<&[u8]> = self.open.iter().map(|(line, ..)| line.as_slice()).collect();
            let joined = lines.join(&b'\n');
            match self.record(joined.strip_suffix(b"\r").unwrap_or(&joined)) {
                Ok(Parsed::QuoteOpen) => {}
                result => {
                    if let (Err(reason), Some((_, index, byte))) = (result, self.open.first()) {
                        bad.add(*index, *byte, reason);
                    }
                    self.close();
                    return;
                }
            }
        }
        if self.open_bytes > self.record_bytes_max || self.tries >= TRIES_MAX {
            self.give_up(bad);
        }
    }

    fn close(&mut self) -> Vec<HeldLine> {
        (self.open_bytes, self.tries) = (0, 0);
        std::mem::take(&mut self.open)
    }

    /// Reads each of the held lines as a record of its own: the first is bad for certain. Only so is the work linear.
    fn give_up(&mut self, bad: &mut BadRecords) {
        for (bytes, index, byte) in self.close() {
            match self.record(bytes.strip_suffix(b"\r").unwrap_or(&bytes)) {
                Ok(Parsed::Complete) => {}
                Ok(Parsed::QuoteOpen) => bad.add(index, byte, LOST_QUOTE.to_owned()),
                Err(reason) => bad.add(index, byte, reason),
            }
        }
    }
}

/// Whether it cannot be told which field of a header is meant. Names that the plan does not want may stand twice.
fn is_twice(names: &[&str], wanted: &str) -> bool {
    let exact = names.iter().filter(|name| **name == wanted).count();
    exact > 1 || exact == 0 && names.iter().filter(|name| name.trim() == wanted).count() > 1
}

/// Without `multiline`.
const OPEN_QUOTE: &str =
    "a quote is opened and not closed (a half-written row, or a line end in a field: that needs multiline = true)";

/// With `multiline`.
const LOST_QUOTE: &str = "a quote is opened and not closed before the record grows too long or the file ends \
                          (a half-written row, or a quote in a field that is not doubled)";

/// The fields of one record, unquoted, one after the other.
#[derive(Default)]
struct Fields {
    text: String,
    /// Where each field ends in `text`, and whether it was in quotes.
    ends: Vec<(usize, bool)>,
}

impl Fields {
    fn parse(&mut self, record: &str, delimiter: u8) -> Result<Parsed, String> {
        self.text.clear();
        self.ends.clear();
        let bytes = record.as_bytes();
        let mut at = 0;
        loop {
            let quoted = bytes.get(at) == Some(&b'"');
            if quoted {
                match self.quoted(record, at + 1) {
                    Some(after) => at = after,
                    None => return Ok(Parsed::QuoteOpen),
                }
            } else {
                let end = memchr::memchr(delimiter, &bytes[at..]).map_or(bytes.len(), |found| at + found);
                self.text.push_str(&record[at..end]);
                at = end;
            }
            self.ends.push((self.text.len(), quoted));
            match bytes.get(at) {
                None => return Ok(Parsed::Complete),
                Some(byte) if *byte == delimiter => at += 1,
                Some(_) => return Err(format!("field {}: text after the closing quote", self.ends.len())),
            }
        }
    }

    /// Takes a field in quotes from its first byte on; gives the place after its closing quote.
    fn quoted(&mut self, record: &str, mut at: usize) -> Option<usize> {
        loop {
            let end = at + memchr::memchr(b'"', &record.as_bytes()[at..])?;
            self.text.push_str(&record[at..end]);
            if record.as_bytes().get(end + 1) != Some(&b'"') {
                return Some(end + 1);
            }
            self.text.push('"');
            at = end + 2;
        }
    }

    fn range(&self, field: usize) -> Range<usize> {
        let start = if field == 0 { 0 } else { self.ends[field - 1].0 };
        start..self.ends[field].0
    }

    fn get(&self, field: usize) -> (&str, bool) {
        (&self.text[self.range(field)], self.ends[field].1)
    }

    fn iter(&self) -> impl Iterator<Item = (&str, bool)> {
        (0..self.ends.len()).map(|field| self.get(field))
    }
}
