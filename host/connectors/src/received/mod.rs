//! Lines that come by themselves and wait for the next batch: what the sources `socket` and `stdin` share.
//!
//! ```text
//! whoever receives -> Assembler: whole lines -> Shared: a bounded inbox -> poll -> Blocks: cut, kept for the batch, decoded
//! ```
//! Nothing is acknowledged to the other side, so what a crash takes is lost.

mod blocks;
mod inbox;

use millpond_core::BadRecord;

pub(crate) use self::blocks::{Blocks, LineDecoder};
pub(crate) use self::inbox::{Assembler, Shared};
use crate::codec::{CsvOptions, Format};
use crate::{Error, RecordFormatSpec};

/// What came for one batch.
#[derive(Debug)]
pub(crate) struct Came {
    /// Whole lines with their line ends.
    lines: Vec<u8>,
    /// Lines that were never finished.
    fragments: Vec<BadRecord>,
    /// The number of the first line, from 1, since the job was started.
    first_line: u64,
    /// Where it starts in all that came.
    first_byte: u64,
    /// News for the operator.
    pub(crate) notes: Vec<String>,
    /// Nothing can be received.
    pub(crate) failure: Option<Error>,
    /// That was all, for ever.
    pub(crate) ended: bool,
}

/// What such lines look like. There is no CSV header: nobody knows where the stream began.
pub(crate) fn line_format(format: RecordFormatSpec, delimiter: u8) -> Format {
    match format {
        RecordFormatSpec::Text => Format::Text,
        RecordFormatSpec::Json => Format::Json,
        RecordFormatSpec::Csv => Format::Csv(CsvOptions { header: false, delimiter, multiline: false }),
    }
}
