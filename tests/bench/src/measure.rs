//! What a program costs: wall time, processor time, peak memory.
//!
//! The program runs under a small process of its own, `bench measure FILE -- PROGRAM ARGS`, which starts it, waits and asks the kernel what its child
//! used. It has to be small: a child's peak begins with what its parent had in memory when it was started, and the driver holds answers.

use std::ffi::{OsStr, OsString};
use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::time::Instant;

use anyhow::{Context, Result, bail};
use nix::sys::resource::{UsageWho, getrusage};
use serde::{Deserialize, Serialize};

/// What a run cost.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub(crate) struct Usage {
    /// From the start of the program to its end.
    pub wall_ms: f64,
    /// Processor time of all its threads, in the program and in the kernel for it.
    pub cpu_ms: f64,
    /// The most memory that it had resident.
    pub peak_bytes: f64,
}

/// A program with its arguments.
#[derive(Debug, Clone)]
pub(crate) struct Program {
    /// Its file.
    pub path: PathBuf,
    /// Its arguments.
    pub args: Vec<OsString>,
}

impl Program {
    /// A program with these arguments.
    pub(crate) fn new<A: AsRef<OsStr>>(path: &Path, args: impl IntoIterator<Item = A>) -> Self {
        Self { path: path.to_owned(), args: args.into_iter().map(|arg| arg.as_ref().to_owned()).collect() }
    }

    /// A command of it, free of the caller's settings.
    pub(crate) fn command(&self) -> Command {
        let mut command = Command::new(&self.path);
        command.args(&self.args);
        clean(&mut command);
        command
    }
}

fn clean(command: &mut Command) {
    let is_allocator_s = |name: &OsStr| name == "GLIBC_TUNABLES" || name.as_encoded_bytes().starts_with(b"MALLOC_");
    std::env::vars_os().filter(|(name, _)| is_allocator_s(name)).for_each(|(name, _)| {
        command.env_remove(name);
    });
    command.stdin(Stdio::null()).env_remove("RUST_LOG").env("NO_COLOR", "1");
}

/// Runs a program to its end; `bench` is this program's own file.
///
/// # Errors
///
/// The program cannot be run or fails; the end of what it wrote to standard error is part of the message.
pub(crate) fn measure(bench: &Path, program: &Program, stdout: &Path, stderr: &Path) -> Result<Usage> {
    let usage = stderr.with_extension("usage");
    let mut command = Command::new(bench);
    command.arg("measure").arg(&usage).arg("--").arg(&program.path).args(&program.args);
    clean(&mut command);
    let status = command
        .stdout(File::create(stdout).with_context(|| format!("cannot make {}", stdout.display()))?)
        .stderr(File::create(stderr).with_context(|| format!("cannot make {}", stderr.display()))?)
        .status()
        .with_context(|| format!("cannot run {}", bench.display()))?;
    if !status.success() {
        let text = fs::read_to_string(stderr).unwrap_or_default();
        let tail: Vec<&str> = text.lines().rev().take(20).collect();
        let tail: Vec<&str> = tail.into_iter().rev().collect();
        bail!("{} ended with {status}:\n{}", show(program), tail.join("\n"));
    }
    let text = fs::read(&usage).with_context(|| format!("cannot read {}", usage.display()))?;
    Ok(serde_json::from_slice(&text)?)
}

/// The other side of [`measure`]: runs the program and writes what it cost to `usage`.
///
/// # Errors
///
/// The program cannot be run, or the file cannot be written.
pub(crate) fn run(usage: &Path, program: &[OsString]) -> Result<ExitCode> {
    let [path, args @ ..] = program else { bail!("name the program to measure") };
    let start = Instant::now();
    let status = Command::new(path).args(args).status().with_context(|| format!("cannot run {}", path.display()))?;
    let wall_ms = start.elapsed().as_secs_f64() * 1000.0;
    let used = getrusage(UsageWho::RUSAGE_CHILDREN)?;
    let time = [used.user_time(), used.system_time()];
    let cpu_ms = time.iter().map(|time| time.tv_sec() as f64 * 1000.0 + time.tv_usec() as f64 / 1000.0).sum();
    // Linux counts in units of 1024 bytes, macOS in bytes.
    let unit = if cfg!(target_os = "macos") { 1.0 } else { 1024.0 };
    let peak_bytes = used.max_rss() as f64 * unit;
    fs::write(usage, serde_json::to_vec(&Usage { wall_ms, cpu_ms, peak_bytes })?)?;
    Ok(if status.success() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Milliseconds from the start of a program to the first byte that it writes to standard output. Waits for its end.
///
/// # Errors
///
/// The program cannot be run, fails, or writes nothing.
pub(crate) fn first_output_ms(program: &Program, stderr: &Path) -> Result<f64> {
    let mut command = program.command();
    let stderr = File::create(stderr).with_context(|| format!("cannot make {}", stderr.display()))?;
    let start = Instant::now();
    let mut child = command.stdout(Stdio::piped()).stderr(stderr).spawn().with_context(|| show(program))?;
    let mut out = child.stdout.take().context("standard output is a pipe")?;
    let first = out.read_exact(&mut [0]);
    let ms = start.elapsed().as_secs_f64() * 1000.0;
    std::io::copy(&mut out, &mut std::io::sink())?;
    let status = child.wait()?;
    if !status.success() || first.is_err() {
        bail!("{} ended with {status} and wrote {}", show(program), if first.is_err() { "nothing" } else { "output" });
    }
    Ok(ms)
}

/// The program as a person would type it.
pub(crate) fn show(program: &Program) -> String {
    let args = program.args.iter().map(|arg| format!(" {}", arg.display()));
    format!("{}{}", program.path.display(), args.collect::<String>())
}
