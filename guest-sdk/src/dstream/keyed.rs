//! Merging the rows of equal keys within a batch: counts, sums, extremes, means, and merge functions of one's own.
//!
//! Each operator ends the chain before it with a map-side combine, so that a stage puts out a row per key and not a row
//! per row; then the host brings the partial results of a key together and merges them.

use std::sync::Arc;

use super::{DStream, HostNode, MapFn, joined_names};
use crate::bindings::millpond::plugin::dataflow::{ColumnMerge, Merge, Operator, Reduce, ReduceWindow, Window};
use crate::bindings::millpond::plugin::types::{Batch, Failure, Field};
use crate::chain::Input;
use crate::combine::{Accumulate, COMBINE_LIMITS, Combiner, Counter, Custom, Extreme, PieceCounter, SumOf};
use crate::plan::{Code, MergeFn, NodeName, renamed};
use crate::row::{self, Comparable, Key, Number, Row, Sum};

/// How rows of a key are merged: in the stage, and after it.
pub(super) struct Merging<A> {
    pub(super) accumulate: A,
    pub(super) merge: Merge,
    pub(super) code: Code,
}

impl Merging<SumOf> {
    pub(super) fn sum<V: Sum>() -> Self {
        Self { accumulate: SumOf, merge: Merge::Columns(vec![ColumnMerge::Sum; V::WIDTH]), code: Code::None }
    }
}

impl Merging<Extreme> {
    pub(super) fn extreme<V: Comparable>(extreme: Extreme) -> Self {
        if !V::IN_HOST {
            let better = move |best: V, value: V::Ref<'_>| {
                if extreme.is_better::<V>(value, best.to_ref()) { V::from_ref(value) } else { best }
            };
            return Self::with_merge::<V>(extreme, better);
        }
        let column = match extreme {
            Extreme::Min => ColumnMerge::Min,
            Extreme::Max => ColumnMerge::Max,
        };
        Self { accumulate: extreme, merge: Merge::Columns(vec![column]), code: Code::None }
    }
}

impl<A> Merging<A> {
    /// A merge of accumulators `C` by the component.
    pub(super) fn with_merge<C: Row>(
        accumulate: A,
        merge: impl Fn(C, C::Ref<'_>) -> C + Send + Sync + 'static,
    ) -> Self {
        let merge = merge_code::<C>(merge);
        Self { accumulate, merge: Merge::Custom, code: Code::Merge { merge, subtract: None } }
    }
}

impl<F> Merging<Custom<F>> {
    pub(super) fn custom<V: Row>(function: F) -> Self
    where
        F: Fn(V, V::Ref<'_>) -> V + Clone + Send + Sync + 'static,
    {
        Self::with_merge::<V>(Custom(function.clone()), function)
    }
}

/// The code of `merge` calls: each group's rows, in order.
fn merge_code<V: Row>(function: impl Fn(V, V::Ref<'_>) -> V + Send + Sync + 'static) -> Arc<MergeFn> {
    Arc::new(move |groups: &[u32], input: Input<'_>| -> Result<Batch, Failure> {
        let (_, values) = row::read_batch::<V>(input.batch, input.fields)?;
        let mut merged = V::Columns::default();
        for group in groups.windows(2) {
            let (first, end) = (group[0] as usize, group[1] as usize);
            let start = V::from_ref(V::get(&values, first));
            let total = (first + 1..end).fold(start, |total, row| function(total, V::get(&values, row)));
            V::push(&mut merged, total.to_ref());
        }
        row::write_batch::<V>(groups.len() - 1, merged)
    })
}

/// When rows are merged.
#[derive(Clone, Copy)]
pub(super) enum Over {
    /// Those of each batch.
    Batch,
    /// Those of a window; state is kept under the operator's name.
    Window { operator: &'static str, window: Window, invertible: bool },
}

impl<T: Row> DStream<T> {
    /// Makes of each row a key and a value, and merges the values of equal keys; `U` has the columns of key and accumulator.
    pub(super) fn merged<K: Key, V: Row, U: Row, A: Accumulate<V> + 'static>(
        &self,
        over: Over,
        merging: Merging<A>,
        names: Vec<String>,
        split: impl for<'a> MapFn<'a, T, (K, V)> + Send + Sync + 'static,
    ) -> DStream<U> {
        let Merging { accumulate, merge, code } = merging;
        let schema = renamed(row::fields::<(K, A::Out)>(""), &names);
        let stage = self.combine_stage::<K, V, A>(accumulate, schema.clone(), split);
        self.merged_after(stage, over, (merge, code), schema, K::WIDTH)
    }

