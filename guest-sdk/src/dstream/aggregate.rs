//! Merging values into accumulators of another type, by key; and the distinct rows of a batch.

use super::DStream;
use super::keyed::{Merging, Over};
use crate::bindings::millpond::plugin::dataflow::Merge;
use crate::combine::{Fold, NoValues};
use crate::plan::Code;
use crate::row::{Key, Row};

impl<K: Key, V: Row> DStream<(K, V)> {
    /// Merges the values of each key in the batch into an accumulator: `create` makes one of a first value, `merge_value` takes
    /// in one more value, `merge_combiners` makes one of two. Name the accumulator: `combine_by_key::<C>`.
    ///
    /// **Shape**: the key's columns as before, then those of `C`; one row per key.
    /// **Order**: it must not matter in which order values come, nor how they are shared out between accumulators: a key has one
    /// in each partition (now and then more), and only then are they merged.
    /// **Cost**: an accumulator per key and stage; values do not leave the stage, and only accumulators are shuffled.
    /// **Source**: `PairDStreamFunctions.combineByKey`.
    ///
    /// ```text
    /// in: _1  _2       out: _1  (bytes, lines)    behind map_values
    /// "ann"   "to"     "ann"    (7, 2)            3.5
    /// "ann"   "be or"  "bob"    (3, 1)            3.0
    /// "bob"   "not"
    /// ```
    ///
    /// ```
    /// # millpond::check_job!(|ctx: &mut millpond::StreamingContext| {
    /// // The mean length of each user's lines.
    /// ctx.source::<(String, String)>("lines")
    ///     .combine_by_key::<(i64, i64)>(
    ///         |line| (line.len() as i64, 1),
    ///         |(bytes, lines), line| (bytes + line.len() as i64, lines + 1),
    ///         |(bytes, lines), other| (bytes + other.0, lines + other.1),
    ///     )
    ///     .map_values::<f64>(|(bytes, lines)| bytes as f64 / lines as f64)
    ///     .sink("mean-length");
    /// # });
    /// ```
    pub fn combine_by_key<C: Row>(
        &self,
        create: impl Fn(V::Ref<'_>) -> C + Send + Sync + 'static,
        merge_value: impl Fn(C, V::Ref<'_>) -> C + Send + Sync + 'static,
        merge_combiners: impl Fn(C, C::Ref<'_>) -> C + Send + Sync + 'static,
    ) -> DStream<(K, C)> {
        let names = self.names_with_values::<C>("_2");
        let merging = Merging::with_merge::<C>(Fold::new(create, merge_value), merge_combiners);
        self.merged::<K, V, _, _>(Over::Batch, merging, names, |pair| pair)
    }

    /// Merges the values of each key in the batch into an accumulator that starts as `zero`: `merge_value` takes in a value,
    /// `merge_combiners` makes one accumulator of two.
    ///
    /// **Shape**: the key's columns as before, then those of `A`; one row per key.
    /// **Order**: as [`combine_by_key`](Self::combine_by_key). A key starts from `zero` in every partition, so `zero` must be
    /// something that changes nothing when it is merged: 0 of a sum, an empty text.
    /// **Cost**: as `combine_by_key`.
    /// **Source**: `PairRDDFunctions.aggregateByKey`, inside `DStream.transform`.
    ///
    /// ```text
    /// in: _1  _2      out: _1  (above, below)
    /// "s1"    2.5     "s1"     (1, 2)
    /// "s1"    -1.0    "s2"     (1, 0)
    /// "s2"    4.0
    /// "s1"    -3.0
    /// ```
    ///
    /// ```
    /// # millpond::check_job!(|ctx: &mut millpond::StreamingContext| {
    /// // How many readings of each sensor were above and below zero.
    /// ctx.source::<(String, f64)>("readings")
    ///     .aggregate_by_key(
    ///         (0i64, 0i64),
    ///         |(above, below), n| if n > 0.0 { (above + 1, below) } else { (above, below + 1) },
    ///         |a, b| (a.0 + b.0, a.1 + b.1),
    ///     )
    ///     .sink("signs");
    /// # });
    /// ```
    pub fn aggregate_by_key<A: Row + Send + Sync>(
        &self,
        zero: A,
        merge_value: impl Fn(A, V::Ref<'_>) -> A + Clone + Send + Sync + 'static,
        merge_combiners: impl Fn(A, A::Ref<'_>) -> A + Send + Sync + 'static,
    ) -> DStream<(K, A)> {
        let first = merge_value.clone();
        let create = move |value: V::Ref<'_>| first(A::from_ref(zero.to_ref()), value);
        self.combine_by_key(create, merge_value, merge_combiners)
    }

    /// Merges the values of each key in the batch, starting with `zero`.
    ///
    /// [`reduce_by_key`](Self::reduce_by_key) does without a `zero`; this is for those who have one.
    ///
    /// **Shape**: as before, one row per key.
    /// **Order**: `merge` must be associative and commutative, and `zero` must be something that changes nothing, as in
    /// [`aggregate_by_key`](Self::aggregate_by_key).
    /// **Cost**: as [`combine_by_key`](Self::combine_by_key).
    /// **Source**: `PairRDDFunctions.foldByKey`, inside `DStream.transform`.
    ///
    /// ```text
    /// in: _1  _2    out: _1  _2
    /// "a"     2     "a"      10
    /// "b"     7     "b"      7
    /// "a"     5
    /// ```
    ///
    /// ```
    /// # millpond::check_job!(|ctx: &mut millpond::StreamingContext| {
    /// ctx.source::<(String, i64)>("numbers").fold_by_key(1, |product, n| product * n).sink("products");
    /// # });
    /// ```
    pub fn fold_by_key(
        &self,
        zero: V,
        merge: impl Fn(V, V::Ref<'_>) -> V + Clone + Send + Sync + 'static,
    ) -> DStream<(K, V)>
    where
        V: Send + Sync,
    {
        let first = merge.clone();
        let create = move |value: V::Ref<'_>| first(V::from_ref(zero.to_ref()), value);
        let merging = Merging::with_merge::<V>(Fold::new(create, merge.clone()), merge);
        self.merged::<K, V, _, _>(Over::Batch, merging, self.names.clone(), |pair| pair)
    }
}

impl<T: Key> DStream<T> {
    /// The rows of each batch, each once.
    ///
    /// **Shape**: as before; all columns are the key. Of floats, `0.0` and `-0.0` are one, and so are all NaN.
    /// **Order**: none.
    /// **Cost**: rows that occur several times in a partition leave the stage once.
    /// **Source**: `RDD.distinct`, inside `DStream.transform`.
    ///
    /// ```text
    /// in         out
    /// "ann"      "ann"
    /// "bob"      "bob"
    /// "ann"
    /// ```
    ///
    /// ```
    /// # millpond::check_job!(|ctx: &mut millpond::StreamingContext| {
    /// // How many users there were in each batch.
    /// ctx.text("users").distinct().count().sink("users");
    /// # });
    /// ```
    pub fn distinct(&self) -> DStream<T> {
        let merging = Merging { accumulate: NoValues, merge: Merge::Columns(Vec::new()), code: Code::None };
        self.merged::<T, (), _, _>(Over::Batch, merging, self.names.clone(), |row| (row, ()))
    }
}
