//! Chunks of bytes to lines, without buffering more than one line and never more than its allowed length.
//!
//! A line inside a chunk is handed on where it lies; only a line that crosses chunks is put together in a buffer.

use memchr::memchr_iter;

/// A line, without its line end (`\n` or `\r\n`).
pub(super) struct Line<'a> {
    /// Its bytes; only the beginning if it is too long.
    pub(super) bytes: &'a [u8],
    /// Whether `\r` stood before the `\n`.
    pub(super) carriage_return: bool,
    /// It has more bytes than are allowed.
    pub(super) too_long: bool,
    /// How many lines of the input came before it.
    pub(super) index: u64,
    /// Where it starts, from the start of the input.
    pub(super) byte: u64,
}

/// Cuts an input into lines.
pub(super) struct Lines {
    bytes_max: usize,
    /// The beginning of a line whose end has not come; at most `bytes_max` and room for `\r` and one more.
    carry: Vec<u8>,
    /// The full length of that line so far.
    carried: u64,
    index: u64,
    byte: u64,
}

impl Lines {
    pub(super) fn new(bytes_max: usize) -> Self {
        Self { bytes_max, carry: Vec::new(), carried: 0, index: 0, byte: 0 }
    }

    /// Takes the next bytes and hands on every line that ends in them.
    pub(super) fn push(&mut self, chunk: &[u8], mut each: impl FnMut(Line<'_>)) {
        let mut start = 0;
        for end in memchr_iter(b'\n', chunk) {
            let piece = &chunk[start..end];
            start = end + 1;
            if self.carried == 0 {
                self.emit(piece, piece.len() as u64, &mut each);
            } else {
                self.keep(piece);
                self.emit_carried(&mut each);
            }
        }
        self.keep(&chunk[start..]);
    }

    /// The input is over: hands on a last line that has no line end.
    pub(super) fn end(&mut self, mut each: impl FnMut(Line<'_>)) {
        if self.carried > 0 {
            self.emit_carried(&mut each);
        }
    }

    fn keep(&mut self, piece: &[u8]) {
        let room = (self.bytes_max + 2).saturating_sub(self.carry.len());
        self.carry.extend_from_slice(&piece[..piece.len().min(room)]);
        self.carried += piece.len() as u64;
    }

    fn emit_carried(&mut self, each: &mut impl FnMut(Line<'_>)) {
        let mut carry = std::mem::take(&mut self.carry);
        let length = std::mem::take(&mut self.carried);
        self.emit(&carry, length, each);
        carry.clear();
        self.carry = carry;
    }

    #[inline]
    fn emit(&mut self, bytes: &[u8], length: u64, each: &mut impl FnMut(Line<'_>)) {
        let whole = bytes.len() as u64 == length;
        let carriage_return = whole && bytes.last() == Some(&b'\r');
        let bytes = if carriage_return { &bytes[..bytes.len() - 1] } else { bytes };
        let content = length - u64::from(carriage_return);
        let too_long = content > self.bytes_max as u64;
        each(Line { bytes, carriage_return, too_long, index: self.index, byte: self.byte });
        self.index += 1;
        self.byte += length + 1;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn lines(content: &[u8], chunk: usize, bytes_max: usize) -> Vec<(Vec<u8>, bool, u64)> {
        let mut out = Vec::new();
        let mut lines = Lines::new(bytes_max);
        let mut each = |line: Line<'_>| out.push((line.bytes.to_vec(), line.too_long, line.byte));
        content.chunks(chunk).for_each(|chunk| lines.push(chunk, &mut each));
        lines.end(&mut each);
        out
    }

    #[test]
    fn a_line_over_the_limit_is_told_and_not_kept() {
        for chunk in 1..20 {
            let found = lines(b"ab\nabcdefghij\r\nabc\r\n", chunk, 3);
            assert_eq!(found[0], (b"ab".to_vec(), false, 0));
            assert!(found[1].0.len() <= 10);
            assert!(found[1].1, "chunk {chunk}");
            assert_eq!(found[2], (b"abc".to_vec(), false, 15));
        }
    }

    proptest! {
        #[test]
        fn lines_do_not_depend_on_the_chunks(content in "[ab\r\n\u{e9}]{0,60}", chunk in 1_usize..20) {
            let found: Vec<_> = lines(content.as_bytes(), chunk, 1000).into_iter().map(|line| line.0).collect();
            let mut expected: Vec<_> = content.split('\n').map(|l| l.strip_suffix('\r').unwrap_or(l).as_bytes().to_vec()).collect();
            if content.is_empty() || content.ends_with('\n') {
                expected.pop();
            }
            prop_assert_eq!(found, expected);
        }
    }
}
