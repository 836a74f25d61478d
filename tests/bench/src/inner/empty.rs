//! `empty`: the fixed cost of a batch without rows. The real program on an empty folder, a batch every 10 ms, each committed
//! durably.

use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use millpond_core::{Clock, StopSignal, SystemClock};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::process::cpu_ms;
use super::support::{build, quantile, repository, timed};
use crate::case::{CaseResult, InnerOptions};
use crate::compare::{Bar, figure};
use crate::jobs::Totals;

const INTERVAL_MS: u64 = 10;
/// Of a run.
const BATCHES: u64 = 500;
/// Bare appends beside a run.
const BARE: usize = 250;
/// Batches at the start that are left out: the program is not warm yet.
const WARM_UP: usize = 20;
/// What the program gets to start in; not measured.
const START: Duration = Duration::from_millis(500);
const P99_MAX_MS: f64 = 1.0;

pub(super) fn run(options: &InnerOptions) -> Result<CaseResult> {
    build(&options.millpond, "plugins/wordcount")?;
    let (batches, bare) = if options.quick { (BATCHES / 5, BARE / 5) } else { (BATCHES, BARE) };
    let runs: Vec<Run> = (0..options.repetitions).map(|_| measure(options, batches, bare)).collect::<Result<_>>()?;
    let each = |of: fn(&Run) -> f64| runs.iter().map(of).collect::<Vec<f64>>();
    let totals: Vec<Totals> = runs.iter().map(|run| run.totals).collect();
    Ok(CaseResult {
        case: "empty".to_owned(),
        what: format!("plugins/wordcount on an empty folder: a batch every {INTERVAL_MS} ms, each committed durably"),
        figures: vec![
            figure("processing, p50", "ms", &each(|run| quantile(&run.processing_ms, 0.5))),
            figure("processing, p99", "ms", &each(|run| quantile(&run.processing_ms, 0.99)))
                .must(Bar::MedianAtMost(P99_MAX_MS)),
            figure("processing, slowest", "ms", &each(|run| quantile(&run.processing_ms, 1.0))),
            figure("of that, the commit, p50", "ms", &each(|run| quantile(&run.commit_ms, 0.5))),
            figure("processing without the commit, p99", "ms", &each(|run| quantile(&run.rest_ms, 0.99))),
            figure("bare append of 100 bytes + fdatasync, p50", "ms", &each(|run| quantile(&run.bare_ms, 0.5))),
            figure("bare append of 100 bytes + fdatasync, p99", "ms", &each(|run| quantile(&run.bare_ms, 0.99))),
            figure("processor time per batch, polling and waiting included", "us", &each(|run| run.cpu_us)),
        ],
        phases: vec![Totals::mean_phases("", &totals)],
        notes: vec![format!(
            "a run is {batches} batches and those while the program starts, the first {WARM_UP} left out, and then {bare} bare appends; figures are over runs"
        )],
    })
}

/// One run, and bare appends after it.
struct Run {
    processing_ms: Vec<f64>,
    commit_ms: Vec<f64>,
    rest_ms: Vec<f64>,
    bare_ms: Vec<f64>,
    cpu_us: f64,
    totals: Totals,
}

fn measure(options: &InnerOptions, batches: u64, bare: usize) -> Result<Run> {
    let folder = tempfile::tempdir_in(&options.data_dir)?;
    fs::create_dir(folder.path().join("in"))?;
    let cpu_us = watch(&options.millpond, folder.path(), batches)?;
    let path = folder.path().join("report.jsonl");
    let report = fs::read_to_string(&path).context("`millpond run` wrote no report")?;
    let reports = parse(&report)?;
    ensure!(reports.len() > WARM_UP + 10, "only {} batches were made in the time of {batches}", reports.len());
    let warm = &reports[WARM_UP..];
    ensure!(warm.iter().all(|batch| batch.rows_in == 0), "the folder was not empty");
    Ok(Run {
        processing_ms: warm.iter().map(|batch| batch.processing_ms).collect(),
        commit_ms: warm.iter().map(|batch| batch.commit_ms).collect(),
        rest_ms: warm.iter().map(|batch| batch.processing_ms - batch.commit_ms).collect(),
        bare_ms: bare_appends(folder.path(), bare)?,
        cpu_us,
        totals: Totals::read(&path)?,
    })
}

