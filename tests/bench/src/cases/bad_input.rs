//! Input that a careless engine stumbles over: right answers, and what a byte costs beside a byte of the same job's normal input.

use anyhow::Result;

use super::Bench;
use super::throughput::Work;
use crate::case::{CaseResult, Figure};
use crate::compare::figure;
use crate::data::odd::{KINDS, Odd, odd};
use crate::jobs::{Outcome, Totals};

/// A job's normal input (`kind` is `None`) or an odd kind of it, and what was measured.
struct Runs {
    kind: Option<Odd>,
    work: Work,
    native: Vec<u8>,
    outcomes: Vec<Outcome>,
}

/// What is run: normal input, followed by its odd kinds.
pub(super) fn works(bench: &Bench) -> Result<Vec<(Option<Odd>, Work)>> {
    let mut works = Vec::new();
    let is_of_readings = |kind: Odd| kind == Odd::HotSensor;
    for (normal, has_readings) in [(Work::w1(bench)?, false), (Work::w3(bench)?, true)] {
        works.push((None, normal.clone()));
        for kind in KINDS.iter().copied().filter(|kind| is_of_readings(*kind) == has_readings) {
            let data = odd(&bench.places.data, kind, bench.quick)?;
            works.push((Some(kind), normal.clone().over(kind.name(), data)));
        }
    }
    Ok(works)
}

/// Measures every kind beside the normal input, in turns.
pub(super) fn run(bench: &Bench) -> Result<CaseResult> {
    let mut all = Vec::new();
    for (kind, work) in works(bench)? {
        if kind.is_some() {
            work.check(bench)?;
        }
        let (_, native) = bench.native(&work.native_args(2))?;
        all.push(Runs { kind, work, native, outcomes: Vec::new() });
    }
    for _ in 0..bench.repetitions {
        for runs in &mut all {
            runs.outcomes.push(runs.work.run_millpond(bench, &[], &runs.native)?);
        }
    }
    Ok(CaseResult {
        case: "bad-input".to_owned(),
        what: "plugins/wordcount and moving averages on odd input: the time in batches by byte of input, commits included"
            .to_owned(),
        figures: figures(&all),
        phases: all.iter().map(|runs| Totals::mean_phases(runs.work.name, &runs.totals())).collect(),
        notes: vec![
            "answers equal byte for byte with the native program's: the first ten of every batch in every run, and all rows in a run beside"
                .to_owned(),
            "rows of 1 MiB: 100; batches of one row: 1000 files; empty lines: 1 M; hot word: half of 10 M; 20 k keys of 10 KB, 5 k different"
                .to_owned(),
            "hot sensor: half of 10 M readings, which all come to one key's update function".to_owned(),
        ],
    })
}

impl Runs {
    fn totals(&self) -> Vec<Totals> {
        self.outcomes.iter().map(|outcome| outcome.totals).collect()
    }

    fn per_byte(&self) -> Vec<f64> {
        let cost = |totals: Totals| totals.processing_us as f64 * 1000.0 / totals.bytes_in as f64;
        self.totals().into_iter().map(cost).collect()
    }

    fn peak_mb(&self) -> Vec<f64> {
        self.outcomes.iter().map(|outcome| outcome.usage.peak_bytes / 1e6).collect()
    }
}

/// Each odd kind beside the normal input before it.
fn figures(all: &[Runs]) -> Vec<Figure> {
    let mut figures = Vec::new();
    let mut normal = (Vec::new(), Vec::new());
    for runs in all {
        let (cost, peak) = (runs.per_byte(), runs.peak_mb());
        let memory = figure(format!("{}, peak memory", runs.work.name), "MB", &peak);
        let time = figure(runs.work.name, "ns/byte", &cost);
        let Some(kind) = runs.kind else {
            normal = (cost, peak);
            figures.extend([time, memory]);
            continue;
        };
        figures.push(time.beside(&cost, &normal.0));
        figures.extend(per_unit(kind, &runs.totals()));
        figures.push(memory.beside(&peak, &normal.1));
    }
    figures
}

/// What tells more than a byte's cost, where a byte is hardly any work.
fn per_unit(kind: Odd, totals: &[Totals]) -> Option<Figure> {
    let (name, unit, units): (_, _, fn(&Totals) -> u64) = match kind {
        Odd::TinyBatches => ("batches of one row, a batch", "us", |totals| totals.batches * 1000),
        Odd::EmptyLines => ("empty lines, a line", "ns", |totals| totals.rows_in),
        _ => return None,
    };
    let cost = totals.iter().map(|totals| totals.processing_us as f64 * 1000.0 / units(totals) as f64);
    Some(figure(name, unit, &cost.collect::<Vec<_>>()))
}
