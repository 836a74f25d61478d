//! Keyed state, row by row: each row is mapped with its key's state in hand.

use std::marker::PhantomData;
use std::ops::Deref;
use std::sync::Arc;
use std::time::Duration;

use super::{DStream, HostNode, joined_names};
use crate::bindings::exports::millpond::plugin::job_guest::{MapOutput, UpdateInput};
use crate::bindings::millpond::plugin::dataflow::{MapWithState, Operator};
use crate::bindings::millpond::plugin::types::Failure;
use crate::bitmap::Bitmap;
use crate::failure::{bad_input, user};
use crate::plan::{Code, MapFn, NodeName, UpdateFields, renamed};
use crate::row::{self, Key, Row};

/// How much of a key a failure shows, in characters.
const KEY_CHARS_MAX: usize = 200;

/// The state of the key whose row is being mapped: what the function of
/// [`map_with_state`](DStream::map_with_state) reads and writes.
///
/// **Errors**: writing or removing it after it was removed for the same row, or while it is timing out, fails the call
/// after the function has returned.
/// **Source**: `org.apache.spark.streaming.State`.
pub struct State<'a, S: Row> {
    current: Current<'a, S>,
    is_timing_out: bool,
    /// Written for any row of the key.
    is_written: bool,
    /// Removed for this row.
    is_removed: bool,
    misuse: Option<&'static str>,
}

/// Where a state is.
enum Current<'a, S: Row> {
    None,
    /// As the batch found it.
    Stored(&'a S::Columns, usize),
    New(S),
}

impl<S: Row> State<'_, S> {
    /// The state; `None` if the key has none, or if it was removed.
    #[must_use]
    #[inline]
    pub fn get(&self) -> Option<S::Ref<'_>> {
        match &self.current {
            Current::None => None,
            Current::Stored(columns, row) => Some(S::get(columns, *row)),
            Current::New(state) => Some(state.to_ref()),
        }
    }

    /// Whether the key has a state.
    #[must_use]
    pub fn exists(&self) -> bool {
        !matches!(self.current, Current::None)
    }

    /// Whether the key is being let go because no row has touched it for the timeout: the last call for it.
    #[must_use]
    pub fn is_timing_out(&self) -> bool {
        self.is_timing_out
    }

    /// Puts a state in the place of what was there.
    #[inline]
    pub fn update(&mut self, state: S) {
        if self.is_timing_out {
            self.misuse = Some("wrote the state of a key that is timing out");
        } else if self.is_removed {
            self.misuse = Some("wrote a state after it had removed it for the same row");
        } else {
            self.current = Current::New(state);
            self.is_written = true;
        }
    }

    /// Deletes the state. A later row of the key starts it afresh.
    pub fn remove(&mut self) {
        if self.is_timing_out {
            self.misuse = Some("removed the state of a key that is timing out, which is gone afterwards anyway");
        } else if self.is_removed {
            self.misuse = Some("removed a state twice for the same row");
        } else {
            self.current = Current::None;
            self.is_removed = true;
            self.is_written = true;
        }
    }
}

/// The rows that [`map_with_state`](DStream::map_with_state) maps to: a [`DStream`] of them, and the states behind them.
///
/// Settings come before anything that uses the stream.
pub struct MappedWithState<K: Key, S: Row, M: Row> {
    mapped: DStream<M>,
    states: PhantomData<fn() -> (K, S)>,
}

impl<K: Key, S: Row, M: Row> Clone for MappedWithState<K, S, M> {
    fn clone(&self) -> Self {
        Self { mapped: self.mapped.clone(), states: PhantomData }
    }
}

impl<K: Key, S: Row, M: Row> Deref for MappedWithState<K, S, M> {
    type Target = DStream<M>;

    fn deref(&self) -> &DStream<M> {
        &self.mapped
    }
}