    /// A stage that makes of each row a key and a value, and merges values of equal keys as far as it sees them.
    pub(super) fn combine_stage<K: Key, V: Row, A: Accumulate<V> + 'static>(
        &self,
        accumulate: A,
        schema: Vec<Field>,
        split: impl for<'a> MapFn<'a, T, (K, V)> + Send + Sync + 'static,
    ) -> usize {
        self.stage(Some("combine"), schema, K::WIDTH, move |chain, input, cx| {
            let bytes = row::batch_bytes(&input.batch);
            let mut combiner = Combiner::<K, V, A>::new(&accumulate, COMBINE_LIMITS, bytes);
            chain.run(input, cx, &mut |row| {
                let (key, value) = split(row);
                combiner.add(key, value);
            })?;
            combiner.finish()
        })
    }

    /// The host's node that merges what comes out of a stage that combines.
    fn merged_after<U: Row>(
        &self,
        stage: usize,
        over: Over,
        (merge, code): (Merge, Code),
        schema: Vec<Field>,
        key_columns: usize,
    ) -> DStream<U> {
        // A count of nothing is 0; anything else of nothing is nothing.
        let zero_when_empty = key_columns == 0 && matches!(&merge, Merge::Columns(_));
        let (name, operator) = match over {
            Over::Batch => (NodeName::Numbered("reduce"), Operator::Reduce(Reduce { merge, zero_when_empty })),
            Over::Window { operator, window, invertible } => {
                let reduce = ReduceWindow { window, merge, invertible, keep_empty_keys: false, zero_when_empty };
                (NodeName::Stateful(operator), Operator::ReduceWindow(reduce))
            }
        };
        self.then(HostNode { name, operator, inputs: vec![stage], schema, key_columns, code })
    }

    /// One row a batch: how many rows it has.
    ///
    /// **Shape**: one column, `count`; exactly one row, 0 for an empty batch.
    /// **Cost**: counted in the stage; a row per partition leaves it.
    /// **Source**: `DStream.count`.
    ///
    /// ```text
    /// batch    in              out: count
    /// 1        "a", "b", "a"   3
    /// 2        no rows         0
    /// ```
    ///
    /// ```
    /// # millpond::check_job!(|ctx: &mut millpond::StreamingContext| {
    /// ctx.text("lines").count().sink("lines-per-batch");
    /// # });
    /// ```
    pub fn count(&self) -> DStream<i64> {
        self.merged::<(), i64, _, _>(Over::Batch, Merging::sum::<i64>(), vec!["count".to_owned()], |_| ((), 1))
    }

    /// One row a batch: all rows merged.
    ///
    /// **Shape**: as before; no row for an empty batch.
    /// **Order**: `merge` must be associative and commutative. It gets what is merged so far, owned, and the next row.
    /// **Cost**: merged in the stage first; a row per partition leaves it, and one more call merges those.
    /// **Source**: `DStream.reduce`.
    ///
    /// ```text
    /// batch    in         out
    /// 1        2, 3, 4    24
    /// 2        no rows    no row
    /// ```
    ///
    /// ```
    /// # millpond::check_job!(|ctx: &mut millpond::StreamingContext| {
    /// ctx.source::<i64>("numbers").reduce(|product, n| product.wrapping_mul(n)).sink("product");
    /// # });
    /// ```
    pub fn reduce(&self, merge: impl Fn(T, T::Ref<'_>) -> T + Clone + Send + Sync + 'static) -> DStream<T> {
        let merging = Merging::custom::<T>(merge);
        self.merged::<(), T, _, _>(Over::Batch, merging, self.names.clone(), |row| ((), row))
    }
}

impl<T: Key> DStream<T> {
    /// How often each row occurs in the batch.
    ///
    /// **Shape**: the row's columns, then `count`; one row per distinct row.
    /// **Cost**: counted in the stage; a row per distinct row leaves it.
    /// **Source**: `DStream.countByValue`.
    ///
    /// ```text
    /// in: value    out: value  count
    /// "a"          "a"         2
    /// "b"          "b"         1
    /// "a"
    /// ```
    ///
    /// ```
    /// # millpond::check_job!(|ctx: &mut millpond::StreamingContext| {
    /// ctx.text("words").count_by_value().sink("counts");
    /// # });
    /// ```
    pub fn count_by_value(&self) -> DStream<(T, i64)> {
        self.counted(Over::Batch)
    }

