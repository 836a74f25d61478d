//! Input that a careless engine stumbles over: for the word count, and for the moving averages.

use std::io::Write;
use std::path::Path;

use anyhow::Result;

use super::random::Random;
use super::readings::{ReadingsOptions, reading};
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
    /// One sensor that has every second reading.
    HotSensor,
}

/// All kinds.
pub(crate) const KINDS: &[Odd] =
    &[Odd::LongRows, Odd::TinyBatches, Odd::EmptyLines, Odd::HotKey, Odd::LongKeys, Odd::HotSensor];

impl Odd {
    /// What it is, in a word or two.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::LongRows => "rows of 1 MiB",
            Self::TinyBatches => "batches of one row",
            Self::EmptyLines => "empty lines",
            Self::HotKey => "a hot word",
            Self::LongKeys => "keys of 10 KB",
            Self::HotSensor => "a hot sensor",
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
            // As many as w3 has.
            (Self::HotSensor, false) => {
                (ReadingsOptions::W3.files, ReadingsOptions::W3.rows / ReadingsOptions::W3.files)
            }
            (Self::HotSensor, true) => (2, 1_000),
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
    let mut random = Random::new(20_261_104);
    let sensors = if quick { ReadingsOptions::QUICK.sensors } else { ReadingsOptions::W3.sensors };
    ensure(data_dir, &name, &format!("{kind:?} {files} files of {lines} lines"), files, |_, part| {
        let mut line = Vec::new();
        for _ in 0..lines {
            match kind {
                Odd::LongRows => long_row(&mut source, &mut line),
                Odd::TinyBatches => source.line(&mut line),
                Odd::EmptyLines => {}
                Odd::HotKey => hot_row(&mut source, &mut line),
                Odd::LongKeys => long_key(random.below(LONG_KEYS), &mut line)?,
                Odd::HotSensor => {
                    let sensor = if random.below(2) == 0 { 0 } else { random.below(sensors) };
                    reading(sensor, &mut random, &mut line)?;
                }
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

/// How many different ones there are.
const LONG_KEYS: u64 = 5_000;

/// A word of 10,000 letters. They differ at their end only, so that comparing them costs something.
fn long_key(number: u64, line: &mut Vec<u8>) -> Result<()> {
    line.clear();
    line.resize(9_996, b'k');
    Ok(write!(line, "{number:04}")?)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

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
        let hot = text(Odd::HotSensor);
        let mut readings: BTreeMap<&str, u32> = BTreeMap::new();
        hot.lines().for_each(|line| *readings.entry(line.split_once(',').unwrap().0).or_default() += 1);
        let readings = readings.into_values().max().unwrap();
        assert!((400..600).contains(&readings), "{readings} of 1000 are of one sensor");
        let hot = text(Odd::HotKey);
        let words: Vec<_> = hot.split_whitespace().collect();
        assert_eq!(words.iter().filter(|word| **word == "hottest").count() * 2, words.len());
    }
}
