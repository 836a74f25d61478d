//! Rows to bytes: text, CSV, JSON lines. What is written here is read back equal by the decoders beside this file
//! (`tests.rs`), except that plain text cannot tell null from empty, nor, in a single column, a line end in a value from one
//! after it.

use std::io::{self, Write};

use arrow::array::RecordBatch;
use arrow::datatypes::Schema;
use millpond_core::BatchTime;

use super::values::{Value, Values, json_text};

/// The name of the last field of CSV and JSON output.
pub(crate) const BATCH_TIME: &str = "batch_time";

/// How rows are written.
#[derive(Clone, Debug)]
pub(crate) enum Encoding {
    /// One row a line, columns joined by tabs. Where there is more than one field, tabs, line ends and backslashes in
    /// them are written `\t`, `\n`, `\r` and `\\`, so that fields stay apart; a single one stands as it is.
    Text,
    /// RFC 4180, lines end with `\n`.
    Csv {
        /// Between two fields.
        delimiter: u8,
        /// A first line with the columns' names.
        header: bool,
    },
    /// One object a line, columns in order.
    Json,
}

impl Encoding {
    /// Writes what comes before the rows.
    pub(crate) fn start(&self, out: &mut impl Write, schema: &Schema, with_time: bool) -> io::Result<()> {
        let Self::Csv { delimiter, header: true } = self else { return Ok(()) };
        let names = schema.fields().iter().map(|field| field.name().as_str());
        for (column, name) in names.chain(with_time.then_some(BATCH_TIME)).enumerate() {
            separate(out, *delimiter, column)?;
            csv_text(out, name, *delimiter)?;
        }
        out.write_all(b"\n")
    }

    /// Writes rows; `time` is the batch time, if it is to stand at the end of each.
    pub(crate) fn rows(&self, out: &mut impl Write, batch: &RecordBatch, time: Option<BatchTime>) -> io::Result<()> {
        let columns = Values::of(batch)
            .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "a column has a type that cannot be written"))?;
        let schema = batch.schema();
        let names: Vec<String> = match self {
            Self::Json => schema.fields().iter().map(|field| json_text(field.name())).collect(),
            _ => Vec::new(),
        };
        for row in 0..batch.num_rows() {
            match self {
                Self::Text => text_row(out, &columns, row, time)?,
                Self::Csv { delimiter, .. } => csv_row(out, &columns, row, time, *delimiter)?,
                Self::Json => json_row(out, &columns, &names, row, time)?,
            }
            out.write_all(b"\n")?;
        }
        Ok(())
    }
}

fn separate(out: &mut impl Write, delimiter: u8, column: usize) -> io::Result<()> {
    if column > 0 { out.write_all(&[delimiter]) } else { Ok(()) }
}

fn text_row(out: &mut impl Write, columns: &[Values<'_>], row: usize, time: Option<BatchTime>) -> io::Result<()> {
    let joined = columns.len() + usize::from(time.is_some()) > 1;
    for (column, values) in columns.iter().enumerate() {
        separate(out, b'\t', column)?;
        match values.get(row) {
            Value::Utf8(text) if joined => escaped(out, text)?,
            Value::Utf8(text) => out.write_all(text.as_bytes())?,
            value @ Value::Nested(..) if joined => escaped(out, &value.to_text())?,
            value => out.write_all(value.to_text().as_bytes())?,
        }
    }
    time.map_or(Ok(()), |time| write!(out, "\t{time}"))
}

fn escaped(out: &mut impl Write, text: &str) -> io::Result<()> {
    let mut done = 0;
    for (at, byte) in text.bytes().enumerate() {
        let escape = match byte {
            b'\t' => br"\t",
            b'\r' => br"\r",
            b'\n' => br"\n",
            b'\\' => br"\\",
            _ => continue,
        };
        out.write_all(&text.as_bytes()[done..at])?;
        out.write_all(escape)?;
        done = at + 1;
    }
    out.write_all(&text.as_bytes()[done..])
}

fn csv_row(
    out: &mut impl Write,
    columns: &[Values<'_>],
    row: usize,
    time: Option<BatchTime>,
    delimiter: u8,
) -> io::Result<()> {
    for (column, values) in columns.iter().enumerate() {
        separate(out, delimiter, column)?;
        match values.get(row) {
            Value::Null => {}
            Value::Utf8(text) => csv_text(out, text, delimiter)?,
            Value::Int64(value) => write!(out, "{value}")?,
            // Quotes tell empty bytes from null.
            Value::Binary([]) => out.write_all(b"\"\"")?,
            value => csv_text(out, &value.to_text(), delimiter)?,
        }
    }
    time.map_or(Ok(()), |time| write!(out, "{}{time}", char::from(delimiter)))
}

fn csv_text(out: &mut impl Write, text: &str, delimiter: u8) -> io::Result<()> {
    let special = |byte: u8| byte == delimiter || matches!(byte, b'"' | b'\n' | b'\r');
    // A byte order mark at the start of a file would be taken for one, and quotes tell empty text from null.
    let quotes = text.is_empty() || text.starts_with('\u{feff}') || text.bytes().any(special);
    if !quotes {
        return out.write_all(text.as_bytes());
    }
    out.write_all(b"\"")?;
    for (part, piece) in text.split('"').enumerate() {
        if part > 0 {
            out.write_all(b"\"\"")?;
        }
        out.write_all(piece.as_bytes())?;
    }
    out.write_all(b"\"")
}

fn json_row(
    out: &mut impl Write,
    columns: &[Values<'_>],
    names: &[String],
    row: usize,
    time: Option<BatchTime>,
) -> io::Result<()> {
    out.write_all(b"{")?;
    for (column, (values, name)) in columns.iter().zip(names).enumerate() {
        separate(out, b',', column)?;
        out.write_all(name.as_bytes())?;
        out.write_all(b":")?;
        values.get(row).write_json(out)?;
    }
    if let Some(time) = time {
        separate(out, b',', columns.len())?;
        write!(out, "\"{BATCH_TIME}\":{time}")?;
    }
    out.write_all(b"}")
}