impl<K: Key, V: Row> DStream<(K, V)> {
    /// Maps each row with the state of its key in hand.
    ///
    /// **Shape**: the columns of `M`; the rows for which `map` returns one.
    /// **Order**: `map` is called once for each row, those of a key in arrival order. What it returns comes out in the order of the rows
    /// that it was made of.
    /// **State and effects**: keys without rows are not visited. With a [`timeout`](MappedWithState::timeout), a key that no row has
    /// touched for so long is in one more call, without a value and with `state.is_timing_out()`, after the batch's rows, and is gone; what
    /// `map` returns for it comes out last. States are kept under the node's name `map_with_state` unless `named`, and are durable when the
    /// batch is committed. [`state_snapshots`](MappedWithState::state_snapshots) gives all of them.
    /// **Errors**: writing or removing a state after it was removed for the same row, or while it is timing out, fails the job.
    /// **Cost**: one call of the closure per row; untouched keys cost nothing, where `update_state_by_key` brings out all of them.
    /// **Source**: `PairDStreamFunctions.mapWithState`, `StateSpec`.
    ///
    /// ```text
    /// batch    in: user  page                out
    /// 1        "ann" "home", "bob" "home"    ("ann", "home", 1), ("bob", "home", 1)
    /// 2        "ann" "cart", "ann" "pay"     ("ann", "cart", 2), ("ann", "pay", 3)
    /// 3        no rows                       no row
    /// ```
    ///
    /// ```
    /// use millpond::State;
    ///
    /// # millpond::check_job!(|ctx: &mut millpond::StreamingContext| {
    /// // Numbers the visits of each user.
    /// ctx.source::<(String, String)>("visits")
    ///     .map_with_state(|user, page: Option<&str>, visits: &mut State<'_, i64>| {
    ///         let number = visits.get().unwrap_or(0) + 1;
    ///         visits.update(number);
    ///         Some((user.to_owned(), page?.to_owned(), number))
    ///     })
    ///     .sink("numbered");
    /// # });
    /// ```
    pub fn map_with_state<S: Row, M: Row>(
        &self,
        map: impl Fn(K::Ref<'_>, Option<V::Ref<'_>>, &mut State<'_, S>) -> Option<M> + Send + Sync + 'static,
    ) -> MappedWithState<K, S, M> {
        let state_name = if S::WIDTH == 1 { "state" } else { "" };
        let names = joined_names(&self.names[..K::WIDTH], Self::default_names::<S>(state_name));
        let state = renamed(row::fields::<(K, S)>(""), &names);
        let mapped = self.then(HostNode {
            name: NodeName::Stateful("map_with_state"),
            operator: Operator::MapWithState(MapWithState { state, timeout_ms: None, initial: None }),
            inputs: vec![self.node(K::WIDTH)],
            schema: row::fields::<M>(""),
            key_columns: M::KEY_COLUMNS,
            code: Code::Map(map_code::<K, V, S, M>(map)),
        });
        MappedWithState { mapped, states: PhantomData }
    }
}

impl<K: Key, S: Row, M: Row> MappedWithState<K, S, M> {
    /// Lets go of keys that no row has touched for so long.
    ///
    /// **Units**: whole milliseconds, at least one. A key goes in the first batch whose time is more than the timeout after that of the
    /// last batch with a row of it. It is looked for in every batch.
    /// **State and effects**: any row renews its key, whether or not the function writes. The timeout may be another one after a
    /// restart; where there was none before, a key counts as touched when its state was last written.
    /// **Cost**: a key is looked at once in a timeout, however many keys there are.
    /// **Source**: `StateSpec.timeout`.
    ///
    /// ```text
    /// batches of 10 minutes:
    ///
    /// batch    in: user  page                    out
    /// 10:00    "ann" "home", "ann" "cart"        no row
    /// 10:10    no rows                           no row
    /// 10:30    no rows                           no row: exactly 30 minutes are not more
    /// 10:40    no rows                           ("ann", 2), and the key is gone
    /// ```
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// use millpond::State;
    ///
    /// # millpond::check_job!(|ctx: &mut millpond::StreamingContext| {
    /// // How many pages a user saw, told when the user has been gone for half an hour.
    /// ctx.source::<(String, String)>("visits")
    ///     .map_with_state(|user, page: Option<&str>, pages: &mut State<'_, i64>| {
    ///         let seen = pages.get().unwrap_or(0);
    ///         match page {
    ///             Some(_) => {
    ///                 pages.update(seen + 1);
    ///                 None
    ///             }
    ///             None => Some((user.to_owned(), seen)),
    ///         }
    ///     })
    ///     .timeout(Duration::from_secs(30 * 60))
    ///     .sink("visits");
    /// # });
    /// ```
    #[must_use]
    pub fn timeout(&self, timeout: Duration) -> Self {
        let ms = self.mapped.whole_ms("map_with_state", "timeout", timeout);
        self.change("timeout()", |map| map.timeout_ms = Some(ms))
    }

