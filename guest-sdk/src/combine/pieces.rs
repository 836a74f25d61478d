//! Counts pieces of text: the combine of a word count, made so that a piece costs one cache line of the table.
//!
//! ```text
//! bucket, 64 bytes   4 keys: bytes 0-3 of each | bytes 4-7 of each | bytes 8-10 and the length of each | their counts
//! ```
//! A piece of up to [`SHORT`] bytes is compared in registers: its three words with those of four keys at once, and what comes of that is
//! taken off their counts. So no branch depends on whether and where it is in its bucket. [`AT_ONCE`] pieces are looked for side by
//! side, so that the memory works on several at once. What is left, new pieces as a rule, long ones, and those whose bucket was
//! full, is done one by one; a long piece is in the table by its hash, and its bytes are compared.
//!
//! Rows come out in the order in which pieces were first seen. A table that has reached its bound writes its rows, forgets its keys and
//! goes on; the host merges rows of equal keys.

use std::cell::Cell;

use super::CombineLimits;
use crate::bindings::millpond::plugin::types::{Batch, Column, ColumnData, Failure, VarData};
use crate::hash;
use crate::row::{self, Row};
use crate::spans::AT_ONCE;

/// Keys of a bucket.
const KEYS: usize = 4;

/// What a key is compared by: its bytes, and in the top byte of the last word their number. Of a long one a hash, where the second word
/// is its number among the long ones. Never all zero: that is a vacant place.
type Words = [u32; 3];

/// Bytes of [`Words`].
const WORDS: usize = size_of::<Words>();

/// The longest piece that is compared in registers.
const SHORT: usize = WORDS - 1;

/// In place of the number of bytes: a long piece.
const LONG: u32 = 0xff << 24;

/// In place of the number of bytes: what no key has.
const NONE: u32 = 0xfe << 24;

/// A search that passes more buckets is not chance but hostile or unlucky pieces.
const SEARCH_MAX: usize = 32;

/// Input bytes a key at the start. A guess; only of the call's input, so that what comes out does not depend on the calls before.
const BYTES_PER_KEY: usize = 32;

/// Fewest buckets.
const BUCKETS_MIN: usize = 256;

/// Most buckets that a table begins with: 1 MiB. Twice as many make a call alone quicker, and slower beside others.
const BUCKETS_START_MAX: usize = 16 * 1024;

/// A table gets twice as many buckets before it has more keys than so many quarters for each: few keys are then not in the bucket where
/// they are looked for first, and those that come often are, as they came early.
const QUARTERS_FOR_A_BUCKET: usize = 11;

#[derive(Clone, Copy, Default)]
#[repr(C, align(64))]
struct Bucket {
    words: [[u32; KEYS]; 3],
    counts: [u32; KEYS],
}

/// A piece that is looked for.
#[derive(Clone, Copy, Default)]
#[repr(C, align(16))]
struct Probe {
    words: Words,
    /// The bucket where it is looked for first.
    home: u32,
}

/// Several of them.
type Probes = [Probe; AT_ONCE];

/// Does something for each of [`AT_ONCE`] places, without a loop: each turn of one would be a look at the deadline, and what is
/// needed in all turns would lie on the stack because of it.
macro_rules! for_each_place {
    ($at:ident => $body:expr) => {
        for_each_place!(@ $at => $body; 0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15)
    };
    (@ $at:ident => $body:expr; $($place:literal)*) => {{
        $({
            let $at: usize = $place;
            $body
        })*
    }};
}

/// By length: which bits of its words belong to a piece, and what stands behind them.
#[repr(align(16))]
struct Mask {
    low: u64,
    high: u32,
    length: u32,
}

static MASKS: [Mask; SHORT + 2] = {
    let mut masks = [const { Mask { low: 0, high: 0, length: NONE } }; SHORT + 2];
    let mut length = 1;
    while length <= SHORT {
        let bits = u128::MAX >> (128 - 8 * length);
        masks[length] = Mask { low: bits as u64, high: (bits >> 64) as u32, length: (length as u32) << 24 };
        length += 1;
    }
    masks
};

/// What `text[start..end]` is compared by; [`NONE`] if it is empty, long or near the end of the text.
#[inline(always)]
fn words_at(text: &[u8], start: usize, end: usize) -> Words {
    let Some(chunk) = text.get(start..).and_then(|rest| rest.first_chunk::<16>()) else { return [0, 0, NONE] };
    let mask = &MASKS[(end - start).min(SHORT + 1)];
    let words = u128::from_le_bytes(*chunk);
    let low = words as u64 & mask.low;
    [low as u32, (low >> 32) as u32, (words >> 64) as u32 & mask.high | mask.length]
}

