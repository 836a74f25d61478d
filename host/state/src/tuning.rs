//! The sizes that decide when something happens. Users do not set them; tests make them small.

use std::time::Duration;

/// See each field.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Tuning {
    /// A log segment that is this long is followed by a new one.
    pub(crate) segment_bytes: u64,
    /// A fold is due when so much log is in no checkpoint. Measured: bounds what a restart reads to about two seconds (177 MB
    /// with 6.3 M keys were replayed in 1.7 s).
    pub(crate) fold_bytes: u64,
    /// A fold reads so much log at a time. Design: bounds what it holds in memory.
    pub(crate) fold_slice_bytes: u64,
    /// A snapshot is due when so much was folded since the last one. Design: bounds the log that is kept.
    pub(crate) snapshot_bytes: u64,
    /// A snapshot is also due after so many folds, if they came to at least a quarter of the state's size. Guess: five
    /// minutes at the usual cadence.
    pub(crate) snapshot_folds: u32,
    /// A commit waits, and fails if folds fail, when more log than this is in no checkpoint.
    pub(crate) backlog_bytes: u64,
    /// Closing folds what is left when it is at least this much (less is read back at the next start in no time) ...
    pub(crate) close_fold_bytes_min: u64,
    /// ... and at most this much (more would keep the user waiting).
    pub(crate) close_fold_bytes_max: u64,
    /// Closing makes a snapshot when the state is not larger than this and something was folded since the last one.
    pub(crate) close_snapshot_bytes: u64,
    /// Opening the checkpoint store fails when it takes longer than this.
    pub(crate) open_limit: Duration,
}

impl Default for Tuning {
    fn default() -> Self {
        Self {
            segment_bytes: crate::log::SEGMENT_BYTES,
            fold_bytes: 256 << 20,
            fold_slice_bytes: 64 << 20,
            snapshot_bytes: 256 << 20,
            snapshot_folds: 32,
            backlog_bytes: 1 << 30,
            close_fold_bytes_min: 1 << 20,
            close_fold_bytes_max: 16 << 20,
            close_snapshot_bytes: 16 << 20,
            open_limit: Duration::from_secs(30),
        }
    }
}
