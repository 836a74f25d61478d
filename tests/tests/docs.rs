//! The pages under `docs/` say what is: those that are made of the code are up to date, what they show compiles or runs, and
//! their links lead somewhere.
//!
//! `./just docs-bless` writes the made pages anew. Rust on a page stands in a file that is compiled and run (`COMPILED`), or is a doctest
//! of the page itself (`guest-sdk/src/lib.rs`, `host/embed/src/lib.rs`).

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use millpond_cli::JobFile;
use millpond_tests::reference::{error_codes_page, operators_page, sections};
use millpond_tests::{component, outside_target, program, root};

/// Pages whose Rust stands in a file that is compiled.
const COMPILED: &[(&str, &str)] = &[
    ("from-spark-streaming.md", "guest-sdk/test/tests/from_spark.rs"),
    ("five-minute-start.md", "host/cli/templates/wordcount/lib.rs"),
    ("testing.md", "host/cli/templates/wordcount/lib.rs"),
];

/// Pages that are doctests of a crate, by the file that includes them.
const DOCTESTS: &[(&str, &str)] = &[("model.md", "guest-sdk/src/lib.rs"), ("embedding.md", "host/embed/src/lib.rs")];

/// Pages made of the code; theirs are doctests where they stand.
const MADE: &[&str] = &["operators.md", "error-codes.md"];

/// A block between fences.
#[derive(Debug)]
struct Block {
    page: PathBuf,
    line: usize,
    /// What stands behind the opening fence.
    tag: String,
    text: String,
}

fn pages() -> Vec<PathBuf> {
    let mut pages: Vec<PathBuf> = fs::read_dir(root().join("docs"))
        .expect("there are pages")
        .map(|entry| entry.expect("readable").path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "md"))
        .collect();
    pages.sort();
    pages
}

fn name(page: &Path) -> String {
    page.file_name().expect("a page has a name").to_string_lossy().into_owned()
}

fn blocks(page: &Path) -> Vec<Block> {
    let text = fs::read_to_string(page).expect("a page is text");
    let (mut found, mut open): (Vec<Block>, Option<Block>) = (Vec::new(), None);
    for (number, line) in text.lines().enumerate() {
        match (&mut open, line.strip_prefix("```")) {
            (None, Some(tag)) => {
                open =
                    Some(Block { page: page.to_owned(), line: number + 1, tag: tag.to_owned(), text: String::new() });
            }
            (Some(_), Some(_)) => found.extend(open.take()),
            (Some(block), None) => {
                block.text.push_str(line);
                block.text.push('\n');
            }
            (None, None) => {}
        }
    }
    assert!(open.is_none(), "{}: a block is not closed", page.display());
    found
}

/// Compares a made page with what it should be; writes it when asked to.
#[track_caller]
fn made(page: &str, wanted: &str) {
    let path = root().join("docs").join(page);
    let found = fs::read_to_string(&path).unwrap_or_default();
    if found == wanted {
        return;
    }
    if std::env::var_os("MILLPOND_BLESS").is_some() {
        fs::write(&path, wanted).expect("the page can be written");
        return;
    }
    let differs = found.lines().zip(wanted.lines()).position(|(found, wanted)| found != wanted);
    let line = differs.unwrap_or_else(|| found.lines().count().min(wanted.lines().count())) + 1;
    panic!("docs/{page} is not what the code says, from line {line} on: run ./just docs-bless");
}

#[test]
fn made_pages_are_what_the_code_says() {
    made("operators.md", &operators_page());
    made("error-codes.md", &error_codes_page());
}

/// Operators that Spark has not, so that the reference has no name of Spark's for them.
const NOT_IN_SPARK: &[(&str, &str)] = &[
    ("keep_empty_keys", "a setting: what Spark does anyway"),
    ("every_batch", "a setting: what Spark does anyway"),
    ("named", "Spark's state is not found again by name"),
    ("try_map", "a function that fails fails the job in Spark"),
    ("try_flat_map", "a function that fails fails the job in Spark"),
    ("try_key_by", "a function that fails fails the job in Spark"),
    ("try_filter", "a function that fails fails the job in Spark"),
    ("try_map_values", "a function that fails fails the job in Spark"),
];

/// Functions of the context that say how the job is set up: they are called when it is planned, and Spark has none like them.
const SETTINGS: &[&str] = &["param", "param_or", "refuse"];