/// The top bits are the good ones.
#[inline(always)]
fn hash_of([first, second, last]: Words) -> u64 {
    hash::two_words(u64::from(first) | u64::from(second) << 32, u64::from(last))
}

/// The table.
pub(crate) struct PieceCounter {
    buckets: Vec<Bucket>,
    shift: u32,
    /// Where keys are, in the order of their first sight: bucket and place in it. Longer than there are keys.
    order: Vec<u32>,
    keys: usize,
    /// So many keys may be put into these buckets.
    room: usize,
    /// Bytes of the keys.
    bytes: usize,
    /// Those that are longer than [`SHORT`].
    long: <Vec<u8> as Row>::Columns,
    long_count: u32,
    limits: CombineLimits,
    /// Rows of forgotten keys.
    done: Rows,
}

/// Rows that are finished.
struct Rows {
    keys: VarData,
    counts: Vec<i64>,
}

impl PieceCounter {
    /// `input_bytes`: how large the call's input is.
    pub(crate) fn new(limits: CombineLimits, input_bytes: usize) -> Self {
        let buckets = (input_bytes / BYTES_PER_KEY * 4 / QUARTERS_FOR_A_BUCKET).next_power_of_two();
        let buckets = buckets.clamp(BUCKETS_MIN, BUCKETS_START_MAX);
        Self {
            buckets: idle_buckets(buckets),
            shift: 64 - buckets.trailing_zeros(),
            order: Vec::new(),
            keys: 0,
            room: room_of(buckets, limits),
            bytes: 0,
            long: <Vec<u8> as Row>::Columns::default(),
            long_count: 0,
            limits,
            done: Rows { keys: VarData { offsets: vec![0], bytes: Vec::new() }, counts: Vec::new() },
        }
    }

    /// Counts pieces of a text by where they begin and where they end. None is empty.
    pub(crate) fn add_spans(&mut self, text: &str, starts: &[u32], ends: &[u32]) {
        let mut probes = Probes::default();
        let (chunks, last_starts) = starts.as_chunks::<AT_ONCE>();
        let (chunk_ends, last_ends) = ends.as_chunks::<AT_ONCE>();
        for (starts, ends) in chunks.iter().zip(chunk_ends) {
            self.add_some(text, (starts, ends), AT_ONCE, &mut probes);
        }
        if last_starts.is_empty() {
            return;
        }
        // Those that are left, with empty pieces behind them, which no key equals.
        let mut last = ([0; AT_ONCE], [0; AT_ONCE]);
        last.0.iter_mut().zip(last_starts).for_each(|(to, from)| *to = *from);
        last.1.iter_mut().zip(last_ends).for_each(|(to, from)| *to = *from);
        self.add_some(text, (&last.0, &last.1), last_starts.len(), &mut probes);
    }

    /// Counts the first so many of these pieces.
    fn add_some(
        &mut self,
        text: &str,
        (starts, ends): (&[u32; AT_ONCE], &[u32; AT_ONCE]),
        count: usize,
        probes: &mut Probes,
    ) {
        let mut shift = self.shift;
        probe_all(text.as_bytes(), starts, ends, shift, probes);
        let mut others = self.count_known(probes) & ((1 << count) - 1);
        if self.order.len() < self.keys + AT_ONCE {
            self.order.resize((self.order.len() + AT_ONCE) * 2, 0);
        }
        while others != 0 {
            others = self.insert_some(probes, others);
            if others != 0 {
                let at = others.trailing_zeros() as usize;
                self.count_searched(&text.as_bytes()[starts[at] as usize..ends[at] as usize]);
                others &= others - 1;
                if self.shift != shift {
                    shift = self.shift;
                    probe_all(text.as_bytes(), starts, ends, self.shift, probes);
                }
            }
        }
    }

    /// Counts the pieces that are in their buckets; gives a bit for each other one.
    #[inline(never)]
    fn count_known(&mut self, probes: &Probes) -> u32 {
        let buckets = self.buckets.as_mut_slice();
        let mut known = 0;
        for_each_place!(at => {
            let probe = &probes[at];
            let found = buckets.get_mut(probe.home as usize).is_some_and(|bucket| bucket.count(probe.words));
            known |= u32::from(found) << at;
        });
        !known
    }

