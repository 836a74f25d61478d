//! Broadcast values: rows that every closure may read, replaced between batches.
//!
//! A handle is a number. The host hands a value over when it is new, and it is made ready then: read into columns, and indexed where
//! keys are looked up. A call sees the values that were there when it began.

use std::any::Any;
use std::cell::RefCell;
use std::marker::PhantomData;
use std::sync::Arc;

use crate::bindings::millpond::plugin::types::{Batch, Failure, Field};
use crate::row::{self, Key, Row};

/// Rows that every closure may read: what [`StreamingContext::broadcast`](crate::StreamingContext::broadcast) and
/// [`DStream::broadcast`](crate::DStream::broadcast) return.
#[derive(Debug)]
pub struct Broadcast<T> {
    number: u32,
    rows: PhantomData<fn(T)>,
}

/// Values by key that every closure may read: what [`StreamingContext::broadcast_map`](crate::StreamingContext::broadcast_map)
/// and [`DStream::broadcast_map`](crate::DStream::broadcast_map) return.
#[derive(Debug)]
pub struct BroadcastMap<K, V> {
    number: u32,
    entries: PhantomData<fn(K, V)>,
}

impl<T> Clone for Broadcast<T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for Broadcast<T> {}

impl<K, V> Clone for BroadcastMap<K, V> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<K, V> Copy for BroadcastMap<K, V> {}

impl<T: Row> Broadcast<T> {
    pub(crate) fn new(number: u32) -> Self {
        Self { number, rows: PhantomData }
    }

    /// The value's rows. **Cost**: no copy.
    ///
    /// # Panics
    /// Outside of a call for a batch, and in a job that the handle does not belong to.
    #[must_use]
    pub fn rows(self) -> BroadcastRows<T> {
        BroadcastRows { loaded: with_value::<T, _>(self.number, Arc::clone) }
    }
}

impl<K: Key, V: Row> BroadcastMap<K, V> {
    pub(crate) fn new(number: u32) -> Self {
        Self { number, entries: PhantomData }
    }

    /// The value of a key; of several rows with the key, the last one's. **Cost**: one look into a hash index that was made when the
    /// value came; what the owned value allocates ([`entries`](Self::entries) gives views).
    ///
    /// # Panics
    /// As [`Broadcast::rows`].
    #[must_use]
    pub fn get(self, key: K::Ref<'_>) -> Option<V> {
        with_value::<(K, V), _>(self.number, |loaded| {
            loaded.find(key).map(|row| V::from_ref(V::get(&loaded.columns.1, row)))
        })
    }

    /// Whether there is a value for a key.
    ///
    /// # Panics
    /// As [`Broadcast::rows`].
    #[must_use]
    pub fn contains(self, key: K::Ref<'_>) -> bool {
        with_value::<(K, V), _>(self.number, |loaded| loaded.find(key).is_some())
    }

    /// All entries, for views of values and for going through them. **Cost**: no copy.
    ///
    /// # Panics
    /// As [`Broadcast::rows`].
    #[must_use]
    pub fn entries(self) -> BroadcastEntries<K, V> {
        BroadcastEntries { loaded: with_value::<(K, V), _>(self.number, Arc::clone) }
    }
}

/// The rows of a broadcast's value, in their order.
pub struct BroadcastRows<T: Row> {
    loaded: Arc<Loaded<T>>,
}

impl<T: Row> BroadcastRows<T> {
    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.loaded.rows
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.loaded.rows == 0
    }

    /// Row `row`, from 0; none past the last.
    #[must_use]
    pub fn get(&self, row: usize) -> Option<T::Ref<'_>> {
        (row < self.loaded.rows).then(|| T::get(&self.loaded.columns, row))
    }

    /// All rows.
    pub fn iter(&self) -> impl Iterator<Item = T::Ref<'_>> {
        (0..self.loaded.rows).map(|row| T::get(&self.loaded.columns, row))
    }
}

/// The entries of a broadcast map's value.
pub struct BroadcastEntries<K: Key, V: Row> {
    loaded: Arc<Loaded<(K, V)>>,
}

