//! The bench: `./just bench [case ...]`. It generates data, runs Millpond beside hand-tuned native programs that do the same
//! work on the same files, compares their answers byte for byte and prints what it measured. See `README.md` beside it.
#![allow(clippy::disallowed_methods, reason = "a benchmark reads the clock: that is what it is for")]

mod answers;
mod case;
mod cases;
mod compare;
mod data;
mod inner;
mod jobs;
mod machine;
mod measure;
mod native;
mod profile;
mod report;

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result, ensure};
use clap::{Parser, Subcommand};

use crate::case::{CASES, Case, CaseResult, Place};
use crate::cases::Bench;
use crate::jobs::Places;
use crate::machine::{Machine, Watch};
use crate::report::Results;

/// Measures Millpond beside hand-tuned native programs that do the same work.
#[derive(Debug, Parser)]
#[command(name = "bench", args_conflicts_with_subcommands = true, max_term_width = 100)]
struct Args {
    #[command(flatten)]
    measuring: Measuring,

    /// Print the results as JSON, and nothing else, on standard output
    #[arg(long)]
    json: bool,

    /// Instead of measuring, run each case once under a profiler and write target/bench/CASE.svg
    #[arg(long)]
    profile: bool,

    /// List the cases
    #[arg(long)]
    list: bool,

    /// Which cases; all if none is named
    #[arg(value_name = "CASE", value_parser = clap::builder::PossibleValuesParser::new(CASES.iter().map(|case| case.name)))]
    cases: Vec<String>,

    #[command(subcommand)]
    part: Option<Part>,
}

/// How to measure.
#[derive(Debug, clap::Args)]
struct Measuring {
    /// Runs of each side
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u16).range(1..))]
    repetitions: u16,

    /// Do a small part of the work, to see that everything works; the figures mean nothing
    #[arg(long)]
    quick: bool,

    /// Measure this program; if not given, `millpond` beside the bench
    #[arg(long, value_name = "FILE")]
    millpond: Option<PathBuf>,
}

/// What the bench runs as processes of their own.
#[derive(Debug, Subcommand)]
enum Part {
    /// Do a job natively
    #[command(hide = true)]
    Native {
        job: native::NativeJob,
        #[command(flatten)]
        options: native::NativeOptions,
    },
    /// Run a case in this process; prints its result as one line of JSON
    #[command(hide = true)]
    Inner {
        case: String,
        #[command(flatten)]
        measuring: Measuring,
    },
    /// Run a program and write what it used to a file
    #[command(hide = true)]
    Measure {
        usage: PathBuf,
        #[arg(last = true)]
        program: Vec<OsString>,
    },
}

fn main() -> ExitCode {
    run(Args::parse()).unwrap_or_else(|error| {
        eprintln!("error: {error:#}");
        ExitCode::FAILURE
    })
}

fn run(args: Args) -> Result<ExitCode> {
    match args.part {
        Some(Part::Native { job, options }) => native::run(job, &options).map(|()| ExitCode::SUCCESS),
        Some(Part::Measure { usage, program }) => measure::run(&usage, &program),
        Some(Part::Inner { case, measuring }) => {
            let result = inner::run(&case, &bench(&measuring)?.inner_options())?;
            println!("{}", serde_json::to_string(&result)?);
            Ok(ExitCode::SUCCESS)
        }
        None if args.list => {
            CASES.iter().for_each(|case| println!("{:10} {}", case.name, case.what));
            Ok(ExitCode::SUCCESS)
        }
        None => measure_cases(&args),
    }
}

fn measure_cases(args: &Args) -> Result<ExitCode> {
    let bench = bench(&args.measuring)?;
    ensure!(bench.places.millpond.is_file(), "{} is missing: use `./just bench`", bench.places.millpond.display());
    let machine = Machine::this();
    eprintln!("{}, {}", machine.line(), machine::today());
    if cfg!(debug_assertions) {
        eprintln!("this is not a release build: the figures mean nothing");
    }
    let (mut results, mut failures) = (Vec::new(), Vec::new());
    for case in chosen(&args.cases) {
        eprintln!("{} ...", case.name);
        let watch = Watch::start();
        match if args.profile { profiled(&bench, case) } else { bench.run(case) } {
            Ok(mut result) => {
                result.notes.extend(watch.warning());
                if bench.quick {
                    result.figures.iter_mut().for_each(|figure| figure.met = None);
                    result.notes.push("QUICK: a small part of the work; these figures mean nothing".to_owned());
                }
                if !args.json {
                    println!("{}", report::render(&result));
                }
                results.push(result);
            }
            Err(error) => {
                eprintln!("error: {}: {error:#}", case.name);
                failures.push((case.name.to_owned(), format!("{error:#}")));
            }
        }
    }
    if args.json {
        let (repetitions, quick) = (bench.repetitions, bench.quick);
        let (cases, failures) = (&results[..], &failures[..]);
        let results = Results { machine: &machine, date: machine::today(), repetitions, quick, cases, failures };
        println!("{}", serde_json::to_string_pretty(&results)?);
    }
    Ok(if failures.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Runs what the case measures once under a profiler.
fn profiled(bench: &Bench, case: &Case) -> Result<CaseResult> {
    let mut notes = Vec::new();
    for (name, mut program) in bench.programs(case)? {
        if case.place == Place::Programs {
            program.args.push("--perf-map".into());
        }
        let svg = bench.places.data.with_file_name(format!("{name}.svg"));
        notes.extend(profile::flame_graph(&program.command(), &name, &svg)?);
    }
    Ok(CaseResult { case: case.name.to_owned(), what: case.what.to_owned(), notes, ..CaseResult::default() })
}

/// The named cases, in the order of the list; all if none is named.
fn chosen(names: &[String]) -> impl Iterator<Item = &'static Case> {
    CASES.iter().filter(move |case| names.is_empty() || names.iter().any(|name| name == case.name))
}

/// Where things are: the programs side by side, data and what runs leave behind in the target folder.
fn bench(measuring: &Measuring) -> Result<Bench> {
    let own = std::env::current_exe().context("this program has no path")?;
    let programs = own.parent().context("this program lies in a folder")?;
    let target = programs.parent().context("this program lies in the target folder")?.join("bench");
    let repository =
        Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).context("the bench lies in tests/bench")?;
    let places = Places {
        millpond: match &measuring.millpond {
            Some(millpond) => std::path::absolute(millpond).context("the program has no path")?,
            None => programs.join(format!("millpond{}", std::env::consts::EXE_SUFFIX)),
        },
        bench: own.clone(),
        repository: repository.to_owned(),
        data: target.join("data"),
        work: target.join("work"),
    };
    Ok(Bench { places, repetitions: usize::from(measuring.repetitions), quick: measuring.quick })
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Args::command().debug_assert();
    }

    #[test]
    fn cases_run_in_the_order_of_the_list() {
        let names = ["w2".to_owned(), "boundary".to_owned()];
        assert_eq!(chosen(&names).map(|case| case.name).collect::<Vec<_>>(), ["boundary", "w2"]);
        assert_eq!(chosen(&[]).count(), CASES.len());
    }
}
