//! Cases that run Millpond's crates inside the bench, each in a child process of its own, so that memory and processor time
//! are the case's alone.

mod boundary;
mod commit;
mod empty;
mod join;
mod latency;
mod many_jobs;
mod map_with_state;
mod process;
mod sliding_max;
mod stage;
mod stateful;
mod support;

use anyhow::bail;

use crate::case::{CaseResult, InnerOptions};

/// Runs one case.
///
/// # Errors
/// No such case, or what went wrong in it.
pub(crate) fn run(case: &str, options: &InnerOptions) -> anyhow::Result<CaseResult> {
    // As the program does.
    millpond_cli::allocator::keep_freed_memory();
    std::fs::create_dir_all(&options.data_dir)?;
    match case {
        "boundary" => boundary::run(options),
        "stage" => stage::run(options),
        "empty" => empty::run(options),
        "latency" => latency::run(options),
        "commit" => commit::run(options),
        "join" => join::run(options),
        "many-jobs" => many_jobs::run(options),
        "sliding-max" => sliding_max::run(options),
        "map-with-state" => map_with_state::run(options),
        _ => bail!("`{case}` does not run inside the bench"),
    }
}
