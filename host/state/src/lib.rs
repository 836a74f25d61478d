//! Commit log and checkpoint store of Millpond: a job's durable state in a folder, and the only crate that names sled.
//!
//! The one idea: what a commit waits for is one appended and synced record; everything else (folding the log into pages,
//! snapshots, deleting old log) happens on a background thread and may fail, be broken off or be lost without losing a
//! commit. Hot state is not here: the engine has it in memory and hands over deltas.
//!
//! ```text
//! DIR/
//!   LOCK                     locked while a store is open; holds the process number and the job's name
//!   meta.json                format version, job, whether there were commits
//!   log/00...042.log         the commit log, in segments ........................ see `log` and `record`
//!   store/0001/              the checkpoint store (sled): state up to some commit  see `checkpoint`
//!   snapshot/00...040/       the whole state in plain Arrow files ................ see `snapshot`
//!   store.damaged-0001/      a checkpoint store that did not serve; delete it when nobody wants to look into it
//!
//!   commits:      1 ......... 40 ......... 57 ...... 63
//!   snapshot:     =============|
//!   store:        ==========================|
//!   log:                      |======================|     kept back to the newest snapshot
//! ```
//! **Recovery**: the store and the log behind it; if the store will not open, is slow beyond a limit or fails its checks, it
//! is moved aside, and the newest good snapshot and the log behind it give the same state. Format version 1 throughout;
//! every file and entry has a version and a CRC-32. Little-endian but for sled's keys.
//!
//! The contract suite that this store and the fakes pass is `millpond_testkit::contract::state_store`.

mod checkpoint;
mod chunk;
mod codec;
mod error;
mod fold;
mod folder;
mod forget;
mod lock;
mod log;
mod meta;
mod overlay;
mod record;
mod recover;
mod snapshot;
mod state;
mod store;
mod sweep;
mod tuning;
mod worker;

#[cfg(test)]
mod tests;

pub use error::{Error, Result};
pub use forget::forget;
pub use store::{FileStateStore, StateOptions};
