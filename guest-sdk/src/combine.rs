//! Map-side combine: rows of equal keys become one before they leave a stage.
//!
//! An open-addressing hash table over columns: keys are appended to key columns, accumulators to a store, both in the
//! order in which keys appear first, and a slot holds a piece of the hash and a row number. Those columns are the stage's output
//! already. Short keys are compared in registers, by their digests; a count stands beside its digest. When the table has reached its bound it is not written out: its slots are forgotten, and the next row of
//! any key starts a new output row. The host merges the rest, so a bound costs speed at worst, never an answer. The same
//! goes for a sum that overflows: it stays as it is, its key starts a new row, and the host's checked sum decides.

use std::marker::PhantomData;

use crate::bindings::millpond::plugin::types::{Batch, Failure};
use crate::failure;
use crate::hash::Digest;
use crate::row::{self, Comparable, Key, Row, Sum};
use crate::text::Span;

/// When the table forgets its slots.
#[derive(Clone, Copy, Debug)]
pub(crate) struct CombineLimits {
    /// So many keys.
    pub(crate) keys: usize,
    /// So many bytes of keys.
    pub(crate) bytes: usize,
}

/// At this bound there are 8 MiB of keys, 1 MiB of digests and 512 KiB of slots. Slots and digests, which every row reads, stay
/// within a second-level cache or near it; all of it is far below the guest's memory limit.
pub(crate) const COMBINE_LIMITS: CombineLimits = CombineLimits { keys: 64 * 1024, bytes: 8 * 1024 * 1024 };

/// A table starts with at least so many slots and doubles when it is half full.
const SLOTS_MIN: usize = 1024;

/// And with at most so many: 256 KiB, of which emptying costs little (some 10 us) even where few keys come.
const SLOTS_START_MAX: usize = 64 * 1024;

/// Input bytes a slot at the start. A guess between one key a row and one every few bytes; only of the call's input, so that
/// what comes out does not depend on the calls before.
const BYTES_PER_SLOT: usize = 32;

/// A probe that is longer is not chance (half-full tables probe a few slots) but hostile or unlucky keys.
const PROBE_MAX: usize = 128;

/// Finds the output row of a key. `C` is what is carried beside a key's digest, where a row that finds the key finds it too.
pub(crate) struct KeyTable<K: Key, C = ()> {
    /// Lower 17 bits: row + 1 - `base`, 0 = empty; upper 15: some of the hash's. Small, as it is read at random: a table of 32 Ki
    /// keys takes a quarter of a usual second-level cache.
    slots: Vec<u32>,
    /// Slots are taken from the top bits of the hash, which multiplication mixes best: `64 - log2(slots)`.
    shift: u32,
    keys: K::Columns,
    /// Of the rows that the slots know, from `base` on.
    entries: Vec<Entry<C>>,
    /// Of the rows before.
    carried: Vec<C>,
    rows: usize,
    /// Rows before this one belong to forgotten slots.
    base: usize,
    base_bytes: usize,
    limits: CombineLimits,
}

/// A key that the slots know.
struct Entry<C> {
    digest: Digest,
    carried: C,
}

/// What is at a place of the table.
enum Look {
    /// The key, whose row this is.
    Found(usize),
    Empty,
    /// Another key.
    Other,
}

/// Where a key's row is.
pub(crate) enum Found {
    Old(usize),
    New,
}

impl<K: Key, C: Default> KeyTable<K, C> {
    pub(crate) fn new(limits: CombineLimits, input_bytes: usize) -> Self {
        let slots = (input_bytes / BYTES_PER_SLOT).next_power_of_two().clamp(SLOTS_MIN, SLOTS_START_MAX);
        Self {
            slots: vec![0; slots],
            shift: 64 - slots.trailing_zeros(),
            keys: K::Columns::default(),
            entries: Vec::new(),
            carried: Vec::new(),
            rows: 0,
            base: 0,
            base_bytes: 0,
            limits,
        }
    }

    /// The row of the key; appends it if it is not in the table.
    #[inline]
    pub(crate) fn find_or_insert(&mut self, key: K::Ref<'_>) -> Found {
        self.find_digest(K::digest(key), || key)
    }

