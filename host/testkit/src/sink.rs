//! A sink that remembers what became visible.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use arrow::array::RecordBatch;
use millpond_core::{BatchTime, BoxError, Sink, SinkBatch, SinkToken};

use crate::function::FakeError;

/// Keeps prepared and committed batches apart. Clones share one memory, which stands for the outside world.
#[derive(Clone, Debug, Default)]
pub struct CollectSink {
    inner: Arc<Mutex<Collected>>,
}

#[derive(Debug, Default)]
struct Collected {
    prepared: Vec<SinkBatch>,
    committed: Vec<SinkBatch>,
    fail_at: Option<BatchTime>,
}

impl CollectSink {
    /// A sink that has seen nothing.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Makes `prepare` of this batch fail.
    pub fn fail_at(&self, batch_time: BatchTime) {
        self.lock().fail_at = Some(batch_time);
    }

    /// Batches that became visible: time and the rows of all partitions, in order.
    #[must_use]
    pub fn batches(&self) -> Vec<(BatchTime, Vec<RecordBatch>)> {
        let rows = |batch: &SinkBatch| batch.partitions.iter().map(|partition| partition.rows.clone()).collect();
        self.lock().committed.iter().map(|batch| (batch.batch_time, rows(batch))).collect()
    }

    /// Forgets the batches that became visible.
    pub fn forget(&self) {
        self.lock().committed.clear();
    }

    /// How many batches are prepared and neither committed nor aborted.
    #[must_use]
    pub fn prepared(&self) -> usize {
        self.lock().prepared.len()
    }

    fn lock(&self) -> MutexGuard<'_, Collected> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Sink for CollectSink {
    fn recover(&mut self, last: Option<&SinkToken>) -> Result<(), BoxError> {
        if let Some(token) = last {
            self.commit(token)?;
        }
        self.lock().prepared.clear();
        Ok(())
    }

    fn prepare(&mut self, batch: &SinkBatch) -> Result<SinkToken, BoxError> {
        let mut inner = self.lock();
        if inner.fail_at == Some(batch.batch_time) {
            return Err(FakeError(format!("the sink was told to fail at {}", batch.batch_time)).into());
        }
        inner.prepared.push(batch.clone());
        Ok(SinkToken { batch_time: batch.batch_time, data: Vec::new() })
    }

    fn commit(&mut self, token: &SinkToken) -> Result<(), BoxError> {
        let mut inner = self.lock();
        if let Some(at) = inner.prepared.iter().position(|batch| batch.batch_time == token.batch_time) {
            let batch = inner.prepared.remove(at);
            inner.committed.push(batch);
        }
        Ok(())
    }

    fn abort(&mut self, token: &SinkToken) -> Result<(), BoxError> {
        self.lock().prepared.retain(|batch| batch.batch_time != token.batch_time);
        Ok(())
    }
}
