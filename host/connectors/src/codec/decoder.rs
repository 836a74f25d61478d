//! The three decoders behind one face, and the rules they share: length of a line, bad records, places.

use arrow::array::{ArrayRef, RecordBatch, RecordBatchOptions};
use arrow::datatypes::{DataType, SchemaRef};
use millpond_core::BadRecord;
use millpond_core::schema::{describe, is_nested, type_name};

use super::csv::CsvRows;
use super::json::JsonRows;
use super::lines::{Line, Lines};
use super::text::TextRows;
use crate::{Error, Result};

/// The most input that one record batch can hold: Arrow's string offsets are 32-bit.
pub(crate) const INPUT_BYTES_MAX: u64 = i32::MAX as u64;

/// How many bad records of one input are told one by one; the rest is told as a number. A guess: enough to see what is
/// wrong, and little enough that a folder of pictures read as JSON does not fill the memory.
const BAD_RECORDS_MAX: usize = 10_000;

/// How much of a record a message quotes.
const QUOTE_CHARS: usize = 60;

/// What records look like.
#[derive(Clone, Debug)]
pub(crate) enum Format {
    /// A record is a line.
    Text,
    /// Comma-separated values, RFC 4180.
    Csv(CsvOptions),
    /// One JSON object per line.
    Json,
}

/// How a CSV file is written.
#[derive(Clone, Debug)]
pub(crate) struct CsvOptions {
    /// The first line names the columns.
    pub(crate) header: bool,
    /// Between two fields.
    pub(crate) delimiter: u8,
    /// Quoted fields may hold line ends.
    pub(crate) multiline: bool,
}

/// A format checked against the columns that the plan wants.
#[derive(Clone, Debug)]
pub(crate) struct Codec {
    pub(crate) schema: SchemaRef,
    pub(crate) format: Format,
    pub(crate) line_bytes_max: usize,
}

/// Where an input comes from, for the places of its bad records.
pub(crate) struct Origin<'a> {
    /// The file, or host and port.
    pub(crate) name: &'a str,
    /// The number of its first line, from 1, if that is known.
    pub(crate) first_line: Option<u64>,
    /// Where it starts in the whole.
    pub(crate) first_byte: u64,
    /// How many bytes will come, as far as is known.
    pub(crate) bytes: u64,
}

/// What to do with a last line that has no line end.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum LastLine {
    /// It is a record.
    Complete,
    /// It was cut off: leave it out.
    #[cfg(feature = "files")]
    Dropped,
}

/// Why an input gives no rows at all.
#[derive(Debug)]
pub(crate) enum DecodeError {
    /// Text that is not UTF-8: decode again with `strict` to leave out the bad lines.
    NotUtf8,
    /// Anything else.
    Fatal(Error),
}

enum Rows {
    Text(TextRows),
    Csv(Box<CsvRows>),
    Json(JsonRows),
}

/// Turns one input into rows.
pub(crate) struct Decoder {
    schema: SchemaRef,
    rows: Rows,
    lines: Lines,
    bad: BadRecords,
    line_bytes_max: usize,
    taken_bytes: u64,
    at_start: bool,
}

impl Codec {
    /// Checks that the format can give the plan's columns.
    pub(crate) fn try_new(source_name: &str, schema: &SchemaRef, format: Format, line_bytes_max: u64) -> Result<Self> {
        let mismatch = |reason: String| Error::FormatMismatch {
            source_name: source_name.to_owned(),
            reason,
            wanted: describe(schema),
        };
        let fields = schema.fields();
        if matches!(format, Format::Text) && !(fields.len() == 1 && *fields[0].data_type() == DataType::Utf8) {
            return Err(mismatch(
                "format \"text\" gives one utf8 column: set format = \"csv\" or \"json\", or let the plan take lines"
                    .to_owned(),
            ));
        }
        if fields.is_empty() {
            return Err(mismatch("the plan wants no columns of it: let the plan take at least one".to_owned()));
        }
        if let Some(field) = fields.iter().find(|field| type_name(field.data_type()).is_none()) {
            return Err(mismatch(format!("column `{}` has a type that no format can give", field.name())));
        }
        if let (Format::Csv(_), Some(field)) = (&format, fields.iter().find(|field| is_nested(field.data_type()))) {
            return Err(mismatch(format!(
                "column `{}` has columns inside, which CSV has no way to write: set format = \"json\"",
                field.name()
            )));
        }
        let line_bytes_max = usize::try_from(line_bytes_max).unwrap_or(usize::MAX / 2).min(INPUT_BYTES_MAX as usize);
        Ok(Self { schema: SchemaRef::clone(schema), format, line_bytes_max })
    }

