//! The source in memory: a bounded queue of record batches, each of which becomes a partition of the next batch.

use std::collections::VecDeque;
use std::fmt;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use arrow::array::{RecordBatch, StringArray};
use arrow::datatypes::SchemaRef;
use millpond_core::maps::{RepeatedKey, repeated_key_of};
use millpond_core::receiver::{ProgressEntry, Reliability, StoredEntry};
use millpond_core::schema::{describe, difference, same_types};
use millpond_core::{BoxError, Decoded, Poll, PollRequest, Receiver, Split, SplitReader};

use crate::Error;

/// The receiver's end; goes to the job.
pub struct MemorySource {
    shared: Arc<Shared>,
    reader: Arc<Reader>,
}

/// The program's end: rows that are pushed here are the job's input.
///
/// Clones are the same input. When the last clone is dropped, or [`close`](Self::close) is called, the source has ended.
#[derive(Clone)]
pub struct MemoryInput {
    shared: Arc<Shared>,
    /// Goes with the last clone.
    _open: Arc<Open>,
}

/// Ends the source when it is dropped.
struct Open(Arc<Shared>);

impl Drop for Open {
    fn drop(&mut self) {
        self.0.end();
    }
}

/// Why rows were not taken.
#[derive(Debug)]
pub enum PushError {
    /// So many rows wait already that these would be too many. Gives them back.
    Full(RecordBatch),
    /// The job has ended, or the input was closed. Gives the rows back.
    Closed(RecordBatch),
    /// The columns are not the source's, and the text says both; or a map in them has a key twice in a row, which no map may.
    Columns(String),
}

impl fmt::Display for PushError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Full(rows) => {
                write!(f, "{} more rows would be too many: let the job take some first", rows.num_rows())
            }
            Self::Closed(rows) => {
                write!(f, "the job takes no more: {} rows were pushed after its end", rows.num_rows())
            }
            Self::Columns(sentence) => f.write_str(sentence),
        }
    }
}

impl std::error::Error for PushError {}

struct Shared {
    schema: SchemaRef,
    rows_max: usize,
    queue: Mutex<Queue>,
    /// Told when rows were taken, and when nobody takes any more.
    changed: Condvar,
}

#[derive(Default)]
struct Queue {
    batches: VecDeque<RecordBatch>,
    rows: usize,
    /// No more rows will come.
    ended: bool,
    /// Nobody takes rows any more.
    stopped: bool,
}

impl Shared {
    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn end(&self) {
        self.queue().ended = true;
        self.changed.notify_all();
    }
}

impl MemorySource {
    /// A source of rows with these columns, in which at most about `rows_max` rows wait for the job (one batch may have more,
    /// if nothing else waits); and the input that feeds it.
    #[must_use]
    pub fn new(schema: SchemaRef, rows_max: usize) -> (Self, MemoryInput) {
        let shared = Arc::new(Shared { schema, rows_max, queue: Mutex::default(), changed: Condvar::new() });
        let input = MemoryInput { shared: Arc::clone(&shared), _open: Arc::new(Open(Arc::clone(&shared))) };
        (Self { shared, reader: Arc::default() }, input)
    }
}

impl MemoryInput {
    /// The columns that rows must have.
    #[must_use]
    pub fn schema(&self) -> SchemaRef {
        Arc::clone(&self.shared.schema)
    }

    /// Hands rows over, if there is room for them.
    ///
    /// **Shape**: one call becomes one partition of the batch that takes it.
    /// **Errors**: `Full`, `Closed`, `Columns`.
    pub fn try_push(&self, rows: RecordBatch) -> Result<(), PushError> {
        self.check(&rows)?;
        let queue = self.shared.queue();
        if queue.rows > 0 && queue.rows.saturating_add(rows.num_rows()) > self.shared.rows_max {
            return Err(if queue.ended || queue.stopped { PushError::Closed(rows) } else { PushError::Full(rows) });
        }
        put(queue, rows)
    }

    /// Hands rows over; waits until there is room for them. Not for the thread that runs the job, which would wait for itself.
    ///
    /// **Errors**: `Closed`, `Columns`.
    pub fn push(&self, rows: RecordBatch) -> Result<(), PushError> {
        self.check(&rows)?;
        let full = |queue: &mut Queue| {
            let is_full = queue.rows > 0 && queue.rows.saturating_add(rows.num_rows()) > self.shared.rows_max;
            is_full && !queue.ended && !queue.stopped
        };
        let queue = self.shared.changed.wait_while(self.shared.queue(), full);
        put(queue.unwrap_or_else(PoisonError::into_inner), rows)
    }