    /// The same by a digest. The key itself is asked for only where it is needed.
    #[inline]
    fn find_digest<'k>(&mut self, digest: Digest, key: impl Fn() -> K::Ref<'k>) -> Found {
        let hash = digest.hash();
        let place = (hash >> self.shift) as usize;
        // The first looks are spelt out: most keys are found by them, and a loop costs an interruption check each time round.
        match self.look(place, hash, digest, &key) {
            Look::Found(row) => return Found::Old(row),
            Look::Empty => return self.insert(place, hash, digest, key()),
            Look::Other => {}
        }
        let second = (place + 1) & (self.slots.len() - 1);
        match self.look(second, hash, digest, &key) {
            Look::Found(row) => Found::Old(row),
            Look::Empty => self.insert(second, hash, digest, key()),
            Look::Other => self.find_further(place, hash, digest, key()),
        }
    }

    /// What is at a place. A call for each key would cost as much as the look.
    #[inline(always)]
    fn look<'k>(&self, place: usize, hash: u64, digest: Digest, key: &impl Fn() -> K::Ref<'k>) -> Look {
        let slot = self.slots[place];
        if (slot ^ tag(hash)) & !ROW_MASK == 0 && slot != 0 {
            let in_table = (slot & ROW_MASK) as usize - 1;
            let row = self.base + in_table;
            if self.entries[in_table].digest == digest && (digest.is_exact() || self.is_key_of(row, key())) {
                return Look::Found(row);
            }
        }
        if slot == 0 { Look::Empty } else { Look::Other }
    }

    /// Goes on behind two places that other keys have.
    #[inline(never)]
    fn find_further(&mut self, first: usize, hash: u64, digest: Digest, key: K::Ref<'_>) -> Found {
        let mask = self.slots.len() - 1;
        for step in 2..PROBE_MAX {
            let place = (first + step) & mask;
            match self.look(place, hash, digest, &|| key) {
                Look::Found(row) => return Found::Old(row),
                Look::Empty => return self.insert(place, hash, digest, key),
                Look::Other => {}
            }
        }
        // The probe grew long: all slots are forgotten.
        self.forget();
        self.insert(first, hash, digest, key)
    }

    /// Whether a row has the key, where digests cannot tell.
    #[inline(never)]
    fn is_key_of(&self, row: usize, key: K::Ref<'_>) -> bool {
        K::same_at(&self.keys, row, key)
    }

    #[inline(never)]
    fn insert(&mut self, place: usize, hash: u64, digest: Digest, key: K::Ref<'_>) -> Found {
        let full =
            self.rows - self.base >= self.limits.keys || K::byte_len(&self.keys) - self.base_bytes >= self.limits.bytes;
        let place = if full {
            self.forget();
            (hash >> self.shift) as usize
        } else {
            place
        };
        K::push(&mut self.keys, key);
        self.entries.push(Entry { digest, carried: C::default() });
        self.rows += 1;
        let in_table = self.rows - self.base;
        self.slots[place] = tag(hash) | in_table as u32;
        if in_table * 2 > self.slots.len() {
            self.grow();
        }
        Found::New
    }

    /// Appends the key once more: what has this row stays as output, and what comes now starts the key anew.
    #[cold]
    fn start_anew(&mut self, digest: Digest, key: K::Ref<'_>, row: usize) {
        let hash = digest.hash();
        let entry = tag(hash) | (row - self.base + 1) as u32;
        let mask = self.slots.len() - 1;
        let mut place = (hash >> self.shift) as usize;
        while self.slots[place] != entry {
            debug_assert!(self.slots[place] != 0, "the row was found by this key");
            place = (place + 1) & mask;
        }
        self.insert(place, hash, digest, key);
    }

    /// What is carried for the key that was just found or inserted.
    #[inline]
    fn carried_mut(&mut self, found: &Found) -> &mut C {
        let at = match found {
            Found::Old(row) => row - self.base,
            Found::New => self.entries.len() - 1,
        };
        &mut self.entries[at].carried
    }

    /// Empties the slots; the rows stay as output.
    fn forget(&mut self) {
        self.slots.fill(0);
        self.carried.extend(self.entries.drain(..).map(|entry| entry.carried));
        self.base = self.rows;
        self.base_bytes = K::byte_len(&self.keys);
    }

    #[cold]
    fn grow(&mut self) {
        let slots = self.slots.len() * 2;
        let mask = slots - 1;
        self.shift -= 1;
        self.slots = vec![0; slots];
        // The newest first: a key that was started anew is to be found where it goes on.
        for (index, entry) in self.entries.iter().enumerate().rev() {
            let hash = entry.digest.hash();
            let mut place = (hash >> self.shift) as usize;
            while self.slots[place] != 0 {
                place = (place + 1) & mask;
            }
            self.slots[place] = tag(hash) | (index + 1) as u32;
        }
    }
}

