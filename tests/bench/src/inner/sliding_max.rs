//! `sliding-max`: the largest value of each sensor over a sliding window, which has no inverse: a slide over 600 panes beside one over
//! 60. Merged by the host, and by the plugin's own function.
//!
//! Measured is processor time: over whole blocks of both windows, so that the slides are in it with which a block begins.

use std::collections::HashMap;

use anyhow::{Result, ensure};
use arrow::array::RecordBatch;
use millpond_testkit::MemoryStore;
use millpond_wasm::WasmEngine;

use super::stateful::{Readings, Running, name, partitions, readings};
use super::support::{build, engine, load};
use crate::case::{CaseResult, InnerOptions};
use crate::compare::{Bar, figure};
use crate::data::random::Random;

const SENSORS: u32 = 100_000;
const READINGS: usize = 10_000;
const PANES: [usize; 2] = [60, 600];
/// Batches that come again and again. More than a short window, so that both windows change with every slide.
const BATCHES: usize = 97;
/// Slides that are measured: whole blocks of both windows.
const SLIDES: usize = 1200;
const RATIO_MAX: f64 = 1.5;

pub(super) fn run(options: &InnerOptions) -> Result<CaseResult> {
    let bytes = build(&options.millpond, "tests/bench/jobs/stateful")?;
    let engine = engine()?;
    let (panes, slides) = if options.quick { ([6, 60], 60) } else { (PANES, SLIDES) };
    let mut random = Random::new(7);
    let batches: Vec<Readings> = (0..BATCHES).map(|_| readings(&mut random, SENSORS, READINGS)).collect();
    let parts: Vec<Vec<RecordBatch>> = batches.iter().map(partitions).collect();
    let work = Work { engine, bytes, batches, parts, slides };

    let mut figures = Vec::new();
    for (job, what) in [("max", "the host's max"), ("custom-max", "a merge of the plugin's own")] {
        let (mut few, mut many) = (Vec::new(), Vec::new());
        for _ in 0..options.repetitions {
            few.push(work.measure(job, panes[0])?);
            many.push(work.measure(job, panes[1])?);
        }
        let name = format!("a slide over {} panes beside {}, {what}", panes[1], panes[0]);
        figures.push(figure(name, "ms", &many).beside(&many, &few).must(Bar::RatioAtMost(RATIO_MAX)));
    }
    Ok(CaseResult {
        case: "sliding-max".to_owned(),
        what: format!(
            "largest value over a window that slides by one batch: {READINGS} readings a batch of {SENSORS} sensors, top 10"
        ),
        figures,
        phases: Vec::new(),
        notes: vec![
            format!("processor time of all threads over {slides} slides after the first full window"),
            "the last slide's answer is that of a pass over all of its readings".to_owned(),
        ],
    })
}

struct Work {
    engine: WasmEngine,
    bytes: Vec<u8>,
    batches: Vec<Readings>,
    parts: Vec<Vec<RecordBatch>>,
    slides: usize,
}

impl Work {
    /// Milliseconds a slide.
    fn measure(&self, job: &str, panes: usize) -> Result<f64> {
        let params = [("job", job), ("length", &panes.to_string())];
        let component = load(&self.engine, &self.bytes, "sliding-max", &params)?;
        let mut running = Running::start(&component, Box::new(MemoryStore::new()))?;
        let mut cpu_ms = 0.0;
        for number in 0..panes + self.slides {
            let spent_ms = running.batch(self.parts[number % BATCHES].clone())?;
            cpu_ms += if number < panes { 0.0 } else { spent_ms };
        }
        let last = (self.slides..panes + self.slides).map(|number| &self.batches[number % BATCHES]);
        ensure!(running.last() == top(last), "the last slide's answer is wrong");
        running.finish()?;
        Ok(cpu_ms / self.slides as f64)
    }
}

/// The first ten sensors, sorted by name.
fn top<'a>(batches: impl Iterator<Item = &'a Readings>) -> Vec<(String, f64)> {
    let mut largest: HashMap<u32, f64> = HashMap::new();
    for (sensor, value) in batches.flatten() {
        largest.entry(*sensor).and_modify(|largest| *largest = largest.max(*value)).or_insert(*value);
    }
    let mut rows: Vec<(String, f64)> = largest.into_iter().map(|(sensor, value)| (name(sensor), value)).collect();
    rows.sort_by(|left, right| right.1.total_cmp(&left.1).then_with(|| left.0.cmp(&right.0)));
    rows.truncate(10);
    rows.sort_by(|left, right| left.0.cmp(&right.0));
    rows
}
