//! `map-with-state`: moving averages of a million sensors by `map_with_state` with a timeout, beside the same by
//! `update_state_by_key`. State is committed durably every batch on both sides.
//!
//! The one gives out readings that lift an average over a threshold, the other the ten highest averages: little either way.

use std::collections::HashMap;

use anyhow::{Result, ensure};
use arrow::array::RecordBatch;
use millpond_core::SystemClock;
use millpond_state::{FileStateStore, StateOptions};
use millpond_wasm::WasmEngine;

use super::stateful::{Readings, Running, name, partitions, readings};
use super::support::{build, engine, load};
use crate::case::{CaseResult, InnerOptions};
use crate::compare::{Bar, figure};
use crate::data::random::Random;

const SENSORS: u32 = 1_000_000;
const READINGS: usize = 500_000;
const BATCHES: usize = 24;
/// Batches that are not measured: those in which most sensors are new.
const WARM_UP: usize = 4;
/// Seconds, and so batches: one sensor in a hundred and fifty has no reading for so long.
const TIMEOUT: usize = 10;
const THRESHOLD: f64 = 1_050_000_000.0;
const RATIO_MIN: f64 = 0.8;
/// As in the job.
const A: f64 = 0.3;

pub(super) fn run(options: &InnerOptions) -> Result<CaseResult> {
    let bytes = build(&options.millpond, "tests/bench/jobs/stateful")?;
    let (sensors, count) = if options.quick { (SENSORS / 20, READINGS / 20) } else { (SENSORS, READINGS) };
    let mut random = Random::new(11);
    let batches: Vec<Readings> = (0..BATCHES).map(|_| readings(&mut random, sensors, count)).collect();
    let parts = batches.iter().map(partitions).collect();
    let work = Work { engine: engine()?, bytes, parts, folder: tempfile::tempdir_in(&options.data_dir)? };
    let (last, keys) = model(&batches);

    let (mut mapped, mut updated) = (Vec::new(), Vec::new());
    for repetition in 0..options.repetitions {
        updated.push(work.measure("update-state", repetition, |_| true)?);
        let is_right = |running: &Running| running.last() == last && running.state_keys() == keys;
        mapped.push(work.measure("map-with-state", repetition, is_right)?);
    }
    let per_second =
        |ms: &[f64]| -> Vec<f64> { ms.iter().map(|ms| (count * (BATCHES - WARM_UP)) as f64 / ms / 1000.0).collect() };
    let (mapped, updated) = (per_second(&mapped), per_second(&updated));
    Ok(CaseResult {
        case: "map-with-state".to_owned(),
        what: format!(
            "moving averages of {sensors} sensors with a timeout of {TIMEOUT} batches, {count} readings a batch, beside update_state_by_key"
        ),
        figures: vec![
            figure("readings per second of processor time", "M", &mapped)
                .beside(&mapped, &updated)
                .must(Bar::RatioAtLeast(RATIO_MIN)),
        ],
        phases: Vec::new(),
        notes: vec![
            "processor time of all threads but those that fold checkpoints".to_owned(),
            format!(
                "{keys} sensors have state at the end; those and the last batch's rows are compared with a plain model"
            ),
        ],
    })
}

struct Work {
    engine: WasmEngine,
    bytes: Vec<u8>,
    parts: Vec<Vec<RecordBatch>>,
    folder: tempfile::TempDir,
}

impl Work {
    /// Milliseconds of processor time.
    fn measure(&self, job: &str, repetition: usize, is_right: impl Fn(&Running) -> bool) -> Result<f64> {
        let (timeout, threshold) = (TIMEOUT.to_string(), THRESHOLD.to_string());
        let params = [("job", job), ("timeout", timeout.as_str()), ("threshold", threshold.as_str())];
        let component = load(&self.engine, &self.bytes, job, &params)?;
        let dir = self.folder.path().join(format!("{job}-{repetition}"));
        let clock = std::sync::Arc::new(SystemClock::new());
        let store = FileStateStore::open(StateOptions { dir, job: job.to_owned(), fold_every_ms: 10_000, clock })?;
        let mut running = Running::start(&component, Box::new(store))?;
        let mut cpu_ms = 0.0;
        for (number, parts) in self.parts.iter().enumerate() {
            let spent_ms = running.batch(parts.clone())?;
            cpu_ms += if number < WARM_UP { 0.0 } else { spent_ms };
        }
        ensure!(is_right(&running), "the answer of {job} is wrong");
        running.finish()?;
        Ok(cpu_ms)
    }
}

/// What the last batch gives out, sorted, and how many sensors have state then.
fn model(batches: &[Readings]) -> (Vec<(String, f64)>, u64) {
    let mut averages: HashMap<u32, (f64, usize)> = HashMap::new();
    let mut last = Vec::new();
    for (number, batch) in batches.iter().enumerate() {
        last.clear();
        for (sensor, value) in batch {
            let average = averages.get(sensor).map_or(*value, |(before, _)| A * value + (1.0 - A) * before);
            averages.insert(*sensor, (average, number));
            last.extend((average >= THRESHOLD).then(|| (name(*sensor), average)));
        }
        averages.retain(|_, (_, touched)| *touched + TIMEOUT >= number);
    }
    last.sort_by(|left, right| left.0.cmp(&right.0).then(left.1.total_cmp(&right.1)));
    (last, averages.len() as u64)
}