impl<K: Key, V: Row> BroadcastEntries<K, V> {
    /// A view of the value of a key; of several rows with the key, of the last one's.
    #[must_use]
    pub fn get(&self, key: K::Ref<'_>) -> Option<V::Ref<'_>> {
        self.loaded.find(key).map(|row| V::get(&self.loaded.columns.1, row))
    }

    /// All rows, in their order; a key that has several comes several times.
    pub fn iter(&self) -> impl Iterator<Item = (K::Ref<'_>, V::Ref<'_>)> {
        (0..self.loaded.rows).map(|row| <(K, V)>::get(&self.loaded.columns, row))
    }
}

/// A value that was made ready.
struct Loaded<T: Row> {
    rows: usize,
    columns: T::Columns,
    /// For lookups: rows by the hash of their key, open addressing; its size is a power of two. Empty = not looked up by key.
    index: Vec<u32>,
}

/// A place of the index without a row. A batch has fewer rows than this.
const NO_ROW: u32 = u32::MAX;

impl<K: Key, V: Row> Loaded<(K, V)> {
    /// Half of the places stay free, so that lookups are short.
    fn make_index(&mut self) {
        self.index = vec![NO_ROW; (self.rows * 2).next_power_of_two().max(2)];
        for row in 0..self.rows {
            let place = self.place(K::get(&self.columns.0, row));
            // The last of several rows with one key stays.
            self.index[place] = row as u32;
        }
    }

    fn find(&self, key: K::Ref<'_>) -> Option<usize> {
        Some(self.index[self.place(key)]).filter(|row| *row != NO_ROW).map(|row| row as usize)
    }

