//! What an author of a plugin does: makes a folder, runs its cases and its data, changes it, and looks on while it is built again.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use millpond_cli::templates::TEMPLATES;
use millpond_tests::{Finished, Running, millpond, outside_target};
use tempfile::TempDir;

/// A new folder in a temporary one.
struct New {
    // Removed when dropped.
    _dir: TempDir,
    folder: PathBuf,
}

impl New {
    /// `name` differs from test to test, as built components are kept under it.
    fn make(name: &str, template: &str) -> Self {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let folder = dir.path().join(name);
        let output = millpond(&["new", text(&folder), "--template", template]).output().expect("the program starts");
        let finished = Finished::from(output).expect_code(0);
        assert!(finished.out.contains("millpond run .") && finished.err.is_empty(), "{}{}", finished.out, finished.err);
        Self { _dir: dir, folder }
    }

    fn command(&self, verb: &str, args: &[&str]) -> Command {
        let mut command = millpond(&[&[verb, text(&self.folder)], args].concat());
        quickly(&mut command);
        command
    }

    fn run(&self, verb: &str, args: &[&str]) -> Finished {
        Finished::from(self.command(verb, args).output().expect("the program starts"))
    }

    fn change(&self, file: &str, from: &str, to: &str) {
        let path = self.folder.join(file);
        let before = fs::read_to_string(&path).expect("it is in the template");
        assert!(before.contains(from), "{file} has no `{from}`");
        fs::write(path, before.replace(from, to)).expect("a folder of ours");
    }
}

fn text(path: &Path) -> &str {
    path.to_str().expect("temporary folders are UTF-8")
}

/// With the profile of tests/guests-sdk, so that the SDK is compiled once for all.
fn quickly(command: &mut Command) {
    command.env("CARGO_TARGET_DIR", outside_target());
    for (key, value) in [("OPT_LEVEL", "1"), ("LTO", "false"), ("CODEGEN_UNITS", "16"), ("OVERFLOW_CHECKS", "false")] {
        command.env(format!("CARGO_PROFILE_RELEASE_{key}"), value);
    }
}

#[test]
fn every_template_builds_runs_and_passes_its_case_at_once() {
    for template in TEMPLATES {
        let new = New::make(&format!("new-{}", template.name), template.name);
        let finished = new.run("test", &[]).expect_code(0);
        assert!(finished.out.starts_with("ok      first"), "{}: {}", template.name, finished.out);
        new.run("check", &["--no-build"]).expect_code(0);
        let finished = new.run("run", &["--no-build"]).expect_code(0);
        assert!(finished.out.lines().count() > 3, "{}: {}", template.name, finished.out);
        let missing = new.folder.join("target");
        assert!(!missing.exists(), "{}: cargo's settings say where it is built", template.name);
    }
}

#[test]
fn what_is_there_is_not_written_over() {
    let new = New::make("new-twice", "blank");
    let before = fs::read_to_string(new.folder.join("README.md")).expect("it was just made");
    fs::write(new.folder.join("README.md"), "mine").expect("a folder of ours");
    new.run("new", &[])
        .expect_code(2)
        .expect_err(&["error[MP0112]: ", "new-twice: there is something of this name already"]);
    assert_eq!(fs::read_to_string(new.folder.join("README.md")).expect("still there"), "mine");
    assert!(before.contains("# new-twice\n"), "{before}");
}

#[test]
fn watch_builds_and_runs_again_when_a_file_changes() {
    let new = New::make("new-watched", "wordcount");
    // The first build takes as long as it takes; those behind it compile this one crate.
    new.run("build", &[]).expect_code(0);
    let mut running = Running::start(new.command("watch", &["--set", "params.top=1"]));
    running.wait_for_line("-- waiting for a change in ");
    new.change("src/lib.rs", ".split(' ')", ".split(7)");
    running.wait_for_line("-- src/lib.rs");
    running.wait_for_line("error[E0308]: mismatched types");
    running.wait_for_line("expected `char`, found ");
    running.wait_for_line("error[MP0107]: ");
    new.change("src/lib.rs", ".split(7)", ".split('e')");
    new.change("millpond.toml", "trigger =", "triger =");
    running.wait_for_line("job.triger: unknown key; did you mean `trigger`?");
    fs::write(new.folder.join("data/3.txt"), "zebra\n").expect("a folder of ours");
    new.change("millpond.toml", "triger =", "trigger =");
    running.wait_for_line("  batches     3 in ");
    running.signal("INT");
    let finished = running.finish().expect_code(0);
    assert!(finished.out.contains(" to "), "{}", finished.out);
    assert!(!new.folder.join(".millpond").exists(), "its state is nobody's");
}

#[test]
fn a_job_that_keeps_things_between_calls_is_found_out() {
    let new = New::make("new-keeper", "blank");
    let code = "ctx.text(\"lines\").map_owned(|line| format!(\"{line} {}\", CALLS.fetch_add(1, Ordering::Relaxed))).sink(\"out\");";
    new.change("src/lib.rs", "ctx.text(\"lines\").filter(|line| !line.is_empty()).sink(\"out\");", code);
    let head = "use std::sync::atomic::{AtomicU64, Ordering};\n\nstatic CALLS: AtomicU64 = AtomicU64::new(0);\n\nuse millpond::S";
    new.change("src/lib.rs", "use millpond::S", head);
    fs::write(new.folder.join("tests/first/1.lines.txt"), "a\n").expect("a folder of ours");
    let before = fs::read_to_string(new.folder.join("tests/first/expected.out.jsonl")).expect("it is in the template");
    let finished =
        new.run("test", &["--bless"]).expect_code(1).expect_err(&["error[MP0114]: 1 of 1 golden cases failed"]);
    assert!(finished.out.contains("nothing was written"), "{}", finished.out);
    let after = fs::read_to_string(new.folder.join("tests/first/expected.out.jsonl")).expect("still there");
    assert_eq!(after, before);
}
