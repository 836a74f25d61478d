//! Hash table from encoded key to slot: the heart of grouping and of hot state.
//!
//! Open addressing with linear probing. A place holds the upper half of the hash beside the slot, so a wrong key is passed over
//! without a look at its bytes; short keys lie inside a fixed record of their slot. Finding a key that is there touches three
//! cache lines: its place, its record, and whatever the caller keeps by slot.

use crate::key::Keys;
use crate::segmented::Segmented;

/// Keys with a dense slot number each. Freed slots are used again.
#[derive(Debug, Default)]
pub(crate) struct KeyTable {
    /// Upper half: the hash's; lower half: slot + 1. 0 = empty. As many as a power of two, or none.
    places: Vec<u64>,
    /// Of each slot.
    keys: Segmented<KeyRecord>,
    /// Keys that do not fit into their record.
    bytes: Vec<u8>,
    free: Vec<u32>,
    /// Bytes of removed keys that still lie in `bytes`.
    garbage: usize,
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

/// Nineteen of twenty keys of a table that is half full lie in their first four places.
const GUESS_PLACES: usize = 4;

/// No table has so many slots: entries hold slot + 1.
const NO_SLOT: u32 = u32::MAX;

/// Fewest places of a table that is not empty.
const PLACES_MIN: usize = 64;

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
            *slot = table.guess(*hash);
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
        let places = (keys * 8 / 5 + 1).next_power_of_two().max(PLACES_MIN);
        Self { places: vec![0; places], ..Self::default() }
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
        self.bytes.capacity() + self.keys.memory_bytes() + self.places.capacity() * 8 + self.free.capacity() * 4
    }

    #[cfg(test)]
    pub(crate) fn find(&self, hash: u64, key: &[u8]) -> Option<u32> {
        if self.places.is_empty() { None } else { self.probe(hash, key).1 }
    }

    /// The key's slot, and whether it is new.
    #[inline]
    pub(crate) fn insert(&mut self, hash: u64, key: &[u8]) -> (u32, bool) {
        if self.places.is_empty() {
            self.grow();
        }
        match self.probe(hash, key) {
            (_, Some(slot)) => (slot, false),
            (place, None) => (self.insert_new(place, hash, key), true),
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
        if self.places.is_empty() {
            return vec![nothing; hashes.len()];
        }
        let mut slots = Vec::with_capacity(hashes.len());
        let mut guesses = Guesses::new();
        for (number, hashes) in hashes.chunks(ROWS_AT_ONCE).enumerate() {
            guesses.look(self, hashes);
            for (index, hash) in hashes.iter().enumerate() {
                let key = keys.get(number * ROWS_AT_ONCE + index);
                let slot = guesses.confirmed(index, key).or_else(|| self.probe(*hash, key).1);
                slots.push(slot.unwrap_or(nothing));
            }
        }
        slots
    }

    /// The slot that a key with this hash most likely has, or `NO_SLOT`. Looks only at its first places, which lie side by side.
    #[inline]
    fn guess(&self, hash: u64) -> u32 {
        let mask = self.places.len().wrapping_sub(1);
        for step in 0..GUESS_PLACES {
            let found = self.places.get((home(hash, mask) + step) & mask).copied().unwrap_or(0);
            if found != 0 && (found ^ hash) >> 32 == 0 {
                return found as u32 - 1;
            }
        }
        NO_SLOT
    }

    /// Where the key is, or the empty place where it would be put.
    #[inline]
    fn probe(&self, hash: u64, key: &[u8]) -> (usize, Option<u32>) {
        let mask = self.places.len() - 1;
        let wanted = if key.len() <= INLINE_BYTES { Some(KeyRecord::short(key)) } else { None };
        let mut place = home(hash, mask);
        loop {
            let entry = self.places[place];
            if entry == 0 {
                return (place, None);
            }
            if (entry ^ hash) >> 32 == 0 {
                let slot = entry as u32 - 1;
                let found = match &wanted {
                    Some(wanted) => self.keys[slot as usize] == *wanted,
                    None => self.key(slot) == key,
                };
                if found {
                    return (place, Some(slot));
                }
            }
            place = (place + 1) & mask;
        }
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
        self.places[place] = entry(hash, slot);
        // At most five eighths full: probes stay short.
        if self.len() * 8 > self.places.len() * 5 {
            self.grow();
        }
        slot
    }

    #[cold]
    fn grow(&mut self) {
        let count = (self.places.len() * 2).max(PLACES_MIN);
        let mut places = vec![0u64; count];
        for entry in self.places.iter().filter(|entry| **entry != 0) {
            let mut place = home(*entry, count - 1);
            while places[place] != 0 {
                place = (place + 1) & (count - 1);
            }
            places[place] = *entry;
        }
        self.places = places;
    }

    /// Removes the key in `slot`, which has this hash; the slot may be given to another key.
    pub(crate) fn remove(&mut self, slot: u32, hash: u64) {
        let record = self.keys[slot as usize];
        assert!(record.length != VACANT, "a key is removed once");
        self.vacate(slot, hash);
        if record.is_long() {
            self.garbage += record.length as usize;
        }
        self.keys[slot as usize].length = VACANT;
        self.free.push(slot);
        if self.garbage > GARBAGE_BYTES_MIN && self.garbage * 2 > self.bytes.len() {
            self.compact();
        }
    }

    /// Empties the slot's place and moves up what was pushed behind it, so that no probe stops too early.
    fn vacate(&mut self, slot: u32, hash: u64) {
        let mask = self.places.len() - 1;
        let wanted = entry(hash, slot);
        let mut hole = home(hash, mask);
        while self.places[hole] != wanted {
            assert!(self.places[hole] != 0, "a key has a place from its home on");
            hole = (hole + 1) & mask;
        }
        let mut next = (hole + 1) & mask;
        while self.places[next] != 0 {
            let wanted = home(self.places[next], mask);
            // It may move if its home is not between the hole and where it is.
            if next.wrapping_sub(wanted) & mask >= next.wrapping_sub(hole) & mask {
                self.places[hole] = self.places[next];
                hole = next;
            }
            next = (next + 1) & mask;
        }
        self.places[hole] = 0;
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

/// Where a key is looked for first: by the upper half of its hash, which its place has too, so that a table grows without a look at
/// the keys. (`entry` is the hash, or the place.)
///
/// Not by the lower half: the checkpoint store keeps keys in the order of those bits, and recovery brings them in that order. Keys
/// would crowd into one corner of a table that is still growing. And mixed, as the top bits are those that chose the partition.
#[inline]
fn home(entry: u64, mask: usize) -> usize {
    ((entry >> 32).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32) as usize & mask
}

#[inline]
fn entry(hash: u64, slot: u32) -> u64 {
    hash >> 32 << 32 | u64::from(slot + 1)
}

/// Rows of a batch sorted into groups of equal keys, in the order in which the keys first appear.
#[derive(Debug)]
pub(crate) struct Groups {
    /// Of each row.
    pub(crate) group_of_row: Vec<u32>,
    /// Of each group: its first row.
    pub(crate) first_row: Vec<u32>,
}

impl Groups {
    /// Groups all rows; `hashes` are those of the keys. Cost: one probe a row.
    pub(crate) fn by_key(keys: &Keys, hashes: &[u64]) -> Self {
        // Half full at most, as there are no more groups than rows.
        let mask = (keys.len() * 2).next_power_of_two() - 1;
        let mut places = vec![0u64; mask + 1];
        let mut first_row: Vec<u32> = Vec::new();
        let mut group_of_row = Vec::with_capacity(keys.len());
        for (row, hash) in hashes.iter().enumerate() {
            let key = keys.get(row);
            let mut place = *hash as usize & mask;
            let group = loop {
                let found = places[place];
                if found == 0 {
                    let group = first_row.len() as u32;
                    places[place] = entry(*hash, group);
                    first_row.push(row as u32);
                    break group;
                }
                let group = found as u32 - 1;
                if (found ^ hash) >> 32 == 0 && keys.get(first_row[group as usize] as usize) == key {
                    break group;
                }
                place = (place + 1) & mask;
            };
            group_of_row.push(group);
        }
        Self { group_of_row, first_row }
    }

    /// Groups of two: row `i` and row `pairs + i`.
    pub(crate) fn of_pairs(pairs: usize) -> Self {
        let first_row: Vec<u32> = (0..pairs as u32).collect();
        Self { group_of_row: first_row.repeat(2), first_row }
    }

    pub(crate) fn len(&self) -> usize {
        self.first_row.len()
    }

    /// Whether every row is a group of its own.
    pub(crate) fn all_single(&self) -> bool {
        self.first_row.len() == self.group_of_row.len()
    }

    /// How many rows each group has.
    pub(crate) fn counts(&self) -> Vec<u32> {
        let mut counts = vec![0u32; self.len()];
        self.group_of_row.iter().for_each(|group| counts[*group as usize] += 1);
        counts
    }
}

/// Group offsets, and rows in the order of their groups, arrival order kept within each.
pub(crate) fn order_by_group(group_of_row: &[u32], groups: usize) -> (Vec<u32>, Vec<u32>) {
    let mut offsets = vec![0u32; groups + 1];
    for group in group_of_row {
        offsets[*group as usize + 1] += 1;
    }
    for group in 0..groups {
        offsets[group + 1] += offsets[group];
    }
    let mut next = offsets.clone();
    let mut order = vec![0u32; group_of_row.len()];
    for (row, group) in (0u32..).zip(group_of_row) {
        let place = &mut next[*group as usize];
        order[*place as usize] = row;
        *place += 1;
    }
    (offsets, order)
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
            let mut table = KeyTable::default();
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

        #[test]
        fn groups_are_those_of_a_map(words in proptest::collection::vec("[ab]{0,3}|[a-z]{20}", 0..200)) {
            let column: arrow::array::ArrayRef = std::sync::Arc::new(arrow::array::StringArray::from(words.clone()));
            let schema = arrow::datatypes::Schema::new(vec![arrow::datatypes::Field::new("k", arrow::datatypes::DataType::Utf8, false)]);
            let rows = arrow::array::RecordBatch::try_new(std::sync::Arc::new(schema.clone()), vec![column]).unwrap();
            let keys = Keys::of("test", &schema, 1, &rows).unwrap();
            let groups = Groups::by_key(&keys, &keys.hashes());
            let mut order: Vec<&String> = Vec::new();
            for (row, word) in words.iter().enumerate() {
                if !order.contains(&word) {
                    prop_assert_eq!(groups.first_row[order.len()] as usize, row);
                    order.push(word);
                }
                prop_assert_eq!(order[groups.group_of_row[row] as usize], word);
            }
            prop_assert_eq!(groups.len(), order.len());
            prop_assert_eq!(groups.counts().iter().sum::<u32>() as usize, words.len());
        }

        #[test]
        fn order_keeps_arrival_within_a_group(groups in proptest::collection::vec(0u32..5, 0..60)) {
            let (offsets, order) = order_by_group(&groups, 5);
            for group in 0..5u32 {
                let rows = &order[offsets[group as usize] as usize..offsets[group as usize + 1] as usize];
                let expected: Vec<u32> = (0u32..).zip(&groups).filter(|(_, of)| **of == group).map(|(row, _)| row).collect();
                prop_assert_eq!(rows, &expected[..]);
            }
        }
    }

    /// The longest way from a key's home to where it lies.
    fn longest_probe(table: &KeyTable) -> usize {
        let mask = table.places.len() - 1;
        let way = |(place, entry): (usize, &u64)| place.wrapping_sub(home(*entry, mask)) & mask;
        table.places.iter().enumerate().filter(|(_, entry)| **entry != 0).map(way).max().unwrap_or(0)
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
                assert!(longest_probe(&table) < 100, "{} places at {count} keys", longest_probe(&table));
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
