//! The context that a job's function gets: sources, settings, and the plan that grows behind it.

use std::rc::Rc;
use std::sync::Arc;

use crate::accumulator::{Accumulated, Accumulator, Counter};
use crate::bindings::millpond::plugin::dataflow::{AccumulatorKind, Operator};
use crate::bindings::millpond::plugin::types::{Field, Param as RawParam};
use crate::broadcast::{self, Broadcast, BroadcastMap};
use crate::dstream::DStream;
use crate::param::Param;
use crate::plan::{Code, DraftNode, Finished, NodeName, SharedDraft};
use crate::row::{self, Key, Row};

/// Where a job's streams begin.
///
/// **State and effects**: only describes the dataflow; nothing runs before the host asks for it, batch by batch. Batch
/// interval, trigger, sources' and sinks' settings stand in the job file.
/// **Source**: `org.apache.spark.streaming.StreamingContext`.
///
/// ```
/// use millpond::{Job, StreamingContext};
///
/// let job = Job::new(|ctx: &mut StreamingContext| {
///     ctx.text("lines").filter(|line| line.contains("error")).sink("errors");
/// });
/// let plan = job.plan(&[])?;
/// assert_eq!(plan.nodes.len(), 3); // the source, one stage, the sink
/// # Ok::<(), String>(())
/// ```
pub struct StreamingContext {
    params: Vec<RawParam>,
    draft: SharedDraft,
}

impl StreamingContext {
    pub(crate) fn new(params: &[RawParam]) -> Self {
        Self { params: params.to_vec(), draft: SharedDraft::default() }
    }

    /// Lines of text from the source `name` of the job file.
    ///
    /// **Shape**: one column, `line`, text.
    /// **Cost**: each line is copied into the batch's column, and with it into the component; no allocation per row.
    /// **Source**: `StreamingContext.textFileStream`, `socketTextStream`.
    ///
    /// ```
    /// # millpond::check_job!(|ctx: &mut millpond::StreamingContext| {
    /// ctx.text("lines").filter(|line| !line.is_empty()).sink("out");
    /// # });
    /// ```
    pub fn text(&self, name: &str) -> DStream<String> {
        self.source_as(name, row::fields::<String>("line"))
    }

    /// Rows from the source `name` of the job file, which must have `T`'s columns.
    ///
    /// **Shape**: the columns of `T`, by name: CSV headers and JSON keys are matched with a struct's fields.
    /// **Cost**: CSV and JSON are decoded cell by cell in the host; each column is copied into the component whole.
    /// **Source**: `StreamingContext.receiverStream`.
    ///
    /// ```
    /// # use millpond::Row;
    /// #[derive(Row)]
    /// struct Visit { page: String, seconds: i64 }
    ///
    /// # millpond::check_job!(|ctx: &mut millpond::StreamingContext| {
    /// ctx.source::<Visit>("visits").filter(|visit| visit.seconds > 10).sink("long");
    /// # });
    /// ```
    pub fn source<T: Row>(&self, name: &str) -> DStream<T> {
        self.source_as(name, row::fields::<T>(""))
    }

    /// A source used twice is one node.
    fn source_as<T: Row>(&self, name: &str, schema: Vec<Field>) -> DStream<T> {
        let mut draft = self.draft.borrow_mut();
        let is_it = |node: &DraftNode| matches!(&node.operator, Operator::Source(other) if other == name);
        let known = draft.nodes.iter().position(is_it);
        if known.is_some_and(|node| draft.nodes[node].schema != schema) {
            draft.error(format!("the source `{name}` is used twice, with different columns: use one row type for it"));
        }
        let node = known.filter(|node| draft.nodes[*node].schema == schema).unwrap_or_else(|| {
            draft.add(DraftNode {
                name: NodeName::Fixed(format!("source {name}")),
                operator: Operator::Source(name.to_owned()),
                inputs: Vec::new(),
                schema,
                key_columns: T::KEY_COLUMNS,
                code: Code::None,
                only_renames: false,
            })
        });
        drop(draft);
        DStream::from_node(&self.draft, node)
    }

