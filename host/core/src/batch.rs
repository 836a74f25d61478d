//! Rows in flight: a micro-batch is a list of partition batches.

use arrow::array::{Array, RecordBatch};

use crate::PartitionId;

/// The rows of one partition of a batch.
///
/// A batch at a node is a `Vec<PartitionBatch>` with partitions 0, 1, 2 ... in order, each perhaps empty.
/// Cloning is cheap: Arrow buffers are shared.
#[derive(Clone, Debug, PartialEq)]
pub struct PartitionBatch {
    /// Which partition.
    pub partition: PartitionId,
    /// Its rows.
    pub rows: RecordBatch,
}

/// Numbers record batches as partitions 0, 1, 2 ...
#[must_use]
pub fn partitions(batches: Vec<RecordBatch>) -> Vec<PartitionBatch> {
    (0..).map(PartitionId).zip(batches).map(|(partition, rows)| PartitionBatch { partition, rows }).collect()
}

/// How many bytes the values of a batch take.
#[must_use]
pub fn value_bytes(rows: &RecordBatch) -> u64 {
    rows.columns().iter().map(|column| column.to_data().get_slice_memory_size().unwrap_or(0) as u64).sum()
}

/// How many rows all partitions hold.
#[must_use]
pub fn row_count(batches: &[PartitionBatch]) -> usize {
    batches.iter().map(|batch| batch.rows.num_rows()).sum()
}
