//! Cutting text, made for the short pieces that rows are cut into.

use std::iter::FusedIterator;

/// Eight times the same byte.
const ONES: u64 = 0x0101_0101_0101_0101;
/// All but the top bit of each byte.
const LOW_BITS: u64 = 0x7f7f_7f7f_7f7f_7f7f;

/// The pieces of a text between single ASCII characters: the same pieces as `text.split(separator)` gives, quicker where they
/// are short (words, fields of a line), slower where they are hundreds of bytes long.
///
/// **Order**: as they stand. n separators make n + 1 pieces; some may be empty.
/// **Panics**: if the separator is not ASCII.
/// **Cost**: no allocation; eight bytes are looked at at a time.
///
/// ```
/// use millpond::text::split;
///
/// assert_eq!(split("to the  pond", ' ').collect::<Vec<_>>(), ["to", "the", "", "pond"]);
/// ```
#[inline]
#[must_use]
pub fn split(text: &str, separator: char) -> Split<'_> {
    assert!(separator.is_ascii(), "the separator {separator:?} is not ASCII: use str::split");
    let pattern = ONES.wrapping_mul(separator as u64);
    let mut split = Split { text, pattern, start: 0, block: 0, matches: 0, done: false };
    split.matches = split.look();
    split
}

/// The text before and after the first separator; `None` if it has none. The same as `text.split_once(separator)`, quicker where
/// the separator is near the start.
///
/// **Panics**: if the separator is not ASCII.
///
/// ```
/// assert_eq!(millpond::text::split_once("s17,20.5", ','), Some(("s17", "20.5")));
/// ```
#[inline]
#[must_use]
pub fn split_once(text: &str, separator: char) -> Option<(&str, &str)> {
    let before = split(text, separator).next()?;
    Some((before, text.get(before.len() + 1..)?))
}

/// The iterator that [`split`] gives.
#[derive(Clone, Debug)]
pub struct Split<'a> {
    text: &'a str,
    /// The separator, eight times.
    pattern: u64,
    /// Where the next piece begins.
    start: usize,
    /// Where the eight bytes begin that `matches` is about.
    block: usize,
    /// The top bit of each byte that is a separator and was not come to yet.
    matches: u64,
    done: bool,
}

impl Split<'_> {
    /// Where separators are among the eight bytes at `block`.
    #[inline]
    fn look(&self) -> u64 {
        let rest = &self.text.as_bytes()[self.block..];
        match rest.first_chunk::<8>() {
            Some(chunk) => zero_bytes(u64::from_le_bytes(*chunk) ^ self.pattern),
            None => {
                let mut chunk = [0; 8];
                chunk[..rest.len()].copy_from_slice(rest);
                // What is behind the end is no separator.
                let inside = (1 << (rest.len() * 8)) - 1;
                zero_bytes(u64::from_le_bytes(chunk) ^ self.pattern) & inside
            }
        }
    }
}

/// The top bit of each byte that is zero. Exact: no carry goes from one byte to the next.
#[inline]
fn zero_bytes(word: u64) -> u64 {
    !(((word & LOW_BITS) + LOW_BITS) | word | LOW_BITS)
}

impl<'a> Iterator for Split<'a> {
    type Item = &'a str;

    #[inline]
    fn next(&mut self) -> Option<&'a str> {
        while self.matches == 0 {
            if self.text.len() - self.block <= 8 {
                if self.done {
                    return None;
                }
                self.done = true;
                return Some(&self.text[self.start..]);
            }
            self.block += 8;
            self.matches = self.look();
        }
        let at = self.block + (self.matches.trailing_zeros() / 8) as usize;
        self.matches &= self.matches - 1;
        let piece = &self.text[self.start..at];
        self.start = at + 1;
        Some(piece)
    }
}

impl FusedIterator for Split<'_> {}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn pieces_are_those_of_the_standard_library(text in "[ ,a\u{e9}\u{1f600}\u{80}\x00\u{a0}]{0,40}", comma in any::<bool>()) {
            let separator = if comma { ',' } else { ' ' };
            prop_assert_eq!(split(&text, separator).collect::<Vec<_>>(), text.split(separator).collect::<Vec<_>>());
            prop_assert_eq!(split_once(&text, separator), text.split_once(separator));
        }
    }

    #[test]
    fn every_length_around_a_block_works() {
        for length in 0..40 {
            let text = "x".repeat(length) + " ";
            assert_eq!(split(&text, ' ').collect::<Vec<_>>(), text.split(' ').collect::<Vec<_>>());
            assert_eq!(split(&text[..length], ' ').count(), 1);
        }
    }

    #[test]
    #[should_panic(expected = "not ASCII")]
    fn a_separator_of_several_bytes_is_refused() {
        drop(split("a", '\u{e9}'));
    }
}