    /// How often each row occurs.
    pub(super) fn counted(&self, over: Over) -> DStream<(T, i64)> {
        let Merging { merge, code, .. } = Merging::sum::<i64>();
        let schema = renamed(row::fields::<(T, i64)>(""), &self.names_and_count());
        let stage = self.stage(Some("combine"), schema.clone(), T::WIDTH, move |chain, input, cx| {
            let bytes = row::batch_bytes(&input.batch);
            if let Some(split) = chain.as_split() {
                let mut counter = PieceCounter::new(COMBINE_LIMITS, bytes);
                split.run_spans(input, |text, starts, ends| counter.add_spans(text, starts, ends))?;
                return counter.finish();
            }
            let mut counter = Counter::<T>::new(COMBINE_LIMITS, bytes);
            chain.run(input, cx, &mut |row| counter.add(row))?;
            counter.finish()
        });
        self.merged_after(stage, over, (merge, code), schema, T::WIDTH)
    }

    pub(super) fn names_and_count(&self) -> Vec<String> {
        joined_names(&self.names, vec!["count".to_owned()])
    }
}

impl<K: Key, V: Row> DStream<(K, V)> {
    /// Merges the values of each key in the batch with a function.
    ///
    /// **Shape**: as before, one row per key.
    /// **Order**: `merge` must be associative and commutative. It gets what is merged so far, owned, and the next value as a
    /// view: `|a, b| a.max(b)` for numbers; for text `|mut a, b| { a.push_str(b); a }` reuses the memory of `a`.
    /// **Cost**: an owned value per key and stage; nothing per row but what the function does.
    /// **Source**: `PairDStreamFunctions.reduceByKey`.
    ///
    /// ```text
    /// in: _1  _2         out: _1  _2
    /// "a"     (1, 10)    "a"      (3, 10)
    /// "b"     (5, 5)     "b"      (5, 5)
    /// "a"     (2, 4)
    /// ```
    ///
    /// ```
    /// # millpond::check_job!(|ctx: &mut millpond::StreamingContext| {
    /// ctx.source::<(String, (i64, i64))>("moves")
    ///     .reduce_by_key(|a, b| (a.0 + b.0, a.1.max(b.1)))
    ///     .sink("merged");
    /// # });
    /// ```
    pub fn reduce_by_key(&self, merge: impl Fn(V, V::Ref<'_>) -> V + Clone + Send + Sync + 'static) -> DStream<(K, V)> {
        self.merged::<K, V, _, _>(Over::Batch, Merging::custom::<V>(merge), self.names.clone(), |pair| pair)
    }

    /// How many rows each key has in the batch.
    ///
    /// **Shape**: the key's columns, then `count`; one row per key.
    /// **Cost**: counted in the stage; a row per key and partition leaves it, without the values.
    /// **Source**: `RDD.countByKey`.
    ///
    /// ```text
    /// in: _1  _2     out: _1  count
    /// "a"     0.5    "a"      2
    /// "b"     1.5    "b"      1
    /// "a"     2.5
    /// ```
    ///
    /// ```
    /// # millpond::check_job!(|ctx: &mut millpond::StreamingContext| {
    /// ctx.source::<(String, f64)>("readings").count_by_key().sink("readings-per-sensor");
    /// # });
    /// ```
    pub fn count_by_key(&self) -> DStream<(K, i64)> {
        let names = joined_names(&self.names[..K::WIDTH], vec!["count".to_owned()]);
        self.merged::<K, i64, _, _>(Over::Batch, Merging::sum::<i64>(), names, |(key, _)| (key, 1))
    }

    /// The sum of each key's values in the batch.
    ///
    /// **Shape**: as before, one row per key. Values are i64, f64 or tuples of them.
    /// **Errors**: an i64 sum that overflows fails the job.
    /// **Cost**: summed in the stage first.
    /// **Source**: `PairDStreamFunctions.reduceByKey(_ + _)`.
    ///
    /// ```text
    /// in: _1  _2     out: _1  _2
    /// "a"     0.5    "a"      3.0
    /// "b"     1.5    "b"      1.5
    /// "a"     2.5
    /// ```
    ///
    /// ```
    /// # millpond::check_job!(|ctx: &mut millpond::StreamingContext| {
    /// ctx.source::<(String, f64)>("amounts").sum_by_key().sink("totals");
    /// # });
    /// ```
    pub fn sum_by_key(&self) -> DStream<(K, V)>
    where
        V: Sum,
    {
        self.merged::<K, V, _, _>(Over::Batch, Merging::sum::<V>(), self.names.clone(), |pair| pair)
    }

    /// The smallest of each key's values in the batch: text by its bytes, NaN last, enums in the order of their variants.
    ///
    /// **Shape**: as before, one row per key.
    /// **Cost**: merged by the host; enums by a call of the component, as in `reduce_by_key`.
    /// **Source**: `PairDStreamFunctions.reduceByKey(min)`.
    ///
    /// ```text
    /// in: _1  _2     out: _1  _2
    /// "a"     2.5    "a"      0.5
    /// "b"     1.5    "b"      1.5
    /// "a"     0.5
    /// ```
    ///
    /// ```
    /// # millpond::check_job!(|ctx: &mut millpond::StreamingContext| {
    /// ctx.source::<(String, f64)>("readings").min_by_key().sink("lowest");
    /// # });
    /// ```
    pub fn min_by_key(&self) -> DStream<(K, V)>
    where
        V: Comparable,
    {
        self.merged::<K, V, _, _>(Over::Batch, Merging::extreme::<V>(Extreme::Min), self.names.clone(), |pair| pair)
    }

    /// The largest of each key's values in the batch: text by its bytes, NaN last, enums in the order of their variants.
    ///
    /// **Shape**: as before, one row per key.
    /// **Cost**: merged by the host; enums by a call of the component, as in `reduce_by_key`.
    /// **Source**: `PairDStreamFunctions.reduceByKey(max)`.
    ///
    /// ```text
    /// in: _1  _2        out: _1  _2
    /// "ann"   10:05     "ann"    10:20
    /// "bob"   10:10     "bob"    10:10
    /// "ann"   10:20
    /// ```
    ///
    /// ```
    /// # millpond::check_job!(|ctx: &mut millpond::StreamingContext| {
    /// ctx.source::<(String, millpond::Timestamp)>("visits").max_by_key().sink("last-visit");
    /// # });
    /// ```
    pub fn max_by_key(&self) -> DStream<(K, V)>
    where
        V: Comparable,
    {
        self.merged::<K, V, _, _>(Over::Batch, Merging::extreme::<V>(Extreme::Max), self.names.clone(), |pair| pair)
    }

    /// The mean of each key's values in the batch.
    ///
    /// **Shape**: the key's columns, then `mean`; one row per key.
    /// **Errors**: i64 values are summed exactly; a sum that overflows fails the job.
    /// **Cost**: sum and count are merged by the host; the division is one more operator of the stage that follows.
    /// **Source**: `PairDStreamFunctions.combineByKey` (sum, count), then `mapValues`.
    ///
    /// ```text
    /// in: _1  _2     out: _1  mean
    /// "a"     0.5    "a"      1.5
    /// "b"     1.5    "b"      1.5
    /// "a"     2.5
    /// ```
    ///
    /// ```
    /// # millpond::check_job!(|ctx: &mut millpond::StreamingContext| {
    /// ctx.source::<(String, f64)>("readings").mean_by_key().sink("means");
    /// # });
    /// ```
    pub fn mean_by_key(&self) -> DStream<(K, f64)>
    where
        V: Number,
    {
        let names = joined_names(&self.names[..K::WIDTH], vec!["sum".to_owned(), "count".to_owned()]);
        let merging = Merging::sum::<(V, i64)>();
        let sums: DStream<(K, (V, i64))> =
            self.merged::<K, (V, i64), _, _>(Over::Batch, merging, names, |(key, value)| (key, (value, 1)));
        let names = joined_names(&self.names[..K::WIDTH], vec!["mean".to_owned()]);
        let mut means =
            sums.extend::<(K, f64)>("mean", names, |(key, (sum, count)), _, out| out((key, V::mean(sum, count))));
        means.latest = sums.latest;
        means
    }
}
