//! The operators of a running job, one file each: batches in, batches out, deterministic given the state.
//!
//! An operator sees one batch at a time. `None` instead of a batch means that the stream above gives nothing at this batch
//! time, which only windows bring about (their slide may be longer than the batch interval).

pub(crate) mod broadcast;
pub(crate) mod expiry;
pub(crate) mod group;
pub(crate) mod join;
pub(crate) mod map_with_state;
mod nest;
pub(crate) mod reduce;
pub(crate) mod reduce_session;
pub(crate) mod reduce_window;
pub(crate) mod repartition;
pub(crate) mod sink;
pub(crate) mod sort;
pub(crate) mod stage;
pub(crate) mod take;
pub(crate) mod timed;
pub(crate) mod touched;
pub(crate) mod union;
pub(crate) mod update_state;
pub(crate) mod whole_batch;
pub(crate) mod window;

use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex, PoisonError};

use arrow::array::RecordBatch;
use millpond_core::store::NodeState;
use millpond_core::{
    BatchTime, Clock, Node, NodeId, PartitionBatch, PartitionId, Report, StateDelta, TaskInfo, UserFunction,
};

use self::timed::TimedFunction;
use crate::ComputePool;
use crate::error::Result;
use crate::shuffle::{self, Keyed, Shuffled};

/// What all operators of one batch share.
pub(crate) struct BatchContext<'a> {
    pub(crate) batch_time: BatchTime,
    /// The job's start: windows count their slides from here.
    pub(crate) start: BatchTime,
    /// Whether a commit follows: tasks may make ready what they will be asked for.
    pub(crate) is_commit: bool,
    pub(crate) clock: &'a dyn Clock,
    pub(crate) pool: TimedPool<'a>,
    pub(crate) function: &'a TimedFunction<'a>,
    /// Partitions after a shuffle.
    pub(crate) parallelism: usize,
    pub(crate) counts: Mutex<BatchCounts>,
}

/// What tasks count and report while a batch runs.
#[derive(Debug, Default)]
pub(crate) struct BatchCounts {
    pub(crate) rows_in: u64,
    pub(crate) bytes_in: u64,
    pub(crate) rows_out: u64,
    pub(crate) bad_records: u64,
    pub(crate) rejected: u64,
    /// Spent on reading and decoding, summed over threads.
    pub(crate) decode_us: u64,
    pub(crate) shuffle_us: u64,
    pub(crate) reports: Vec<Report>,
}

/// The compute pool, with a count of the time that it is used for.
pub(crate) struct TimedPool<'a> {
    pool: &'a ComputePool,
    clock: &'a dyn Clock,
    /// Time in which the job's thread waited for tasks.
    waited_us: AtomicU64,
    /// Time of the tasks, summed.
    tasks_us: AtomicU64,
}

impl<'a> TimedPool<'a> {
    pub(crate) fn new(pool: &'a ComputePool, clock: &'a dyn Clock) -> Self {
        Self { pool, clock, waited_us: AtomicU64::new(0), tasks_us: AtomicU64::new(0) }
    }

    /// As [`ComputePool::run`]. Called by one thread at a time: the job's own, or one of the pool's for a front that is begun ahead.
    pub(crate) fn run<T, U, F>(&self, items: Vec<T>, task: F) -> Result<Vec<U>>
    where
        T: Send,
        U: Send,
        F: Fn(T) -> Result<U> + Send + Sync,
    {
        let began_us = self.clock.monotonic_us();
        let output = self.pool.run(items, |item| {
            let began_us = self.clock.monotonic_us();
            let output = task(item);
            self.tasks_us.fetch_add(self.clock.monotonic_us().saturating_sub(began_us), Relaxed);
            output
        });
        self.waited_us.fetch_add(self.clock.monotonic_us().saturating_sub(began_us), Relaxed);
        output
    }

