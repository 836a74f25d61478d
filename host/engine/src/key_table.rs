//! Hash table from encoded key to slot: the heart of grouping and of hot state.
//!
//! Where a key's slot is follows from its hash ([`places`]); short keys lie inside a fixed record of their slot. Finding a key that is
//! there touches three cache lines: its place, its record, and whatever the caller keeps by slot; the bytes of a long key are a fourth.

mod places;

use self::places::Places;
use crate::key::{self, Keys};
use crate::segmented::Segmented;

/// Keys with a dense slot number each. Freed slots are used again.
#[derive(Debug, Default)]
pub(crate) struct KeyTable {
    places: Places,
    /// Of each slot.
    keys: Segmented<KeyRecord>,
    /// Keys that do not fit into their record.
    bytes: Vec<u8>,
    free: Vec<u32>,
    /// Bytes of removed keys that still lie in `bytes`.
    garbage: usize,
    /// Leaves so many bits of hashes, so that keys crowd.
    #[cfg(test)]
    hash_mask: Option<u64>,
}

/// A key of a slot, and what the caller keeps beside it. Four to a cache line.
#[derive(Clone, Copy, Debug)]
#[repr(C, align(16))]
struct KeyRecord {
    key: Inline,
    mark: u32,
}

/// A short key: its bytes, zeros behind them, and in the last byte how many they are. Of a long key where it lies.
pub(crate) type Inline = [u8; 12];

/// Longer keys lie apart. So many bytes hold most words and ids.
pub(crate) const INLINE_BYTES: usize = size_of::<Inline>() - 1;

/// In place of the length: a long key. The first seven bytes are where it begins, the next four how many bytes it has.
const LONG: u8 = 0xff;

/// In place of the length: a slot without a key.
const VACANT: u8 = 0xfe;

/// The mark of a new key.
pub(crate) const NO_MARK: u32 = u32::MAX;

/// Below this many bytes of garbage compaction is not worth its pass.
const GARBAGE_BYTES_MIN: usize = 64 * 1024;

/// How many rows are looked up side by side: enough to have the memory busy, few enough to stay in registers and the first
/// cache.
const ROWS_AT_ONCE: usize = 32;

/// No table has so many slots.
const NO_SLOT: u32 = u32::MAX;

impl KeyRecord {
    const NONE: Self = Self { key: [0; size_of::<Inline>()], mark: NO_MARK };

    /// A key that begins at `start` of the table's bytes.
    fn long(key: &[u8], start: usize, mark: u32) -> Self {
        let bits = u128::from(LONG) << 88 | (key.len() as u128) << 56 | start as u128;
        Self { key: inline_of_bits(bits), mark }
    }

    fn is_long(&self) -> bool {
        self.key[INLINE_BYTES] == LONG
    }

    fn is_vacant(&self) -> bool {
        self.key[INLINE_BYTES] == VACANT
    }

    /// Bytes of a short key.
    fn length(&self) -> usize {
        usize::from(self.key[INLINE_BYTES]).min(INLINE_BYTES)
    }

    /// Where a long key lies.
    fn range(&self) -> std::ops::Range<usize> {
        let mut bits = [0; 16];
        bits[..self.key.len()].copy_from_slice(&self.key);
        let bits = u128::from_le_bytes(bits);
        let start = (bits & ((1 << 56) - 1)) as usize;
        start..start + (bits >> 56) as u32 as usize
    }
}

fn inline_of_bits(bits: u128) -> Inline {
    let [low, high] = [bits as u64, (bits >> 64) as u64];
    let mut inline = [0; size_of::<Inline>()];
    inline[..8].copy_from_slice(&low.to_le_bytes());
    inline[8..].copy_from_slice(&(high as u32).to_le_bytes());
    inline
}

/// By length: which bits of a short key's record are the key's.
static MASKS: [u128; INLINE_BYTES + 1] = {
    let mut masks = [0; INLINE_BYTES + 1];
    let mut length = 1;
    while length <= INLINE_BYTES {
        masks[length] = u128::MAX >> (128 - 8 * length);
        length += 1;
    }
    masks
};