    /// Counts pieces as long as they are new and have room in the bucket where they are looked for first; gives a bit for each that
    /// is left.
    #[inline(never)]
    fn insert_some(&mut self, probes: &Probes, mut others: u32) -> u32 {
        let (mut keys, mut bytes, room, bytes_max) = (self.keys, self.bytes, self.room, self.limits.bytes);
        let (buckets, order) = (self.buckets.as_mut_slice(), self.order.as_mut_slice());
        while others != 0 {
            let probe = &probes[others.trailing_zeros() as usize % AT_ONCE];
            if probe.words[2] == NONE || keys >= room || bytes >= bytes_max {
                break;
            }
            let (Some(bucket), Some(at)) = (buckets.get_mut(probe.home as usize), order.get_mut(keys)) else { break };
            // It may have come a moment ago.
            if !bucket.count(probe.words) {
                let Some(place) = bucket.vacancy() else { break };
                bucket.put(place, probe.words, 1);
                *at = probe.home * KEYS as u32 + place as u32;
                keys += 1;
                bytes += (probe.words[2] >> 24) as usize;
            }
            others &= others - 1;
        }
        (self.keys, self.bytes) = (keys, bytes);
        others
    }

    /// Counts any piece.
    #[inline(never)]
    fn count_searched(&mut self, piece: &[u8]) {
        let mut words = words_of(piece);
        let mut found = self.search(words, piece);
        if let Search::Found(at, place) = found {
            self.buckets[at].counts[place] += 1;
            return;
        }
        if self.is_full() || self.keys >= self.room && !self.grow() {
            self.forget();
        }
        found = self.search(words, piece);
        if matches!(found, Search::Crowded) {
            self.forget();
            found = self.search(words, piece);
        }
        let Search::Vacant(at, place) = found else { unreachable!("an empty table has room") };
        if words[2] >= LONG {
            words[1] = self.long_count;
            self.long_count += 1;
            <Vec<u8> as Row>::push(&mut self.long, piece);
        }
        self.buckets[at].put(place, words, 1);
        self.order[self.keys] = (at * KEYS + place) as u32;
        self.keys += 1;
        self.bytes += piece.len();
    }

    /// Where a piece is, or would be.
    #[inline(always)]
    fn search(&self, words: Words, piece: &[u8]) -> Search {
        let (home, mask) = (self.home(words), self.buckets.len() - 1);
        for at in (home..home + SEARCH_MAX).map(|at| at & mask) {
            let bucket = &self.buckets[at];
            let mut places = bucket.places_like(words);
            while places != 0 {
                let place = places.trailing_zeros() as usize % KEYS;
                let second = bucket.words[1][place];
                let is_it = match words[2] < LONG {
                    true => second == words[1],
                    false => hash::same_bytes(<Vec<u8> as Row>::get(&self.long, second as usize), piece),
                };
                if is_it {
                    return Search::Found(at, place);
                }
                places &= places - 1;
            }
            if let Some(place) = bucket.vacancy() {
                return Search::Vacant(at, place);
            }
        }
        Search::Crowded
    }

    #[inline(always)]
    fn home(&self, words: Words) -> usize {
        (hash_of(words) >> self.shift) as usize
    }

    fn is_full(&self) -> bool {
        self.keys >= self.limits.keys || self.bytes >= self.limits.bytes
    }

    /// Twice as many buckets; `false` = some keys are too crowded, and nothing has changed.
    #[must_use]
    fn grow(&mut self) -> bool {
        let mut buckets = vec![Bucket::default(); self.buckets.len() * 2];
        let (shift, mask) = (self.shift - 1, buckets.len() - 1);
        let mut order = self.order.clone();
        for place in &mut order[..self.keys] {
            let (words, count) = self.buckets[*place as usize / KEYS].key(*place as usize % KEYS);
            // A long key's number is no part of its hash.
            let hashed = if words[2] < LONG { words } else { [words[0], 0, words[2]] };
            let home = (hash_of(hashed) >> shift) as usize;
            let vacant =
                (home..home + SEARCH_MAX).map(|at| at & mask).find_map(|at| Some((at, buckets[at].vacancy()?)));
            let Some((at, vacancy)) = vacant else { return false };
            buckets[at].put(vacancy, words, count);
            *place = (at * KEYS + vacancy) as u32;
        }
        self.room = room_of(buckets.len(), self.limits);
        (self.buckets, self.shift, self.order) = (buckets, shift, order);
        true
    }