/// The bits of a slot that hold the row. `CombineLimits::keys` stays below.
const ROW_MASK: u32 = (1 << 17) - 1;

/// The hash's bits that a slot holds: others than those that choose the slot.
#[inline]
fn tag(hash: u64) -> u32 {
    ((hash >> 32) as u32 & 0x7fff) << 17
}

/// How the values of one key become one.
pub(crate) trait Accumulate<V: Row>: Send + Sync {
    /// What an accumulator is.
    type Out: Row;

    /// Accumulators, one a key.
    type Store: Default;

    /// Appends the accumulator of a new key.
    fn insert(&self, store: &mut Self::Store, value: V::Ref<'_>);

    /// Merges a value into accumulator `row`; `false` if a sum would overflow, and then nothing has changed.
    fn merge(&self, store: &mut Self::Store, row: usize, value: V::Ref<'_>) -> bool;

    /// The accumulators as columns.
    fn finish(&self, store: Self::Store) -> <Self::Out as Row>::Columns;
}

/// Sums.
pub(crate) struct SumOf;

impl<V: Sum> Accumulate<V> for SumOf {
    type Out = V;
    type Store = V::Columns;

    #[inline]
    fn insert(&self, store: &mut V::Columns, value: V::Ref<'_>) {
        V::push(store, value);
    }

    #[inline]
    fn merge(&self, store: &mut V::Columns, row: usize, value: V::Ref<'_>) -> bool {
        let mut sum = V::from_ref(V::get(store, row));
        let fits = sum.add(value);
        if fits {
            V::set_at(store, row, sum.to_ref());
        }
        fits
    }

    fn finish(&self, store: V::Columns) -> V::Columns {
        store
    }
}

/// The smallest, or the largest.
#[derive(Clone, Copy)]
pub(crate) enum Extreme {
    Min,
    Max,
}

impl Extreme {
    /// Whether a value takes the place of the best one so far.
    #[inline]
    pub(crate) fn is_better<V: Comparable>(self, value: V::Ref<'_>, best: V::Ref<'_>) -> bool {
        let order = V::extreme_order(value, best);
        match self {
            Self::Min => order.is_lt(),
            Self::Max => order.is_gt(),
        }
    }
}

impl<V: Comparable> Accumulate<V> for Extreme {
    type Out = V;
    type Store = Vec<V>;

    fn insert(&self, store: &mut Vec<V>, value: V::Ref<'_>) {
        store.push(V::from_ref(value));
    }

    #[inline]
    fn merge(&self, store: &mut Vec<V>, row: usize, value: V::Ref<'_>) -> bool {
        if self.is_better::<V>(value, store[row].to_ref()) {
            store[row] = V::from_ref(value);
        }
        true
    }

    fn finish(&self, store: Vec<V>) -> V::Columns {
        push_all(store.into_iter())
    }
}

/// A merge function of the job's author.
pub(crate) struct Custom<F>(pub(crate) F);

impl<V, F> Accumulate<V> for Custom<F>
where
    V: Row,
    F: Fn(V, V::Ref<'_>) -> V + Send + Sync,
{
    type Out = V;
    // None only while the closure has the value.
    type Store = Vec<Option<V>>;

    #[inline]
    fn insert(&self, store: &mut Self::Store, value: V::Ref<'_>) {
        store.push(Some(V::from_ref(value)));
    }

    #[inline]
    fn merge(&self, store: &mut Self::Store, row: usize, value: V::Ref<'_>) -> bool {
        store[row] = store[row].take().map(|merged| (self.0)(merged, value));
        true
    }

    fn finish(&self, store: Self::Store) -> V::Columns {
        push_all(store.into_iter().flatten())
    }
}

/// Functions of the job's author that make an accumulator of a value, and take in one more.
pub(crate) struct Fold<C, F, G> {
    create: F,
    merge_value: G,
    out: PhantomData<fn() -> C>,
}

impl<C, F, G> Fold<C, F, G> {
    pub(crate) fn new(create: F, merge_value: G) -> Self {
        Self { create, merge_value, out: PhantomData }
    }
}

impl<V, C, F, G> Accumulate<V> for Fold<C, F, G>
where
    V: Row,
    C: Row,
    F: Fn(V::Ref<'_>) -> C + Send + Sync,
    G: Fn(C, V::Ref<'_>) -> C + Send + Sync,
{
    type Out = C;
    // None only while the closure has the accumulator.
    type Store = Vec<Option<C>>;

    #[inline]
    fn insert(&self, store: &mut Self::Store, value: V::Ref<'_>) {
        store.push(Some((self.create)(value)));
    }

    #[inline]
    fn merge(&self, store: &mut Self::Store, row: usize, value: V::Ref<'_>) -> bool {
        store[row] = store[row].take().map(|merged| (self.merge_value)(merged, value));
        true
    }

    fn finish(&self, store: Self::Store) -> C::Columns {
        push_all(store.into_iter().flatten())
    }
}

/// Nothing: only keys matter.
pub(crate) struct NoValues;

impl Accumulate<()> for NoValues {
    type Out = ();
    type Store = ();

    #[inline]
    fn insert(&self, _store: &mut (), _value: ()) {}

    #[inline]
    fn merge(&self, _store: &mut (), _row: usize, _value: ()) -> bool {
        true
    }

    fn finish(&self, _store: ()) {}
}

fn push_all<V: Row>(values: impl Iterator<Item = V>) -> V::Columns {
    let mut columns = V::Columns::default();
    values.for_each(|value| V::push(&mut columns, value.to_ref()));
    columns
}

/// A stage's terminal that merges rows of equal keys.
pub(crate) struct Combiner<'a, K: Key, V: Row, A: Accumulate<V>> {
    table: KeyTable<K>,
    store: A::Store,
    accumulate: &'a A,
}

impl<'a, K: Key, V: Row, A: Accumulate<V>> Combiner<'a, K, V, A> {
    /// `input_bytes`: how large the call's input is.
    pub(crate) fn new(accumulate: &'a A, limits: CombineLimits, input_bytes: usize) -> Self {
        Self { table: KeyTable::new(limits, input_bytes), store: A::Store::default(), accumulate }
    }

    #[inline]
    pub(crate) fn add(&mut self, key: K::Ref<'_>, value: V::Ref<'_>) {
        match self.table.find_or_insert(key) {
            Found::Old(row) => {
                if !self.accumulate.merge(&mut self.store, row, value) {
                    self.table.start_anew(K::digest(key), key, row);
                    self.accumulate.insert(&mut self.store, value);
                }
            }
            Found::New => self.accumulate.insert(&mut self.store, value),
        }
    }

    pub(crate) fn finish(self) -> Result<Batch, Failure> {
        let mut columns = Vec::with_capacity(K::WIDTH + A::Out::WIDTH);
        K::write(self.table.keys, &mut columns);
        A::Out::write(self.accumulate.finish(self.store), &mut columns);
        row::finish_batch(self.table.rows, columns)
    }
}

/// A stage's terminal that counts rows.
pub(crate) struct Counter<K: Key> {
    table: KeyTable<K, i64>,
}

impl<K: Key> Counter<K> {
    /// `input_bytes`: how large the call's input is.
    pub(crate) fn new(limits: CombineLimits, input_bytes: usize) -> Self {
        Self { table: KeyTable::new(limits, input_bytes) }
    }

    #[inline]
    pub(crate) fn add(&mut self, key: K::Ref<'_>) {
        let found = self.table.find_or_insert(key);
        *self.table.carried_mut(&found) += 1;
    }

    /// Counts pieces of a text, each a key.
    ///
    /// **Panics**: if keys are no text.
    pub(crate) fn add_spans(&mut self, text: &str, spans: &[Span]) {
        for (start, end) in spans {
            let (start, end) = (*start as usize, *end as usize);
            let digest = Digest::of_part(text.as_bytes(), start, end);
            let key = || K::of_text(&text[start..end]).expect("only rows of text are split");
            let found = self.table.find_digest(digest, key);
            *self.table.carried_mut(&found) += 1;
        }
    }

    pub(crate) fn finish(mut self) -> Result<Batch, Failure> {
        self.table.forget();
        let mut columns = Vec::with_capacity(K::WIDTH + 1);
        K::write(self.table.keys, &mut columns);
        <i64 as Row>::write(push_all(self.table.carried.into_iter()), &mut columns);
        row::finish_batch(self.table.rows, columns)
    }
}

/// The failure of a sum that does not fit.
pub(crate) fn overflow() -> Failure {
    failure::user("a sum of int64 values is too large for int64: sum float64 values instead, or smaller numbers")
}

#[cfg(test)]
#[path = "combine_tests.rs"]
mod tests;