    /// Hands lines over, for a source of one column of text; waits as [`push`](Self::push) does.
    ///
    /// **Errors**: `Closed`; `Columns` if the source has other columns.
    pub fn push_lines<'a>(&self, lines: impl IntoIterator<Item = &'a str>) -> Result<(), PushError> {
        let column = Arc::new(StringArray::from_iter_values(lines));
        match RecordBatch::try_new(self.schema(), vec![column]) {
            Ok(rows) => self.push(rows),
            Err(_) => {
                let wanted = describe(&self.shared.schema);
                Err(PushError::Columns(format!("lines are one column of text, and the source has ({wanted})")))
            }
        }
    }

    /// No more rows will come: a job that takes all there is ends after those that wait.
    pub fn close(&self) {
        self.shared.end();
    }

    fn check(&self, rows: &RecordBatch) -> Result<(), PushError> {
        if same_types(&rows.schema(), &self.shared.schema) {
            return each_key_once(rows);
        }
        let difference = difference(("the source", &self.shared.schema), ("the rows", &rows.schema()));
        Err(PushError::Columns(format!("the rows have other columns than the source\n{difference}")))
    }
}

/// Maps hold each key once, which Arrow does not check.
fn each_key_once(rows: &RecordBatch) -> Result<(), PushError> {
    match repeated_key_of(rows) {
        Ok(None) => Ok(()),
        Ok(Some((column, RepeatedKey { key, .. }))) => {
            Err(PushError::Columns(format!("column `{column}`: a map has the key `{key}` more than once in a row")))
        }
        Err(error) => Err(PushError::Columns(error.to_string())),
    }
}

fn put(mut queue: MutexGuard<'_, Queue>, rows: RecordBatch) -> Result<(), PushError> {
    if queue.ended || queue.stopped {
        return Err(PushError::Closed(rows));
    }
    queue.rows += rows.num_rows();
    queue.batches.push_back(rows);
    Ok(())
}

impl Receiver for MemorySource {
    fn reliability(&self) -> Reliability {
        Reliability::BestEffort
    }

    fn restore(&mut self, _entries: Vec<StoredEntry>) -> Result<(), BoxError> {
        Ok(())
    }

    fn poll(&mut self, _request: &PollRequest) -> Result<Poll, BoxError> {
        let mut queue = self.shared.queue();
        let batches = std::mem::take(&mut queue.batches);
        queue.rows = 0;
        let ended = queue.ended;
        drop(queue);
        self.shared.changed.notify_all();
        let held: Vec<RecordBatch> = batches.into_iter().filter(|rows| rows.num_rows() > 0).collect();
        self.reader = Arc::new(Reader { first: self.reader.first + self.reader.held.len() as u64, held });
        let split = |(number, rows): (u64, &RecordBatch)| Split {
            locator: number.to_le_bytes().to_vec(),
            place: format!("rows in memory, push {}", number + 1),
            bytes: Some(rows.get_array_memory_size() as u64),
        };
        let splits = (self.reader.first..).zip(&self.reader.held).map(split).collect();
        Ok(Poll { splits, ended, ..Poll::default() })
    }

    fn reader(&self) -> Arc<dyn SplitReader> {
        Arc::clone(&self.reader) as Arc<dyn SplitReader>
    }

    fn take_progress(&mut self) -> Vec<ProgressEntry> {
        Vec::new()
    }

    fn stop(&mut self) {
        self.shared.queue().stopped = true;
        self.shared.changed.notify_all();
    }
}

impl Drop for MemorySource {
    fn drop(&mut self) {
        self.stop();
    }
}

/// A poll's rows.
#[derive(Default)]
struct Reader {
    /// Number of the first batch, counted over all polls.
    first: u64,
    held: Vec<RecordBatch>,
}

impl Reader {
    fn batch(&self, split: &Split) -> Option<&RecordBatch> {
        let number = split.locator.as_slice().try_into().ok().map(u64::from_le_bytes)?;
        self.held.get(usize::try_from(number.checked_sub(self.first)?).ok()?)
    }
}

impl SplitReader for Reader {
    fn read(&self, split: &Split) -> Result<Decoded, BoxError> {
        let batch = self.batch(split).cloned().ok_or_else(|| Error::Unreadable {
            what: "a split",
            reason: format!("{}: it is of another batch", split.place),
        })?;
        let bytes = batch.get_array_memory_size() as u64;
        Ok(Decoded { batch, bad_records: Vec::new(), bytes })
    }
}