#[test]
fn every_operator_says_what_it_does_and_draws_it() {
    let mut lacking = Vec::new();
    let sections = sections();
    let operators: Vec<_> = sections.iter().flat_map(|section| &section.operators).collect();
    assert!(operators.len() > 60, "only {} operators were found", operators.len());
    for operator in operators {
        let has = |part: &str| operator.docs.iter().any(|line| line.contains(part));
        let is_plain = operator.on.starts_with("State<") || operator.name == "param";
        if operator.docs.is_empty() || !(is_plain || has("```")) {
            lacking.push(format!("{}: an example", operator.name));
        }
        if operator.on.starts_with("DStream") && operator.is_step() && !operator.is_drawn() {
            lacking.push(format!("{}: a drawing of rows in and out (```text)", operator.name));
        }
        let is_setting = operator.on.starts_with("StreamingContext") && SETTINGS.contains(&operator.name.as_str());
        if !(is_plain || is_setting || has("**Cost**")) {
            lacking.push(format!("{}: what it costs (**Cost**)", operator.name));
        }
        let is_ours = NOT_IN_SPARK.iter().any(|(name, _)| *name == operator.name);
        let has_source = operator.source().is_some_and(|source| !source.is_empty());
        if !(is_plain || is_setting) && is_ours == has_source {
            let what = if is_ours { "it is in NOT_IN_SPARK, and has one" } else { "there is none" };
            lacking.push(format!("{}: its name in Spark (**Source**): {what}", operator.name));
        }
    }
    assert!(lacking.is_empty(), "docs of the SDK lack\n{}", lacking.join("\n"));
}

/// Lines without what formatting changes.
fn plain(text: &str) -> Vec<&str> {
    text.lines().map(str::trim).filter(|line| !line.is_empty()).collect()
}

#[test]
fn rust_on_pages_is_compiled() {
    for page in pages() {
        let name = name(&page);
        if MADE.contains(&name.as_str()) {
            continue;
        }
        let rust: Vec<Block> = blocks(&page).into_iter().filter(|block| block.tag.starts_with("rust")).collect();
        if let Some((_, file)) = DOCTESTS.iter().find(|(known, _)| *known == name) {
            let text = fs::read_to_string(root().join(file)).expect("a source file");
            assert!(text.contains(&format!("docs/{name}")), "{file} must include docs/{name}, so that it is compiled");
            assert!(rust.iter().all(|block| !block.tag.contains("ignore")), "{name}: a block is left out");
            continue;
        }
        let compiled = COMPILED.iter().find(|(known, _)| *known == name);
        let text = compiled.map(|(_, file)| fs::read_to_string(root().join(file)).expect("a source file"));
        let lines = text.as_deref().map(plain).unwrap_or_default();
        for block in rust {
            let wanted = plain(&block.text);
            let is_there = lines.windows(wanted.len()).any(|window| window == wanted);
            let Block { page, line, .. } = &block;
            assert!(
                is_there,
                "{}:{line}: this stands in no file that is compiled (see COMPILED):\n{}",
                page.display(),
                block.text
            );
        }
    }
}

#[test]
fn job_files_on_pages_are_sound() {
    let mut checked = 0;
    for block in pages().iter().flat_map(|page| blocks(page)).filter(|block| block.tag == "toml") {
        let Block { page, line, text, .. } = &block;
        let place = format!("{}:{line}", page.display());
        if text.contains("[dependencies]") || text.contains("[dev-dependencies]") || text.contains("[package]") {
            continue;
        }
        let file = JobFile::from_text(page, root(), text, &[]);
        if let Err(error) = file {
            panic!("{place}: {error}");
        }
        checked += 1;
    }
    assert!(checked > 0, "pages show job files");
}

/// A folder in which commands of pages run; `millpond` is the program under test.
fn playground() -> tempfile::TempDir {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let bin = dir.path().join("bin");
    fs::create_dir(&bin).expect("an empty folder");
    let script = format!("#!/bin/sh\nexec {:?} \"$@\"\n", program());
    fs::write(bin.join("millpond"), script).expect("a writable folder");
    fs::set_permissions(bin.join("millpond"), PermissionsExt::from_mode(0o755)).expect("a file of ours");
    symlink(root().join("plugins"), dir.path().join("plugins")).expect("an empty folder");
    dir
}

/// Commands that a page shows and that are run as they stand. `five-minute-start.md` has a test of its own.
#[test]
fn commands_on_pages_run_and_print_what_the_page_says() {
    component("plugins/wordcount");
    let dir = playground();
    let path = format!("{}:{}", dir.path().join("bin").display(), std::env::var("PATH").expect("there is a PATH"));
    let mut ran = 0;
    for page in pages().iter().filter(|page| name(page) != "five-minute-start.md") {
        let blocks = blocks(page);
        for (index, block) in blocks.iter().enumerate() {
            let is_ours = block.tag == "sh" && block.text.lines().all(is_plain_command);
            if !is_ours {
                continue;
            }
            let output = Command::new("sh")
                .args(["-e", "-c", &block.text.replace("run plugins/wordcount", "run plugins/wordcount --state state")])
                .current_dir(dir.path())
                .env("PATH", &path)
                .env("NO_COLOR", "1")
                .env_remove("RUST_LOG")
                .output()
                .expect("a shell");
            let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
            let place = format!("{}:{}", page.display(), block.line);
            assert!(output.status.success(), "{place}: {}\n--- stdout\n{out}\n--- stderr\n{err}", output.status);
            let lines = block.text.lines().count();
            let says = blocks.get(index + 1).filter(|next| next.tag == "text" && next.line == block.line + lines + 3);
            if let Some(says) = says {
                assert_eq!(out, says.text, "{place}: it prints something else than the page says");
            }
            ran += 1;
        }
    }
    assert!(ran >= 2, "only {ran} commands of pages were run");
}

