//! The values of each key as lists, of one stream or of two.
//!
//! The host makes the lists; no closure is called. Tests: `tests.rs`, and `two_streams.rs` of `millpond-test`.

use std::time::Duration;

use super::{DStream, HostNode, joined_names};
use crate::bindings::millpond::plugin::dataflow::Operator;
use crate::plan::{Code, NodeName, renamed};
use crate::row::{self, Element, Key};

impl<K: Key, V: Element> DStream<(K, V)> {
    /// All values of each key in the batch.
    ///
    /// ```text
    /// this            grouped
    /// a  1            a  [1, 2]
    /// b  3            b  [3]
    /// a  2
    /// ```
    ///
    /// **Shape**: the key's columns, then one list column (`values` if the values have several columns); one row per key, null keys
    /// included.
    /// **Order**: none between keys; values keep the order of the partition that they came from.
    /// **Cost**: every row is shuffled, and all values of a key must fit into a call that reads them: to merge values use
    /// [`reduce_by_key`](Self::reduce_by_key), which shuffles one row per key and partition.
    /// **Source**: `PairDStreamFunctions.groupByKey`.
    ///
    /// ```
    /// # millpond::check_job!(|ctx: &mut millpond::StreamingContext| {
    /// ctx.source::<(String, f64)>("readings")
    ///     .group_by_key()
    ///     .map_values::<(f64, i64)>(|values| (values.iter().sum(), values.len() as i64))
    ///     .sink("sums-and-counts");
    /// # });
    /// ```
    pub fn group_by_key(&self) -> DStream<(K, Vec<V>)> {
        let names = joined_names(&self.names[..K::WIDTH], self.list_name("values"));
        self.then(HostNode {
            name: NodeName::Numbered("group"),
            operator: Operator::Group,
            inputs: vec![self.node(self.key_columns())],
            schema: renamed(row::fields::<(K, Vec<V>)>(""), &names),
            key_columns: K::WIDTH,
            code: Code::None,
        })
    }

    /// All values of each key in the window, at every slide.
    ///
    /// **Shape**: as [`group_by_key`](Self::group_by_key); one row per key that has rows in the window.
    /// **Order**: values of a partition keep their order, those of older batches first.
    /// **State and effects**: keeps the window's rows, under the node's name `group_by_key_and_window`. `named` names the node that
    /// groups; for a name of the window's own use `window(..).named(..).group_by_key()`.
    /// **Cost**: groups all rows of the window anew at every slide; `reduce_by_key_and_window` keeps totals.
    /// **Source**: `PairDStreamFunctions.groupByKeyAndWindow`.
    ///
    /// ```text
    /// the window is 20 s and slides by 10 s:
    ///
    /// batch    in                   out: _1  _2
    /// 10 s     "a" 1.0, "b" 2.0     "a" [1.0], "b" [2.0]
    /// 20 s     "a" 3.0              "a" [1.0, 3.0], "b" [2.0]
    /// 30 s     no rows              "a" [3.0]
    /// ```
    ///
    /// ```
    /// # use std::time::Duration;
    /// # millpond::check_job!(|ctx: &mut millpond::StreamingContext| {
    /// let (length, slide) = (Duration::from_secs(60), Duration::from_secs(10));
    /// ctx.source::<(String, f64)>("readings").group_by_key_and_window(length, slide).sink("recent");
    /// # });
    /// ```
    pub fn group_by_key_and_window(&self, length: Duration, slide: Duration) -> DStream<(K, Vec<V>)> {
        self.windowed("group_by_key_and_window", length, slide).group_by_key()
    }

    /// All values of each key in either stream, batch by batch.
    ///
    /// ```text
    /// this            other            grouped
    /// a  1            a  "x"           a  [1, 2]  ["x"]
    /// a  2            c  "z"           b  [3]     []
    /// b  3                             c  []      ["z"]
    /// ```
    ///
    /// **Shape**: the key's columns, then a list column for each stream (`left` and `right` if the values have several columns), empty
    /// where the stream has no row of the key; one row per key. Null keys of the two streams do not meet: as in a join, a key with
    /// a null in it equals none of the other stream.
    /// **Order**, **Cost**: as [`group_by_key`](Self::group_by_key).
    /// **Errors**: the plan fails if one stream slides otherwise than the other: give both windows the same slide.
    /// **Source**: `PairDStreamFunctions.cogroup`.
    ///
    /// ```
    /// # millpond::check_job!(|ctx: &mut millpond::StreamingContext| {
    /// let orders = ctx.source::<(i64, f64)>("orders");
    /// let payments = ctx.source::<(i64, f64)>("payments");
    /// orders
    ///     .cogroup(&payments)
    ///     .map_values::<f64>(|(ordered, paid)| ordered.iter().sum::<f64>() - paid.iter().sum::<f64>())
    ///     .sink("open-amounts");
    /// # });
    /// ```
    #[expect(clippy::type_complexity, reason = "it is what comes out, and a name for it would say less")]
    pub fn cogroup<W: Element>(&self, other: &DStream<(K, W)>) -> DStream<(K, (Vec<V>, Vec<W>))> {
        let lists = [self.list_name("left"), other.list_name("right")].concat();
        let names = joined_names(&self.names[..K::WIDTH], lists);
        self.then(HostNode {
            name: NodeName::Numbered("group"),
            operator: Operator::Group,
            inputs: vec![self.node(self.key_columns()), other.node(other.key_columns())],
            schema: renamed(row::fields::<(K, (Vec<V>, Vec<W>))>(""), &names),
            key_columns: K::WIDTH,
            code: Code::None,
        })
    }

    fn list_name(&self, several: &str) -> Vec<String> {
        if V::WIDTH == 1 { self.names[K::WIDTH..].to_vec() } else { vec![several.to_owned()] }
    }
}
