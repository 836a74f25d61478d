//! Plugins in folders outside this repository: built and run by one command, built again when their source changes, and told
//! from the compiler's own words when they do not compile.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use millpond_tests::{Finished, millpond, outside_target, root};
use tempfile::TempDir;

const JOB: &str = r#"
[job]
name = "elsewhere"
trigger = "available-now"

[sources.lines]
type = "files"
path = "in/*.txt"

[sinks.out]
type = "file"
path = "out"
format = "text"
"#;

const CODE: &str = "//! Long lines, from outside the repository.

use millpond::StreamingContext;

millpond::job!(|ctx: &mut StreamingContext| {
    let shortest = ctx.param_or(\"shortest\", 3);
    ctx.text(\"lines\").filter(move |line| line.len() >= shortest).sink(\"out\");
});
";

/// A plugin in a temporary folder, with a job file and some input.
struct Outside {
    dir: TempDir,
}

impl Outside {
    /// `package` differs from test to test, as built components are kept under it.
    fn new(package: &str) -> Self {
        let outside = Self { dir: tempfile::tempdir().expect("a temporary folder") };
        let sdk = root().join("guest-sdk");
        // The profile of tests/guests-sdk: with the same one, the SDK compiles once for all.
        outside.write(
            "Cargo.toml",
            &format!(
                r#"[package]
name = "{package}"
version = "0.1.0"
edition = "2024"

[lib]
crate-type = ["cdylib"]

[dependencies]
millpond = {{ path = {sdk:?} }}

[profile.release]
opt-level = 1
panic = "abort"
strip = "debuginfo"
"#
            ),
        );
        // The same versions as everywhere, so that nothing is downloaded.
        fs::copy(root().join("tests/guests-sdk/Cargo.lock"), outside.path("Cargo.lock")).expect("both are there");
        outside.write("src/lib.rs", CODE);
        outside.write("millpond.toml", JOB);
        outside.write("in/a.txt", "a\nlong\nlonger\n");
        outside
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn write(&self, name: &str, text: &str) {
        let path = self.path(name);
        fs::create_dir_all(path.parent().expect("it is in the folder")).expect("a writable folder");
        fs::write(path, text).expect("a writable folder");
    }

    fn command(&self, verb: &str, args: &[&str]) -> Command {
        let dir = self.dir.path().to_str().expect("temporary folders are UTF-8");
        let mut command = millpond(&[&[verb, dir], args].concat());
        command.env("CARGO_TARGET_DIR", outside_target());
        command
    }

    fn run(&self, args: &[&str]) -> Finished {
        Finished::from(self.command("run", args).output().expect("the program starts"))
    }

    /// What the file sink has written, in order.
    fn output(&self) -> Vec<String> {
        let mut files: Vec<PathBuf> =
            fs::read_dir(self.path("out")).expect("the job ran").map(|entry| entry.expect("readable").path()).collect();
        files.sort();
        let text = |path: &PathBuf| fs::read_to_string(path).expect("readable");
        files.iter().flat_map(|path| text(path).lines().map(str::to_owned).collect::<Vec<_>>()).collect()
    }
}

#[test]
fn plugin_outside_the_repository_builds_and_runs() {
    let plugin = Outside::new("outside-runs");
    plugin.run(&["--set", "params.shortest=5"]).expect_code(0);
    assert_eq!(plugin.output(), ["longer"]);
    plugin.write("in/b.txt", "short\nno\n");
    // Named by a path that is relative to where the user is.
    let folder = plugin.dir.path();
    let mut command = millpond(&["run".as_ref(), folder.file_name().expect("it has a name")]);
    command.current_dir(folder.parent().expect("it is in a folder")).env("CARGO_TARGET_DIR", outside_target());
    Finished::from(command.output().expect("the program starts")).expect_code(0);
    assert_eq!(plugin.output(), ["longer", "short"], "it goes on after what it has read");
    assert!(!plugin.path("target").exists(), "cargo's settings say where it is built");
}

#[test]
fn changed_source_is_built_again() {
    let plugin = Outside::new("outside-changes");
    plugin.run(&[]).expect_code(0);
    assert_eq!(plugin.output(), ["long", "longer"]);
    let second = plugin.run(&["--fresh"]).expect_code(0);
    assert!(!second.err.contains("Compiling"), "nothing has changed: {}", second.err);
    fs::remove_dir_all(plugin.path("out")).expect("the job made it");
    plugin.write("src/lib.rs", &CODE.replace(">= shortest", "< shortest"));
    let stale = plugin.run(&["--fresh", "--no-build"]).expect_code(0);
    assert!(!stale.err.contains("Compiling"), "{}", stale.err);
    assert_eq!(plugin.output(), ["long", "longer"], "--no-build takes what was built before");
    fs::remove_dir_all(plugin.path("out")).expect("the job made it");
    plugin.run(&["--fresh"]).expect_code(0).expect_err(&["Compiling outside-changes"]);
    assert_eq!(plugin.output(), ["a"]);
}

#[test]
fn code_that_does_not_compile_is_shown_in_the_compilers_words() {
    let plugin = Outside::new("outside-broken");
    plugin.write("src/lib.rs", &CODE.replace("line.len() >= shortest", "line.len() + 1"));
    for verb in ["build", "check", "plan", "run"] {
        let finished = Finished::from(plugin.command(verb, &[]).output().expect("the program starts")).expect_code(2);
        let finished = finished.expect_err(&["error[E0308]: mismatched types", "expected `bool`", "src/lib.rs:7"]);
        finished.expect_err(&["error[MP0107]: ", plugin.dir.path().to_str().expect("UTF-8"), "cargo's messages above"]);
    }
    assert!(["out", ".millpond", "target"].iter().all(|name| !plugin.path(name).exists()), "nothing is written");
    plugin.write("src/lib.rs", CODE);
    plugin.run(&[]).expect_code(0);
    assert_eq!(plugin.output(), ["long", "longer"]);
}

#[test]
fn plugin_whose_dependency_is_missing_is_shown_in_cargos_words() {
    let plugin = Outside::new("outside-lost");
    let manifest = fs::read_to_string(plugin.path("Cargo.toml")).expect("it was just written");
    let sdk = root().join("guest-sdk");
    plugin.write("Cargo.toml", &manifest.replace(sdk.to_str().expect("UTF-8"), "/nowhere/guest-sdk"));
    plugin.run(&[]).expect_code(2).expect_err(&["error[MP0107]: ", "/nowhere/guest-sdk"]);
    assert!(!plugin.path("out").exists());
}

#[test]
fn library_without_a_job_is_told_what_is_missing() {
    let plugin = Outside::new("outside-empty");
    plugin.write("src/lib.rs", "//! Nothing.\n");
    plugin.run(&[]).expect_code(2).expect_err(&["error[MP0107]: ", "millpond::job!"]);
    assert!(!plugin.path("out").exists());
}

#[test]
fn no_build_without_a_build_is_refused() {
    let plugin = Outside::new("outside-never-built");
    let built: &Path = &outside_target().join("millpond/outside-never-built.wasm");
    assert!(!built.exists(), "no test builds it");
    plugin.run(&["--no-build"]).expect_code(2).expect_err(&["error[MP0107]: ", "--no-build", "millpond build"]);
}
