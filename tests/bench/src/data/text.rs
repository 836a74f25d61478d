//! W1's input: lines of words that come as often as Zipf says.

use std::collections::HashSet;
use std::path::Path;

use anyhow::Result;

use super::random::{Random, Zipf};
use super::{DataSet, ensure};

/// How many different words.
pub(crate) const WORDS: usize = 50_000;

/// What a text is made of.
#[derive(Debug, Clone, Copy)]
pub(crate) struct TextOptions {
    /// How many files.
    pub files: u64,
    /// Lines of a file.
    pub lines: u64,
}

impl TextOptions {
    /// W1's text: 2 M lines in 40 files, 20 M words.
    pub(crate) const W1: Self = Self { files: 40, lines: 50_000 };

    /// A small part of it, to see that a case works.
    pub(crate) const QUICK: Self = Self { files: 4, lines: 5_000 };
}

/// The text, made if it is not there.
///
/// # Errors
///
/// It cannot be written.
pub(crate) fn text(data_dir: &Path, options: TextOptions) -> Result<DataSet> {
    let name = format!("text-{}x{}", options.files, options.lines);
    let mut source = TextSource::new();
    ensure(data_dir, &name, &format!("{options:?} of {WORDS} words"), options.files, |_, part| {
        let mut line = Vec::new();
        for _ in 0..options.lines {
            source.line(&mut line);
            part.line(&line)?;
        }
        Ok(())
    })
}

/// Lines without end, always the same ones.
pub(crate) struct TextSource {
    words: Vec<Vec<u8>>,
    zipf: Zipf,
    random: Random,
}

impl TextSource {
    /// From the first line on.
    pub(crate) fn new() -> Self {
        let mut random = Random::new(20_261_101);
        let words = vocabulary(WORDS, &mut random);
        Self { words, zipf: Zipf::new(WORDS, 1.0), random }
    }

    /// A word.
    pub(crate) fn word(&mut self) -> &[u8] {
        &self.words[self.zipf.draw(&mut self.random)]
    }

    /// Puts the next line, of 5 to 15 words, in place of what `line` holds.
    pub(crate) fn line(&mut self, line: &mut Vec<u8>) {
        line.clear();
        for number in 0..self.random.between(5, 15) {
            if number > 0 {
                line.push(b' ');
            }
            let rank = self.zipf.draw(&mut self.random);
            line.extend_from_slice(&self.words[rank]);
        }
    }
}

/// Different words of 2 to 10 letters, short ones more often, as in a language.
fn vocabulary(count: usize, random: &mut Random) -> Vec<Vec<u8>> {
    let mut seen = HashSet::with_capacity(count);
    let mut words = Vec::with_capacity(count);
    while words.len() < count {
        let length = 2 + random.below(9).min(random.below(9));
        let word: Vec<u8> = (0..length).map(|_| b'a' + random.below(26) as u8).collect();
        if seen.insert(word.clone()) {
            words.push(word);
        }
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_text_is_always_the_same() {
        let lines = || {
            let mut source = TextSource::new();
            (0..100)
                .map(|_| {
                    let mut line = Vec::new();
                    source.line(&mut line);
                    String::from_utf8(line).unwrap()
                })
                .collect::<Vec<_>>()
        };
        let first = lines();
        assert_eq!(first, lines());
        for line in &first {
            let words: Vec<_> = line.split(' ').collect();
            assert!((5..=15).contains(&words.len()), "{line}");
            assert!(words.iter().all(|word| (2..=10).contains(&word.len())), "{line}");
        }
    }
}