    /// A decoder for one input. `strict` is for the second try after [`DecodeError::NotUtf8`].
    pub(crate) fn decoder(&self, origin: &Origin<'_>, strict: bool) -> Decoder {
        let rows = match &self.format {
            Format::Text => {
                let bytes = usize::try_from(origin.bytes.min(INPUT_BYTES_MAX)).unwrap_or(0);
                Rows::Text(TextRows::new(bytes, strict))
            }
            Format::Csv(options) => {
                let name = origin.name.to_owned();
                Rows::Csv(Box::new(CsvRows::new(&self.schema, options, self.line_bytes_max, name)))
            }
            Format::Json => Rows::Json(JsonRows::new(&self.schema)),
        };
        Decoder {
            schema: SchemaRef::clone(&self.schema),
            rows,
            lines: Lines::new(self.line_bytes_max),
            bad: BadRecords::new(origin),
            line_bytes_max: self.line_bytes_max,
            taken_bytes: 0,
            at_start: origin.first_byte == 0,
        }
    }

    /// Whether every part of an input needs the input's first line.
    #[cfg(feature = "files")]
    pub(crate) fn needs_header(&self) -> bool {
        matches!(&self.format, Format::Csv(options) if options.header)
    }
}

impl Decoder {
    /// Says where the input really starts, once that is known.
    #[cfg(feature = "files")]
    pub(crate) fn starts_at(&mut self, byte: u64) {
        self.bad.first_byte = byte;
    }

    /// Gives the header of the whole to a part from the middle.
    #[cfg(feature = "files")]
    pub(crate) fn header(&mut self, line: &[u8]) {
        if let Rows::Csv(rows) = &mut self.rows {
            rows.header(line);
        }
    }

    /// How many bytes were taken: unpacked ones, if the input was packed.
    #[cfg(feature = "files")]
    pub(crate) fn taken_bytes(&self) -> u64 {
        self.taken_bytes
    }

    /// Takes the next bytes. **Errors**: when they are more than a record batch can hold, at once.
    pub(crate) fn push(&mut self, mut chunk: &[u8]) -> Result<(), DecodeError> {
        self.taken_bytes += chunk.len() as u64;
        if self.taken_bytes > INPUT_BYTES_MAX {
            let place = self.bad.name.clone();
            return Err(DecodeError::Fatal(Error::SplitTooLarge { place, limit_bytes: INPUT_BYTES_MAX }));
        }
        if std::mem::take(&mut self.at_start) {
            // Spreadsheets and editors like to write a byte order mark, and nobody wants it in the first word.
            chunk = chunk.strip_prefix(b"\xef\xbb\xbf").unwrap_or(chunk);
        }
        let Self { rows, lines, bad, line_bytes_max, .. } = self;
        match rows {
            Rows::Text(rows) => lines.push(chunk, |line| bad.check(&line, *line_bytes_max, |line, _| rows.line(line))),
            Rows::Csv(rows) => {
                lines.push(chunk, |line| bad.check(&line, *line_bytes_max, |line, bad| rows.line(line, bad)))
            }
            Rows::Json(rows) => lines.push(chunk, |line| bad.check(&line, *line_bytes_max, |line, _| rows.line(line))),
        }
        Ok(())
    }

