//! Two streams, batch by batch: joins by key, and rows of one that are or are not in the other.
//!
//! The host brings rows of equal keys together and puts their columns side by side; no closure is called. Over windows, join
//! what `window` gives: `a.window(..).join(&b.window(..))`. Tests: `tests.rs`, and `two_streams.rs` of `millpond-test`.

use super::keyed::Over;
use super::{DStream, HostNode, joined_names};
use crate::bindings::millpond::plugin::dataflow::{Join, JoinKind, Operator};
use crate::plan::{Code, NodeName, renamed};
use crate::row::{self, Key, Row};

impl<K: Key, V: Row> DStream<(K, V)> {
    /// Every pair of rows of the two streams that have the same key.
    ///
    /// ```text
    /// this            other            joined
    /// a  1            a  "x"           a  1  "x"
    /// a  2            a  "y"           a  1  "y"
    /// b  3            c  "z"           a  2  "x"
    ///                                  a  2  "y"
    /// ```
    ///
    /// **Shape**: the key's columns, this stream's values, the other's values. As many rows as there are pairs (n x m for a key); a
    /// key with a null in it pairs with none.
    /// **Order**: none between keys; the rows of a key come in the order of this stream's, then of the other's.
    /// **Errors**: the plan fails if one stream slides otherwise than the other: give both windows the same slide. A batch of more than
    /// 2 GiB fails with MP0805, before it is made.
    /// **Cost**: both streams are shuffled by key, unless they lie right already. Then no call into the plugin: the host looks up each
    /// row once and copies it once per pair.
    /// **Source**: `PairDStreamFunctions.join`.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # millpond::check_job!(|ctx: &mut millpond::StreamingContext| {
    /// let (minute, slide) = (Duration::from_secs(60), Duration::from_secs(10));
    /// let orders = ctx.source::<(i64, String)>("orders").window(minute, slide).named("orders of a minute");
    /// let payments = ctx.source::<(i64, f64)>("payments").window(minute, slide).named("payments of a minute");
    /// orders.join(&payments).map::<(String, f64)>(|(_, (item, paid))| (item, paid)).sink("paid");
    /// # });
    /// ```
    pub fn join<W: Row>(&self, other: &DStream<(K, W)>) -> DStream<(K, (V, W))> {
        self.joined(other, JoinKind::Inner, self.value_names(), other.value_names())
    }

    /// As [`join`](Self::join), and the rows of this stream whose key the other has not.
    ///
    /// ```text
    /// this            other            joined
    /// a  1            a  "x"           a  1  Some("x")
    /// b  3            c  "z"           b  3  None
    /// ```
    ///
    /// **Shape**: the key's columns, this stream's values, the other's values as one nullable column: the same one, or a struct `right`
    /// if they are several columns. Rows with a null in their key come out, once each.
    /// **Order**, **Errors**, **Cost**: as `join`.
    /// **Source**: `PairDStreamFunctions.leftOuterJoin`.
    ///
    /// ```
    /// # millpond::check_job!(|ctx: &mut millpond::StreamingContext| {
    /// let orders = ctx.source::<(i64, String)>("orders");
    /// let payments = ctx.source::<(i64, f64)>("payments");
    /// orders.left_outer_join(&payments).filter(|(_, (_, paid))| paid.is_none()).sink("unpaid");
    /// # });
    /// ```
    pub fn left_outer_join<W: Row>(&self, other: &DStream<(K, W)>) -> DStream<(K, (V, Option<W>))>
    where
        Option<W>: Row,
    {
        self.joined(other, JoinKind::LeftOuter, self.value_names(), other.optional_names("right"))
    }

    /// As [`join`](Self::join), and the rows of the other stream whose key this one has not.
    ///
    /// ```text
    /// this            other            joined
    /// a  1            a  "x"           a  Some(1)  "x"
    /// b  3            c  "z"           c  None     "z"
    /// ```
    ///
    /// **Shape**: the key's columns, this stream's values as one nullable column (a struct `left` if they are several columns), the
    /// other's values. Rows with a null in their key come out, once each.
    /// **Order**, **Errors**, **Cost**: as `join`.
    /// **Source**: `PairDStreamFunctions.rightOuterJoin`.
    ///
    /// ```
    /// # millpond::check_job!(|ctx: &mut millpond::StreamingContext| {
    /// let names = ctx.source::<(i64, String)>("names");
    /// let visits = ctx.source::<(i64, millpond::Timestamp)>("visits");
    /// names.right_outer_join(&visits).sink("visits-with-names");
    /// # });
    /// ```
    pub fn right_outer_join<W: Row>(&self, other: &DStream<(K, W)>) -> DStream<(K, (Option<V>, W))>
    where
        Option<V>: Row,
    {
        self.joined(other, JoinKind::RightOuter, self.optional_names("left"), other.value_names())
    }

    /// As [`join`](Self::join), and the rows of either stream whose key the other has not.
    ///
    /// ```text
    /// this            other            joined
    /// a  1            a  "x"           a  Some(1)  Some("x")
    /// b  3            c  "z"           b  Some(3)  None
    ///                                  c  None     Some("z")
    /// ```
    ///
    /// **Shape**: the key's columns, then the values of each stream as one nullable column (structs `left` and `right` if they are
    /// several columns). Rows with a null in their key come out, once each.
    /// **Order**, **Errors**, **Cost**: as `join`.
    /// **Source**: `PairDStreamFunctions.fullOuterJoin`.
    ///
    /// ```
    /// # millpond::check_job!(|ctx: &mut millpond::StreamingContext| {
    /// let before = ctx.source::<(String, i64)>("before");
    /// let after = ctx.source::<(String, i64)>("after");
    /// before.full_outer_join(&after).filter(|(_, (before, after))| before != after).sink("differences");
    /// # });
    /// ```
    #[expect(clippy::type_complexity, reason = "it is what comes out, and a name for it would say less")]
    pub fn full_outer_join<W: Row>(&self, other: &DStream<(K, W)>) -> DStream<(K, (Option<V>, Option<W>))>
    where
        Option<V>: Row,
        Option<W>: Row,
    {
        self.joined(other, JoinKind::FullOuter, self.optional_names("left"), other.optional_names("right"))
    }

