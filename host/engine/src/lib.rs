//! Plan, operators, windows, scheduler and checkpoint protocol of Millpond: pure logic over the ports of `millpond-core`.
//!
//! A [`StreamGraph`] is a plan that was found to make sense. A [`JobRunner`] owns one job's graph, receivers, sinks and hot
//! state. It computes its micro-batches one after the other, and commits each on a thread of its own while the next one is
//! computed; the tasks of a batch run on a [`ComputePool`] that all jobs of a process share. The engine opens no file and no
//! connection and never reads a clock of its own.
//!
//! Source: `org.apache.spark.streaming` (`StreamingContext`, `DStreamGraph`, `scheduler.JobGenerator`), with one atomic
//! commit per batch in place of checkpoint and write-ahead log.

mod accumulators;
mod broadcasts;
mod columns;
pub mod draw;
pub mod error;
mod first;
mod gather;
mod graph;
mod group;
mod inspect;
mod key;
mod key_table;
mod marks;
mod operators;
mod options;
mod pool;
mod primitive;
mod runner;
mod segmented;
mod shuffle;
mod state;
mod sums;

pub use error::Error;
pub use graph::StreamGraph;
pub use inspect::state_rows;
pub use options::{JobOptions, JobParts, OnBadRecord, SinkBinding, SourceBinding, Summary, Trigger};
pub use pool::ComputePool;
pub use runner::JobRunner;
