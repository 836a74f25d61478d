//! Which output row a key has.

use super::buckets::{Buckets, NUMBERS_MAX, Search};
use crate::hash::Digest;
use crate::row::Key;

/// When a table forgets its keys.
#[derive(Clone, Copy, Debug)]
pub(crate) struct CombineLimits {
    /// So many keys; never more than buckets can number.
    pub(crate) keys: usize,
    /// So many bytes of keys.
    pub(crate) bytes: usize,
}

/// At this bound there are 8 MiB of keys, 1.5 MiB of digests with what is carried and half a MiB of buckets. With the keys of most calls
/// buckets and digests, which every row reads, stay within a second-level cache or near it; all of it is far below the guest's memory
/// limit.
pub(crate) const COMBINE_LIMITS: CombineLimits = CombineLimits { keys: NUMBERS_MAX, bytes: 8 * 1024 * 1024 };

/// Input bytes a key at the start. A guess between one key a row and one every few bytes; only of the call's input, so that
/// what comes out does not depend on the calls before.
const BYTES_PER_KEY: usize = 32;

/// Finds the output row of a key. `C` is what is carried beside a key's digest, where a row that finds the key finds it too.
pub(super) struct KeyTable<K: Key, C = ()> {
    /// Keys that are known, by number: that of the row, less `base`.
    buckets: Buckets,
    entries: Vec<Entry<C>>,
    /// Of all output rows.
    keys: K::Columns,
    /// Of the rows before `base`.
    carried: Vec<C>,
    rows: usize,
    /// Rows before this one belong to forgotten keys.
    base: usize,
    base_bytes: usize,
    limits: CombineLimits,
}

/// A key that is known.
struct Entry<C> {
    digest: Digest,
    carried: C,
}

/// Where a key's row is.
pub(super) enum Found {
    Old(usize),
    New,
}

impl<K: Key, C: Copy + Default> KeyTable<K, C> {
    pub(super) fn new(limits: CombineLimits, input_bytes: usize) -> Self {
        Self {
            buckets: Buckets::new(input_bytes / BYTES_PER_KEY),
            entries: Vec::new(),
            keys: K::Columns::default(),
            carried: Vec::new(),
            rows: 0,
            base: 0,
            base_bytes: 0,
            limits: CombineLimits { keys: limits.keys.min(NUMBERS_MAX), ..limits },
        }
    }

    /// The row of the key; appends it if it is not in the table.
    #[inline]
    pub(super) fn find_or_insert(&mut self, key: K::Ref<'_>) -> Found {
        let digest = K::digest(key);
        let number = self.buckets.guess(digest.hash());
        match self.entries.get(number) {
            Some(entry) if entry.digest == digest && digest.is_exact() => Found::Old(self.base + number),
            _ => self.search(digest, key),
        }
    }

    /// The same for a key that was not found at the first look.
    #[inline(never)]
    pub(super) fn search(&mut self, digest: Digest, key: K::Ref<'_>) -> Found {
        let is_it = |number: usize| {
            self.entries[number].digest == digest
                && (digest.is_exact() || K::same_at(&self.keys, self.base + number, key))
        };
        match self.buckets.search(digest.hash(), is_it) {
            Search::Found(place) => return Found::Old(self.base + self.buckets.number(place)),
            Search::Vacant(place) if !self.is_full() && self.buckets.has_room_for(self.entries.len()) => {
                self.buckets.put(place, digest.hash(), self.entries.len());
                self.append(digest, key);
            }
            Search::Vacant(_) | Search::Crowded => self.insert_anyhow(digest, key),
        }
        Found::New
    }

    /// Makes room for a key and appends it.
    #[inline(never)]
    fn insert_anyhow(&mut self, digest: Digest, key: K::Ref<'_>) {
        let hash = digest.hash();
        let hashes = |entries: &[Entry<C>]| entries.iter().map(|entry| entry.digest.hash()).collect::<Vec<_>>();
        if self.is_full()
            || !self.buckets.has_room_for(self.entries.len()) && !self.buckets.grow(&hashes(&self.entries))
        {
            self.forget();
        }
        let place = match self.buckets.search(hash, |_| false) {
            Search::Vacant(place) => place,
            // Too many keys of this bucket: hostile or unlucky ones.
            _ => {
                self.forget();
                self.buckets.first_place(hash)
            }
        };
        self.buckets.put(place, hash, self.entries.len());
        self.append(digest, key);
    }

    fn append(&mut self, digest: Digest, key: K::Ref<'_>) {
        K::push(&mut self.keys, key);
        self.entries.push(Entry { digest, carried: C::default() });
        self.rows += 1;
    }

    fn is_full(&self) -> bool {
        self.entries.len() >= self.limits.keys || K::byte_len(&self.keys) - self.base_bytes >= self.limits.bytes
    }

    /// Appends the key of a row once more: what has this row stays as output, and what comes now starts the key anew.
    #[cold]
    pub(super) fn start_anew(&mut self, digest: Digest, key: K::Ref<'_>, row: usize) {
        if self.is_full() {
            return self.insert_anyhow(digest, key);
        }
        let number = row - self.base;
        let found = self.buckets.search(digest.hash(), |other| other == number);
        let Search::Found(place) = found else { unreachable!("the row was found by this key") };
        self.buckets.renumber(place, self.entries.len());
        self.append(digest, key);
    }

    /// What is carried for the key that was just found or inserted.
    #[inline]
    pub(super) fn carried_mut(&mut self, found: &Found) -> &mut C {
        let at = match found {
            Found::Old(row) => row - self.base,
            Found::New => self.entries.len() - 1,
        };
        &mut self.entries[at].carried
    }

    /// Forgets the keys; the rows stay as output.
    fn forget(&mut self) {
        self.buckets.clear();
        self.carried.extend(self.entries.drain(..).map(|entry| entry.carried));
        self.base = self.rows;
        self.base_bytes = K::byte_len(&self.keys);
    }

    /// How many rows there are, their keys, and what was carried for each.
    pub(super) fn finish(mut self) -> (usize, K::Columns, Vec<C>) {
        self.carried.extend(self.entries.iter().map(|entry| entry.carried));
        (self.rows, self.keys, self.carried)
    }
}
