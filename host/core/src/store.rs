//! The port of durable state: one atomic commit per batch, and recovery from the newest one.
//!
//! The engine keeps hot state in memory. What it hands to the store are deltas; the store appends them to a log, folds them
//! into checkpoints in the background, and gives everything back on recovery. The store knows neither keys nor partitions:
//! a key is bytes, and all partitions of a node share one key space, so a job may be restarted with another partition count.

use std::collections::BTreeMap;

use arrow::array::{BinaryArray, RecordBatch};

use crate::receiver::{ProgressEntry, StoredEntry};
use crate::{BatchTime, BoxError, Epoch, SinkToken};

/// A job's durable state.
pub trait StateStore: Send {
    /// Everything up to the newest commit. Called once, before any commit.
    fn recover(&mut self) -> Result<Recovered, BoxError>;

    /// Makes a commit durable: when this returns, `recover` after a crash gives at least this commit. All of it or
    /// nothing of it: after an error nothing of it is ever recovered. `record.epoch` is one more than the last.
    fn commit(&mut self, record: CommitRecord) -> Result<CommitStats, BoxError>;

    /// Finishes work in the background and lets go of the state folder.
    fn close(&mut self) -> Result<(), BoxError>;
}

/// One atomic commit.
#[derive(Clone, Debug)]
pub struct CommitRecord {
    /// Its number.
    pub epoch: Epoch,
    /// The newest batch in it.
    pub batch_time: BatchTime,
    /// Facts about the job that are not a node's state, by name; last writer wins (`start-ms`, schemas of states ...).
    pub meta: Vec<(String, Vec<u8>)>,
    /// Progress of sources, by the source's name.
    pub sources: Vec<(String, Vec<ProgressEntry>)>,
    /// Changes of state. Several entries for one node (one a partition) are ordinary; they never name the same key twice.
    pub state: Vec<StateDelta>,
    /// Tokens of sinks, by the sink's name; each replaces the sink's last one.
    pub sinks: Vec<(String, SinkToken)>,
}

/// A change of one node's state.
#[derive(Clone, Debug)]
pub struct StateDelta {
    /// The node's name.
    pub node: String,
    /// What changed.
    pub change: StateChange,
}

/// How a node's state changed.
#[derive(Clone, Debug)]
#[expect(clippy::large_enum_variant, reason = "a commit holds few of these, and the large one is the usual one")]
pub enum StateChange {
    /// Keyed state. Deletions come first, then upserts.
    Keyed {
        /// Keys to delete. Deleting a key that is not there is no error.
        deletes: BinaryArray,
        /// Keys to insert or replace. No nulls.
        keys: BinaryArray,
        /// Their values, row by row.
        values: RecordBatch,
    },
    /// Rows to keep under a time (a window's panes). Several batches under one time are all kept, in order.
    AppendPane {
        /// The pane's time.
        time: BatchTime,
        /// Its rows.
        rows: RecordBatch,
    },
    /// Drops all panes with `time <= up_to`.
    DropPanes {
        /// The newest time to drop.
        up_to: BatchTime,
    },
}

/// What a commit cost.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CommitStats {
    /// Bytes written to the log.
    pub bytes: u64,
}

/// State as of the newest commit.
#[derive(Clone, Debug, Default)]
pub struct Recovered {
    /// The newest commit; `None` = a fresh job, and everything else is empty.
    pub last: Option<(Epoch, BatchTime)>,
    /// By name.
    pub meta: BTreeMap<String, Vec<u8>>,
    /// Progress entries, by source.
    pub sources: BTreeMap<String, Vec<StoredEntry>>,
    /// By node.
    pub nodes: BTreeMap<String, NodeState>,
    /// By sink.
    pub sinks: BTreeMap<String, SinkToken>,
    /// What recovery had to do that an operator should know (a torn tail was cut, a store was moved aside).
    pub notes: Vec<String>,
}

/// One node's state. A node has keyed state or panes, perhaps both.
#[derive(Clone, Debug, Default)]
pub struct NodeState {
    /// Chunks of keys with their values, each key once over all chunks, in no particular order.
    pub keyed: Vec<KeyedChunk>,
    /// Panes by time, oldest first, each with its batches in the order in which they were appended.
    pub panes: BTreeMap<BatchTime, Vec<RecordBatch>>,
}

/// Keys and their values, row by row.
#[derive(Clone, Debug)]
pub struct KeyedChunk {
    /// No nulls.
    pub keys: BinaryArray,
    /// As many rows as `keys`.
    pub values: RecordBatch,
}