/// The key `bytes[start..end]` as it lies in its record, if it is short. It is read with what stands behind it, and that is masked out: no branch
/// depends on how long it is.
#[inline]
pub(crate) fn inline_of(bytes: &[u8], start: usize, end: usize) -> Option<Inline> {
    let length = end - start;
    let mask = MASKS.get(length)?;
    let bits = match bytes.get(start..start + 16).and_then(<[u8]>::first_chunk::<16>) {
        Some(chunk) => u128::from_le_bytes(*chunk) & mask,
        None => bytes[start..end].iter().rev().fold(0, |bits, byte| bits << 8 | u128::from(*byte)),
    };
    Some(inline_of_bits(bits | (length as u128) << 88))
}

/// Where the keys of a few rows most likely are.
struct Guesses {
    slots: [u32; ROWS_AT_ONCE],
    records: [KeyRecord; ROWS_AT_ONCE],
}

impl Guesses {
    fn new() -> Self {
        Self { slots: [NO_SLOT; ROWS_AT_ONCE], records: [KeyRecord::NONE; ROWS_AT_ONCE] }
    }

    /// Reads places and records of the next rows, and touches the bytes of long keys, all before any is needed.
    #[inline]
    fn look(&mut self, table: &KeyTable, hashes: &[u64]) {
        let homes: [usize; ROWS_AT_ONCE] = table.places.touch(hashes.iter().copied());
        for (slot, (home, hash)) in self.slots.iter_mut().zip(homes.iter().zip(hashes)) {
            *slot = table.places.guess(*home, *hash);
        }
        for (record, slot) in self.records.iter_mut().zip(&self.slots) {
            if let Some(found) = table.keys.get(*slot as usize) {
                *record = *found;
            }
        }
        let mut touched = 0;
        for record in self.records.iter().filter(|record| record.is_long()) {
            touched |= table.bytes.get(record.range().start).copied().unwrap_or_default();
        }
        std::hint::black_box(touched);
    }

    /// The slot of the row, if the guess was right. `inline`: the key as it is in a record, if it is short.
    #[inline]
    fn confirmed(&self, table: &KeyTable, index: usize, key: &[u8], inline: Option<&Inline>) -> Option<u32> {
        let record = &self.records[index];
        let is_right = self.slots[index] != NO_SLOT
            && match inline {
                Some(inline) => record.key == *inline,
                None => record.is_long() && table.bytes[record.range()] == *key,
            };
        is_right.then(|| self.slots[index])
    }
}

impl KeyTable {
    /// A table that does not grow before it has so many keys.
    pub(crate) fn with_room_for(keys: usize) -> Self {
        Self { places: Places::with_room_for(keys), ..Self::default() }
    }

    /// How many keys there are.
    pub(crate) fn len(&self) -> usize {
        self.keys.len() - self.free.len()
    }

    /// How many slots there are, vacant ones included.
    pub(crate) fn slots(&self) -> usize {
        self.keys.len()
    }

    /// Approximate memory, in bytes.
    pub(crate) fn memory_bytes(&self) -> usize {
        self.bytes.capacity() + self.keys.memory_bytes() + self.places.memory_bytes() + self.free.capacity() * 4
    }

    #[cfg(test)]
    pub(crate) fn find(&self, hash: u64, key: &[u8]) -> Option<u32> {
        self.probe(hash, key, inline_of(key, 0, key.len()).as_ref()).ok()
    }

    /// The key's slot, and whether it is new.
    pub(crate) fn insert(&mut self, hash: u64, key: &[u8]) -> (u32, bool) {
        self.insert_inline(hash, key, inline_of(key, 0, key.len()).as_ref())
    }

    #[inline]
    fn insert_inline(&mut self, hash: u64, key: &[u8], inline: Option<&Inline>) -> (u32, bool) {
        match self.probe(hash, key, inline) {
            Ok(slot) => (slot, false),
            Err(place) => (self.insert_new(place, hash, key, inline), true),
        }
    }

