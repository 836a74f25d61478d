//! Millpond as a user runs it: plugins built by `millpond build`, jobs run by `millpond run`.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail, ensure};
use serde::Deserialize;

use crate::case::Phases;
use crate::measure::{Program, Usage, measure};

/// Where things are.
#[derive(Debug, Clone)]
pub(crate) struct Places {
    /// The `millpond` program, release build.
    pub millpond: PathBuf,
    /// This program.
    pub bench: PathBuf,
    /// The repository.
    pub repository: PathBuf,
    /// Generated data.
    pub data: PathBuf,
    /// State, answers and reports of runs; may be emptied.
    pub work: PathBuf,
}

/// A plugin that was built, with its job file's names.
#[derive(Debug, Clone)]
pub(crate) struct Job {
    folder: PathBuf,
    component: PathBuf,
    source: &'static str,
    sink: &'static str,
}

/// The totals of a run, as `--report` gives them. What is not there is 0.
#[derive(Debug, Clone, Copy, Default, PartialEq, Deserialize)]
#[serde(default)]
pub(crate) struct Totals {
    pub batches: u64,
    pub rows_in: u64,
    pub bytes_in: u64,
    pub bad_records: u64,
    pub rejected: u64,
    pub state_keys: u64,
    pub processing_us: u64,
    pub decode_us: u64,
    pub guest_us: u64,
    pub shuffle_us: u64,
    pub state_us: u64,
    pub commit_us: u64,
    pub sink_us: u64,
}

impl Totals {
    /// Where the time went, milliseconds summed over threads.
    fn phases(&self) -> [(&'static str, f64); 6] {
        [
            ("decode", self.decode_us),
            ("guest", self.guest_us),
            ("shuffle", self.shuffle_us),
            ("state", self.state_us),
            ("commit", self.commit_us),
            ("sink", self.sink_us),
        ]
        .map(|(name, us)| (name, us as f64 / 1000.0))
    }

    /// Where the time of these runs went.
    pub(crate) fn mean_phases(of: &str, runs: &[Self]) -> Phases {
        Phases::mean(of, &runs.iter().map(Self::phases).collect::<Vec<_>>())
    }

    /// Reads a report's last line.
    ///
    /// # Errors
    ///
    /// It cannot be read, or has no summary.
    pub(crate) fn read(path: &Path) -> Result<Self> {
        #[derive(Deserialize)]
        struct Last {
            summary: Totals,
        }
        let text = fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
        let last = text.lines().last().with_context(|| format!("{} is empty", path.display()))?;
        let last: Last =
            serde_json::from_str(last).with_context(|| format!("{} does not end as expected", path.display()))?;
        Ok(last.summary)
    }
}

/// What a run gave.
#[derive(Debug, Clone)]
pub(crate) struct Outcome {
    pub usage: Usage,
    pub totals: Totals,
    /// What it wrote to standard output.
    pub stdout: PathBuf,
}

impl Job {
    /// Builds a plugin folder of the repository. `source` and `sink` are the names in its job file.
    ///
    /// # Errors
    ///
    /// It cannot be built.
    pub(crate) fn build(places: &Places, folder: &str, source: &'static str, sink: &'static str) -> Result<Self> {
        let folder = places.repository.join(folder);
        let mut command = Command::new(&places.millpond);
        command.arg("build").arg(&folder).stdin(Stdio::null()).stderr(Stdio::inherit()).env_remove("CARGO_TARGET_DIR");
        let output = command.output().with_context(|| format!("cannot run {}", places.millpond.display()))?;
        ensure!(output.status.success(), "`millpond build {}` ended with {}", folder.display(), output.status);
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        // `PATH (SIZE)`
        let path = text.trim_end().rsplit_once(" (").map(|(path, _)| PathBuf::from(path));
        let component = path.with_context(|| format!("`millpond build` printed no path: {text}"))?;
        Ok(Self { folder, component, source, sink })
    }

    /// Its folder.
    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    /// The setting that names the component, so that a run asks cargo nothing: the job as it is deployed.
    pub(crate) fn component_setting(&self) -> String {
        format!("job.component={}", self.component.display())
    }

    /// The setting of a key of its source.
    pub(crate) fn source(&self, key: &str, value: impl std::fmt::Display) -> String {
        format!("sources.{}.{key}={value}", self.source)
    }

    /// The setting of a key of its sink.
    pub(crate) fn sink(&self, key: &str, value: impl std::fmt::Display) -> String {
        format!("sinks.{}.{key}={value}", self.sink)
    }

    /// The program of a run with these settings, from the beginning, in a state folder of its own.
    pub(crate) fn program(&self, places: &Places, settings: &[String]) -> Program {
        let mut args: Vec<OsString> = vec!["run".into(), self.folder.clone().into()];
        for setting in [self.component_setting()].iter().chain(settings) {
            args.extend(["--set".into(), setting.into()]);
        }
        args.extend(["--state".into(), places.work.join("state").into(), "--fresh".into()]);
        args.extend(["--report".into(), places.work.join("report.jsonl").into()]);
        Program { path: places.millpond.clone(), args }
    }

    /// Runs it to its end.
    ///
    /// # Errors
    ///
    /// The run fails, refuses rows or has bad records: none of the bench's input has any.
    pub(crate) fn run(&self, places: &Places, settings: &[String]) -> Result<Outcome> {
        empty(&places.work.join("state"))?;
        let (stdout, stderr) = (places.work.join("millpond.out"), places.work.join("millpond.err"));
        let usage = measure(&places.bench, &self.program(places, settings), &stdout, &stderr)?;
        let totals = Totals::read(&places.work.join("report.jsonl"))?;
        if totals.bad_records + totals.rejected > 0 {
            bail!("{} bad records and {} refused rows: see {}", totals.bad_records, totals.rejected, stderr.display());
        }
        Ok(Outcome { usage, totals, stdout })
    }
}

/// Removes a folder with all that is in it, and makes it again.
///
/// # Errors
///
/// It cannot be removed or made.
pub(crate) fn empty(dir: &Path) -> Result<()> {
    match fs::remove_dir_all(dir) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            return Err(error).with_context(|| format!("cannot remove {}", dir.display()));
        }
        _ => {}
    }
    fs::create_dir_all(dir).with_context(|| format!("cannot make {}", dir.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn totals_are_the_last_line_and_what_is_missing_is_zero() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("report.jsonl");
        fs::write(&path, "{\"rows_in\":1}\n{\"summary\":{\"rows_in\":7,\"guest_us\":1500,\"later\":1}}\n").unwrap();
        let totals = Totals::read(&path).unwrap();
        assert_eq!(totals, Totals { rows_in: 7, guest_us: 1500, ..Totals::default() });
        assert_eq!(totals.phases()[1], ("guest", 1.5));
        fs::write(&path, "{\"rows_in\":1}\n").unwrap();
        assert!(Totals::read(&path).is_err());
    }
}
