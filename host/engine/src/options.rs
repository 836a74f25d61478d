//! What a job is made of, and what it reports at the end.

use std::collections::BTreeMap;
use std::sync::Arc;

use millpond_core::{
    AccumulatorTotal, BroadcastSource, Clock, Listener, OutputMode, PhaseTimes, Receiver, Sink, StateStore,
    TransformFunction, UserFunction,
};

use crate::{ComputePool, StreamGraph};

/// When batches are made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trigger {
    /// Everything there is, as fast as possible, then stop. Batch times advance by the batch interval, whatever the clock
    /// says.
    AvailableNow,
    /// One batch every interval, until told to stop.
    Continuous,
}

/// What happens after a record that cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnBadRecord {
    /// It is counted and reported, and the job goes on.
    Skip,
    /// The job fails; nothing of the batch is committed.
    Fail,
}

/// Settings of a job.
#[derive(Clone, Debug)]
pub struct JobOptions {
    /// The job's name.
    pub name: String,
    /// Milliseconds, at least 1; the same that the graph was built with.
    pub batch_interval_ms: u64,
    /// When batches are made.
    pub trigger: Trigger,
    /// Partitions after a shuffle, at least 1.
    pub parallelism: usize,
    /// Commit after every so many batches, at least 1. Output becomes visible with the commit.
    pub commit_every: u64,
    /// What happens after a row that user code refused.
    pub on_bad_record: OnBadRecord,
}

/// The outside of a job.
pub struct JobParts {
    /// The plan.
    pub graph: StreamGraph,
    /// The job's code.
    pub function: Arc<dyn UserFunction>,
    /// Components that serve as steps, by name.
    pub transforms: BTreeMap<String, Arc<dyn TransformFunction>>,
    /// Values that calls may read and no node of the plan makes, by name.
    pub broadcasts: BTreeMap<String, Box<dyn BroadcastSource>>,
    /// Inputs, by name.
    pub sources: BTreeMap<String, SourceBinding>,
    /// Outputs, by name.
    pub sinks: BTreeMap<String, SinkBinding>,
    /// Durable state.
    pub store: Box<dyn StateStore>,
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// Threads, shared with other jobs.
    pub pool: Arc<ComputePool>,
    /// Is told of every batch.
    pub listener: Arc<dyn Listener>,
}

/// An input of a job.
pub struct SourceBinding {
    /// The receiver.
    pub receiver: Box<dyn Receiver>,
    /// What happens after a record that cannot be decoded.
    pub on_bad_record: OnBadRecord,
}

/// An output of a job.
pub struct SinkBinding {
    /// The sink.
    pub sink: Box<dyn Sink>,
    /// Which rows go out.
    pub mode: OutputMode,
}

/// Totals of a run.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Summary {
    /// Batches completed.
    pub batches: u64,
    /// Rows that receivers gave.
    pub rows_in: u64,
    /// Rows that went to sinks.
    pub rows_out: u64,
    /// Bytes that receivers read.
    pub bytes_in: u64,
    /// Rows that could not be decoded.
    pub bad_records: u64,
    /// Rows that user code refused.
    pub rejected: u64,
    /// From the runner's creation to now.
    pub elapsed_us: u64,
    /// Spent on batches; a time in which two were in hand counts once.
    pub processing_us: u64,
    /// Where the time went.
    pub phases: PhaseTimes,
    /// Keys in state, over all nodes.
    pub state_keys: u64,
    /// Memory of state, over all nodes, approximately.
    pub state_bytes: u64,
    /// The plan's accumulators as of the newest commit, over all runs of the job.
    pub accumulators: Vec<AccumulatorTotal>,
}
