//! `millpond check`: everything that `run` does before the first batch, with nothing written.

use std::sync::Arc;

use millpond_core::{Clock, StopSignal, SystemClock};

use super::{Failure, io_runtime, print};
use crate::args::CheckArgs;
use crate::job::LoadedJob;
use crate::screen::Screen;
use crate::text::plural;

/// Checks, and says so.
pub fn check(args: &CheckArgs, screen: &Screen) -> Result<(), Failure> {
    let job = LoadedJob::load(&args.job)?;
    job.cross_check()?;
    job.check_modes()?;
    job.check_trigger()?;
    job.check_loops()?;
    job.file.check_streams()?;
    job.load_transforms()?;
    job.open_broadcasts()?;
    let runtime = io_runtime()?;
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
    let sources = job.open_sources(runtime.handle(), &clock)?;
    let sinks = job.open_sinks(screen, &StopSignal::new())?;
    let (source_count, sink_count) = (sources.len(), sinks.len());
    for mut source in sources.into_values() {
        source.receiver.stop();
    }
    runtime.shutdown_background();
    let counts = [
        plural(job.graph.plan().nodes.len(), "node", "nodes"),
        plural(source_count, "source", "sources"),
        plural(sink_count, "sink", "sinks"),
    ];
    print(screen, &format!("{}: ok ({})\n", job.file.job.name, counts.join(", ")))
}
