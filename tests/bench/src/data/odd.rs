//! Input that a careless engine stumbles over, all of it for the word count.

use std::path::Path;

use anyhow::Result;

use super::random::Random;
use super::text::TextSource;
use super::{DataSet, ensure};

/// The longest line that a files source takes unless it is told otherwise.
const LINE_BYTES_MAX: usize = 1 << 20;

/// One kind of odd input.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Odd {
    /// Rows of 1 MiB.
    LongRows,
    /// Files of one line, so batches of one row.
    TinyBatches,
    /// Nothing but line ends.
    EmptyLines,
    /// One word that is every second word.
    HotKey,
    /// Words of 10 KB.
    LongKeys,
}

/// All kinds.
pub(crate) const KINDS: &[Odd] = &[Odd::LongRows, Odd::TinyBatches, Odd::EmptyLines, Odd::HotKey, Odd::LongKeys];

impl Odd {
    /// What it is, in a word or two.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::LongRows => "rows of 1 MiB",
            Self::TinyBatches => "batches of one row",
            Self::EmptyLines => "empty lines",
            Self::HotKey => "a hot key",
            Self::LongKeys => "keys of 10 KB",
        }
    }

    /// Files and lines of a file; `quick` for a small part.
    fn size(self, quick: bool) -> (u64, u64) {
        match (self, quick) {
            (Self::LongRows, false) => (10, 10),
            (Self::TinyBatches, false) => (1000, 1),
            (Self::EmptyLines, false) => (10, 100_000),
            (Self::HotKey, false) => (20, 50_000),
            (Self::LongKeys, false) => (40, 500),
            (Self::LongRows, true) => (2, 2),
            (Self::TinyBatches, true) => (20, 1),
            (Self::EmptyLines, true) => (2, 1_000),
            (Self::HotKey, true) => (2, 1_000),
            (Self::LongKeys, true) => (2, 100),
        }
    }
}

/// The input, made if it is not there.
///
/// # Errors
///
/// It cannot be written.
pub(crate) fn odd(data_dir: &Path, kind: Odd, quick: bool) -> Result<DataSet> {
    let (files, lines) = kind.size(quick);
    let name = format!("odd-{}-{files}x{lines}", format!("{kind:?}").to_lowercase());
    let mut source = TextSource::new();
    let keys = long_keys();
    let mut random = Random::new(20_261_104);
    ensure(data_dir, &name, &format!("{kind:?} {files} files of {lines} lines"), files, |_, part| {
        let mut line = Vec::new();
        for _ in 0..lines {
            match kind {
                Odd::LongRows => long_row(&mut source, &mut line),
                Odd::TinyBatches => source.line(&mut line),
                Odd::EmptyLines => {}
                Odd::HotKey => hot_row(&mut source, &mut line),
                Odd::LongKeys => line.clone_from(&keys[random.below(keys.len() as u64) as usize]),
            }
            part.line(&line)?;
        }
        Ok(())
    })
}

/// Words up to exactly the longest line that is allowed.
fn long_row(source: &mut TextSource, line: &mut Vec<u8>) {
    line.clear();
    while line.len() < LINE_BYTES_MAX {
        line.extend_from_slice(source.word());
        line.push(b' ');
    }
    line.truncate(LINE_BYTES_MAX);
}

/// Ten words, five of which are the same.
fn hot_row(source: &mut TextSource, line: &mut Vec<u8>) {
    line.clear();
    for _ in 0..5 {
        line.extend_from_slice(b"hottest ");
        line.extend_from_slice(source.word());
        line.push(b' ');
    }
    line.pop();
}

/// Different words of 10,000 letters that differ at their end only, so that comparing them costs something.
fn long_keys() -> Vec<Vec<u8>> {
    (0..200).map(|number| format!("{}{number:03}", "k".repeat(9_997)).into_bytes()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(kind: Odd) -> String {
        let dir = tempfile::tempdir().unwrap();
        let set = odd(dir.path(), kind, true).unwrap();
        std::fs::read_to_string(&set.paths().unwrap()[0]).unwrap()
    }

    #[test]
    fn each_kind_is_what_it_is_called() {
        assert!(text(Odd::LongRows).lines().all(|line| line.len() == LINE_BYTES_MAX));
        assert_eq!(text(Odd::TinyBatches).lines().count(), 1);
        assert_eq!(text(Odd::EmptyLines), "\n".repeat(1000));
        assert!(text(Odd::LongKeys).lines().all(|line| line.len() == 10_000));
        let hot = text(Odd::HotKey);
        let words: Vec<_> = hot.split_whitespace().collect();
        assert_eq!(words.iter().filter(|word| **word == "hottest").count() * 2, words.len());
    }
}
