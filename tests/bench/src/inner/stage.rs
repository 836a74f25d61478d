//! `stage`: the fused stage of `plugins/wordcount` in wasm beside the same closures compiled for this machine.
//!
//! Both begin with the same Arrow batch and count its words in the same table; the native call is the SDK's own, without a
//! component around it. Each call owns its input, so both copy it: natively into vectors, otherwise into the component's memory. The
//! wasm side has the checks of the answer and the interruption checks in it besides.

use std::collections::BTreeMap;
use std::sync::Arc;

use anyhow::{Context, Result, ensure};
use arrow::array::{Array, AsArray, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field, Int64Type, Schema};
use millpond::Job;
use millpond::runtime;
use millpond_core::{NodeId, UserFunction};
use millpond_wasm::JobComponent;

use super::support::{build, engine, first_stage, load, plain, task, timed};
use crate::case::{CaseResult, InnerOptions};
use crate::compare::{Bar, figure};
use crate::data::text::{TextOptions, text};

const RATIO_MAX: f64 = 1.35;
/// Calls that are timed together.
const CALLS: usize = 10;

pub(super) fn run(options: &InnerOptions) -> Result<CaseResult> {
    let bytes = build(&options.millpond, "plugins/wordcount")?;
    let engine = engine()?;
    let component = load(&engine, &bytes, "stage", &[])?;
    let stage = first_stage(component.plan())?;
    let native = wordcount::millpond_job();
    native.plan(&[]).map_err(anyhow::Error::msg)?;
    let input = Input::new(&first_file(options)?);

    // Untimed, and the answers must be the same.
    let found = wasm(&component, stage, &input)?;
    let expected = closures(&native, stage, input.wire())?;
    ensure!(counts(&found)? == wire_counts(expected)?, "the component and the closures counted otherwise");
    let calls = if options.quick { 2 } else { CALLS };
    let [mut in_wasm, mut in_native] = [const { Vec::new() }; 2];
    for _ in 0..options.repetitions.max(3) {
        in_wasm.push(ms_per_call(calls, || wasm(&component, stage, &input))?);
        in_native.push(ms_per_call(calls, || closures(&native, stage, input.wire()))?);
    }
    let ns_per_word = |ms: &[f64]| ms.iter().map(|ms| ms * 1e6 / input.words).collect::<Vec<_>>();
    Ok(CaseResult {
        case: "stage".to_owned(),
        what: format!(
            "the fused stage of plugins/wordcount over {} lines ({} words) of w1's text, one thread",
            input.rows.num_rows(),
            input.words
        ),
        figures: vec![
            figure("time", "ms", &in_wasm).beside(&in_wasm, &in_native).must(Bar::RatioAtMost(RATIO_MAX)),
            figure("per word", "ns", &ns_per_word(&in_wasm)),
            figure("per word, native", "ns", &ns_per_word(&in_native)),
        ],
        phases: Vec::new(),
        notes: vec![
            "both begin with the same Arrow batch, of which each call gets a copy of its own; wasm: interruption checks on, \
             crossing and the checks of the answer included"
                .to_owned(),
            format!("{} words come out, counted within the call; both answers are equal", found.num_rows()),
        ],
    })
}

/// The first file of W1's text.
fn first_file(options: &InnerOptions) -> Result<String> {
    let text = text(&options.data_dir, if options.quick { TextOptions::QUICK } else { TextOptions::W1 })?;
    let paths = text.paths()?;
    let path = paths.first().context("the text has no files")?;
    std::fs::read_to_string(path).with_context(|| format!("{} cannot be read", path.display()))
}

/// Milliseconds of a call.
fn ms_per_call<T>(calls: usize, call: impl Fn() -> Result<T>) -> Result<f64> {
    let (ms, result) = timed(|| (0..calls).try_for_each(|_| call().map(drop)));
    result?;
    let calls = calls as f64;
    Ok(ms / calls)
}

fn wasm(component: &JobComponent, stage: NodeId, input: &Input) -> Result<RecordBatch> {
    Ok(component.run_stage(stage, &task(), &input.rows).map_err(plain)?.batch)
}

fn closures(job: &Job, stage: NodeId, batch: runtime::Batch) -> Result<runtime::Batch> {
    let task = runtime::TaskInfo { batch_time_ms: 1000, partition: 0, partitions: 2, attempt: 0 };
    let output = job.run_stage(stage.0, &task, batch);
    Ok(output.map_err(|failure| anyhow::Error::msg(failure.message))?.batch)
}

/// How often each word came. A word may come out several times: the table of a call is bounded.
fn counts(batch: &RecordBatch) -> Result<BTreeMap<String, i64>> {
    let (words, counts) = (batch.column(0).as_string::<i32>(), batch.column(1).as_primitive::<Int64Type>());
    let mut totals = BTreeMap::new();
    (0..batch.num_rows()).for_each(|row| *totals.entry(words.value(row).to_owned()).or_default() += counts.value(row));
    Ok(totals)
}

fn wire_counts(batch: runtime::Batch) -> Result<BTreeMap<String, i64>> {
    let rows = runtime::batch_to_rows::<(String, i64)>(batch);
    let mut totals = BTreeMap::new();
    for (word, count) in rows.map_err(|failure| anyhow::Error::msg(failure.message))? {
        *totals.entry(word).or_default() += count;
    }
    Ok(totals)
}

/// The lines as each side takes them.
struct Input {
    rows: RecordBatch,
    words: f64,
}

impl Input {
    fn new(text: &str) -> Self {
        let lines: StringArray = text.lines().map(Some).collect();
        let schema = Schema::new(vec![Field::new("line", DataType::Utf8, false)]);
        let rows = RecordBatch::try_new(Arc::new(schema), vec![Arc::new(lines)]).expect("one column of text");
        let words = text.split_ascii_whitespace().count() as f64;
        Self { rows, words }
    }

    /// A new batch of the contract's types: a native call takes it, as a component's memory does.
    fn wire(&self) -> runtime::Batch {
        let lines = self.rows.column(0).as_string::<i32>();
        let offsets = lines.offsets().iter().map(|offset| offset.cast_unsigned()).collect();
        let data = runtime::VarData { offsets, bytes: lines.value_data().to_vec() };
        let column = runtime::Column { data: runtime::ColumnData::Utf8(data), validity: None };
        let rows = u32::try_from(lines.len()).expect("some ten thousand lines");
        runtime::Batch { rows, columns: vec![column] }
    }
}
