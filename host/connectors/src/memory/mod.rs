//! A source and a sink in memory, for programs that embed the host.
//!
//! ```text
//! MemoryInput::push -> [ bounded queue ] -> MemorySource (a Receiver) -> job -> MemorySink -> [ bounded ] -> MemoryOutput::take
//! ```
//! Both ends are bounded by rows, so that a program which is quicker or slower than its job notices. What is in memory is lost
//! with the process (best effort): rows that were pushed and are in no commit, and rows that nobody has taken.

mod sink;
mod source;

pub use self::sink::{MemoryOutput, MemorySink};
pub use self::source::{MemoryInput, MemorySource, PushError};

#[cfg(test)]
mod tests;