/// Follows the page from `millpond new` on, the change to the job included.
#[test]
fn the_five_minute_start_works_as_written() {
    let dir = playground();
    let path = format!("{}:{}", dir.path().join("bin").display(), std::env::var("PATH").expect("there is a PATH"));
    let page = root().join("docs/five-minute-start.md");
    let mut last = String::new();
    for block in blocks(&page) {
        let place = format!("{}:{}", page.display(), block.line);
        match block.tag.as_str() {
            "sh" if !block.text.starts_with("./just") => {
                let command = block.text.replace("run hello", "run hello --state state");
                let output = Command::new("sh")
                    .args(["-e", "-c", &command])
                    .current_dir(dir.path())
                    .env("PATH", &path)
                    .env("NO_COLOR", "1")
                    .env("CARGO_TARGET_DIR", outside_target())
                    .env_remove("RUST_LOG")
                    .output()
                    .expect("a shell");
                let err = String::from_utf8_lossy(&output.stderr);
                last = String::from_utf8_lossy(&output.stdout).into_owned();
                assert!(output.status.success(), "{place}: {}\n--- stdout\n{last}\n--- stderr\n{err}", output.status);
            }
            "diff" => {
                let code = dir.path().join("hello/src/lib.rs");
                let lines = |sign: char| {
                    let found = block.text.lines().filter_map(|line| line.strip_prefix(sign));
                    found.flat_map(|line| [line, "\n"]).collect::<String>()
                };
                let old = fs::read_to_string(&code).expect("`new` made it");
                assert_eq!(old.matches(&lines('-')).count(), 1, "{place}: what is to change is there once");
                fs::write(&code, old.replace(&lines('-'), &lines('+'))).expect("a folder of ours");
            }
            "text" => assert_eq!(last, block.text, "{place}: the command above prints something else"),
            _ => {}
        }
    }
    assert!(last.starts_with("the\t2\n"), "the page ends with a pipe: {last}");
}

/// A command of ours, alone or behind an `echo`; nothing that needs a server or does not come to an end.
fn is_plain_command(line: &str) -> bool {
    let command =
        line.rsplit_once("| ").map_or(line, |(first, rest)| if first.starts_with("echo ") { rest } else { line });
    command.starts_with("millpond ") && !command.contains("watch") && !command.contains("COMPONENT")
}

#[test]
fn every_page_is_found_and_every_link_leads_somewhere() {
    let readme = root().join("README.md");
    let text = fs::read_to_string(&readme).expect("the README is text");
    let mut lost = Vec::new();
    for page in pages() {
        let name = name(&page);
        if !text.contains(&format!("docs/{name}")) {
            lost.push(format!("README.md does not name docs/{name}"));
        }
    }
    for page in pages().iter().chain([&readme]) {
        let text = fs::read_to_string(page).expect("a page is text");
        let outside: String = text.split("```").step_by(2).collect();
        for link in outside.split("](").skip(1).filter_map(|rest| rest.split_once(')')).map(|(link, _)| link) {
            let (file, anchor) = link.split_once('#').unwrap_or((link, ""));
            if file.starts_with("http") {
                continue;
            }
            let target = if file.is_empty() { page.clone() } else { page.parent().expect("in a folder").join(file) };
            let there = target.exists();
            let is_md = target.extension().is_some_and(|extension| extension == "md");
            if !there || (is_md && !anchor.is_empty() && !anchors(&target).contains(&anchor.to_owned())) {
                lost.push(format!("{}: {link}", page.display()));
            }
        }
    }
    assert!(lost.is_empty(), "lost pages and links:\n{}", lost.join("\n"));
}

/// The anchors of a page's headings, as GitHub makes them.
fn anchors(page: &Path) -> Vec<String> {
    let text = fs::read_to_string(page).expect("a page is text");
    let headings = text.lines().filter(|line| line.starts_with('#'));
    let anchor = |line: &str| -> String {
        let heading = line.trim_start_matches('#').trim().to_lowercase();
        let kept = heading.chars().filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'));
        kept.map(|c| if c == ' ' { '-' } else { c }).collect()
    };
    headings.map(anchor).collect()
}