    /// The place where the key is, or would be.
    fn place(&self, key: K::Ref<'_>) -> usize {
        let mask = self.index.len() - 1;
        // The top bits of the hash are the good ones.
        let mut place = (K::hash(key, 0) >> (u64::BITS - self.index.len().trailing_zeros())) as usize;
        loop {
            let row = self.index[place];
            if row == NO_ROW || K::same_at(&self.columns.0, row as usize, key) {
                return place;
            }
            place = (place + 1) & mask;
        }
    }
}

/// A value of any type.
pub(crate) type AnyValue = Arc<dyn Any + Send + Sync>;
/// By broadcast; `None` = the host gave none yet.
pub(crate) type Values = Vec<Option<AnyValue>>;
/// Makes a value ready.
pub(crate) type Load = dyn Fn(Batch, &[Field]) -> Result<AnyValue, Failure> + Send + Sync;

/// Makes rows ready to be gone through.
pub(crate) fn load_rows<T: Row>(batch: Batch, fields: &[Field]) -> Result<AnyValue, Failure> {
    let (rows, columns) = row::read_batch::<T>(batch, fields)?;
    Ok(Arc::new(Loaded::<T> { rows, columns, index: Vec::new() }))
}

/// Makes rows ready to be looked up by key.
pub(crate) fn load_map<K: Key, V: Row>(batch: Batch, fields: &[Field]) -> Result<AnyValue, Failure> {
    let (rows, columns) = row::read_batch::<(K, V)>(batch, fields)?;
    let mut loaded = Loaded::<(K, V)> { rows, columns, index: Vec::new() };
    loaded.make_index();
    Ok(Arc::new(loaded))
}

thread_local! {
    /// The values of the call that this thread works on.
    static VALUES: RefCell<Option<Arc<Values>>> = const { RefCell::new(None) };
}

#[inline]
fn with_value<T: Row, R>(number: u32, read: impl FnOnce(&Arc<Loaded<T>>) -> R) -> R {
    let value = VALUES.with_borrow(|values| {
        let values = values.as_ref().expect(
            "a broadcast value is known only while a batch is worked on: read it inside an operator's closure, not where the job is put together",
        );
        values.get(number as usize).cloned().flatten()
    });
    let loaded = value.and_then(|value| value.downcast::<Loaded<T>>().ok());
    read(
        &loaded.expect(
            "this broadcast belongs to another job, or the host gave no value: make it with this job's context",
        ),
    )
}

/// Has values for a call until it is dropped.
pub(crate) struct InBroadcasts {
    before: Option<Arc<Values>>,
}

impl InBroadcasts {
    pub(crate) fn enter(values: Arc<Values>) -> Self {
        Self { before: VALUES.replace(Some(values)) }
    }
}

impl Drop for InBroadcasts {
    fn drop(&mut self) {
        VALUES.set(self.before.take());
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;
    use crate::runtime::{FailureCode, Job, TaskInfo, batch_to_rows, rows_to_batch};
    use crate::{DStream, StreamingContext};

    const TASK: TaskInfo = TaskInfo { batch_time_ms: 1000, partition: 0, partitions: 1, attempt: 0 };

    fn rates(ctx: &mut StreamingContext) {
        let rates = ctx.broadcast_map::<String, i64>("rates");
        let names = ctx.broadcast::<String>("names");
        let lookup = move |line: &str| {
            let rows = names.rows();
            let known: Vec<&str> = rows.iter().collect();
            assert_eq!(rows.len(), known.len());
            assert_eq!(rows.get(0), known.first().copied());
            assert_eq!(rates.entries().get(line), rates.get(line));
            assert_eq!(rates.contains(line), rates.get(line).is_some());
            (rates.get(line).unwrap_or(-1), known.join(","))
        };
        ctx.text("lines").map_owned(lookup).sink("out");
    }

    fn pairs(rows: &[(&str, i64)]) -> Batch {
        rows_to_batch(rows.iter().map(|(key, n)| ((*key).to_owned(), *n))).expect("fits")
    }

    fn texts(rows: &[&str]) -> Batch {
        rows_to_batch(rows.iter().map(|text| (*text).to_owned())).expect("fits")
    }

    fn look_up(job: &Job, lines: &[&str]) -> Vec<(i64, String)> {
        let output = job.run_stage(1, &TASK, texts(lines)).expect("run");
        batch_to_rows(output.batch).expect("well formed")
    }

    #[test]
    fn calls_read_the_newest_values() {
        let job = Job::new(rates);
        let plan = job.plan(&[]).expect("a plan");
        assert_eq!(
            plan.broadcasts.iter().map(|broadcast| broadcast.name.as_str()).collect::<Vec<_>>(),
            ["rates", "names"]
        );
        job.set_broadcast(0, pairs(&[("a", 1), ("b", 2), ("a", 3)])).expect("rates");
        job.set_broadcast(1, texts(&["x", "y"])).expect("names");
        assert_eq!(look_up(&job, &["a", "c"]), [(3, "x,y".to_owned()), (-1, "x,y".to_owned())]);
        job.set_broadcast(0, pairs(&[])).expect("rates");
        assert_eq!(look_up(&job, &["a"]), [(-1, "x,y".to_owned())]);
    }

    #[test]
    fn values_that_do_not_fit_are_refused() {
        let job = Job::new(rates);
        job.plan(&[]).expect("a plan");
        let failure = job.set_broadcast(0, texts(&["x"])).expect_err("another schema");
        assert_eq!(failure.code, FailureCode::BadInput);
        assert!(failure.message.starts_with("broadcast `rates`: "), "{}", failure.message);
        let failure = job.set_broadcast(2, texts(&[])).expect_err("no such broadcast");
        assert!(failure.message.contains("no broadcast 2: the plan has 2"), "{}", failure.message);
    }

    #[test]
    fn a_broadcast_is_made_once_and_of_one_name() {
        let refused = |define: fn(&mut StreamingContext)| Job::new(define).plan(&[]).expect_err("refused");
        let twice = refused(|ctx| {
            ctx.broadcast::<String>("rates");
            ctx.text("lines").broadcast("rates");
            ctx.text("lines").sink("out");
        });
        assert!(twice.contains("the broadcast `rates` is made twice"), "{twice}");
        let nameless = refused(|ctx| {
            ctx.broadcast::<String>("");
            ctx.text("lines").sink("out");
        });
        assert!(nameless.contains("1 to 128 bytes"), "{nameless}");
    }

    #[test]
    fn outside_of_a_call_there_are_no_values() {
        let panic = std::panic::catch_unwind(|| Broadcast::<String>::new(0).rows().len()).expect_err("outside");
        let text =
            panic.downcast_ref::<String>().cloned().or(panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
        assert!(text.expect("text").contains("only while a batch is worked on"));
    }

    #[test]
    fn a_stream_that_is_broadcast_is_a_node_that_nothing_reads() {
        let plan = Job::new(|ctx| {
            let lines: DStream<String> = ctx.text("lines");
            let longest = lines.top_by(1, |line| line).broadcast("longest");
            lines.filter(move |line| longest.rows().get(0) != Some(line)).sink("others");
        })
        .plan(&[])
        .expect("a plan");
        let node = plan.nodes.iter().position(|node| node.name == "broadcast longest").expect("it is there");
        assert!(plan.nodes.iter().all(|other| !other.inputs.contains(&(node as u32))));
        assert_eq!(plan.broadcasts[0].schema, plan.nodes[node].schema);
    }

    proptest! {
        #[test]
        fn lookups_are_those_of_a_map(
            rows in proptest::collection::vec((proptest::option::of("[a-c]{0,2}"), any::<i64>()), 0..40),
            keys in proptest::collection::vec(proptest::option::of("[a-c]{0,2}"), 20),
        ) {
            type Entry = (Option<String>, i64);
            let batch = rows_to_batch::<Entry>(rows.clone()).expect("fits");
            let loaded = load_map::<Option<String>, i64>(batch, &row::fields::<Entry>("")).expect("loads");
            let loaded = loaded.downcast::<Loaded<Entry>>().expect("of this type");
            let model: BTreeMap<_, _> = rows.into_iter().collect();
            for key in keys {
                let found = loaded.find(key.as_deref()).map(|row| i64::get(&loaded.columns.1, row));
                prop_assert_eq!(found, model.get(&key).copied());
            }
        }
    }
}
