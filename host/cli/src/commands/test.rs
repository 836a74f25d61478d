//! `millpond test`: runs a job's golden cases, each in four ways that must give the same, and compares with the expected files.

use std::fs;
use std::path::Path;

use millpond_core::BoxError;

use super::{Failure, print};
use crate::args::{JobArgs, TestArgs};
use crate::error::{Error, Result};
use crate::golden::{Batches, Case, Output, Prepared, Totals, WAYS, changes, find};
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
                let differences = differences(prepared, case, (&expected, &output), |path| short(case, path));
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
    let mut straight = match prepared.play(WAYS[0]) {
        Ok(output) => output,
        Err(error) => return Ok(failed(format!(": {}", WAYS[0].name), failure(&error))),
    };
    let before = read_expected(prepared, case).unwrap_or_default();
    let mut unlike = Vec::new();
    for way in &WAYS[1..] {
        let differences = match prepared.play(*way) {
            Ok(output) => {
                // Of those that the file names, a difference is a failure.
                unlike.extend(straight.totals.split_off_unlike(&output.totals, &before.totals));
                let place = |_: &Path| "not what it gives when run straight".to_owned();
                differences(prepared, case, (&straight, &output), place)
            }
            Err(error) => failure(&error),
        };
        if !differences.is_empty() {
            return Ok(failed(format!(": {}; nothing was written", way.name), differences));
        }
    }
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
    detail.push_str(&bless_totals(case, &before.totals, &straight.totals, &unlike)?);
    let word = if detail.is_empty() { "ok" } else { "blessed" };
    Ok(Verdict { word, failed: false, note: String::new(), detail })
}

/// Writes the totals of accumulators, if there are any that do not depend on the way in which the job is run; says what changed.
fn bless_totals(case: &Case, before: &Totals, new: &Totals, unlike: &[String]) -> Result<String> {
    let path = case.totals_path();
    let text = new.render();
    let is_same = fs::read_to_string(&path).is_ok_and(|old| old == text);
    if is_same || (new.is_empty() && case.totals.is_none()) {
        return Ok(String::new());
    }
    fs::write(&path, &text).map_err(|source| Error::CannotWrite { path: path.clone(), source })?;
    let place = short(case, &path);
    let mut detail = match (&case.totals, before.changes(new)) {
        (None, _) => format!("{place}: new\n"),
        (Some(_), Some(difference)) => format!("{place}:\n{difference}\n"),
        (Some(_), None) => format!("{place}: other accumulators\n"),
    };
    for name in unlike {
        detail.push_str(&format!("{place} leaves out `{name}`: how much is added depends on how the job is run\n"));
    }
    Ok(detail)
}

fn short_path(case: &Case, sink: &str) -> String {
    short(case, &case.expected_path(sink))
}

/// A file of a case, as messages name it.
fn short(case: &Case, path: &Path) -> String {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    format!("{}/{name}", case.name)
}

/// The expected files; a sink without a file gives nothing, and of an accumulator that is not named nothing is expected.
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
    if let Some(path) = &case.totals {
        let text = fs::read_to_string(path).map_err(|source| Error::Unreadable { path: path.clone(), source })?;
        output.totals = Totals::parse(path, prepared.accumulators(), &text)?;
    }
    Ok(output)
}

/// What differs; `place` says of an expected file what it is called.
fn differences(
    prepared: &Prepared,
    case: &Case,
    (expected, found): (&Output, &Output),
    place: impl Fn(&Path) -> String,
) -> String {
    let mut text = String::new();
    for (name, schema, order) in prepared.sinks() {
        for (batch, difference) in changes(schema, &expected.sinks[name], &found.sinks[name], order) {
            let place = place(&case.expected_path(name));
            text.push_str(&format!("sink `{name}`, batch {batch} ({place}):\n{difference}\n"));
        }
    }
    if let Some(difference) = expected.totals.changes(&found.totals) {
        text.push_str(&format!("accumulators ({}):\n{difference}\n", place(&case.totals_path())));
    }
    text
}

fn failure(error: &BoxError) -> String {
    format!("the job failed: error[{}]: {}\n", error.code(), error.full_message())
}
