//! Sliding windows over processing time.
//!
//! A window covers the batches in `(t - length, t]` and comes at every multiple of the slide from the job's start; the first are short.
//! The state of a window is kept under its node's name.

use std::sync::Arc;
use std::time::Duration;

use super::keyed::{Merging, Over};
use super::{DStream, HostNode};
use crate::bindings::millpond::plugin::dataflow::{ColumnMerge, Merge, Operator, Window};
use crate::bindings::millpond::plugin::types::{Batch, DataType, Failure};
use crate::chain::Input;
use crate::combine::Extreme;
use crate::failure::bad_input;
use crate::plan::{Code, NodeName, SubtractFn};
use crate::row::{self, Comparable, Key, Row, Sum};

impl<T: Row> DStream<T> {
    /// All rows of a sliding window, at every slide.
    ///
    /// **Shape**: as before.
    /// **Units**: length and slide are multiples of the job's batch interval (and of the slide of a window before this one).
    /// **Order**: oldest batch first.
    /// **State and effects**: keeps the window's rows, under the node's name `window` unless `named`.
    /// **Cost**: every row is handed on once per slide; to merge rows use the `..._and_window` operators, which keep totals.
    /// **Source**: `DStream.window`.
    ///
    /// ```text
    /// batch    in          out
    /// 10 s     "a", "b"    "a", "b"
    /// 20 s     "c"         "a", "b", "c"
    /// 30 s     no rows     "a", "b", "c"
    /// 40 s     "d"         "c", "d"
    /// ```
    ///
    /// ```
    /// # use std::time::Duration;
    /// # millpond::check_job!(|ctx: &mut millpond::StreamingContext| {
    /// ctx.text("lines").window(Duration::from_secs(30), Duration::from_secs(10)).sink("recent");
    /// # });
    /// ```
    pub fn window(&self, length: Duration, slide: Duration) -> DStream<T> {
        self.windowed("window", length, slide)
    }

    /// The rows of a window that an operator keeps under its name.
    pub(super) fn windowed(&self, operator: &'static str, length: Duration, slide: Duration) -> DStream<T> {
        let window = self.window_of(operator, length, slide);
        let key_columns = self.key_columns();
        self.then(HostNode {
            name: NodeName::Stateful(operator),
            operator: Operator::Window(window),
            inputs: vec![self.node(key_columns)],
            schema: self.schema(),
            key_columns,
            code: Code::None,
        })
    }

    /// One row a slide: how many rows the window has.
    ///
    /// **Shape**: one column, `count`; exactly one row, 0 for an empty window.
    /// **State and effects**: keeps a count per batch, under the node's name `count_by_window` unless `named`.
    /// **Cost**: counted in the stage; a slide adds the counts that came and takes off those that left.
    /// **Source**: `DStream.countByWindow`.
    ///
    /// ```text
    /// the window is 30 s and slides by 10 s:
    ///
    /// batch    in          out: count
    /// 10 s     "a", "b"    2
    /// 20 s     "c"         3
    /// 30 s     no rows     3
    /// 40 s     no rows     1
    /// 50 s     no rows     0
    /// ```
    ///
    /// ```
    /// # use std::time::Duration;
    /// # millpond::check_job!(|ctx: &mut millpond::StreamingContext| {
    /// ctx.text("lines").count_by_window(Duration::from_secs(60), Duration::from_secs(10)).sink("rate");
    /// # });
    /// ```
    pub fn count_by_window(&self, length: Duration, slide: Duration) -> DStream<i64> {
        let over = self.over("count_by_window", length, slide, true);
        self.merged::<(), i64, _, _>(over, Merging::sum::<i64>(), vec!["count".to_owned()], |_| ((), 1))
    }

