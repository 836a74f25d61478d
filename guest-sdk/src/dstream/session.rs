//! Session windows: rows of a key that follow one another closely, merged.
//!
//! Two rows of a key are of one session if they are at most one gap apart. A row's time is its batch's. A session comes out once, when it
//! is over; its state is kept under its node's name.

use std::time::Duration;

use super::keyed::Merging;
use super::{DStream, HostNode, MapFn, joined_names};
use crate::bindings::millpond::plugin::dataflow::{Merge, Operator, ReduceSession};
use crate::combine::Accumulate;
use crate::plan::{Code, NodeName, renamed};
use crate::row::{self, Element, Key, ListRef, Row, Sum, Timestamp};

/// A session: its value, the time of its first batch and that of its last one.
type Session<V> = (V, Timestamp, Timestamp);

impl<K: Key, V: Row> DStream<(K, V)> {
    /// Merges the values of each session of a key.
    ///
    /// **Shape**: the columns of key and value, then `start` and `end`, the times of the session's first and last batch; one row per
    /// session, once.
    /// **Units**: the gap is whole milliseconds, at least one. Rows exactly one gap apart are of one session.
    /// **Order**: as [`reduce_by_key`](Self::reduce_by_key).
    /// **State and effects**: a session comes out in the first batch whose time is more than the gap after `end`. Open
    /// sessions are kept under the node's name `reduce_by_key_and_session` unless `named`; the gap may be another one after a restart.
    /// **Cost**: the rows that come, and the sessions that end; open ones that nothing touches cost nothing.
    /// **Source**: Flink's `EventTimeSessionWindows` and `ProcessingTimeSessionWindows`, Bytewax's `SessionWindower`. In Spark
    /// Streaming, `mapWithState` with a timeout; `session_window` is that of Structured Streaming.
    ///
    /// ```text
    /// the gap is 30 minutes, batches of 10:
    ///
    /// batch    in           out: key  value  start  end
    /// 10:00    "ann" 3      no row
    /// 10:20    "ann" 8      no row
    /// 10:50    no rows      no row: exactly 30 minutes are not more
    /// 11:00    "ann" 5      "ann" 8  10:00  10:20
    /// ```
    ///
    /// ```
    /// # use std::time::Duration;
    /// # millpond::check_job!(|ctx: &mut millpond::StreamingContext| {
    /// let half_an_hour = Duration::from_secs(30 * 60);
    /// ctx.source::<(String, i64)>("scores")
    ///     .reduce_by_key_and_session(|best, score| best.max(score), half_an_hour)
    ///     .sink("sessions");
    /// # });
    /// ```
    pub fn reduce_by_key_and_session(
        &self,
        merge: impl Fn(V, V::Ref<'_>) -> V + Clone + Send + Sync + 'static,
        gap: Duration,
    ) -> DStream<(K, (V, Timestamp, Timestamp))> {
        self.session::<V, _>(
            "reduce_by_key_and_session",
            Merging::custom::<V>(merge),
            gap,
            self.names.clone(),
            |pair| pair,
        )
    }

    /// The sum of the values of each session of a key.
    ///
    /// **Shape**: as [`reduce_by_key_and_session`](Self::reduce_by_key_and_session). Values are i64, f64 or tuples of them.
    /// **State and effects**: under the node's name `sum_by_key_and_session` unless `named`.
    /// **Errors**: an i64 sum that overflows fails the job.
    /// **Cost**: as [`reduce_by_key_and_session`](Self::reduce_by_key_and_session), without a call of the component: the host merges.
    /// **Source**: as `reduce_by_key_and_session`.
    ///
    /// ```text
    /// the gap is 60 s, batches of 30 s:
    ///
    /// batch     in                  out: key  value  start  end
    /// 10:00:00  "a" 100, "b" 5      no row
    /// 10:00:30  "a" 50              no row
    /// 10:01:30  no rows             "b" 5  10:00:00  10:00:00
    /// 10:02:00  no rows             "a" 150  10:00:00  10:00:30
    /// ```
    ///
    /// ```
    /// # use std::time::Duration;
    /// # millpond::check_job!(|ctx: &mut millpond::StreamingContext| {
    /// let minute = Duration::from_secs(60);
    /// ctx.source::<(String, i64)>("bytes").sum_by_key_and_session(minute).sink("transfers");
    /// # });
    /// ```
    pub fn sum_by_key_and_session(&self, gap: Duration) -> DStream<(K, (V, Timestamp, Timestamp))>
    where
        V: Sum,
    {
        self.session::<V, _>("sum_by_key_and_session", Merging::sum::<V>(), gap, self.names.clone(), |pair| pair)
    }

    /// How many rows each session of a key has.
    ///
    /// **Shape**: the key's columns, then `count`, `start` and `end`; one row per session, once.
    /// **State and effects**: under the node's name `count_by_key_and_session` unless `named`.
    /// **Cost**: as [`sum_by_key_and_session`](Self::sum_by_key_and_session); values do not leave the stage.
    /// **Source**: as [`reduce_by_key_and_session`](Self::reduce_by_key_and_session).
    ///
    /// ```text
    /// the gap is 30 minutes, batches of 10:
    ///
    /// batch    in                              out: key  count  start  end
    /// 10:00    "ann" "home", "ann" "cart"      no row
    /// 10:10    "ann" "pay"                     no row
    /// 10:50    no rows                         "ann" 3  10:00  10:10
    /// ```
    ///
    /// ```
    /// # use std::time::Duration;
    /// # millpond::check_job!(|ctx: &mut millpond::StreamingContext| {
    /// let half_an_hour = Duration::from_secs(30 * 60);
    /// ctx.source::<(String, String)>("visits").count_by_key_and_session(half_an_hour).sink("visits-per-session");
    /// # });
    /// ```
    pub fn count_by_key_and_session(&self, gap: Duration) -> DStream<(K, (i64, Timestamp, Timestamp))> {
        let names = joined_names(&self.names[..K::WIDTH], vec!["count".to_owned()]);
        self.session::<i64, _>("count_by_key_and_session", Merging::sum::<i64>(), gap, names, |(key, _)| (key, 1))
    }

    /// All values of each session of a key.
    ///
    /// **Shape**: the key's columns, then one list column (`values` if the values have several columns), `start` and `end`; one row per
    /// session, once.
    /// **Order**: the values of older batches first; those of a batch as in [`group_by_key`](Self::group_by_key).
    /// **State and effects**: as [`reduce_by_key_and_session`](Self::reduce_by_key_and_session); open sessions, with all their values, are kept
    /// under the node's name `group_by_key_and_session` unless `named`.
    /// **Cost**: the host makes the lists of a batch. Those of a session that goes on are put together by a call of the component, which copies what
    /// the session has so far, and the commit writes it: of a session with rows in many batches that is much more than its rows. Where
    /// a total will do, use `reduce_by_key_and_session`.
    /// **Source**: as [`reduce_by_key_and_session`](Self::reduce_by_key_and_session), with `collect` in place of `reduce`: Bytewax's
    /// `collect_window`.
    ///
    /// ```text
    /// the gap is 30 minutes, batches of 10:
    ///
    /// batch    in                              out: key  value                    start  end
    /// 10:00    "ann" "home", "ann" "cart"      no row
    /// 10:10    "ann" "pay"                     no row
    /// 10:50    no rows                         "ann"     ["home", "cart", "pay"]  10:00  10:10
    /// ```
    ///
    /// ```
    /// # use std::time::Duration;
    /// # millpond::check_job!(|ctx: &mut millpond::StreamingContext| {
    /// let half_an_hour = Duration::from_secs(30 * 60);
    /// ctx.source::<(String, String)>("visits")
    ///     .group_by_key_and_session(half_an_hour)
    ///     .filter(|(_, (pages, _, _))| pages.iter().last() == Some("pay"))
    ///     .sink("orders");
    /// # });
    /// ```
    #[expect(clippy::type_complexity, reason = "it is what comes out, and a name for it would say less")]
    pub fn group_by_key_and_session(&self, gap: Duration) -> DStream<(K, (Vec<V>, Timestamp, Timestamp))>
    where
        V: Element,
    {
        let lists = self.group_by_key();
        let append = |mut all: Vec<V>, more: ListRef<'_, V>| {
            all.extend(more.iter().map(V::from_ref));
            all
        };
        let Merging { merge, code, .. } = Merging::custom::<Vec<V>>(append);
        let input = lists.node(lists.key_columns());
        lists.sessions_of::<Vec<V>>("group_by_key_and_session", input, gap, (merge, code), &lists.names)
    }

