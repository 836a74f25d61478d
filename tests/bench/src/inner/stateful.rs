//! `jobs/stateful` in this process: the real engine and the component, batches from memory.

use std::collections::BTreeMap;
use std::sync::Arc;

use anyhow::{Context, Result};
use arrow::array::{Array, AsArray, Float64Array, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field, Float64Type, Schema, SchemaRef};
use millpond_core::{OutputMode, StateStore};
use millpond_engine::{
    ComputePool, JobOptions, JobParts, JobRunner, OnBadRecord, SinkBinding, SourceBinding, StreamGraph, Trigger,
};
use millpond_testkit::{CollectListener, CollectSink, ManualClock, ScriptReceiver};
use millpond_wasm::JobComponent;

use super::process::threads_cpu_us;
use crate::data::random::Random;

const PARALLELISM: usize = 2;

/// Readings of a batch: sensors by number, and their values.
pub(super) type Readings = Vec<(u32, f64)>;

/// So many readings of random sensors.
pub(super) fn readings(random: &mut Random, sensors: u32, count: usize) -> Readings {
    let reading = |_| (random.below(u64::from(sensors)) as u32, random.below(1 << 40) as f64 / 1024.0);
    (0..count).map(reading).collect()
}

fn schema() -> SchemaRef {
    let field = |name, data_type| Field::new(name, data_type, false);
    Arc::new(Schema::new(vec![field("sensor", DataType::Utf8), field("value", DataType::Float64)]))
}

/// A batch in as many partitions as there are threads.
pub(super) fn partitions(readings: &Readings) -> Vec<RecordBatch> {
    let partition = |readings: &[(u32, f64)]| {
        let sensors = StringArray::from_iter_values(readings.iter().map(|(sensor, _)| name(*sensor)));
        let values = Float64Array::from_iter_values(readings.iter().map(|(_, value)| *value));
        RecordBatch::try_new(schema(), vec![Arc::new(sensors), Arc::new(values)]).expect("two columns of equal length")
    };
    readings.chunks(readings.len().div_ceil(PARALLELISM)).map(partition).collect()
}

pub(super) fn name(sensor: u32) -> String {
    format!("sensor-{sensor}")
}

/// A job that runs, a batch at a time.
pub(super) struct Running {
    runner: JobRunner,
    script: ScriptReceiver,
    sink: CollectSink,
}

impl Running {
    pub(super) fn start(component: &JobComponent, store: Box<dyn StateStore>) -> Result<Self> {
        let graph = StreamGraph::try_new(component.plan().clone(), 1000)?;
        let source = graph.sources().first().map(|(_, schema)| Arc::clone(schema));
        let script = ScriptReceiver::new(source.context("the job has a source")?);
        let sink = CollectSink::new();
        let receiver = SourceBinding { receiver: Box::new(script.clone()), on_bad_record: OnBadRecord::Fail };
        let output = SinkBinding { sink: Box::new(sink.clone()), mode: OutputMode::Complete };
        let parts = JobParts {
            graph,
            function: Arc::new(component.clone()),
            transforms: BTreeMap::new(),
            broadcasts: BTreeMap::new(),
            sources: BTreeMap::from([("readings".to_owned(), receiver)]),
            sinks: BTreeMap::from([("out".to_owned(), output)]),
            store,
            clock: Arc::new(ManualClock::new(0)),
            pool: Arc::new(ComputePool::try_new(PARALLELISM)?),
            listener: Arc::new(CollectListener::new()),
        };
        let options = JobOptions {
            name: "stateful".to_owned(),
            batch_interval_ms: 1000,
            trigger: Trigger::Continuous,
            parallelism: PARALLELISM,
            commit_every: 1,
            on_bad_record: OnBadRecord::Fail,
        };
        Ok(Self { runner: JobRunner::try_new(options, parts)?, script, sink })
    }

    /// Runs a batch of these partitions; gives the processor time of it, milliseconds.
    pub(super) fn batch(&mut self, partitions: Vec<RecordBatch>) -> Result<f64> {
        self.script.push(partitions);
        let before_ms = cpu_ms()?;
        self.runner.run_batch(self.runner.next_batch_time())?;
        Ok(cpu_ms()? - before_ms)
    }

    /// What came out of the last batch, sorted.
    pub(super) fn last(&self) -> Vec<(String, f64)> {
        let batches = self.sink.batches();
        let mut rows: Vec<(String, f64)> =
            batches.last().map_or_else(Vec::new, |(_, partitions)| partitions.iter().flat_map(pairs).collect());
        rows.sort_by(|left, right| left.0.cmp(&right.0).then(left.1.total_cmp(&right.1)));
        rows
    }

    pub(super) fn state_keys(&self) -> u64 {
        self.runner.summary().state_keys
    }

    pub(super) fn finish(mut self) -> Result<()> {
        self.runner.finish()?;
        Ok(())
    }
}

fn pairs(rows: &RecordBatch) -> Vec<(String, f64)> {
    let (sensors, values) = (rows.column(0).as_string::<i32>(), rows.column(1).as_primitive::<Float64Type>());
    (0..sensors.len()).map(|row| (sensors.value(row).to_owned(), values.value(row))).collect()
}

/// Processor time of this process so far, without the threads that fold checkpoints: those work when the clock says so; milliseconds.
fn cpu_ms() -> Result<f64> {
    let is_folding = |name: &str| name.starts_with("millpond-fold") || name.starts_with("sled");
    let threads = threads_cpu_us()?;
    Ok(threads.iter().filter(|(name, _)| !is_folding(name)).map(|(_, us)| *us as f64 / 1000.0).sum())
}