    /// One row a slide: all rows of the window merged.
    ///
    /// **Shape**: as before; no row for an empty window.
    /// **Order**: as [`reduce`](Self::reduce).
    /// **State and effects**: keeps a row per batch, under the node's name `reduce_by_window` unless `named`.
    /// **Cost**: merged in the stage first. What a batch came to is merged when it comes and once more at most a window's length later,
    /// however many batches the window has.
    /// **Source**: `DStream.reduceByWindow`.
    ///
    /// ```text
    /// the window is 3 s and slides by 1 s:
    ///
    /// batch    in          out
    /// 1 s      2.0, 5.0    5.0
    /// 2 s      3.0         5.0
    /// 3 s      no rows     5.0
    /// 4 s      no rows     3.0
    /// 5 s      no rows     no row
    /// ```
    ///
    /// ```
    /// # use std::time::Duration;
    /// # millpond::check_job!(|ctx: &mut millpond::StreamingContext| {
    /// let (minute, second) = (Duration::from_secs(60), Duration::from_secs(1));
    /// ctx.source::<f64>("readings").reduce_by_window(|a, b| a.max(b), minute, second).sink("peak");
    /// # });
    /// ```
    pub fn reduce_by_window(
        &self,
        merge: impl Fn(T, T::Ref<'_>) -> T + Clone + Send + Sync + 'static,
        length: Duration,
        slide: Duration,
    ) -> DStream<T> {
        let over = self.over("reduce_by_window", length, slide, false);
        self.merged::<(), T, _, _>(over, Merging::custom::<T>(merge), self.names.clone(), |row| ((), row))
    }

    /// As [`reduce_by_window`](Self::reduce_by_window), kept incrementally: `inverse` takes a row that leaves the window off the total.
    ///
    /// **Shape**: the same rows as without the inverse: no row for an empty window.
    /// **Order**: `inverse(merge(a, b), b)` must be `a`.
    /// **State and effects**: keeps a row per batch, under the node's name `reduce_by_window` unless `named`.
    /// **Cost**: what came and what left, at every slide. Rows with an f64 in them are merged as without the inverse: taking off what
    /// was added leaves rounding errors behind, and the inverse never gives another answer.
    /// **Source**: `DStream.reduceByWindow(reduceFunc, invReduceFunc)`, which puts out what the inverse left for an empty window.
    ///
    /// ```text
    /// the window is 2 s and slides by 1 s:
    ///
    /// batch    in         out       what is done
    /// 1 s      2, 5       7
    /// 2 s      3          10        + 3
    /// 3 s      no rows    3         - 7
    /// 4 s      no rows    no row    - 3: no batch of the window has rows
    /// ```
    ///
    /// ```
    /// # use std::time::Duration;
    /// # millpond::check_job!(|ctx: &mut millpond::StreamingContext| {
    /// let (hour, second) = (Duration::from_secs(3600), Duration::from_secs(1));
    /// ctx.source::<i64>("bytes")
    ///     .reduce_by_window_with_inverse(|a, b| a + b, |a, b| a - b, hour, second)
    ///     .sink("bytes-per-hour");
    /// # });
    /// ```
    pub fn reduce_by_window_with_inverse(
        &self,
        merge: impl Fn(T, T::Ref<'_>) -> T + Clone + Send + Sync + 'static,
        inverse: impl Fn(T, T::Ref<'_>) -> T + Send + Sync + 'static,
        length: Duration,
        slide: Duration,
    ) -> DStream<T> {
        let over = self.over("reduce_by_window", length, slide, !has_floats::<T>());
        let merging = with_inverse::<T, _>(Merging::custom::<T>(merge), inverse);
        self.merged::<(), T, _, _>(over, merging, self.names.clone(), |row| ((), row))
    }

    fn over(&self, operator: &'static str, length: Duration, slide: Duration, invertible: bool) -> Over {
        Over::Window { operator, window: self.window_of(operator, length, slide), invertible }
    }

    /// The window in milliseconds; notes an error if it is none.
    fn window_of(&self, operator: &str, length: Duration, slide: Duration) -> Window {
        let ms = |what: &str, duration: Duration| {
            let ms = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
            if ms == 0 || duration != Duration::from_millis(ms) {
                self.refuse(format!(
                    "{operator}: the {what} is {duration:?}: it must be one or more whole milliseconds, and a multiple of the batch interval"
                ));
            }
            ms
        };
        Window { length_ms: ms("window's length", length), slide_ms: ms("slide", slide) }
    }
}

impl<T: Key> DStream<T> {
    /// How often each row occurs in the window, at every slide.
    ///
    /// **Shape**: the row's columns, then `count`; one row per distinct row in the window.
    /// **State and effects**: keeps counts per batch and in total, under the node's name `count_by_value_and_window` unless
    /// `named`. Batches that leave the window are taken off the total.
    /// **Cost**: counted in the stage; a slide adds the counts that came and takes off those that left. Every row of the window
    /// comes out, changed or not.
    /// **Source**: `DStream.countByValueAndWindow`.
    ///
    /// ```text
    /// the window is 2 s and slides by 1 s:
    ///
    /// batch    in          out: value  count
    /// 1 s      "a", "b"    "a" 1, "b" 1
    /// 2 s      "a"         "a" 2, "b" 1
    /// 3 s      no rows     "a" 1
    /// ```
    ///
    /// ```
    /// # use std::time::Duration;
    /// # millpond::check_job!(|ctx: &mut millpond::StreamingContext| {
    /// let (length, slide) = (Duration::from_secs(5), Duration::from_secs(1));
    /// ctx.text("words").count_by_value_and_window(length, slide).sink("counts");
    /// # });
    /// ```
    pub fn count_by_value_and_window(&self, length: Duration, slide: Duration) -> DStream<(T, i64)> {
        let over = self.over("count_by_value_and_window", length, slide, true);
        self.counted(over)
    }
}

impl<K: Key, V: Row> DStream<(K, V)> {
    /// Merges the values of each key in the window, at every slide.
    ///
    /// **Shape**: as before; one row per key that has rows in the window.
    /// **Order**: as [`reduce_by_key`](Self::reduce_by_key).
    /// **State and effects**: keeps a row per key and batch, under the node's name `reduce_by_key_and_window` unless `named`.
    /// **Cost**: merged in the stage first. What a key came to in a batch is merged when it comes and once more at most a window's length
    /// later, however many batches the window has: once a window's length, one slide does so for all of the window. With an inverse
    /// none does.
    /// **Source**: `PairDStreamFunctions.reduceByKeyAndWindow`.
    ///
    /// ```text
    /// the window is 20 s and slides by 10 s:
    ///
    /// batch    in                   out: _1  _2
    /// 10 s     "a" 2.0, "b" 7.0     "a" 2.0, "b" 7.0
    /// 20 s     "a" 5.0              "a" 5.0, "b" 7.0
    /// 30 s     "a" 1.0              "a" 5.0
    /// ```
    ///
    /// ```
    /// # use std::time::Duration;
    /// # millpond::check_job!(|ctx: &mut millpond::StreamingContext| {
    /// let (length, slide) = (Duration::from_secs(60), Duration::from_secs(10));
    /// ctx.source::<(String, f64)>("readings")
    ///     .reduce_by_key_and_window(|a, b| a.max(b), length, slide)
    ///     .sink("peaks");
    /// # });
    /// ```
    pub fn reduce_by_key_and_window(
        &self,
        merge: impl Fn(V, V::Ref<'_>) -> V + Clone + Send + Sync + 'static,
        length: Duration,
        slide: Duration,
    ) -> DStream<(K, V)> {
        let over = self.over("reduce_by_key_and_window", length, slide, false);
        self.merged::<K, V, _, _>(over, Merging::custom::<V>(merge), self.names.clone(), |pair| pair)
    }

    /// As [`reduce_by_key_and_window`](Self::reduce_by_key_and_window), kept incrementally: `inverse` takes a value that
    /// leaves the window off the total.
    ///
    /// **Shape**: the same rows as without the inverse: a key without rows in the window does not come out, unless
    /// [`keep_empty_keys`](Self::keep_empty_keys) follows.
    /// **Order**: `inverse(merge(a, b), b)` must be `a`.
    /// **Cost**: what came and what left, at every slide. Values with an f64 in them are merged as without the inverse: taking off
    /// what was added leaves rounding errors behind, and the inverse never gives another answer.
    /// **Source**: `PairDStreamFunctions.reduceByKeyAndWindow(f, invFunc)`.
    ///
    /// ```text
    /// the window is 20 s and slides by 10 s:
    ///
    /// batch    in          out: _1  _2    what is done
    /// 10 s     "a", "b"    "a" 1, "b" 1
    /// 20 s     "a"         "a" 2, "b" 1   + "a" 1
    /// 30 s     "a"         "a" 2          + "a" 1, - "a" 1, - "b" 1: no pane holds "b"
    /// ```
    ///
    /// ```
    /// # use std::time::Duration;
    /// # millpond::check_job!(|ctx: &mut millpond::StreamingContext| {
    /// let (length, slide) = (Duration::from_secs(60), Duration::from_secs(10));
    /// ctx.text("plays")
    ///     .key_by::<String>(|video| video)
    ///     .map_values::<i64>(|_| 1)
    ///     .reduce_by_key_and_window_with_inverse(|a, b| a + b, |a, b| a - b, length, slide)
    ///     .sink("plays");
    /// # });
    /// ```
    pub fn reduce_by_key_and_window_with_inverse(
        &self,
        merge: impl Fn(V, V::Ref<'_>) -> V + Clone + Send + Sync + 'static,
        inverse: impl Fn(V, V::Ref<'_>) -> V + Send + Sync + 'static,
        length: Duration,
        slide: Duration,
    ) -> DStream<(K, V)> {
        let over = self.over("reduce_by_key_and_window", length, slide, !has_floats::<V>());
        let merging = with_inverse::<V, _>(Merging::custom::<V>(merge), inverse);
        self.merged::<K, V, _, _>(over, merging, self.names.clone(), |pair| pair)
    }

    /// As [`reduce_by_key_and_window_with_inverse`](Self::reduce_by_key_and_window_with_inverse); only the rows for which
    /// `filter` is true come out.
    ///
    /// **State and effects**: a row that the filter holds back keeps its total: it comes out again when the filter lets it.
    /// **Cost**: as the other one; then every key of the window crosses into the component at every slide, for the filter.
    /// **Source**: `PairDStreamFunctions.reduceByKeyAndWindow(f, invFunc, filterFunc)`.
    ///
    /// ```text
    /// the window is 20 s and slides by 10 s:
    ///
    /// batch    in               out: _1  _2
    /// 10 s     "a" 60, "b" 5    no row
    /// 20 s     "a" 50           "a" 110
    /// 30 s     "a" 10           no row: "a" 60
    /// ```
    ///
    /// ```
    /// # use std::time::Duration;
    /// # millpond::check_job!(|ctx: &mut millpond::StreamingContext| {
    /// let (length, slide) = (Duration::from_secs(60), Duration::from_secs(10));
    /// ctx.source::<(String, i64)>("plays")
    ///     .reduce_by_key_and_window_with_inverse_and_filter(
    ///         |a, b| a + b,
    ///         |a, b| a - b,
    ///         length,
    ///         slide,
    ///         |(_, plays)| plays >= 100,
    ///     )
    ///     .sink("popular");
    /// # });
    /// ```
    pub fn reduce_by_key_and_window_with_inverse_and_filter(
        &self,
        merge: impl Fn(V, V::Ref<'_>) -> V + Clone + Send + Sync + 'static,
        inverse: impl Fn(V, V::Ref<'_>) -> V + Send + Sync + 'static,
        length: Duration,
        slide: Duration,
        filter: impl Fn((K::Ref<'_>, V::Ref<'_>)) -> bool + Send + Sync + 'static,
    ) -> DStream<(K, V)> {
        let totals = self.reduce_by_key_and_window_with_inverse(merge, inverse, length, slide);
        let mut filtered = totals.filter(filter);
        filtered.latest = totals.latest;
        filtered
    }

    /// Right after an operator with an inverse: keys without rows in the window come out too, with what the inverse left,
    /// as in Spark.
    ///
    /// **State and effects**: such keys are kept for ever.
    /// **Cost**: every key there ever was lies in memory and comes out at every slide; totals that changed are written with the commit.
    /// It changes the operator itself, so it comes before anything that uses the stream.
    ///
    /// **Errors**: the plan fails if the operator before has no inverse, if its values have an f64 in them (they are merged anew at
    /// every slide, so nothing is left of a key), or if another operator uses it already.
    ///
    /// ```text
    /// the window is 2 s and slides by 1 s:
    ///
    /// batch    in      out: value  count
    /// 1 s      "a"     "a" 1
    /// 2 s      "b"     "a" 1, "b" 1
    /// 3 s      "b"     "a" 0, "b" 2
    /// ```
    ///
    /// ```
    /// # use std::time::Duration;
    /// # millpond::check_job!(|ctx: &mut millpond::StreamingContext| {
    /// let (length, slide) = (Duration::from_secs(60), Duration::from_secs(10));
    /// ctx.text("words").count_by_value_and_window(length, slide).keep_empty_keys().sink("counts");
    /// # });
    /// ```
    pub fn keep_empty_keys(&self) -> DStream<(K, V)> {
        let misplaced = "keep_empty_keys() goes right after a windowed operator with an inverse, such as reduce_by_key_and_window_with_inverse";
        self.change_latest("keep_empty_keys()", misplaced, |node| match &mut node.operator {
            _ if node.key_columns == 0 => {
                Err("keep_empty_keys(): what comes before merges all rows into one, so there are no keys to keep".to_owned())
            }
            Operator::ReduceWindow(reduce) if reduce.invertible => {
                reduce.keep_empty_keys = true;
                Ok(())
            }
            Operator::ReduceWindow(reduce) if has_floats::<V>() && subtracts(&reduce.merge, &node.code) => Err(
                "keep_empty_keys(): values with an f64 in them are merged as without the inverse, because taking off what was added leaves rounding errors behind: nothing is left of a key without rows; use whole numbers (cents, micros)".to_owned()
            ),
            _ => Err(misplaced.to_owned()),
        });
        self.clone()
    }

    /// The sum of each key's values in the window, at every slide.
    ///
    /// **Shape**: as before; one row per key that has rows in the window. Values are i64, f64 or tuples of them.
    /// **Errors**: an i64 sum that overflows fails the job.
    /// **State and effects**: under the node's name `sum_by_key_and_window` unless `named`.
    /// **Cost**: summed in the stage first. To i64 sums a slide adds what came, and takes off what left; f64 sums cost what
    /// [`reduce_by_key_and_window`](Self::reduce_by_key_and_window) does, because taking off what was added leaves rounding errors behind.
    /// **Source**: `PairDStreamFunctions.reduceByKeyAndWindow(_ + _, _ - _)`.
    ///
    /// ```text
    /// the window is 20 s and slides by 10 s:
    ///
    /// batch    in              out: _1  _2
    /// 10 s     "a" 2, "b" 7    "a" 2, "b" 7
    /// 20 s     "a" 5           "a" 7, "b" 7
    /// 30 s     no rows         "a" 5
    /// ```
    ///
    /// ```
    /// # use std::time::Duration;
    /// # millpond::check_job!(|ctx: &mut millpond::StreamingContext| {
    /// let (length, slide) = (Duration::from_secs(60), Duration::from_secs(10));
    /// ctx.source::<(String, i64)>("plays").sum_by_key_and_window(length, slide).sink("plays");
    /// # });
    /// ```
    pub fn sum_by_key_and_window(&self, length: Duration, slide: Duration) -> DStream<(K, V)>
    where
        V: Sum,
    {
        let over = self.over("sum_by_key_and_window", length, slide, V::EXACT);
        self.merged::<K, V, _, _>(over, Merging::sum::<V>(), self.names.clone(), |pair| pair)
    }

    /// The smallest of each key's values in the window, at every slide.
    ///
    /// **Shape**: as before; one row per key that has rows in the window.
    /// **State and effects**: under the node's name `min_by_key_and_window` unless `named`.
    /// **Cost**: as [`reduce_by_key_and_window`](Self::reduce_by_key_and_window), merged by the host; enums by calls of the component.
    /// **Source**: `PairDStreamFunctions.reduceByKeyAndWindow(min)`.
    ///
    /// ```text
    /// the window is 20 s and slides by 10 s:
    ///
    /// batch    in         out: _1  _2
    /// 10 s     "a" 2.0    "a" 2.0
    /// 20 s     "a" 5.0    "a" 2.0
    /// 30 s     no rows    "a" 5.0
    /// ```
    ///
    /// ```
    /// # use std::time::Duration;
    /// # millpond::check_job!(|ctx: &mut millpond::StreamingContext| {
    /// let (length, slide) = (Duration::from_secs(60), Duration::from_secs(10));
    /// ctx.source::<(String, f64)>("readings").min_by_key_and_window(length, slide).sink("lowest");
    /// # });
    /// ```
    pub fn min_by_key_and_window(&self, length: Duration, slide: Duration) -> DStream<(K, V)>
    where
        V: Comparable,
    {
        let over = self.over("min_by_key_and_window", length, slide, false);
        self.merged::<K, V, _, _>(over, Merging::extreme::<V>(Extreme::Min), self.names.clone(), |pair| pair)
    }

    /// The largest of each key's values in the window, at every slide.
    ///
    /// **Shape**: as before; one row per key that has rows in the window.
    /// **State and effects**: under the node's name `max_by_key_and_window` unless `named`.
    /// **Cost**: as [`min_by_key_and_window`](Self::min_by_key_and_window).
    /// **Source**: `PairDStreamFunctions.reduceByKeyAndWindow(max)`.
    ///
    /// ```text
    /// the window is 20 s and slides by 10 s:
    ///
    /// batch    in         out: _1  _2
    /// 10 s     "a" 5.0    "a" 5.0
    /// 20 s     "a" 2.0    "a" 5.0
    /// 30 s     no rows    "a" 2.0
    /// ```
    ///
    /// ```
    /// # use std::time::Duration;
    /// # millpond::check_job!(|ctx: &mut millpond::StreamingContext| {
    /// let (length, slide) = (Duration::from_secs(60), Duration::from_secs(10));
    /// ctx.source::<(String, f64)>("readings").max_by_key_and_window(length, slide).sink("peaks");
    /// # });
    /// ```
    pub fn max_by_key_and_window(&self, length: Duration, slide: Duration) -> DStream<(K, V)>
    where
        V: Comparable,
    {
        let over = self.over("max_by_key_and_window", length, slide, false);
        self.merged::<K, V, _, _>(over, Merging::extreme::<V>(Extreme::Max), self.names.clone(), |pair| pair)
    }
}

/// Whether sums of such values depend on what was added and taken off again.
fn has_floats<V: Row>() -> bool {
    row::fields::<V>("").iter().any(|field| matches!(field.data_type, DataType::Float32 | DataType::Float64))
}

/// Whether rows of such values could be taken off, if the values were whole numbers.
fn subtracts(merge: &Merge, code: &Code) -> bool {
    match merge {
        Merge::Columns(columns) => columns.iter().all(|column| *column == ColumnMerge::Sum),
        Merge::Custom => matches!(code, Code::Merge { subtract: Some(_), .. }),
    }
}

/// A merge by the component that can take off what leaves.
fn with_inverse<V: Row, A>(
    mut merging: Merging<A>,
    inverse: impl Fn(V, V::Ref<'_>) -> V + Send + Sync + 'static,
) -> Merging<A> {
    if let Code::Merge { subtract, .. } = &mut merging.code {
        *subtract = Some(subtract_code::<V>(inverse));
    }
    merging
}

/// The code of `subtract` calls, row by row.
fn subtract_code<V: Row>(inverse: impl Fn(V, V::Ref<'_>) -> V + Send + Sync + 'static) -> Arc<SubtractFn> {
    Arc::new(move |totals: Input<'_>, leaving: Input<'_>| -> Result<Batch, Failure> {
        let (rows, totals) = row::read_batch::<V>(totals.batch, totals.fields)?;
        let (leaving_rows, leaving) = row::read_batch::<V>(leaving.batch, leaving.fields)?;
        if rows != leaving_rows {
            return Err(bad_input(format!("{rows} totals, but {leaving_rows} rows that leave")));
        }
        let mut rest = V::Columns::default();
        for row in 0..rows {
            let left = inverse(V::from_ref(V::get(&totals, row)), V::get(&leaving, row));
            V::push(&mut rest, left.to_ref());
        }
        row::write_batch::<V>(rows, rest)
    })
}
