//! Runs Millpond jobs inside another program.
//!
//! A [`Host`] has what all jobs of a program share: the engine for components, the compute threads, the threads for
//! connections. A [`JobBuilder`] says what is behind the names in a job's plan, and [`Job`] runs. Inputs and outputs are
//!
//! - the connectors that job files have: [`JobBuilder::source_of_type`], [`JobBuilder::sink_of_type`];
//! - ends in memory, for rows that the program has or wants itself: [`JobBuilder::memory_source`], [`JobBuilder::memory_sink`];
//! - whatever implements the ports [`Receiver`](core::Receiver) and [`Sink`](core::Sink): [`JobBuilder::source`],
//!   [`JobBuilder::sink`].
//!
//! ```no_run
//! use std::time::Duration;
//!
//! use millpond_embed::{Host, OutputMode, Trigger};
//!
//! # fn main() -> Result<(), millpond_embed::core::BoxError> {
//! let host = Host::new()?;
//! let component = std::fs::read("wordcount.wasm").expect("millpond build made it");
//! let mut job = host
//!     .job("wordcount", component)
//!     .param("top", 3)
//!     .batch_interval(Duration::from_millis(100))
//!     .trigger(Trigger::AvailableNow)
//!     .memory_source("lines", 100_000)
//!     .memory_sink("counts", OutputMode::Complete, 100_000)
//!     .open_in("state")?;
//! let (lines, counts) = (job.input("lines").expect("it was named"), job.output("counts").expect("it was named"));
//! lines.push_lines(["to be or not to be"]).expect("there is room");
//! drop(lines);
//! job.run()?;
//! for batch in counts.take() {
//!     println!("{}: {} partitions", batch.batch_time, batch.partitions.len());
//! }
//! # Ok(())
//! # }
//! ```
//!
//! `examples/embedding.rs` has a receiver and a sink of its own. What a batch, a commit and a state folder mean is the same as
//! for `millpond run`; this crate only wires, and decides nothing.

mod builder;
mod error;
mod host;
mod job;
mod no_state;

pub use arrow;
pub use builder::JobBuilder;
pub use error::Error;
pub use host::Host;
pub use job::Job;
pub use millpond_connectors::memory::{MemoryInput, MemoryOutput, PushError};
pub use millpond_connectors::{OpenSink, OpenSource};
/// The ports and nouns: `Receiver`, `Sink`, `StateStore`, `Clock`, `Listener`, errors, plans.
pub use millpond_core as core;
pub use millpond_core::OutputMode;
pub use millpond_engine::{OnBadRecord, Summary, Trigger};
pub use millpond_wasm::Limits;

// What the page shows must compile.
#[cfg(doctest)]
#[doc = include_str!("../../../docs/embedding.md")]
struct EmbeddingPageCompiles;
