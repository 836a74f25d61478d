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
/// **Cost**: no allocation; 64 bytes are looked at at a time.
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
    let pattern = pattern_of(separator);
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

/// The bytes as text, if they are UTF-8. The standard library looks at eight bytes at a time in wasm and each look costs an interruption
/// check; this looks at 64.
///
/// # Errors
/// Where the bytes are no UTF-8.
pub(crate) fn checked(bytes: Vec<u8>) -> Result<String, std::str::Utf8Error> {
    if simdutf8::basic::from_utf8(&bytes).is_err() {
        return String::from_utf8(bytes).map_err(|error| error.utf8_error());
    }
    #[allow(unsafe_code, reason = "a check by another library cannot be told to the standard one")]
    // SAFETY: the line above has just found these very bytes to be valid UTF-8.
    Ok(unsafe { String::from_utf8_unchecked(bytes) })
}

/// The separator eight times, which is what `matches_in_block` looks for.
pub(crate) fn pattern_of(separator: char) -> u64 {
    ONES.wrapping_mul(separator as u64)
}

/// A bit for each byte of up to eight words that is the one of the pattern.
#[inline]
fn matches_in(words: &[[u8; 8]], pattern: u64) -> u64 {
    let matches = |word: &[u8; 8]| first_bits(zero_bytes(u64::from_le_bytes(*word) ^ pattern));
    words.iter().rev().fold(0, |all, word| all << 8 | matches(word))
}

/// A bit for each of 64 bytes that is the one of the pattern.
#[cfg(all(target_arch = "wasm32", target_feature = "simd128"))]
#[inline]
pub(crate) fn matches_in_block(block: &[u8; BLOCK], pattern: u64) -> u64 {
    use core::arch::wasm32::{u8x16_bitmask, u8x16_eq, u64x2, u64x2_splat};
    let pattern = u64x2_splat(pattern);
    let (pairs, _) = block.as_chunks::<16>();
    pairs.iter().rev().fold(0, |all, pair| {
        let (words, _) = pair.as_chunks::<8>();
        let bytes = u64x2(u64::from_le_bytes(words[0]), u64::from_le_bytes(words[1]));
        all << 16 | u64::from(u8x16_bitmask(u8x16_eq(bytes, pattern)))
    })
}

/// A bit for each of 64 bytes that is the one of the pattern.
#[cfg(not(all(target_arch = "wasm32", target_feature = "simd128")))]
#[inline]
pub(crate) fn matches_in_block(block: &[u8; BLOCK], pattern: u64) -> u64 {
    // A loop of known length is unrolled.
    matches_in(block.as_chunks::<8>().0, pattern)
}

/// The iterator that [`split`] gives.
#[derive(Clone, Debug)]
pub struct Split<'a> {
    text: &'a str,
    /// The separator, eight times.
    pattern: u64,
    /// Where the next piece begins.
    start: usize,
    /// Where the block begins that `matches` is about.
    block: usize,
    /// A bit for each byte of the block that is a separator and was not come to yet, the first byte's lowest.
    matches: u64,
    done: bool,
}

/// Bytes that are looked at at a time: whether there is one more separator in a block is hard to foresee, so blocks are large.
pub(crate) const BLOCK: usize = 64;

impl Split<'_> {
    /// Goes to the next block with a separator in it; whether there is one. Apart, as a loop costs an interruption check each
    /// time round.
    #[inline(never)]
    fn go_on(&mut self) -> bool {
        while self.matches == 0 && self.text.len() - self.block > BLOCK {
            self.block += BLOCK;
            self.matches = self.look();
        }
        self.matches != 0
    }

    /// Where separators are in the block.
    #[inline]
    fn look(&self) -> u64 {
        match self.text.as_bytes()[self.block..].first_chunk::<BLOCK>() {
            Some(block) => matches_in_block(block, self.pattern),
            None => self.look_at_end(),
        }
    }

    #[inline]
    fn look_at_end(&self) -> u64 {
        let bytes = self.text.as_bytes();
        let (words, tail) = bytes[self.block..].as_chunks::<8>();
        let mut matches = matches_in(words, self.pattern);
        if !tail.is_empty() {
            let word = match bytes.last_chunk::<8>() {
                Some(last) => u64::from_le_bytes(*last) >> (64 - tail.len() * 8),
                None => tail.iter().rev().fold(0, |word, byte| word << 8 | u64::from(*byte)),
            };
            // What is behind the end is no separator.
            let inside = (1 << tail.len()) - 1;
            matches |= (first_bits(zero_bytes(word ^ self.pattern)) & inside) << (words.len() * 8);
        }
        matches
    }
}

/// The top bit of each byte that is zero. Exact: no carry goes from one byte to the next.
#[inline]
fn zero_bytes(word: u64) -> u64 {
    !(((word & LOW_BITS) + LOW_BITS) | word | LOW_BITS)
}

/// The top bits of the eight bytes, side by side in the lowest byte. Each is moved to its place by one term of the product.
#[inline]
fn first_bits(word: u64) -> u64 {
    (word >> 7).wrapping_mul(0x0102_0408_1020_4080) >> 56
}

impl<'a> Iterator for Split<'a> {
    type Item = &'a str;

    #[inline]
    fn next(&mut self) -> Option<&'a str> {
        if self.matches == 0 && !self.go_on() {
            if self.done {
                return None;
            }
            self.done = true;
            return Some(&self.text[self.start..]);
        }
        let at = self.block + self.matches.trailing_zeros() as usize;
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
        fn pieces_are_those_of_the_standard_library(text in "[ ,a\u{e9}\u{1f600}\u{80}\x00\u{a0}]{0,200}", comma in any::<bool>()) {
            let separator = if comma { ',' } else { ' ' };
            prop_assert_eq!(split(&text, separator).collect::<Vec<_>>(), text.split(separator).collect::<Vec<_>>());
            prop_assert_eq!(split_once(&text, separator), text.split_once(separator));
        }
    }

    #[test]
    fn every_length_around_a_block_works() {
        for length in 0..150 {
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
