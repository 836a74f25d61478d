//! The port of broadcast values that come from outside of the plan: the job file, a file that changes.
//!
//! Source: `org.apache.spark.broadcast.Broadcast`, with values that may be replaced between batches.

use arrow::array::RecordBatch;

use crate::BoxError;

/// Where a broadcast's value comes from. Asked before each batch, on the job's own thread.
pub trait BroadcastSource: Send {
    /// The value, if it is another than the last time; the first time in any case.
    ///
    /// # Errors
    /// When there is no value at all. Trouble with a newer one is told in a note, once, and the one before stays.
    fn poll(&mut self) -> Result<BroadcastPoll, BoxError>;
}

/// What a look at a value gave.
#[derive(Clone, Debug, Default)]
pub struct BroadcastPoll {
    /// The value, if it is new.
    pub rows: Option<RecordBatch>,
    /// What an operator should know.
    pub notes: Vec<String>,
}
