//! What end-to-end tests share: the program, components built once, jobs in temporary folders.
//!
//! Each test runs the real program on real files. Nothing here knows what a job means. `guests` has components that no plugin
//! folder gives, `running` watches a program while it runs.

pub mod guests;
pub mod reference;
pub mod running;

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::{Mutex, OnceLock, PoisonError};

pub use running::{Running, until};
use tempfile::TempDir;

/// The folder of the workspace.
#[must_use]
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("tests/ is in the workspace").to_owned()
}

/// The program under test.
#[must_use]
pub fn program() -> PathBuf {
    let test = std::env::current_exe().expect("a test has a path");
    let profile = test.ancestors().nth(2).expect("tests are built in <target>/<profile>/deps");
    profile.join(format!("millpond-under-test{}", std::env::consts::EXE_SUFFIX))
}

/// The folder that everything is built in.
#[must_use]
pub fn target() -> PathBuf {
    program().ancestors().nth(2).expect("the program lies in <target>/<profile>").to_owned()
}

/// Where plugins are built that are not of the workspace `plugins`: one folder, so that the SDK compiles once for all.
#[must_use]
pub fn outside_target() -> PathBuf {
    target().join("outside")
}

/// A command line of the program, free of the caller's own settings.
#[must_use]
pub fn millpond<S: AsRef<std::ffi::OsStr>>(args: &[S]) -> Command {
    let mut command = Command::new(program());
    command.args(args).stdin(Stdio::null()).env_remove("RUST_LOG").env("NO_COLOR", "1");
    command
}

/// Runs the program to its end.
pub fn run<S: AsRef<std::ffi::OsStr>>(args: &[S]) -> Finished {
    Finished::from(millpond(args).output().expect("the program starts"))
}

/// How a run ended.
#[derive(Debug)]
pub struct Finished {
    /// Exit code; 128 + signal when a signal ended it.
    pub code: i32,
    /// Standard output.
    pub out: String,
    /// Standard error.
    pub err: String,
}

impl From<Output> for Finished {
    fn from(output: Output) -> Self {
        use std::os::unix::process::ExitStatusExt;
        let code = output.status.code().or_else(|| output.status.signal().map(|signal| 128 + signal));
        Self {
            code: code.expect("it ended by itself or by a signal"),
            out: String::from_utf8_lossy(&output.stdout).into_owned(),
            err: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }
}

impl Finished {
    /// Checks the exit code; shows what was printed when it is another.
    #[track_caller]
    pub fn expect_code(self, code: i32) -> Self {
        assert_eq!(self.code, code, "exit code\n--- stdout\n{}\n--- stderr\n{}", self.out, self.err);
        self
    }

    /// Checks that standard error has each of these parts.
    #[track_caller]
    pub fn expect_err(self, parts: &[&str]) -> Self {
        for part in parts {
            assert!(self.err.contains(part), "`{part}` is missing\n--- stdout\n{}\n--- stderr\n{}", self.out, self.err);
        }
        self
    }
}

/// The component of a plugin folder, built once per test program. Relative folders start at the workspace.
///
/// # Panics
/// When it cannot be built, with what the program said.
#[track_caller]
pub fn component(folder: &str) -> PathBuf {
    static BUILT: OnceLock<Mutex<HashMap<String, PathBuf>>> = OnceLock::new();
    let mut built = BUILT.get_or_init(Mutex::default).lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(path) = built.get(folder) {
        return path.clone();
    }
    let mut build = millpond(&["build", root().join(folder).to_str().expect("paths of this repository are UTF-8")]);
    if folder.starts_with("tests/") {
        build.env("CARGO_TARGET_DIR", outside_target());
    }
    let output = Finished::from(build.output().expect("the program starts")).expect_code(0);
    let path = output.out.split_whitespace().find(|word| word.ends_with(".wasm")).map(PathBuf::from);
    let path = path.unwrap_or_else(|| panic!("`build` names the component it made: {}", output.out));
    built.insert(folder.to_owned(), path.clone());
    path
}

/// A job in a temporary folder of its own: job file, input in `in/`, output in `out/`, state in `state/`.
pub struct Job {
    dir: TempDir,
    settings: Vec<String>,
}

impl Job {
    /// A job of a component, with the rest of its file.
    #[must_use]
    pub fn new(component: &Path, file: &str) -> Self {
        let dir = tempfile::tempdir().expect("a temporary folder");
        fs::create_dir(dir.path().join("in")).expect("an empty folder");
        let file = file.replace("COMPONENT", component.to_str().expect("paths of this repository are UTF-8"));
        fs::write(dir.path().join("millpond.toml"), file).expect("a fresh folder");
        Self { dir, settings: Vec::new() }
    }

