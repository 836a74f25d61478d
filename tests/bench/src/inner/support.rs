//! What the inner cases share: building and loading plugins, taking times.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};
use millpond_core::{BatchTime, BoxError, Clock, NodeId, Operator, PartitionId, Plan, SystemClock, TaskInfo};
use millpond_wasm::{EngineOptions, JobComponent, Limits, LoadOptions, WasmEngine};

use super::process::is_profiled;
/// The repository.
pub(super) fn repository() -> &'static Path {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.ancestors().nth(2).expect("the bench lies in tests/bench")
}

/// Builds a plugin folder of the repository as a user does; gives the component.
pub(super) fn build(millpond: &Path, folder: &str) -> Result<Vec<u8>> {
    let folder = repository().join(folder);
    let output = Command::new(millpond)
        .arg("build")
        .arg(&folder)
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        // The plugin's own workspace decides where it is built.
        .env_remove("CARGO_TARGET_DIR")
        .output()
        .with_context(|| format!("{} cannot be started", millpond.display()))?;
    if !output.status.success() {
        bail!("`millpond build {}` ended with {}", folder.display(), output.status);
    }
    let text = String::from_utf8(output.stdout).context("the path of the component is not UTF-8")?;
    // `PATH (SIZE)`
    let path = text.trim_end().rsplit_once(" (").map(|(path, _)| PathBuf::from(path));
    let path = path.with_context(|| format!("`millpond build` printed no path: {text}"))?;
    std::fs::read(&path).with_context(|| format!("{} cannot be read", path.display()))
}

/// An engine; its code has names for `perf` when that is watching.
pub(super) fn engine() -> Result<WasmEngine> {
    Ok(WasmEngine::try_new(EngineOptions { cache_dir: None, perf_map: is_profiled() })?)
}

/// Loads a component with these settings and the default limits.
pub(super) fn load(engine: &WasmEngine, bytes: &[u8], job: &str, params: &[(&str, &str)]) -> Result<JobComponent> {
    let params = params.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    let options = LoadOptions { job: job.to_owned(), params, limits: Limits::default() };
    Ok(engine.load_job(&options, bytes)?)
}

/// The first stage of a plan.
pub(super) fn first_stage(plan: &Plan) -> Result<NodeId> {
    let found = plan.nodes.iter().position(|node| matches!(node.operator, Operator::Stage(_)));
    let found = found.context("the plan has no stage")?;
    Ok(NodeId(u32::try_from(found).expect("a plan has few nodes")))
}

/// What a call is told.
pub(super) fn task() -> TaskInfo {
    TaskInfo { batch_time: BatchTime(1000), partition: PartitionId(0), partitions: 2, attempt: 0 }
}

/// An error of a port, with all its causes.
pub(super) fn plain(error: BoxError) -> anyhow::Error {
    anyhow::Error::msg(error.full_message())
}

/// How many milliseconds `work` takes, and its answer.
pub(super) fn timed<T>(work: impl FnOnce() -> T) -> (f64, T) {
    let clock = SystemClock::new();
    let answer = work();
    let ms = clock.monotonic_us() as f64 / 1000.0;
    (ms, answer)
}

/// The value below which the part `part` of the samples lies; 0.5 is the median.
///
/// # Panics
/// Without samples.
pub(super) fn quantile(samples: &[f64], part: f64) -> f64 {
    let mut sorted = samples.to_vec();
    sorted.sort_by(f64::total_cmp);
    let rank = (sorted.len() as f64 * part).ceil() as usize;
    sorted[rank.clamp(1, sorted.len()) - 1]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_samples() {
        let samples = [5.0, 1.0, 4.0, 2.0, 3.0];
        assert_eq!([0.0, 0.5, 0.99, 1.0].map(|part| quantile(&samples, part)), [1.0, 3.0, 5.0, 5.0]);
        let hundred: Vec<f64> = (1..=100).map(f64::from).collect();
        assert_eq!(quantile(&hundred, 0.99), 99.0);
    }
}
