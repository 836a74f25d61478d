//! Hash table from encoded key to slot: the heart of grouping and of hot state.
//!
//! Where a key's slot is follows from its hash ([`places`]); short keys lie inside a fixed record of their slot. Finding a key that is
//! there touches three cache lines: its place, its record, and whatever the caller keeps by slot.

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

/// A key: its bytes, padded with zeros, if they are few; else where they lie.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct KeyRecord {
    /// `VACANT` marks a slot without a key.
    length: u32,
    inline: [u8; INLINE_BYTES],
}

/// Longer keys lie apart. 12 bytes hold most words and ids, and make a record 16 bytes long.
const INLINE_BYTES: usize = 12;

const VACANT: u32 = u32::MAX;

/// Below this many bytes of garbage compaction is not worth its pass.
const GARBAGE_BYTES_MIN: usize = 64 * 1024;

/// How many rows are looked up side by side: enough to have the memory busy, few enough to stay in registers and the first
/// cache.
const ROWS_AT_ONCE: usize = 16;

/// No table has so many slots.
const NO_SLOT: u32 = u32::MAX;

impl KeyRecord {
    /// A short key.
    #[inline]
    fn short(key: &[u8]) -> Self {
        let (low, high) = padded(key);
        let mut inline = [0; INLINE_BYTES];
        inline[..8].copy_from_slice(&low.to_le_bytes());
        inline[8..].copy_from_slice(&high.to_le_bytes());
        Self { length: key.len() as u32, inline }
    }

    /// A key that begins at `start` of the table's bytes.
    fn long(key: &[u8], start: usize) -> Self {
        let mut inline = [0; INLINE_BYTES];
        inline[..8].copy_from_slice(&(start as u64).to_le_bytes());
        Self { length: key.len() as u32, inline }
    }

    fn is_long(&self) -> bool {
        self.length as usize > INLINE_BYTES && self.length != VACANT
    }

    /// Where a long key lies.
    fn range(&self) -> std::ops::Range<usize> {
        let start = self.inline.first_chunk::<8>().map_or(0, |start| u64::from_le_bytes(*start)) as usize;
        start..start + self.length as usize
    }
}

/// Up to 12 bytes as two numbers, zeros behind them. Without a loop: overlapping reads fall on the same bits.
#[inline]
fn padded(key: &[u8]) -> (u64, u32) {
    let length = key.len();
    if let (Some(first), Some(last)) = (key.first_chunk::<8>(), key.last_chunk::<8>()) {
        let last = u64::from_le_bytes(*last) >> 8 >> ((15 - length.min(15)) * 8);
        (u64::from_le_bytes(*first), last as u32)
    } else if let (Some(first), Some(last)) = (key.first_chunk::<4>(), key.last_chunk::<4>()) {
        let last = u64::from(u32::from_le_bytes(*last)) << ((length - 4) * 8);
        (u64::from(u32::from_le_bytes(*first)) | last, 0)
    } else {
        (key.iter().rev().fold(0, |word, byte| word << 8 | u64::from(*byte)), 0)
    }
}

/// Where the keys of a few rows most likely are.
struct Guesses {
    slots: [u32; ROWS_AT_ONCE],
    records: [KeyRecord; ROWS_AT_ONCE],
}

impl Guesses {
    fn new() -> Self {
        Self { slots: [NO_SLOT; ROWS_AT_ONCE], records: [KeyRecord::short(&[]); ROWS_AT_ONCE] }
    }

    /// Reads places and records of the next rows, all before any is needed.
    #[inline]
    fn look(&mut self, table: &KeyTable, hashes: &[u64]) {
        for (slot, hash) in self.slots.iter_mut().zip(hashes) {
            *slot = table.places.guess(*hash);
        }
        for (record, slot) in self.records.iter_mut().zip(&self.slots) {
            if let Some(found) = table.keys.get(*slot as usize) {
                *record = *found;
            }
        }
    }

    /// The slot of the row, if the guess was right.
    #[inline]
    fn confirmed(&self, index: usize, key: &[u8]) -> Option<u32> {
        let is_right =
            self.slots[index] != NO_SLOT && key.len() <= INLINE_BYTES && self.records[index] == KeyRecord::short(key);
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
        self.probe(hash, key).ok()
    }

    /// The key's slot, and whether it is new.
    #[inline]
    pub(crate) fn insert(&mut self, hash: u64, key: &[u8]) -> (u32, bool) {
        match self.probe(hash, key) {
            Ok(slot) => (slot, false),
            Err(place) => (self.insert_new(place, hash, key), true),
        }
    }

