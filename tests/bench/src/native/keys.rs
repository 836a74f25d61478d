//! A set of keys that numbers them in the order in which they come: the hash table of all baselines.
//!
//! ```text
//! slots    hash's high half, number of the entry; open addressing, at most half full
//! entries  keys of up to 16 bytes as two words, longer ones by place in the arena; entry 0 is nobody's
//! ```
//! Numbers begin at 1, so that an empty slot leads to entry 0, which can be read without a branch.

use super::block::PADDING;

/// The longest key that is kept in its entry.
const INLINE: usize = 16;

/// Masks that keep the first bytes of two words.
static MASKS: [[u64; 2]; INLINE + 1] = masks();

const fn masks() -> [[u64; 2]; INLINE + 1] {
    let mut masks = [[0; 2]; INLINE + 1];
    let mut len = 1;
    while len <= INLINE {
        let bits = u128::MAX >> (128 - 8 * len);
        masks[len] = [bits as u64, (bits >> 64) as u64];
        len += 1;
    }
    masks
}

/// A key as it is looked for.
#[derive(Clone, Copy, Default)]
pub(super) struct Probe {
    pub(super) hash: u64,
    low: u64,
    high: u64,
    start: u32,
    len: u32,
}

impl Probe {
    /// The key `bytes[start..end]`; `bytes` goes on for at least `PADDING` bytes.
    #[inline(always)]
    pub(super) fn new(bytes: &[u8], start: usize, end: usize) -> Self {
        const { assert!(PADDING >= INLINE) };
        let len = end - start;
        if len > INLINE {
            return Self::long(bytes, start, end);
        }
        let Some(chunk) = bytes.get(start..start + INLINE).and_then(|chunk| chunk.first_chunk::<INLINE>()) else {
            return Self::default();
        };
        let both = u128::from_le_bytes(*chunk);
        let [low, high] = [both as u64 & MASKS[len][0], (both >> 64) as u64 & MASKS[len][1]];
        Self { hash: Self::hash_of(low, high, len), low, high, start: start as u32, len: len as u32 }
    }

    /// The hash of a key that is kept in its entry.
    #[inline(always)]
    pub(super) fn hash_of(low: u64, high: u64, len: usize) -> u64 {
        mix(low, high ^ ((len as u64) << 56))
    }

    /// The key as one word: its bytes and zeros behind them. None for what this cannot hold or tell apart: no bytes, more than
    /// eight, a zero at the end.
    #[inline(always)]
    pub(super) fn word(&self) -> Option<u64> {
        (self.len <= 8 && self.low != 0 && word_len(self.low) == self.len as usize).then_some(self.low)
    }

    /// The key itself.
    fn key<'a>(&self, bytes: &'a [u8]) -> &'a [u8] {
        &bytes[self.start as usize..][..self.len as usize]
    }

    #[cold]
    fn long(bytes: &[u8], start: usize, end: usize) -> Self {
        let key = &bytes[start..end];
        let (words, rest) = key.as_chunks::<8>();
        let mut hash = words.iter().fold(key.len() as u64, |hash, word| mix(hash, u64::from_le_bytes(*word)));
        hash = rest.iter().fold(hash, |hash, byte| mix(hash, u64::from(*byte)));
        Self { hash, low: 0, high: 0, start: start as u32, len: key.len() as u32 }
    }
}

/// Bytes of a key that is a word.
#[inline(always)]
pub(super) fn word_len(key: u64) -> usize {
    8 - key.leading_zeros() as usize / 8
}

/// The two halves of a product, folded.
#[inline(always)]
fn mix(a: u64, b: u64) -> u64 {
    let product = u128::from(a ^ 0xA076_1D64_78BD_642F) * u128::from(b ^ 0xE703_7ED1_A0B4_28DB);
    product as u64 ^ (product >> 64) as u64
}

#[derive(Clone, Copy, PartialEq, Eq)]
struct Entry {
    /// First half of the key, or the hash of a long one.
    low: u64,
    /// Second half of the key, or the place of a long one in the arena.
    high: u64,
    len: u32,
}

/// The keys.
pub(super) struct Keys {
    slots: Vec<u64>,
    entries: Vec<Entry>,
    arena: Vec<u8>,
}

impl Keys {
    /// None yet.
    pub(super) fn new() -> Self {
        let nobody = Entry { low: 0, high: 0, len: u32::MAX };
        Self { slots: vec![0; 1 << 12], entries: vec![nobody], arena: Vec::new() }
    }

