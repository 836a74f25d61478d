//! Golden cases: a job's input and the output it must give, as files. `millpond test` runs them.
//!
//! A case is a folder in `tests/` beside the job file:
//!
//! ```text
//! tests/two-batches/
//!   1.lines.txt             batch 1, source `lines`; .txt is text, .csv has a header line, .jsonl is JSON lines
//!   3.lines.txt             batch 3; batch 2 has no input
//!   expected.counts.jsonl   what sink `counts` gives: JSON lines, `# batch 1` before those of batch 1 ...
//!   accumulators.jsonl      optional: what accumulators have come to after the last batch
//!   case.toml               optional: batches = 5 (default: the last that has input), set = ["params.top=3"],
//!                           input = "../../words" (a folder with input files besides this one)
//! ```
//!
//! Batch 1 ends one batch interval after 2023-11-14T22:13:20Z, batch 2 one later, and so on. Rows of a sink behind `sort_by`,
//! `top_by` or `take`, with only stages between, must come in order; others may come in any. `case` reads a case, `expected` the file of a sink, `totals`
//! that of accumulators, `play` runs a job with it.

mod case;
mod expected;
mod play;
mod totals;

pub(crate) use case::{Case, find};
pub(crate) use expected::{Batches, changes};
pub(crate) use play::{Output, Prepared, WAYS};
pub(crate) use totals::Totals;