    /// A measure of work so far: the time of the job's thread, and of tasks instead of waiting for them. The difference of two
    /// calls is the work between them, summed over threads.
    pub(crate) fn busy_us(&self) -> u64 {
        let now_us = self.clock.monotonic_us();
        (now_us + self.tasks_us.load(Relaxed)).saturating_sub(self.waited_us.load(Relaxed))
    }
}

/// To look through so many keys takes less than to wake the pool's threads: rounds of an empty batch in the pool cost some
/// 0.1 ms (Zen 5, 2026-12-01).
const SMALL_KEYS: u64 = 1024;

/// Memory of so many keys, which may all come out.
const SMALL_BYTES: u64 = 1 << 20;

impl BatchContext<'_> {
    pub(crate) fn count(&self, change: impl FnOnce(&mut BatchCounts)) {
        change(&mut self.counts.lock().unwrap_or_else(PoisonError::into_inner));
    }

    pub(crate) fn task(&self, partition: PartitionId, partitions: usize) -> TaskInfo {
        let partitions = u32::try_from(partitions).unwrap_or(u32::MAX);
        TaskInfo { batch_time: self.batch_time, partition, partitions, attempt: 0 }
    }

    /// Sends rows to where their keys belong, and runs a task for each partition. Rows that lie there are left as they are.
    ///
    /// `is_by_rows`: whether the tasks have hardly any work without rows. Then they run on this thread, one after the other, if there are
    /// none.
    pub(crate) fn run_by_key<S: Send, T: Send>(
        &self,
        keyed: Keyed<'_>,
        input: Rows,
        is_by_rows: bool,
        states: impl FnOnce(usize) -> Vec<S>,
        task: impl Fn(S, PartitionId, RecordBatch, Vec<u64>) -> Result<T> + Send + Sync,
    ) -> Result<Vec<T>> {
        let is_idle = is_by_rows && input.partitions.iter().all(|batch| batch.rows.num_rows() == 0);
        let shuffled = self.shuffle(keyed, input, self.parallelism)?;
        let items = states(shuffled.partitions()).into_iter().zip((0..).map(PartitionId));
        let task = |(state, partition)| {
            let (rows, hashes) = self.fetch(&shuffled, keyed, partition)?;
            task(state, partition, rows, hashes)
        };
        if is_idle { items.map(task).collect() } else { self.pool.run(items.collect(), task) }
    }

    /// Sends the rows of several inputs to where their keys belong, and runs a task for each partition with those of all.
    ///
    /// A partition may be cut into parts, by hash too, that have a task and an answer each, one after the other. It has one part if
    /// rows lie where they belong already.
    pub(crate) fn run_together<T: Send>(
        &self,
        inputs: Vec<(Keyed<'_>, Rows)>,
        parts: usize,
        task: impl Fn(PartitionId, Vec<(RecordBatch, Vec<u64>)>) -> Result<T> + Send + Sync,
    ) -> Result<Vec<T>> {
        let parts = if inputs.iter().any(|(_, rows)| rows.hashes.is_some()) { 1 } else { parts };
        let shuffle = |(keyed, rows)| Ok((keyed, self.shuffle(keyed, rows, self.parallelism * parts)?));
        let inputs: Vec<(Keyed<'_>, Shuffled)> = inputs.into_iter().map(shuffle).collect::<Result<_>>()?;
        let partitions = inputs.iter().map(|(_, shuffled)| shuffled.partitions()).max().unwrap_or(0);
        self.pool.run((0..).map(PartitionId).take(partitions).collect(), |partition| {
            let inputs = inputs.iter().map(|(keyed, shuffled)| self.fetch(shuffled, *keyed, partition));
            task(partition, inputs.collect::<Result<_>>()?)
        })
    }

    fn shuffle(&self, keyed: Keyed<'_>, input: Rows, targets: usize) -> Result<Shuffled> {
        let began_us = self.pool.busy_us();
        let shuffled = match input.hashes {
            Some(hashes) => Shuffled::InPlace(input.partitions, hashes),
            None => shuffle::by_key(&self.pool, keyed, input.partitions, targets)?,
        };
        let split_us = self.pool.busy_us().saturating_sub(began_us);
        self.count(|counts| counts.shuffle_us += split_us);
        Ok(shuffled)
    }

    fn fetch(&self, shuffled: &Shuffled, keyed: Keyed<'_>, partition: PartitionId) -> Result<(RecordBatch, Vec<u64>)> {
        let began_us = self.clock.monotonic_us();
        let fetched = shuffled.fetch(keyed, partition.0 as usize)?;
        let fetch_us = self.clock.monotonic_us().saturating_sub(began_us);
        self.count(|counts| counts.shuffle_us += fetch_us);
        Ok(fetched)
    }

    /// Whether a window with this slide gives a result now.
    pub(crate) fn is_slide(&self, slide_ms: u64) -> bool {
        self.batch_time.0.wrapping_sub(self.start.0).rem_euclid(slide_ms.cast_signed()) == 0
    }
}

/// A partition that comes from a source or a join has at most about so many bytes, so that a call's input is small against the
/// memory that a component may use by default (256 MiB).
pub(crate) const PARTITION_BYTES_MAX: usize = 32 * 1024 * 1024;

/// A node of the running job.
#[derive(Clone, Copy)]
pub(crate) struct NodeRef<'a> {
    pub(crate) id: NodeId,
    pub(crate) node: &'a Node,
}