    /// What a new job begins with, as if the first batch had touched it.
    ///
    /// **Shape**: keys with their states, each key once. They are in the snapshots from the first batch on.
    /// **State and effects**: only where the job has no commit yet that knows the node; afterwards the state is the job's own.
    /// **Errors**: the plan fails if a key is there twice.
    /// **Cost**: the rows are part of the plan, which each instance of the plugin makes: thousands of rows, not millions.
    /// **Source**: `StateSpec.initialState`.
    ///
    /// ```text
    /// batch    in             out
    /// 1        "ann" 30       70
    /// 2        "bob" 50       200
    /// ```
    ///
    /// ```
    /// use millpond::State;
    ///
    /// # millpond::check_job!(|ctx: &mut millpond::StreamingContext| {
    /// ctx.source::<(String, i64)>("payments")
    ///     .map_with_state(|_, paid: Option<i64>, credit: &mut State<'_, i64>| {
    ///         credit.update(credit.get()? - paid?);
    ///         credit.get()
    ///     })
    ///     .initial_state([("ann".to_owned(), 100), ("bob".to_owned(), 250)])
    ///     .sink("credit");
    /// # });
    /// ```
    #[must_use]
    pub fn initial_state(&self, rows: impl IntoIterator<Item = (K, S)>) -> Self {
        let initial = self.mapped.initial_rows(rows);
        self.change("initial_state()", |map| map.initial = initial)
    }

    /// Gives the operator a name of its own; its state is kept under it. See [`DStream::named`].
    ///
    /// **Cost**: none.
    ///
    /// ```text
    /// in     out: the same; state is kept under `last-minute` and `last-hour`
    /// "a"    "a"
    /// ```
    ///
    /// ```
    /// use millpond::State;
    ///
    /// # millpond::check_job!(|ctx: &mut millpond::StreamingContext| {
    /// ctx.source::<(String, i64)>("readings")
    ///     .map_with_state(|_, value: Option<i64>, last: &mut State<'_, i64>| {
    ///         let change = value? - last.get().unwrap_or(0);
    ///         last.update(value?);
    ///         Some(change)
    ///     })
    ///     .named("last-readings")
    ///     .sink("changes");
    /// # });
    /// ```
    #[must_use]
    pub fn named(&self, name: &str) -> Self {
        Self { mapped: self.mapped.named(name), states: PhantomData }
    }

    /// Every key with its state, after each batch, touched or not.
    ///
    /// **Shape**: the key's columns, then the state's (`state`, if it is one); one row per key that has state.
    /// **Cost**: all states come out in every batch.
    /// **Source**: `MapWithStateDStream.stateSnapshots`.
    ///
    /// ```text
    /// batch    in               out: value  state
    /// 1        "a" 2, "b" 1     "a" 2, "b" 1
    /// 2        "a" 1            "a" 3, "b" 1
    /// 3        no rows          "a" 3, "b" 1
    /// ```
    ///
    /// ```
    /// use millpond::State;
    ///
    /// # millpond::check_job!(|ctx: &mut millpond::StreamingContext| {
    /// let mapped = ctx.text("words").count_by_value().map_with_state(
    ///     |_, count: Option<i64>, total: &mut State<'_, i64>| {
    ///         total.update(total.get().unwrap_or(0) + count?);
    ///         total.get()
    ///     },
    /// );
    /// mapped.state_snapshots().sink("totals");
    /// # });
    /// ```
    pub fn state_snapshots(&self) -> DStream<(K, S)> {
        let node = self.mapped.base;
        let schema = match &self.mapped.draft.borrow().nodes[node].operator {
            Operator::MapWithState(map) => map.state.clone(),
            _ => unreachable!("map_with_state made this node"),
        };
        self.mapped.then(HostNode {
            name: NodeName::Numbered("snapshots"),
            operator: Operator::StateSnapshots,
            inputs: vec![node],
            schema,
            key_columns: K::WIDTH,
            code: Code::None,
        })
    }