    /// Slots of many keys, and whether they are new.
    pub(crate) fn insert_all(&mut self, keys: &Keys, hashes: &[u64]) -> (Vec<u32>, Vec<bool>) {
        let (mut slots, mut new) = (Vec::with_capacity(hashes.len()), Vec::with_capacity(hashes.len()));
        self.insert_each(keys, hashes, |_, slot, is_new, _| {
            slots.push(slot);
            new.push(is_new);
        });
        (slots, new)
    }

    /// Inserts many keys; `each` gets the row, its slot, whether it is new, and its mark, which may be written. The same as `insert` one by one,
    /// and quicker for a table that is larger than the caches: places and records of a few rows are asked for at the same time, before
    /// any of them is needed.
    pub(crate) fn insert_each(&mut self, keys: &Keys, hashes: &[u64], mut each: impl FnMut(u32, u32, bool, &mut u32)) {
        let mut guesses = Guesses::new();
        let mut row = 0;
        for hashes in hashes.chunks(ROWS_AT_ONCE) {
            guesses.look(self, hashes);
            for (index, hash) in hashes.iter().enumerate() {
                let (key, inline) = (keys.get(row), keys.inline(row));
                let (slot, is_new) = match guesses.confirmed(self, index, key, inline.as_ref()) {
                    Some(slot) => (slot, false),
                    None => self.insert_inline(*hash, key, inline.as_ref()),
                };
                each(row as u32, slot, is_new, &mut self.keys[slot as usize].mark);
                row += 1;
            }
        }
    }

    /// What is kept beside a slot's key; [`NO_MARK`] at first.
    pub(crate) fn mark(&self, slot: u32) -> u32 {
        self.keys[slot as usize].mark
    }

    pub(crate) fn set_mark(&mut self, slot: u32, mark: u32) {
        self.keys[slot as usize].mark = mark;
    }

    /// Slots of many keys, as `insert_all` looks them up; of one that is not there, the number past the last slot.
    pub(crate) fn find_all(&self, keys: &Keys, hashes: &[u64]) -> Vec<u32> {
        let nothing = self.slots() as u32;
        let mut slots = Vec::with_capacity(hashes.len());
        let mut guesses = Guesses::new();
        for (number, hashes) in hashes.chunks(ROWS_AT_ONCE).enumerate() {
            guesses.look(self, hashes);
            for (index, hash) in hashes.iter().enumerate() {
                let row = number * ROWS_AT_ONCE + index;
                let (key, inline) = (keys.get(row), keys.inline(row));
                let confirmed = guesses.confirmed(self, index, key, inline.as_ref());
                let slot = confirmed.or_else(|| self.probe(*hash, key, inline.as_ref()).ok());
                slots.push(slot.unwrap_or(nothing));
            }
        }
        slots
    }

    /// The key's slot, or the place where that would be put. `inline`: the key as it is in a record, if it is short.
    #[inline]
    fn probe(&self, hash: u64, key: &[u8], inline: Option<&Inline>) -> Result<u32, usize> {
        self.places.find(hash, |slot| match inline {
            Some(inline) => self.keys[slot as usize].key == *inline,
            None => self.key(slot) == key,
        })
    }

    fn insert_new(&mut self, place: usize, hash: u64, key: &[u8], inline: Option<&Inline>) -> u32 {
        let record = if let Some(inline) = inline {
            KeyRecord { key: *inline, mark: NO_MARK }
        } else {
            let start = self.bytes.len();
            self.bytes.extend_from_slice(key);
            KeyRecord::long(key, start, NO_MARK)
        };
        let slot = if let Some(slot) = self.free.pop() {
            self.keys[slot as usize] = record;
            slot
        } else {
            self.keys.push(record);
            (self.keys.len() - 1) as u32
        };
        // A table grows by the hashes of its keys.
        debug_assert_eq!(hash, self.hash(slot), "a key comes with its own hash");
        // Before the key gets its place, as that is not the same afterwards.
        if self.places.has_room_for(self.len()) {
            self.places.put(place, hash, slot);
        } else {
            self.grow();
        }
        slot
    }

