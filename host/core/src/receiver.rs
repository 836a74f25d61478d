//! The port of inputs.
//!
//! A receiver hands over *splits*: ranges of the outside world that one batch will hold, each becoming one partition. The
//! reading itself happens through [`SplitReader`] on compute threads, so decoding is parallel (a split that is alone is read
//! on the job's thread, unless its batch is begun ahead). What a receiver has handed over for good is its *progress*, entries
//! that are committed together with the batch's state.

use std::sync::Arc;

use arrow::array::RecordBatch;
use serde::{Deserialize, Serialize};

use crate::{BatchTime, BoxError};

/// An input of a job.
///
/// Life: `restore` once (perhaps with nothing), then `poll` and `take_progress` in turn, `stop` last. A pair of them gives a batch,
/// or nothing: then the next pair is for the same batch.
pub trait Receiver: Send {
    /// Whether what was handed over can be read again after a crash.
    fn reliability(&self) -> Reliability;

    /// Continues where committed progress ends. Entries are keys and values that `take_progress` gave earlier, deleted ones
    /// left out.
    fn restore(&mut self, entries: Vec<StoredEntry>) -> Result<(), BoxError>;

    /// Takes what the next batch will hold; nothing is an ordinary answer. Does not wait for data.
    fn poll(&mut self, request: &PollRequest) -> Result<Poll, BoxError>;

    /// Reads splits of the latest poll, and goes on doing so when there were more polls: several batches may be on their way.
    fn reader(&self) -> Arc<dyn SplitReader>;

    /// What changed since the last call: entries to set (`Some`) or to delete (`None`).
    fn take_progress(&mut self) -> Vec<ProgressEntry>;

    /// Lets go of files, connections and threads.
    fn stop(&mut self);
}

/// A key and its value, as committed.
pub type StoredEntry = (Vec<u8>, Vec<u8>);

/// A key, and its new value or `None` = deleted.
pub type ProgressEntry = (Vec<u8>, Option<Vec<u8>>);

/// Whether rows can be had again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reliability {
    /// The same split always gives the same rows.
    Replayable,
    /// What was handed over and not committed is lost in a crash.
    BestEffort,
}

/// What a batch asks of a receiver.
#[derive(Clone, Copy, Debug)]
pub struct PollRequest {
    /// The batch.
    pub batch_time: BatchTime,
    /// Into how many splits a large input is cut.
    pub partitions: usize,
    /// Whether several batches are computed side by side where there are several. A receiver that makes many small batches of what
    /// it has may leave each in one piece: every core has work all the same. Depends on the job's settings and on who runs it, not
    /// on what has come.
    pub side_by_side: bool,
}

/// Fewer bytes of records are not worth a split of their own (a guess: some 1000 lines, half a millisecond of work).
pub const SPLIT_BYTES_MIN: u64 = 64 << 10;

/// Into how many splits of equal size an input is cut (bytes, rows): at most as many as there are partitions, and none is smaller
/// than `least`, unless the input is.
///
/// ```
/// use millpond_core::receiver::split_count;
///
/// assert_eq!([0, 1999, 2000, 9000].map(|rows| split_count(rows, 1000, 4)), [1, 1, 2, 4]);
/// ```
#[must_use]
pub fn split_count(amount: u64, least: u64, partitions: usize) -> u64 {
    (amount / least.max(1)).clamp(1, partitions.max(1) as u64)
}

impl PollRequest {
    /// A request for a batch that is computed by itself.
    #[must_use]
    pub fn new(batch_time: BatchTime, partitions: usize) -> Self {
        Self { batch_time, partitions, side_by_side: false }
    }
}

/// What a receiver has for a batch.
#[derive(Clone, Debug, Default)]
pub struct Poll {
    /// In order: partition 0, 1 ...
    pub splits: Vec<Split>,
    /// There is more right now than this batch took (trigger `available-now` goes on until this is false).
    pub more: bool,
    /// Nothing will ever come again (a socket server that closed with reconnect off).
    pub ended: bool,
    /// Records that are lost before they could be read: a file that is gone or was cut short. Counted as bad records.
    pub reports: Vec<BadRecord>,
    /// What the operator should be told besides, and what is no loss: a connection that came or went.
    pub notes: Vec<String>,
}

/// A range of an input.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Split {
    /// What the receiver's reader needs to find it; opaque to everyone else.
    pub locator: Vec<u8>,
    /// Where it is, for messages: `data/a.txt bytes 0..1000`.
    pub place: String,
    /// How many bytes of records it holds at most; `None` = not known before it is read (it is compressed).
    pub bytes: Option<u64>,
}

/// Reads splits, on any thread, several at a time.
pub trait SplitReader: Send + Sync {
    /// The rows of a split.
    fn read(&self, split: &Split) -> Result<Decoded, BoxError>;
}

/// The rows of a split.
#[derive(Clone, Debug)]
pub struct Decoded {
    /// In the source's schema.
    pub batch: RecordBatch,
    /// What could not be decoded, in order.
    pub bad_records: Vec<BadRecord>,
    /// How many bytes were read.
    pub bytes: u64,
}

/// A record that could not be decoded, or another trouble with an input that need not stop the job.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadRecord {
    /// Where: `data/a.csv line 17`.
    pub place: String,
    /// What is wrong with it.
    pub reason: String,
}
