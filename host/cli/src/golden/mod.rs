//! Golden cases: a job's input and the output it must give, as files. `millpond test` runs them.
//!
//! A case is a folder in `tests/` beside the job file:
//!
//! ```text
//! tests/two-batches/
//!   1.lines.txt             batch 1, source `lines`; .txt is text, .csv has a header line, .jsonl is JSON lines
//!   3.lines.txt             batch 3; batch 2 has no input
//!   expected.counts.jsonl   what sink `counts` gives: JSON lines, `# batch 1` before those of batch 1 ...
//!   case.toml               optional: batches = 5 (default: the last that has input), set = ["params.top=3"]
//! ```
//!
//! Batch 1 ends one batch interval after 2023-11-14T22:13:20Z, batch 2 one later, and so on. Rows of a sink that stands behind
//! `sort_by`, `top_by` or `take` must come in order; others may come in any. `case` reads a case, `expected` the file of a sink, `play`
//! runs a job with it.

mod case;
mod expected;
mod play;

pub(crate) use case::{Case, find};
pub(crate) use expected::{Batches, changes};
pub(crate) use play::{Output, Prepared, WAYS};