    /// Slots of many keys, and whether they are new. The same as `insert` one by one, and quicker for a table that is larger than
    /// the caches: places and records of a few rows are asked for at the same time, before any of them is needed.
    pub(crate) fn insert_all(&mut self, keys: &Keys, hashes: &[u64]) -> (Vec<u32>, Vec<bool>) {
        let mut slots = Vec::with_capacity(hashes.len());
        let mut new = Vec::with_capacity(hashes.len());
        let mut guesses = Guesses::new();
        for (number, hashes) in hashes.chunks(ROWS_AT_ONCE).enumerate() {
            guesses.look(self, hashes);
            for (index, hash) in hashes.iter().enumerate() {
                let key = keys.get(number * ROWS_AT_ONCE + index);
                let (slot, is_new) = match guesses.confirmed(index, key) {
                    Some(slot) => (slot, false),
                    None => self.insert(*hash, key),
                };
                slots.push(slot);
                new.push(is_new);
            }
        }
        (slots, new)
    }

    /// Slots of many keys, as `insert_all` looks them up; of one that is not there, the number past the last slot.
    pub(crate) fn find_all(&self, keys: &Keys, hashes: &[u64]) -> Vec<u32> {
        let nothing = self.slots() as u32;
        let mut slots = Vec::with_capacity(hashes.len());
        let mut guesses = Guesses::new();
        for (number, hashes) in hashes.chunks(ROWS_AT_ONCE).enumerate() {
            guesses.look(self, hashes);
            for (index, hash) in hashes.iter().enumerate() {
                let key = keys.get(number * ROWS_AT_ONCE + index);
                let slot = guesses.confirmed(index, key).or_else(|| self.probe(*hash, key).ok());
                slots.push(slot.unwrap_or(nothing));
            }
        }
        slots
    }

    /// The key's slot, or the place where that would be put.
    #[inline]
    fn probe(&self, hash: u64, key: &[u8]) -> Result<u32, usize> {
        let wanted = if key.len() <= INLINE_BYTES { Some(KeyRecord::short(key)) } else { None };
        self.places.find(hash, |slot| match &wanted {
            Some(wanted) => self.keys[slot as usize] == *wanted,
            None => self.key(slot) == key,
        })
    }

    fn insert_new(&mut self, place: usize, hash: u64, key: &[u8]) -> u32 {
        let record = if key.len() <= INLINE_BYTES {
            KeyRecord::short(key)
        } else {
            let start = self.bytes.len();
            self.bytes.extend_from_slice(key);
            KeyRecord::long(key, start)
        };
        let slot = if let Some(slot) = self.free.pop() {
            self.keys[slot as usize] = record;
            slot
        } else {
            self.keys.push(record);
            (self.keys.len() - 1) as u32
        };
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
        assert!(record.length != VACANT, "a key is removed once");
        let mut places = std::mem::take(&mut self.places);
        places.remove(hash, slot, |slot| self.hash(slot));
        self.places = places;
        if record.is_long() {
            self.garbage += record.length as usize;
        }
        self.keys[slot as usize].length = VACANT;
        self.free.push(slot);
        if self.garbage > GARBAGE_BYTES_MIN && self.garbage * 2 > self.bytes.len() {
            self.compact();
        }
    }

    #[inline]
    pub(crate) fn key(&self, slot: u32) -> &[u8] {
        let record = &self.keys[slot as usize];
        if record.is_long() { &self.bytes[record.range()] } else { &record.inline[..record.length as usize] }
    }

    /// Appends the key's bytes. A short one is copied as it lies in its record, padding and all, which is cut off again: a copy of a
    /// length that is known is no call.
    #[inline]
    pub(crate) fn append_key(&self, slot: u32, bytes: &mut Vec<u8>) {
        let record = &self.keys[slot as usize];
        if record.is_long() {
            bytes.extend_from_slice(&self.bytes[record.range()]);
        } else {
            let end = bytes.len() + record.length as usize;
            bytes.extend_from_slice(&record.inline);
            bytes.truncate(end);
        }
    }

    pub(crate) fn is_occupied(&self, slot: u32) -> bool {
        self.keys.get(slot as usize).is_some_and(|record| record.length != VACANT)
    }

    /// Slots that have a key, ascending.
    pub(crate) fn occupied(&self) -> impl Iterator<Item = u32> {
        self.keys.iter().zip(0u32..).filter(|(record, _)| record.length != VACANT).map(|(_, slot)| slot)
    }

    fn compact(&mut self) {
        let mut bytes = Vec::with_capacity(self.bytes.len() - self.garbage);
        for record in self.keys.iter_mut().filter(|record| record.is_long()) {
            let range = record.range();
            let start = bytes.len();
            bytes.extend_from_slice(&self.bytes[range.clone()]);
            *record = KeyRecord::long(&self.bytes[range], start);
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
        fn padding_keeps_every_byte(key in proptest::collection::vec(any::<u8>(), 0..=INLINE_BYTES)) {
            let mut expected = key.clone();
            expected.resize(INLINE_BYTES, 0);
            let record = KeyRecord::short(&key);
            prop_assert_eq!((record.length as usize, record.inline.to_vec()), (key.len(), expected));
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