    #[cold]
    fn grow(&mut self) {
        let keys = self.occupied().map(|slot| (slot, self.hash(slot)));
        self.places = self.places.twice(keys);
    }

    /// The hash of a slot's key.
    pub(crate) fn hash(&self, slot: u32) -> u64 {
        #[cfg(test)]
        return key::hash(self.key(slot)) & self.hash_mask.unwrap_or(u64::MAX);
        #[cfg(not(test))]
        key::hash(self.key(slot))
    }

    /// Removes the key in `slot`, which has this hash; the slot may be given to another key.
    pub(crate) fn remove(&mut self, slot: u32, hash: u64) {
        let record = self.keys[slot as usize];
        assert!(!record.is_vacant(), "a key is removed once");
        let mut places = std::mem::take(&mut self.places);
        places.remove(hash, slot, |slot| self.hash(slot));
        self.places = places;
        if record.is_long() {
            self.garbage += record.range().len();
        }
        self.keys[slot as usize].key[INLINE_BYTES] = VACANT;
        self.free.push(slot);
        if self.garbage > GARBAGE_BYTES_MIN && self.garbage * 2 > self.bytes.len() {
            self.compact();
        }
    }

    #[inline]
    pub(crate) fn key(&self, slot: u32) -> &[u8] {
        let record = &self.keys[slot as usize];
        if record.is_long() { &self.bytes[record.range()] } else { &record.key[..record.length()] }
    }

    /// Appends the key's bytes. A short one is copied as it lies in its record, padding and all, which is cut off again: a copy of a
    /// length that is known is no call.
    #[inline]
    pub(crate) fn append_key(&self, slot: u32, bytes: &mut Vec<u8>) {
        let record = &self.keys[slot as usize];
        if record.is_long() {
            bytes.extend_from_slice(&self.bytes[record.range()]);
        } else {
            let end = bytes.len() + record.length();
            bytes.extend_from_slice(&record.key);
            bytes.truncate(end);
        }
    }

    pub(crate) fn is_occupied(&self, slot: u32) -> bool {
        self.keys.get(slot as usize).is_some_and(|record| !record.is_vacant())
    }

    /// Slots that have a key, ascending.
    pub(crate) fn occupied(&self) -> impl Iterator<Item = u32> {
        self.keys.iter().zip(0u32..).filter(|(record, _)| !record.is_vacant()).map(|(_, slot)| slot)
    }

