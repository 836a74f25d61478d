//! The sink in memory: keeps committed batches until the program takes them.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use millpond_core::{BatchTime, BoxError, Sink, SinkBatch, SinkToken};

use crate::Error;

/// The job's end.
pub struct MemorySink {
    name: String,
    shared: Arc<Mutex<Kept>>,
    rows_max: usize,
    prepared: BTreeMap<BatchTime, SinkBatch>,
}

/// The program's end: takes what the job has put out. Clones are the same output.
#[derive(Clone)]
pub struct MemoryOutput {
    shared: Arc<Mutex<Kept>>,
}

#[derive(Default)]
struct Kept {
    batches: VecDeque<SinkBatch>,
    rows: usize,
}

impl MemorySink {
    /// A sink that keeps at most `rows_max` rows, and the output to take them from; a batch without rows counts for one. `name`
    /// is the plan's name of it, for messages.
    ///
    /// A batch that would be too many fails the job (MP0603): a sink that waited instead could wait for the very thread that
    /// runs the job.
    #[must_use]
    pub fn new(name: &str, rows_max: usize) -> (Self, MemoryOutput) {
        let shared = Arc::default();
        let output = MemoryOutput { shared: Arc::clone(&shared) };
        (Self { name: name.to_owned(), shared, rows_max, prepared: BTreeMap::new() }, output)
    }
}

impl MemoryOutput {
    /// All committed batches since the last call, oldest first. Batches without rows are among them: in mode `complete` they
    /// mean an empty result.
    #[must_use]
    pub fn take(&self) -> Vec<SinkBatch> {
        let mut kept = lock(&self.shared);
        kept.rows = 0;
        std::mem::take(&mut kept.batches).into()
    }
}

fn lock(shared: &Mutex<Kept>) -> MutexGuard<'_, Kept> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

fn rows_of(batch: &SinkBatch) -> usize {
    // Batches without rows must not fill the memory either.
    millpond_core::batch::row_count(&batch.partitions).max(1)
}

impl Sink for MemorySink {
    fn recover(&mut self, _last: Option<&SinkToken>) -> Result<(), BoxError> {
        Ok(())
    }

    fn prepare(&mut self, batch: &SinkBatch) -> Result<SinkToken, BoxError> {
        let waiting = lock(&self.shared).rows + self.prepared.values().map(rows_of).sum::<usize>();
        let rows = rows_of(batch);
        if waiting + rows > self.rows_max {
            let reason = format!(
                "{waiting} rows wait to be taken, and {rows} more would exceed {}: take them more often, or let the sink keep more rows",
                self.rows_max
            );
            return Err(Error::SinkMismatch { sink_name: self.name.clone(), reason }.into());
        }
        self.prepared.insert(batch.batch_time, batch.clone());
        Ok(SinkToken { batch_time: batch.batch_time, data: Vec::new() })
    }

    fn commit(&mut self, token: &SinkToken) -> Result<(), BoxError> {
        if let Some(batch) = self.prepared.remove(&token.batch_time) {
            let mut kept = lock(&self.shared);
            kept.rows += rows_of(&batch);
            kept.batches.push_back(batch);
        }
        Ok(())
    }

    fn abort(&mut self, token: &SinkToken) -> Result<(), BoxError> {
        self.prepared.remove(&token.batch_time);
        Ok(())
    }
}
