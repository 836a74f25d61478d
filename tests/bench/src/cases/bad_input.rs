//! Input that a careless engine stumbles over: right answers, and what a byte costs beside a byte of W1.

use anyhow::Result;

use super::Bench;
use super::throughput::Work;
use crate::case::{CaseResult, Figure};
use crate::compare::figure;
use crate::data::odd::{KINDS, Odd, odd};
use crate::jobs::Totals;

/// Measures every kind beside W1 itself, in turns.
pub(super) fn run(bench: &Bench) -> Result<CaseResult> {
    let normal = Work::w1(bench)?;
    let (_, normal_answer) = bench.native(&normal.native_args(2))?;
    let mut works = Vec::new();
    for kind in KINDS {
        let work = Work { name: "bad-input", data: odd(&bench.places.data, *kind, bench.quick)?, ..normal.clone() };
        let (_, answer) = bench.native(&work.native_args(2))?;
        works.push((*kind, work, answer));
    }
    let mut normal_totals = Vec::new();
    let mut totals = vec![Vec::new(); works.len()];
    for _ in 0..bench.repetitions {
        normal_totals.push(normal.run_millpond(bench, &[], &normal_answer)?.totals);
        for ((_, work, answer), totals) in works.iter().zip(&mut totals) {
            totals.push(work.run_millpond(bench, &[], answer)?.totals);
        }
    }
    let mut figures = vec![figure("w1", "ns/byte", &per_byte(&normal_totals))];
    for ((kind, _, _), totals) in works.iter().zip(&totals) {
        let cost = per_byte(totals);
        figures.push(figure(kind.name(), "ns/byte", &cost).beside(&cost, &per_byte(&normal_totals)));
        figures.extend(per_unit(*kind, totals));
    }
    Ok(CaseResult {
        case: "bad-input".to_owned(),
        what: "plugins/wordcount on odd input; the time in batches by byte of input, commits included".to_owned(),
        figures,
        phases: Vec::new(),
        notes: vec![
            "answers equal byte for byte with the native program's: the first ten of every batch in every run".to_owned(),
            "rows of 1 MiB: 100; batches of one row: 1000 files; empty lines: 1 M; hot key: half of 10 M words; 20 k keys of 10 KB, 200 different"
                .to_owned(),
        ],
    })
}

fn per_byte(totals: &[Totals]) -> Vec<f64> {
    totals.iter().map(|totals| totals.processing_us as f64 * 1000.0 / totals.bytes_in as f64).collect()
}

/// What tells more than a byte's cost, where a byte is hardly any work.
fn per_unit(kind: Odd, totals: &[Totals]) -> Option<Figure> {
    match kind {
        Odd::TinyBatches => {
            let cost = totals.iter().map(|totals| totals.processing_us as f64 / totals.batches as f64);
            Some(figure("batches of one row, a batch", "us", &cost.collect::<Vec<_>>()))
        }
        _ => None,
    }
}