    fn compact(&mut self) {
        let mut bytes = Vec::with_capacity(self.bytes.len() - self.garbage);
        for record in self.keys.iter_mut().filter(|record| record.is_long()) {
            let range = record.range();
            let start = bytes.len();
            bytes.extend_from_slice(&self.bytes[range.clone()]);
            *record = KeyRecord::long(&self.bytes[range], start, record.mark);
        }
        self.bytes = bytes;
        self.garbage = 0;
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use proptest::prelude::*;

    use super::*;
    use crate::key;

    proptest! {
        #[test]
        fn table_behaves_as_a_map(
            steps in proptest::collection::vec((0u16..300, any::<bool>()), 0..900),
            // Few home places: long chains, and removals in the midst of them.
            home_mask in prop_oneof![Just(u64::MAX), Just(u64::MAX >> 26), Just(u64::MAX >> 32)],
        ) {
            let mut table = KeyTable { hash_mask: Some(home_mask), ..KeyTable::default() };
            let mut model: HashMap<Vec<u8>, u32> = HashMap::new();
            for (number, insert) in steps {
                let key = [number.to_le_bytes()].concat().repeat(1 + usize::from(number % 9));
                let hash = key::hash(&key) & home_mask;
                prop_assert_eq!(table.find(hash, &key), model.get(&key).copied());
                if insert {
                    let (slot, new) = table.insert(hash, &key);
                    prop_assert_eq!(new, model.insert(key, slot).is_none());
                } else if let Some(slot) = model.remove(&key) {
                    table.remove(slot, hash);
                }
                prop_assert_eq!(table.len(), model.len());
            }
            for slot in table.occupied() {
                prop_assert_eq!(model.get(table.key(slot)), Some(&slot));
            }
            prop_assert_eq!(table.occupied().count(), model.len());
        }

        #[test]
        fn many_at_once_is_one_by_one(batches in proptest::collection::vec(proptest::collection::vec("[a-c]{0,2}|[a-z]{11,14}", 0..60), 0..6)) {
            let (mut one_by_one, mut at_once) = (KeyTable::default(), KeyTable::default());
            let schema = arrow::datatypes::Schema::new(vec![arrow::datatypes::Field::new("k", arrow::datatypes::DataType::Utf8, false)]);
            for words in batches {
                let column: arrow::array::ArrayRef = std::sync::Arc::new(arrow::array::StringArray::from(words.clone()));
                let rows = arrow::array::RecordBatch::try_new(std::sync::Arc::new(schema.clone()), vec![column]).unwrap();
                let keys = Keys::of("test", &schema, 1, &rows).unwrap();
                let expected: (Vec<u32>, Vec<bool>) =
                    words.iter().map(|word| one_by_one.insert(key::hash(word.as_bytes()), word.as_bytes())).unzip();
                prop_assert_eq!(at_once.insert_all(&keys, &keys.hashes()), expected);
                let found = at_once.find_all(&keys, &keys.hashes());
                let expected: Vec<u32> =
                    words.iter().map(|word| one_by_one.find(key::hash(word.as_bytes()), word.as_bytes()).unwrap()).collect();
                prop_assert_eq!(found, expected);
                if let Some(word) = words.first() {
                    let hash = key::hash(word.as_bytes());
                    let slot = at_once.find(hash, word.as_bytes()).unwrap();
                    at_once.remove(slot, hash);
                    one_by_one.remove(slot, hash);
                    prop_assert_eq!(at_once.find_all(&keys, &keys.hashes())[0], at_once.slots() as u32);
                }
            }
        }

        #[test]
        fn a_record_has_every_byte_of_a_short_key(
            bytes in proptest::collection::vec(any::<u8>(), 0..40),
            at in any::<[proptest::sample::Index; 2]>(),
        ) {
            let [left, right] = at.map(|at| at.index(bytes.len() + 1));
            let (start, end) = (left.min(right), left.max(right));
            let mut expected = bytes[start..end].to_vec();
            expected.resize(INLINE_BYTES.max(end - start), 0);
            expected.push((end - start) as u8);
            let found = inline_of(&bytes, start, end);
            prop_assert_eq!(found.map(Vec::from), (end - start <= INLINE_BYTES).then_some(expected));
        }

        #[test]
        fn a_record_says_where_a_long_key_lies(start in 0usize..1 << 56, length in INLINE_BYTES + 1..5000) {
            let record = KeyRecord::long(&vec![1; length], start, 7);
            prop_assert!(record.is_long() && !record.is_vacant());
            prop_assert_eq!(record.range(), start..start + length);
        }
    }

    #[test]
    fn keys_in_the_order_of_a_checkpoint_do_not_crowd() {
        let keys = (0u32..100_000).map(|number| format!("sensor-{number}"));
        let mut keys: Vec<(u64, String)> = keys.map(|key| (key::hash(key.as_bytes()), key)).collect();
        keys.sort_unstable_by_key(|(hash, _)| hash & 0xffff);
        let mut table = KeyTable::default();
        for (count, (hash, key)) in keys.iter().enumerate() {
            table.insert(*hash, key.as_bytes());
            if count % 10_000 == 0 {
                let way = table.places.longest_way(|slot| table.hash(slot));
                assert!(way < 30, "{way} groups at {count} keys");
            }
        }
    }

    #[test]
    fn removed_keys_do_not_pile_up() {
        let mut table = KeyTable::default();
        for round in 0u64..10_000 {
            let key = [round.to_le_bytes(); 8].concat();
            let (slot, new) = table.insert(key::hash(&key), &key);
            assert!(new);
            table.remove(slot, key::hash(&key));
        }
        assert_eq!(table.slots(), 1);
        assert!(table.bytes.len() <= 2 * GARBAGE_BYTES_MIN, "{} bytes", table.bytes.len());
    }
}