    /// A count on the side, which closures add to.
    ///
    /// The run's summary, each line of `--report` and the test kit show it. A counter that is made twice under one name is one.
    ///
    /// **State and effects**: the total has what committed batches added, each batch once, over all runs of the job: what a batch
    /// that failed had added goes with the batch. It is kept under its name. A closure of a stage runs once for each row of a
    /// batch, unless several streams share it without [`cache`](crate::DStream::cache). How often a merge function runs
    /// (`reduce_by_key`, windows) depends on partitions, so what it adds means little.
    /// **Errors**: the plan fails when the name has none or more than 128 bytes, or is another kind's. A total that leaves 64 bits
    /// fails the batch (MP0802).
    /// **Cost**: adding is no call out of the component; each call hands over once what it added.
    /// **Source**: `SparkContext.longAccumulator`.
    ///
    /// ```
    /// # millpond::check_job!(|ctx: &mut millpond::StreamingContext| {
    /// let short = ctx.counter("short-lines");
    /// ctx.text("lines")
    ///     .filter(move |line| {
    ///         if line.len() < 3 {
    ///             short.add(1);
    ///         }
    ///         line.len() >= 3
    ///     })
    ///     .sink("out");
    /// # });
    /// ```
    pub fn counter(&self, name: &str) -> Counter {
        Counter::new(self.draft.borrow_mut().accumulator(name, AccumulatorKind::Counter))
    }

    /// A sum on the side, of i64 or f64; otherwise as [`counter`](Self::counter). It begins with 0.
    ///
    /// **Order**: sums of f64 are the same to the bit on replay with the same number of partitions.
    /// **Cost**: as `counter`.
    /// **Source**: `SparkContext.longAccumulator`, `doubleAccumulator`.
    ///
    /// ```
    /// # millpond::check_job!(|ctx: &mut millpond::StreamingContext| {
    /// let bytes = ctx.sum::<i64>("bytes");
    /// ctx.text("lines").filter(move |line| { bytes.add(line.len() as i64); true }).sink("out");
    /// # });
    /// ```
    pub fn sum<V: Accumulated>(&self, name: &str) -> Accumulator<V> {
        self.accumulator(name, V::SUM)
    }

    /// The least of all numbers on the side, NaN last; nothing before the first. Otherwise as [`counter`](Self::counter).
    ///
    /// **Cost**: as `counter`.
    /// **Source**: `org.apache.spark.util.AccumulatorV2`.
    ///
    /// ```
    /// # millpond::check_job!(|ctx: &mut millpond::StreamingContext| {
    /// let coldest = ctx.min::<f64>("coldest");
    /// ctx.source::<f64>("readings").filter(move |celsius| { coldest.add(celsius); true }).sink("out");
    /// # });
    /// ```
    pub fn min<V: Accumulated>(&self, name: &str) -> Accumulator<V> {
        self.accumulator(name, V::MIN)
    }

    /// The greatest of all numbers on the side, NaN last; nothing before the first. Otherwise as [`counter`](Self::counter).
    ///
    /// **Cost**: as `counter`.
    /// **Source**: `org.apache.spark.util.AccumulatorV2`.
    ///
    /// ```
    /// # millpond::check_job!(|ctx: &mut millpond::StreamingContext| {
    /// let longest = ctx.max::<i64>("longest-line");
    /// ctx.text("lines").filter(move |line| { longest.add(line.len() as i64); true }).sink("out");
    /// # });
    /// ```
    pub fn max<V: Accumulated>(&self, name: &str) -> Accumulator<V> {
        self.accumulator(name, V::MAX)
    }

    /// Rows that every closure may read: what `[broadcasts.NAME]` of the job file says, written there or in a file that is read again
    /// when it has changed.
    ///
    /// **Shape**: the columns of `T`, by name as with [`source`](Self::source).
    /// **Order**: as in the file. All calls of a batch see one value; a newer one comes between two batches.
    /// **State and effects**: nothing is kept: after a restart the value is what the job file or the file says then. A merge function
    /// that reads it makes answers depend on when it runs.
    /// **Errors**: the plan fails when two broadcasts have one name. The job does not start when there is no value (MP0508), or one
    /// beyond `limits.broadcast` (MP0312). A newer version of a file that cannot be read is reported, and the one before stays.
    /// **Cost**: the value crosses to each instance once for each version.
    /// **Source**: `SparkContext.broadcast`.
    ///
    /// ```
    /// # millpond::check_job!(|ctx: &mut millpond::StreamingContext| {
    /// let stop_words = ctx.broadcast::<String>("stop-words");
    /// ctx.text("words").filter(move |word| !stop_words.rows().iter().any(|stop| stop == word)).sink("out");
    /// # });
    /// ```
    pub fn broadcast<T: Row>(&self, name: &str) -> Broadcast<T> {
        let load = Arc::new(broadcast::load_rows::<T>);
        Broadcast::new(self.draft.borrow_mut().broadcast(name, row::fields::<T>(""), load))
    }