    /// One more than the last key's number.
    pub(super) fn end(&self) -> usize {
        self.entries.len()
    }

    /// The number of a key, a new one if it is not there.
    #[inline(always)]
    pub(super) fn number(&mut self, bytes: &[u8], probe: &Probe) -> usize {
        let mask = self.slots.len() - 1;
        let tag = probe.hash >> 32 << 32;
        let mut place = probe.hash as usize & mask;
        loop {
            let slot = self.slots[place & (self.slots.len() - 1)];
            if slot == 0 {
                return self.insert(bytes, probe);
            }
            let number = slot as u32 as usize;
            if slot & !u64::from(u32::MAX) == tag && self.is_at(bytes, probe, number) {
                return number;
            }
            place = (place + 1) & mask;
        }
    }

    /// As [`Self::number`], for a key without padding. Slow.
    pub(super) fn number_of(&mut self, key: &[u8]) -> usize {
        let bytes = padded(key);
        self.number(&bytes, &Probe::new(&bytes, 0, key.len()))
    }

    /// The number of a key that may not be there. Slow.
    pub(super) fn find(&self, key: &[u8]) -> Option<usize> {
        let bytes = padded(key);
        let probe = Probe::new(&bytes, 0, key.len());
        let mask = self.slots.len() - 1;
        let mut place = probe.hash as usize & mask;
        loop {
            let slot = self.slots[place];
            let number = slot as u32 as usize;
            if slot == 0 {
                return None;
            }
            if slot >> 32 == probe.hash >> 32 && self.is_at(&bytes, &probe, number) {
                return Some(number);
            }
            place = (place + 1) & mask;
        }
    }

    #[inline(always)]
    fn is_at(&self, bytes: &[u8], probe: &Probe, number: usize) -> bool {
        let entry = &self.entries[number];
        if probe.len as usize <= INLINE {
            (entry.low == probe.low) & (entry.high == probe.high) & (entry.len == probe.len)
        } else {
            entry.len == probe.len && entry.low == probe.hash && self.long(entry) == probe.key(bytes)
        }
    }

    fn long(&self, entry: &Entry) -> &[u8] {
        &self.arena[entry.high as usize..][..entry.len as usize]
    }

    #[cold]
    #[inline(never)]
    fn insert(&mut self, bytes: &[u8], probe: &Probe) -> usize {
        let number = self.entries.len();
        let (low, high) = if probe.len as usize <= INLINE {
            (probe.low, probe.high)
        } else {
            let place = self.arena.len() as u64;
            self.arena.extend_from_slice(probe.key(bytes));
            (probe.hash, place)
        };
        self.entries.push(Entry { low, high, len: probe.len });
        if self.entries.len() * 2 > self.slots.len() {
            self.grow();
        } else {
            put(&mut self.slots, probe.hash, number);
        }
        number
    }

    fn grow(&mut self) {
        self.slots = vec![0; self.slots.len() * 2];
        for (number, entry) in self.entries.iter().enumerate().skip(1) {
            let hash = match entry.len as usize <= INLINE {
                true => Probe::hash_of(entry.low, entry.high, entry.len as usize),
                false => entry.low,
            };
            put(&mut self.slots, hash, number);
        }
    }

    /// Appends the key of a number.
    pub(super) fn write(&self, number: usize, out: &mut Vec<u8>) {
        let entry = &self.entries[number];
        if entry.len as usize <= INLINE {
            let both = u128::from(entry.low) | u128::from(entry.high) << 64;
            out.extend_from_slice(&both.to_le_bytes()[..entry.len as usize]);
        } else {
            out.extend_from_slice(self.long(entry));
        }
    }

    /// The key of a number.
    pub(super) fn key(&self, number: usize) -> Vec<u8> {
        let mut key = Vec::new();
        self.write(number, &mut key);
        key
    }
}

fn padded(key: &[u8]) -> Vec<u8> {
    let mut bytes = key.to_vec();
    bytes.resize(key.len() + PADDING, 0);
    bytes
}

fn put(slots: &mut [u64], hash: u64, number: usize) {
    let mask = slots.len() - 1;
    let mut place = hash as usize & mask;
    while slots[place] != 0 {
        place = (place + 1) & mask;
    }
    slots[place] = (hash >> 32 << 32) | number as u64;
}
