//! The port of observation: what the engine tells of each batch.
//!
//! Source: `org.apache.spark.streaming.scheduler.StreamingListener`.

use std::ops::AddAssign;

use crate::{AccumulatorTotal, BatchTime, Epoch};

/// Is told what happens. Called on the job's own thread: return quickly.
pub trait Listener: Send + Sync {
    /// A batch is complete (committed, or computed if the commit comes with a later batch).
    fn batch_completed(&self, report: &BatchReport);

    /// Something that an operator should know and that does not stop the job.
    fn report(&self, report: &Report);
}

/// What a batch was and what it cost.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct BatchReport {
    /// The batch; milliseconds since the Unix epoch.
    pub batch_time_ms: i64,
    /// How many batches this run has completed, this one included.
    pub batches: u64,
    /// Rows that receivers gave.
    pub rows_in: u64,
    /// Bytes that receivers read.
    pub bytes_in: u64,
    /// Rows that went to sinks.
    pub rows_out: u64,
    /// Rows that could not be decoded.
    pub bad_records: u64,
    /// Rows that user code refused.
    pub rejected: u64,
    /// From the batch time to the start of processing.
    pub scheduling_delay_us: u64,
    /// From the start of processing to its end, commit included. The next batches may begin before that, and wait for their turn
    /// in the meantime: that is part of their time.
    pub processing_us: u64,
    /// Where the time went.
    pub phases: PhaseTimes,
    /// The commit, if this batch made one.
    pub epoch: Option<Epoch>,
    /// Bytes that the commit wrote.
    pub commit_bytes: u64,
    /// Keys in state, over all nodes.
    pub state_keys: u64,
    /// Memory of state, over all nodes, approximately.
    pub state_bytes: u64,
    /// The plan's accumulators, with all batches up to this one.
    pub accumulators: Vec<AccumulatorTotal>,
}

/// Where the time of batches went, in microseconds.
///
/// What runs on several threads is summed over them, so the sum of all may be more than the time that passed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PhaseTimes {
    /// Reading inputs and decoding records.
    pub decode_us: u64,
    /// User code, with the copies into and out of its memory.
    pub guest_us: u64,
    /// Moving rows to the partitions of their keys.
    pub shuffle_us: u64,
    /// The host's own operators: grouping, merging, state, windows, sorting.
    pub state_us: u64,
    /// The durable commit.
    pub commit_us: u64,
    /// Sinks: preparing output and making it visible.
    pub sink_us: u64,
}

impl PhaseTimes {
    /// The phases by name, in the order in which a batch goes through them.
    #[must_use]
    pub fn named(&self) -> [(&'static str, u64); 6] {
        [
            ("decode", self.decode_us),
            ("guest", self.guest_us),
            ("shuffle", self.shuffle_us),
            ("state", self.state_us),
            ("commit", self.commit_us),
            ("sink", self.sink_us),
        ]
    }
}

impl AddAssign for PhaseTimes {
    fn add_assign(&mut self, other: Self) {
        self.decode_us += other.decode_us;
        self.guest_us += other.guest_us;
        self.shuffle_us += other.shuffle_us;
        self.state_us += other.state_us;
        self.commit_us += other.commit_us;
        self.sink_us += other.sink_us;
    }
}

/// Something that an operator should know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Report {
    /// A source had a record that could not be decoded, or other trouble that it went on from.
    BadRecord {
        /// The source's name.
        source: String,
        /// Where.
        place: String,
        /// What is wrong.
        reason: String,
    },
    /// User code refused a row.
    Rejected {
        /// The node's name.
        node: String,
        /// The batch.
        batch_time: BatchTime,
        /// Where the row came from, as exactly as is known.
        place: String,
        /// Why.
        reason: String,
    },
    /// Recovery had to do something unusual, or a restart passed over batch times.
    Note {
        /// What.
        message: String,
    },
}
