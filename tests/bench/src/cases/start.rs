//! From the start of the program to the first result.

use anyhow::Result;

use super::Bench;
use crate::case::CaseResult;
use crate::compare::{Bar, figure};
use crate::jobs::{Job, Places, empty};
use crate::measure::{Program, first_output_ms};

/// A start takes little, so it is measured this many times as often as the rest.
const MORE: usize = 4;

/// Measures both ways of starting in turns.
pub(super) fn run(bench: &Bench) -> Result<CaseResult> {
    let places = &bench.places;
    let job = Job::build(places, "plugins/wordcount", "lines", "counts")?;
    let component = start_of(places, &job, &["--set", &job.component_setting()]);
    let folder = start_of(places, &job, &["--no-build"]);
    // Compiles the component, if it is not cached.
    first(places, &component)?;
    let (mut component_ms, mut folder_ms) = (Vec::new(), Vec::new());
    for _ in 0..bench.repetitions * MORE {
        component_ms.push(first(places, &component)?);
        folder_ms.push(first(places, &folder)?);
    }
    Ok(CaseResult {
        case: "start".to_owned(),
        what:
            "plugins/wordcount on its own data, built and its compiled component cached: start to first byte of output"
                .to_owned(),
        figures: vec![
            figure("the job file names the component", "ms", &component_ms).must(Bar::MedianAtMost(150.0)),
            figure("a plugin folder with --no-build", "ms", &folder_ms).must(Bar::MedianAtMost(150.0)),
        ],
        phases: Vec::new(),
        notes: vec!["with a plugin folder, `millpond run` asks `cargo metadata` where its component lies".to_owned()],
    })
}

/// What a profiler looks at.
pub(super) fn program(bench: &Bench) -> Result<Program> {
    let job = Job::build(&bench.places, "plugins/wordcount", "lines", "counts")?;
    Ok(start_of(&bench.places, &job, &["--set", &job.component_setting()]))
}

fn start_of(places: &Places, job: &Job, args: &[&str]) -> Program {
    let mut program = Program::new(&places.millpond, ["run"]);
    program.args.push(job.folder().into());
    program.args.extend(args.iter().map(Into::into));
    program.args.extend(["--state".into(), places.work.join("state").into(), "--fresh".into()]);
    program
}

fn first(places: &Places, program: &Program) -> Result<f64> {
    empty(&places.work.join("state"))?;
    first_output_ms(program, &places.work.join("millpond.err"))
}