    /// Writes the rows of all keys and forgets these.
    fn forget(&mut self) {
        let Rows { keys: VarData { offsets, bytes }, counts } = &mut self.done;
        let mut end = bytes.len();
        // Short keys are written with what stands behind them.
        bytes.resize(end + self.bytes + WORDS, 0);
        offsets.reserve(self.keys);
        counts.reserve(self.keys);
        for place in &self.order[..self.keys] {
            let bucket = &mut self.buckets[*place as usize / KEYS];
            let place = *place as usize % KEYS;
            let ([first, second, last], count) = bucket.key(place);
            bucket.words[2][place] = 0;
            let room = &mut bytes[end..];
            if last < LONG {
                if let Some(room) = room.first_chunk_mut::<WORDS>() {
                    room[..4].copy_from_slice(&first.to_le_bytes());
                    room[4..8].copy_from_slice(&second.to_le_bytes());
                    room[8..].copy_from_slice(&last.to_le_bytes());
                }
                end += (last >> 24) as usize;
            } else {
                let key = <Vec<u8> as Row>::get(&self.long, second as usize);
                room[..key.len()].copy_from_slice(key);
                end += key.len();
            }
            offsets.push(end as u32);
            counts.push(i64::from(count));
        }
        bytes.truncate(end);
        (self.keys, self.bytes, self.long_count) = (0, 0, 0);
        <Vec<u8> as Row>::clear(&mut self.long);
    }

    pub(crate) fn finish(mut self) -> Result<Batch, Failure> {
        self.forget();
        IDLE.set(self.buckets);
        let Rows { keys, counts } = self.done;
        let rows = counts.len();
        let columns = [ColumnData::Utf8(keys), ColumnData::Int64(counts)];
        row::finish_batch(rows, columns.map(|data| Column { data, validity: None }).into())
    }
}

enum Search {
    Found(usize, usize),
    Vacant(usize, usize),
    Crowded,
}

/// What pieces are looked for by, and where.
#[inline(never)]
fn probe_all(text: &[u8], starts: &[u32; AT_ONCE], ends: &[u32; AT_ONCE], shift: u32, probes: &mut Probes) {
    for_each_place!(at => {
        let words = words_at(text, starts[at] as usize, ends[at] as usize);
        probes[at] = Probe { words, home: (hash_of(words) >> shift) as u32 };
    });
}

fn words_of(piece: &[u8]) -> Words {
    if piece.len() > SHORT {
        let hash = hash::bytes(0, piece);
        return [hash as u32, 0, (hash >> 40) as u32 | LONG];
    }
    let mut bytes = [0; WORDS];
    bytes[..piece.len()].copy_from_slice(piece);
    bytes[SHORT] = piece.len() as u8;
    let (words, _) = bytes.as_chunks::<4>();
    [u32::from_le_bytes(words[0]), u32::from_le_bytes(words[1]), u32::from_le_bytes(words[2])]
}

std::thread_local! {
    /// Buckets of the last call, all vacant: they need not be cleared again.
    static IDLE: Cell<Vec<Bucket>> = const { Cell::new(Vec::new()) };
}

/// So many vacant buckets.
fn idle_buckets(count: usize) -> Vec<Bucket> {
    let mut buckets = IDLE.take();
    buckets.resize(count, Bucket::default());
    buckets
}

fn room_of(buckets: usize, limits: CombineLimits) -> usize {
    (buckets * QUARTERS_FOR_A_BUCKET / 4).min(limits.keys)
}

impl Bucket {
    /// Counts a key if it is here.
    #[cfg(all(target_arch = "wasm32", target_feature = "simd128"))]
    #[inline(always)]
    fn count(&mut self, words: Words) -> bool {
        use core::arch::wasm32::{
            i32x4_sub, u32x4, u32x4_eq, u32x4_extract_lane, u32x4_splat, v128_and, v128_any_true,
        };
        let vector = |[a, b, c, d]: [u32; KEYS]| u32x4(a, b, c, d);
        let equals = |at: usize| u32x4_eq(vector(self.words[at]), u32x4_splat(words[at]));
        let found = v128_and(v128_and(equals(0), equals(1)), equals(2));
        let counts = i32x4_sub(vector(self.counts), found);
        self.counts = [
            u32x4_extract_lane::<0>(counts),
            u32x4_extract_lane::<1>(counts),
            u32x4_extract_lane::<2>(counts),
            u32x4_extract_lane::<3>(counts),
        ];
        v128_any_true(found)
    }

    /// Counts a key if it is here.
    #[cfg(not(all(target_arch = "wasm32", target_feature = "simd128")))]
    #[inline(always)]
    fn count(&mut self, words: Words) -> bool {
        let mut found = 0;
        for place in 0..KEYS {
            let equals = |at: usize| u32::from(self.words[at][place] == words[at]);
            let is_it = equals(0) & equals(1) & equals(2);
            self.counts[place] += is_it;
            found |= is_it;
        }
        found != 0
    }

