//! Map-side combine: rows of equal keys become one before they leave a stage.
//!
//! Keys and accumulators are columns in the order in which the keys appear first: the stage's output already. A hash table
//! ([`table`]) tells which row a key has. Short keys are compared in registers, by their digests; a count stands beside its digest.
//! Pieces of text that are counted have a table of their own ([`pieces`]).
//! When the table has reached its bound it is not written out: it forgets its keys, and the next row of any key starts a new output
//! row. The host merges the rest, so a bound costs speed at worst, never an answer. The same goes for a sum that overflows: it stays
//! as it is, its key starts a new row, and the host's checked sum decides.

mod buckets;
mod pieces;
mod table;

use std::marker::PhantomData;

pub(crate) use self::pieces::PieceCounter;
pub(crate) use self::table::{COMBINE_LIMITS, CombineLimits};
use self::table::{Found, KeyTable};
use crate::bindings::millpond::plugin::types::{Batch, Failure};
use crate::failure;
use crate::row::{self, Comparable, Key, Row, Sum};

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
        let (rows, keys, _) = self.table.finish();
        let mut columns = Vec::with_capacity(K::WIDTH + A::Out::WIDTH);
        K::write(keys, &mut columns);
        A::Out::write(self.accumulate.finish(self.store), &mut columns);
        row::finish_batch(rows, columns)
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

    pub(crate) fn finish(self) -> Result<Batch, Failure> {
        let (rows, keys, counts) = self.table.finish();
        let mut columns = Vec::with_capacity(K::WIDTH + 1);
        K::write(keys, &mut columns);
        <i64 as Row>::write(push_all(counts.into_iter()), &mut columns);
        row::finish_batch(rows, columns)
    }
}

/// The failure of a sum that does not fit.
pub(crate) fn overflow() -> Failure {
    failure::user("a sum of int64 values is too large for int64: sum float64 values instead, or smaller numbers")
}

#[cfg(test)]
mod tests;
