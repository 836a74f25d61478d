//! The cases that run programs: Millpond as a user runs it, and the native baselines.

mod bad_input;
mod cores;
mod many_keys;
mod start;
mod throughput;

use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail, ensure};

use self::throughput::Work;
use crate::case::{Case, CaseResult, InnerOptions, Place};
use crate::jobs::Places;
use crate::measure::{Program, Usage, measure};

/// What every case is told.
#[derive(Debug, Clone)]
pub(crate) struct Bench {
    /// Where things are.
    pub places: Places,
    /// Runs of each side; at least 1.
    pub repetitions: usize,
    /// Whether to do a small part of the work only.
    pub quick: bool,
}

impl Bench {
    /// Runs a case.
    ///
    /// # Errors
    ///
    /// A run fails, or answers differ.
    pub(crate) fn run(&self, case: &Case) -> Result<CaseResult> {
        std::fs::create_dir_all(&self.places.work).context("cannot make the work folder")?;
        match (case.place, case.name) {
            (Place::Inner, _) => self.run_inner(case),
            (_, "w1") => throughput::run(self, Work::w1(self)?),
            (_, "w2") => throughput::run(self, Work::w2(self)?),
            (_, "w3") => throughput::run(self, Work::w3(self)?),
            (_, "many-keys") => many_keys::run(self),
            (_, "start") => start::run(self),
            (_, "cores") => cores::run(self),
            (_, "bad-input") => bad_input::run(self),
            (_, name) => bail!("nothing runs the case `{name}`"),
        }
    }

    /// What a case in this process is told.
    pub(crate) fn inner_options(&self) -> InnerOptions {
        InnerOptions {
            repetitions: self.repetitions,
            quick: self.quick,
            data_dir: self.places.data.clone(),
            millpond: self.places.millpond.clone(),
        }
    }

    /// The programs that a case measures, by name, with their input ready: what a profiler looks at.
    ///
    /// # Errors
    ///
    /// Input or plugin cannot be made.
    pub(crate) fn programs(&self, case: &Case) -> Result<Vec<(String, Program)>> {
        std::fs::create_dir_all(&self.places.work).context("cannot make the work folder")?;
        let works = match case.name {
            _ if case.place == Place::Inner => return Ok(vec![(case.name.to_owned(), self.inner_program(case))]),
            "start" => return Ok(vec![(case.name.to_owned(), start::program(self)?)]),
            "w2" => vec![Work::w2(self)?],
            "w3" => vec![Work::w3(self)?],
            "many-keys" => vec![Work::many_keys(self)?],
            "bad-input" => {
                let odd = bad_input::works(self)?.into_iter().filter(|(kind, _)| kind.is_some());
                odd.map(|(_, work)| work).collect()
            }
            _ => vec![Work::w1(self)?],
        };
        let name = |work: &Work| match case.name {
            "bad-input" => format!("{}-{}", case.name, work.name.replace(' ', "-")),
            name => name.to_owned(),
        };
        Ok(works.iter().map(|work| (name(work), work.job.program(&self.places, &work.settings()))).collect())
    }

    fn inner_program(&self, case: &Case) -> Program {
        let repetitions = self.repetitions.to_string();
        let mut program = Program::new(&self.places.bench, ["inner", case.name, "--repetitions", &repetitions]);
        program.args.extend(["--millpond".into(), self.places.millpond.clone().into()]);
        if self.quick {
            program.args.push("--quick".into());
        }
        program
    }

    /// Runs a case in a process of its own.
    fn run_inner(&self, case: &Case) -> Result<CaseResult> {
        let mut command: Command = self.inner_program(case).command();
        let output = command.stderr(Stdio::inherit()).output().context("cannot run the case")?;
        ensure!(output.status.success(), "`bench inner {}` ended with {}", case.name, output.status);
        let text = String::from_utf8_lossy(&output.stdout);
        let last = text.lines().last().context("the case printed nothing")?;
        serde_json::from_str(last).with_context(|| format!("the case printed no result: {last}"))
    }

    /// Runs a native baseline and gives its answers.
    fn native(&self, args: &[String]) -> Result<(Usage, Vec<u8>)> {
        let work = &self.places.work;
        let (stdout, stderr, out) = (work.join("native.out"), work.join("native.err"), work.join("native.txt"));
        let mut program = Program::new(&self.places.bench, ["native"]);
        program.args.extend(args.iter().map(Into::into));
        program.args.extend(["--out".into(), out.clone().into()]);
        let usage = measure(&self.places.bench, &program, &stdout, &stderr)?;
        let answers = std::fs::read(&out).with_context(|| format!("cannot read {}", out.display()))?;
        Ok((usage, answers))
    }
}
