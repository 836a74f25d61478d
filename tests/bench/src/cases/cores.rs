//! What the second core brings, beside what it brings the native program.

use anyhow::Result;

use super::Bench;
use super::throughput::Work;
use crate::case::CaseResult;
use crate::compare::{Bar, figure, same};
use crate::jobs::Totals;

/// Measures all four in turns.
pub(super) fn run(bench: &Bench) -> Result<CaseResult> {
    let work = Work::w1(bench)?;
    let (mut native_gain, mut gain, mut one_ms, mut two_ms) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    let (mut one_totals, mut two_totals) = (Vec::new(), Vec::new());
    for _ in 0..bench.repetitions {
        let (native_two, answer) = bench.native(&work.native_args(2))?;
        let two = work.run_millpond(bench, &["job.parallelism=2".to_owned()], &answer)?;
        let (native_one, one_answer) = bench.native(&work.native_args(1))?;
        same("the native program with one thread and with two", &one_answer, &answer, &bench.places.work)?;
        let one = work.run_millpond(bench, &["job.parallelism=1".to_owned()], &answer)?;
        native_gain.push(native_one.wall_ms / native_two.wall_ms);
        gain.push(one.usage.wall_ms / two.usage.wall_ms);
        one_ms.push(one.usage.wall_ms);
        two_ms.push(two.usage.wall_ms);
        one_totals.push(one.totals);
        two_totals.push(two.totals);
    }
    Ok(CaseResult {
        case: "cores".to_owned(),
        what: "w1 with parallelism 2 over parallelism 1, beside the native program's own gain from one thread to two"
            .to_owned(),
        figures: vec![
            figure("gain", "x", &gain).beside(&gain, &native_gain).must(Bar::RatioAtLeast(0.9)),
            figure("native program's gain", "x", &native_gain),
            figure("parallelism 1", "ms", &one_ms),
            figure("parallelism 2", "ms", &two_ms),
        ],
        phases: vec![
            Totals::mean_phases("parallelism 1", &one_totals),
            Totals::mean_phases("parallelism 2", &two_totals),
        ],
        notes: vec!["parallelism 1 bounds the tasks of a batch, not the threads of the process".to_owned()],
    })
}
