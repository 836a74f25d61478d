//! W3 with ten times as many keys: what a record costs then, and what a key costs in memory.

use anyhow::Result;

use super::Bench;
use super::throughput::Work;
use crate::case::CaseResult;
use crate::compare::{Bar, figure};
use crate::jobs::Totals;

/// Measures both sizes in turns.
pub(super) fn run(bench: &Bench) -> Result<CaseResult> {
    let (few, many) = (Work::w3(bench)?, Work::many_keys(bench)?);
    many.check(bench)?;
    let (_, few_answer) = bench.native(&few.native_args(2))?;
    let (_, many_answer) = bench.native(&many.native_args(2))?;
    let (mut few_ns, mut many_ns, mut few_bytes, mut many_bytes) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    let (mut few_totals, mut totals, mut keys) = (Vec::new(), Vec::new(), 0);
    for _ in 0..bench.repetitions {
        let base = few.run_millpond(bench, &[], &few_answer)?;
        let outcome = many.run_millpond(bench, &[], &many_answer)?;
        few_ns.push(base.usage.wall_ms * 1e6 / few.data.rows as f64);
        many_ns.push(outcome.usage.wall_ms * 1e6 / many.data.rows as f64);
        few_bytes.push(base.usage.peak_bytes / base.totals.state_keys as f64);
        many_bytes.push(outcome.usage.peak_bytes / outcome.totals.state_keys as f64);
        keys = outcome.totals.state_keys;
        few_totals.push(base.totals);
        totals.push(outcome.totals);
    }
    Ok(CaseResult {
        case: many.name.to_owned(),
        what: many.what.to_owned(),
        figures: vec![
            figure("time per record", "ns", &many_ns).beside(&many_ns, &few_ns).must(Bar::RatioAtMost(1.5)),
            figure("peak memory per key held", "bytes", &many_bytes)
                .beside(&many_bytes, &few_bytes)
                .must(Bar::MaxAtMost(200.0)),
        ],
        phases: vec![Totals::mean_phases(few.name, &few_totals), Totals::mean_phases(many.name, &totals)],
        notes: vec![
            format!("{keys} of the sensors have a reading and so a state; the baseline is Millpond's own run of w3"),
            "memory is the peak of the whole process over the number of keys".to_owned(),
            "answers equal byte for byte with the native program's: the first ten of every batch in every run, and all rows in a run beside"
                .to_owned(),
        ],
    })
}