/// Runs the program for the time of so many batches; gives its processor time per interval, microseconds.
fn watch(millpond: &Path, folder: &Path, batches: u64) -> Result<f64> {
    let path = |name: &str| folder.join(name).display().to_string();
    let mut child = Command::new(millpond)
        .arg("run")
        .arg(repository().join("plugins/wordcount"))
        .args(["--no-build", "--fresh", "--state", &path("state"), "--report", &path("report.jsonl")])
        .args(["--set", "job.trigger=continuous", "--set", &format!("job.batch-interval={INTERVAL_MS}ms")])
        .args(["--set", &format!("sources.lines.path={}", path("in"))])
        .stdin(Stdio::null())
        .stdout(fs::File::create(folder.join("out.txt"))?)
        .stderr(fs::File::create(folder.join("err.txt"))?)
        .spawn()
        .with_context(|| format!("{} cannot be started", millpond.display()))?;
    let nobody = StopSignal::new();
    let _never_raised = nobody.wait_timeout(START);
    let (clock, before_ms) = (SystemClock::new(), cpu_ms(child.id()));
    let _never_raised = nobody.wait_timeout(Duration::from_millis(batches * INTERVAL_MS));
    let (after_ms, elapsed_us) = (cpu_ms(child.id()), clock.monotonic_us());
    let stopped = kill(Pid::from_raw(child.id().cast_signed()), Signal::SIGINT);
    let status = child.wait()?;
    let said = fs::read_to_string(folder.join("err.txt"))?;
    ensure!(stopped.is_ok() && status.success(), "`millpond run` ended with {status}: {said}");
    let used_us = (after_ms? - before_ms?) * 1000;
    Ok(used_us as f64 * (INTERVAL_MS * 1000) as f64 / elapsed_us as f64)
}

/// How long the disk takes by itself for as little as such a commit writes, at the same pace; milliseconds each.
fn bare_appends(folder: &Path, count: usize) -> Result<Vec<f64>> {
    let mut file = fs::File::create(folder.join("bare"))?;
    let nobody = StopSignal::new();
    (0..count)
        .map(|_| {
            let _never_raised = nobody.wait_timeout(Duration::from_millis(INTERVAL_MS));
            let (ms, written) = timed(|| file.write_all(&[0x5a; 100]).and_then(|()| file.sync_data()));
            written?;
            Ok(ms)
        })
        .collect()
}

/// What is read of a batch's report.
#[derive(Debug, PartialEq)]
struct Batch {
    rows_in: u64,
    processing_ms: f64,
    commit_ms: f64,
}

/// The batches of a report; its last line, the summary, is none.
fn parse(report: &str) -> Result<Vec<Batch>> {
    let line =
        |line| serde_json::from_str::<serde_json::Value>(line).with_context(|| format!("a report's line: {line}"));
    let values = report.lines().map(line).collect::<Result<Vec<_>>>()?;
    let ms = |value: &serde_json::Value, key: &str| value[key].as_f64().unwrap_or(0.0) / 1000.0;
    let batches = values.iter().filter(|value| value.get("summary").is_none());
    Ok(batches
        .map(|value| Batch {
            rows_in: value["rows_in"].as_u64().unwrap_or(0),
            processing_ms: ms(value, "processing_us"),
            commit_ms: ms(value, "commit_us"),
        })
        .collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_summary_is_no_batch() {
        let report = "{\"processing_us\": 500, \"rows_in\": 2}\n{\"summary\": {\"processing_us\": 500}}\n";
        assert_eq!(parse(report).unwrap(), [Batch { rows_in: 2, processing_ms: 0.5, commit_ms: 0.0 }]);
        assert!(parse("no json").is_err());
    }
}
