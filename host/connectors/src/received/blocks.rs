//! The latest poll's lines, cut into blocks that are decoded in parallel. They stay in memory until the next poll, so that a batch can
//! read them more than once.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use memchr::memchr;
use millpond_core::{BadRecord, BoxError, Decoded, Split, SplitReader};

use super::Came;
use super::inbox::count_lines;
use crate::codec::{Codec, DecodeError, LastLine, Origin};
use crate::{Error, OnBadRecordSpec, Result};

/// A smaller block is not worth a task of its own (a guess: some 1000 lines).
const BLOCK_BYTES_MIN: usize = 64 << 10;

/// Holds blocks and decodes them.
#[derive(Debug)]
pub(crate) struct Blocks {
    codec: Codec,
    /// Where the lines come from, for messages.
    origin: String,
    on_bad_record: OnBadRecordSpec,
    held: Mutex<Held>,
}

#[derive(Debug, Default)]
struct Held {
    /// Number of the next block.
    next: u64,
    blocks: HashMap<u64, Arc<Block>>,
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

impl Blocks {
    /// `origin` says where the lines come from.
    pub(crate) fn new(codec: Codec, origin: String, on_bad_record: OnBadRecordSpec) -> Self {
        Self { codec, origin, on_bad_record, held: Mutex::default() }
    }

    /// Cuts what came into at most `partitions` blocks at line ends, and forgets the blocks of the poll before.
    pub(crate) fn replace(&self, came: Came, partitions: usize) -> Vec<Split> {
        let blocks = cut(came, partitions);
        let mut held = self.held();
        held.blocks.clear();
        let mut splits = Vec::with_capacity(blocks.len());
        for block in blocks {
            let number = held.next;
            splits.push(Split {
                locator: number.to_le_bytes().to_vec(),
                place: format!("{} from line {}", self.origin, block.first_line),
                bytes: Some(block.range.len() as u64),
            });
            held.blocks.insert(number, Arc::new(block));
            held.next += 1;
        }
        splits
    }

    fn held(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
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

fn cut(came: Came, partitions: usize) -> Vec<Block> {
    let Came { lines, fragments, first_line, first_byte, .. } = came;
    let target = lines.len().div_ceil(partitions.max(1)).max(BLOCK_BYTES_MIN);
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
        let at = (start + target).min(lines.len()) - 1;
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
        let number = split.locator.as_slice().try_into().ok().map(u64::from_le_bytes);
        let block = number.and_then(|number| self.held().blocks.get(&number).cloned());
        let block = block.ok_or_else(|| Error::Unreadable {
            what: "a split",
            reason: format!("{}: it is not of the latest batch", split.place),
        })?;
        let decoded = match self.decode(&block, false) {
            Err(DecodeError::NotUtf8) => self.decode(&block, true),
            decoded => decoded,
        };
        let mut decoded = decoded.map_err(|error| match error {
            DecodeError::Fatal(error) => error,
            DecodeError::NotUtf8 => unreachable!("strict decoding leaves out what is not UTF-8"),
        })?;
        decoded.bad_records.extend(block.fragments.iter().cloned());
        if let (OnBadRecordSpec::Fail, Some(bad)) = (self.on_bad_record, decoded.bad_records.first()) {
            return Err(Error::BadRecord { place: bad.place.clone(), reason: bad.reason.clone() }.into());
        }
        Ok(decoded)
    }
}