    /// A stage that combines, and the host's node that merges what comes out of it into sessions.
    fn session<U: Row, A: Accumulate<U> + 'static>(
        &self,
        operator: &'static str,
        merging: Merging<A>,
        gap: Duration,
        names: Vec<String>,
        split: impl for<'a> MapFn<'a, (K, V), (K, U)> + Send + Sync + 'static,
    ) -> DStream<(K, Session<U>)> {
        let Merging { accumulate, merge, code } = merging;
        let fields = renamed(row::fields::<(K, U)>(""), &names);
        let stage = self.combine_stage::<K, U, A>(accumulate, fields, split);
        self.sessions_of::<U>(operator, stage, gap, (merge, code), &names)
    }

    /// The host's node that merges the rows of a node into sessions.
    fn sessions_of<U: Row>(
        &self,
        operator: &'static str,
        input: usize,
        gap: Duration,
        (merge, code): (Merge, Code),
        names: &[String],
    ) -> DStream<(K, Session<U>)> {
        let gap_ms = self.whole_ms(operator, "gap", gap);
        let names = joined_names(names, vec!["start".to_owned(), "end".to_owned()]);
        self.then(HostNode {
            name: NodeName::Stateful(operator),
            operator: Operator::ReduceSession(ReduceSession { merge, gap_ms }),
            inputs: vec![input],
            schema: renamed(row::fields::<(K, Session<U>)>(""), &names),
            key_columns: K::WIDTH,
            code,
        })
    }
}
