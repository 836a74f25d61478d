//! The lines of a poll, cut into blocks that are decoded in parallel. They stay in memory for as long as somebody may read
//! them: until the next poll, and until the batch is done with them.

use std::ops::Range;
use std::sync::Arc;

use memchr::memchr;
use millpond_core::receiver::{SPLIT_BYTES_MIN, split_count};
use millpond_core::{BadRecord, BoxError, Decoded, Split, SplitReader};

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
    pub(crate) fn next(&self, came: Came, partitions: usize) -> Self {
        let first = self.first + self.blocks.len() as u64;
        Self { decoder: Arc::clone(&self.decoder), first, blocks: cut(came, partitions) }
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

/// Blocks of about equal size, at most as many as partitions.
fn cut(came: Came, partitions: usize) -> Vec<Block> {
    let Came { lines, fragments, first_line, first_byte, .. } = came;
    let count = split_count(lines.len() as u64, SPLIT_BYTES_MIN, partitions);
    let target = lines.len().div_ceil(count as usize);
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

#[cfg(test)]
mod tests {
    use millpond_testkit::rows::{text_schema, to_texts};
    use proptest::prelude::*;

    use super::*;
    use crate::codec::Format;

    fn came(lines: String, fragments: Vec<BadRecord>) -> Came {
        Came {
            lines: lines.into_bytes(),
            fragments,
            first_line: 3,
            first_byte: 100,
            notes: Vec::new(),
            failure: None,
            ended: false,
        }
    }

    fn none() -> Blocks {
        let codec = Codec::try_new("lines", &text_schema("line"), Format::Text, 1 << 20).unwrap();
        Blocks::none(LineDecoder::new(codec, "somewhere".to_owned(), OnBadRecordSpec::Skip))
    }

    fn sizes(bytes: usize, partitions: usize) -> Vec<usize> {
        let lines = "123456789\n".repeat(bytes / 10);
        cut(came(lines, Vec::new()), partitions).into_iter().map(|block| block.range.len()).collect()
    }

    #[test]
    fn blocks_are_of_about_equal_size_and_none_is_small() {
        let least = SPLIT_BYTES_MIN as usize;
        assert_eq!(sizes(0, 4).len(), 0);
        assert_eq!(sizes(50, 4), [50]);
        assert_eq!(sizes(2 * least - 100, 4).len(), 1);
        assert_eq!(sizes(2 * least + 100, 4).len(), 2, "no sliver is left");
        assert_eq!(sizes(40 * least, 1).len(), 1);
        let many = sizes(40 * least, 4);
        assert_eq!(many.len(), 4);
        assert!(many.iter().all(|size| size.abs_diff(10 * least) < 40), "{many:?}");
    }

    #[test]
    fn a_poll_s_reader_knows_its_own_blocks_only() {
        let first = none().next(came("a\nb\n".to_owned(), Vec::new()), 2);
        let second = first.next(came("c\n".to_owned(), Vec::new()), 2);
        let (before, after) = (first.splits().remove(0), second.splits().remove(0));
        assert_eq!((before.place.as_str(), before.bytes), ("somewhere from line 3", Some(4)));
        assert_eq!(to_texts(&first.read(&before).unwrap().batch), ["a", "b"]);
        assert_eq!(to_texts(&second.read(&after).unwrap().batch), ["c"]);
        for error in [first.read(&after).unwrap_err(), second.read(&before).unwrap_err()] {
            assert!(error.to_string().contains("it is of another batch"), "{error}");
        }
    }

    #[test]
    fn what_was_never_finished_is_told_once_also_without_lines() {
        let fragment = BadRecord { place: "line 9".to_owned(), reason: "unfinished".to_owned() };
        for lines in ["", "a\n"] {
            let blocks = none().next(came(lines.to_owned(), vec![fragment.clone()]), 4);
            let splits = blocks.splits();
            assert_eq!(splits.len(), 1);
            let decoded = blocks.read(&splits[0]).unwrap();
            assert_eq!((decoded.batch.num_rows(), decoded.bad_records), (lines.len() / 2, vec![fragment.clone()]));
        }
    }

    proptest! {
        #[test]
        fn every_line_is_in_one_block(lengths in prop::collection::vec(0..30_000_usize, 0..40), partitions in 0..9_usize) {
            let lines: Vec<String> = lengths.iter().enumerate().map(|(n, length)| format!("{n}{}", "x".repeat(*length))).collect();
            let text: String = lines.iter().map(|line| format!("{line}\n")).collect();
            let blocks = none().next(came(text, Vec::new()), partitions);
            let splits = blocks.splits();
            prop_assert!(splits.len() <= partitions.max(1));
            let read = splits.iter().flat_map(|split| to_texts(&blocks.read(split).unwrap().batch));
            prop_assert_eq!(read.collect::<Vec<_>>(), lines);
            // Line numbers and places in bytes follow each other.
            let (mut line, mut byte) = (3, 100);
            for block in &blocks.blocks {
                prop_assert_eq!((block.first_line, block.first_byte), (line, byte));
                line += count_lines(&block.lines[block.range.clone()]);
                byte += block.range.len() as u64;
            }
        }
    }
}