    /// Adds `--set` to every run.
    #[must_use]
    pub fn set(mut self, setting: &str) -> Self {
        self.settings.push(setting.to_owned());
        self
    }

    /// A path in the job's folder.
    #[must_use]
    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Writes an input file.
    pub fn input(&self, name: &str, content: impl AsRef<[u8]>) {
        fs::write(self.path("in").join(name), content).expect("the input folder is there");
    }

    /// `millpond run` on it, with more arguments.
    #[must_use]
    pub fn command(&self, args: &[&str]) -> Command {
        let dir = self.dir.path().to_str().expect("temporary folders are UTF-8");
        let state = self.path("state");
        let mut all = vec!["run", dir, "--state", state.to_str().expect("temporary folders are UTF-8")];
        for setting in &self.settings {
            all.extend(["--set", setting]);
        }
        all.extend(args);
        millpond(&all)
    }

    /// Starts it and watches it.
    pub fn start(&self, args: &[&str]) -> Running {
        Running::start(self.command(args))
    }

    /// Runs it to its end.
    pub fn run(&self, args: &[&str]) -> Finished {
        Finished::from(self.command(args).output().expect("the program starts"))
    }

    /// Names of the files in `out/`, sorted; hidden ones included. Empty when there is no such folder.
    #[must_use]
    pub fn outputs(&self) -> Vec<String> {
        self.outputs_in("out")
    }

    /// As [`Self::outputs`], of another folder.
    #[must_use]
    pub fn outputs_in(&self, folder: &str) -> Vec<String> {
        let Ok(entries) = fs::read_dir(self.path(folder)) else { return Vec::new() };
        let mut names: Vec<String> =
            entries.map(|entry| entry.expect("a readable folder").file_name().to_string_lossy().into_owned()).collect();
        names.sort();
        names
    }

    /// Whether a run has left anything: state, output, or what else it might write into the job's folder.
    #[must_use]
    pub fn is_untouched(&self) -> bool {
        ["state", "out", ".millpond"].iter().all(|name| !self.path(name).exists())
    }

    /// The text of all rows, in the order of batches and files: what comes out of a job that passes lines on. Takes only what is
    /// visible, so it may be asked while the job runs.
    #[must_use]
    pub fn lines(&self) -> Vec<String> {
        let mut lines = Vec::new();
        for name in self.outputs().iter().filter(|name| !name.starts_with('.')) {
            let text = fs::read_to_string(self.path("out").join(name)).expect("a part file is never taken back");
            lines.extend(text.lines().map(text_of));
        }
        lines
    }

    /// JSON lines of all part files, by batch time, in the order of the files.
    #[must_use]
    pub fn rows(&self) -> BTreeMap<i64, Vec<serde_json::Value>> {
        self.rows_in("out")
    }

    /// As [`Self::rows`], of another folder.
    #[must_use]
    pub fn rows_in(&self, folder: &str) -> BTreeMap<i64, Vec<serde_json::Value>> {
        let mut batches: BTreeMap<i64, Vec<serde_json::Value>> = BTreeMap::new();
        for name in self.outputs_in(folder) {
            assert!(!name.starts_with('.'), "{name} was left behind");
            let batch_time = name.split('-').next().and_then(|time| time.parse().ok()).expect("<batch time>-part-<n>");
            let text = fs::read_to_string(self.path(folder).join(&name)).expect("a readable file");
            let rows = text.lines().map(|line| serde_json::from_str(line).expect("JSON lines"));
            batches.entry(batch_time).or_default().extend(rows);
        }
        batches
    }
}

/// The first column of text in a JSON line.
fn text_of(line: &str) -> String {
    let row: serde_json::Value = serde_json::from_str(line).expect("JSON lines");
    let columns = row.as_object().expect("a row is an object");
    columns.values().find_map(serde_json::Value::as_str).expect("a column of text").to_owned()
}

/// A port of the loopback address that nobody listens on at this moment.
///
/// # Panics
/// When there is none.
#[must_use]
pub fn free_port() -> u16 {
    let listener = std::net::TcpListener::bind(("127.0.0.1", 0)).expect("a free port");
    listener.local_addr().expect("it is bound").port()
}
