//! Receivers and sinks of Millpond: where rows come from and where they go.
//!
//! One folder and one cargo feature per connector (a feature adds a `type`, it never changes what another one means):
//!
//! | `type` | Feature | What |
//! |---|---|---|
//! | source `files` | `files` | text, CSV or JSON lines in files of a folder; exactly once |
//! | source `socket` | `socket` | lines from a TCP server; best effort |
//! | source `stdin` | `stdin` | lines from standard input; best effort |
//! | source `rate` | `rate` | made-up rows at a set pace; exactly once |
//! | sink `console` | `console` | a table per batch |
//! | sink `stdout` | `stdout` | rows as lines, for pipes |
//! | sink `files` | `files` | part files per batch, visible when the batch is committed; exactly once |
//!
//! The job file's tables `[sources.NAME]` and `[sinks.NAME]` become a [`SourceSpec`] and a [`SinkSpec`], which check every
//! option and open the connector. Which keys there are, and what they default to, stands at the fields of the public
//! `...Options` structs.
//!
//! [`memory`] has a source and a sink for programs that embed the host; they have no table in the job file.
//!
//! This crate implements ports of `millpond-core` and knows nothing of engines, plugins or state.

#[cfg(feature = "files")]
pub mod broadcast;
#[cfg(any(feature = "decode", feature = "encode", feature = "console"))]
mod codec;
#[cfg(feature = "console")]
pub mod console_sink;
mod error;
#[cfg(feature = "files")]
pub mod files_sink;
#[cfg(feature = "files")]
pub mod files_source;
#[cfg(feature = "memory")]
pub mod memory;
#[cfg(feature = "rate")]
pub mod rate_source;
#[cfg(feature = "received")]
mod received;
#[cfg(feature = "socket")]
pub mod socket_source;
mod spec;
#[cfg(feature = "stdin")]
pub mod stdin_source;
#[cfg(feature = "stdout")]
pub mod stdout_sink;
#[cfg(any(feature = "decode", feature = "encode", feature = "console"))]
mod time;
pub mod units;
#[cfg(all(feature = "decode", feature = "encode"))]
pub mod whole;
#[cfg(feature = "options")]
mod wording;

#[cfg(feature = "files")]
pub use broadcast::{BroadcastSpec, OpenBroadcast};
pub use error::{Error, Result};
pub use spec::{OnBadRecordSpec, OpenSink, OpenSource, RecordFormatSpec, SinkSpec, SourceSpec, SpecError};