    /// A vacant place.
    #[inline(always)]
    fn vacancy(&self) -> Option<usize> {
        let places = places_of(self.words[2], 0);
        (places != 0).then_some(places.trailing_zeros() as usize)
    }

    /// A bit for each place whose first and last word are these.
    #[inline(always)]
    fn places_like(&self, words: Words) -> u32 {
        places_of(self.words[0], words[0]) & places_of(self.words[2], words[2])
    }

    #[inline(always)]
    fn put(&mut self, place: usize, words: Words, count: u32) {
        let place = place % KEYS;
        self.words.iter_mut().zip(words).for_each(|(all, word)| all[place] = word);
        self.counts[place] = count;
    }

    #[inline(always)]
    fn key(&self, place: usize) -> (Words, u32) {
        (self.words.map(|all| all[place]), self.counts[place])
    }
}

/// A bit for each word that is this one.
#[cfg(all(target_arch = "wasm32", target_feature = "simd128"))]
#[inline(always)]
fn places_of([a, b, c, d]: [u32; KEYS], word: u32) -> u32 {
    use core::arch::wasm32::{u32x4, u32x4_bitmask, u32x4_eq, u32x4_splat};
    u32::from(u32x4_bitmask(u32x4_eq(u32x4(a, b, c, d), u32x4_splat(word))))
}

/// A bit for each word that is this one.
#[cfg(not(all(target_arch = "wasm32", target_feature = "simd128")))]
#[inline(always)]
fn places_of(words: [u32; KEYS], word: u32) -> u32 {
    // A loop of known length, which compilers make vector code of.
    (0..KEYS).fold(0, |places, place| places | u32::from(words[place] == word) << place)
}

#[cfg(test)]
mod tests {
    use super::super::COMBINE_LIMITS;
    use super::*;

    fn count(words: &[String]) -> (Vec<(String, i64)>, usize) {
        let text = words.join(" ");
        let mut counter = PieceCounter::new(COMBINE_LIMITS, 0);
        crate::spans::spans(&text, &[0, text.len() as u32], ' ', |starts, ends| counter.add_spans(&text, starts, ends));
        counter.forget();
        let Rows { keys: VarData { offsets, bytes }, counts } = counter.done;
        let key =
            |at: usize| String::from_utf8_lossy(&bytes[offsets[at] as usize..offsets[at + 1] as usize]).into_owned();
        ((0..counts.len()).map(|at| (key(at), counts[at])).collect(), counter.buckets.len())
    }

    #[test]
    fn pieces_whose_bucket_is_full_are_counted_in_the_next_ones() {
        for long in ["", "long-enough-"] {
            let home = |word: &String| hash_of(words_of(word.as_bytes())) >> 54;
            let words = (0..).map(|n| format!("{long}{n}")).filter(|word| home(word) == 1023);
            let words: Vec<String> = words.take(100).collect();
            let (counted, _) = count(&[words.clone(), words.clone()].concat());
            // Each once and in order: the search goes round the end of the table.
            assert_eq!(counted, words.into_iter().map(|word| (word, 2)).collect::<Vec<_>>());
        }
    }

    #[test]
    fn pieces_that_crowd_together_cost_rows_and_not_time() {
        // Pieces whose hashes share more top bits than the largest table uses.
        let crowded = (0..).map(|n| format!("{n}")).filter(|word| hash_of(words_of(word.as_bytes())) >> 48 == 0);
        let crowded: Vec<String> = crowded.take(SEARCH_MAX * KEYS + 40).collect();
        let (counted, buckets) = count(&[crowded.clone(), crowded.clone(), crowded.clone()].concat());
        assert_eq!(counted.iter().map(|(_, count)| count).sum::<i64>(), 3 * crowded.len() as i64);
        assert!(counted.len() > crowded.len(), "the table was given up at least once");
        assert_eq!(buckets, BUCKETS_MIN, "a larger one would help nothing");
    }

    #[test]
    fn buckets_that_are_handed_on_are_vacant() {
        let words: Vec<String> = (0..5000).map(|n| format!("{n}")).collect();
        let (first, _) = count(&words);
        let mut counter = PieceCounter::new(COMBINE_LIMITS, 1 << 20);
        crate::spans::spans("1 2 3", &[0, 5], ' ', |starts, ends| counter.add_spans("1 2 3", starts, ends));
        counter.finish().expect("it fits");
        assert!(IDLE.take().iter().all(|bucket| bucket.words[2] == [0; KEYS]));
        assert_eq!(count(&words).0, first);
    }
}
