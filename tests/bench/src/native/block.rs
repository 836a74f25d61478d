//! Files by blocks of whole lines, and the places of separators in a block.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

/// Bytes of a read: with the tables' hot part, a block stays in a core's own cache.
const CHUNK: usize = 256 << 10;

/// Bytes that may be read behind the end of a block; what they are is of no account.
pub(super) const PADDING: usize = 64;

/// Reads files. Keeps its buffer.
#[derive(Default)]
pub(super) struct Blocks {
    buffer: Vec<u8>,
}

/// Whole lines, each with its line end.
#[derive(Clone, Copy)]
pub(super) struct Block<'a> {
    /// The lines, and `PADDING` bytes more.
    pub(super) bytes: &'a [u8],
    /// How many bytes the lines have.
    pub(super) len: usize,
}

impl Blocks {
    /// Gives the lines that begin in one of `parts` equal parts of a file, block by block.
    pub(super) fn read(
        &mut self,
        path: &Path,
        part: usize,
        parts: usize,
        each: impl FnMut(Block<'_>),
    ) -> io::Result<()> {
        let file = File::open(path)?;
        let size = file.metadata()?.len();
        let (from, to) = (size * part as u64 / parts as u64, size * (part as u64 + 1) / parts as u64);
        if from < to { self.read_range(&file, from, to, each) } else { Ok(()) }
    }

    /// Gives the lines that begin in `from..to`.
    fn read_range(&mut self, file: &File, from: u64, to: u64, mut each: impl FnMut(Block<'_>)) -> io::Result<()> {
        // The byte before tells whether a line begins at `from`.
        let mut position = from.saturating_sub(1);
        let (mut held, mut is_inside_a_line) = (0, from > 0);
        loop {
            if self.buffer.len() < held + CHUNK + PADDING + 1 {
                self.buffer.resize(held + CHUNK + PADDING + 1, 0);
            }
            let want = CHUNK.min(usize::try_from(to.saturating_sub(position)).unwrap_or(CHUNK).max(4096));
            let read = file.read_at(&mut self.buffer[held..held + want], position)?;
            let base = position - held as u64;
            let have = held + read;
            position += read as u64;
            let mut start = 0;
            if is_inside_a_line {
                match memchr::memchr(b'\n', &self.buffer[..have]) {
                    Some(index) => (start, is_inside_a_line) = (index + 1, false),
                    None if read == 0 => return Ok(()),
                    None => {
                        held = 0;
                        continue;
                    }
                }
            }
            if base + start as u64 >= to || (read == 0 && start == have) {
                return Ok(());
            }
            // The last line that begins before `to` ends at the first line end from `to - 1` on.
            let last = usize::try_from(to - 1 - base).ok().filter(|last| *last < have);
            let end = last.and_then(|last| memchr::memchr(b'\n', &self.buffer[last..have]).map(|index| last + index));
            if let Some(end) = end {
                each(self.block(start, end + 1));
                return Ok(());
            }
            if read == 0 {
                self.buffer[have] = b'\n';
                each(self.block(start, have + 1));
                return Ok(());
            }
            let end = memchr::memrchr(b'\n', &self.buffer[start..have]).map_or(start, |index| start + index + 1);
            if end > start {
                each(self.block(start, end));
            }
            self.buffer.copy_within(end..have, 0);
            held = have - end;
        }
    }

    fn block(&self, start: usize, end: usize) -> Block<'_> {
        Block { bytes: &self.buffer[start..end + PADDING], len: end - start }
    }
}

impl Block<'_> {
    /// Calls `each` with the place of every byte that is one of two, in order.
    #[inline(always)]
    pub(super) fn separators(&self, one: u8, other: u8, mut each: impl FnMut(usize)) {
        let mut base = 0;
        while base < self.len {
            // The padding makes the last block whole.
            let Some(block) = self.bytes.get(base..base + 64).and_then(|block| block.first_chunk::<64>()) else {
                return;
            };
            let mut mask = matches(block, one, other);
            let rest = self.len - base;
            if rest < 64 {
                mask &= (1 << rest) - 1;
            }
            while mask != 0 {
                each(base + mask.trailing_zeros() as usize);
                mask &= mask - 1;
            }
            base += 64;
        }
    }
}

/// A bit for each byte that is one of two. The compiler makes vector code of the loop; the product gathers eight bytes, each
/// with a bit of its own, in the highest one.
#[inline(always)]
fn matches(block: &[u8; 64], one: u8, other: u8) -> u64 {
    let mut bits = [0_u8; 64];
    for (place, (bit, byte)) in bits.iter_mut().zip(block).enumerate() {
        let is_found = (*byte == one) | (*byte == other);
        *bit = u8::from(is_found).wrapping_neg() & (1 << (place % 8));
    }
    let (words, _) = bits.as_chunks::<8>();
    words.iter().enumerate().fold(0, |mask, (index, word)| {
        let gathered = u64::from_le_bytes(*word).wrapping_mul(0x0101_0101_0101_0101) >> 56;
        mask | gathered << (8 * index)
    })
}
