//! Source `rate`: made-up rows at a set pace, or as fast as a batch can take them.
//!
//! A row is a function of the options and its number (`generate.rs`), and a split is a range of numbers. So rows can be had
//! again at any time, splits are made in parallel, and the progress of the source is the next number: exactly once, also over a
//! restart. The pace is the clock's: rows are due from the moment the job starts, and what could not be taken in time comes later; the
//! time that a job was stopped counts for nothing. Source: `RateStreamSource` of Spark's structured streaming, which gives
//! time and number only.

mod config;
mod generate;

use std::sync::Arc;

use arrow::array::{RecordBatch, RecordBatchOptions};
use millpond_core::receiver::{ProgressEntry, Reliability, StoredEntry, split_count};
use millpond_core::{BoxError, Clock, Decoded, Poll, PollRequest, Receiver, Split, SplitReader};

pub use self::config::RateSourceOptions;
use self::generate::Generator;
use crate::spec::OpenSource;
use crate::{Error, Result};

/// Key of the entry with the next row's number, 8 bytes, little endian.
const NEXT: &[u8] = b"\0rate-next";

/// A row counts for so many bytes (a guess).
const ROW_BYTES: u64 = 64;

/// Fewer rows are not worth a split of their own (a guess).
const SPLIT_ROWS_MIN: u64 = 1000;

/// Makes rows up.
struct RateReceiver {
    options: RateSourceOptions,
    clock: Arc<dyn Clock>,
    reader: Arc<RateReader>,
    /// The next row's number.
    next: u64,
    /// The number that was committed last.
    told: u64,
    /// When the job started, by the clock's microseconds.
    started_us: u64,
    /// Rows given since then.
    given: u64,
}

impl RateReceiver {
    fn try_new(options: &RateSourceOptions, open: OpenSource) -> Result<Self> {
        let generator = Generator::try_new(options, &open.name, &open.schema)?;
        Ok(Self {
            options: options.clone(),
            started_us: open.clock.monotonic_us(),
            clock: open.clock,
            reader: Arc::new(RateReader { generator }),
            next: 0,
            told: 0,
            given: 0,
        })
    }

    /// How many rows a batch takes now.
    fn due(&self) -> u64 {
        let left = self.options.max_rows.map_or(u64::MAX, |rows| rows.saturating_sub(self.next));
        let room = left.min(self.options.max_rows_per_batch);
        let Some(rate) = self.options.rows_per_second else { return room };
        let passed_us = self.clock.monotonic_us().saturating_sub(self.started_us);
        let due = u128::from(rate) * u128::from(passed_us) / 1_000_000;
        room.min(u64::try_from(due).unwrap_or(u64::MAX).saturating_sub(self.given))
    }

    fn splits(&self, rows: u64, partitions: usize) -> Vec<Split> {
        let size =
            rows.div_ceil(split_count(rows, SPLIT_ROWS_MIN, partitions)).clamp(1, self.reader.generator.rows_max());
        let end = self.next + rows;
        let starts = (0..rows.div_ceil(size)).map(|split| self.next + split * size);
        starts
            .map(|start| {
                let end = end.min(start + size);
                Split {
                    locator: [start.to_le_bytes(), end.to_le_bytes()].concat(),
                    place: format!("made-up rows {start}..{end}"),
                    bytes: Some((end - start) * ROW_BYTES),
                }
            })
            .collect()
    }
}

impl Receiver for RateReceiver {
    fn reliability(&self) -> Reliability {
        Reliability::Replayable
    }

    fn restore(&mut self, entries: Vec<StoredEntry>) -> Result<(), BoxError> {
        if let Some((_, value)) = entries.iter().find(|(key, _)| key == NEXT) {
            let number = value.as_slice().try_into().map(u64::from_le_bytes);
            self.next = number.map_err(|_| Error::Unreadable {
                what: "the progress of a rate source",
                reason: format!("{} bytes instead of 8", value.len()),
            })?;
        }
        self.told = self.next;
        self.started_us = self.clock.monotonic_us();
        self.given = 0;
        Ok(())
    }

    fn poll(&mut self, request: &PollRequest) -> Result<Poll, BoxError> {
        let rows = self.due();
        let splits = self.splits(rows, request.partitions);
        self.next += rows;
        self.given += rows;
        let ended = self.options.max_rows.is_some_and(|max| self.next >= max);
        Ok(Poll { splits, more: !ended, ended, ..Poll::default() })
    }

    fn reader(&self) -> Arc<dyn SplitReader> {
        Arc::clone(&self.reader) as Arc<dyn SplitReader>
    }

    fn take_progress(&mut self) -> Vec<ProgressEntry> {
        if std::mem::replace(&mut self.told, self.next) == self.next {
            return Vec::new();
        }
        vec![(NEXT.to_vec(), Some(self.next.to_le_bytes().to_vec()))]
    }

    fn stop(&mut self) {}
}

/// Makes the rows of splits.
struct RateReader {
    generator: Generator,
}

impl SplitReader for RateReader {
    fn read(&self, split: &Split) -> Result<Decoded, BoxError> {
        let (start, end) = range_of(split)?;
        let schema = Arc::clone(&self.generator.schema);
        let rows = usize::try_from(end - start).unwrap_or(usize::MAX);
        let options = RecordBatchOptions::new().with_row_count(Some(rows));
        let columns = self.generator.columns(start..end);
        let batch = RecordBatch::try_new_with_options(schema, columns, &options)
            .map_err(|error| Error::Unreadable { what: "a batch of made-up rows", reason: error.to_string() })?;
        let bytes = batch.get_array_memory_size() as u64;
        Ok(Decoded { batch, bad_records: Vec::new(), bytes })
    }
}

fn range_of(split: &Split) -> Result<(u64, u64)> {
    let unreadable = || Error::Unreadable { what: "a split", reason: format!("{}: it has no range", split.place) };
    let (start, end) = split.locator.split_at_checked(8).ok_or_else(unreadable)?;
    let number = |bytes: &[u8]| bytes.try_into().map(u64::from_le_bytes).map_err(|_| unreadable());
    let (start, end) = (number(start)?, number(end)?);
    if start <= end { Ok((start, end)) } else { Err(unreadable()) }
}

#[cfg(test)]
mod tests;