    fn change(&self, setting: &str, change: impl FnOnce(&mut MapWithState)) -> Self {
        self.mapped.change_latest(setting, setting, |node| match &mut node.operator {
            Operator::MapWithState(map) => {
                change(map);
                Ok(())
            }
            _ => unreachable!("map_with_state made this node"),
        });
        self.clone()
    }
}

impl<T: Row> DStream<T> {
    /// A duration in milliseconds; notes a mistake if it is none.
    pub(super) fn whole_ms(&self, operator: &str, what: &str, duration: Duration) -> u64 {
        let ms = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
        if ms == 0 || duration != Duration::from_millis(ms) {
            self.refuse(format!("{operator}: the {what} is {duration:?}: it must be one or more whole milliseconds"));
        }
        ms
    }
}

/// The code of `map-with-state` calls.
fn map_code<K: Key, V: Row, S: Row, M: Row>(
    map: impl Fn(K::Ref<'_>, Option<V::Ref<'_>>, &mut State<'_, S>) -> Option<M> + Send + Sync + 'static,
) -> Arc<MapFn> {
    Arc::new(move |input: UpdateInput, fields: &UpdateFields<'_>| {
        let (count, keys) = row::read_batch::<K>(input.keys, fields.keys)?;
        let (values_count, values) = row::read_batch::<V>(input.values, fields.values)?;
        let (states, stored, present) = row::read_states::<S>(input.states, fields.states, input.present)?;
        if states != count {
            return Err(bad_input(format!("{states} states for {count} keys")));
        }
        let mut out = Mapped::<S, M>::with_room_for(count, values_count);
        for (at, group) in input.groups.windows(2).enumerate() {
            let (mut next, end) = (group[0] as usize, group[1] as usize);
            let key = K::get(&keys, at);
            let current = if present.get(at) { Current::Stored(&stored, at) } else { Current::None };
            let is_timing_out = next == end;
            let mut state = State { current, is_timing_out, is_written: false, is_removed: false, misuse: None };
            // One place for both kinds of call, so that the closure is made part of the loop.
            loop {
                let value = (!is_timing_out).then(|| V::get(&values, next));
                state.is_removed = false;
                out.push_row(map(key, value, &mut state));
                next += 1;
                if next >= end {
                    break;
                }
            }
            if let Some(misuse) = state.misuse {
                let key: String = format!("{key:?}").chars().take(KEY_CHARS_MAX).collect();
                return Err(user(format!("the function of map_with_state {misuse}, at key {key}")));
            }
            out.push_state(&state);
        }
        out.finish(count)
    })
}

/// What a call comes to.
struct Mapped<S: Row, M: Row> {
    rows: M::Columns,
    count: usize,
    mapped: Vec<bool>,
    states: S::Columns,
    keep: Vec<bool>,
    written: Vec<bool>,
}

impl<S: Row, M: Row> Mapped<S, M> {
    fn with_room_for(keys: usize, values: usize) -> Self {
        Self {
            rows: M::Columns::default(),
            count: 0,
            mapped: Vec::with_capacity(values),
            states: S::Columns::default(),
            keep: Vec::with_capacity(keys),
            written: Vec::with_capacity(keys),
        }
    }

    #[inline]
    fn push_row(&mut self, row: Option<M>) {
        self.mapped.push(row.is_some());
        if let Some(row) = row {
            M::push(&mut self.rows, row.to_ref());
            self.count += 1;
        }
    }

    #[inline]
    fn push_state(&mut self, state: &State<'_, S>) {
        self.written.push(state.is_written);
        match state.get() {
            Some(view) => S::push(&mut self.states, view),
            None => S::push_empty(&mut self.states),
        }
        self.keep.push(state.exists());
    }

    fn finish(self, keys: usize) -> Result<MapOutput, Failure> {
        Ok(MapOutput {
            rows: row::write_batch::<M>(self.count, self.rows)?,
            mapped: Bitmap::of(&self.mapped).into_bytes(),
            states: row::write_batch::<S>(keys, self.states)?,
            keep: Bitmap::of(&self.keep).into_bytes(),
            written: Bitmap::of(&self.written).into_bytes(),
        })
    }
}
