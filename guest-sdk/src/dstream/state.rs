//! Keyed state: what is known of each key, carried from batch to batch.

use std::cell::Cell;
use std::sync::Arc;

use super::{DStream, HostNode, joined_names};
use crate::bindings::exports::millpond::plugin::job_guest::{UpdateInput, UpdateOutput};
use crate::bindings::millpond::plugin::dataflow::{Operator, UpdateState};
use crate::bindings::millpond::plugin::types::{Batch, Failure};
use crate::bitmap::Bitmap;
use crate::combine::overflow;
use crate::plan::{Code, NodeName, UpdateFields, UpdateFn};
use crate::row::{self, Key, Row, Sum};

/// The new values of one key, in arrival order within each partition they came from.
///
/// An iterator over views; cheap to clone, so it can be walked several times.
pub struct Values<'a, V: Row> {
    columns: &'a V::Columns,
    next: usize,
    end: usize,
    overflowed: &'a Cell<bool>,
}

impl<V: Row> Clone for Values<'_, V> {
    fn clone(&self) -> Self {
        Self { ..*self }
    }
}

impl<'a, V: Row> Iterator for Values<'a, V> {
    type Item = V::Ref<'a>;

    #[inline]
    fn next(&mut self) -> Option<V::Ref<'a>> {
        (self.next < self.end).then(|| {
            self.next += 1;
            V::get(self.columns, self.next - 1)
        })
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.end - self.next, Some(self.end - self.next))
    }
}

impl<V: Row> ExactSizeIterator for Values<'_, V> {}

impl<V: Row> Values<'_, V> {
    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.next == self.end
    }

    /// The sum of the values.
    ///
    /// **Errors**: an i64 sum that overflows fails the call after the closure has returned.
    #[must_use]
    pub fn sum(self) -> V
    where
        V: Sum,
    {
        let overflowed = self.overflowed;
        let mut sum = V::ZERO;
        for value in self {
            if !sum.add(value) {
                overflowed.set(true);
            }
        }
        sum
    }
}

