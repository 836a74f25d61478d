//! Where the pieces of many texts are, for terminals that take pieces by their places.
//!
//! 64 bytes are looked at at a time, as bits. A piece begins where a byte that is no separator follows one that is, or where a text
//! begins; it ends where either follows a byte that is none. So pieces are found without a branch for each: what is left to the
//! branches is how many there are in a block.

use crate::text::{BLOCK, matches_in_block, pattern_of};

/// Pieces that are given at a time, or several times as many.
pub(crate) const AT_ONCE: usize = 16;

/// Blocks that are looked at at a time.
const BLOCKS: usize = 16;

/// Bytes of them.
const CHUNK: usize = BLOCKS * BLOCK;

/// Places are written so many at a time, whether there are so many or not.
const WRITTEN: usize = 16;

/// Pieces that were kept, those of a chunk, one that has begun before, and what is written for nothing.
const ROOM: usize = AT_ONCE + CHUNK + 1 + WRITTEN;

/// The places of all pieces that are not empty, of several texts that stand one behind the other: text `i` is
/// `text[offsets[i]..offsets[i + 1]]`. The separator is ASCII. `each` gets where pieces begin, and where they end: a multiple of
/// [`AT_ONCE`] pieces, but for the last call.
pub(crate) fn spans(text: &str, offsets: &[u32], separator: char, mut each: impl FnMut(&[u32], &[u32])) {
    let pattern = pattern_of(separator);
    let mut places = Places { starts: [0; ROOM], ends: [0; ROOM], begun: 0, ended: 0, before: 1 };
    let (mut row, mut start) = (1, 0);
    let mut look = |blocks: &[[u8; BLOCK]], places: &mut Places| {
        let mut rows = [0; BLOCKS];
        row = mark_rows(offsets, row, start, &mut rows[..blocks.len()]);
        places.find(blocks, &rows, pattern, start as u32);
        start += blocks.len() * BLOCK;
    };
    let (blocks, last) = text.as_bytes().as_chunks::<BLOCK>();
    for blocks in blocks.chunks(BLOCKS) {
        look(blocks, &mut places);
        places.give(places.ended / AT_ONCE * AT_ONCE, &mut each);
    }
    // With separators behind the text its last piece ends, too.
    let mut padded = [separator as u8; BLOCK];
    padded[..last.len()].copy_from_slice(last);
    look(&[padded], &mut places);
    places.give(places.ended, &mut each);
}

/// Where rows begin in a chunk, a bit for each byte; gives the first row that does not.
#[inline(never)]
fn mark_rows(offsets: &[u32], mut row: usize, start: usize, rows: &mut [u64]) -> usize {
    while let Some(at) = offsets.get(row)
        && let Some(block) = rows.get_mut((*at as usize - start) / BLOCK)
    {
        *block |= 1 << (at % BLOCK as u32);
        row += 1;
    }
    row
}

/// Places of pieces.
struct Places {
    starts: [u32; ROOM],
    ends: [u32; ROOM],
    /// How many pieces have begun, of which all but the last have ended.
    begun: usize,
    ended: usize,
    /// 1 if the byte before is a separator, or if there is none.
    before: u64,
}

impl Places {
    /// Finds those of some blocks. Calls nothing, so that in wasm what a turn needs stays in registers.
    #[inline(never)]
    fn find(&mut self, blocks: &[[u8; BLOCK]], rows: &[u64; BLOCKS], pattern: u64, start: u32) {
        let Self { starts, ends, .. } = self;
        let (mut begun, mut ended, mut before) = (self.begun, self.ended, self.before);
        let mut at = start;
        for (block, rows) in blocks.iter().zip(rows) {
            let separators = matches_in_block(block, pattern);
            let behind = separators << 1 | before;
            begun = write(starts, begun, at, !separators & (behind | rows));
            ended = write(ends, ended, at, !behind & (separators | rows));
            before = separators >> (BLOCK - 1);
            at += BLOCK as u32;
        }
        (self.begun, self.ended, self.before) = (begun, ended, before);
    }

    /// Gives the first pieces and keeps the others.
    fn give(&mut self, count: usize, each: &mut impl FnMut(&[u32], &[u32])) {
        each(&self.starts[..count], &self.ends[..count]);
        self.starts.copy_within(count..self.begun, 0);
        self.ends.copy_within(count..self.ended, 0);
        (self.begun, self.ended) = (self.begun - count, self.ended - count);
    }
}

/// Writes the places of bits behind the first `count` ones; gives how many there are then.
#[inline(always)]
fn write(places: &mut [u32; ROOM], count: usize, base: u32, mut bits: u64) -> usize {
    let total = count + bits.count_ones() as usize;
    let mut at = count;
    // A loop of known length is unrolled. Most blocks have no more pieces.
    while let Some(room) = places.get_mut(at..).and_then(|rest| rest.first_chunk_mut::<WRITTEN>()) {
        for place in room {
            *place = base.wrapping_add(bits.trailing_zeros());
            bits &= bits.wrapping_sub(1);
        }
        if bits == 0 {
            break;
        }
        at += WRITTEN;
    }
    total
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The pieces of all rows, each row as often as asked for.
    fn pieces(rows: &[String]) -> Vec<String> {
        let (mut text, mut offsets) = (String::new(), vec![0]);
        for row in rows {
            text.push_str(row);
            offsets.push(text.len() as u32);
        }
        let mut found = Vec::new();
        spans(&text, &offsets, ' ', |starts, ends| {
            let piece = |(start, end): (&u32, &u32)| text[*start as usize..*end as usize].to_owned();
            found.extend(starts.iter().zip(ends).map(piece));
        });
        found
    }

    fn expected(rows: &[String]) -> Vec<String> {
        let pieces = rows.iter().flat_map(|row| row.split(' ')).filter(|piece| !piece.is_empty());
        pieces.map(str::to_owned).collect()
    }

    proptest! {
        #[test]
        fn spans_are_the_pieces_of_every_row(
            rows in proptest::collection::vec("[ a\\u{e9}\\x00]{0,90}|[a ]{0,3}", 0..30),
            times in 1usize..20,
        ) {
            let rows: Vec<String> = rows.iter().cycle().take(rows.len() * times).cloned().collect();
            prop_assert_eq!(pieces(&rows), expected(&rows));
        }
    }

    #[test]
    fn pieces_of_every_density_and_length_are_found() {
        for rows in [
            vec!["x".to_owned(); 1000],
            vec![String::new(); 1000],
            vec!["a ".repeat(1000)],
            vec![" ".repeat(1000)],
            vec!["x".repeat(1000)],
            vec!["ab".to_owned(), String::new(), " ".to_owned(), "c".repeat(63), " d".to_owned()],
        ] {
            assert_eq!(pieces(&rows), expected(&rows));
        }
        for length in 0..200 {
            let rows = ["x".repeat(length), "y ".repeat(length)];
            assert_eq!(pieces(&rows), expected(&rows));
        }
    }
}