    /// The rows whose key the other stream has not.
    ///
    /// ```text
    /// this            other            left
    /// a  1            a  "x"           b  3
    /// b  3            c  "z"           b  3
    /// b  3
    /// ```
    ///
    /// **Shape**: as before. A key with a null in it is in no other stream.
    /// **Order**: none between keys; the rows of a key keep theirs.
    /// **Errors**: as [`join`](Self::join).
    /// **Cost**: both streams are shuffled by key, unless they lie right already; no call into the plugin.
    /// **Source**: `PairRDDFunctions.subtractByKey`.
    ///
    /// ```
    /// # millpond::check_job!(|ctx: &mut millpond::StreamingContext| {
    /// let visits = ctx.source::<(String, i64)>("visits");
    /// let robots = ctx.source::<(String, bool)>("robots");
    /// visits.subtract_by_key(&robots).sink("people");
    /// # });
    /// ```
    pub fn subtract_by_key<W: Row>(&self, other: &DStream<(K, W)>) -> DStream<(K, V)> {
        let join = Join { kind: JoinKind::LeftAnti, on: K::WIDTH as u32, null_equals_null: false };
        self.compared(other, join)
    }

    fn value_names(&self) -> Vec<String> {
        self.names[K::WIDTH..].to_vec()
    }

    /// Names of the values as one column.
    fn optional_names(&self, side: &str) -> Vec<String> {
        if V::WIDTH == 1 { self.value_names() } else { vec![side.to_owned()] }
    }

    fn joined<W: Row, L: Row, R: Row>(
        &self,
        other: &DStream<(K, W)>,
        kind: JoinKind,
        left: Vec<String>,
        right: Vec<String>,
    ) -> DStream<(K, (L, R))> {
        let names = joined_names(&self.names[..K::WIDTH], [left, right].concat());
        let join = Join { kind, on: K::WIDTH as u32, null_equals_null: false };
        self.then(HostNode {
            name: NodeName::Numbered("join"),
            operator: Operator::Join(join),
            inputs: vec![self.node(self.key_columns()), other.node(other.key_columns())],
            schema: renamed(row::fields::<(K, (L, R))>(""), &names),
            key_columns: K::WIDTH,
            code: Code::None,
        })
    }
}

impl<T: Key> DStream<T> {
    /// The rows that are not in the other stream.
    ///
    /// ```text
    /// this    other    left
    /// a       a        b
    /// b       c        b
    /// b
    /// ```
    ///
    /// **Shape**: as before. Rows that are there several times stay so; a null equals a null.
    /// **Order**: none between different rows.
    /// **Errors**: as [`join`](DStream::join).
    /// **Cost**: both streams are shuffled by whole rows; no call into the plugin.
    /// **Source**: `RDD.subtract`, inside `DStream.transformWith`.
    ///
    /// ```
    /// # millpond::check_job!(|ctx: &mut millpond::StreamingContext| {
    /// ctx.text("words").subtract(&ctx.text("stop-words")).sink("words-that-matter");
    /// # });
    /// ```
    pub fn subtract(&self, other: &DStream<T>) -> DStream<T> {
        self.compared(other, Join { kind: JoinKind::LeftAnti, on: T::WIDTH as u32, null_equals_null: true })
    }

    /// The rows that are in both streams, each once.
    ///
    /// ```text
    /// this    other    both
    /// a       b        b
    /// b       b        d
    /// b       d
    /// d
    /// ```
    ///
    /// **Shape**: as before; a null equals a null.
    /// **Order**: none.
    /// **Errors**: as [`join`](DStream::join).
    /// **Cost**: this stream's rows are counted in their stage, so that only different ones are shuffled; the other's all are.
    /// **Source**: `RDD.intersection`, inside `DStream.transformWith`.
    ///
    /// ```
    /// # millpond::check_job!(|ctx: &mut millpond::StreamingContext| {
    /// ctx.text("visitors").intersect(&ctx.text("customers")).sink("visiting-customers");
    /// # });
    /// ```
    pub fn intersect(&self, other: &DStream<T>) -> DStream<T> {
        let join = Join { kind: JoinKind::LeftSemi, on: T::WIDTH as u32, null_equals_null: true };
        let found = self.counted(Over::Batch).compared(other, join);
        let mut rows = found.extend::<T>("intersect", self.names.clone(), |(row, _), _, out| out(row));
        rows.latest = found.latest;
        rows
    }
}

impl<T: Row> DStream<T> {
    /// This stream's rows that have, or have not, equals in the other.
    fn compared<U: Row>(&self, other: &DStream<U>, join: Join) -> DStream<T> {
        let inputs = vec![self.node(self.key_columns()), other.node(other.key_columns())];
        self.then(HostNode {
            name: NodeName::Numbered("join"),
            operator: Operator::Join(join),
            inputs,
            schema: self.schema(),
            key_columns: self.key_columns(),
            code: Code::None,
        })
    }
}