    /// The input is over.
    pub(crate) fn end(&mut self, last: LastLine) {
        let Self { rows, lines, bad, line_bytes_max, .. } = self;
        if last == LastLine::Complete {
            lines.end(|line| {
                bad.check(&line, *line_bytes_max, |line, bad| match rows {
                    Rows::Text(rows) => rows.line(line),
                    Rows::Csv(rows) => rows.line(line, bad),
                    Rows::Json(rows) => rows.line(line),
                });
            });
        }
        if let Rows::Csv(rows) = rows {
            rows.end(bad);
        }
    }

    /// The rows, and what could not be decoded.
    pub(crate) fn finish(self) -> Result<(RecordBatch, Vec<BadRecord>), DecodeError> {
        let (columns, rows): (Vec<ArrayRef>, usize) = match self.rows {
            Rows::Text(rows) => {
                let column = rows.finish().ok_or(DecodeError::NotUtf8)?;
                let rows = column.len();
                (vec![column], rows)
            }
            Rows::Csv(rows) => rows.finish().map_err(DecodeError::Fatal)?,
            Rows::Json(rows) => rows.finish(),
        };
        let options = RecordBatchOptions::new().with_row_count(Some(rows));
        let batch = RecordBatch::try_new_with_options(self.schema, columns, &options)
            .expect("the columns were built from the schema, with as many rows each");
        Ok((batch, self.bad.finish()))
    }
}

/// The bad records of one input, with their places.
pub(super) struct BadRecords {
    name: String,
    first_line: Option<u64>,
    first_byte: u64,
    list: Vec<BadRecord>,
    untold: u64,
}

impl BadRecords {
    fn new(origin: &Origin<'_>) -> Self {
        let Origin { name, first_line, first_byte, .. } = *origin;
        Self { name: name.to_owned(), first_line, first_byte, list: Vec::new(), untold: 0 }
    }

    #[inline]
    fn check(
        &mut self,
        line: &Line<'_>,
        bytes_max: usize,
        decode: impl FnOnce(&Line<'_>, &mut Self) -> Result<(), String>,
    ) {
        let result = if line.too_long {
            // Who fed the line may have kept no more of it than shows this, so its length is not told.
            Err(format!("the line has more than {bytes_max} bytes; raise line-bytes-max"))
        } else {
            decode(line, self)
        };
        if let Err(reason) = result {
            self.add(line.index, line.byte, reason);
        }
    }

    /// `index` and `byte` say which line of the input it is.
    #[cold]
    pub(super) fn add(&mut self, index: u64, byte: u64, reason: String) {
        if self.list.len() >= BAD_RECORDS_MAX {
            self.untold += 1;
            return;
        }
        let place = match self.first_line {
            Some(first) => format!("{} line {}", self.name, first + index),
            None => format!("{} byte {}", self.name, self.first_byte + byte),
        };
        self.list.push(BadRecord { place, reason });
    }

    fn finish(mut self) -> Vec<BadRecord> {
        if self.untold > 0 {
            let reason = format!("{} more bad records", self.untold);
            self.list.push(BadRecord { place: self.name, reason });
        }
        self.list
    }
}

/// The text of a record; what is wrong if it is not UTF-8.
pub(super) fn utf8(bytes: &[u8]) -> Result<&str, String> {
    std::str::from_utf8(bytes).map_err(|error| {
        let at = error.valid_up_to();
        format!(
            "not UTF-8 at byte {at} of the line (0x{:02x}): `{}`",
            bytes[at],
            quote(&String::from_utf8_lossy(bytes))
        )
    })
}

/// The beginning of a text, with control characters made visible, for a message.
pub(super) fn quote(text: &str) -> String {
    let mut shown: String = text.chars().take(QUOTE_CHARS).flat_map(char::escape_debug).collect();
    if text.chars().nth(QUOTE_CHARS).is_some() {
        shown.push('…');
    }
    shown
}
