//! Where the pieces of many texts are, for terminals that take pieces by their places.
//!
//! 64 bytes are looked at at a time, as bits. A piece begins where a byte that is no separator follows one that is, or where a text
//! begins; it ends where either follows a byte that is none. So pieces are found without a branch for each: what is left to the
//! branches is how many there are in a block.

use crate::text::{BLOCK, matches_of, pattern_of};

/// Where a piece of text begins and ends.
pub(crate) type Span = (u32, u32);

/// Pieces that are given at a time, about.
const SPANS: usize = 256;

/// Places are written so many at a time, whether there are so many or not.
const WRITTEN: usize = 16;

/// One piece that has begun before, those of a block, and what is written for nothing.
const ROOM: usize = SPANS + 1 + BLOCK + WRITTEN;

/// The places of all pieces that are not empty, of several texts that stand one behind the other: text `i` is
/// `text[offsets[i]..offsets[i + 1]]`. The separator is ASCII. `each` gets where pieces begin, and where they end.
pub(crate) fn spans(text: &str, offsets: &[u32], separator: char, mut each: impl FnMut(&[u32], &[u32])) {
    let (text, pattern) = (text.as_bytes(), pattern_of(separator));
    let mut scan = Scan { text, offsets, pattern, row: 1, next: 0, is_in_piece: false, start: 0 };
    let (mut starts, mut ends) = ([0; ROOM], [0; ROOM]);
    while scan.next < text.len() {
        let count = scan.fill(&mut starts, &mut ends);
        each(&starts[..count], &ends[..count]);
    }
}

/// A walk through texts.
struct Scan<'a> {
    text: &'a [u8],
    offsets: &'a [u32],
    pattern: u64,
    /// The next text.
    row: usize,
    /// Where the next block begins.
    next: usize,
    /// Whether the byte before is part of a piece.
    is_in_piece: bool,
    /// Where that piece begins.
    start: u32,
}

impl Scan<'_> {
    /// The places of the next pieces, and how many they are. Calls nothing, so that in wasm all that a turn needs stays in registers.
    #[inline(never)]
    fn fill(&mut self, starts: &mut [u32; ROOM], ends: &mut [u32; ROOM]) -> usize {
        let Self { text, offsets, pattern, mut row, mut next, mut is_in_piece, .. } = *self;
        starts[0] = self.start;
        let (mut begun, mut ended) = (usize::from(is_in_piece), 0);
        let row_start = |row: usize| offsets.get(row).map_or(usize::MAX, |start| *start as usize);
        let mut row_at = row_start(row);
        while ended < SPANS && next < text.len() {
            let block = &text[next..];
            let behind = if block.len() < BLOCK { u64::MAX << block.len() } else { 0 };
            let separators = matches_of(block, pattern) | behind;
            let mut rows = 0;
            while row_at < next + BLOCK {
                rows |= 1 << (row_at - next);
                row += 1;
                row_at = row_start(row);
            }
            let before = separators << 1 | u64::from(!is_in_piece);
            begun = write(starts, begun, next as u32, !separators & (before | rows));
            ended = write(ends, ended, next as u32, !before & (separators | rows));
            is_in_piece = separators >> (BLOCK - 1) == 0;
            next += BLOCK;
        }
        if next >= text.len() && is_in_piece {
            ends[ended] = text.len() as u32;
            ended += 1;
            is_in_piece = false;
        }
        debug_assert_eq!(begun, ended + usize::from(is_in_piece), "a piece ends before the next one begins");
        (self.row, self.next, self.is_in_piece, self.start) = (row, next, is_in_piece, starts[ended]);
        ended
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
