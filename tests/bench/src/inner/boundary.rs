//! `boundary`: what a batch of one column of text costs on its way into a guest and out again.
//!
//! The guest (`jobs/identity`) passes the column on whole, so nothing but the crossing is left; a second figure has the same
//! guest touch every row. The baseline copies the same two buffers in and out, and does nothing else.

use std::hint::black_box;
use std::sync::Arc;

use anyhow::{Result, ensure};
use arrow::array::{AsArray, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field, Schema};
use millpond_core::{NodeId, UserFunction};
use millpond_wasm::JobComponent;

use super::support::{build, engine, first_stage, load, plain, quantile, task, timed};
use crate::case::{CaseResult, InnerOptions};
use crate::compare::{Bar, figure};
use crate::data::random::Random;

const ROWS: usize = 10_000;
const ROW_BYTES: u64 = 40;
/// Calls that are timed together: tens of milliseconds.
const CALLS: usize = 200;
const CALLS_OF_ONE_ROW: usize = 5_000;
const NS_MAX: f64 = 10.0;

pub(super) fn run(options: &InnerOptions) -> Result<CaseResult> {
    let bytes = build(&options.millpond, "tests/bench/jobs/identity")?;
    let engine = engine()?;
    let whole = Crossing::new(load(&engine, &bytes, "boundary", &[])?)?;
    let by_row = Crossing::new(load(&engine, &bytes, "boundary", &[("rows", "true")])?)?;
    let (batch, one) = (lines(ROWS), lines(1));
    whole.check(&batch)?;
    by_row.check(&batch)?;
    let calls = if options.quick { CALLS / 10 } else { CALLS };
    // Once over everything untimed: caches, pages, branch predictors.
    whole.us_per_call(&batch, calls)?;
    by_row.us_per_call(&batch, calls)?;
    let [mut crossing, mut copies, mut touched, mut single] = [const { Vec::new() }; 4];
    let per_row = 1000.0 / (2 * ROWS) as f64;
    for _ in 0..options.repetitions {
        crossing.push(whole.us_per_call(&batch, calls)? * per_row);
        copies.push(copy_us_per_call(&batch, calls) * per_row);
        touched.push(by_row.us_per_call(&batch, calls)? * per_row);
        single.push(whole.us_per_call(&one, calls * (CALLS_OF_ONE_ROW / CALLS))?);
    }
    let each = quantile(&crossing, 0.5) * 2.0 / 1000.0;
    Ok(CaseResult {
        case: "boundary".to_owned(),
        what: format!(
            "a batch of {ROWS} rows of one string column, about {ROW_BYTES} bytes each, into a guest and out again"
        ),
        figures: vec![
            figure("per row and direction", "ns", &crossing).beside(&crossing, &copies).must(Bar::MedianAtMost(NS_MAX)),
            figure("per row and direction, each row touched", "ns", &touched),
            figure("a call with 1 row", "us", &single),
        ],
        phases: Vec::new(),
        notes: vec![
            "baseline: memcpy of the same buffers, offsets and bytes, in and out (4 copies)".to_owned(),
            format!(
                "{:.1} GB/s each way; every answer is checked: lengths, offsets, UTF-8",
                row_bytes(&batch) / each / 1000.0
            ),
            "each row touched: filter(|_| true), which writes every row into a new column".to_owned(),
        ],
    })
}

/// Bytes of a row, its offset included.
fn row_bytes(batch: &RecordBatch) -> f64 {
    let text = batch.column(0).as_string::<i32>();
    let bytes = (text.value_data().len() + size_of_val(text.offsets().inner().as_ref())) as f64;
    let rows = batch.num_rows() as f64;
    bytes / rows
}

/// A component and its stage.
struct Crossing {
    component: JobComponent,
    stage: NodeId,
}

impl Crossing {
    fn new(component: JobComponent) -> Result<Self> {
        let stage = first_stage(component.plan())?;
        Ok(Self { component, stage })
    }

    fn check(&self, batch: &RecordBatch) -> Result<()> {
        let output = self.component.run_stage(self.stage, &task(), batch).map_err(plain)?.batch;
        ensure!(output.column(0) == batch.column(0), "rows came out otherwise than they went in");
        Ok(())
    }

    /// Microseconds of a call there and back.
    fn us_per_call(&self, batch: &RecordBatch, calls: usize) -> Result<f64> {
        let (ms, result) = timed(|| {
            (0..calls).try_for_each(|_| {
                self.component.run_stage(self.stage, &task(), black_box(batch)).map(|output| drop(black_box(output)))
            })
        });
        result.map_err(plain)?;
        let calls = calls as f64;
        Ok(ms * 1000.0 / calls)
    }
}

/// Microseconds of copying a batch's buffers into memory that is there, and out into new memory, as an answer needs it.
fn copy_us_per_call(batch: &RecordBatch, calls: usize) -> f64 {
    let text = batch.column(0).as_string::<i32>();
    let (offsets, bytes) = (text.offsets().inner().as_ref(), text.value_data());
    let mut inside = (vec![0_i32; offsets.len()], vec![0_u8; bytes.len()]);
    let (ms, ()) = timed(|| {
        for _ in 0..calls {
            inside.0.copy_from_slice(black_box(offsets));
            inside.1.copy_from_slice(black_box(bytes));
            let inside = black_box(&inside);
            drop(black_box((inside.0.clone(), inside.1.clone())));
        }
    });
    let calls = calls as f64;
    ms * 1000.0 / calls
}

/// Lines of letters, 30 to 50 bytes.
fn lines(rows: usize) -> RecordBatch {
    let mut random = Random::new(1);
    let line = |_| {
        let length = random.between(ROW_BYTES - 10, ROW_BYTES + 10);
        Some((0..length).map(|_| char::from(b'a' + random.below(26) as u8)).collect::<String>())
    };
    let column: StringArray = (0..rows).map(line).collect();
    let schema = Schema::new(vec![Field::new("line", DataType::Utf8, false)]);
    RecordBatch::try_new(Arc::new(schema), vec![Arc::new(column)]).expect("one column of text")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_about_as_long_as_they_say() {
        let bytes = row_bytes(&lines(1000)) - 4.0;
        assert!((39.0..41.0).contains(&bytes), "{bytes}");
    }
}
