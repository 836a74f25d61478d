//! `--profile`: one run under Linux's `perf`, drawn as a flame graph.
//!
//! `perf` copies a piece of the stack with each sample and unwinds it by the programs' own unwinding tables, so the release
//! build is profiled as it is. Code that wasmtime made has no such tables for `perf`: a sample in it has the function's name,
//! from the map that the program writes when it is asked to (`--perf-map`: `/tmp/perf-PID.map`), and no callers.

mod stacks;
mod svg;

use std::ffi::OsStr;
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail, ensure};

use self::stacks::Profile;

/// Samples per second of each thread: a prime, so that nothing regular hides between them.
const FREQUENCY: &str = "997";
/// How the stack is copied: so many bytes, enough for some fifty frames.
const CALL_GRAPH: &str = "dwarf,16384";

/// Runs a command once under `perf` and writes a flame graph. What the command says on standard output is dropped. Gives
/// notes for the reader.
///
/// # Errors
/// `perf` is missing or may not be used, the command fails, or the file cannot be written.
pub(crate) fn flame_graph(command: &Command, title: &str, svg: &Path) -> Result<Vec<String>> {
    find_perf()?;
    let folder = tempfile::tempdir()?;
    let data = folder.path().join("perf.data");
    record(command, &data)?;
    let text = script(&data)?;
    let profile = stacks::parse(&text);
    // Nobody else takes the map away; there may be none.
    if let Some(pid) = profile.process {
        drop(fs::remove_file(format!("/tmp/perf-{pid}.map")));
    }
    ensure!(profile.samples > 0, "perf took no samples of {}", shown(command));
    if let Some(folder) = svg.parent() {
        fs::create_dir_all(folder)?;
    }
    fs::write(svg, svg::draw(title, &profile)).with_context(|| format!("{} cannot be written", svg.display()))?;
    Ok(notes(&profile, svg))
}

fn notes(profile: &Profile, svg: &Path) -> Vec<String> {
    let mut notes = vec![format!("flame graph of {} samples: {}", profile.samples, svg.display())];
    let unknown = profile.unknown as f64 * 100.0 / profile.samples as f64;
    if unknown > 5.0 {
        notes.push(format!(
            "{unknown:.0} % of the samples are in code without a name; wasm has names only with a perf map"
        ));
    }
    notes
}

fn find_perf() -> Result<()> {
    let found = Command::new("perf").arg("--version").stdin(Stdio::null()).output();
    ensure!(
        found.is_ok_and(|output| output.status.success()),
        "--profile needs Linux's `perf`, which is not on this machine (Debian: apt-get install linux-perf)"
    );
    Ok(())
}

fn record(command: &Command, data: &Path) -> Result<()> {
    let mut perf = Command::new("perf");
    perf.args(["record", "--quiet", "--freq", FREQUENCY, "--call-graph", CALL_GRAPH, "--output"]).arg(data);
    perf.arg("--").arg(command.get_program()).args(command.get_args());
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => perf.env(name, value),
            None => perf.env_remove(name),
        };
    }
    if let Some(folder) = command.get_current_dir() {
        perf.current_dir(folder);
    }
    let output = perf.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).output()?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        // When it has no right to profile, perf says so, and what to do about it.
        bail!("`perf record` of {} ended with {}: {}", shown(command), output.status, said.trim());
    }
    Ok(())
}

fn script(data: &Path) -> Result<String> {
    let mut perf = Command::new("perf");
    // Looking up inlined functions takes minutes, and says what the caller's name says nearly as well.
    perf.args(["script", "--no-inline", "--fields", "comm,pid,tid,ip,sym,dso", "--input"]).arg(data);
    let output = perf.stdin(Stdio::null()).output()?;
    ensure!(
        output.status.success(),
        "`perf script` ended with {}: {}",
        output.status,
        String::from_utf8_lossy(&output.stderr).trim()
    );
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

fn shown(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    words.map(OsStr::to_string_lossy).collect::<Vec<_>>().join(" ")
}
