//! The port of outputs: prepare, then commit, so that output appears only with the batch's state.
//!
//! Source: the two-phase sink of Flink (`TwoPhaseCommitSinkFunction`), and Spark's rule that output is identified by
//! (batch time, partition).

use std::str::FromStr;

use arrow::datatypes::SchemaRef;
use serde::{Deserialize, Serialize};

use crate::{BatchTime, BoxError, PartitionBatch};

/// An output of a job.
///
/// For each batch: `prepare` makes the output ready and invisible, the batch is committed together with the token, then
/// `commit` makes it visible. After a crash between the two, `commit` is called again with the stored token, so it must be
/// idempotent; whatever was prepared and not committed is cleaned up by `recover`.
pub trait Sink: Send {
    /// Called once before the first batch, with the token of the newest committed batch if there is one: finishes that
    /// commit, and removes what was prepared for batches that never were committed.
    fn recover(&mut self, last: Option<&SinkToken>) -> Result<(), BoxError>;

    /// Makes a batch's output ready and invisible. After an error nothing of it may ever become visible.
    fn prepare(&mut self, batch: &SinkBatch) -> Result<SinkToken, BoxError>;

    /// Makes prepared output visible. Idempotent.
    fn commit(&mut self, token: &SinkToken) -> Result<(), BoxError>;

    /// Drops prepared output of a batch that failed.
    fn abort(&mut self, token: &SinkToken) -> Result<(), BoxError>;
}

/// What a sink is given for a batch.
#[derive(Clone, Debug)]
pub struct SinkBatch {
    /// The batch.
    pub batch_time: BatchTime,
    /// Columns of the rows.
    pub schema: SchemaRef,
    /// The rows, in partitions 0, 1 ...; in mode `update` only those that changed.
    pub partitions: Vec<PartitionBatch>,
}

/// What a sink needs to finish a commit after a restart; opaque to everyone else.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SinkToken {
    /// The batch.
    pub batch_time: BatchTime,
    /// The sink's own bytes.
    pub data: Vec<u8>,
}

/// Which of a batch's rows go out.
///
/// **Source**: the output modes of Spark's structured streaming, for streams of batches.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum OutputMode {
    /// The batch's rows; nothing for a batch without rows.
    #[default]
    Append,
    /// The rows that differ from the last ones with the same key. Needs a keyed stream.
    Update,
    /// The batch's rows as the whole result at that time, also when there are none.
    Complete,
}

impl FromStr for OutputMode {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "append" => Ok(Self::Append),
            "update" => Ok(Self::Update),
            "complete" => Ok(Self::Complete),
            other => Err(format!("`{other}` is not an output mode: use append, update or complete")),
        }
    }
}
