//! The lines of a poll, cut into blocks that are decoded in parallel. They stay in memory for as long as somebody may read them: until the
//! next poll, and until the batch is done with them.

use std::ops::Range;
use std::sync::Arc;

use memchr::memchr;
use millpond_core::{BadRecord, BoxError, Decoded, PollRequest, Split, SplitReader};

use super::Came;
use super::inbox::count_lines;
use crate::codec::{Codec, DecodeError, LastLine, Origin};
use crate::{Error, OnBadRecordSpec, Result};

/// Makes rows of lines.
#[derive(Debug)]
pub(crate) struct LineDecoder {
    codec: Codec,
    /// Where the lines come from, for messages.
    origin: String,
    on_bad_record: OnBadRecordSpec,
}

/// Holds a poll's blocks and decodes them.
#[derive(Debug)]
pub(crate) struct Blocks {
    decoder: Arc<LineDecoder>,
    /// Number of the first block, counted over all polls.
    first: u64,
    blocks: Vec<Block>,
}

#[derive(Debug)]
struct Block {
    lines: Arc<Vec<u8>>,
    range: Range<usize>,
    /// The number of its first line, from 1.
    first_line: u64,
    first_byte: u64,
    fragments: Vec<BadRecord>,
}

impl LineDecoder {
    /// `origin` says where the lines come from.
    pub(crate) fn new(codec: Codec, origin: String, on_bad_record: OnBadRecordSpec) -> Self {
        Self { codec, origin, on_bad_record }
    }

    fn decode(&self, block: &Block, strict: bool) -> Result<Decoded, DecodeError> {
        let lines = &block.lines[block.range.clone()];
        let (first_line, first_byte) = (Some(block.first_line), block.first_byte);
        let origin = Origin { name: &self.origin, first_line, first_byte, bytes: lines.len() as u64 };
        let mut decoder = self.codec.decoder(&origin, strict);
        decoder.push(lines)?;
        decoder.end(LastLine::Complete);
        let (batch, bad_records) = decoder.finish()?;
        Ok(Decoded { batch, bad_records, bytes: lines.len() as u64 })
    }
}

impl Blocks {
    /// What was there before the first poll: nothing.
    pub(crate) fn none(decoder: LineDecoder) -> Self {
        Self { decoder: Arc::new(decoder), first: 0, blocks: Vec::new() }
    }

    /// The blocks of the poll after this one, cut at line ends.
    pub(crate) fn next(&self, came: Came, request: &PollRequest) -> Self {
        let first = self.first + self.blocks.len() as u64;
        Self { decoder: Arc::clone(&self.decoder), first, blocks: cut(came, request) }
    }

    /// A split for each.
    pub(crate) fn splits(&self) -> Vec<Split> {
        let split = |(number, block): (u64, &Block)| Split {
            locator: number.to_le_bytes().to_vec(),
            place: format!("{} from line {}", self.decoder.origin, block.first_line),
            bytes: Some(block.range.len() as u64),
        };
        (self.first..).zip(&self.blocks).map(split).collect()
    }

    fn block(&self, split: &Split) -> Option<&Block> {
        let number = split.locator.as_slice().try_into().ok().map(u64::from_le_bytes)?;
        self.blocks.get(usize::try_from(number.checked_sub(self.first)?).ok()?)
    }
}

fn cut(came: Came, request: &PollRequest) -> Vec<Block> {
    let Came { lines, fragments, first_line, first_byte, .. } = came;
    let bytes_min = usize::try_from(request.split_bytes_min).unwrap_or(usize::MAX);
    let target = lines.len().div_ceil(request.partitions.max(1)).max(bytes_min).max(1);
    let lines = Arc::new(lines);
    let block = |range: Range<usize>, line| Block {
        lines: Arc::clone(&lines),
        first_line: line,
        first_byte: first_byte + range.start as u64,
        range,
        fragments: Vec::new(),
    };
    let (mut blocks, mut start, mut line) = (Vec::new(), 0, first_line);
    while start < lines.len() {
        // These are whole lines only, so there is a line end.
        let at = start.saturating_add(target).min(lines.len()) - 1;
        let end = memchr(b'\n', &lines[at..]).map_or(lines.len(), |found| at + found + 1);
        blocks.push(block(start..end, line));
        line += count_lines(&lines[start..end]);
        start = end;
    }
    if !fragments.is_empty() {
        let mut last = blocks.pop().unwrap_or_else(|| block(0..0, first_line));
        last.fragments = fragments;
        blocks.push(last);
    }
    blocks
}

impl SplitReader for Blocks {
    fn read(&self, split: &Split) -> Result<Decoded, BoxError> {
        let block = self.block(split).ok_or_else(|| Error::Unreadable {
            what: "a split",
            reason: format!("{}: it is of another batch", split.place),
        })?;
        let decoded = match self.decoder.decode(block, false) {
            Err(DecodeError::NotUtf8) => self.decoder.decode(block, true),
            decoded => decoded,
        };
        let mut decoded = decoded.map_err(|error| match error {
            DecodeError::Fatal(error) => error,
            DecodeError::NotUtf8 => unreachable!("strict decoding leaves out what is not UTF-8"),
        })?;
        decoded.bad_records.extend(block.fragments.iter().cloned());
        if let (OnBadRecordSpec::Fail, Some(bad)) = (self.decoder.on_bad_record, decoded.bad_records.first()) {
            return Err(Error::BadRecord { place: bad.place.clone(), reason: bad.reason.clone() }.into());
        }
        Ok(decoded)
    }
}