impl<K: Key, V: Row> DStream<(K, V)> {
    /// A state per key, made of the old one and the batch's values.
    ///
    /// **Shape**: the key's columns, then the state's (`state`, if it is one); one row per key that has state, in every batch,
    /// touched or not.
    /// **Order**: values in arrival order within the partition they came from.
    /// **State and effects**: `update` is called for each key with rows in the batch, with the values and the old state, none the
    /// first time. `None` deletes the key. With [`every_batch`](Self::every_batch) it is called for untouched keys too. States are
    /// kept under the node's name `update_state_by_key` unless `named`, and are durable when the batch is committed.
    /// **Cost**: one call of the closure per key; merge values first (`count_by_value`, `sum_by_key`) and there is one value.
    /// **Source**: `PairDStreamFunctions.updateStateByKey`.
    ///
    /// ```text
    /// batch    in               out: value  state
    /// 1        "a" 2, "b" 1     "a" 2, "b" 1
    /// 2        "a" 1            "a" 3, "b" 1
    /// 3        no rows          "a" 3, "b" 1
    /// ```
    ///
    /// ```
    /// # millpond::check_job!(|ctx: &mut millpond::StreamingContext| {
    /// ctx.text("words")
    ///     .count_by_value()
    ///     .update_state_by_key(|values, total: Option<i64>| Some(total.unwrap_or(0) + values.sum()))
    ///     .sink("counts");
    /// # });
    /// ```
    pub fn update_state_by_key<S: Row>(
        &self,
        update: impl Fn(Values<'_, V>, Option<S>) -> Option<S> + Send + Sync + 'static,
    ) -> DStream<(K, S)> {
        let state_name = if S::WIDTH == 1 { "state" } else { "" };
        let names = joined_names(&self.names[..K::WIDTH], Self::default_names::<S>(state_name));
        self.then(HostNode {
            name: NodeName::Stateful("update_state_by_key"),
            operator: Operator::UpdateState(UpdateState { every_batch: false, with_keys: false, initial: None }),
            inputs: vec![self.node(K::WIDTH)],
            schema: crate::plan::renamed(row::fields::<(K, S)>(""), &names),
            key_columns: K::WIDTH,
            code: Code::Update(update_code::<V, S>(update)),
        })
    }

    /// Right after `update_state_by_key`: calls its function in every batch for every key that has state, as Spark does, with
    /// no values for keys without rows.
    ///
    /// It changes the operator itself, so it comes before anything that uses the stream.
    ///
    /// **Errors**: the plan fails if the operator before is another, or if another operator uses it already.
    /// **Cost**: every state crosses into the component in every batch.
    ///
    /// ```text
    /// batch    in               out: value  state
    /// 1        "ann", "bob"     "ann" 0, "bob" 0
    /// 2        "ann"            "ann" 0, "bob" 1
    /// 3        no rows          "ann" 1, "bob" 2
    /// ```
    ///
    /// ```
    /// # millpond::check_job!(|ctx: &mut millpond::StreamingContext| {
    /// // Forgets a user after ten batches without a visit.
    /// ctx.text("users")
    ///     .count_by_value()
    ///     .update_state_by_key(|visits, quiet: Option<i64>| match (visits.is_empty(), quiet) {
    ///         (false, _) => Some(0),
    ///         (true, quiet) => quiet.map(|batches| batches + 1).filter(|batches| *batches < 10),
    ///     })
    ///     .every_batch()
    ///     .sink("users");
    /// # });
    /// ```
    pub fn every_batch(&self) -> DStream<(K, V)> {
        let misplaced = "every_batch() goes right after update_state_by_key";
        self.change_latest("every_batch()", misplaced, |node| match &mut node.operator {
            Operator::UpdateState(update) => {
                update.every_batch = true;
                Ok(())
            }
            _ => Err(misplaced.to_owned()),
        });
        self.clone()
    }
}

impl<K: Key, S: Row> DStream<(K, S)> {
    /// Right after `update_state_by_key`: what a new job begins with.
    ///
    /// **Shape**: keys with their states, each key once. They come out from the first batch on, touched or not.
    /// **State and effects**: only where the job has no commit yet that knows the node; afterwards the state is the job's own.
    /// It changes the operator itself, so it comes before anything that uses the stream.
    ///
    /// **Errors**: the plan fails if the operator before is another, if another operator uses it already, or if a key is there twice.
    /// **Cost**: the rows are part of the plan, which each instance of the plugin makes: thousands of rows, not millions.
    /// **Source**: `PairDStreamFunctions.updateStateByKey(..., initialRDD)`.
    ///
    /// ```text
    /// batch    in             out
    /// 1        "ann" 30       70
    /// 2        "bob" 50       200
    /// ```
    ///
    /// ```
    /// # millpond::check_job!(|ctx: &mut millpond::StreamingContext| {
    /// ctx.text("words")
    ///     .count_by_value()
    ///     .update_state_by_key(|values, total: Option<i64>| Some(total.unwrap_or(0) + values.sum()))
    ///     .initial_state([("be".to_owned(), 2)])
    ///     .sink("counts");
    /// # });
    /// ```
    pub fn initial_state(&self, rows: impl IntoIterator<Item = (K, S)>) -> DStream<(K, S)> {
        let misplaced = "initial_state() goes right after update_state_by_key or map_with_state";
        let initial = self.initial_rows(rows);
        self.change_latest("initial_state()", misplaced, |node| match &mut node.operator {
            Operator::UpdateState(update) => {
                update.initial = initial;
                Ok(())
            }
            _ => Err(misplaced.to_owned()),
        });
        self.clone()
    }
}

impl<T: Row> DStream<T> {
    /// The rows of an initial state; notes a mistake if they are too many.
    pub(super) fn initial_rows<R: Row>(&self, rows: impl IntoIterator<Item = R>) -> Option<Batch> {
        match crate::runtime::rows_to_batch(rows) {
            Ok(batch) => Some(batch),
            Err(failure) => {
                self.refuse(format!("initial_state(): {}", failure.message));
                None
            }
        }
    }
}

/// The code of `update` calls.
fn update_code<V: Row, S: Row>(
    update: impl Fn(Values<'_, V>, Option<S>) -> Option<S> + Send + Sync + 'static,
) -> Arc<UpdateFn> {
    Arc::new(move |input: UpdateInput, fields: &UpdateFields<'_>| {
        let (_, values) = row::read_batch::<V>(input.values, fields.values)?;
        let (keys, states, present) = row::read_states::<S>(input.states, fields.states, input.present)?;
        let overflowed = Cell::new(false);
        let (mut new_states, mut keep) = (S::Columns::default(), Vec::with_capacity(keys));
        for (key, group) in input.groups.windows(2).enumerate() {
            let (next, end) = (group[0] as usize, group[1] as usize);
            let values = Values { columns: &values, next, end, overflowed: &overflowed };
            let old = present.get(key).then(|| S::from_ref(S::get(&states, key)));
            let new = update(values, old);
            keep.push(new.is_some());
            match &new {
                Some(state) => S::push(&mut new_states, state.to_ref()),
                None => S::push_empty(&mut new_states),
            }
        }
        if overflowed.get() { Err(overflow()) } else { output::<S>(keys, new_states, &keep) }
    })
}

fn output<S: Row>(keys: usize, states: S::Columns, keep: &[bool]) -> Result<UpdateOutput, Failure> {
    Ok(UpdateOutput { states: row::write_batch::<S>(keys, states)?, keep: Bitmap::of(keep).into_bytes() })
}
