//! Hash table from encoded key to slot: the heart of grouping and of hot state.

use hashbrown::HashTable;

use crate::key::{self, Keys};

/// Keys with a dense slot number each. Freed slots are used again.
#[derive(Debug, Default)]
pub(crate) struct KeyTable {
    table: HashTable<u32>,
    hashes: Vec<u64>,
    spans: Vec<Span>,
    bytes: Vec<u8>,
    free: Vec<u32>,
    /// Bytes of removed keys that still lie in `bytes`.
    garbage: usize,
}

/// Where a key lies in `bytes`.
#[derive(Clone, Copy, Debug)]
struct Span {
    start: u64,
    /// `VACANT` marks a slot without a key.
    length: u32,
}

const VACANT: u32 = u32::MAX;

/// Below this many bytes of garbage compaction is not worth its pass.
const GARBAGE_BYTES_MIN: usize = 64 * 1024;

impl KeyTable {
    /// How many keys there are.
    pub(crate) fn len(&self) -> usize {
        self.table.len()
    }

    /// How many slots there are, vacant ones included.
    pub(crate) fn slots(&self) -> usize {
        self.spans.len()
    }

    /// Approximate memory, in bytes.
    pub(crate) fn memory_bytes(&self) -> usize {
        self.bytes.capacity()
            + self.spans.capacity() * size_of::<Span>()
            + self.hashes.capacity() * 8
            + self.table.capacity() * 5
    }

    pub(crate) fn find(&self, hash: u64, key: &[u8]) -> Option<u32> {
        self.table.find(hash, |slot| self.matches(*slot, hash, key)).copied()
    }

    /// The key's slot, and whether it is new.
    pub(crate) fn insert(&mut self, hash: u64, key: &[u8]) -> (u32, bool) {
        if let Some(slot) = self.find(hash, key) {
            return (slot, false);
        }
        let span = Span { start: self.bytes.len() as u64, length: key.len() as u32 };
        self.bytes.extend_from_slice(key);
        let slot = if let Some(slot) = self.free.pop() {
            self.spans[slot as usize] = span;
            self.hashes[slot as usize] = hash;
            slot
        } else {
            self.spans.push(span);
            self.hashes.push(hash);
            (self.spans.len() - 1) as u32
        };
        let hashes = &self.hashes;
        self.table.insert_unique(hash, slot, |slot| hashes[*slot as usize]);
        (slot, true)
    }

    /// Removes the key in `slot`; the slot may be given to another key.
    pub(crate) fn remove(&mut self, slot: u32) {
        let hash = self.hashes[slot as usize];
        if let Ok(entry) = self.table.find_entry(hash, |other| *other == slot) {
            entry.remove();
            self.garbage += self.spans[slot as usize].length as usize;
            self.spans[slot as usize].length = VACANT;
            self.free.push(slot);
            if self.garbage > GARBAGE_BYTES_MIN && self.garbage * 2 > self.bytes.len() {
                self.compact();
            }
        }
    }

    pub(crate) fn key(&self, slot: u32) -> &[u8] {
        let span = self.spans[slot as usize];
        &self.bytes[span.start as usize..span.start as usize + span.length as usize]
    }

    /// Slots that have a key, ascending.
    pub(crate) fn occupied(&self) -> impl Iterator<Item = u32> {
        self.spans.iter().zip(0u32..).filter(|(span, _)| span.length != VACANT).map(|(_, slot)| slot)
    }

    fn matches(&self, slot: u32, hash: u64, key: &[u8]) -> bool {
        self.hashes[slot as usize] == hash && self.key(slot) == key
    }

    fn compact(&mut self) {
        let mut bytes = Vec::with_capacity(self.bytes.len() - self.garbage);
        for span in self.spans.iter_mut().filter(|span| span.length != VACANT) {
            let start = bytes.len();
            bytes.extend_from_slice(&self.bytes[span.start as usize..span.start as usize + span.length as usize]);
            span.start = start as u64;
        }
        self.bytes = bytes;
        self.garbage = 0;
    }
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
    /// Groups all rows. Cost: one hash and one probe a row.
    pub(crate) fn by_key(keys: &Keys) -> Self {
        let mut first_row: Vec<u32> = Vec::new();
        let mut table: HashTable<(u64, u32)> = HashTable::new();
        let mut group_of_row = Vec::with_capacity(keys.len());
        for row in 0..keys.len() {
            let key = keys.get(row);
            let hash = key::hash(key);
            let same =
                |(other, group): &(u64, u32)| *other == hash && keys.get(first_row[*group as usize] as usize) == key;
            let group = if let Some((_, group)) = table.find(hash, same) {
                *group
            } else {
                let group = first_row.len() as u32;
                table.insert_unique(hash, (hash, group), |(hash, _)| *hash);
                first_row.push(row as u32);
                group
            };
            group_of_row.push(group);
        }
        Self { group_of_row, first_row }
    }

    pub(crate) fn len(&self) -> usize {
        self.first_row.len()
    }

    /// Whether every row is a group of its own.
    pub(crate) fn all_single(&self) -> bool {
        self.first_row.len() == self.group_of_row.len()
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

    proptest! {
        #[test]
        fn table_behaves_as_a_map(steps in proptest::collection::vec((0u8..40, any::<bool>()), 0..400)) {
            let mut table = KeyTable::default();
            let mut model: HashMap<Vec<u8>, u32> = HashMap::new();
            for (number, insert) in steps {
                let key = vec![number; usize::from(number)];
                let hash = key::hash(&key);
                prop_assert_eq!(table.find(hash, &key), model.get(&key).copied());
                if insert {
                    let (slot, new) = table.insert(hash, &key);
                    prop_assert_eq!(new, model.insert(key, slot).is_none());
                } else if let Some(slot) = model.remove(&key) {
                    table.remove(slot);
                }
                prop_assert_eq!(table.len(), model.len());
            }
            for slot in table.occupied() {
                prop_assert_eq!(model.get(table.key(slot)), Some(&slot));
            }
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

    #[test]
    fn removed_keys_do_not_pile_up() {
        let mut table = KeyTable::default();
        for round in 0u64..10_000 {
            let key = [round.to_le_bytes(); 8].concat();
            let (slot, new) = table.insert(key::hash(&key), &key);
            assert!(new);
            table.remove(slot);
        }
        assert_eq!(table.slots(), 1);
        assert!(table.bytes.len() <= 2 * GARBAGE_BYTES_MIN, "{} bytes", table.bytes.len());
    }
}