impl NodeRef<'_> {
    pub(crate) fn name(&self) -> &str {
        &self.node.name
    }
}

/// A batch at a node.
#[derive(Clone, Debug)]
pub(crate) struct Rows {
    pub(crate) partitions: Vec<PartitionBatch>,
    /// If rows lie where the hash of the node's key puts them, so that a shuffle by the same key can be left out: those hashes,
    /// by partition and row. Shared, as several nodes may read the batch.
    pub(crate) hashes: Option<Arc<Vec<Vec<u64>>>>,
}

impl Rows {
    pub(crate) fn new(partitions: Vec<PartitionBatch>) -> Self {
        Self { partitions, hashes: None }
    }

    /// The rows for a node that may have another key: `is_same` says whether its key is that of the node which they come from.
    pub(crate) fn with_key(self, is_same: bool) -> Self {
        Self { hashes: self.hashes.filter(|_| is_same), ..self }
    }

    /// Rows that lie where their keys belong, with the hashes of those.
    pub(crate) fn hashed(partitions: Vec<(PartitionBatch, Vec<u64>)>) -> Self {
        let (partitions, hashes) = partitions.into_iter().unzip();
        Self { partitions, hashes: Some(Arc::new(hashes)) }
    }
}

/// An operator with state of its own.
pub(crate) trait Stateful: Send {
    /// Continues from recovered state.
    fn restore(&mut self, state: NodeState, context: &Restore<'_>) -> Result<()>;
    /// What changed since the last call.
    fn take_deltas(&mut self) -> Result<Vec<StateDelta>>;
    /// What a restart has to know besides: the time of the last slide.
    fn last_slide(&self) -> Option<BatchTime> {
        None
    }
    /// Whether it has run its first batch since the last call. A restart has to know: an initial state is taken in once.
    fn take_begun(&mut self) -> bool {
        false
    }
    /// Keys that are held.
    fn keys(&self) -> u64;
    /// Memory that is held, in bytes, approximately.
    fn memory_bytes(&self) -> u64;
    /// Whether it takes hardly any time to look through all of it.
    fn is_small(&self) -> bool {
        self.keys() <= SMALL_KEYS && self.memory_bytes() <= SMALL_BYTES
    }
}

/// What restoring needs of the job.
pub(crate) struct Restore<'a> {
    pub(crate) pool: TimedPool<'a>,
    pub(crate) function: &'a dyn UserFunction,
    /// Whether no batch of the node is in a commit yet.
    pub(crate) is_new: bool,
    /// What the node's `last_slide` was at the newest commit.
    pub(crate) last_slide: Option<BatchTime>,
}
