//! `run --report FILE`: what each batch was and cost, as JSON lines, for other programs.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use millpond_core::{AccumulatorTotal, BatchReport, Listener, Number, PhaseTimes, Report};
use millpond_engine::Summary;
use serde_json::{Map, Value, json};

use crate::error::Error;

/// Writes one line a batch, and passes everything on to the next listener.
pub(crate) struct ReportFile {
    path: PathBuf,
    next: Arc<dyn Listener>,
    out: Mutex<Out>,
}

struct Out {
    file: BufWriter<File>,
    /// The first error; nothing is written after it.
    failed: Option<io::Error>,
}

impl ReportFile {
    /// Makes the file if it is not there. What is in it stays until [`ReportFile::begin`]: the job may not start, because it
    /// runs already and is writing its own report there.
    ///
    /// **Errors**: MP0111 when it cannot be made.
    pub(crate) fn create(path: &Path, next: Arc<dyn Listener>) -> Result<Self, Error> {
        let file = File::options().write(true).create(true).truncate(false).open(path);
        let file = file.map_err(|source| Error::Report { path: path.to_owned(), source })?;
        let out = Mutex::new(Out { file: BufWriter::new(file), failed: None });
        Ok(Self { path: path.to_owned(), next, out })
    }

    /// Empties the file: the job starts.
    ///
    /// **Errors**: MP0111 when that fails.
    pub(crate) fn begin(&self) -> Result<(), Error> {
        let out = self.out.lock().unwrap_or_else(PoisonError::into_inner);
        let emptied = match out.file.get_ref().set_len(0) {
            // A pipe or a device has nothing to empty.
            Err(error) if error.kind() != io::ErrorKind::InvalidInput => Err(error),
            _ => Ok(()),
        };
        emptied.map_err(|source| Error::Report { path: self.path.clone(), source })
    }

    /// Writes the last line.
    ///
    /// **Errors**: MP0111 when it, or a line before it, could not be written.
    pub(crate) fn finish(&self, summary: &Summary) -> Result<(), Error> {
        self.write(&json!({ "summary": of_summary(summary) }));
        let mut out = self.out.lock().unwrap_or_else(PoisonError::into_inner);
        let flushed = match out.failed.take() {
            Some(error) => Err(error),
            None => out.file.flush(),
        };
        flushed.map_err(|source| Error::Report { path: self.path.clone(), source })
    }

    fn write(&self, line: &Value) {
        let mut out = self.out.lock().unwrap_or_else(PoisonError::into_inner);
        if out.failed.is_none() {
            // At once: somebody may be reading along.
            out.failed = writeln!(out.file, "{line}").and_then(|()| out.file.flush()).err();
        }
    }
}

impl Listener for ReportFile {
    fn batch_completed(&self, report: &BatchReport) {
        self.write(&of_batch(report));
        self.next.batch_completed(report);
    }

    fn report(&self, report: &Report) {
        self.next.report(report);
    }
}

fn of_batch(report: &BatchReport) -> Value {
    let line = json!({
        "batch_time_ms": report.batch_time_ms,
        "rows_in": report.rows_in,
        "bytes_in": report.bytes_in,
        "rows_out": report.rows_out,
        "bad_records": report.bad_records,
        "rejected": report.rejected,
        "scheduling_delay_us": report.scheduling_delay_us,
        "processing_us": report.processing_us,
        "epoch": report.epoch.map(|epoch| epoch.0),
        "commit_bytes": report.commit_bytes,
        "state_keys": report.state_keys,
        "state_bytes": report.state_bytes,
        "accumulators": of_accumulators(&report.accumulators),
    });
    with_phases(line, &report.phases)
}

/// The totals of a run.
pub(crate) fn of_summary(summary: &Summary) -> Value {
    let totals = json!({
        "batches": summary.batches,
        "rows_in": summary.rows_in,
        "rows_out": summary.rows_out,
        "bytes_in": summary.bytes_in,
        "bad_records": summary.bad_records,
        "rejected": summary.rejected,
        "elapsed_us": summary.elapsed_us,
        "processing_us": summary.processing_us,
        "state_keys": summary.state_keys,
        "state_bytes": summary.state_bytes,
        "accumulators": of_accumulators(&summary.accumulators),
    });
    with_phases(totals, &summary.phases)
}

/// By name.
fn of_accumulators(totals: &[AccumulatorTotal]) -> Value {
    Value::Object(totals.iter().map(|total| (total.name.clone(), of_total(total))).collect())
}

/// What JSON has no number for (NaN, infinities) is text; null = a minimum or maximum of nothing.
pub(crate) fn of_total(total: &AccumulatorTotal) -> Value {
    match total.value {
        Some(Number::Int64(value)) => value.into(),
        Some(Number::Float64(value)) if value.is_finite() => value.into(),
        Some(other) => other.to_string().into(),
        None => Value::Null,
    }
}

fn with_phases(mut object: Value, phases: &PhaseTimes) -> Value {
    let times: Map<String, Value> =
        phases.named().into_iter().map(|(name, us)| (format!("{name}_us"), us.into())).collect();
    if let Value::Object(object) = &mut object {
        object.extend(times);
    }
    object
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Nobody;

    impl Listener for Nobody {
        fn batch_completed(&self, _: &BatchReport) {}
        fn report(&self, _: &Report) {}
    }

    #[test]
    fn a_line_a_batch_and_the_totals() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("report.jsonl");
        std::fs::write(&path, "the report of a run that goes on\n").unwrap();
        let file = ReportFile::create(&path, Arc::new(Nobody)).unwrap();
        assert!(std::fs::read_to_string(&path).unwrap().starts_with("the report"), "the job has not started");
        file.begin().unwrap();
        let phases = PhaseTimes { guest_us: 7, ..PhaseTimes::default() };
        let total = |name: &str, value| AccumulatorTotal { name: name.to_owned(), value };
        let accumulators = vec![
            total("bad", Some(3.into())),
            total("mean", Some(0.5.into())),
            total("odd", Some(f64::NAN.into())),
            total("least", None),
        ];
        let batch = BatchReport { batch_time_ms: 500, rows_in: 3, phases, accumulators, ..BatchReport::default() };
        file.batch_completed(&batch);
        file.finish(&Summary { batches: 1, phases, ..Summary::default() }).unwrap();
        let text = std::fs::read_to_string(&path).unwrap();
        let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(
            (&lines[0]["batch_time_ms"], &lines[0]["guest_us"], &lines[0]["epoch"]),
            (&json!(500), &json!(7), &Value::Null)
        );
        assert_eq!(lines[0]["accumulators"], json!({ "bad": 3, "mean": 0.5, "odd": "NaN", "least": null }));
        assert_eq!(
            (lines.len(), &lines[1]["summary"]["batches"], &lines[1]["summary"]["guest_us"]),
            (2, &json!(1), &json!(7))
        );
    }

    #[test]
    fn a_report_that_cannot_be_written_is_an_error() {
        let error = ReportFile::create(Path::new("/nowhere/report.jsonl"), Arc::new(Nobody)).err().unwrap();
        assert!(error.to_string().contains("/nowhere/report.jsonl"), "{error}");
    }
}
