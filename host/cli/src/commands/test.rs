//! `millpond test`: runs a job's golden cases, each in four ways that must give the same, and compares with the expected files.

use std::fs;
use std::path::Path;

use millpond_core::BoxError;

use super::{Failure, print};
use crate::args::{JobArgs, TestArgs};
use crate::error::{Error, Result};
use crate::golden::{Batches, Case, Output, Prepared, WAYS, changes, find};
use crate::job::LoadedJob;
use crate::job_file;
use crate::screen::Screen;
use crate::text::plural;

/// How a case ended.
struct Verdict {
    /// One line: `ok`, `FAIL` and so on, without the name.
    word: &'static str,
    failed: bool,
    /// Behind the name.
    note: String,
    /// Lines below it.
    detail: String,
}

/// Runs the cases and prints a line for each, a difference below those that fail, and a summary.
pub fn test(args: &TestArgs, screen: &Screen) -> Result<(), Failure> {
    let path = job_file::resolve(&args.job.job)?;
    let dir = path.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let cases = find(dir, args.filter.as_deref())?;
    let mut failed = 0;
    for (number, case) in cases.iter().enumerate() {
        let set = [args.job.set.clone(), case.set.clone()].concat();
        // Built for the first case, the component is there for the others.
        let no_build = args.job.no_build || number > 0;
        let job = LoadedJob::load(&JobArgs { set, no_build, ..args.job.clone() })?;
        let prepared = Prepared::try_new(job, case)?;
        let verdict = if args.bless { bless(&prepared, case)? } else { compare(&prepared, case)? };
        failed += usize::from(verdict.failed);
        let detail =
            verdict.detail.lines().map(|line| format!("  {line}").trim_end().to_owned() + "\n").collect::<String>();
        print(screen, &format!("{:<7} {}{}\n{detail}", verdict.word, case.name, verdict.note))?;
    }
    let counts = plural(cases.len(), "case", "cases");
    if failed == 0 {
        return print(screen, &format!("{counts}, all ok, each {}\n", plural(WAYS.len(), "way", "ways")));
    }
    print(screen, &format!("{counts}: {} ok, {failed} failed\n", cases.len() - failed))?;
    Err(Failure::Job(Error::CasesFailed { failed, cases: cases.len() }.into()))
}

fn compare(prepared: &Prepared, case: &Case) -> Result<Verdict> {
    let expected = read_expected(prepared, case)?;
    let mut shown: Option<(String, String)> = None;
    let mut others = Vec::new();
    let mut note = String::new();
    for way in WAYS {
        let (output, differences) = match prepared.play(way) {
            Ok(output) => {
                let differences = differences(prepared, &expected, &output, |name| short_path(case, name));
                (Some(output), differences)
            }
            Err(error) => (None, failure(&error)),
        };
        if let Some(output) = output.filter(|output| output.rejected > 0) {
            note =
                format!(" ({} refused)", plural(usize::try_from(output.rejected).unwrap_or(usize::MAX), "row", "rows"));
        }
        match &shown {
            _ if differences.is_empty() => {}
            None => shown = Some((way.name.to_owned(), differences)),
            Some((_, first)) if *first == differences => others.push(format!("the same {}\n", way.name)),
            Some(_) => others.push(format!("{}:\n{differences}", way.name)),
        }
    }
    Ok(match shown {
        None => Verdict { word: "ok", failed: false, note, detail: String::new() },
        Some((way, differences)) => {
            let detail = format!("{differences}{}", others.concat());
            Verdict { word: "FAILED", failed: true, note: format!("{note}: {way}"), detail }
        }
    })
}

/// Writes what the job gives, if it gives it in all ways.
fn bless(prepared: &Prepared, case: &Case) -> Result<Verdict> {
    let failed = |note: String, detail: String| Verdict { word: "FAILED", failed: true, note, detail };
    let straight = match prepared.play(WAYS[0]) {
        Ok(output) => output,
        Err(error) => return Ok(failed(format!(": {}", WAYS[0].name), failure(&error))),
    };
    for way in &WAYS[1..] {
        let differences = match prepared.play(*way) {
            Ok(output) => {
                differences(prepared, &straight, &output, |_| "not what it gives when run straight".to_owned())
            }
            Err(error) => failure(&error),
        };
        if !differences.is_empty() {
            return Ok(failed(format!(": {}; nothing was written", way.name), differences));
        }
    }
    let before = read_expected(prepared, case).unwrap_or_default();
    let mut detail = String::new();
    for (name, schema, order) in prepared.sinks() {
        let new = &straight.sinks[name];
        let path = case.expected_path(name);
        let text = new.render(order);
        if fs::read_to_string(&path).is_ok_and(|old| old == text) {
            continue;
        }
        let old = before.sinks.get(name).cloned().unwrap_or_default();
        fs::write(&path, &text).map_err(|source| Error::CannotWrite { path: path.clone(), source })?;
        if !case.expected.contains_key(name) {
            detail.push_str(&format!("{}: new\n", short_path(case, name)));
            continue;
        }
        for (batch, difference) in changes(schema, &old, new, order) {
            detail.push_str(&format!("{}, batch {batch}:\n{difference}\n", short_path(case, name)));
        }
    }
    let word = if detail.is_empty() { "ok" } else { "blessed" };
    Ok(Verdict { word, failed: false, note: String::new(), detail })
}

fn short_path(case: &Case, sink: &str) -> String {
    let path = case.expected_path(sink);
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    format!("{}/{name}", case.name)
}

/// The expected files; a sink without a file gives nothing.
fn read_expected(prepared: &Prepared, case: &Case) -> Result<Output, Error> {
    let mut output = Output::default();
    for (name, schema, _) in prepared.sinks() {
        let batches = match case.expected.get(name) {
            None => Batches::default(),
            Some(path) => {
                let text =
                    fs::read_to_string(path).map_err(|source| Error::Unreadable { path: path.clone(), source })?;
                Batches::parse(path, schema, &text)?
            }
        };
        output.sinks.insert(name.to_owned(), batches);
    }
    Ok(output)
}

fn differences(prepared: &Prepared, expected: &Output, found: &Output, place: impl Fn(&str) -> String) -> String {
    let mut text = String::new();
    for (name, schema, order) in prepared.sinks() {
        for (batch, difference) in changes(schema, &expected.sinks[name], &found.sinks[name], order) {
            text.push_str(&format!("sink `{name}`, batch {batch} ({}):\n{difference}\n", place(name)));
        }
    }
    text
}

fn failure(error: &BoxError) -> String {
    format!("the job failed: error[{}]: {}\n", error.code(), error.full_message())
}