    /// Values by key that every closure may read; otherwise as [`broadcast`](Self::broadcast).
    ///
    /// **Shape**: the key's columns, then the value's: `_1`, `_2`, unless they are structs. Of several rows with one key the last counts.
    /// **Cost**: a hash index is made once for each version and instance, not for each call.
    /// **Source**: `SparkContext.broadcast` of a map.
    ///
    /// ```
    /// # millpond::check_job!(|ctx: &mut millpond::StreamingContext| {
    /// let rates = ctx.broadcast_map::<String, f64>("rates");
    /// ctx.source::<(String, f64)>("orders")
    ///     .map::<(String, f64)>(move |(currency, amount)| (currency, amount * rates.get(currency).unwrap_or(1.0)))
    ///     .sink("in-euros");
    /// # });
    /// ```
    pub fn broadcast_map<K: Key, V: Row>(&self, name: &str) -> BroadcastMap<K, V> {
        let load = Arc::new(broadcast::load_map::<K, V>);
        BroadcastMap::new(self.draft.borrow_mut().broadcast(name, row::fields::<(K, V)>(""), load))
    }

    fn accumulator<V: Accumulated>(&self, name: &str, kind: AccumulatorKind) -> Accumulator<V> {
        Accumulator::new(self.draft.borrow_mut().accumulator(name, kind), kind)
    }

    /// The rows of all these streams.
    ///
    /// **Shape**: as the first stream, names included; the partitions of all.
    /// **Order**: kept within each partition.
    /// **Errors**: the plan fails when there is no stream at all.
    /// **Cost**: rows are neither copied nor shuffled, as with [`DStream::union`](crate::DStream::union).
    /// **Source**: `StreamingContext.union`.
    ///
    /// ```
    /// # millpond::check_job!(|ctx: &mut millpond::StreamingContext| {
    /// let desks = ["north", "south", "harbour"].map(|desk| ctx.text(desk));
    /// ctx.union(&desks).count().sink("lines");
    /// # });
    /// ```
    #[must_use]
    pub fn union<T: Row>(&self, streams: &[DStream<T>]) -> DStream<T> {
        match streams {
            [] => {
                self.refuse("union(&[]) has no stream to take rows from: give it at least one");
                self.source("nothing")
            }
            [only] => only.clone(),
            [first, others @ ..] => first.united_with(others),
        }
    }

    /// The setting `name` from `[params]` of the job file; none if it is not there.
    #[must_use]
    pub fn param(&self, name: &str) -> Option<String> {
        self.params.iter().find(|param| param.name == name).map(|param| param.value.clone())
    }

    /// The setting `name`, or `default` if it is not there.
    ///
    /// **Errors**: a value that cannot be read makes the plan fail with a sentence that names the setting, its value and
    /// what was expected; meanwhile the default is returned, so that the function can go on.
    ///
    /// ```
    /// use millpond::{Job, Param, StreamingContext};
    ///
    /// let job = Job::new(|ctx: &mut StreamingContext| {
    ///     let shortest = ctx.param_or("shortest", 3);
    ///     ctx.text("lines").filter(move |line| line.len() >= shortest).sink("out");
    /// });
    /// let setting = millpond::runtime::Param { name: "shortest".into(), value: "three".into() };
    /// assert_eq!(
    ///     job.plan(&[setting]).unwrap_err(),
    ///     "the setting `shortest` is \"three\": expected a whole number, not negative"
    /// );
    /// ```
    pub fn param_or<P: Param>(&self, name: &str, default: P) -> P {
        let Some(text) = self.param(name) else { return default };
        P::from_text(&text).unwrap_or_else(|| {
            self.refuse(format!("the setting `{name}` is {text:?}: expected {}", P::EXPECTED));
            default
        })
    }

    /// Makes the plan fail with this sentence: for settings that make no sense together.
    ///
    /// ```
    /// use millpond::{Job, StreamingContext};
    ///
    /// let job = Job::new(|ctx: &mut StreamingContext| {
    ///     if ctx.param("from").is_none() {
    ///         ctx.refuse("the setting `from` is missing: say where to begin");
    ///     }
    ///     ctx.text("lines").sink("out");
    /// });
    /// assert!(job.plan(&[]).is_err());
    /// ```
    pub fn refuse(&self, sentence: impl Into<String>) {
        self.draft.borrow_mut().error(sentence);
    }

    /// The plan; streams that are still alive can add nothing to it any more.
    pub(crate) fn finish(self) -> Result<Finished, String> {
        let draft = Rc::try_unwrap(self.draft).map_or_else(|shared| shared.take(), std::cell::RefCell::into_inner);
        draft.finish()
    }
}
