//! The command line as a user meets it: help, exit codes, one error per mistake, nothing written before all is well.
//!
//! Jobs that run are tested where plugins are (`tests/` of the workspace).

#![allow(clippy::unwrap_used, reason = "a test that cannot go on should say where")]

use std::ffi::OsString;
use std::io::Write;
use std::path::Path;
use std::sync::{Arc, Mutex};

use millpond_cli::{Exit, Streams, main_with};

#[derive(Clone, Default)]
struct Captured(Arc<Mutex<Vec<u8>>>);

impl Captured {
    fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }
}

impl Write for Captured {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }
    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// How a command ends, its standard output, its standard error.
fn millpond(args: &[&str]) -> (Exit, String, String) {
    let (out, err) = (Captured::default(), Captured::default());
    let streams = Streams {
        out: Box::new(out.clone()),
        err: Box::new(err.clone()),
        out_is_terminal: false,
        err_is_terminal: false,
        is_colored: false,
    };
    let args = std::iter::once("millpond").chain(args.iter().copied()).map(OsString::from);
    let exit = main_with(args, streams);
    (exit, out.text(), err.text())
}

/// A folder with these files.
fn folder(files: &[(&str, &str)]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (name, text) in files {
        let path = folder.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }
    folder
}

fn names(folder: &Path) -> Vec<String> {
    let mut names: Vec<_> =
        std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

/// The command fails with this code before the first batch, says so on standard error and prints no result.
#[track_caller]
fn refused(args: &[&str], code: &str) -> String {
    let (exit, out, err) = millpond(args);
    assert_eq!((exit, out.as_str()), (Exit::Usage, ""), "{err}");
    assert!(err.starts_with(&format!("error[{code}]: ")), "{err}");
    assert!(err.trim_end().ends_with(&format!("run `millpond explain {code}` for more")), "{err}");
    err
}

#[test]
fn help_shows_commands_and_examples() {
    let (exit, out, err) = millpond(&["--help"]);
    assert_eq!((exit, err.as_str()), (Exit::Done, ""));
    let commands: Vec<_> =
        out.lines().skip_while(|line| *line != "Commands:").skip(1).take_while(|line| !line.is_empty()).collect();
    insta::assert_snapshot!(commands.join("\n"), @r"
      new          Make a plugin folder that builds, tests and runs at once
      build        Compile a plugin folder to a component
      check        Check a job: everything that `run` does before the first batch, and nothing is
                   written
      run          Run a job
      test         Run a job's golden cases, each in four ways
      watch        Build and run a job on its sample data, again whenever a file changes
      plan         Show a job's plan: its operators and how rows go through them
      inspect      Show what a component is: digest, world, imports, exports, plan
      explain      Explain an error code, or list all codes
      completions  Print a shell's completions of this command
      help         Print this message or the help of the given subcommand(s)
    ");
    for part in ["--log-format", "RUST_LOG", "Exit codes: 0 done; 1 the job failed; 2 usage", "Examples:"] {
        assert!(out.contains(part), "{part} is missing:\n{out}");
    }
}

#[test]
fn help_of_run_is_complete() {
    let (exit, out, _) = millpond(&["run", "-h"]);
    assert_eq!(exit, Exit::Done);
    insta::assert_snapshot!(out, @r"
    Run a job

    Usage: millpond run [OPTIONS] <DIR|FILE>

    Arguments:
      <DIR|FILE>  The job's folder, or its job file

    Options:
          --log-format <FORMAT>   How log lines on standard error look [default: text] [possible values:
                                  text, json]
          --set <KEY.PATH=VALUE>  Change a key of the job file; may be given several times
          --no-build              Do not build the plugin; use what the last build made
          --state <DIR>           Keep the job's state here
          --fresh                 Forget the job's state first: everything is read again
          --report <FILE>         Write what each batch was and what it cost to this file, as JSON
      -h, --help                  Print help (see more with '--help')
      -V, --version               Print version
    ");
}

#[test]
fn help_of_the_authors_verbs_is_complete() {
    let (exit, out, _) = millpond(&["new", "-h"]);
    assert_eq!(exit, Exit::Done);
    insta::assert_snapshot!(out, @r"
    Make a plugin folder that builds, tests and runs at once

    Usage: millpond new [OPTIONS] <DIR>

    Arguments:
      <DIR>  The folder to make; its name is the crate's and the job's

    Options:
          --log-format <FORMAT>  How log lines on standard error look [default: text] [possible values:
                                 text, json]
          --template <TEMPLATE>  What the job begins as: blank, wordcount, windowed, stateful, joined
                                 [default: blank]
          --sdk <DIR>            Millpond's repository, or its folder guest-sdk, to take the SDK from
      -h, --help                 Print help (see more with '--help')
      -V, --version              Print version
    ");
    let (_, out, _) = millpond(&["test", "-h"]);
    insta::assert_snapshot!(out, @r"
    Run a job's golden cases, each in four ways

    Usage: millpond test [OPTIONS] <DIR|FILE>

    Arguments:
      <DIR|FILE>  The job's folder, or its job file

    Options:
          --log-format <FORMAT>   How log lines on standard error look [default: text] [possible values:
                                  text, json]
          --set <KEY.PATH=VALUE>  Change a key of the job file; may be given several times
          --no-build              Do not build the plugin; use what the last build made
          --filter <TEXT>         Only cases whose name contains this
          --bless                 Write what the job gives to the expected files, and show what changed
      -h, --help                  Print help (see more with '--help')
      -V, --version               Print version
    ");
}

#[test]
fn every_shell_gets_its_completions() {
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let (exit, out, err) = millpond(&["completions", shell]);
        assert_eq!((exit, err.as_str()), (Exit::Done, ""), "{shell}");
        for word in ["watch", "bless", "stateful"] {
            assert!(out.contains(word), "{shell}: {word}");
        }
    }
    let (exit, _, err) = millpond(&["completions", "dos"]);
    assert_eq!(exit, Exit::Usage);
    assert!(err.contains("[possible values: bash, elvish, fish, powershell, zsh]"), "{err}");
}

#[test]
fn a_plugin_that_cannot_be_made_is_refused_before_anything_is_written() {
    let dir = folder(&[("taken/README.md", "mine")]);
    let at = |name: &str| dir.path().join(name).to_str().unwrap().to_owned();
    let err = refused(&["new", &at("taken")], "MP0112");
    assert!(err.contains("/taken: there is something of this name already\nhelp: give the name"), "{err}");
    let err = refused(&["new", &at("wc"), "--template", "wordcont"], "MP0112");
    assert!(
        err.contains("there is no template `wordcont`; did you mean `wordcount`?\nhelp: the templates are: "),
        "{err}"
    );
    let err = refused(&["new", &at("2nd")], "MP0112");
    assert!(
        err.contains("a crate cannot be called `2nd`: it does not begin with a letter\nhelp: use letters"),
        "{err}"
    );
    let err = refused(&["new", &at("self")], "MP0112");
    assert!(err.contains("it is a word of Rust's or of Millpond's own"), "{err}");
    let err = refused(&["new", &at("wc"), "--sdk", &at("taken")], "MP0112");
    assert!(err.contains("/taken, which --sdk names\nhelp: say --sdk DIR"), "{err}");
    refused(&["new", &at("taken/README.md/wc")], "MP0112");
    assert_eq!(names(dir.path()), ["taken"]);
}

#[test]
fn a_folder_without_a_job_file_has_no_cases_and_is_not_watched() {
    let dir = folder(&[("Cargo.toml", "")]);
    for command in ["test", "watch"] {
        let err = refused(&[command, dir.path().to_str().unwrap()], "MP0101");
        assert!(err.contains("millpond.toml: no job file in folder"), "{err}");
    }
    let job = folder(&[("millpond.toml", ""), ("tests/first/1.lines.txt", "a")]);
    let err = refused(&["test", job.path().to_str().unwrap()], "MP0109");
    assert!(err.contains("it has no Cargo.toml"), "{err}");
}

#[test]
fn version_is_the_packages() {
    let (exit, out, _) = millpond(&["--version"]);
    assert_eq!((exit, out.trim()), (Exit::Done, concat!("millpond ", env!("CARGO_PKG_VERSION"))));
}

#[test]
fn wrong_usage_is_exit_code_2() {
    for args in [&[][..], &["frobnicate"], &["run"], &["run", "a", "--frob"], &["plan", "a", "--format", "png"]] {
        let (exit, out, err) = millpond(args);
        assert_eq!((exit, out.as_str()), (Exit::Usage, ""), "{args:?}");
        assert!(err.contains("Usage: millpond") || err.starts_with("error: invalid value"), "{args:?}: {err}");
    }
}

#[test]
fn explain_prints_a_page_or_all_codes() {
    let (exit, page, _) = millpond(&["explain", "mp0103"]);
    assert_eq!(exit, Exit::Done);
    assert!(page.starts_with("# MP0103: "), "{page}");
    let (_, list, _) = millpond(&["explain"]);
    assert!(list.contains("\nMP0103  "), "{list}");
    let (exit, out, err) = millpond(&["explain", "MP9999"]);
    assert_eq!((exit, out.as_str()), (Exit::Usage, ""));
    assert!(err.starts_with("error: there is no error code `MP9999`"), "{err}");
    assert!(err.ends_with("\nhelp: `millpond explain` without a code lists all of them\n"), "{err}");
}

#[test]
fn what_is_not_there_is_named() {
    let err = refused(&["run", "no/such/folder"], "MP0101");
    assert!(err.contains("no/such/folder: no such file or folder"), "{err}");
    let empty = folder(&[]);
    let err = refused(&["check", empty.path().to_str().unwrap()], "MP0101");
    assert!(err.contains("millpond.toml: no job file in folder"), "{err}");
    refused(&["inspect", "no/such.wasm"], "MP0101");
    let err = refused(&["build", "no/such/folder"], "MP0101");
    assert!(err.contains("no such folder") && !err.contains("millpond.toml"), "{err}");
}

#[test]
fn a_mistake_in_the_job_file_points_at_its_line() {
    let job = folder(&[("millpond.toml", "[sources.lines]\ntype = \"files\"\npth = \"x\"\n")]);
    let err = refused(&["run", job.path().to_str().unwrap()], "MP0103");
    assert!(err.contains("/millpond.toml:3: sources.lines.pth: unknown key; did you mean `path`?\n"), "{err}");
    assert_eq!(names(job.path()), ["millpond.toml"]);
}

#[test]
fn a_mistake_after_set_points_at_the_option() {
    let job = folder(&[("millpond.toml", "")]);
    let dir = job.path().to_str().unwrap();
    let err = refused(&["check", dir, "--set", "job.triger=continuous"], "MP0103");
    assert!(err.contains(": --set job.triger=continuous: job.triger: unknown key; did you mean `trigger`?"), "{err}");
    refused(&["run", dir, "--set", "nonsense"], "MP0110");
}

#[test]
fn a_folder_without_crate_and_component_is_refused() {
    let job = folder(&[("millpond.toml", "")]);
    for command in ["run", "check", "plan", "build"] {
        let err = refused(&[command, job.path().to_str().unwrap()], "MP0109");
        assert!(err.contains("it has no Cargo.toml"), "{err}");
    }
    assert_eq!(names(job.path()), ["millpond.toml"]);
}

#[test]
fn a_crate_that_is_no_cdylib_is_refused() {
    let manifest = "[package]\nname = \"plain\"\nversion = \"0.1.0\"\nedition = \"2024\"\n[workspace]\n";
    let job = folder(&[("millpond.toml", ""), ("Cargo.toml", manifest), ("src/lib.rs", "")]);
    let err = refused(&["run", job.path().to_str().unwrap()], "MP0109");
    assert!(err.contains("no `cdylib`") && err.contains("crate-type = [\"cdylib\", \"rlib\"]"), "{err}");
}

#[test]
fn a_broken_manifest_is_told_in_cargos_words() {
    let job = folder(&[("millpond.toml", ""), ("Cargo.toml", "[package\n")]);
    let err = refused(&["build", job.path().to_str().unwrap()], "MP0109");
    assert!(err.contains("cargo says:"), "{err}");
}

#[test]
fn a_component_must_be_one() {
    let job = folder(&[
        ("millpond.toml", "[job]\ncomponent = \"wc.wasm\"\n"),
        ("other.toml", "[job]\ncomponent = \"gone.wasm\"\n"),
        ("wc.wasm", "no component"),
    ]);
    let err = refused(&["run", job.path().to_str().unwrap()], "MP0201");
    assert!(err.contains("/millpond.toml:2: job.component: /") && err.contains("/wc.wasm: not a WebAssembly"), "{err}");
    let err = refused(&["inspect", job.path().join("wc.wasm").to_str().unwrap()], "MP0201");
    assert!(err.contains("/wc.wasm: not a WebAssembly component"), "{err}");
    let err = refused(&["run", job.path().join("other.toml").to_str().unwrap()], "MP0104");
    assert!(err.contains("other.toml:2: job.component: ") && err.contains("gone.wasm cannot be read"), "{err}");
    let err = refused(&["run", job.path().join("wc.wasm").to_str().unwrap()], "MP0101");
    assert!(err.contains("this is a component, not a job"), "{err}");
    assert_eq!(names(job.path()), ["millpond.toml", "other.toml", "wc.wasm"]);
}

/// Needs the guest toolchain, which `just test` prepares.
#[test]
fn a_plugin_that_does_not_compile_is_refused() {
    let manifest = "[package]\nname = \"broken\"\nversion = \"0.1.0\"\nedition = \"2024\"\n\
                    [lib]\ncrate-type = [\"cdylib\"]\n[workspace]\n";
    let job = folder(&[("millpond.toml", ""), ("Cargo.toml", manifest), ("src/lib.rs", "pub fn broken() -> u8 {}\n")]);
    let err = refused(&["run", job.path().to_str().unwrap()], "MP0107");
    assert!(err.contains("building the plugin in"), "{err}");
    assert!(!job.path().join(".millpond").exists());
}

/// Needs the guest toolchain, which `just test` prepares.
#[test]
fn a_crate_without_the_contract_is_refused_after_building() {
    let manifest = "[package]\nname = \"stranger\"\nversion = \"0.1.0\"\nedition = \"2024\"\n\
                    [lib]\ncrate-type = [\"cdylib\"]\n[workspace]\n";
    let job = folder(&[("millpond.toml", ""), ("Cargo.toml", manifest), ("src/lib.rs", "")]);
    let (exit, out, err) = millpond(&["run", job.path().to_str().unwrap()]);
    assert_eq!((exit, out.as_str()), (Exit::Usage, ""), "{err}");
    assert!(err.starts_with("error[MP0107]: cannot make a component"), "{err}");
    assert!(!job.path().join(".millpond").exists());
}

#[test]
fn no_build_without_a_build_says_so() {
    let manifest = "[package]\nname = \"unbuilt\"\nversion = \"0.1.0\"\nedition = \"2024\"\n\
                    [lib]\ncrate-type = [\"cdylib\"]\n[workspace]\n";
    let job = folder(&[("millpond.toml", ""), ("Cargo.toml", manifest), ("src/lib.rs", "")]);
    let err = refused(&["run", job.path().to_str().unwrap(), "--no-build"], "MP0107");
    assert!(err.contains("leave out --no-build"), "{err}");
}

const WORDCOUNT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../plugins/wordcount");

/// Runs a command on the example job `wordcount` with output into a folder `out`, and `data/a.txt` as input.
fn wordcount(command: &str, folder: &Path, more: &[&str]) -> (Exit, String, String) {
    let at = |name: &str| folder.join(name).to_str().unwrap().to_owned();
    let mut args: Vec<String> = [command, WORDCOUNT, "--log-format", "json"].map(str::to_owned).to_vec();
    if command == "run" {
        args.extend(["--state".to_owned(), at("state")]);
    }
    let (source, sink) = (at("data"), at("out"));
    let sets = [
        format!("sources.lines.path={source}"),
        "sinks.counts.type=file".to_owned(),
        format!("sinks.counts.path={sink}"),
    ];
    args.extend(sets.into_iter().flat_map(|set| ["--set".to_owned(), set]));
    args.extend(more.iter().map(|arg| (*arg).to_owned()));
    millpond(&args.iter().map(String::as_str).collect::<Vec<_>>())
}

/// The summary of a run that went well.
#[track_caller]
fn summary((exit, _, err): (Exit, String, String)) -> serde_json::Value {
    assert_eq!(exit, Exit::Done, "{err}");
    serde_json::from_str(err.lines().last().unwrap()).unwrap()
}

/// Needs the guest toolchain, which `just test` prepares.
#[test]
fn state_is_forgotten_only_when_the_job_can_start() {
    let folder = folder(&[("data/a.txt", "a b a\n"), ("a file", "")]);
    let dir = folder.path();
    assert_eq!(summary(wordcount("run", dir, &[]))["batches"], 1);
    let file = dir.join("a file");
    let sink = format!("sinks.counts.path={}", file.join("below").display());
    let source = format!("sources.lines.path={}", dir.join("gone").display());
    for wrong in [sink, format!("sinks.counts.path={}", file.display()), source] {
        let (exit, _, err) = wordcount("run", dir, &["--fresh", "--set", &wrong]);
        assert_eq!(exit, Exit::Usage, "{wrong}: {err}");
        assert!(err.starts_with("error[MP0"), "{err}");
        let second = summary(wordcount("run", dir, &[]));
        assert_eq!(second["batches"], 0, "{wrong}: the old state must survive");
        assert!(second["hint"].as_str().unwrap().starts_with("nothing new since the last run"), "{second}");
    }
    assert_eq!(summary(wordcount("run", dir, &["--fresh"]))["batches"], 1);
}

/// Needs the guest toolchain, which `just test` prepares.
#[test]
fn a_first_run_without_input_does_not_speak_of_a_last_one() {
    let folder = folder(&[("data/.hidden", "a b a\n")]);
    let hint = summary(wordcount("run", folder.path(), &[]))["hint"].as_str().unwrap().to_owned();
    assert!(hint.starts_with("no input was found (lines: /") && hint.ends_with("/data)"), "{hint}");
}

/// Needs the guest toolchain, which `just test` prepares.
#[test]
fn a_job_that_would_feed_itself_is_refused() {
    let folder = folder(&[("data/a.txt", "a b a\n")]);
    let sink = format!("sinks.counts.path={}", folder.path().join("out/../data").display());
    for command in ["check", "run"] {
        let (exit, _, err) = wordcount(command, folder.path(), &["--set", &sink]);
        assert_eq!(exit, Exit::Usage, "{err}");
        assert!(err.starts_with("error[MP0603]: --set sinks.counts.path=") && err.contains("source `lines`"), "{err}");
    }
    assert_eq!(names(folder.path()), ["data"]);
}

/// Needs the guest toolchain, which `just test` prepares.
#[test]
fn fresh_removes_no_foreign_files() {
    let folder = folder(&[("data/a.txt", "a b a\n"), ("state/log/app.log", "mine")]);
    let (exit, _, err) = wordcount("run", folder.path(), &["--fresh"]);
    assert_eq!(exit, Exit::Usage, "{err}");
    assert!(err.starts_with("error[MP0707]: "), "{err}");
    assert_eq!(std::fs::read(folder.path().join("state/log/app.log")).unwrap(), b"mine");
}
