//! The operators of a running job, one file each: batches in, batches out, deterministic given the state.
//!
//! An operator sees one batch at a time. `None` instead of a batch means that the stream above gives nothing at this batch
//! time, which only windows bring about (their slide may be longer than the batch interval).

pub(crate) mod reduce;
pub(crate) mod reduce_window;
pub(crate) mod sink;
pub(crate) mod sort;
pub(crate) mod stage;
pub(crate) mod take;
pub(crate) mod union;
pub(crate) mod update_state;
pub(crate) mod window;

use std::sync::{Mutex, PoisonError};

use millpond_core::store::NodeState;
use millpond_core::{BatchTime, Node, NodeId, PartitionBatch, PartitionId, Report, StateDelta, TaskInfo, UserFunction};

use crate::ComputePool;
use crate::error::Result;

/// What all operators of one batch share.
pub(crate) struct BatchContext<'a> {
    pub(crate) batch_time: BatchTime,
    /// The job's start: windows count their slides from here.
    pub(crate) start: BatchTime,
    pub(crate) pool: &'a ComputePool,
    pub(crate) function: &'a dyn UserFunction,
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
    pub(crate) reports: Vec<Report>,
}

impl BatchContext<'_> {
    pub(crate) fn count(&self, change: impl FnOnce(&mut BatchCounts)) {
        change(&mut self.counts.lock().unwrap_or_else(PoisonError::into_inner));
    }

    pub(crate) fn task(&self, partition: PartitionId, partitions: usize) -> TaskInfo {
        let partitions = u32::try_from(partitions).unwrap_or(u32::MAX);
        TaskInfo { batch_time: self.batch_time, partition, partitions, attempt: 0 }
    }

    /// Whether a window with this slide gives a result now.
    pub(crate) fn is_slide(&self, slide_ms: u64) -> bool {
        self.batch_time.0.wrapping_sub(self.start.0).rem_euclid(slide_ms.cast_signed()) == 0
    }
}

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
    /// Rows lie where the hash of the node's key puts them, so a shuffle by the same key can be left out.
    pub(crate) hashed: bool,
}

impl Rows {
    pub(crate) fn new(partitions: Vec<PartitionBatch>) -> Self {
        Self { partitions, hashed: false }
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
    /// Keys that are held.
    fn keys(&self) -> u64;
    /// Memory that is held, in bytes, approximately.
    fn memory_bytes(&self) -> u64;
}

/// What restoring needs of the job.
pub(crate) struct Restore<'a> {
    pub(crate) pool: &'a ComputePool,
    pub(crate) function: &'a dyn UserFunction,
    /// What the node's `last_slide` was at the newest commit.
    pub(crate) last_slide: Option<BatchTime>,
}
