//! Whole inputs and outputs in memory, in the formats of the connectors: for cases that lie in files, and for programs that
//! bring their own bytes.

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use millpond_core::Decoded;

use crate::codec::encode::Encoding;
use crate::codec::{Codec, CsvOptions, DecodeError, Format, LastLine, Origin};
use crate::{RecordFormatSpec, Result};

/// The longest line, as in a source of files that does not say otherwise.
const LINE_BYTES_MAX: u64 = 1 << 20;

/// Decodes all of an input; CSV has a header line and commas. `name` stands in the places of bad records.
///
/// # Errors
/// When the format cannot give these columns (MP0503), when a CSV header lacks one, or when the input is too large.
pub fn decode(name: &str, schema: &SchemaRef, format: RecordFormatSpec, bytes: &[u8]) -> Result<Decoded> {
    let format = match format {
        RecordFormatSpec::Text => Format::Text,
        RecordFormatSpec::Csv => Format::Csv(CsvOptions { header: true, delimiter: b',', multiline: false }),
        RecordFormatSpec::Json => Format::Json,
    };
    let codec = Codec::try_new(name, schema, format, LINE_BYTES_MAX)?;
    let origin = Origin { name, first_line: Some(1), first_byte: 0, bytes: bytes.len() as u64 };
    let attempt = |strict| {
        let mut decoder = codec.decoder(&origin, strict);
        decoder.push(bytes)?;
        decoder.end(LastLine::Complete);
        decoder.finish()
    };
    let result = match attempt(false) {
        Err(DecodeError::NotUtf8) => attempt(true),
        result => result,
    };
    match result {
        Ok((batch, bad_records)) => Ok(Decoded { batch, bad_records, bytes: bytes.len() as u64 }),
        Err(DecodeError::Fatal(error)) => Err(error),
        Err(DecodeError::NotUtf8) => unreachable!("a strict decoder leaves such lines out"),
    }
}

/// Rows as JSON lines, as the sink `files` writes them but for the batch time. `None` if a column has a type that cannot be written.
#[must_use]
pub fn json_lines(rows: &RecordBatch) -> Option<String> {
    let mut out = Vec::new();
    Encoding::Json.rows(&mut out, rows, None).ok()?;
    String::from_utf8(out).ok()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::datatypes::{DataType, Field, Schema};

    use super::*;

    #[test]
    fn what_is_decoded_is_written_again() {
        let fields = vec![Field::new("word", DataType::Utf8, false), Field::new("count", DataType::Int64, true)];
        let schema: SchemaRef = Arc::new(Schema::new(fields));
        let decoded = decode("a.csv", &schema, RecordFormatSpec::Csv, b"count,word\n1,a\n,b\nx,c\n").unwrap();
        let text = json_lines(&decoded.batch).unwrap();
        assert_eq!(text, "{\"word\":\"a\",\"count\":1}\n{\"word\":\"b\",\"count\":null}\n");
        assert_eq!(decoded.bad_records[0].place, "a.csv line 4");
        let again = decode("a.jsonl", &schema, RecordFormatSpec::Json, text.as_bytes()).unwrap();
        assert_eq!(again.batch, decoded.batch);
    }

    #[test]
    fn lines_that_are_no_text_are_told() {
        let schema: SchemaRef = Arc::new(Schema::new(vec![Field::new("line", DataType::Utf8, false)]));
        let decoded = decode("a.txt", &schema, RecordFormatSpec::Text, b"good\n\xff\nlast").unwrap();
        assert_eq!((decoded.batch.num_rows(), decoded.bad_records.len()), (2, 1));
    }
}
